//! The page that describes each policy in sentences; its buttons decide which policies have a page in the navigation.

pub mod edit;
mod form;

use crate::dialects::console::MOUNT;
use crate::dialects::console::auth::{Visit, page, submit};
use crate::dialects::console::keys::list::new_address;
use crate::dialects::console::layout::moment::span;
use crate::dialects::console::layout::{Layout, Nav, html};
use crate::dialects::console::sections;
use crate::dialects::console::text::Texts;
use crate::domain::policies::{
    AddressRule, AtMax, CredentialHeader, Expiry, IssuedBy, Policy, Presence, ReadOnlyBy, STANDARD,
    SecretShown, SelfRotation, TiedTo,
};
use crate::domain::users::permissions::Permission;
use crate::error::Result;
use crate::http::query::encode;
use crate::http::reply::Reply;
use crate::http::route::Call;
use crate::ops::policies::{self, pages};
use askama::Template;

#[derive(Template)]
#[template(path = "console/policies.html")]
struct PoliciesPage {
    s: Layout,
    policies: Vec<PolicyRow>,
    /// Whether the caller may change policies.
    can_write: bool,
}

struct PolicyRow {
    name: String,
    description: String,
    sentences: Vec<String>,
    /// The address of the policy.
    href: String,
    keys: String,
    /// The address for creating a key of the policy; empty if the caller may not create any.
    new: String,
    can_delete: bool,
    /// The address for switching the policy's own page on or off, and its current state; `None` if there is no such
    /// page, or if the settings of the server decide this.
    switch: Option<(String, bool)>,
    /// The name of the policy's own page.
    page: String,
}

/// `GET /console/policies`
pub fn show(call: &Call<'_>) -> Result<Reply> {
    page(call, &|visit| {
        let found = policies::list(call.app, &visit.caller)?;
        let rows = found.iter().map(|policy| row(visit, policy));
        let shown = PoliciesPage {
            s: visit.shell(visit.texts.get("policies.title"), Nav::Policies),
            policies: rows.collect::<Result<_>>()?,
            can_write: visit
                .caller
                .require_global(&call.app.index.directory(), Permission::PoliciesWrite)
                .is_ok(),
        };
        html(200, &shown)
    })
}

/// `POST /console/policies/{name}/page`
pub fn switch(call: &Call<'_>) -> Result<Reply> {
    submit(call, &|visit, form| {
        let on = form.text("on") == "yes";
        pages::switch(call.app, &visit.caller, call.param("name"), on)?;
        let done = if on { "page_on" } else { "page_off" };
        Ok(visit.done(done, &format!("{MOUNT}/policies")))
    })
}

fn row(visit: &Visit<'_>, policy: &Policy) -> Result<PolicyRow> {
    let section = sections::of(&policy.name);
    let name = encode(&policy.name);
    Ok(PolicyRow {
        name: policy.name.clone(),
        description: visit.texts.word(&policy.description).to_owned(),
        sentences: sentences(visit.texts, policy),
        href: format!("{MOUNT}/policies/{name}"),
        can_delete: policy.name != STANDARD,
        keys: format!("{MOUNT}/keys?policy={name}"),
        new: new_address(visit, Some(&policy.name))?,
        switch: match section {
            Some(_) if pages::are_settled(visit.call.app) => None,
            None => None,
            Some(_) => Some((
                format!("{MOUNT}/policies/{name}/page"),
                pages::is_on(visit.call.app, &policy.name)?,
            )),
        },
        page: section.map_or_else(String::new, |section| {
            let word = |english| visit.texts.word(english);
            format!(
                "{}: {} → {}",
                word(section.product),
                word(section.menu),
                word(section.page)
            )
        }),
    })
}

/// The rules of a policy, one sentence for each.
pub fn sentences(texts: &Texts, policy: &Policy) -> Vec<String> {
    let t = |name: &str| texts.get(name).to_owned();
    let mut all = vec![t(match policy.issued_by {
        IssuedBy::Manager => "policy.by_manager",
        IssuedBy::ManagerOrOwner => "policy.by_manager_or_owner",
        IssuedBy::Owner => "policy.by_owner",
        IssuedBy::Password => "policy.by_password",
        IssuedBy::RootAdministrator => "policy.by_root",
    })];
    all.push(t(match policy.owner {
        Presence::Forbidden => "policy.owner_forbidden",
        Presence::Optional => "policy.owner_optional",
        Presence::Required => "policy.owner_required",
    }));
    let header = |header: &CredentialHeader| match header {
        CredentialHeader::Basic => "Authorization: Basic".to_owned(),
        CredentialHeader::Bearer => "Authorization: Bearer".to_owned(),
        CredentialHeader::Named(name) => name.clone(),
        CredentialHeader::Token => "Authorization: Token".to_owned(),
    };
    let headers: Vec<String> = policy.headers.iter().map(header).collect();
    all.push(texts.with("policy.headers", &headers.join(", ")));
    match (policy.expiry, policy.expiry_months_max, policy.expiry_s_max) {
        (Expiry::Forbidden, _, _) => all.push(t("policy.expiry_forbidden")),
        (Expiry::Optional, _, _) => all.push(t("policy.expiry_optional")),
        (Expiry::Required, _, _) => all.push(t("policy.expiry_required")),
    }
    if let Some(months) = policy.expiry_months_max {
        all.push(texts.count("policy.months_max", u64::from(months)));
    }
    if let Some(seconds) = policy.expiry_s_max {
        all.push(texts.with("policy.life_max", &span(texts, seconds)));
    }
    all.push(t(match policy.addresses {
        AddressRule::Cidr => "policy.addresses_cidr",
        AddressRule::Exact => "policy.addresses_exact",
        AddressRule::Off => "policy.addresses_off",
    }));
    all.push(t(match policy.secret_shown {
        SecretShown::Once => "policy.shown_once",
        SecretShown::Sealed => "policy.shown_sealed",
    }));
    all.push(t(match policy.read_only_by {
        ReadOnlyBy::Method => "policy.read_by_method",
        ReadOnlyBy::Operation => "policy.read_by_operation",
        ReadOnlyBy::Scope => "policy.read_by_scope",
    }));
    if let Some(catalog) = &policy.catalog {
        all.push(texts.with("policy.catalog", catalog));
    }
    for (most, name) in [
        (policy.keys_per_workspace_max, "policy.per_workspace"),
        (policy.keys_per_owner_max, "policy.per_owner"),
    ] {
        all.extend(most.map(|most| texts.count(name, u64::from(most))));
    }
    if policy.at_owner_max == AtMax::Replace && policy.keys_per_owner_max.is_some() {
        all.push(t("policy.at_owner_max_replace"));
    }
    for (rate, name) in [
        (policy.rate_limit, "policy.rate"),
        (policy.rate_limit_max, "policy.rate_max"),
    ] {
        if let Some(rate) = rate {
            let window = span(texts, rate.window_s);
            let text = texts.with(name, &texts.number(rate.limit));
            all.push(text.replacen("{}", &window, 1));
        }
    }
    all.push(t(match policy.tied_to {
        TiedTo::OwnerAndWorkspace => "policy.tied_to_both",
        TiedTo::Workspace => "policy.tied_to_workspace",
    }));
    if policy.can_rotate {
        all.push(t(match policy.self_rotation {
            SelfRotation::AtOnce => "policy.self_rotation_at_once",
            SelfRotation::Grace => "policy.self_rotation_grace",
            SelfRotation::No => "policy.self_rotation_no",
        }));
    }
    for (is, name) in [
        (policy.editable.is_nothing(), "policy.never_edited"),
        (!policy.can_disable, "policy.never_disabled"),
        (!policy.can_rotate, "policy.never_rotated"),
        (policy.name_unique, "policy.name_unique"),
        (policy.confirm_name, "policy.confirm_name"),
    ] {
        if is {
            all.push(t(name));
        }
    }
    all
}
