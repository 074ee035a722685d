//! Handlers that tell why a key does not open a request: `POST /v1/keys/{id}/test` and `GET /v1/keys/{id}/refusals`.

use super::id;
use crate::domain::keys::verdict::{Code, Detail};
use crate::domain::metrics::CODES;
use crate::domain::users::permissions::Permission::KeysRead;
use crate::error::Result;
use crate::http::describe::Document;
use crate::http::describe::bodies::{ListBody, Requested, answer, request};
use crate::http::describe::schema::Time;
use crate::http::reply::Reply;
use crate::http::route::Call;
use crate::index::refused::{REFUSALS_MAX, Refused};
use crate::ops::keys::refused::refusals;
use crate::ops::verify::trial::{Request, SCOPES_MAX, try_key};

request! {
    /// A request to try; each member as in a question about a secret.
    struct TrialBody as "Trial" {
        scopes: Option<Vec<String>> [maxItems = SCOPES_MAX] = ["invoices:read"],
        catalog: Option<String>,
        /// Together with `path`.
        method: Option<String> = "GET",
        path: Option<String> = "/invoices/7",
        /// Only together with `path`.
        host: Option<String>,
        /// The end client's IPv4 or IPv6 address.
        ip: Option<String> = "203.0.113.9",
        /// Slug or uid of a workspace that the key must reach.
        workspace: Option<String>,
    }
}

answer! {
    /// The verdict that the request would get.
    struct TriedBody as "Tried" {
        valid: bool,
        code: &'static str [enum = CODES.map(Code::as_str)] = Code::IpNotAllowed.as_str(),
        /// As in a verdict on a secret.
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<&'static str> [enum = [Detail::UnknownOperation, Detail::UnsafeRequest].map(Detail::as_str)],
        /// A sentence for people: the reason, and what would change the verdict.
        detail: String = "198.51.100.7 is not among the addresses of the key (203.0.113.0/24); add it to the key, or send the request from one of them",
    }
}

answer! {
    struct RefusalBody as "KeyRefusal" {
        at: Time,
        code: &'static str [enum = CODES.map(Code::as_str)] = Code::IpNotAllowed.as_str(),
        /// As in a verdict on a secret.
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<&'static str> [enum = [Detail::UnknownOperation, Detail::UnsafeRequest].map(Detail::as_str)],
        /// The address of the end client; null if the question had none.
        ip: Option<String> = "198.51.100.7",
        /// Null if the question had none.
        method: Option<String> = "GET",
        /// Without its query; long segments, which may be secrets, and long paths are cut, with `…` at the end.
        path: Option<String> = "/invoices/7",
    }
}

/// Adds the operations of this file to the description of the server.
pub fn describe(document: &mut Document) {
    document
        .add("post /v1/keys/{id}/test", "testKey", "Try whether a key would open a request")
        .about(
            "The verdict that the newest secret of the key would get now, and a sentence that says what would change it. \
             Nothing is spent, counted or recorded. The header that a secret is sent in is not tried.",
        )
        .needs(&[KeysRead])
        .body::<TrialBody>()
        .answers::<TriedBody>(200, "The verdict.");
    document
        .add("get /v1/keys/{id}/refusals", "listKeyRefusals", "List the latest refused requests of a key")
        .about(&format!(
            "The last {REFUSALS_MAX} requests with a secret of the key that were refused, newest first. Only the memory of the \
             server has them: after a restart, and when very many keys are refused, there are fewer. `GET /v1/usage` has the \
             numbers by hour and code, for 92 days.",
        ))
        .needs(&[KeysRead])
        .answers::<ListBody<RefusalBody>>(200, "The refusals.");
}

/// `POST /v1/keys/{id}/test`
pub fn test(call: &Call<'_>) -> Result<Reply> {
    let body = TrialBody::of(call.request)?;
    let request = Request {
        scopes: body.scopes.unwrap_or_default(),
        catalog: body.catalog,
        method: body.method,
        path: body.path,
        host: body.host,
        ip: body.ip,
        workspace: body.workspace,
    };
    let tried = try_key(call.app, call.caller()?, id(call)?, &request)?;
    let body = TriedBody {
        valid: tried.code == Code::Valid,
        code: tried.code.as_str(),
        reason: tried.detail.map(Detail::as_str),
        detail: tried.why.to_string(),
    };
    Ok(Reply::json(200, &body).repeatable())
}

/// `GET /v1/keys/{id}/refusals`
pub fn list_refusals(call: &Call<'_>) -> Result<Reply> {
    let found = refusals(call.app, call.caller()?, id(call)?)?;
    let items = found.iter().map(RefusalBody::of).collect();
    Ok(Reply::json(200, &ListBody::of(items)))
}

impl RefusalBody {
    fn of(one: &Refused) -> RefusalBody {
        let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        RefusalBody {
            at: Time(one.at),
            code: one.code.as_str(),
            reason: one.detail.map(Detail::as_str),
            ip: one.address.map(|address| address.to_string()),
            method: some(&one.method),
            path: some(&one.path),
        }
    }
}
