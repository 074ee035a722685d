//! Searching for keys. The form is sent in a body: an ordinary text goes on into the address of the list, and a secret goes
//! nowhere but leads to its key.

use super::query::ListQuery;
use crate::dialects::console::auth::cookie::Cookie;
use crate::dialects::console::auth::{Visit, channel, redirect, submit_unkept};
use crate::dialects::console::keys::address;
use crate::dialects::console::layout::{Layout, Nav, html};
use crate::domain::keys::finder::{self, Rest};
use crate::domain::keys::secret::may_hold_secret;
use crate::error::{Error, Result};
use crate::http::reply::Reply;
use crate::http::route::Call;
use crate::ops::keys::{identify, known_secret_in};
use askama::Template;

/// What is known about a text that looks like a secret.
#[derive(Template)]
#[template(path = "console/key_search.html")]
struct SecretPage {
    s: Layout,
    title: &'static str,
    why: &'static str,
    /// The name and the address of the key whose id is in the text.
    key: Option<(String, String)>,
}

/// `POST /console/keys`
pub fn submit(call: &Call<'_>) -> Result<Reply> {
    submit_unkept(call, &|visit, form| {
        let text = form.text("q").trim();
        if may_hold_secret(text) {
            return found(visit, text);
        }
        if let Some(secret) = known_secret_in(call.app, &visit.caller, text)? {
            return found(visit, secret);
        }
        Ok(redirect(&ListQuery::of(form).address()))
    })
}

/// The page of the key whose secret a text is or contains; otherwise what is known. Neither has the text.
fn found(visit: &Visit<'_>, text: &str) -> Result<Reply> {
    let mut own = None;
    finder::find(text.as_bytes(), 0, Rest::Nothing, |_, secret| {
        own.get_or_insert(secret.text);
    });
    let app = visit.call.app;
    let (title, why, key) = match identify(app, &visit.caller, own.unwrap_or(text)) {
        Ok(Some((view, true))) => return Ok(visit.done("secret_found", &address(view.key.id))),
        Ok(Some((view, false))) => {
            let key = (view.key.name.clone(), address(view.key.id));
            ("search.old_title", "search.old", Some(key))
        }
        Ok(None) => ("search.secret_title", "search.unknown", None),
        Err(err @ Error::Forbidden(_)) => {
            visit.noting::<()>(Err(err)).ok();
            ("search.secret_title", "search.forbidden", None)
        }
        Err(err) => return Err(err),
    };
    let page = SecretPage {
        s: visit.shell(visit.texts.get(title), Nav::Keys),
        title: visit.texts.get(title),
        why: visit.texts.get(why),
        key,
    };
    html(200, &page)
}

/// The answer to an address that contains a secret: a redirect to the same address without it, before it gets into an
/// address of the sign-in page or into a page.
pub fn without_secret(call: &Call<'_>) -> Option<Reply> {
    let mut query = call.query().ok()?;
    let asked = ListQuery::take(&mut query);
    let others = asked.filters().filter(|(name, _)| *name != "q");
    let rest = match others.map(|(_, value)| value).any(may_hold_secret) {
        true => ListQuery::default(),
        false if may_hold_secret(asked.text("q")) => asked.with("q", ""),
        false => return None,
    };
    Some(dropped(call, &rest))
}

/// As [`without_secret`], for a signed-in user, and for secrets of other systems.
pub fn without_foreign_secret(visit: &Visit<'_>, asked: &ListQuery) -> Result<Option<Reply>> {
    let secret = known_secret_in(visit.call.app, &visit.caller, asked.text("q").trim())?;
    Ok(secret.map(|_| dropped(visit.call, &asked.with("q", ""))))
}

fn dropped(call: &Call<'_>, rest: &ListQuery) -> Reply {
    let done = Cookie::Done.set(channel(call), "secret_dropped");
    redirect(&rest.address()).also("set-cookie", done)
}
