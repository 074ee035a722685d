//! The one error type: everything that can go wrong, as far as any client can act on it.
//!
//! This module contains no HTTP: each dialect renders these errors in its own format, with an exhaustive `match`. A
//! refused key is not an error but a verdict (`domain::key::verdict`).

/// The result of every fallible function of the crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a request could not be carried out. Variants are alphabetical.
#[derive(Debug)]
pub enum Error {
    /// The state of the store does not allow it; the sentence gives the reason and the remedy.
    Conflict(String),
    /// The caller is known and may not do this; the sentence names the missing permission.
    Forbidden(String),
    /// The cause is for the log; a client sees only the request id.
    Internal(Box<dyn std::error::Error + Send + Sync>),
    /// One member of the request has an invalid value.
    Invalid { field: String, reason: String },
    /// A process on this machine sends no credential, and only the header that marks local requests is missing.
    LocalHeaderMissing,
    /// The request as a whole cannot be read: not JSON, two credentials, unknown parameter.
    Malformed(String),
    /// The path exists, the method does not; `allow` lists those that do.
    MethodNotAllowed { allow: String },
    /// The `Host` header names a host that this server does not serve (DNS rebinding).
    Misdirected,
    /// Absent, or not visible to the caller: the answers do not differ.
    NotFound(&'static str),
    /// The body is larger than the route accepts.
    TooLarge { limit_bytes: usize },
    /// Too many requests, changes or failed attempts to sign in; try again after so many seconds.
    TooMany { retry_after_s: u64 },
    /// The credential is missing or not accepted; the answer never says which.
    Unauthenticated,
    /// The store cannot be written or read at the moment (disk full, locked, busy).
    Unavailable(String),
    /// The route does not support the content type of the body; the text names the supported one.
    UnsupportedMediaType(&'static str),
}

impl Error {
    /// Wraps a failure that no client can act on.
    pub fn internal(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        Error::Internal(cause.into())
    }

    /// The value of a member is refused; the reason is part of a sentence ("must be …").
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
