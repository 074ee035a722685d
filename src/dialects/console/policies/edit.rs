//! Creates, edits and deletes policies.

use super::form::PolicyForm;
use super::templates::{TEMPLATES, Template as Beginning};
use super::{address, form};
use crate::dialects::console::MOUNT;
use crate::dialects::console::auth::{Visit, page, submit};
use crate::dialects::console::form::Refusal;
use crate::dialects::console::layout::delete::DeletePage;
use crate::dialects::console::layout::{Layout, Nav, html};
use crate::domain::policies::STANDARD;
use crate::domain::users::permissions::Permission;
use crate::error::{Error, Result};
use crate::http::form::Form;
use crate::http::query::encode;
use crate::http::reply::Reply;
use crate::http::route::Call;
use crate::ops::policies;
use askama::Template;

#[derive(Template)]
#[template(path = "console/policy_edit.html")]
struct EditPage {
    s: Layout,
    form: PolicyForm,
    /// The address to which the form is sent.
    href: String,
    lead: &'static str,
    button: &'static str,
    /// The values of the fields when the form was rendered; empty for a new policy.
    before: String,
    /// What a new policy can begin with: the name of each, and whether it does.
    templates: Vec<(&'static str, bool)>,
    /// The page to which the user returns without saving.
    back: String,
}

/// `GET /console/new-policy`
pub fn show_new(call: &Call<'_>) -> Result<Reply> {
    page(call, &|visit| {
        require_write(visit)?;
        let mut query = call.query()?;
        let template = Beginning::of(&query.take("template").unwrap_or_default());
        query.finish()?;
        let standard = policies::find(call.app, &visit.caller, STANDARD)?;
        let mut typed = form::filled(&template.policy(&standard));
        typed.put("template", template.name);
        asked(visit, 200, None, &typed, None)
    })
}

/// `POST /console/new-policy`
pub fn create(call: &Call<'_>) -> Result<Reply> {
    submit(call, &|visit, form| {
        let name = form.text("name").to_owned();
        let made = form::read(visit.texts, form)
            .and_then(|asked| policies::create(call.app, &visit.caller, name, asked, None));
        match made {
            Ok(policy) => Ok(visit.done("policy_created", &address(&policy.name))),
            Err(err) => again(visit, None, form, err),
        }
    })
}

/// `GET /console/policies/{name}/edit`
pub fn show(call: &Call<'_>) -> Result<Reply> {
    page(call, &|visit| {
        require_write(visit)?;
        let policy = policies::find(call.app, &visit.caller, call.param("name"))?;
        let typed = form::filled(&policy);
        asked(visit, 200, Some(&policy.name), &typed, None)
    })
}

/// `POST /console/policies/{name}/edit`
pub fn edit(call: &Call<'_>) -> Result<Reply> {
    submit(call, &|visit, form| {
        let name = call.param("name");
        let before = Form::parse(form.text("before"))?;
        let edited = form::changed(visit.texts, form, &before)
            .and_then(|edit| policies::edit(call.app, &visit.caller, name, edit));
        match edited {
            Ok(_) => Ok(visit.done("policy_changed", &address(name))),
            Err(err) => again(visit, Some(name), form, err),
        }
    })
}

/// `GET /console/policies/{name}/delete`
pub fn ask_delete(call: &Call<'_>) -> Result<Reply> {
    page(call, &|visit| {
        require_write(visit)?;
        let policy = policies::find(call.app, &visit.caller, call.param("name"))?;
        deleting(visit, 200, &policy.name, None)
    })
}

/// `POST /console/policies/{name}/delete`
pub fn delete(call: &Call<'_>) -> Result<Reply> {
    submit(call, &|visit, _| {
        let name = call.param("name");
        match policies::delete(call.app, &visit.caller, name) {
            Ok(()) => Ok(visit.done("policy_deleted", &list_address())),
            Err(err) => match Refusal::of(visit.texts, &err) {
                Some(refusal) => deleting(visit, refusal.status, name, Some(refusal.why)),
                None => Err(err),
            },
        }
    })
}

/// Refuses to display a form that the caller may not submit.
fn require_write(visit: &Visit<'_>) -> Result<()> {
    let directory = visit.call.app.index.directory();
    visit
        .caller
        .require_global(&directory, Permission::PoliciesWrite)
}

fn again(visit: &Visit<'_>, name: Option<&str>, form: &Form, err: Error) -> Result<Reply> {
    match Refusal::of(visit.texts, &err) {
        Some(refusal) => asked(visit, refusal.status, name, form, Some(&refusal)),
        None => Err(err),
    }
}

/// The form of an existing or a new policy.
fn asked(
    visit: &Visit<'_>,
    status: u16,
    name: Option<&str>,
    typed: &Form,
    refusal: Option<&Refusal>,
) -> Result<Reply> {
    let texts = visit.texts;
    let (title, href) = match name {
        None => (
            texts.get("policies.new").to_owned(),
            format!("{MOUNT}/new-policy"),
        ),
        Some(name) => (
            texts.with("edit.title", name),
            format!("{MOUNT}/policies/{}/edit", encode(name)),
        ),
    };
    let edit = EditPage {
        s: visit.shell(title, Nav::Policies),
        form: PolicyForm::new(visit, typed, name.is_none(), refusal)?,
        href,
        lead: match name {
            None => texts.get("policy_form.new_lead"),
            Some(_) => texts.get("policy_form.edit_lead"),
        },
        button: match name {
            None => texts.get("policy_form.create"),
            Some(_) => texts.get("edit.button"),
        },
        templates: match name {
            None => {
                let chosen = Beginning::of(typed.text("template")).name;
                let all = TEMPLATES.iter().map(|template| template.name);
                all.map(|name| (name, name == chosen)).collect()
            }
            Some(_) => Vec::new(),
        },
        back: name.map_or_else(list_address, address),
        before: match (name, refusal) {
            (None, _) => String::new(),
            (Some(_), Some(_)) => typed.text("before").to_owned(),
            (Some(_), None) => typed.encoded(),
        },
    };
    html(status, &edit)
}

fn deleting(visit: &Visit<'_>, status: u16, name: &str, refusal: Option<String>) -> Result<Reply> {
    let delete = DeletePage {
        s: visit.shell(visit.texts.get("policy_delete.title"), Nav::Policies),
        name: name.to_owned(),
        lead: visit.texts.get("policy_delete.lead"),
        href: format!("{MOUNT}/policies/{}/delete", encode(name)),
        back: address(name),
        refusal,
    };
    html(status, &delete)
}

fn list_address() -> String {
    format!("{MOUNT}/policies")
}
