//! The actions on a key that have a button: reveal, disable, enable, rotate and delete.

use super::labels::Words;
use super::secret::{self, Occasion};
use super::{address, id, list_address, opens_this_server};
use crate::dialects::console::auth::{Visit, confirm, own_path, page, submit};
use crate::dialects::console::layout::{Layout, Nav, html};
use crate::domain::keys::rotation::{GRACE_S_MAX, Grace};
use crate::domain::policies::Policy;
use crate::error::{Error, Result};
use crate::http::reply::Reply;
use crate::http::route::Call;
use crate::ops::keys::offered::{self, KeyActions, offered};
use crate::ops::keys::rotate::{self};
use crate::ops::keys::{self, View, edit, reveal};
use crate::refusals::verbatim;
use askama::Template;

#[derive(Template)]
#[template(path = "console/key_rotate.html")]
struct RotatePage {
    s: Layout,
    name: String,
    hint: String,
    href: String,
    graces: Vec<GraceChoice>,
    /// The secret before the newest one still works, so that the newest one cannot work for longer.
    still_works: Option<String>,
    can_end: bool,
}

/// A grace period to choose.
struct GraceChoice {
    value: &'static str,
    label: &'static str,
    /// What happens to the old secret.
    effect: String,
    chosen: bool,
}

#[derive(Template)]
#[template(path = "console/key_delete.html")]
struct DeletePage {
    s: Layout,
    w: Words,
    name: String,
    href: String,
    confirm_name: bool,
    typed: String,
    refusal: Option<String>,
}

#[derive(Template)]
#[template(path = "console/key_disable.html")]
struct DisablePage {
    s: Layout,
    name: String,
    href: String,
    answer: &'static str,
}

/// The grace periods that the rotation page offers: the value of the choice, its text, the period in seconds, and
/// whether the old secret works until the first use of the new one.
#[rustfmt::skip] // Columns are the point of this table.
const GRACES: &[(&str, &str, Option<u64>, bool)] = &[
    ("first_use", "rotate.first_use", None,          true),
    ("hour",      "rotate.hour",      Some(3_600),   false),
    ("day",       "rotate.day",       Some(86_400),  false),
    ("week",      "rotate.week",      Some(604_800), false),
    ("none",      "rotate.none",      Some(0),       false),
];

/// The grace period that is chosen at first.
const GRACE_DEFAULT: &str = "day";

/// `POST /console/keys/{id}/reveal`
pub fn reveal(call: &Call<'_>) -> Result<Reply> {
    submit(call, &|visit, _| {
        let issued = reveal::reveal(call.app, &visit.caller, id(call)?)?;
        let policy = policy(visit, &issued.view)?;
        secret::shown(visit, &policy, &issued, Occasion::Revealed)
    })
}

/// `GET /console/keys/{id}/disable`: asks for confirmation, with the words of the key's system if it has its own.
pub fn ask_disable(call: &Call<'_>) -> Result<Reply> {
    page(call, &|visit| {
        let view = found(visit, |offered| offered.switch)?;
        let words = Words::of(visit, Some(&view.key.policy));
        let (title, answer) = words.disable().unwrap_or((
            visit.texts.get("disable.title"),
            visit.texts.get("disable.button"),
        ));
        let disable = DisablePage {
            s: visit.shell(title, nav(words)),
            name: view.key.name.clone(),
            href: address(view.key.id),
            answer,
        };
        html(200, &disable)
    })
}

/// `POST /console/keys/{id}/disable`
pub fn disable(call: &Call<'_>) -> Result<Reply> {
    submit(call, &|visit, _| {
        let view = edit::switch(call.app, &visit.caller, id(call)?, false)?;
        // The id makes the page offer to enable the key again.
        let done = match offered::may_enable(call.app, &visit.caller, &view)? {
            true => format!("key_disabled.{}", view.key.id),
            false => "key_disabled".to_owned(),
        };
        Ok(visit.done(&done, &address(view.key.id)))
    })
}

/// `POST /console/keys/{id}/enable`
pub fn enable(call: &Call<'_>) -> Result<Reply> {
    submit(call, &|visit, _| {
        let view = edit::switch(call.app, &visit.caller, id(call)?, true)?;
        Ok(visit.done("key_enabled", &address(view.key.id)))
    })
}

/// `POST /console/keys/{id}/end-previous`
pub fn end_previous(call: &Call<'_>) -> Result<Reply> {
    submit(call, &|visit, _| {
        let view = rotate::end_previous(call.app, &visit.caller, id(call)?)?;
        Ok(visit.done("key_previous_ended", &address(view.key.id)))
    })
}

/// `GET /console/keys/{id}/rotate`
pub fn ask_rotate(call: &Call<'_>) -> Result<Reply> {
    page(call, &|visit| {
        let view = found(visit, |offered| offered.rotate)?;
        let words = Words::of(visit, Some(&view.key.policy));
        let previous = view.previous.as_ref();
        let rotate = RotatePage {
            s: visit.shell(visit.texts.with("rotate.title", &view.key.name), nav(words)),
            name: view.key.name.clone(),
            hint: view.key.hint.clone(),
            href: address(view.key.id),
            graces: graces(visit, previous.is_some()),
            still_works: previous.map(|previous| {
                let end = visit.texts.minute(previous.until);
                let values = [("hint", previous.hint.as_str()), ("end", end.as_str())];
                visit.texts.fill("rotate.still_works", &values)
            }),
            can_end: offered(call.app, &visit.caller, &view)?.end_previous,
        };
        html(200, &rotate)
    })
}

/// The grace periods, each with what it does. While a secret before the newest one works, there is no choice.
fn graces(visit: &Visit<'_>, has_previous: bool) -> Vec<GraceChoice> {
    let texts = visit.texts;
    let now = visit.call.app.now().wall;
    let effect = |seconds: Option<u64>, until_first_use| {
        let end = texts.minute(now.plus_s(seconds.unwrap_or(GRACE_S_MAX)));
        match (seconds, until_first_use) {
            (_, true) => texts.with("rotate.ends_first_use", &end),
            (Some(0), _) => texts.get("rotate.ends_now").to_owned(),
            _ => texts.with("rotate.ends_at", &end),
        }
    };
    let offered = GRACES
        .iter()
        .filter(|grace| !has_previous || grace.2 == Some(0));
    offered
        .map(|(value, text, seconds, until_first_use)| GraceChoice {
            value,
            label: texts.get(text),
            effect: effect(*seconds, *until_first_use),
            chosen: *value == GRACE_DEFAULT || has_previous,
        })
        .collect()
}

/// `POST /console/keys/{id}/rotate`
pub fn rotate(call: &Call<'_>) -> Result<Reply> {
    submit(call, &|visit, form| {
        let view = keys::find(call.app, &visit.caller, id(call)?)?;
        // Loading the page again must not rotate the key again, which would end the secret that the page has just
        // shown.
        if form.text("hint") != view.key.hint {
            return Err(Error::Conflict(verbatim(
                visit.texts.get("rotate.done_already"),
            )));
        }
        let (_, _, seconds, until_first_use) = GRACES
            .iter()
            .find(|grace| grace.0 == form.text("grace"))
            .ok_or_else(|| Error::invalid_text("grace", visit.texts.get("refusal.choice")))?;
        let grace = Grace::parse(*seconds, *until_first_use)?;
        if opens_this_server(&view) && !visit.session.is_fresh(call.app.now().wall) {
            return confirm::ask(visit, &own_path(call), form, None);
        }
        let issued = rotate::rotate(call.app, &visit.caller, view.key.id, grace)?;
        let policy = policy(visit, &issued.view)?;
        secret::shown(visit, &policy, &issued, Occasion::Rotated)
    })
}

/// `GET /console/keys/{id}/delete`
pub fn ask_delete(call: &Call<'_>) -> Result<Reply> {
    page(call, &|visit| {
        let view = found(visit, |offered| offered.delete)?;
        deleting(visit, 200, &view, "", None)
    })
}

/// `POST /console/keys/{id}/delete`
pub fn delete(call: &Call<'_>) -> Result<Reply> {
    submit(call, &|visit, form| {
        let view = keys::find(call.app, &visit.caller, id(call)?)?;
        let typed = form.text("confirm_name");
        let confirmed = (!typed.is_empty()).then(|| typed.to_owned());
        match keys::delete(call.app, &visit.caller, view.key.id, confirmed) {
            Ok(()) => Ok(visit.done("key_deleted", &list_address(&view.key.policy))),
            Err(Error::Conflict(_))
                if policy(visit, &view)?.confirm_name && typed != view.key.name =>
            {
                let refusal = visit.texts.get("delete.other_name").to_owned();
                deleting(visit, 409, &view, typed, Some(refusal))
            }
            Err(Error::Conflict(why)) => {
                deleting(visit, 409, &view, typed, Some(visit.texts.sentence(&why)))
            }
            Err(err) => Err(err),
        }
    })
}

/// The key in the path, if the caller may perform this action on it.
fn found(visit: &Visit<'_>, is_offered: fn(&KeyActions) -> bool) -> Result<View> {
    let view = keys::find(visit.call.app, &visit.caller, id(visit.call)?)?;
    match is_offered(&offered(visit.call.app, &visit.caller, &view)?) {
        true => Ok(view),
        false => Err(Error::Forbidden(verbatim(
            visit.texts.get("refusal.not_offered"),
        ))),
    }
}

fn deleting(
    visit: &Visit<'_>,
    status: u16,
    view: &View,
    typed: &str,
    refusal: Option<String>,
) -> Result<Reply> {
    let words = Words::of(visit, Some(&view.key.policy));
    let delete = DeletePage {
        s: visit.shell(words.delete_title(), nav(words)),
        w: words,
        name: view.key.name.clone(),
        href: address(view.key.id),
        confirm_name: policy(visit, view)?.confirm_name,
        typed: typed.to_owned(),
        refusal,
    };
    html(status, &delete)
}

fn nav(words: Words) -> Nav {
    match words.section() {
        Some(section) => Nav::Section(section.policy),
        None => Nav::Keys,
    }
}

fn policy(visit: &Visit<'_>, view: &View) -> Result<Policy> {
    offered::policy(visit.call.app, view)
}
