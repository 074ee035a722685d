//! The only error type: everything that can go wrong, divided by what a client can do about it.
//!
//! There is no HTTP here: each dialect renders these errors in its own format with an exhaustive `match`. A refused
//! key is not an error but a verdict (`domain::keys::verdict`).

use crate::refusals::{self, Refusal};

/// The result of every fallible function of the crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a request could not be carried out. Variants are alphabetical.
#[derive(Debug)]
pub enum Error {
    /// The state of the store forbids the request; the sentence explains the reason and the remedy.
    Conflict(Refusal),
    /// The caller is known but may not do this; the sentence names what is missing.
    Forbidden(Refusal),
    /// The cause is only logged; a client sees only the request id.
    Internal(Box<dyn std::error::Error + Send + Sync>),
    /// The value of one member of the request is refused.
    Invalid { field: String, reason: Refusal },
    /// A process of this machine sends no credential, and would need none if it sent the header for local access.
    LocalHeaderMissing,
    /// The request as a whole cannot be read: for example it is not JSON, has two credentials, or has an unknown
    /// parameter.
    Malformed(Refusal),
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
    Unavailable(Refusal),
    /// The route does not read this content type; the text names the type that it reads.
    UnsupportedMediaType(&'static str),
}

impl Error {
    /// Wraps a failure that no client can act on.
    pub fn internal(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        Error::Internal(cause.into())
    }

    /// The value of a member is refused. The reason completes the sentence that begins with the member ("must be …").
    pub fn invalid(field: impl Into<String>, reason: Refusal) -> Error {
        let field = field.into();
        Error::Invalid { field, reason }
    }

    /// As [`Error::invalid`], with a reason that has no code ([`refusals::verbatim`]).
    pub fn invalid_text(field: impl Into<String>, reason: impl Into<String>) -> Error {
        Error::invalid(field, refusals::verbatim(reason))
    }

    /// What a client or the log is given to read.
    pub fn refusal(&self) -> Refusal {
        use refusals::requests;
        match self {
            Error::Conflict(why)
            | Error::Forbidden(why)
            | Error::Malformed(why)
            | Error::Unavailable(why) => why.clone(),
            Error::Internal(cause) => refusals::verbatim(format!("internal error: {cause}")),
            Error::Invalid { field, reason } => requests::invalid(field, reason.clone()),
            Error::LocalHeaderMissing => requests::local_header(),
            Error::MethodNotAllowed { allow } => requests::methods(allow),
            Error::Misdirected => requests::host(),
            Error::NotFound(what) => requests::not_found(refusals::nouns::of(what)),
            Error::TooLarge { limit_bytes } => requests::body_too_large(limit_bytes),
            Error::TooMany { retry_after_s } => requests::too_many(retry_after_s),
            Error::Unauthenticated => requests::credential_needed(),
            Error::UnsupportedMediaType(wanted) => requests::media_type(wanted),
        }
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.refusal().fmt(f)
    }
}

impl std::error::Error for Error {}
