//! The page of the user's own account: the password and the open sessions.

use super::cookie::Cookie;
use super::{Visit, agent, channel, page, submit};
use crate::dialects::console::MOUNT;
use crate::dialects::console::layout::moment::DisplayTime;
use crate::dialects::console::layout::{Layout, Nav, html};
use crate::domain::keys::KeyId;
use crate::error::{Error, Result};
use crate::http::reply::Reply;
use crate::http::route::Call;
use crate::ops::sessions;
use crate::ops::sessions::console;
use askama::Template;

#[derive(Template)]
#[template(path = "console/account.html")]
struct AccountPage {
    s: Layout,
    user_name: String,
    sessions: Vec<SessionRow>,
    /// The field that was refused, and the reason.
    refused: (String, String),
}

struct SessionRow {
    id: String,
    /// Whether this is the session that requests the page.
    own: bool,
    /// The name of the browser according to its `User-Agent` header; empty for access tokens.
    agent: String,
    source: String,
    began: DisplayTime,
    used: Option<DisplayTime>,
    ends: DisplayTime,
}

/// `GET /console/account`
pub fn show(call: &Call<'_>) -> Result<Reply> {
    page(call, &|visit| shown(visit, 200, None))
}

/// `POST /console/account/password`: ends every session of the user and starts a new one for this browser.
pub fn set_password(call: &Call<'_>) -> Result<Reply> {
    submit(call, &|visit, form| {
        let (current, new) = (form.text("current_password"), form.text("password"));
        if new != form.text("password_again") {
            let refused =
                Error::invalid_text("password_again", visit.texts.get("password.differs"));
            return shown(visit, 422, Some(refused));
        }
        let name = visit.user_name();
        match sessions::set_password(call.app, &visit.caller, &name, new, Some(current)) {
            Ok(()) => {}
            Err(Error::Forbidden(_)) => {
                let refused =
                    Error::invalid_text("current_password", visit.texts.get("password.wrong"));
                return shown(visit, 403, Some(refused));
            }
            Err(err @ Error::Invalid { .. }) => return shown(visit, 422, Some(err)),
            Err(err) => return Err(err),
        }
        let origin = call.trust.origin(call.request);
        let user = call.app.index.directory().find_user(&name).cloned();
        let user = user.ok_or(Error::NotFound("user"))?;
        let signed_in = console::begin(call.app, &user, origin, agent(call), None)?;
        let set = Cookie::Session.set(channel(call), signed_in.token.expose());
        Ok(visit
            .done("password_changed", &format!("{MOUNT}/account"))
            .also("set-cookie", &set))
    })
}

/// `POST /console/account/sessions/{id}/end`
pub fn end_session(call: &Call<'_>) -> Result<Reply> {
    submit(call, &|visit, _| {
        let id = KeyId::parse(call.param("id")).ok_or(Error::NotFound("session"))?;
        console::end(call.app, &visit.caller, id)?;
        Ok(visit.done("session_ended", &format!("{MOUNT}/account")))
    })
}

fn shown(visit: &Visit<'_>, status: u16, err: Option<Error>) -> Result<Reply> {
    let now = visit.call.app.now().wall;
    let row = |session: crate::domain::sessions::Session| {
        let browser = session.console;
        SessionRow {
            id: session.id.to_string(),
            own: session.id == visit.session.id,
            agent: browser
                .as_ref()
                .map_or_else(String::new, |b| familiar(&b.agent)),
            source: browser
                .as_ref()
                .map_or_else(String::new, |b| b.source.clone()),
            began: DisplayTime::new(visit.texts, session.issued_at, now),
            used: browser.map(|b| DisplayTime::new(visit.texts, b.used_at, now)),
            ends: DisplayTime::new(visit.texts, session.expires_at, now),
        }
    };
    let refused = match err {
        Some(Error::Invalid { field, reason }) => (field, visit.texts.refusal(&reason)),
        _ => Default::default(),
    };
    let found = console::list(visit.call.app, &visit.caller)?;
    let account = AccountPage {
        s: visit.shell(visit.texts.get("account.title"), Nav::Account),
        user_name: visit.user_name(),
        sessions: found.into_iter().map(row).collect(),
        refused,
    };
    html(status, &account)
}

/// A short name such as `Firefox, Linux` for a `User-Agent` header; the header itself if the browser is unknown.
fn familiar(agent: &str) -> String {
    let find = |table: &[(&'static str, &'static str)]| {
        table
            .iter()
            .find(|(mark, _)| agent.contains(mark))
            .map(|(_, name)| *name)
    };
    let browser = find(&[
        ("Firefox/", "Firefox"),
        ("Edg/", "Edge"),
        ("OPR/", "Opera"),
        ("Chrome/", "Chrome"),
        ("Safari/", "Safari"),
        ("curl/", "curl"),
    ]);
    let system = find(&[
        ("Windows", "Windows"),
        ("Android", "Android"),
        ("iPhone", "iPhone"),
        ("iPad", "iPad"),
        ("Mac OS X", "macOS"),
        ("Linux", "Linux"),
    ]);
    match (browser, system) {
        (Some(browser), Some(system)) => format!("{browser}, {system}"),
        (Some(browser), None) => browser.to_owned(),
        _ => agent.chars().take(60).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_are_known_by_their_names() {
        for (agent, expected) in [
            (
                "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
                "Firefox, Linux",
            ),
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36 Edg/140.0",
                "Edge, Windows",
            ),
            ("curl/8.0", "curl"),
            ("something else", "something else"),
            ("", ""),
        ] {
            assert_eq!(familiar(agent), expected);
        }
    }
}
