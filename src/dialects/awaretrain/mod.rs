//! Awaretrain: API keys with scopes and an expiry time, as `Authorization: Bearer`.
//!
//! Awaretrain has no API for managing keys: the console, the native API and the command line manage them under the
//! policy `awaretrain`. This dialect covers the use of a key. A proxy asks with `?catalog=awaretrain`. A client that
//! sends a request of Awaretrain's API to this server learns whether its key opens the request: the answer is 204, or
//! the refusal that Awaretrain's clients expect. Numbers such as 1B-25 refer to the table in `README.md`.

mod preset;

pub use preset::PRESET;

use crate::domain::catalogs::Scope;
use crate::domain::text::sentence;
use crate::error::{Error, Result};
use crate::http::reply::{Reply, status_of};
use crate::http::request::Head;
use crate::http::route::{
    Access::Public, Call, CatalogWords, RefusedRequest, Route, Surface, inline, judge,
};
use crate::http1::BodyRule::Ignore;
use serde::Serialize;
use std::collections::BTreeMap;

pub const SURFACE: Surface = Surface {
    name: NAME,
    mount: MOUNT,
    movable: true,
    routes: ROUTES,
    // A gateway may send the host of its own client.
    checks_host: false,
    render_error: render,
    render_fault: |status, why, _| told(Reply::new(status), why),
    would_authenticate: None,
    refusals: Some(WORDS),
    moved: None,
    describes: None,
};

/// The name of the dialect, of its policy and of its catalog.
const NAME: &str = "awaretrain";
/// The prefix of the paths of Awaretrain's API (1B-26).
const MOUNT: &str = "/public/v1";

const WORDS: CatalogWords = CatalogWords {
    catalog: NAME,
    word,
};

#[rustfmt::skip] // Columns are the point of this table.
const ROUTES: &[Route] = &[
    inline("*", "",           Public, Ignore, check),
    inline("*", "/{path...}", Public, Ignore, check),
];

/// Answers any request of Awaretrain's API: whether its key may make the request.
fn check(call: &Call<'_>) -> Result<Option<Reply>> {
    judge(call, &WORDS, MOUNT)
}

/// The body of every refusal (1B-33: Awaretrain's own format is not documented).
#[derive(Serialize)]
struct Refusal<'a> {
    message: &'a str,
    /// The fields at fault, each with the reason.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    errors: BTreeMap<&'a str, [String; 1]>,
}

fn told(reply: Reply, message: &str) -> Reply {
    let errors = BTreeMap::new();
    reply.json_body("application/json", &Refusal { message, errors })
}

fn word(refused: &RefusedRequest<'_>, reply: Reply) -> Reply {
    let lacking;
    let message = match (refused.status, refused.code) {
        (401, _) => "Unauthenticated.",
        (429, _) => "Too many requests.",
        (405, _) => "The endpoint has other methods.",
        (_, "INSUFFICIENT_SCOPE")
            if !refused.needed.is_empty() || !refused.needed_together.is_empty() =>
        {
            let names = |scopes: &[&Scope], word: &str| {
                let names: Vec<&str> = scopes.iter().map(|scope| &*scope.name).collect();
                names.join(word)
            };
            let together = names(&refused.needed_together, " and ");
            let one = names(&refused.needed, " or ");
            let between = match together.is_empty() || one.is_empty() {
                true => "",
                false => ", and ",
            };
            lacking = format!("The API key lacks the scope {together}{between}{one}.");
            &lacking
        }
        (_, "INSUFFICIENT_SCOPE") => "The API key lacks the scope for this request.",
        (_, "IP_NOT_ALLOWED") => "The API key may not be used from this IP address.",
        (_, "UNKNOWN_OPERATION") => "Not found.",
        (_, "UNSAFE_REQUEST") => "The request cannot be read without doubt.",
        _ => "The API key may not make this request.",
    };
    let reply = match refused.status {
        // RFC 9110, 15.5.2
        401 if !reply.headers.contains("www-authenticate") => {
            reply.with("www-authenticate", "Bearer")
        }
        _ => reply,
    };
    told(reply, message)
}

/// Renders the errors of this dialect. Some cannot occur, because it reads nothing but the head.
fn render(err: &Error, head: &Head) -> Reply {
    let with = |message: &str| told(Reply::new(status_of(err)), message);
    match err {
        Error::Internal(_) => with(&format!(
            "Server error; it is in the log under {}.",
            head.id
        )),
        Error::Invalid { field, reason } => {
            let refusal = Refusal {
                message: &sentence(&err.to_string()),
                errors: [(field.as_str(), [reason.to_string()])]
                    .into_iter()
                    .collect(),
            };
            Reply::json(422, &refusal)
        }
        Error::NotFound(_) => with("Not found."),
        Error::LocalHeaderMissing | Error::Unauthenticated => {
            word(&RefusedRequest::credential(), Reply::new(401))
        }
        Error::Conflict(_)
        | Error::Forbidden(_)
        | Error::Malformed(_)
        | Error::MethodNotAllowed { .. }
        | Error::Misdirected
        | Error::TooLarge { .. }
        | Error::TooMany { .. }
        | Error::Unavailable(_)
        | Error::UnsupportedMediaType(_) => with(&sentence(&err.to_string())).with_advice(err),
    }
}
