//! What an event names: what another index than that of this process has to read again, if it knows only the log.
//!
//! The log is the only feed of such an index. So a change of anything that an index has is complete only if the events of its
//! transaction name it. In debug builds the writer refuses a change that is not (`store::writer`).

use super::{Event, Outcome, Target, changes};
use crate::domain::keys::KeyId;

/// What an event names.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Named {
    /// More than the event lists, so that everything has to be read again.
    Everything,
    Keys(Vec<KeyId>),
    /// The keys with numbers from the first to the second.
    NumberedKeys(i64, i64),
    Nothing,
    Target(Target),
}

/// Actions that replace or correct so much that no event lists it.
const EVERYTHING: [&str; 7] = [
    "clock.accept",
    "server.close_older_copy",
    "server.forget_node",
    "server.init",
    "server.migrate",
    "server.restore",
    "site.init",
];

/// The member with the numbers of keys that were made together.
pub const NUMBERS: &str = "numbers";
/// The member with the ids of keys, separated by blanks.
pub const KEYS: &str = "keys";
/// The number of ids that fit into one member of an event.
pub const KEYS_MAX: usize = 90;

/// Whether an action replaces or corrects so much that no event lists it.
pub fn is_about_everything(action: &str) -> bool {
    EVERYTHING.contains(&action)
}

/// What an event names. What cannot be read, such as an event of an earlier version that lists nothing, names everything.
pub fn named(event: &Event) -> Named {
    if event.outcome != Outcome::Allowed {
        return Named::Nothing;
    }
    let listed = match event.action.as_str() {
        action if is_about_everything(action) => Some(Named::Everything),
        "key.import" | "server.fill" => numbers(event),
        "secrets.upgrade" => keys(event),
        _ => Some(Named::Target(event.target.clone())),
    };
    listed.unwrap_or(Named::Everything)
}

/// The text of [`NUMBERS`].
pub fn numbers_text(first: i64, last: i64) -> String {
    format!("{first} to {last}")
}

/// The text of [`KEYS`].
pub fn keys_text(ids: &[KeyId]) -> String {
    let ids: Vec<String> = ids.iter().map(KeyId::to_string).collect();
    ids.join(" ")
}

fn member(event: &Event, name: &str) -> Option<String> {
    let members = changes::parse(&event.changes)?;
    members.into_iter().find(|(word, _)| word == name)?.1
}

fn numbers(event: &Event) -> Option<Named> {
    let value = member(event, NUMBERS)?;
    let (first, last) = value.split_once(" to ")?;
    Some(Named::NumberedKeys(first.parse().ok()?, last.parse().ok()?))
}

fn keys(event: &Event) -> Option<Named> {
    let value = member(event, KEYS)?;
    let ids: Option<Vec<KeyId>> = value.split(' ').map(KeyId::parse).collect();
    ids.map(Named::Keys)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::audit::{Changes, Kind, actions};
    use crate::domain::time::Timestamp;

    fn event(action: &str, note: impl FnOnce(&mut Changes)) -> Event {
        let mut changes = Changes::default();
        note(&mut changes);
        Event {
            changes: changes.into_json(),
            ..Event::of_system(action, Target::server(), Timestamp(1))
        }
    }

    #[test]
    fn most_events_name_their_target_and_a_refused_attempt_names_nothing() {
        let key = Target::new(Kind::Key, KeyId(5));
        let edited = Event::of_system("key.edit", key.clone(), Timestamp(1));
        assert_eq!(named(&edited), Named::Target(key));
        let refused = Event {
            outcome: Outcome::Denied,
            ..edited
        };
        assert_eq!(named(&refused), Named::Nothing);
        for action in EVERYTHING {
            assert!(actions::ALL.contains(&action));
            assert_eq!(named(&event(action, |_| ())), Named::Everything);
        }
    }

    #[test]
    fn events_about_many_keys_name_each_of_them() {
        let none = String::new();
        for action in ["key.import", "server.fill"] {
            let of = event(action, |changes| {
                changes.note(NUMBERS, &none, &numbers_text(7, 9));
            });
            assert_eq!(named(&of), Named::NumberedKeys(7, 9));
        }
        let most: Vec<KeyId> = (0..KEYS_MAX as u64).map(KeyId).collect();
        let of = event("secrets.upgrade", |changes| {
            changes.note(KEYS, &none, &keys_text(&most));
        });
        assert_eq!(named(&of), Named::Keys(most));
    }

    #[test]
    fn what_lists_nothing_names_everything() {
        for action in ["key.import", "server.fill", "secrets.upgrade"] {
            assert_eq!(named(&event(action, |_| ())), Named::Everything);
        }
        let strange = |text: &'static str| {
            event("secrets.upgrade", move |changes| {
                changes.note(KEYS, &"", &text);
            })
        };
        assert_eq!(named(&strange("0000000001 x")), Named::Everything);
    }
}
