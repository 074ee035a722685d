//! Handlers for keys: `/v1/keys` and `/v1/whoami`.

pub mod bodies;
mod import;
mod operations;
mod trial;

use super::problem;
use crate::domain::keys::metadata::is_listed;
use crate::domain::keys::quota::RateLimit;
use crate::domain::keys::rotation::Grace;
use crate::domain::keys::{KeyId, State};
use crate::error::{Error, Result};
use crate::http::describe::bodies::{ListBody, PageBody, Requested, no_members};
use crate::http::numbers;
use crate::http::query::Query;
use crate::http::reply::Reply;
use crate::http::route::Call;
use crate::ops::idempotency::Retry;
use crate::ops::keys::issue::NewKey;
use crate::ops::keys::list::{self, Filter, ISSUED};
use crate::ops::keys::many::{self, BatchAction, BatchRefusal, NewEnd};
use crate::ops::keys::members::KeyMembers;
use crate::ops::keys::rotate::{RotatedExpiry, rotate_own as rotate_own_key};
use crate::ops::keys::{self, Issued};
use crate::refusals;
use bodies::{
    BatchBody, DeletionBody, IssuedBody, KeyBody, KeyEditBody, KeyMembersBody, NewKeyBody,
    RotationBody,
};
pub use import::{export, import};
pub use operations::describe;
pub use trial::{list_refusals, test};

/// The default number of rows on a page.
pub const LIMIT_DEFAULT: u64 = 100;
/// The maximum number of rows on a page.
pub const LIMIT_MAX: u64 = 500;
/// The maximum number of metadata members in the filter of one list.
const METADATA_MAX: usize = 5;
/// The maximum length of an Idempotency-Key.
const IDEMPOTENCY_KEY_BYTES_MAX: usize = 200;

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
        source: source(query.take("source"))?,
        scope: query.take("scope"),
        unused_for_s: query.take_number("unused_for_s")?,
        never_expires: flag(&mut query, "never_expires")?,
        has_previous: flag(&mut query, "has_previous")?,
        weak: flag(&mut query, "weak")?,
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
    let body = NewKeyBody::of(call.request)?;
    let new = NewKey {
        workspace: body.workspace,
        policy: body.policy,
        catalog: body.catalog,
        prefix: body.prefix,
        members: KeyMembers {
            name: Some(body.name),
            owner: body.owner,
            ..members(body.members.0)
        },
    };
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
    let body = KeyEditBody::of(call.request)?;
    let edit = KeyMembers {
        name: body.name.0,
        owner: body.owner,
        ..members(body.members.0)
    };
    let view = keys::edit::edit(call.app, call.caller()?, id(call)?, edit)?;
    Ok(Reply::json(200, &KeyBody::of(&view)?))
}

/// The members that a new key and an edit both may have. Null brings a default back.
pub fn members(body: KeyMembersBody) -> KeyMembers {
    KeyMembers {
        name: None,
        owner: None,
        description: body.description.map(Option::unwrap_or_default),
        contact: body.contact.map(Option::unwrap_or_default),
        scopes: body.scopes.map(Option::unwrap_or_default),
        read_only: body.read_only.map(Option::unwrap_or_default),
        enabled: body.enabled.map(|on| on.unwrap_or(true)),
        not_before: body.not_before,
        expires_at: body.expires_at,
        expires_in_s: body.expires_in_s,
        allowed_ips: body.allowed_ips,
        rate_limit: body.rate_limit.map(|rate| rate.map(RateLimit::from)),
        uses_left: body.uses_left,
        metadata: body
            .metadata
            .map(|object| object.map_or_else(String::new, |object| object.0)),
    }
}

/// `DELETE /v1/keys/{id}`
pub fn delete(call: &Call<'_>) -> Result<Reply> {
    let body = DeletionBody::of_optional(call.request)?;
    keys::delete(call.app, call.caller()?, id(call)?, body.confirm_name)?;
    Ok(Reply::new(204))
}

/// `POST /v1/keys/batch`: applies one action to several keys, either to all of them or to none. A refusal names the
/// key.
pub fn batch(call: &Call<'_>) -> Result<Reply> {
    let body = BatchBody::of(call.request)?;
    let (ids, names) = (body.ids, body.confirm_names);
    let end = NewEnd {
        expires_at: body.expires_at,
        expires_in_s: body.expires_in_s,
        within_policy: body.within_policy,
    };
    let deed = BatchAction::parse(&body.action, end, call.app.now().wall)?;
    if let Some(strange) = ids.iter().find(|id| KeyId::parse(id).is_none()) {
        let err = Error::NotFound("key");
        return Ok(problem::about_key(&err, call.request, strange));
    }
    let ids = ids.iter().filter_map(|id| KeyId::parse(id)).collect();
    let views = match many::change(call.app, call.caller()?, deed, ids, names) {
        Ok(views) => views,
        Err(BatchRefusal {
            key: Some(id),
            error,
        }) => {
            return Ok(problem::about_key(&error, call.request, &id.to_string()));
        }
        Err(BatchRefusal { key: None, error }) => return Err(error),
    };
    let items = views.iter().map(KeyBody::of).collect::<Result<Vec<_>>>()?;
    Ok(Reply::json(200, &ListBody::of(items)))
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

/// `DELETE /v1/keys/{id}/previous`
pub fn end_previous(call: &Call<'_>) -> Result<Reply> {
    keys::rotate::end_previous(call.app, call.caller()?, id(call)?)?;
    Ok(Reply::new(204))
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
    no_members(call.request)?;
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
    let issued = rotate_own_key(
        call.app,
        caller,
        secret.to_owned(),
        grace,
        RotatedExpiry::Kept,
    )?;
    shown(200, &issued)
}

fn switch(call: &Call<'_>, enabled: bool) -> Result<Reply> {
    no_members(call.request)?;
    let view = keys::edit::switch(call.app, call.caller()?, id(call)?, enabled)?;
    Ok(Reply::json(200, &KeyBody::of(&view)?))
}

fn shown(status: u16, issued: &Issued) -> Result<Reply> {
    let key = KeyBody::of(&issued.view)?;
    let secret = issued.secret.as_ref().map(|secret| secret.expose());
    Ok(Reply::json(status, &IssuedBody { key, secret }))
}

fn grace(call: &Call<'_>, parse: fn(Option<u64>, bool) -> Result<Grace>) -> Result<Grace> {
    let body = RotationBody::of_optional(call.request)?;
    parse(body.grace_s, body.until_first_use.unwrap_or(false))
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
            Error::Malformed(refusals::verbatim(format!(
                "the parameter state must be one of {}",
                all.join(", ")
            )))
        }),
    }
}

/// A parameter that is true or false.
fn flag(query: &mut Query, name: &str) -> Result<Option<bool>> {
    match query.take(name).as_deref() {
        None => Ok(None),
        Some("true") => Ok(Some(true)),
        Some("false") => Ok(Some(false)),
        Some(_) => Err(Error::Malformed(refusals::verbatim(format!(
            "the parameter {name} must be true or false"
        )))),
    }
}

/// The filter by source: one of the words, or more of the member behind a colon.
fn source(text: Option<String>) -> Result<Option<String>> {
    let is_known = |text: &String| {
        let word = text.split(':').next().unwrap_or_default();
        ["file", "import"].contains(&word) || text == ISSUED
    };
    match text {
        Some(text) if !is_known(&text) => Err(Error::Malformed(refusals::verbatim(
            "the parameter source must be issued, file or import, or begin with file: or import:",
        ))),
        text => Ok(text),
    }
}

/// The filter by metadata: each parameter is named `metadata.NAME`.
fn metadata(query: &mut Query) -> Result<Vec<(String, String)>> {
    let wanted = query.take_beginning_with("metadata.");
    if wanted.len() > METADATA_MAX {
        return Err(Error::Malformed(refusals::verbatim(format!(
            "at most {METADATA_MAX} parameters metadata.… can be given"
        ))));
    }
    if !wanted.iter().all(|(name, _)| is_listed(name)) {
        return Err(Error::Malformed(refusals::verbatim(
            "behind metadata. a parameter must have the name of a member: 1 to 100 letters, digits, _, - and .",
        )));
    }
    Ok(wanted)
}

fn cursor(call: &Call<'_>, query: &mut Query) -> Result<Option<KeyId>> {
    let refused = || {
        Error::Malformed(refusals::verbatim(
            "the parameter cursor must be a next_cursor of an earlier answer; if it was one of an older version, \
             list from the beginning",
        ))
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
        return Err(Error::Malformed(refusals::verbatim(format!(
            "the parameter limit must be 1 to {LIMIT_MAX}"
        ))));
    }
    Ok(limit as usize)
}

/// The Idempotency-Key, bound to this route and body.
pub fn retry(call: &Call<'_>) -> Result<Option<Retry>> {
    let refused = || {
        Error::invalid_text(
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
