//! Handlers for keys: `/v1/keys` and `/v1/whoami`.

use super::problem;
use crate::domain::keys::metadata::is_listed;
use crate::domain::keys::quota::RateLimit;
use crate::domain::keys::{KeyId, State};
use crate::error::{Error, Result};
use crate::http::fields::Fields;
use crate::http::numbers;
use crate::http::query::Query;
use crate::http::reply::Reply;
use crate::http::route::Call;
use crate::ops::idempotency::Retry;
use crate::ops::keys::edit::Edit;
use crate::ops::keys::issue::NewKey;
use crate::ops::keys::list::{self, Filter};
use crate::ops::keys::many::{self, Deed, Refused};
use crate::ops::keys::rotate::{Grace, Life, rotate_own as rotate_own_key};
use crate::ops::keys::{self, Issued, View};
use serde::Serialize;
use serde_json::value::RawValue;

/// The default number of rows on a page.
pub const LIMIT_DEFAULT: u64 = 100;
/// The maximum number of rows on a page.
pub const LIMIT_MAX: u64 = 500;
/// The maximum number of metadata members in the filter of one list.
const METADATA_MAX: usize = 5;
/// The maximum length of an Idempotency-Key.
const IDEMPOTENCY_KEY_BYTES_MAX: usize = 200;

/// A key as JSON.
#[derive(Serialize)]
pub struct KeyBody<'a> {
    id: String,
    hint: &'a str,
    name: &'a str,
    description: &'a str,
    workspace: &'a str,
    owner: Option<&'a str>,
    policy: &'a str,
    catalog: Option<&'a str>,
    scopes: &'a [String],
    read_only: bool,
    enabled: bool,
    state: &'static str,
    not_before: Option<String>,
    expires_at: Option<String>,
    allowed_ips: Option<Vec<String>>,
    rate_limit: Option<RateBody>,
    uses_left: Option<u64>,
    metadata: &'a RawValue,
    created_by: &'a str,
    created_at: String,
    rotated_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    self_rotated_from: Option<&'a str>,
    last_used_at: Option<String>,
    last_used_ip: Option<&'a str>,
    use_count: u64,
}

#[derive(Serialize)]
pub struct RateBody {
    pub limit: u64,
    pub window_s: u64,
}

/// The only body of this dialect that carries a key's secret.
#[derive(Serialize)]
struct IssuedBody<'a> {
    key: KeyBody<'a>,
    secret: Option<&'a str>,
}

/// A page of a list.
#[derive(Serialize)]
pub struct PageBody<T> {
    pub items: Vec<T>,
    pub next_cursor: Option<String>,
}

impl<T: Serialize> PageBody<T> {
    /// The answer with a list that has no further page.
    pub fn whole(items: Vec<T>) -> Reply {
        Reply::json(
            200,
            &PageBody {
                items,
                next_cursor: None,
            },
        )
    }
}

impl<'a> KeyBody<'a> {
    /// The representation of the key in every answer of this dialect.
    pub fn of(view: &'a View) -> Result<KeyBody<'a>> {
        let key = &view.key;
        Ok(KeyBody {
            id: key.id.to_string(),
            hint: &key.hint,
            name: &key.name,
            description: &key.description,
            workspace: &view.workspace,
            owner: view.owner.as_deref(),
            policy: &key.policy,
            catalog: key.catalog.as_deref(),
            scopes: &key.scopes,
            read_only: key.read_only,
            enabled: key.enabled,
            state: view.state.as_str(),
            not_before: key.not_before.map(|at| at.to_string()),
            expires_at: key.expires_at.map(|at| at.to_string()),
            allowed_ips: key
                .allowed_ips
                .as_ref()
                .map(|list| list.blocks().iter().map(ToString::to_string).collect()),
            rate_limit: key.rate_limit.map(|rate| RateBody {
                limit: rate.limit,
                window_s: rate.window_s,
            }),
            uses_left: key.uses_left,
            metadata: serde_json::from_str(&key.metadata).map_err(Error::internal)?,
            created_by: &key.created_by,
            created_at: key.created_at.to_string(),
            rotated_at: key.rotated_at.map(|at| at.to_string()),
            self_rotated_from: key.self_rotated_from.as_deref(),
            last_used_at: view.usage.last_used_at.map(|at| at.to_string()),
            last_used_ip: view.usage.last_used_ip.as_deref(),
            use_count: view.usage.use_count,
        })
    }
}

/// `GET /v1/keys`
pub fn list(call: &Call<'_>) -> Result<Reply> {
    let mut query = call.query()?;
    let filter = Filter {
        workspace: query.take("workspace"),
        policy: query.take("policy"),
        owner: query.take("owner"),
        created_by: query.take("created_by"),
        state: state(query.take("state"))?,
        query: query.take("q"),
        expiring_within_s: query.take_number("expiring_within_s")?,
        metadata: metadata(&mut query)?,
    };
    let (after, limit) = (cursor(call, &mut query)?, limit(&mut query)?);
    query.finish()?;
    let page = list::list(call.app, call.caller()?, &filter, after, limit)?;
    let items = page
        .items
        .iter()
        .map(KeyBody::of)
        .collect::<Result<Vec<_>>>()?;
    Ok(Reply::json(
        200,
        &PageBody {
            items,
            next_cursor: page.next,
        },
    ))
}

/// `POST /v1/keys`
pub fn issue(call: &Call<'_>) -> Result<Reply> {
    let retry = retry(call)?;
    numbers::check_member(&call.request.body, "metadata")?;
    let mut body = Fields::of(call.request)?;
    let new = NewKey {
        name: body.required_text("name")?,
        description: body.text("description")?.unwrap_or_default(),
        workspace: body.text("workspace")?,
        owner: body.text_or_null("owner")?,
        policy: body.text("policy")?,
        catalog: body.text("catalog")?,
        scopes: body.texts("scopes")?.unwrap_or_default(),
        read_only: body.flag("read_only")?.unwrap_or(false),
        disabled: !body.flag("enabled")?.unwrap_or(true),
        not_before: body.time("not_before")?,
        expires_at: body.time("expires_at")?,
        expires_in_s: body.number("expires_in_s")?,
        allowed_ips: body.texts("allowed_ips")?,
        rate_limit: rate_limit(body.object("rate_limit")?)?,
        uses_left: body.number("uses_left")?,
        metadata: body.free_object("metadata")?.unwrap_or_default(),
        prefix: body.text("prefix")?,
    };
    body.finish()?;
    let issued = keys::issue::issue(call.app, call.caller()?, new, retry)?;
    shown(201, &issued)
}

/// `GET /v1/keys/{id}`
pub fn find(call: &Call<'_>) -> Result<Reply> {
    let view = keys::find(call.app, call.caller()?, id(call)?)?;
    Ok(Reply::json(200, &KeyBody::of(&view)?))
}

/// `PATCH /v1/keys/{id}`
pub fn edit(call: &Call<'_>) -> Result<Reply> {
    numbers::check_member(&call.request.body, "metadata")?;
    let mut body = Fields::of(call.request)?;
    let edit = Edit {
        name: body.text_not_null("name")?,
        description: body
            .text_or_null("description")?
            .map(Option::unwrap_or_default),
        scopes: body.texts_or_null("scopes")?.map(Option::unwrap_or_default),
        read_only: body
            .flag_or_null("read_only")?
            .map(Option::unwrap_or_default),
        enabled: body.flag_or_null("enabled")?.map(|on| on.unwrap_or(true)),
        not_before: body.time_or_null("not_before")?,
        expires_at: body.time_or_null("expires_at")?,
        expires_in_s: body.number("expires_in_s")?,
        allowed_ips: body.texts_or_null("allowed_ips")?,
        rate_limit: match body.object_or_null("rate_limit")? {
            None => None,
            Some(fields) => Some(rate_limit(fields)?),
        },
        uses_left: body.number_or_null("uses_left")?,
        metadata: body
            .free_object_or_null("metadata")?
            .map(Option::unwrap_or_default),
        owner: body.text_or_null("owner")?,
    };
    body.finish()?;
    let view = keys::edit::edit(call.app, call.caller()?, id(call)?, edit)?;
    Ok(Reply::json(200, &KeyBody::of(&view)?))
}

/// `DELETE /v1/keys/{id}`
pub fn delete(call: &Call<'_>) -> Result<Reply> {
    let mut body = Fields::of_optional(call.request)?;
    let confirm_name = body.text("confirm_name")?;
    body.finish()?;
    keys::delete(call.app, call.caller()?, id(call)?, confirm_name)?;
    Ok(Reply::new(204))
}

/// `POST /v1/keys/batch`: applies one action to several keys, either to all of them or to none. A refusal names the
/// key.
pub fn batch(call: &Call<'_>) -> Result<Reply> {
    let mut body = Fields::of(call.request)?;
    let action = body.required_text("action")?;
    let ids = body.texts("ids")?;
    let names = body.texts("confirm_names")?;
    body.finish()?;
    let deed = Deed::ALL.into_iter().find(|(_, word)| *word == action);
    let (deed, _) = deed.ok_or_else(|| {
        let words = Deed::ALL.map(|(_, word)| word).join(", ");
        Error::invalid("action", format!("must be one of {words}"))
    })?;
    let ids = ids.ok_or_else(|| Error::invalid("ids", "is needed"))?;
    if let Some(strange) = ids.iter().find(|id| KeyId::parse(id).is_none()) {
        let err = Error::NotFound("key");
        return Ok(problem::about_key(&err, call.request, strange));
    }
    let ids = ids.iter().filter_map(|id| KeyId::parse(id)).collect();
    let views = match many::change(call.app, call.caller()?, deed, ids, names) {
        Ok(views) => views,
        Err(Refused {
            key: Some(id),
            error,
        }) => {
            return Ok(problem::about_key(&error, call.request, &id.to_string()));
        }
        Err(Refused { key: None, error }) => return Err(error),
    };
    let items = views.iter().map(KeyBody::of).collect::<Result<Vec<_>>>()?;
    Ok(PageBody::whole(items))
}

/// `POST /v1/keys/{id}/rotate`
pub fn rotate(call: &Call<'_>) -> Result<Reply> {
    let issued = keys::rotate::rotate(
        call.app,
        call.caller()?,
        id(call)?,
        grace(call, Grace::parse)?,
    )?;
    shown(200, &issued)
}

/// `POST /v1/keys/{id}/disable`
pub fn disable(call: &Call<'_>) -> Result<Reply> {
    switch(call, false)
}

/// `POST /v1/keys/{id}/enable`
pub fn enable(call: &Call<'_>) -> Result<Reply> {
    switch(call, true)
}

/// `POST /v1/keys/{id}/reveal`
pub fn reveal(call: &Call<'_>) -> Result<Reply> {
    Fields::of_optional(call.request)?.finish()?;
    let issued = keys::reveal::reveal(call.app, call.caller()?, id(call)?)?;
    shown(200, &issued)
}

/// `GET /v1/whoami`
pub fn whoami(call: &Call<'_>) -> Result<Reply> {
    let view = keys::whoami(call.app, call.caller()?)?;
    Ok(Reply::json(200, &KeyBody::of(&view)?))
}

/// `POST /v1/whoami/rotate`
pub fn rotate_own(call: &Call<'_>) -> Result<Reply> {
    let secret = call.secret.ok_or(Error::Unauthenticated)?;
    let (caller, grace) = (call.caller()?, grace(call, Grace::parse_own)?);
    let issued = rotate_own_key(call.app, caller, secret.to_owned(), grace, Life::Kept)?;
    shown(200, &issued)
}

fn switch(call: &Call<'_>, enabled: bool) -> Result<Reply> {
    Fields::of_optional(call.request)?.finish()?;
    let view = keys::edit::switch(call.app, call.caller()?, id(call)?, enabled)?;
    Ok(Reply::json(200, &KeyBody::of(&view)?))
}

fn shown(status: u16, issued: &Issued) -> Result<Reply> {
    let key = KeyBody::of(&issued.view)?;
    let secret = issued.secret.as_ref().map(|secret| secret.expose());
    Ok(Reply::json(status, &IssuedBody { key, secret }))
}

fn grace(call: &Call<'_>, parse: fn(Option<u64>, bool) -> Result<Grace>) -> Result<Grace> {
    let mut body = Fields::of_optional(call.request)?;
    let grace = parse(
        body.number("grace_s")?,
        body.flag("until_first_use")?.unwrap_or(false),
    )?;
    body.finish()?;
    Ok(grace)
}

/// A rate limit, or none.
pub fn rate_limit(fields: Option<Fields>) -> Result<Option<RateLimit>> {
    let Some(mut fields) = fields else {
        return Ok(None);
    };
    let rate = RateLimit {
        limit: fields.required_number("limit")?,
        window_s: fields.required_number("window_s")?,
    };
    fields.finish()?;
    Ok(Some(rate))
}

fn id(call: &Call<'_>) -> Result<KeyId> {
    KeyId::parse(call.param("id")).ok_or(Error::NotFound("key"))
}

fn state(text: Option<String>) -> Result<Option<State>> {
    let find = |text: String| State::ALL.into_iter().find(|state| state.as_str() == text);
    match text {
        None => Ok(None),
        Some(text) => find(text).map(Some).ok_or_else(|| {
            let all: Vec<&str> = State::ALL.iter().map(|state| state.as_str()).collect();
            Error::Malformed(format!(
                "the parameter state must be one of {}",
                all.join(", ")
            ))
        }),
    }
}

/// The filter by metadata: each parameter is named `metadata.NAME`.
fn metadata(query: &mut Query) -> Result<Vec<(String, String)>> {
    let wanted = query.take_beginning_with("metadata.");
    if wanted.len() > METADATA_MAX {
        return Err(Error::Malformed(format!(
            "at most {METADATA_MAX} parameters metadata.… can be given"
        )));
    }
    if !wanted.iter().all(|(name, _)| is_listed(name)) {
        return Err(Error::Malformed(
            "behind metadata. a parameter must have the name of a member: 1 to 100 letters, digits, _, - and .".to_owned(),
        ));
    }
    Ok(wanted)
}

fn cursor(call: &Call<'_>, query: &mut Query) -> Result<Option<KeyId>> {
    let refused = || {
        Error::Malformed(
            "the parameter cursor must be a next_cursor of an earlier answer; if it was one of an older version, \
             list from the beginning"
                .to_owned(),
        )
    };
    query
        .take("cursor")
        .map(|text| list::open_cursor(call.app, &text).ok_or_else(refused))
        .transpose()
}

/// The length of a page: 1 to 500, by default 100.
pub fn limit(query: &mut Query) -> Result<usize> {
    let limit = query.take_number("limit")?.unwrap_or(LIMIT_DEFAULT);
    if !(1..=LIMIT_MAX).contains(&limit) {
        return Err(Error::Malformed(format!(
            "the parameter limit must be 1 to {LIMIT_MAX}"
        )));
    }
    Ok(limit as usize)
}

/// The Idempotency-Key, bound to this route and body.
pub fn retry(call: &Call<'_>) -> Result<Option<Retry>> {
    let refused = || {
        Error::invalid(
            "Idempotency-Key",
            format!("must be 1 to {IDEMPOTENCY_KEY_BYTES_MAX} visible ASCII characters, once"),
        )
    };
    let Some(name) = call
        .request
        .header("idempotency-key")
        .map_err(|_| refused())?
    else {
        return Ok(None);
    };
    if name.is_empty()
        || name.len() > IDEMPOTENCY_KEY_BYTES_MAX
        || !name.bytes().all(|b| b.is_ascii_graphic())
    {
        return Err(refused());
    }
    Ok(Some(Retry::new(
        name,
        call.request.path(),
        &call.request.body,
    )))
}
