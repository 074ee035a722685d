//! Handlers for `POST /v1/verify` and `/v1/verify/batch`.

use super::keys::bodies::{EXAMPLE_ID, EXAMPLE_SECRET, KeyBody};
use crate::domain::keys::ID_PATTERN;
use crate::domain::keys::address::parse_address;
use crate::domain::keys::verdict::{Code, Detail, Question};
use crate::domain::metrics::CODES;
use crate::domain::uid::Uid;
use crate::domain::users::permissions::Permission::{self, KeysRead, KeysVerify};
use crate::error::{Error, Result};
use crate::http::describe::Document;
use crate::http::describe::bodies::{ListBody, Requested, answer, request};
use crate::http::describe::schema::{Components, Schema, Time, either};
use crate::http::reply::Reply;
use crate::http::route::Call;
use crate::ops::keys::{self, View};
use crate::ops::verify::{Outcome, Verdict, verify as decide, verify_blocking};
use crate::refusals::{self, Refusal, values, verbatim, workspaces};
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

/// The maximum number of questions in one batch.
const BATCH_MAX: usize = 100;
/// The maximum number of requests that one verification may count as.
const COST_MAX: u64 = 1_000_000;
/// The maximum number of scopes in one question.
const SCOPES_MAX: usize = 200;
/// Who may ask without a credential.
pub const LOCAL: &str = "Without a credential only for a process of this machine, which sends the header `Latchkey-Local: 1`: \
                     through the Unix socket, or over loopback while `verify_from_loopback` is on (the default). A request \
                     that has a proxy's header, or is HTTP/1.0, needs a credential.";

request! {
    struct QuestionBody as "Question" {
        /// The secret, as the client presented it.
        key: String = EXAMPLE_SECRET,
        /// All of them must be granted. Without any, no scope is needed.
        scopes: Option<Vec<String>> [maxItems = SCOPES_MAX] = ["invoices:read"],
        /// The catalog whose operations and scopes are meant; by default the key's own. It must exist.
        catalog: Option<String>,
        /// Together with `path`: the catalog's operation decides which scopes are needed, and whether a read-only key is
        /// permitted. A question without a method asks about scopes alone: a read-only key is then valid.
        method: Option<String> = "GET",
        /// The path as the client sent it, not decoded. A query, from the first `?` on, is ignored. A catalog refuses a
        /// path with a `#` (`UNSAFE_REQUEST`).
        path: Option<String> = "/invoices/7",
        /// Only together with `path`.
        host: Option<String>,
        /// The end client's IPv4 or IPv6 address. A key with an address list is refused without one.
        ip: Option<String> = "203.0.113.9",
        /// Slug or uid of a workspace that the key must reach.
        workspace: Option<String> = "emea",
        /// The number of requests that this one counts as; 0 consumes nothing.
        cost: Option<u64> [maximum = COST_MAX, default = 1] = 1,
    }
}

request! {
    struct BatchBody as "" {
        items: Vec<QuestionBody> [maxItems = BATCH_MAX] = [QuestionBody::example()],
    }
}

request! {
    struct TextsBody as "" {
        items: Vec<String> [maxItems = BATCH_MAX] = [EXAMPLE_SECRET, "lk_nothing"],
    }
}

/// One question, checked.
struct VerifyRequest {
    key: String,
    scopes: Vec<String>,
    catalog: Option<String>,
    method: Option<String>,
    path: Option<String>,
    host: Option<String>,
    ip: Option<std::net::IpAddr>,
    workspace: Option<Uid>,
    cost: u64,
}

/// A verdict.
#[derive(Serialize)]
#[serde(untagged)]
enum VerdictBody<'a> {
    Valid(ValidBody<'a>),
    Refused(RefusedBody),
}

answer! {
    /// A positive verdict.
    struct ValidBody<'a> as "ValidVerdict" {
        valid: bool [const = true] = true,
        code: &'static str [const = Code::Valid.as_str()] = Code::Valid.as_str(),
        key_id: String [pattern = ID_PATTERN] = EXAMPLE_ID,
        name: &'a str = "billing",
        /// The slug of the workspace.
        workspace: &'a str = "emea",
        /// The name of the user who owns the key.
        owner: Option<&'a str> = "alice",
        scopes: &'a [Box<str>] = ["invoices:read"],
        read_only: bool,
        expires_at: Option<Time>,
        rate_limit: Option<StatusBody> = StatusBody::example(),
        uses_left: Option<u64>,
        /// Present only if the node that answers is not certain to know the changes of the last seconds, because the database that
        /// it shares with other nodes is out of reach or ahead of it: for how many seconds.
        #[serde(skip_serializing_if = "Option::is_none")]
        stale_s: Option<u64>,
        metadata: &'a RawValue,
    }
}

answer! {
    /// A refusal.
    struct RefusedBody as "RefusedVerdict" {
        valid: bool [const = false],
        code: &'static str [enum = refusals()] = "EXPIRED",
        /// Present only if the secret matched.
        #[serde(skip_serializing_if = "Option::is_none")]
        key_id: Option<String> [pattern = ID_PATTERN] = EXAMPLE_ID,
        /// More about `INSUFFICIENT_SCOPE`: the catalog has no such operation, or the path cannot be judged safely.
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<&'static str> [enum = [Detail::UnknownOperation, Detail::UnsafeRequest].map(Detail::as_str)],
        #[serde(skip_serializing_if = "Option::is_none")]
        rate_limit: Option<StatusBody>,
        /// As in a positive verdict.
        #[serde(skip_serializing_if = "Option::is_none")]
        stale_s: Option<u64>,
    }
}

answer! {
    /// What the server knows about a text.
    struct IdentifiedBody<'a> as "Identified" {
        /// A working secret of the key, only the id of a key, or nothing.
        known: &'static str [enum = ["secret", "id", "nothing"]] = "secret",
        key: Option<KeyBody<'a>> = KeyBody::example(),
    }
}

answer! {
    struct StatusBody as "RateStatus" {
        limit: u64 = 60,
        window_s: u64 [minimum = 1] = 60,
        remaining: u64 = 59,
        /// The number of seconds until consumed quota begins to return, or until this request would be allowed.
        reset_s: u64 [minimum = 1] = 60,
    }
}

impl Schema for VerdictBody<'_> {
    fn schema(components: &mut Components) -> Value {
        components.named("Verdict", |components| {
            either(
                ValidBody::schema(components),
                RefusedBody::schema(components),
            )
        })
    }

    fn example() -> Value {
        ValidBody::example()
    }
}

/// The codes of negative verdicts.
fn refusals() -> Vec<&'static str> {
    let all = CODES.iter().filter(|code| **code != Code::Valid);
    all.map(|code| code.as_str()).collect()
}

/// Adds the operations of this file to the description of the server.
pub fn describe(document: &mut Document) {
    document.group("verification", "Is this secret valid for this request?");
    document
        .add("post /v1/verify", "verify", "Verify a secret")
        .about(&format!(
            "Always 200 when the question is well formed; the first reason decides. With a credential, keys outside its \
             workspace's subtree are `NOT_FOUND`. {LOCAL}"
        ))
        .needs(&[KeysVerify])
        .or_anonymous()
        .body::<QuestionBody>()
        .examples(&[
            ("whole", "Everything at once", QuestionBody::example()),
            ("short", "The secret alone", json!({ "key": EXAMPLE_SECRET })),
        ])
        .answers::<VerdictBody>(200, "The verdict.")
        .examples(&[
            ("valid", "Positive", ValidBody::example()),
            ("expired", "Negative", RefusedBody::example()),
        ]);
    document
        .add("post /v1/verify/batch", "verifyBatch", "Verify up to 100 secrets")
        .about(&format!(
            "Verdicts in the order of the questions. All questions are read before the first is decided: an invalid one \
             prevents the others from consuming anything. {LOCAL}"
        ))
        .needs(&[KeysVerify])
        .or_anonymous()
        .body::<BatchBody>()
        .answers::<ListBody<VerdictBody>>(200, "The verdicts.");
    document
        .add("post /v1/keys/identify", "identifyKeys", "Find the keys that secrets belong to")
        .about(
            "For secrets that were found where they should not be. Unlike a verification this does not count as use of the \
             keys.",
        )
        .needs(&[KeysVerify, KeysRead])
        .body::<TextsBody>()
        .answers::<ListBody<IdentifiedBody>>(200, "In the order of the texts.");
}

/// `POST /v1/verify`
pub fn verify(call: &Call<'_>) -> Result<Option<Reply>> {
    let within = within(call)?;
    let asked = VerifyRequest::of(call, QuestionBody::of(call.request)?, "", within)?;
    let render = |verdict: &Verdict<'_>| Reply::new(200).body("application/json", written(verdict));
    let question = asked.question();
    if call.may_wait {
        return verify_blocking(call.app, &asked.key, &question, within, render).map(Some);
    }
    match decide(call.app, &asked.key, &question, within, render) {
        Outcome::Done(reply) => Ok(Some(reply)),
        Outcome::MustWait => Ok(None),
    }
}

/// `POST /v1/verify/batch`
pub fn batch(call: &Call<'_>) -> Result<Reply> {
    let within = within(call)?;
    let items = checked(BatchBody::of(call.request)?.items)?;
    // All questions are checked before the first one is answered, so that an invalid one prevents the others from
    // consuming anything.
    let questions = items.into_iter().enumerate();
    let asked = questions
        .map(|(number, body)| VerifyRequest::of(call, body, &format!("items[{number}]."), within))
        .collect::<Result<Vec<VerifyRequest>>>()?;
    let items = asked
        .iter()
        .map(|asked| {
            let json = verify_blocking(call.app, &asked.key, &asked.question(), within, written)?;
            RawValue::from_string(String::from_utf8(json).map_err(Error::internal)?)
                .map_err(Error::internal)
        })
        .collect::<Result<Vec<_>>>()?;
    Ok(Reply::json(200, &ListBody::of(items)).repeatable())
}

/// `POST /v1/keys/identify`: to which keys leaked secrets belong. Unlike a verification, this does not count as use of
/// the keys.
pub fn identify(call: &Call<'_>) -> Result<Reply> {
    let texts = checked(TextsBody::of(call.request)?.items)?;
    let found = texts
        .iter()
        .map(|text| keys::identify(call.app, call.caller()?, text))
        .collect::<Result<Vec<_>>>()?;
    let items = found
        .iter()
        .map(IdentifiedBody::of)
        .collect::<Result<Vec<_>>>()?;
    Ok(Reply::json(200, &ListBody::of(items)).repeatable())
}

/// The entries of a batch, if there are not too many.
fn checked<T>(items: Vec<T>) -> Result<Vec<T>> {
    if items.len() > BATCH_MAX {
        return Err(Error::invalid(
            "items",
            refusals::values::entries_at_most(BATCH_MAX),
        ));
    }
    Ok(items)
}

impl<'a> IdentifiedBody<'a> {
    fn of(found: &'a Option<(View, bool)>) -> Result<IdentifiedBody<'a>> {
        let known = match found {
            None => "nothing",
            Some((_, false)) => "id",
            Some((_, true)) => "secret",
        };
        let key = found.as_ref().map(|(view, _)| KeyBody::of(view));
        Ok(IdentifiedBody {
            known,
            key: key.transpose()?,
        })
    }
}

/// The subtree that a restricted caller may ask about; everything for a request without a credential.
pub fn within(call: &Call<'_>) -> Result<Option<Uid>> {
    let Some(caller) = call.optional_caller() else {
        return Ok(None);
    };
    caller.require(
        &call.app.index.directory(),
        Permission::KeysVerify,
        caller.reach,
        None,
    )?;
    Ok(Some(caller.reach))
}

/// The uid of no workspace.
const NOWHERE: Uid = Uid(0);

impl VerifyRequest {
    /// Checks a question. A workspace that the caller cannot see counts as one that does not exist. `at` is the place of
    /// the question in the body.
    fn of(
        call: &Call<'_>,
        body: QuestionBody,
        at: &str,
        within: Option<Uid>,
    ) -> Result<VerifyRequest> {
        let refusal =
            |member: &str, reason: Refusal| Error::invalid(format!("{at}{member}"), reason);
        let QuestionBody {
            key,
            catalog,
            method,
            path,
            host,
            ..
        } = body;
        let scopes = body.scopes.unwrap_or_default();
        if scopes.len() > SCOPES_MAX {
            return Err(refusal("scopes", values::entries_at_most(SCOPES_MAX)));
        }
        // The query is dropped because it does not influence the decision, and callers usually have the whole target.
        // Clients never send a fragment to a server: a path with one stays unchanged, and a catalog refuses it.
        let path = path.map(|path| match path.split_once('?') {
            Some((before, _)) if !path.contains('#') => before.to_owned(),
            _ => path,
        });
        let cost = body.cost.unwrap_or(1);
        if cost > COST_MAX {
            return Err(refusal("cost", values::at_most(COST_MAX)));
        }
        match (&method, &path) {
            (Some(_), None) => return Err(refusal("path", verbatim("is needed beside method"))),
            (None, Some(_)) => return Err(refusal("method", verbatim("is needed beside path"))),
            _ => {}
        }
        if host.is_some() && path.is_none() {
            return Err(refusal("path", verbatim("is needed beside host")));
        }
        let ip = body
            .ip
            .map(|text| {
                parse_address(&text)
                    .ok_or_else(|| refusal("ip", verbatim("must be an IPv4 or IPv6 address")))
            })
            .transpose()?;
        let directory = call.app.index.directory();
        if let Some(name) = &catalog
            && directory.catalog(name).is_none()
        {
            return Err(refusal(
                "catalog",
                verbatim("there is no catalog of this name"),
            ));
        }
        let workspace = match body.workspace {
            None => None,
            Some(text) => {
                let place = directory.find_place(&text);
                let found = place
                    .map(|place| place.workspace.uid)
                    .filter(|uid| within.is_none_or(|within| directory.reaches(within, *uid)));
                // A workspace that a site does not have is not reached by any of its keys.
                let elsewhere = call.app.site().map(|_| NOWHERE);
                let found = found.or(elsewhere);
                Some(found.ok_or_else(|| refusal("workspace", workspaces::unknown()))?)
            }
        };
        Ok(VerifyRequest {
            key,
            scopes,
            catalog,
            method,
            path,
            host,
            ip,
            workspace,
            cost,
        })
    }

    fn question(&self) -> Question<'_> {
        Question {
            scopes: self.scopes.iter().map(String::as_str).collect(),
            catalog: self.catalog.as_deref(),
            method: self.method.as_deref(),
            path: self.path.as_deref(),
            told_path: None,
            host: self.host.as_deref(),
            address: self.ip,
            workspace: self.workspace,
            header: None,
            basic: None,
            via: "verify",
            own_secrets_only: false,
            cost: self.cost,
        }
    }
}

/// The verdict as JSON.
fn written(verdict: &Verdict<'_>) -> Vec<u8> {
    let rate_limit = verdict.rate.map(|status| StatusBody {
        limit: status.rate.limit,
        window_s: status.rate.window_s,
        remaining: status.remaining,
        reset_s: status.reset_s,
    });
    let valid = verdict.key.filter(|_| verdict.code == Code::Valid);
    let held = valid.map(|key| verdict.scopes(key));
    let metadata = valid.map(|key| serde_json::from_str(key.metadata()));
    let body = match (verdict.code, verdict.key, &held, metadata) {
        (Code::Valid, Some(key), Some(held), Some(Ok(metadata))) => VerdictBody::Valid(ValidBody {
            valid: true,
            code: verdict.code.as_str(),
            key_id: key.id.to_string(),
            name: &key.name,
            workspace: verdict
                .directory
                .place(key.shared.workspace)
                .map_or("", |place| &place.workspace.slug),
            owner: key
                .shared
                .owner
                .and_then(|owner| verdict.directory.user(owner))
                .map(|owner| owner.user_name.as_str()),
            scopes: held,
            read_only: key.shared.read_only,
            expires_at: key.ends_at().map(Time),
            rate_limit,
            uses_left: verdict.uses_left,
            stale_s: verdict.stale_s,
            metadata,
        }),
        (code, key, _, _) => VerdictBody::Refused(RefusedBody {
            valid: false,
            code: code.as_str(),
            key_id: key.map(|key| key.id.to_string()),
            reason: verdict.detail.map(|detail| detail.as_str()),
            rate_limit,
            stale_s: verdict.stale_s,
        }),
    };
    // Serialising plain members cannot fail; if it did, an empty answer would grant nothing.
    serde_json::to_vec(&body).unwrap_or_default()
}
