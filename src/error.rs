//! The one error type: everything that can go wrong, as far as any client can act on it.
//!
//! There is no HTTP in here: each dialect renders these in its own words with an exhaustive `match`.
//! A refused key is not an error but a verdict (`domain::verdict`).

/// What every fallible function of the crate returns.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a request could not be carried out. Variants are alphabetical.
#[derive(Debug)]
pub enum Error {
    /// The state of the store forbids it; the sentence says what and what to do.
    Conflict(String),
    /// A known caller who may not do this; the sentence names what is missing.
    Forbidden(String),
    /// The cause is for the log; a client sees only the request id.
    Internal(Box<dyn std::error::Error + Send + Sync>),
    /// One member of the request has a value that is refused.
    Invalid { field: String, reason: String },
    /// A process of this machine asks without a credential, and lacks nothing but the header that says so.
    LocalHeaderMissing,
    /// The request as a whole cannot be read: not JSON, two credentials, unknown parameter.
    Malformed(String),
    /// The path exists, the method does not; `allow` lists those that do.
    MethodNotAllowed { allow: String },
    /// The `Host` names a server that this is not (DNS rebinding).
    Misdirected,
    /// Absent, or not visible to the caller: the two are told alike.
    NotFound(&'static str),
    /// The body is larger than the route takes.
    TooLarge { limit_bytes: usize },
    /// Too many requests, changes or failed attempts to sign in; try again after so many seconds.
    TooMany { retry_after_s: u64 },
    /// No credential, or one that is no good; never says which.
    Unauthenticated,
    /// The store cannot be written or read just now (disk full, locked, busy).
    Unavailable(String),
    /// The body has a content type that the route does not read; the text names the one it does.
    UnsupportedMediaType(&'static str),
}

impl Error {
    /// Wraps a failure that no client can act on.
    pub fn internal(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        Error::Internal(cause.into())
    }

    /// A member's value is refused, with the reason as a sentence part ("must be …").
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
