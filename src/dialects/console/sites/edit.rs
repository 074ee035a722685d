//! Changes what a site is given, and removes a site.

use super::{address, fields};
use crate::dialects::console::MOUNT;
use crate::dialects::console::auth::{Visit, page, submit};
use crate::dialects::console::backups::{self, data_of};
use crate::dialects::console::form::{Input, Refusal};
use crate::dialects::console::layout::{Layout, Nav, html};
use crate::error::{Error, Result};
use crate::http::form::Form;
use crate::http::reply::Reply;
use crate::http::route::Call;
use crate::ops::packs::sites;
use askama::Template;

#[derive(Template)]
#[template(path = "console/site_edit.html")]
struct EditPage {
    s: Layout,
    href: String,
    name: String,
    fields: Vec<Input>,
    /// The values of the fields when the form was rendered.
    before: String,
    /// A refusal that concerns no field.
    refusal: Option<String>,
}

#[derive(Template)]
#[template(path = "console/site_remove.html")]
struct RemovePage {
    s: Layout,
    href: String,
    name: String,
    /// The command that also gives the pepper a new version.
    command: String,
}

/// `GET /console/sites/{name}/edit`
pub fn show(call: &Call<'_>) -> Result<Reply> {
    page(call, &|visit| {
        let view = sites::find_view(call.app, &visit.caller, call.param("name"))?;
        let typed = fields::filled(&view);
        asked(visit, 200, &typed, typed.encoded(), None)
    })
}

/// `POST /console/sites/{name}/edit`
pub fn edit(call: &Call<'_>) -> Result<Reply> {
    submit(call, &|visit, form| {
        let (app, name) = (call.app, call.param("name"));
        visit.noting(sites::find_view(app, &visit.caller, name))?;
        let before = Form::parse(form.text("before"))?;
        let edited = fields::changed(visit.texts, form, &before)
            .and_then(|edit| sites::edit(app, &visit.caller, name, edit));
        let err = match edited {
            Ok(view) => return Ok(visit.done("site_changed", &address(&view.site.name))),
            Err(err) => err,
        };
        match Refusal::of(visit.texts, &err) {
            Some(refusal) if !matches!(err, Error::Forbidden(_)) => {
                let before = form.text("before").to_owned();
                asked(visit, refusal.status, form, before, Some(&refusal))
            }
            _ => Err(err),
        }
    })
}

fn asked(
    visit: &Visit<'_>,
    status: u16,
    typed: &Form,
    before: String,
    refusal: Option<&Refusal>,
) -> Result<Reply> {
    let name = visit.call.param("name");
    let alone = refusal.filter(|refusal| !fields::is_at(fields::FIELDS, refusal));
    let edit = EditPage {
        s: visit.shell(visit.texts.with("edit.title", name), Nav::Sites),
        href: address(name),
        name: name.to_owned(),
        fields: fields::inputs(visit, fields::FIELDS, typed, refusal)?,
        before,
        refusal: alone.map(|refusal| refusal.why.clone()),
    };
    html(status, &edit)
}

/// `GET /console/sites/{name}/remove`
pub fn ask_remove(call: &Call<'_>) -> Result<Reply> {
    page(call, &|visit| {
        let view = sites::find_view(call.app, &visit.caller, call.param("name"))?;
        let name = view.site.name;
        let home = crate::ops::backups::home(call.app, &visit.caller)?;
        let remove = RemovePage {
            s: visit.shell(visit.texts.get("site_remove.title"), Nav::Sites),
            href: address(&name),
            command: format!(
                "{}latchkey site remove {name} --rotate --data {}",
                backups::prefix(&home),
                data_of(&home)
            ),
            name,
        };
        html(200, &remove)
    })
}

/// `POST /console/sites/{name}/remove`
pub fn remove(call: &Call<'_>) -> Result<Reply> {
    submit(call, &|visit, _| {
        sites::remove(call.app, &visit.caller, call.param("name"), false, false)?;
        Ok(visit.done("site_removed", &format!("{MOUNT}/sites")))
    })
}
