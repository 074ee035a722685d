//! Handlers for `POST /v1/verify` and `/v1/verify/batch`.

use super::keys::{KeyBody, PageBody};
use crate::domain::keys::address::parse_address;
use crate::domain::keys::verdict::{Code, Question};
use crate::domain::uid::Uid;
use crate::domain::users::permissions::Permission;
use crate::error::{Error, Result};
use crate::http::fields::Fields;
use crate::http::reply::Reply;
use crate::http::route::Call;
use crate::ops::keys::{self, View};
use crate::ops::verify::{Outcome, Verdict, verify as decide, verify_blocking};
use serde::Serialize;
use serde_json::value::RawValue;

/// The maximum number of questions in one batch.
const BATCH_MAX: usize = 100;
/// The maximum number of requests that one verification may count as.
const COST_MAX: u64 = 1_000_000;
/// The maximum number of scopes in one question.
const SCOPES_MAX: usize = 200;

/// One question as the client sent it.
struct Asked {
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

/// A positive verdict.
#[derive(Serialize)]
struct ValidBody<'a> {
    valid: bool,
    code: &'static str,
    key_id: String,
    name: &'a str,
    workspace: &'a str,
    owner: Option<&'a str>,
    scopes: &'a [Box<str>],
    read_only: bool,
    expires_at: Option<String>,
    rate_limit: Option<StatusBody>,
    uses_left: Option<u64>,
    metadata: &'a RawValue,
}

/// A refusal. It contains the key's id only if the secret matched.
#[derive(Serialize)]
struct RefusedBody {
    valid: bool,
    code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rate_limit: Option<StatusBody>,
}

/// What the server knows about a text: `secret` (it is a working secret of the key), `id` (only its id is that of a
/// key) or `nothing`.
#[derive(Serialize)]
struct IdentifiedBody<'a> {
    known: &'static str,
    key: Option<KeyBody<'a>>,
}

#[derive(Serialize)]
struct StatusBody {
    limit: u64,
    window_s: u64,
    remaining: u64,
    reset_s: u64,
}

/// `POST /v1/verify`
pub fn verify(call: &Call<'_>) -> Result<Option<Reply>> {
    let within = within(call)?;
    let mut body = Fields::of(call.request)?;
    let asked = Asked::read(call, &mut body, within)?;
    body.finish()?;
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
    let items = items(call, |body| body.objects("items"))?;
    // All questions are parsed before the first one is answered, so that an invalid one prevents the others from
    // consuming anything.
    let read = |mut item: Fields| {
        let asked = Asked::read(call, &mut item, within)?;
        item.finish()?;
        Ok(asked)
    };
    let asked = items
        .into_iter()
        .map(read)
        .collect::<Result<Vec<Asked>>>()?;
    let items = asked
        .iter()
        .map(|asked| {
            let json = verify_blocking(call.app, &asked.key, &asked.question(), within, written)?;
            RawValue::from_string(String::from_utf8(json).map_err(Error::internal)?)
                .map_err(Error::internal)
        })
        .collect::<Result<Vec<_>>>()?;
    Ok(PageBody::whole(items).repeatable())
}

/// `POST /v1/keys/identify`: to which keys leaked secrets belong. Unlike a verification, this does not count as use of
/// the keys.
pub fn identify(call: &Call<'_>) -> Result<Reply> {
    let texts = items(call, |body| body.texts("items"))?;
    let found = texts
        .iter()
        .map(|text| keys::identify(call.app, call.caller()?, text))
        .collect::<Result<Vec<_>>>()?;
    let items = found
        .iter()
        .map(IdentifiedBody::of)
        .collect::<Result<Vec<_>>>()?;
    Ok(PageBody::whole(items).repeatable())
}

/// The member `items` of a request that has no other member.
fn items<T>(
    call: &Call<'_>,
    read: impl FnOnce(&mut Fields) -> Result<Option<Vec<T>>>,
) -> Result<Vec<T>> {
    let mut body = Fields::of(call.request)?;
    let items = read(&mut body)?.ok_or_else(|| Error::invalid("items", "is needed"))?;
    body.finish()?;
    if items.len() > BATCH_MAX {
        return Err(Error::invalid(
            "items",
            format!("must have at most {BATCH_MAX} entries"),
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

impl Asked {
    /// Parses a question. A workspace that the caller cannot see counts as one that does not exist.
    fn read(call: &Call<'_>, body: &mut Fields, within: Option<Uid>) -> Result<Asked> {
        let key = body.required_text("key")?;
        let scopes = body.texts("scopes")?.unwrap_or_default();
        if scopes.len() > SCOPES_MAX {
            return Err(body.refusal("scopes", format!("must have at most {SCOPES_MAX} entries")));
        }
        let catalog = body.text("catalog")?;
        let method = body.text("method")?;
        let path = body.text("path")?;
        // The query is dropped because it does not influence the decision, and callers usually have the whole target.
        // Clients never send a fragment to a server: a path with one stays unchanged, and a catalog refuses it.
        let path = path.map(|path| match path.split_once('?') {
            Some((before, _)) if !path.contains('#') => before.to_owned(),
            _ => path,
        });
        let host = body.text("host")?;
        let ip = body.text("ip")?;
        let workspace = body.text("workspace")?;
        let cost = body.number("cost")?.unwrap_or(1);
        if cost > COST_MAX {
            return Err(body.refusal("cost", format!("must be at most {COST_MAX}")));
        }
        match (&method, &path) {
            (Some(_), None) => return Err(body.refusal("path", "is needed beside method")),
            (None, Some(_)) => return Err(body.refusal("method", "is needed beside path")),
            _ => {}
        }
        if host.is_some() && path.is_none() {
            return Err(body.refusal("path", "is needed beside host"));
        }
        let ip = ip
            .map(|text| {
                parse_address(&text)
                    .ok_or_else(|| body.refusal("ip", "must be an IPv4 or IPv6 address"))
            })
            .transpose()?;
        let directory = call.app.index.directory();
        if let Some(name) = &catalog
            && directory.catalog(name).is_none()
        {
            return Err(body.refusal("catalog", "there is no catalog of this name"));
        }
        let workspace = match workspace {
            None => None,
            Some(text) => {
                let place = directory.find_place(&text);
                let found = place
                    .map(|place| place.workspace.uid)
                    .filter(|uid| within.is_none_or(|within| directory.reaches(within, *uid)));
                Some(found.ok_or_else(|| body.refusal("workspace", "there is no such workspace"))?)
            }
        };
        Ok(Asked {
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
            host: self.host.as_deref(),
            address: self.ip,
            workspace: self.workspace,
            header: None,
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
    let json = match (
        verdict.code,
        verdict.key,
        verdict.key.map(|key| serde_json::from_str(key.metadata())),
    ) {
        (Code::Valid, Some(key), Some(Ok(metadata))) => serde_json::to_vec(&ValidBody {
            valid: true,
            code: verdict.code.as_str(),
            key_id: key.id.to_string(),
            name: &key.name,
            workspace: verdict
                .directory
                .place(key.kin.workspace)
                .map_or("", |place| &place.workspace.slug),
            owner: key
                .kin
                .owner
                .and_then(|owner| verdict.directory.user(owner))
                .map(|owner| owner.user_name.as_str()),
            scopes: &verdict.scopes(key),
            read_only: key.kin.read_only,
            expires_at: key.ends_at().map(|end| end.to_string()),
            rate_limit,
            uses_left: verdict.uses_left,
            metadata,
        }),
        (code, key, _) => serde_json::to_vec(&RefusedBody {
            valid: false,
            code: code.as_str(),
            key_id: key.map(|key| key.id.to_string()),
            reason: verdict.detail.map(|detail| detail.as_str()),
            rate_limit,
        }),
    };
    // Serialising plain members cannot fail; if it did, an empty answer would grant nothing.
    json.unwrap_or_default()
}
