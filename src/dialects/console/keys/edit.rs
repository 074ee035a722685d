//! What a policy lets be changed of a key.

use super::create::metadata;
use super::fields::{self, KeyForm, Typed, field_of};
use super::words::Words;
use super::{address, id, opens_this_server};
use crate::dialects::console::door::{Visit, confirm, page, submit};
use crate::dialects::console::shell::{Nav, Shell, html};
use crate::domain::policy::{Field, Policy};
use crate::domain::sorted;
use crate::error::{Error, Result};
use crate::http::form::Form;
use crate::http::reply::Reply;
use crate::http::route::Call;
use crate::ops::keys::edit::{self, Edit};
use crate::ops::keys::{self, View};
use askama::Template;
use std::sync::Arc;

#[derive(Template)]
#[template(path = "console/key_edit.html")]
struct EditPage {
    s: Shell,
    name: String,
    href: String,
    form: KeyForm,
    /// The fields as they were when the form was made.
    before: String,
}

/// `GET /console/keys/{id}/edit`
pub fn show(call: &Call<'_>) -> Result<Reply> {
    page(call, &|visit| {
        let (view, policy) = found(visit)?;
        asked(visit, 200, &view, &policy, &fields::filled(&view), None)
    })
}

/// `POST /console/keys/{id}/edit`
pub fn act(call: &Call<'_>) -> Result<Reply> {
    submit(call, &|visit, form| {
        let (view, policy) = found(visit)?;
        if opens_this_server(&view) && !visit.session.is_fresh(call.app.now().wall) {
            return confirm::ask(visit, call.request.path(), form, None);
        }
        let edited = wanted(visit, &view, &policy, form)
            .and_then(|edit| edit::edit(call.app, &visit.caller, view.key.id, edit));
        match edited {
            Ok(_) => Ok(visit.done("key_edited", &address(view.key.id))),
            Err(err @ (Error::Invalid { .. } | Error::Conflict(_) | Error::Forbidden(_))) => {
                let status = match &err {
                    Error::Invalid { .. } => 422,
                    Error::Conflict(_) => 409,
                    _ => 403,
                };
                asked(visit, status, &view, &policy, form, Some(&err))
            }
            Err(err) => Err(err),
        }
    })
}

/// Only what was changed on the page: a field that somebody else has changed meanwhile stays as he left it.
fn wanted(visit: &Visit<'_>, view: &View, policy: &Policy, form: &Form) -> Result<Edit> {
    let typed = Typed::read(visit.texts, form)?;
    let before = Form::parse(form.text("before"))?;
    let was = Typed::read(visit.texts, &before)?;
    let shown = KeyForm::edit(
        visit,
        policy,
        Words::of(visit, Some(&view.key.policy)),
        form,
        None,
    )?;
    let mut edit = Edit::default();
    let names = shown
        .fields
        .iter()
        .chain(&shown.more)
        .map(|input| input.name);
    for field in names.filter_map(field_of) {
        let text =
            |name: &str| (form.text(name) != before.text(name)).then(|| form.text(name).to_owned());
        match field {
            Field::Name => edit.name = text("name"),
            Field::Description => edit.description = text("description"),
            Field::Scopes => {
                let in_order = |scopes: &[String]| {
                    let mut scopes = scopes.to_vec();
                    sorted::by(&mut scopes, Ord::cmp);
                    scopes
                };
                let changed = in_order(&typed.scopes) != in_order(&was.scopes);
                edit.scopes = changed.then(|| typed.scopes.clone());
            }
            Field::ReadOnly => {
                edit.read_only = (typed.read_only != was.read_only).then_some(typed.read_only);
            }
            Field::ExpiresAt => {
                edit.expires_at = (typed.expires_at != was.expires_at).then_some(typed.expires_at);
            }
            Field::NotBefore => {
                edit.not_before = (typed.not_before != was.not_before).then_some(typed.not_before);
            }
            Field::AllowedIps => {
                edit.allowed_ips =
                    (typed.allowed_ips != was.allowed_ips).then(|| typed.allowed_ips.clone());
            }
            Field::RateLimit => {
                edit.rate_limit = (typed.rate_limit != was.rate_limit).then_some(typed.rate_limit);
            }
            Field::UsesLeft => {
                edit.uses_left = (typed.uses_left != was.uses_left).then_some(typed.uses_left);
            }
            // Not a field of this form.
            Field::Owner => {}
            Field::Metadata => {
                let changed = form.text("metadata") != before.text("metadata");
                edit.metadata = changed.then(|| metadata(visit.texts, form)).transpose()?;
            }
        }
    }
    Ok(edit)
}

fn found(visit: &Visit<'_>) -> Result<(View, Arc<Policy>)> {
    let view = keys::find(visit.call.app, &visit.caller, id(visit.call)?)?;
    let directory = visit.call.app.index.directory();
    let policy = directory.policy(&view.key.policy).cloned();
    let policy = policy.ok_or_else(|| Error::internal("the key's policy is missing"))?;
    Ok((view, policy))
}

fn asked(
    visit: &Visit<'_>,
    status: u16,
    view: &View,
    policy: &Policy,
    typed: &Form,
    err: Option<&Error>,
) -> Result<Reply> {
    let words = Words::of(visit, Some(&view.key.policy));
    let nav = match words.section() {
        Some(section) => Nav::Section(section.policy),
        None => Nav::Keys,
    };
    let mut typed = typed.clone();
    if err.is_some() && !typed.has("catalog") {
        // Which scopes there are follows from the key, not from the form.
        typed.put("catalog", view.key.catalog.as_deref().unwrap_or(""));
    }
    let before = match err {
        Some(_) => typed.text("before").to_owned(),
        None => typed.encoded(),
    };
    let edit = EditPage {
        s: visit.shell(visit.texts.with("edit.title", &view.key.name), nav),
        name: view.key.name.clone(),
        href: address(view.key.id),
        form: KeyForm::edit(visit, policy, words, &typed, err)?,
        before,
    };
    html(status, &edit)
}
