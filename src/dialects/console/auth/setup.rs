//! The first run: a user who can read the server's output sets the owner's password.

use super::cookie::Cookie;
use super::{agent, channel, own_form, redirect};
use crate::dialects::console::MOUNT;
use crate::dialects::console::layout::{Layout, html};
use crate::dialects::console::sections::{SECTIONS, Section};
use crate::dialects::console::text;
use crate::error::{Error, Result};
use crate::http::form::Form;
use crate::http::reply::Reply;
use crate::http::route::Call;
use crate::ops::policies::pages;
use crate::ops::setup::{OWNER, first_run};
use askama::Template;

/// The hidden field of a form that has a box for each system.
const BOXES: &str = "systems_listed";

#[derive(Template)]
#[template(path = "console/setup.html")]
struct SetupPage {
    s: Layout,
    code: String,
    user_name: String,
    /// The systems for which the console can show a page: the name of each, the name of the product, and whether it is
    /// selected.
    systems: Vec<(&'static str, &'static str, bool)>,
    /// The field that was refused, and the reason.
    refused: (String, String),
}

/// `GET /console/setup`
pub fn show(call: &Call<'_>) -> Result<Reply> {
    if !first_run::is_open(call.app) {
        return Ok(redirect(&format!("{MOUNT}/sign-in")));
    }
    asked(call, 200, &Form::default(), None)
}

/// `POST /console/setup`
pub fn submit(call: &Call<'_>) -> Result<Reply> {
    let form = own_form(call)?;
    let (name, password) = (form.text("user_name"), form.text("password"));
    if first_run::is_open(call.app) && password != form.text("password_again") {
        let s = Layout::bare(call.request, "setup.title");
        let refused = Error::invalid_text("password_again", s.t("password.differs"));
        return asked(call, 422, &form, Some(refused));
    }
    let origin = call.trust.origin(call.request);
    let chosen = form.all("systems[]");
    let sections = SECTIONS.iter();
    let settled = pages::are_settled(call.app);
    // A form without the boxes, such as one of a program, switches no page off.
    let has_boxes = form.has(BOXES);
    let pages = sections
        .filter(|_| !settled)
        .map(|section| {
            let is_chosen = chosen.iter().any(|name| name == section.system);
            (section.policy, is_chosen)
        })
        .filter(|(_, is_chosen)| *is_chosen || has_boxes)
        .collect();
    match first_run::finish(
        call.app,
        form.text("code"),
        name,
        password,
        pages,
        origin,
        agent(call),
    ) {
        Ok(signed_in) => {
            let set = Cookie::Session.set(channel(call), signed_in.token.expose());
            let done = Cookie::Done.set(channel(call), "set_up");
            Ok(redirect(MOUNT)
                .also("set-cookie", &set)
                .also("set-cookie", &done))
        }
        Err(err @ Error::Invalid { .. }) => asked(call, 422, &form, Some(err)),
        Err(err) => Err(err),
    }
}

fn asked(call: &Call<'_>, status: u16, form: &Form, err: Option<Error>) -> Result<Reply> {
    let texts = text::of_browser(call.request);
    let refused = match err {
        Some(Error::Invalid { field, reason }) => (field, texts.refusal(&reason)),
        _ => Default::default(),
    };
    let chosen = form.all("systems[]");
    let system = |section: &&Section| {
        // Until the user has had the choice, the boxes show which pages are on.
        let is_chosen = chosen.iter().any(|name| name == section.system)
            || (!form.has(BOXES) && pages::is_on(call.app, section.policy)?);
        Ok((section.system, texts.word(section.product), is_chosen))
    };
    let page = SetupPage {
        systems: match pages::are_settled(call.app) {
            true => Vec::new(),
            false => SECTIONS.iter().map(system).collect::<Result<_>>()?,
        },
        s: Layout::bare(call.request, "setup.title"),
        code: form.text("code").to_owned(),
        user_name: form.some("user_name").unwrap_or_else(|| OWNER.to_owned()),
        refused,
    };
    html(status, &page)
}
