//! What things were at an audit event: the audit log is read backwards, and each event is undone.

use crate::domain::audit::changes;
use crate::domain::audit::named::{Named, named};
use crate::domain::audit::{Event, Kind};
use crate::domain::keys::KeyId;
use crate::domain::policies::{TiedTo, from_word};
use crate::domain::time::Timestamp;
use crate::domain::uid::Uid;
use std::collections::{BTreeMap, HashMap, HashSet};

/// Uses of secrets have replaced their digests by ones under the newest pepper.
const UPGRADE: &str = "secrets.upgrade";

/// What has changed since an event. What is not here was then as it is now.
#[derive(Default)]
pub struct History {
    pub keys: BTreeMap<KeyId, KeyThen>,
    pub users: HashMap<Uid, UserThen>,
    pub workspaces: HashMap<Uid, WorkspaceThen>,
    pub policies: HashMap<String, PolicyThen>,
    /// The workspaces and the catalogs that a site was given, as its events write them.
    pub given: HashMap<String, GivenThen>,
    upgraded: HashSet<KeyId>,
    /// An event that names no keys has replaced digests.
    all_upgraded: bool,
}

/// A key, as far as it was another one; `None` for what has not changed.
#[derive(Default)]
pub struct KeyThen {
    /// It was issued since.
    pub is_new: bool,
    /// It was deleted since.
    pub was_there: bool,
    pub enabled: Option<bool>,
    pub expires_at: Option<Option<Timestamp>>,
    pub owner: Option<Option<Uid>>,
    /// How many secrets it got since.
    pub rotations: usize,
    /// Whether any secret can have ended since.
    pub has_lost_secrets: bool,
}

/// See [`KeyThen`].
#[derive(Default)]
pub struct UserThen {
    pub is_new: bool,
    pub was_there: bool,
    pub enabled: Option<bool>,
    pub had_other_roles: bool,
}

/// See [`KeyThen`].
#[derive(Default)]
pub struct WorkspaceThen {
    pub is_new: bool,
    pub was_there: bool,
    pub enabled: Option<bool>,
    pub parent: Option<Option<Uid>>,
}

/// See [`KeyThen`].
#[derive(Default)]
pub struct PolicyThen {
    /// It was found changed since, and closed.
    pub was_there: bool,
    pub decoy: Option<bool>,
    pub tied_to: Option<TiedTo>,
    pub acts_for_owner: Option<bool>,
}

/// See [`KeyThen`].
#[derive(Default)]
pub struct GivenThen {
    pub workspaces: Option<Vec<String>>,
    pub catalogs: Option<Vec<String>>,
}

/// The members that an event has changed, with their values before it.
struct Before(Vec<(String, Option<String>)>);

impl Before {
    fn of(event: &Event) -> Before {
        // The event of an acceptance has the present values alone.
        let is_known = !event.action.ends_with(".accept");
        let members = changes::parse_before(&event.changes).filter(|_| is_known);
        Before(members.unwrap_or_default())
    }

    /// The value of a member before the event, if the event has changed it; `Some(None)` if it had none.
    fn value(&self, name: &str) -> Option<Option<&str>> {
        let mut members = self.0.iter();
        let (_, value) = members.find(|(member, _)| member == name)?;
        Some(value.as_deref())
    }

    fn flag(&self, name: &str) -> Option<bool> {
        match self.value(name)?? {
            "true" => Some(true),
            "false" => Some(false),
            _ => None,
        }
    }

    fn uid(&self, name: &str) -> Option<Option<Uid>> {
        self.value(name).map(|value| value.and_then(Uid::parse))
    }
}

impl History {
    /// Undoes an event; every later one was undone before.
    pub fn undo(&mut self, event: &Event) {
        if event.action == UPGRADE {
            return self.undo_upgrade(event);
        }
        let before = Before::of(event);
        let (noun, verb) = event.action.split_once('.').unwrap_or_default();
        if noun == "site" {
            return self.undo_site(event, verb, &before);
        }
        let uid = Uid::parse(&event.target.id);
        match (event.target.kind, uid) {
            (Kind::Key, _) => {
                if let Some(id) = KeyId::parse(&event.target.id) {
                    self.keys.entry(id).or_default().undo(verb, &before);
                }
            }
            (Kind::User, Some(uid)) => self.undo_user(uid, verb, &before),
            (Kind::Workspace, Some(uid)) => self.undo_workspace(uid, event, verb, &before),
            (Kind::Policy, _) => self.undo_policy(&event.target.id, verb, &before),
            _ => {}
        }
    }

    /// Whether something besides keys was another one.
    pub fn concerns_many(&self, site: Option<&str>) -> bool {
        let is_given_other = site.is_some_and(|site| self.given.contains_key(site));
        is_given_other
            || !self.users.is_empty()
            || !self.workspaces.is_empty()
            || !self.policies.is_empty()
    }

    /// Whether a secret of a key can have had a digest under an older pepper then.
    pub fn had_other_digests(&self, key: KeyId) -> bool {
        self.all_upgraded || self.upgraded.contains(&key)
    }

    fn undo_upgrade(&mut self, event: &Event) {
        match named(event) {
            Named::Keys(ids) => self.upgraded.extend(ids),
            _ => self.all_upgraded = true,
        }
    }

    fn undo_user(&mut self, uid: Uid, verb: &str, before: &Before) {
        let enabled = before.flag("enabled");
        let matters = matches!(verb, "create" | "delete" | "roles" | "set_up") || enabled.is_some();
        if !matters {
            return;
        }
        let then = self.users.entry(uid).or_default();
        then.is_new |= verb == "create";
        then.was_there |= verb == "delete";
        then.had_other_roles |= verb == "roles";
        then.enabled = enabled.or(then.enabled);
    }

    fn undo_workspace(&mut self, uid: Uid, event: &Event, verb: &str, before: &Before) {
        let (enabled, parent) = (before.flag("enabled"), before.uid("parent"));
        let matters = matches!(verb, "create" | "delete") || enabled.is_some() || parent.is_some();
        if !matters {
            return;
        }
        let then = self.workspaces.entry(uid).or_default();
        then.is_new |= verb == "create";
        if verb == "delete" {
            // The event of a deletion belongs to the workspace above.
            then.was_there = true;
            then.parent = Some(Uid::parse(&event.workspace));
        }
        then.enabled = enabled.or(then.enabled);
        then.parent = parent.or(then.parent);
    }

    fn undo_policy(&mut self, name: &str, verb: &str, before: &Before) {
        let (decoy, acts) = (before.flag("decoy"), before.flag("acts_for_owner"));
        let tied_to = before.value("tied_to").flatten().and_then(from_word);
        let matters = verb == "tampered" || decoy.or(acts).is_some() || tied_to.is_some();
        if !matters {
            return;
        }
        let then = self.policies.entry(name.to_owned()).or_default();
        then.was_there |= verb == "tampered";
        then.decoy = decoy.or(then.decoy);
        then.acts_for_owner = acts.or(then.acts_for_owner);
        then.tied_to = tied_to.or(then.tied_to);
    }

    /// The event names the site in its changes; those of older versions do so alone.
    fn undo_site(&mut self, event: &Event, verb: &str, before: &Before) {
        let members = changes::parse(&event.changes).unwrap_or_default();
        let mut members = members.into_iter();
        let site = members.find(|(member, _)| member == "site");
        let Some(site) = site.and_then(|(_, value)| value).filter(|_| verb == "edit") else {
            return;
        };
        let words = |name: &str| {
            let value = before.value(name)?;
            let words = value
                .unwrap_or_default()
                .split(' ')
                .filter(|word| !word.is_empty());
            Some(words.map(str::to_owned).collect::<Vec<_>>())
        };
        let (workspaces, catalogs) = (words("workspaces"), words("catalogs"));
        if workspaces.is_none() && catalogs.is_none() {
            return;
        }
        let then = self.given.entry(site).or_default();
        then.workspaces = workspaces.or(then.workspaces.take());
        then.catalogs = catalogs.or(then.catalogs.take());
    }
}

impl KeyThen {
    fn undo(&mut self, verb: &str, before: &Before) {
        match verb {
            "issue" => self.is_new = true,
            "delete" | "replace" | "revoke" => self.was_there = true,
            "rotate" => self.rotations += 1,
            _ => {}
        }
        self.has_lost_secrets |= matches!(verb, "rotate" | "rotation_complete");
        let end = |value: Option<&str>| value.and_then(|text| Timestamp::parse("", text).ok());
        self.enabled = before.flag("enabled").or(self.enabled);
        self.expires_at = before.value("expires_at").map(end).or(self.expires_at);
        self.owner = before.uid("owner").or(self.owner);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::audit::{Changes, Target};

    fn event(action: &str, target: Target, change: impl Fn(&mut Changes)) -> Event {
        let mut changes = Changes::default();
        change(&mut changes);
        Event {
            changes: changes.into_json(),
            ..Event::of_system(action, target, Timestamp(1))
        }
    }

    fn key() -> Target {
        Target::new(Kind::Key, KeyId(5))
    }

    #[test]
    fn the_oldest_event_has_what_was() {
        let mut history = History::default();
        history.undo(&event("key.delete", key(), |changes| {
            changes.note("name", &"a", &"");
        }));
        history.undo(&event("key.edit", key(), |changes| {
            changes.note("enabled", &false, &true);
            changes.note_option("expires_at", &Some(Timestamp(9_000)), &None);
        }));
        history.undo(&event("key.edit", key(), |changes| {
            changes.note("enabled", &true, &false);
            changes.note_option("expires_at", &None, &Some(Timestamp(9_000)));
        }));
        let then = &history.keys[&KeyId(5)];
        assert!(then.was_there && !then.is_new && !then.has_lost_secrets);
        assert_eq!((then.enabled, then.expires_at), (Some(true), Some(None)));
        assert!(!history.concerns_many(Some("plant-7")));
    }

    #[test]
    fn what_an_acceptance_names_is_not_what_was() {
        let mut history = History::default();
        history.undo(&event("key.accept", key(), |changes| {
            changes.note_always("enabled", Some("false"));
        }));
        assert_eq!(history.keys[&KeyId(5)].enabled, None);
    }

    #[test]
    fn digests_that_were_replaced_are_known_by_key() {
        let upgrade = |keys: &'static str| {
            event(UPGRADE, Target::server(), move |changes| {
                changes.note(crate::domain::audit::named::KEYS, &"", &keys);
            })
        };
        let mut history = History::default();
        history.undo(&upgrade("0000000005 0000000007"));
        let had = |history: &History| [5, 6, 7].map(|id| history.had_other_digests(KeyId(id)));
        assert_eq!(had(&history), [true, false, true]);
        assert!(history.keys.is_empty() && !history.concerns_many(None));
        // What cannot be read concerns every key.
        history.undo(&upgrade("x"));
        assert_eq!(had(&history), [true; 3]);
    }

    #[test]
    fn events_without_effect_on_many_keys_are_passed_over() {
        let mut history = History::default();
        let user = Target::new(Kind::User, Uid(3));
        history.undo(&event("user.password", user.clone(), |_| {}));
        history.undo(&event("user.edit", user.clone(), |changes| {
            changes.note("email", &"a", &"b");
        }));
        history.undo(&event(
            "policy.edit",
            Target::new(Kind::Policy, "p"),
            |changes| {
                changes.note("description", &"a", &"b");
            },
        ));
        assert!(!history.concerns_many(None));
        history.undo(&event("user.edit", user, |changes| {
            changes.note("enabled", &true, &false);
        }));
        assert!(history.concerns_many(None));
        assert_eq!(history.users[&Uid(3)].enabled, Some(true));
    }

    #[test]
    fn a_site_was_given_what_its_events_name() {
        for target in [Target::server(), Target::new(Kind::Site, "plant-7")] {
            let mut history = History::default();
            history.undo(&event("site.edit", target, |changes| {
                changes.note("workspaces", &"emea apac", &"emea");
                changes.note("site", &"", &"plant-7");
            }));
            let then = &history.given["plant-7"];
            let slugs = ["emea".to_owned(), "apac".to_owned()];
            assert_eq!(then.workspaces.as_deref(), Some(&slugs[..]));
            assert_eq!(then.catalogs, None);
            assert!(history.concerns_many(Some("plant-7")));
            assert!(!history.concerns_many(Some("plant-8")));
        }
    }
}
