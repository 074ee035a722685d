//! The list of policies, and a page for each that describes it in words. Its button decides whether a policy of another
//! system has pages in the navigation.

pub mod edit;
mod form;
mod templates;
mod words;

use crate::dialects::console::MOUNT;
use crate::dialects::console::auth::{Visit, page, submit};
use crate::dialects::console::keys::list::new_address;
use crate::dialects::console::layout::{Layout, Nav, html};
use crate::dialects::console::sections;
use crate::domain::declared::place_of;
use crate::domain::policies::{Policy, STANDARD};
use crate::domain::users::permissions::Permission;
use crate::error::Result;
use crate::http::query::encode;
use crate::http::reply::Reply;
use crate::http::route::Call;
use crate::ops::policies::{self, pages, presets};
use askama::Template;
use std::collections::HashMap;
use words::Facts;

#[derive(Template)]
#[template(path = "console/policies.html")]
struct PoliciesPage {
    s: Layout,
    own: Vec<PolicyRow>,
    /// Policies for clients of other systems that are not in use.
    unused: Vec<PolicyRow>,
    unused_count: String,
    /// Whether the caller may create policies.
    can_write: bool,
}

struct PolicyRow {
    name: String,
    description: String,
    href: String,
    issued_by: &'static str,
    expiry: String,
    secret: &'static str,
    catalog: String,
    /// How many keys follow it, and their list; empty if the caller may not read keys.
    count: String,
    keys: String,
}

#[derive(Template)]
#[template(path = "console/policy.html")]
struct PolicyPage {
    s: Layout,
    name: String,
    description: String,
    facts: Vec<Facts>,
    /// The address of the policy.
    href: String,
    count: String,
    keys: String,
    /// The address for creating a key of the policy; empty if the caller may not create any.
    new: String,
    can_edit: bool,
    can_delete: bool,
    /// The file and the line that declare the policy, so that it is edited there.
    declared_in: Option<String>,
    /// Whether its pages are in the navigation; `None` if it has none, or if the caller may not decide this.
    switch: Option<bool>,
    /// The pages of the policy, by the names that the product has for them.
    page: String,
    events: String,
}

/// `GET /console/policies`
pub fn show(call: &Call<'_>) -> Result<Reply> {
    page(call, &|visit| {
        let found = policies::list(call.app, &visit.caller)?;
        let counts = policies::key_counts(call.app, &visit.caller);
        let (mut own, mut unused) = (Vec::new(), Vec::new());
        for policy in &found {
            let row = row(visit, policy, counts.as_ref());
            let is_used = presets::of(call.app, &policy.name).is_none()
                || pages::is_shown(call.app, &policy.name)?;
            match is_used {
                true => own.push(row),
                false => unused.push(row),
            }
        }
        own.sort_by_key(|row| row.name != STANDARD);
        let shown = PoliciesPage {
            s: visit.shell(visit.texts.get("policies.title"), Nav::Policies),
            own,
            unused_count: visit.texts.count("policies.unused", unused.len() as u64),
            unused,
            can_write: can_write(visit),
        };
        html(200, &shown)
    })
}

/// `GET /console/policies/{name}`
pub fn show_one(call: &Call<'_>) -> Result<Reply> {
    page(call, &|visit| {
        let policy = policies::find(call.app, &visit.caller, call.param("name"))?;
        let counts = policies::key_counts(call.app, &visit.caller);
        let row = row(visit, &policy, counts.as_ref());
        let (section, can_write) = (sections::of(&policy.name), can_write(visit));
        let declared_in = place_of(&policy.source).map(str::to_owned);
        let can_edit = can_write && declared_in.is_none();
        let s = visit.shell(policy.name.clone(), Nav::Policies);
        let shown = PolicyPage {
            name: row.name,
            description: row.description,
            facts: words::facts(visit.texts, &policy),
            href: row.href,
            count: row.count,
            keys: row.keys,
            new: new_address(visit, Some(&policy.name))?,
            can_edit,
            can_delete: can_edit && policy.name != STANDARD,
            declared_in,
            switch: match section {
                Some(_) if can_write && !pages::are_settled(call.app) => {
                    Some(pages::is_on(call.app, &policy.name)?)
                }
                _ => None,
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
            events: s.events_of(&format!("policy:{}", policy.name)),
            s,
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
        Ok(visit.done(done, &address(call.param("name"))))
    })
}

/// The page of a policy.
pub fn address(name: &str) -> String {
    format!("{MOUNT}/policies/{}", encode(name))
}

fn can_write(visit: &Visit<'_>) -> bool {
    let directory = visit.call.app.index.directory();
    let permitted = visit
        .caller
        .require_global(&directory, Permission::PoliciesWrite);
    permitted.is_ok()
}

fn row(visit: &Visit<'_>, policy: &Policy, counts: Option<&HashMap<String, u64>>) -> PolicyRow {
    let texts = visit.texts;
    let name = encode(&policy.name);
    PolicyRow {
        name: policy.name.clone(),
        description: texts.word(&policy.description).to_owned(),
        href: address(&policy.name),
        issued_by: words::issued_by(texts, policy),
        expiry: words::expiry(texts, policy),
        secret: texts.get(&format!(
            "policy_secret_shown.{}",
            crate::domain::policies::word(policy.secret_shown)
        )),
        catalog: match &policy.catalog {
            Some(catalog) => catalog.clone(),
            None => texts.get("policies.any_catalog").to_owned(),
        },
        count: counts.map_or_else(String::new, |counts| {
            texts.number(counts.get(&policy.name).copied().unwrap_or(0))
        }),
        keys: match counts {
            Some(_) => format!("{MOUNT}/keys?policy={name}"),
            None => String::new(),
        },
    }
}
