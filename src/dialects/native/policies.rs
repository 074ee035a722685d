//! Handlers for policies: `/v1/policies`.

use super::keys::{PageBody, RateBody, rate_limit, retry};
use crate::domain::keys::quota::RateLimit;
use crate::domain::policies::roles::RoleRule;
use crate::domain::policies::{
    AddressRule, AtMax, CredentialHeader, Editable, Expiry, Field, IssuedBy, Policy, Presence,
    ReadOnlyBy, SecretShown, SelfRotation, TiedTo, Words, from_word, word, words,
};
use crate::domain::users::Role;
use crate::error::{Error, Result};
use crate::http::fields::Fields;
use crate::http::reply::Reply;
use crate::http::route::Call;
use crate::ops::policies::{self, PolicyEdit, pages};
use serde::Serialize;
use std::collections::BTreeMap;

#[derive(Serialize)]
struct PolicyBody<'a> {
    name: &'a str,
    description: &'a str,
    issued_by: &'static str,
    owner: &'static str,
    catalog: Option<&'a str>,
    scopes: &'static str,
    headers: Vec<&'a str>,
    read_only_by: &'static str,
    expiry: &'static str,
    expiry_s_max: Option<u64>,
    expiry_months_max: Option<u32>,
    addresses: &'static str,
    keys_per_workspace_max: Option<u32>,
    keys_per_owner_max: Option<u32>,
    at_owner_max: &'static str,
    name_unique: bool,
    secret_shown: &'static str,
    editable: Vec<&'static str>,
    can_disable: bool,
    can_rotate: bool,
    self_rotation: &'static str,
    confirm_name: bool,
    tied_to: &'static str,
    acts_for_owner: bool,
    roles: BTreeMap<&'static str, RoleBody<'a>>,
    rate_limit: Option<RateBody>,
    rate_limit_max: Option<RateBody>,
    prefix: &'a str,
}

/// What a key that acts for its owner inherits from a role of the owner.
#[derive(Serialize)]
struct RoleBody<'a> {
    scopes: &'a [Box<str>],
    read_only: bool,
}

impl<'a> PolicyBody<'a> {
    fn of(policy: &'a Policy) -> PolicyBody<'a> {
        PolicyBody {
            name: &policy.name,
            description: &policy.description,
            issued_by: word(policy.issued_by),
            owner: word(policy.owner),
            catalog: policy.catalog.as_deref(),
            scopes: word(policy.scopes),
            headers: policy
                .headers
                .iter()
                .map(CredentialHeader::as_str)
                .collect(),
            read_only_by: word(policy.read_only_by),
            expiry: word(policy.expiry),
            expiry_s_max: policy.expiry_s_max,
            expiry_months_max: policy.expiry_months_max,
            addresses: word(policy.addresses),
            keys_per_workspace_max: policy.keys_per_workspace_max,
            keys_per_owner_max: policy.keys_per_owner_max,
            at_owner_max: word(policy.at_owner_max),
            name_unique: policy.name_unique,
            secret_shown: word(policy.secret_shown),
            editable: policy.editable.words(),
            can_disable: policy.can_disable,
            can_rotate: policy.can_rotate,
            self_rotation: word(policy.self_rotation),
            confirm_name: policy.confirm_name,
            tied_to: word(policy.tied_to),
            acts_for_owner: policy.acts_for_owner,
            roles: policy.roles.iter().map(role_body).collect(),
            rate_limit: policy.rate_limit.map(rate_body),
            rate_limit_max: policy.rate_limit_max.map(rate_body),
            prefix: &policy.prefix,
        }
    }
}

/// `GET /v1/policies`
pub fn list(call: &Call<'_>) -> Result<Reply> {
    let found = policies::list(call.app, call.caller()?)?;
    let items: Vec<_> = found.iter().map(|policy| PolicyBody::of(policy)).collect();
    Ok(PageBody::whole(items))
}

/// `GET /v1/policies/{name}`
pub fn find(call: &Call<'_>) -> Result<Reply> {
    let policy = policies::find(call.app, call.caller()?, call.param("name"))?;
    Ok(Reply::json(200, &PolicyBody::of(&policy)))
}

/// The body of a request for a page, and of its answer.
#[derive(Serialize)]
struct PolicyPageBody {
    on: bool,
}

/// `PUT /v1/policies/{name}/page`
pub fn switch_page(call: &Call<'_>) -> Result<Reply> {
    let mut body = Fields::of(call.request)?;
    let on = body.flag("on")?;
    let on = on.ok_or_else(|| Error::invalid("on", "is needed"))?;
    body.finish()?;
    pages::switch(call.app, call.caller()?, call.param("name"), on)?;
    Ok(Reply::json(200, &PolicyPageBody { on }))
}

/// `POST /v1/policies`
pub fn create(call: &Call<'_>) -> Result<Reply> {
    let retry = retry(call)?;
    let mut body = Fields::of(call.request)?;
    let name = body.required_text("name")?;
    let asked = edit_of(body)?;
    let policy = policies::create(call.app, call.caller()?, name, asked, retry)?;
    Ok(Reply::json(201, &PolicyBody::of(&policy)))
}

/// `PATCH /v1/policies/{name}`
pub fn edit(call: &Call<'_>) -> Result<Reply> {
    let asked = edit_of(Fields::of(call.request)?)?;
    let policy = policies::edit(call.app, call.caller()?, call.param("name"), asked)?;
    Ok(Reply::json(200, &PolicyBody::of(&policy)))
}

/// `DELETE /v1/policies/{name}`
pub fn delete(call: &Call<'_>) -> Result<Reply> {
    policies::delete(call.app, call.caller()?, call.param("name"))?;
    Ok(Reply::new(204))
}

fn edit_of(mut body: Fields) -> Result<PolicyEdit> {
    let edit = PolicyEdit {
        description: body.text("description")?,
        issued_by: choice::<IssuedBy>(&mut body, "issued_by")?,
        owner: choice::<Presence>(&mut body, "owner")?,
        catalog: body.text_or_null("catalog")?,
        scopes: choice::<Presence>(&mut body, "scopes")?,
        headers: body.texts("headers")?.map(headers),
        read_only_by: choice::<ReadOnlyBy>(&mut body, "read_only_by")?,
        expiry: choice::<Expiry>(&mut body, "expiry")?,
        expiry_s_max: body.number_or_null("expiry_s_max")?,
        expiry_months_max: small(&mut body, "expiry_months_max")?,
        addresses: choice::<AddressRule>(&mut body, "addresses")?,
        keys_per_workspace_max: small(&mut body, "keys_per_workspace_max")?,
        keys_per_owner_max: small(&mut body, "keys_per_owner_max")?,
        at_owner_max: choice::<AtMax>(&mut body, "at_owner_max")?,
        name_unique: body.flag("name_unique")?,
        secret_shown: choice::<SecretShown>(&mut body, "secret_shown")?,
        editable: body.texts("editable")?.map(editable).transpose()?,
        can_disable: body.flag("can_disable")?,
        can_rotate: body.flag("can_rotate")?,
        self_rotation: choice::<SelfRotation>(&mut body, "self_rotation")?,
        confirm_name: body.flag("confirm_name")?,
        tied_to: choice::<TiedTo>(&mut body, "tied_to")?,
        acts_for_owner: body.flag("acts_for_owner")?,
        roles: body.object("roles")?.map(roles).transpose()?,
        rate_limit: body
            .object_or_null("rate_limit")?
            .map(rate_limit)
            .transpose()?,
        rate_limit_max: body
            .object_or_null("rate_limit_max")?
            .map(rate_limit)
            .transpose()?,
        prefix: body.text("prefix")?,
    };
    body.finish()?;
    Ok(edit)
}

fn choice<T: Words>(body: &mut Fields, member: &str) -> Result<Option<T>> {
    body.text(member)?
        .map(|text| from_word(&text).ok_or_else(|| no_word::<T>(member.to_owned())))
        .transpose()
}

fn editable(members: Vec<String>) -> Result<Editable> {
    Editable::parse(members.iter().map(String::as_str)).map_err(|position| {
        let known = words::<Field>().join(", ");
        let reason = format!("must be one of {known}, or * alone for every member");
        Error::invalid(format!("editable[{position}]"), reason)
    })
}

fn rate_body(rate: RateLimit) -> RateBody {
    RateBody {
        limit: rate.limit,
        window_s: rate.window_s,
    }
}

fn role_body(rule: &RoleRule) -> (&'static str, RoleBody<'_>) {
    let body = RoleBody {
        scopes: &rule.scopes,
        read_only: rule.read_only,
    };
    (rule.role.as_str(), body)
}

/// `{"owner":{"scopes":["*"]},"auditor":{"scopes":["a:read"],"read_only":true}}`
fn roles(mut body: Fields) -> Result<Vec<RoleRule>> {
    let mut rules = Vec::new();
    for role in Role::all() {
        let Some(mut rule) = body.object(role.as_str())? else {
            continue;
        };
        let scopes = rule.texts("scopes")?.unwrap_or_default();
        rules.push(RoleRule {
            role,
            scopes: scopes.into_iter().map(Into::into).collect(),
            read_only: rule.flag("read_only")?.unwrap_or(false),
        });
        rule.finish()?;
    }
    body.finish()?;
    Ok(rules)
}

fn headers(names: Vec<String>) -> Vec<CredentialHeader> {
    names
        .iter()
        .map(|name| CredentialHeader::parse(name))
        .collect()
}

fn no_word<T: Words>(field: String) -> Error {
    Error::invalid(field, format!("must be one of {}", words::<T>().join(", ")))
}

/// A number that must fit in 32 bits; a larger number exceeds the maximum of every policy member and is refused for
/// that.
fn small(body: &mut Fields, member: &str) -> Result<Option<Option<u32>>> {
    let number = body.number_or_null(member)?;
    Ok(number.map(|number| number.map(|number| u32::try_from(number).unwrap_or(u32::MAX))))
}
