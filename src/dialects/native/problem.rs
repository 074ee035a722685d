//! Errors as RFC 9457 problem details.

use crate::error::Error;
use crate::http::describe::bodies::answer;
use crate::http::describe::schema::{Components, Schema};
use crate::http::reply::{Reply, status_of};
use crate::http::request::Head;
use crate::http1::reason;
use crate::refusals;
use serde_json::{Map, Value, json};

answer! {
    /// RFC 9457 problem details.
    struct Problem<'a> as "Problem" {
        r#type: String [pattern = "^urn:latchkey:problem:[a-z-]+$"],
        title: &'a str,
        status: u16 [minimum = 400, maximum = 599],
        code: &'static str [enum = codes()],
        detail: String,
        request_id: String = EXAMPLE_REQUEST_ID,
        /// The member at fault, such as `rate_limit.limit`.
        #[serde(skip_serializing_if = "Option::is_none")]
        field: Option<&'a str>,
        /// The id of the key at fault, in a request about several keys.
        #[serde(skip_serializing_if = "Option::is_none")]
        key: Option<&'a str>,
    }
}

/// The id of the request in all examples.
pub const EXAMPLE_REQUEST_ID: &str = "6f1c2a9b0000000000000007";

/// A kind of problem.
struct Kind {
    /// The name of the component in the description.
    name: &'static str,
    status: u16,
    code: &'static str,
    title: &'static str,
    about: &'static str,
    /// The detail of an example.
    detail: &'static str,
    /// A header of the answer, its description and whether it is a number.
    header: Option<(&'static str, &'static str, bool)>,
}

const fn kind(
    (name, status, code): (&'static str, u16, &'static str),
    title: &'static str,
    about: &'static str,
    detail: &'static str,
) -> Kind {
    let header = match status {
        401 => Some(("WWW-Authenticate", "RFC 6750, section 3.", false)),
        405 => Some(("Allow", "The methods of the path.", false)),
        429 | 503 => Some(("Retry-After", "Seconds.", true)),
        _ => None,
    };
    Kind {
        name,
        status,
        code,
        title,
        about,
        detail,
        header,
    }
}

const MALFORMED: Kind = kind(
    ("invalid-request", 400, "invalid-request"),
    "The request cannot be read",
    "Not JSON, a wrong shape, an unknown or repeated parameter, or two credentials.",
    "the parameter limit must be 1 to 500",
);
const UNAUTHENTICATED: Kind = kind(
    ("unauthenticated", 401, "unauthenticated"),
    "Credential missing or not accepted",
    "The credential is missing or not accepted; the answer never reveals which.",
    "a valid credential is needed",
);
const FORBIDDEN: Kind = kind(
    ("forbidden", 403, "forbidden"),
    "Not permitted",
    "The caller is known, but may not do this.",
    "this credential does not have keys:write",
);
const NOT_FOUND: Kind = kind(
    ("not-found", 404, "not-found"),
    "Not found",
    "Absent, or not visible to the caller: the answer is the same.",
    "there is no such key",
);
const METHOD_NOT_ALLOWED: Kind = kind(
    ("method-not-allowed", 405, "method-not-allowed"),
    "Method not allowed",
    "The path exists with other methods; `Allow` lists them.",
    "this path takes GET, HEAD, POST",
);
const BODY_TIMEOUT: Kind = kind(
    ("body-timeout", 408, "invalid-request"),
    "Request Timeout",
    "The body did not arrive within ten seconds.",
    "the body did not arrive in time",
);
const CONFLICT: Kind = kind(
    ("conflict", 409, "conflict"),
    "Conflict with the current state",
    "The current state does not permit it: a policy, the last owner, a name that is taken, a limit that is reached.",
    "there is a workspace emea already",
);
const TOO_LARGE: Kind = kind(
    ("too-large", 413, "too-large"),
    "Request too large",
    "The body exceeds the limit of the route.",
    "the body is larger than 65536 bytes",
);
const UNSUPPORTED_MEDIA_TYPE: Kind = kind(
    ("unsupported-media-type", 415, "unsupported-media-type"),
    "Unsupported media type",
    "The body does not have the content type that the route reads.",
    "the body must be application/json",
);
const EXPECTATION_FAILED: Kind = kind(
    ("expectation-failed", 417, "invalid-request"),
    "Expectation Failed",
    "`Expect` has another value than `100-continue`.",
    "only Expect: 100-continue is understood",
);
const MISDIRECTED: Kind = kind(
    ("misdirected", 421, "misdirected"),
    "Not the server that was asked for",
    "The `Host` is none of this server's (protection against DNS rebinding); see `allowed_hosts`.",
    "the host that was asked for is none of this server's; add it to allowed_hosts if it is",
);
const INVALID: Kind = kind(
    ("invalid-field", 422, "invalid-field"),
    "A member has a value that is refused",
    "One member has a value that is refused, or is no member of this request; `field` names it.",
    "name: must not be empty",
);
const TOO_MANY: Kind = kind(
    ("too-many-requests", 429, "too-many-requests"),
    "Too many requests",
    "The credential's own rate limit, the budget of changes of the caller or the workspace, or too many failed attempts to \
     sign in.",
    "too many requests; try again in 7 seconds",
);
const INTERNAL: Kind = kind(
    ("internal", 500, "internal"),
    "Internal error",
    "The cause is in the server's log under the request id.",
    "an internal error; the log of the server names it under the request id",
);
const UNAVAILABLE: Kind = kind(
    ("unavailable", 503, "unavailable"),
    "Temporarily unavailable",
    "The store cannot be written at the moment (full, locked, busy).",
    "the database cannot be written just now",
);

const SITES_UNCONFIRMED: Kind = kind(
    ("sites-unconfirmed", 503, "sites-unconfirmed"),
    "The change is made, and a site may not have it yet",
    "The store cannot be written at the moment (full, locked, busy): `unavailable`. Or, with `sites-unconfirmed`: the change is \
     made, and not every linked site has confirmed it within a minute; the detail names the sites, and until when they may \
     answer as before.",
    "the change is made, but these sites may still answer as before it: plant-7 until 2026-11-28T22:00:00Z at the latest",
);

/// Of a site alone, so it is not in the description of a server.
const PACK_STALE: Kind = kind(
    ("pack-stale", 503, "pack-stale"),
    "The site knows nothing new enough",
    "The newest pack of this site has ended, or there is none; or a linked site had no word of its server for too long.",
    "PACK_STALE",
);

/// Of a node that shares its database with others, so it is not in the description of a server either.
const STALE: Kind = kind(
    ("stale", 503, "stale"),
    "This node may not know every change",
    "The database that this node shares with others is out of reach, or this node has not all of its changes yet.",
    "STALE",
);

/// Of such a node as well.
const OUTCOME_UNKNOWN: Kind = kind(
    ("outcome-unknown", 503, "outcome-unknown"),
    "The change may have been made",
    "The connection to the database broke while the change was saved, and what became of it is not known yet.",
    "it is not known whether this was saved; ask again with the same Idempotency-Key",
);

const KINDS: [&Kind; 16] = [
    &MALFORMED,
    &UNAUTHENTICATED,
    &FORBIDDEN,
    &NOT_FOUND,
    &METHOD_NOT_ALLOWED,
    &BODY_TIMEOUT,
    &CONFLICT,
    &TOO_LARGE,
    &UNSUPPORTED_MEDIA_TYPE,
    &EXPECTATION_FAILED,
    &MISDIRECTED,
    &INVALID,
    &TOO_MANY,
    &INTERNAL,
    &UNAVAILABLE,
    &SITES_UNCONFIRMED,
];

/// Every code, once.
fn codes() -> Vec<&'static str> {
    let mut codes: Vec<&str> = KINDS.iter().map(|kind| kind.code).collect();
    codes.sort_unstable();
    codes.dedup();
    codes
}

/// The refusals of the API, as components of its description.
pub fn responses(components: &mut Components) -> Map<String, Value> {
    let schema = Problem::schema(components);
    let described = KINDS.iter().map(|kind| {
        let example = Problem {
            r#type: format!("urn:latchkey:problem:{}", kind.code),
            title: kind.title,
            status: kind.status,
            code: kind.code,
            detail: kind.detail.to_owned(),
            request_id: EXAMPLE_REQUEST_ID.to_owned(),
            field: (kind.status == INVALID.status).then_some("name"),
            key: None,
        };
        let content = json!({ "schema": schema, "example": example });
        let mut response =
            json!({ "description": kind.about, "content": { "application/problem+json": content } });
        if let Some((name, about, is_number)) = kind.header {
            let schema = match is_number {
                true => json!({ "type": "integer", "minimum": 1 }),
                false => json!({ "type": "string" }),
            };
            response["headers"][name] = json!({ "description": about, "schema": schema });
        }
        (kind.name.to_owned(), response)
    });
    described.collect()
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
    let kind = match err {
        Error::Conflict(_) => CONFLICT,
        Error::Forbidden(_) => FORBIDDEN,
        Error::Internal(_) => INTERNAL,
        Error::Invalid { .. } => INVALID,
        Error::Malformed(_) => MALFORMED,
        Error::MethodNotAllowed { .. } => METHOD_NOT_ALLOWED,
        Error::Misdirected => MISDIRECTED,
        Error::NotFound(_) => NOT_FOUND,
        Error::TooLarge { .. } => TOO_LARGE,
        Error::TooMany { .. } => TOO_MANY,
        Error::LocalHeaderMissing | Error::Unauthenticated => UNAUTHENTICATED,
        Error::Unavailable(why) if refusals::site::is_stale(why) => PACK_STALE,
        Error::Unavailable(why) if refusals::server::is_stale(why) => STALE,
        Error::Unavailable(why) if refusals::server::is_outcome_unknown(why) => OUTCOME_UNKNOWN,
        Error::Unavailable(why) if refusals::packs::is_unconfirmed(why) => SITES_UNCONFIRMED,
        Error::Unavailable(_) => UNAVAILABLE,
        Error::UnsupportedMediaType(_) => UNSUPPORTED_MEDIA_TYPE,
    };
    let detail = match err {
        // The log has the cause under the request id.
        Error::Internal(_) | Error::Misdirected => kind.detail.to_owned(),
        other => match key {
            Some(key) => format!("key {key}: {other}"),
            None => other.to_string(),
        },
    };
    let field = match err {
        Error::Invalid { field, .. } => Some(field.as_str()),
        _ => None,
    };
    let reply = problem(
        status_of(err),
        kind.code,
        kind.title,
        detail,
        (field, key),
        head,
    )
    .with_advice(err);
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
