//! Aware: API tokens with permissions, in the header `X-Aware-Api-Key`.
//!
//! Aware has no API for managing tokens: the console, the native API and the command line manage them under the policy
//! `aware`. This dialect covers the use of a token. A proxy asks with `?catalog=aware`. A client that sends a request
//! of Aware's API to this server learns whether its token opens the request: the answer is 204, or the refusal that
//! Aware's clients expect. Numbers such as 1A-24 refer to the table in `README.md`.

mod preset;

pub use preset::PRESET;

use crate::domain::text::{counted, sentence};
use crate::error::{Error, Result};
use crate::http::reply::{Reply, status_of};
use crate::http::request::Head;
use crate::http::route::{
    Access::Public, Call, CatalogWords, RefusedRequest, Route, Surface, inline, judge,
};
use crate::http1::BodyRule::Ignore;
use serde::Serialize;

pub const SURFACE: Surface = Surface {
    name: NAME,
    mount: MOUNT,
    movable: true,
    routes: ROUTES,
    // A gateway may send the host of its own client.
    checks_host: false,
    render_error: render,
    render_fault: |status, why, _| Refusal::new(status, why).on(Reply::new(status)),
    would_authenticate: None,
    refusals: Some(WORDS),
    moved: None,
    describes: None,
};

/// The name of the dialect, of its policy and of its catalog.
const NAME: &str = "aware";
/// The prefix of the paths of Aware's API (1A-25).
const MOUNT: &str = "/external";

const WORDS: CatalogWords = CatalogWords {
    catalog: NAME,
    word,
};

#[rustfmt::skip] // Columns are the point of this table.
const ROUTES: &[Route] = &[
    inline("*", "",           Public, Ignore, check),
    inline("*", "/{path...}", Public, Ignore, check),
];

/// Answers any request of Aware's API: whether its token may make the request.
fn check(call: &Call<'_>) -> Result<Option<Reply>> {
    judge(call, &WORDS, MOUNT)
}

/// The body of every refusal (1A-38: Aware's own format is not documented).
#[derive(Serialize)]
struct Refusal<'a> {
    error: &'static str,
    message: &'a str,
    /// The permissions of which the endpoint requires one (1A-32).
    #[serde(
        rename = "requiredPermissions",
        skip_serializing_if = "Option::is_none"
    )]
    required_permissions: Option<Vec<&'a str>>,
}

impl<'a> Refusal<'a> {
    fn new(status: u16, message: &'a str) -> Refusal<'a> {
        Refusal {
            error: match status {
                400 => "bad_request",
                401 => "unauthorized",
                403 => "forbidden",
                404 => "not_found",
                405 => "method_not_allowed",
                408 => "request_timeout",
                409 => "conflict",
                413 => "payload_too_large",
                414 => "uri_too_long",
                415 => "unsupported_media_type",
                417 => "expectation_failed",
                421 => "misdirected_request",
                422 => "unprocessable_content",
                429 => "too_many_requests",
                431 => "headers_too_large",
                500 => "internal_error",
                503 => "unavailable",
                _ => "refused",
            },
            message,
            required_permissions: None,
        }
    }

    fn on(&self, reply: Reply) -> Reply {
        reply.json_body("application/json", self)
    }
}

fn word(refused: &RefusedRequest<'_>, reply: Reply) -> Reply {
    let limited;
    let message = match (refused.status, refused.code) {
        (401, _) => "A valid API token is needed in the header X-Aware-Api-Key.",
        (429, _) => {
            limited = format!(
                "Too many requests; try again in {}.",
                counted(refused.retry_after_s.unwrap_or(1), "second")
            );
            &limited
        }
        (405, _) => "The endpoint has other methods.",
        (_, "INSUFFICIENT_SCOPE") => "The token lacks the permission for this endpoint.",
        (_, "UNKNOWN_OPERATION") => "There is no such endpoint.",
        (_, "UNSAFE_REQUEST") => "The request cannot be read without doubt.",
        _ => "The token may not make this request.",
    };
    let needed = refused.needed_together.iter().chain(&refused.needed);
    let mut labels = needed.map(|scope| match scope.label.as_str() {
        "" => scope.name.as_str(),
        label => label,
    });
    let body = Refusal {
        required_permissions: labels
            .next()
            .map(|first| [first].into_iter().chain(labels).collect()),
        ..Refusal::new(refused.status, message)
    };
    let reply = match refused.status {
        // RFC 9110, 15.5.2 requires a challenge. The scheme is our own, because the key is not in `Authorization`.
        401 if !reply.headers.contains("www-authenticate") => {
            reply.with("www-authenticate", "ApiKey realm=\"aware\"")
        }
        _ => reply,
    };
    body.on(reply)
}

/// Renders the errors of this dialect. Some cannot occur, because it reads nothing but the head.
fn render(err: &Error, head: &Head) -> Reply {
    let told = |message: &str| {
        let status = status_of(err);
        Refusal::new(status, message).on(Reply::new(status))
    };
    match err {
        Error::Internal(_) => told(&format!(
            "Something went wrong; it is in the log under {}.",
            head.id
        )),
        Error::NotFound(_) => word(
            &RefusedRequest {
                status: 404,
                code: "UNKNOWN_OPERATION",
                ..RefusedRequest::default()
            },
            Reply::new(404),
        ),
        Error::LocalHeaderMissing | Error::Unauthenticated => {
            word(&RefusedRequest::credential(), Reply::new(401))
        }
        Error::Conflict(_)
        | Error::Forbidden(_)
        | Error::Invalid { .. }
        | Error::Malformed(_)
        | Error::MethodNotAllowed { .. }
        | Error::Misdirected
        | Error::TooLarge { .. }
        | Error::TooMany { .. }
        | Error::Unavailable(_)
        | Error::UnsupportedMediaType(_) => told(&sentence(&err.to_string())).with_advice(err),
    }
}
