//! The rows of a table of sessions, on the user's own account page and on the pages of users.

use super::auth::Visit;
use super::layout::moment::DisplayTime;
use crate::domain::keys::KeyId;
use crate::domain::sessions::Session;

pub struct SessionRow {
    pub id: String,
    /// Whether this is the session that requests the page.
    pub own: bool,
    /// The name of the browser according to its `User-Agent` header, or what an access token is.
    pub name: String,
    pub source: String,
    pub began: DisplayTime,
    pub used: Option<DisplayTime>,
    pub ends: DisplayTime,
}

impl SessionRow {
    pub fn of(visit: &Visit<'_>, session: Session) -> SessionRow {
        let (texts, now) = (visit.texts, visit.call.app.now().wall);
        let acting = session.acting.and_then(|by| {
            let directory = visit.call.app.index.directory();
            directory.user(by.user).map(|user| user.user_name.clone())
        });
        let name = match (&session.console, acting) {
            (Some(browser), _) => familiar(&browser.agent),
            (None, Some(by)) => texts.with("account.token_of", &by),
            (None, None) => texts.get("account.token").to_owned(),
        };
        let browser = session.console;
        SessionRow {
            id: session.id.to_string(),
            own: session.id == own(visit),
            name,
            source: browser
                .as_ref()
                .map_or_else(String::new, |browser| browser.source.clone()),
            began: DisplayTime::new(texts, session.issued_at, now),
            used: browser.map(|browser| DisplayTime::new(texts, browser.used_at, now)),
            ends: DisplayTime::new(texts, session.expires_at, now),
        }
    }
}

fn own(visit: &Visit<'_>) -> KeyId {
    visit.session.id
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
