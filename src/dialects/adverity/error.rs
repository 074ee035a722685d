//! Renders errors in the format of this API: always `detail`; if members are at fault, also `errors` by member, and the
//! same members again at the top level (1C-35, 1C-41). The documentation describes this format only for `/api/`; this
//! server uses it for `/api/v1/` too.

use crate::domain::text::sentence;
use crate::error::{Error, Result};
use crate::http::reply::{Reply, status_of};
use crate::http::request::Head;
use crate::http::route::RefusedRequest;
use serde_json::{Value, json};

/// The text for an invalid credential.
const INVALID_TOKEN: &str = "Invalid token.";
const NO_CREDENTIAL: &str = "Authentication credentials were not provided.";
const NO_PERMISSION: &str = "You do not have permission to perform this action.";
const JSON: &str = "application/json";
const FAILED: &str = "A server error occurred.";

/// Renders an error, with the headers that its status requires.
pub fn render(err: &Error, head: &Head) -> Reply {
    let with = |text: &str| detail(status_of(err), text).with_advice(err);
    match err {
        Error::Conflict(why) | Error::Malformed(why) => detail(400, &sentence(&why.to_string())),
        Error::Forbidden(_) => with(NO_PERMISSION),
        // The log contains the cause under the request id.
        Error::Internal(_) => with(FAILED),
        Error::Invalid { field, reason } => invalid(&[(field, &sentence(&reason.to_string()))]),
        Error::MethodNotAllowed { .. } => {
            with(&format!("Method \"{}\" not allowed.", head.method.as_str()))
        }
        Error::Misdirected => with("This server does not answer for that host."),
        Error::NotFound("page") => with("Invalid page."),
        Error::NotFound(_) => with("Not found."),
        Error::TooLarge { limit_bytes } => {
            with(&format!("Request body is larger than {limit_bytes} bytes."))
        }
        Error::TooMany { retry_after_s } => with(&throttling((*retry_after_s).max(1))),
        Error::LocalHeaderMissing | Error::Unauthenticated => {
            with(unauthenticated(head)).with("www-authenticate", "Token")
        }
        Error::Unavailable(_) => with("Service temporarily unavailable, try again later."),
        Error::UnsupportedMediaType(_) => {
            let media_type = head.header("content-type").ok().flatten().unwrap_or("");
            with(&format!(
                "Unsupported media type \"{media_type}\" in request."
            ))
        }
    }
}

/// Renders a violation of HTTP.
pub fn fault(status: u16, why: &str, _: &Head) -> Reply {
    detail(status, why)
}

/// Adds the body to the refusal of a request that a proxy asked about.
pub fn refusal(refused: &RefusedRequest<'_>, reply: Reply) -> Reply {
    let text = match refused.status {
        401 => INVALID_TOKEN.to_owned(),
        404 => "Not found.".to_owned(),
        429 => throttling(refused.retry_after_s.unwrap_or(1).max(1)),
        _ => NO_PERMISSION.to_owned(),
    };
    reply.json_body(JSON, &json!({ "detail": text }))
}

fn detail(status: u16, text: &str) -> Reply {
    Reply::json(status, &json!({ "detail": text }))
}

/// Renders the faults of all members together.
pub fn invalid(faults: &[(&str, &str)]) -> Reply {
    // This preserves the order of the members: `detail`, `errors`, and the members at fault.
    let members: Vec<String> = faults
        .iter()
        .map(|(field, message)| format!("{}:{}", Value::from(*field), Value::from(vec![*message])))
        .collect();
    let members = members.join(",");
    let body = format!(r#"{{"detail":"Validation failed","errors":{{{members}}},{members}}}"#);
    Reply::new(400).body(JSON, body.into_bytes())
}

/// Like [`invalid`], for errors that each concern one member; any other error is returned instead.
pub fn invalid_all<const N: usize>(errors: [Option<Error>; N]) -> Result<Reply> {
    let mut faults: Vec<(String, String)> = Vec::new();
    for err in errors.into_iter().flatten() {
        match err {
            Error::Invalid { field, reason } => faults.push((field, sentence(&reason.to_string()))),
            other => return Err(other),
        }
    }
    let faults: Vec<(&str, &str)> = faults
        .iter()
        .map(|(field, reason)| (field.as_str(), reason.as_str()))
        .collect();
    Ok(invalid(&faults))
}

fn throttling(seconds: u64) -> String {
    let unit = if seconds == 1 { "second" } else { "seconds" };
    format!("Request was throttled. Expected available in {seconds} {unit}.")
}

/// A credential with another scheme than `Token` or `Bearer` counts as absent.
fn unauthenticated(head: &Head) -> &'static str {
    let known = |value: &[u8]| {
        let scheme = value.split(|byte| *byte == b' ').next();
        scheme.is_some_and(|scheme| {
            scheme.eq_ignore_ascii_case(b"token") || scheme.eq_ignore_ascii_case(b"bearer")
        })
    };
    let presented = head.headers.all("authorization").any(known);
    match presented || head.headers.contains("x-api-key") {
        true => INVALID_TOKEN,
        false => NO_CREDENTIAL,
    }
}
