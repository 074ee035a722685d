//! Edits the fields of a key that its policy allows to be changed.

use super::fields::{self, KeyForm, Typed, field_of};
use super::labels::Words;
use super::{address, id, opens_this_server};
use crate::dialects::console::auth::own_path;
use crate::dialects::console::auth::{Visit, confirm, page, submit};
use crate::dialects::console::layout::{Nav, Shell, html};
use crate::domain::policies::{Field, Policy};
use crate::domain::text::name_of_description;
use crate::error::{Error, Result};
use crate::http::form::Form;
use crate::http::reply::Reply;
use crate::http::route::Call;
use crate::ops::keys::edit::{self, Edit};
use crate::ops::keys::offered::{self, offered};
use crate::ops::keys::{self, View};
use askama::Template;

#[derive(Template)]
#[template(path = "console/key_edit.html")]
struct EditPage {
    s: Shell,
    name: String,
    href: String,
    /// The text that is displayed if there is no field.
    nothing: &'static str,
    form: KeyForm,
    /// The values of the fields when the form was rendered.
    before: String,
}

/// `GET /console/keys/{id}/edit`
pub fn show(call: &Call<'_>) -> Result<Reply> {
    page(call, &|visit| {
        let (view, policy) = found(visit)?;
        asked(visit, 200, &view, &policy, &fields::filled(&view), &[])
    })
}

/// `POST /console/keys/{id}/edit`
pub fn act(call: &Call<'_>) -> Result<Reply> {
    submit(call, &|visit, form| {
        let (view, policy) = found(visit)?;
        if opens_this_server(&view) && !visit.session.is_fresh(call.app.now().wall) {
            return confirm::ask(visit, &own_path(call), form, None);
        }
        let (edit, mut faults) = wanted(visit, &view, &policy, form)?;
        let id = view.key.id;
        if faults.is_empty() {
            match edit::edit(call.app, &visit.caller, id, edit.clone()) {
                Ok(_) => return Ok(visit.done("key_edited", &address(id))),
                // The code below collects all faults of the form, including this one.
                Err(Error::Invalid { .. }) => {}
                Err(err @ Error::Conflict(_)) => {
                    return asked(visit, 409, &view, &policy, form, &[err]);
                }
                Err(err @ Error::Forbidden(_)) => {
                    return asked(visit, 403, &view, &policy, form, &[err]);
                }
                Err(err) => return Err(err),
            }
        }
        faults.extend(edit::faults(call.app, &visit.caller, id, edit)?);
        asked(visit, 422, &view, &policy, form, &faults)
    })
}

/// Only the fields that the user changed: a concurrent change to another field is preserved.
fn wanted(
    visit: &Visit<'_>,
    view: &View,
    policy: &Policy,
    form: &Form,
) -> Result<(Edit, Vec<Error>)> {
    let (typed, faults) = Typed::read(visit.texts, form);
    let before = Form::parse(form.text("before"))?;
    let (was, _) = Typed::read(visit.texts, &before);
    let words = Words::of(visit, Some(&view.key.policy));
    let fields = offered(visit.call.app, &visit.caller, view)?.fields;
    let shown = KeyForm::edit(visit, policy, &fields, words, form, &[])?;
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
            Field::Description => {
                edit.description = text("description");
                if words.is_described() {
                    edit.name = edit.description.as_deref().map(name_of_description);
                }
            }
            Field::Scopes => {
                let in_order = |scopes: &[String]| {
                    let mut scopes = scopes.to_vec();
                    scopes.sort();
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
            // This form does not have this field.
            Field::Owner => {}
            Field::Metadata => {
                let changed = form.text("metadata") != before.text("metadata");
                edit.metadata = changed.then(|| typed.metadata.clone());
            }
        }
    }
    Ok((edit, faults))
}

fn found(visit: &Visit<'_>) -> Result<(View, Policy)> {
    let view = keys::find(visit.call.app, &visit.caller, id(visit.call)?)?;
    let policy = offered::policy(visit.call.app, &view)?;
    Ok((view, policy))
}

fn asked(
    visit: &Visit<'_>,
    status: u16,
    view: &View,
    policy: &Policy,
    typed: &Form,
    faults: &[Error],
) -> Result<Reply> {
    let words = Words::of(visit, Some(&view.key.policy));
    let nav = match words.section() {
        Some(section) => Nav::Section(section.policy),
        None => Nav::Keys,
    };
    let mut typed = typed.clone();
    if !faults.is_empty() && !typed.has("catalog") {
        // The selectable scopes depend on the key, not on the form.
        typed.put("catalog", view.key.catalog.as_deref().unwrap_or(""));
    }
    let before = match faults.is_empty() {
        false => typed.text("before").to_owned(),
        true => typed.encoded(),
    };
    let editable = offered(visit.call.app, &visit.caller, view)?.fields;
    let edit = EditPage {
        s: visit.shell(visit.texts.with("edit.title", &view.key.name), nav),
        name: view.key.name.clone(),
        href: address(view.key.id),
        nothing: match view.key.deleted_at.is_none() && policy.editable.is_nothing() {
            true => "edit.nothing",
            false => "edit.none_for_you",
        },
        form: KeyForm::edit(visit, policy, &editable, words, &typed, faults)?,
        before,
    };
    html(status, &edit)
}
