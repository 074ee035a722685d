//! Errors as RFC 9457 problem details.

use crate::error::Error;
use crate::http::reply::{Reply, status_of};
use crate::http::request::Head;
use crate::http1::reason;
use serde::Serialize;

#[derive(Serialize)]
struct Problem<'a> {
    r#type: String,
    title: &'static str,
    status: u16,
    code: &'static str,
    detail: String,
    request_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
}

/// Renders an error as problem details, with the headers that its status requires.
pub fn render(err: &Error, head: &Head) -> Reply {
    written(err, head, None)
}

/// As [`render`], for a request about several keys: this one is at fault.
pub fn about_key(err: &Error, head: &Head, key: &str) -> Reply {
    written(err, head, Some(key))
}

fn written(err: &Error, head: &Head, key: Option<&str>) -> Reply {
    let (code, title) = match err {
        Error::Conflict(_) => ("conflict", "Conflict with the current state"),
        Error::Forbidden(_) => ("forbidden", "Not permitted"),
        Error::Internal(_) => ("internal", "Internal error"),
        Error::Invalid { .. } => ("invalid-field", "A member has a value that is refused"),
        Error::Malformed(_) => ("invalid-request", "The request cannot be read"),
        Error::MethodNotAllowed { .. } => ("method-not-allowed", "Method not allowed"),
        Error::Misdirected => ("misdirected", "Not the server that was asked for"),
        Error::NotFound(_) => ("not-found", "Not found"),
        Error::TooLarge { .. } => ("too-large", "Request too large"),
        Error::TooMany { .. } => ("too-many-requests", "Too many requests"),
        Error::LocalHeaderMissing | Error::Unauthenticated => {
            ("unauthenticated", "Credential missing or not accepted")
        }
        Error::Unavailable(_) => ("unavailable", "Temporarily unavailable"),
        Error::UnsupportedMediaType(_) => ("unsupported-media-type", "Unsupported media type"),
    };
    let detail = match err {
        // The log has the cause under the request id.
        Error::Internal(_) => {
            "an internal error; the log of the server names it under the request id".to_owned()
        }
        Error::Misdirected => {
            "the host that was asked for is none of this server's; add it to allowed_hosts if it is"
                .to_owned()
        }
        other => match key {
            Some(key) => format!("key {key}: {other}"),
            None => other.to_string(),
        },
    };
    let field = match err {
        Error::Invalid { field, .. } => Some(field.as_str()),
        _ => None,
    };
    let reply = problem(status_of(err), code, title, detail, (field, key), head);
    let reply = reply.with_advice(err);
    match err {
        Error::LocalHeaderMissing | Error::Unauthenticated => {
            reply.with("www-authenticate", challenge(head))
        }
        _ => reply,
    }
}

/// Renders an error of HTTP itself as problem details.
pub fn fault(status: u16, why: &str, head: &Head) -> Reply {
    let code = match status {
        405 => "method-not-allowed",
        414 | 431 => "too-large",
        _ => "invalid-request",
    };
    let title = reason(status);
    problem(status, code, title, why.to_owned(), (None, None), head)
}

fn problem(
    status: u16,
    code: &'static str,
    title: &'static str,
    detail: String,
    (field, key): (Option<&str>, Option<&str>),
    head: &Head,
) -> Reply {
    let problem = Problem {
        r#type: format!("urn:latchkey:problem:{code}"),
        title,
        status,
        code,
        detail,
        request_id: head.id.to_string(),
        field,
        key,
    };
    Reply::new(status).json_body("application/problem+json", &problem)
}

/// RFC 6750, section 3.1: no error code if the request has no credential.
fn challenge(head: &Head) -> &'static str {
    if head.headers.contains("authorization") || head.headers.contains("x-api-key") {
        "Bearer realm=\"latchkey\", error=\"invalid_token\""
    } else {
        "Bearer realm=\"latchkey\""
    }
}
