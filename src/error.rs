//! The only error type: everything that can go wrong, divided by what a client can do about it.
//!
//! There is no HTTP here: each dialect renders these errors in its own format with an exhaustive `match`. A refused
//! key is not an error but a verdict (`domain::keys::verdict`).

/// The result of every fallible function of the crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a request could not be carried out. Variants are alphabetical.
#[derive(Debug)]
pub enum Error {
    /// The state of the store forbids the request; the sentence explains the reason and the remedy.
    Conflict(String),
    /// The caller is known but may not do this; the sentence names what is missing.
    Forbidden(String),
    /// The cause is only logged; a client sees only the request id.
    Internal(Box<dyn std::error::Error + Send + Sync>),
    /// The value of one member of the request is refused.
    Invalid { field: String, reason: String },
    /// A process of this machine sends no credential, and would need none if it sent the header for local access.
    LocalHeaderMissing,
    /// The request as a whole cannot be read: for example it is not JSON, has two credentials, or has an unknown
    /// parameter.
    Malformed(String),
    /// The path exists, but not with this method; `allow` lists the methods of the path.
    MethodNotAllowed { allow: String },
    /// The `Host` header names a different server (protection against DNS rebinding).
    Misdirected,
    /// The thing is absent or not visible to the caller. The answer is the same in both cases.
    NotFound(&'static str),
    /// The body is larger than the route accepts.
    TooLarge { limit_bytes: usize },
    /// Too many requests, changes or failed sign-in attempts; the client may try again after this many seconds.
    TooMany { retry_after_s: u64 },
    /// The credential is missing or not accepted; the answer never reveals which.
    Unauthenticated,
    /// The store cannot be written or read at the moment (disk full, locked, busy).
    Unavailable(String),
    /// The route does not read this content type; the text names the type that it reads.
    UnsupportedMediaType(&'static str),
}

impl Error {
    /// Wraps a failure that no client can act on.
    pub fn internal(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        Error::Internal(cause.into())
    }

    /// The value of a member is refused. The reason completes the sentence that begins with the member ("must be …").
    pub fn invalid(field: impl Into<String>, reason: impl Into<String>) -> Error {
        Error::Invalid {
            field: field.into(),
            reason: reason.into(),
        }
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Error::Conflict(why)
            | Error::Forbidden(why)
            | Error::Malformed(why)
            | Error::Unavailable(why) => f.write_str(why),
            Error::Internal(cause) => write!(f, "internal error: {cause}"),
            Error::Invalid { field, reason } => write!(f, "{field}: {reason}"),
            Error::LocalHeaderMissing => f.write_str(
                "a valid credential is needed; a process of this machine needs none if it sends the header Latchkey-Local: 1 over HTTP/1.1",
            ),
            Error::MethodNotAllowed { allow } => write!(f, "this path takes {allow}"),
            Error::Misdirected => {
                f.write_str("this server does not answer for the host that was asked")
            }
            Error::NotFound(what) => write!(f, "there is no such {what}"),
            Error::TooLarge { limit_bytes } => {
                write!(f, "the body is larger than {limit_bytes} bytes")
            }
            Error::TooMany { retry_after_s } => {
                write!(f, "too many requests; try again in {retry_after_s} seconds")
            }
            Error::Unauthenticated => f.write_str("a valid credential is needed"),
            Error::UnsupportedMediaType(wanted) => write!(f, "the body must be {wanted}"),
        }
    }
}

impl std::error::Error for Error {}
