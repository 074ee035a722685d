//! Edits the fields of a key that its policy allows to be changed.

use super::fields::{self, KeyForm, member_of};
use super::labels::Words;
use super::{address, id, opens_this_server};
use crate::dialects::console::auth::{Visit, confirm, own_path, page, submit};
use crate::dialects::console::layout::{Layout, Nav, html};
use crate::domain::keys::Member;
use crate::domain::policies::Policy;
use crate::domain::text::name_of_description;
use crate::error::{Error, Result};
use crate::http::form::Form;
use crate::http::reply::Reply;
use crate::http::route::Call;
use crate::ops::keys::edit;
use crate::ops::keys::members::KeyMembers;
use crate::ops::keys::offered::{self, offered};
use crate::ops::keys::{self, View};
use askama::Template;

#[derive(Template)]
#[template(path = "console/key_edit.html")]
struct EditPage {
    s: Layout,
    name: String,
    href: String,
    /// The text that is displayed if there is no field.
    nothing: String,
    form: KeyForm,
    /// The values of the fields when the form was rendered.
    before: String,
}

/// `GET /console/keys/{id}/edit`
pub fn show(call: &Call<'_>) -> Result<Reply> {
    page(call, &|visit| {
        let (view, policy) = found(visit)?;
        asked(
            visit,
            200,
            &view,
            &policy,
            &fields::filled(visit.texts, &view),
            &[],
        )
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
) -> Result<(KeyMembers, Vec<Error>)> {
    let (mut edit, faults) = fields::read_for(visit, policy, form);
    let before = Form::parse(form.text("before"))?;
    let (was, _) = fields::read(visit.texts, &before);
    // The order of the boxes says nothing.
    let in_order = |members: &KeyMembers| {
        let mut scopes = members.scopes.clone().unwrap_or_default();
        scopes.sort();
        scopes
    };
    if in_order(&edit) == in_order(&was) {
        edit.scopes = None;
    }
    let words = Words::of(visit, Some(&view.key.policy));
    let editable = offered(visit.call.app, &visit.caller, view)?.fields;
    let shown = KeyForm::edit(visit, policy, &editable, words, form, &[])?;
    let inputs = shown.fields.iter().chain(&shown.more);
    let shown: Vec<Member> = inputs.filter_map(|input| member_of(input.name)).collect();
    for member in Member::ALL {
        if !shown.contains(member) || !edit.differs(&was, *member) {
            edit.forget(*member);
        }
    }
    if words.is_described() {
        edit.name = edit.description.as_deref().map(name_of_description);
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
    let offered = offered(visit.call.app, &visit.caller, view)?;
    let nothing = match &offered.declared_in {
        Some(place) => visit.texts.with("key.locked", place),
        None if view.key.deleted_at.is_none() && policy.editable.is_nothing() => {
            visit.texts.get("edit.nothing").to_owned()
        }
        None => visit.texts.get("edit.none_for_you").to_owned(),
    };
    let edit = EditPage {
        s: visit.shell(visit.texts.with("edit.title", &view.key.name), nav),
        name: view.key.name.clone(),
        href: address(view.key.id),
        nothing,
        form: KeyForm::edit(visit, policy, &offered.fields, words, &typed, faults)?,
        before,
    };
    html(status, &edit)
}
