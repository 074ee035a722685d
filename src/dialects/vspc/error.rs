//! Renders errors in the format of this API: `{"errors":[…]}`, each with message, type and code; 5xx is sent as 520
//! (1D-39).

use super::{CONTENT_TYPE, json};
use crate::domain::text::{counted, sentence};
use crate::error::Error;
use crate::http::reply::{Reply, status_of};
use crate::http::request::{Head, Method};
use crate::http::route::RefusedRequest;
use serde::Serialize;
use serde_json::Value;

#[derive(Serialize)]
struct ErrorsBody {
    errors: [ErrorBody; 1],
}

/// Generated clients require the first three members in every error.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ErrorBody {
    message: String,
    r#type: Kind,
    /// The status, or a specific code such as 1001.
    code: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameter_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    property_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failed_json_patch: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<u64>,
}

/// The type of an error. Clients throw an exception for any other spelling, even of `retryableLogical`.
#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
enum Kind {
    Logical,
    RetryableLogical,
    Security,
    Transport,
    Unspecified,
}

/// The code for a property that a JSON Patch cannot change (1D-20).
const CODE_NOT_UPDATED: u16 = 1001;
/// The status of all errors that are 5xx in other dialects.
const STATUS_SERVER: u16 = 520;

/// Renders an error, with the headers that its status requires.
pub fn render(err: &Error, head: &Head) -> Reply {
    let status = match err {
        Error::Internal(_) | Error::Unavailable(_) => STATUS_SERVER,
        Error::Invalid { .. } => 400,
        other => status_of(other),
    };
    let kind = match err {
        Error::Internal(_) => Kind::Unspecified,
        Error::Unavailable(_) => Kind::RetryableLogical,
        Error::Forbidden(_) | Error::LocalHeaderMissing | Error::Unauthenticated => Kind::Security,
        Error::Conflict(_) | Error::Invalid { .. } | Error::Malformed(_) | Error::NotFound(_) => {
            Kind::Logical
        }
        Error::MethodNotAllowed { .. }
        | Error::Misdirected
        | Error::TooLarge { .. }
        | Error::TooMany { .. }
        | Error::UnsupportedMediaType(_) => Kind::Transport,
    };
    let mut body = plain(kind, status, message(err, head));
    match err {
        Error::Invalid { field, .. } if reads_body(head) => {
            body.property_name = Some(field.clone())
        }
        Error::Invalid { field, .. } => body.parameter_name = Some(named(field).to_owned()),
        Error::TooMany { retry_after_s } => body.retry_after = Some(*retry_after_s.max(&1)),
        Error::Unavailable(_) => (body.code, body.retry_after) = (503, Some(5)),
        _ => {}
    }
    let reply = json(status, &ErrorsBody { errors: [body] }).with_advice(err);
    match err {
        Error::LocalHeaderMissing | Error::Unauthenticated => {
            reply.with("www-authenticate", "Bearer")
        }
        _ => reply,
    }
}

/// Renders a violation of HTTP.
pub fn fault(status: u16, why: &str, _head: &Head) -> Reply {
    let body = plain(Kind::Transport, status, sentence(why));
    json(status, &ErrorsBody { errors: [body] })
}

/// Adds the body to a refusal by forward authentication.
pub fn word(refused: &RefusedRequest<'_>, reply: Reply) -> Reply {
    let scopes = refused.needed.iter().map(|scope| scope.name.as_str());
    let (kind, message) = match refused.status {
        401 => (
            Kind::Security,
            "The credential is missing or not accepted.".to_owned(),
        ),
        429 => (Kind::Transport, "Too many requests.".to_owned()),
        _ if refused.needed.is_empty() => (
            Kind::Security,
            format!("Access is denied: {}.", refused.code),
        ),
        _ => (
            Kind::Security,
            format!(
                "Access is denied: the key needs the scope {}.",
                scopes.collect::<Vec<_>>().join(" or ")
            ),
        ),
    };
    let body = ErrorBody {
        retry_after: refused.retry_after_s,
        ..plain(kind, refused.status, message)
    };
    let worded = json(refused.status, &ErrorsBody { errors: [body] });
    reply.body(CONTENT_TYPE, worded.body)
}

/// The answer to a JSON Patch with an operation on a property that cannot be changed in this way (1D-20).
pub fn not_updated(path: &str, operation: Value) -> Reply {
    let message = format!("The property at path '{path}' could not be updated.");
    patch_failed(400, CODE_NOT_UPDATED, message, operation)
}

/// The answer to a JSON Patch with an operation that failed for another reason.
pub fn patch_failed(status: u16, code: u16, message: String, operation: Value) -> Reply {
    let body = ErrorBody {
        failed_json_patch: Some(operation),
        ..plain(Kind::Logical, code, message)
    };
    json(status, &ErrorsBody { errors: [body] })
}

fn plain(r#type: Kind, code: u16, message: String) -> ErrorBody {
    ErrorBody {
        message,
        r#type,
        code,
        parameter_name: None,
        property_name: None,
        failed_json_patch: None,
        retry_after: None,
    }
}

fn message(err: &Error, head: &Head) -> String {
    match err {
        // The log contains the cause under the request id.
        Error::Internal(_) => {
            format!(
                "An internal error; the server's log names it under {}.",
                head.id
            )
        }
        Error::Invalid { field, reason } => {
            format!("The value of '{}' is refused: it {reason}.", named(field))
        }
        Error::NotFound("key" | "authenticator") => {
            format!("User identity {} was not found.", last(head))
        }
        Error::NotFound("user") => format!("User {} was not found.", after(head, "users")),
        Error::NotFound("workspace") => {
            format!(
                "Organization {} was not found.",
                after(head, "organizations")
            )
        }
        Error::NotFound(_) => "The resource was not found.".to_owned(),
        // A sign-in counts attempts instead of requests. Below, its errors are about the password instead of the
        // credential.
        Error::TooMany { retry_after_s } if signs_in(head) => {
            format!(
                "Too many attempts; try again in {}.",
                counted(*retry_after_s.max(&1), "second")
            )
        }
        Error::Unauthenticated if last(head) == "refresh" => {
            "The refresh token is not valid any more.".to_owned()
        }
        Error::Unauthenticated if signs_in(head) => {
            "The user name or the password is not right, or the user is disabled.".to_owned()
        }
        other => sentence(&other.to_string()),
    }
}

/// The name of a parameter in this API.
fn named(field: &str) -> &str {
    match field {
        "Idempotency-Key" => "X-Request-id",
        "secret" => "secretUrl",
        other => other,
    }
}

/// Whether the refused member is in the body instead of the query.
fn reads_body(head: &Head) -> bool {
    let creates_user = head.method == Method::POST && last(head) == "users";
    head.method == Method::PATCH || creates_user || signs_in(head)
}

/// Whether the request is a sign-in whose errors have this format.
fn signs_in(head: &Head) -> bool {
    after(head, "authentication") == last(head) && head.method == Method::POST
}

/// The last segment of the path, as the client sent it.
fn last(head: &Head) -> &str {
    let path = head.path().trim_end_matches('/');
    short(path.rsplit('/').next().unwrap_or(""))
}

/// The segment after the given one.
fn after<'h>(head: &'h Head, name: &str) -> &'h str {
    let mut segments = head
        .path()
        .split('/')
        .skip_while(|segment| *segment != name);
    short(segments.nth(1).unwrap_or(""))
}

/// The start of a segment. Paths are ASCII, so the cut cannot split a character.
fn short(segment: &str) -> &str {
    segment.get(..100).unwrap_or(segment)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::headers::Headers;
    use crate::http::request::{Peer, RequestId};
    use crate::refusals;

    #[track_caller]
    fn check(err: &Error, status: u16, kind: &str, code: u16) {
        let head = Head {
            method: Method::GET,
            target: "/api/v3/users/7/logins/12".parse().unwrap(),
            is_http_11: true,
            headers: Headers::default(),
            peer: Peer::Unix { uid: 0 },
            id: RequestId::new(0, 0),
        };
        let reply = render(err, &head);
        let body: Value = serde_json::from_slice(&reply.body).unwrap();
        let error = &body["errors"][0];
        assert_eq!(reply.status, status, "{body}");
        assert_eq!(error["type"], kind, "{body}");
        assert_eq!(error["code"], code, "{body}");
        assert!(
            error["message"]
                .as_str()
                .is_some_and(|it| it.ends_with('.')),
            "{body}"
        );
        assert!(!body.to_string().contains("the cause"), "{body}");
    }

    // 1D-39
    #[test]
    fn faults_of_the_server_are_520() {
        check(&Error::internal("the cause"), 520, "unspecified", 520);
        check(
            &Error::Unavailable(refusals::server::disk_full()),
            520,
            "retryableLogical",
            503,
        );
        check(
            &Error::Conflict(refusals::keys::expired()),
            409,
            "logical",
            409,
        );
        check(&Error::NotFound("key"), 404, "logical", 404);
        check(&Error::TooLarge { limit_bytes: 1 }, 413, "transport", 413);
    }
}
