//! Notices of changes, found in the audit log. The position in the log is stored with the notices, so that each event
//! makes its notice once, whenever the server is killed.

use super::write_found;
use crate::domain::audit::{Event, Outcome, changes};
use crate::domain::notices::sink::Series;
use crate::domain::notices::{Data, Draft, Kind};
use crate::error::Result;
use crate::ops::App;
use crate::store::audit::{events, newest_number};
use crate::store::notices;

/// The name under which the position in the audit log is stored.
const READER: &str = "events";
const SERIES: &str = "audit";
/// The fact that is the number of the event in the log of the whole server.
pub const EVENT: &str = "event";
/// The number of events that are read at once.
const EVENTS_MAX: u32 = 500;

/// An action whose events are notices too.
struct Rule {
    action: &'static str,
    kind: Kind,
    /// The members of the event's changes whose new values the notice has. Never one that can hold a secret or metadata.
    copied: &'static [&'static str],
}

/// Which events make which notices.
#[rustfmt::skip]
const FROM_EVENTS: &[Rule] = &[
    Rule { action: "session.reuse",               kind: Kind::SigninStrange,          copied: &[] },
    Rule { action: "user.lock",                   kind: Kind::SigninStrange,          copied: &[] },
    Rule { action: "user.set_up",                 kind: Kind::UserCredentialsChanged, copied: &[] },
    Rule { action: "user.password",               kind: Kind::UserCredentialsChanged, copied: &[] },
    Rule { action: "user.authenticator_add",      kind: Kind::UserCredentialsChanged, copied: &[] },
    Rule { action: "user.authenticator_edit",     kind: Kind::UserCredentialsChanged, copied: &[] },
    Rule { action: "user.authenticator_delete",   kind: Kind::UserCredentialsChanged, copied: &[] },
    Rule { action: "user.recovery_codes_create",  kind: Kind::UserCredentialsChanged, copied: &[] },
    Rule { action: "user.recovery_code_use",      kind: Kind::UserCredentialsChanged, copied: &[] },
    Rule { action: "user.recovery_codes_delete",  kind: Kind::UserCredentialsChanged, copied: &[] },
    Rule { action: "key.tripped",                 kind: Kind::KeyTripped,             copied: &["times", "via", "request"] },
    Rule { action: "key.old_secret_tried",        kind: Kind::SecretRetiredTried,     copied: &["times", "via", "request"] },
    Rule { action: "key.leaked",                  kind: Kind::KeyLeaked,              copied: &["url", "found_by", "still_works"] },
    Rule { action: "key.tampered",                kind: Kind::StoreEdited,            copied: &[] },
    Rule { action: "session.tampered",            kind: Kind::StoreEdited,            copied: &[] },
    Rule { action: "user.tampered",               kind: Kind::StoreEdited,            copied: &[] },
    Rule { action: "workspace.tampered",          kind: Kind::StoreEdited,            copied: &[] },
    Rule { action: "policy.tampered",             kind: Kind::StoreEdited,            copied: &[] },
    Rule { action: "catalog.tampered",            kind: Kind::StoreEdited,            copied: &[] },
];

/// Reads the events since the last call. The first call begins at the end of the log, so that an upgrade does not send
/// what happened long ago.
pub fn read(app: &App) -> Result<()> {
    loop {
        let (position, newest) = app.read(|read| {
            let position = notices::find_cursor(read, READER, SERIES)?;
            Ok((position, newest_number(read)?))
        })?;
        app.notices.note_newest(Series::Audit, newest);
        let Some(position) = position else {
            return write_found(app, READER, SERIES, newest, Vec::new());
        };
        // A restored log may end earlier.
        if newest < position {
            return write_found(app, READER, SERIES, newest, Vec::new());
        }
        if newest == position {
            return Ok(());
        }
        let found = app.read(|read| events::list_after(read, position, EVENTS_MAX))?;
        let last = found.last().map_or(newest, |(seq, _)| *seq);
        let readable = found.iter().filter_map(|(_, event)| event.as_ref());
        let drafts = readable.filter_map(draft).collect();
        write_found(app, READER, SERIES, last, drafts)?;
    }
}

/// The notice of an event; `None` for one that makes none. What was refused changed nothing.
fn draft(event: &Event) -> Option<Draft> {
    let rule = FROM_EVENTS
        .iter()
        .find(|rule| rule.action == event.action)?;
    if event.outcome != Outcome::Allowed {
        return None;
    }
    let mut data = Data::default()
        .with("action", &event.action)
        .with("actor", &event.actor)
        .with(EVENT, event.seq);
    if !event.source.is_empty() {
        data = data.with("address", &event.source);
    }
    let changed = changes::parse(&event.changes).unwrap_or_default();
    for name in rule.copied {
        let new = changed.iter().find(|(member, _)| member == name);
        if let Some(value) = new.and_then(|(_, value)| value.as_ref()) {
            data = data.with(name, value);
        }
    }
    Some(Draft::once(rule.kind, event.target.clone(), event.at, data))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::audit::actions;
    use crate::ops::notices::{round, tests::stored};
    use crate::ops::sessions;
    use crate::ops::setup::fixture::Fixture;

    #[test]
    fn every_rule_names_an_action() {
        for rule in FROM_EVENTS {
            assert!(actions::ALL.contains(&rule.action), "{}", rule.action);
        }
    }

    #[test]
    fn a_new_password_is_a_notice_once_and_later_ones_are_counted() {
        let mut fixture = Fixture::new();
        round(&fixture.app).unwrap();
        let local = fixture.local();
        let set = |app: &App, password| {
            sessions::set_password(app, &local, "owner", password, None).unwrap();
        };
        set(&fixture.app, "seven lanterns over the harbour");
        set(&fixture.app, "six lanterns over the harbour");
        round(&fixture.app).unwrap();
        set(&fixture.app, "eight lanterns over the harbour");
        round(&fixture.app).unwrap();
        let found = stored(&fixture.app);
        assert_eq!((found.len(), found[0].count), (1, 2));
        assert_eq!(found[0].kind, Kind::UserCredentialsChanged);
        assert!(found[0].user.is_some() && found[0].workspace.is_some());
        assert!(found[0].data.contains(r#""action":"user.password""#));
        // Another process finds what happened before it began, and nothing twice.
        set(&fixture.app, "nine lanterns over the harbour!");
        fixture.reopen(&[]);
        round(&fixture.app).unwrap();
        round(&fixture.app).unwrap();
        assert_eq!(stored(&fixture.app).len(), 2);
    }
}
