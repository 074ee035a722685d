//! From the state of a site to that of the server: what the events between them have touched, or why only a pack gets there.
//!
//! Most changes name what they touch. Those that do not, and those that change what a site is given by its own row, are a reason for
//! a pack. What a move of a workspace touches is found in the tree of workspaces ([`super::moved`]). An action that is not known
//! here counts as what its target is.

use crate::domain::audit::changes::{self, parse};
use crate::domain::audit::named::{Named, is_about_everything, named};
use crate::domain::audit::{Event, Kind, Outcome};
use crate::domain::keys::KeyId;
use crate::domain::packs::step::TOUCHED_MAX;
use crate::domain::uid::Uid;
use std::cell::LazyCell;
use std::collections::{BTreeMap, BTreeSet};

/// How a site gets from its state to that of the server.
#[derive(Debug, Eq, PartialEq)]
pub enum Path {
    Pack,
    Step(Touched),
}

/// What events have touched.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Touched {
    /// Whether the key may have been given to the site before, although it is not now.
    pub keys: BTreeMap<KeyId, bool>,
    /// Numbers of keys that were imported, from and to.
    pub imported: Vec<(i64, i64)>,
    pub users: BTreeSet<Uid>,
    pub policies: BTreeSet<String>,
    pub catalogs: BTreeSet<String>,
    pub workspaces: BTreeSet<Uid>,
    /// Workspaces that were moved or deleted, in the order of the events.
    pub moved: Vec<Moved>,
    /// Those of them, with all below, whose keys may have been given to the site before, also keys that have ended.
    pub left: BTreeSet<Uid>,
}

/// A workspace that an event has moved or deleted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Moved {
    pub uid: Uid,
    /// Where it was and came; of one that was deleted, where it was.
    pub parents: Vec<Uid>,
    pub is_deleted: bool,
}

/// Actions after which a site needs a pack, although their events are enough for another index of the server. Actions about
/// everything (`domain::audit::named`) need one as well, and are not listed again.
const FOR_SITES: [&str; 4] = [
    // It may change which keys act for their owners, as an edit of a policy may, but no member of its event says so.
    "policy.install",
    // A site has the peppers from its packs alone; other processes of the server read the file.
    "secrets.retire",
    "secrets.rotate",
    // It makes more keys than a step takes.
    "server.fill",
];

/// The way over these events, for a site of this name that is given these workspaces with all below them.
pub fn path<'a>(site: &str, workspaces: &[Uid], events: impl Iterator<Item = &'a Event>) -> Path {
    let mut touched = Touched::default();
    for event in events.filter(|event| event.outcome == Outcome::Allowed) {
        if needs_pack(site, workspaces, event) || !touched.add(event) {
            return Path::Pack;
        }
    }
    match touched.fits() {
        true => Path::Step(touched),
        false => Path::Pack,
    }
}

fn needs_pack(site: &str, workspaces: &[Uid], event: &Event) -> bool {
    // Few actions are looked at so closely.
    let changes = LazyCell::new(|| parse(&event.changes).unwrap_or_default());
    let has = |member: &str| changes.iter().any(|(name, _)| name == member);
    let value = |member: &str| {
        let (_, value) = changes.iter().find(|(name, _)| name == member)?;
        value.as_deref()
    };
    match event.action.as_str() {
        action if is_about_everything(action) || FOR_SITES.contains(&action) => true,
        // What was changed outside Latchkey may have been moved as well.
        action if action.ends_with(".accept") || action.ends_with(".tampered") => true,
        // The owners of its keys get roles at the site, or lose them.
        "policy.edit" => has("acts_for_owner"),
        "site.edit" if value("site") == Some(site) => {
            has("workspaces") || has("catalogs") || has("minimal") || has("life")
        }
        // One of those that its row names. Keys that ended with any other one have events of their own.
        "workspace.delete" => {
            let uid = Uid::parse(&event.target.id);
            uid.is_some_and(|uid| workspaces.contains(&uid))
        }
        _ => false,
    }
}

impl Touched {
    /// Adds what an event names; `false` if that cannot be read.
    fn add(&mut self, event: &Event) -> bool {
        let id = &event.target.id;
        match event.target.kind {
            Kind::Catalog => {
                self.catalogs.insert(id.clone());
            }
            Kind::Key => {
                let Some(key) = KeyId::parse(id) else {
                    return false;
                };
                let changes = parse(&event.changes).unwrap_or_default();
                let mut moved = changes.iter().map(|(name, _)| name.as_str());
                let moved = moved.any(|name| name == "workspace" || name == "catalog");
                *self.keys.entry(key).or_default() |= moved;
            }
            Kind::Policy => {
                self.policies.insert(id.clone());
            }
            Kind::Server if event.action == "key.import" => match named(event) {
                Named::NumberedKeys(first, last) => self.imported.push((first, last)),
                _ => return false,
            },
            Kind::Server | Kind::Session | Kind::Site => {}
            Kind::User | Kind::Workspace => {
                let Some(uid) = Uid::parse(id) else {
                    return false;
                };
                if event.target.kind == Kind::User {
                    self.users.insert(uid);
                    return true;
                }
                self.workspaces.insert(uid);
                let Some(parents) = parents(event) else {
                    return false;
                };
                if !parents.is_empty() {
                    self.moved.push(Moved {
                        uid,
                        parents,
                        is_deleted: event.action == "workspace.delete",
                    });
                }
            }
        }
        true
    }

    /// Whether this is not more than a step can have.
    pub fn fits(&self) -> bool {
        self.keys.len() + self.users.len() <= TOUCHED_MAX
    }
}

/// The workspaces below which the workspace of an event was, and came; empty if the event has neither moved nor deleted it. `None`
/// if they cannot be read.
fn parents(event: &Event) -> Option<Vec<Uid>> {
    match event.action.as_str() {
        // The event belongs to the workspace above.
        "workspace.delete" => Some(vec![Uid::parse(&event.workspace)?]),
        "workspace.edit" => {
            let values = [changes::before, changes::after].map(|of| of(&event.changes, "parent"));
            values
                .iter()
                .flatten()
                .map(|text| Uid::parse(text))
                .collect()
        }
        _ => Some(Vec::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::audit::{Changes, Target, actions};
    use crate::domain::time::Timestamp;

    const OWN: Uid = Uid(1);
    const BELOW: Uid = Uid(2);
    const OTHER: Uid = Uid(3);

    fn event(action: &str, target: Target) -> Event {
        Event::of_system(action, target, Timestamp(0))
    }

    fn with(event: Event, member: &'static str, before: &str, after: &str) -> Event {
        let mut changes = Changes::default();
        if event.action.starts_with("site.") {
            changes.note("site", &"", &"plant-7");
        }
        changes.note(member, &before, &after);
        Event {
            changes: changes.into_json(),
            ..event
        }
    }

    fn of(events: &[Event]) -> Path {
        path("plant-7", &[OWN], events.iter())
    }

    #[track_caller]
    fn check_pack(event: Event, expected: bool) {
        let found = of(std::slice::from_ref(&event));
        assert_eq!(found == Path::Pack, expected, "{event:?}");
    }

    #[test]
    fn what_events_name_is_touched_once() {
        let key = Target::new(Kind::Key, KeyId(5));
        let moved = with(event("key.edit", key.clone()), "catalog", "a", "b");
        let import = event("key.import", Target::server());
        let denied = Event {
            outcome: Outcome::Denied,
            ..event("key.delete", Target::new(Kind::Key, KeyId(9)))
        };
        let found = of(&[
            event("key.issue", key.clone()),
            event("key.rotate", Target::new(Kind::Key, KeyId(6))),
            moved,
            event("user.roles", Target::new(Kind::User, Uid(8))),
            event("policy.create", Target::new(Kind::Policy, "p")),
            event("catalog.put", Target::new(Kind::Catalog, "c")),
            event("workspace.edit", Target::new(Kind::Workspace, OTHER)),
            event("session.create", Target::new(Kind::Session, KeyId(1))),
            event("site.pack", Target::server()),
            with(import, "numbers", "", "7 to 9"),
            denied,
        ]);
        let expected = Touched {
            keys: BTreeMap::from([(KeyId(5), true), (KeyId(6), false)]),
            imported: vec![(7, 9)],
            users: BTreeSet::from([Uid(8)]),
            policies: BTreeSet::from(["p".to_owned()]),
            catalogs: BTreeSet::from(["c".to_owned()]),
            workspaces: BTreeSet::from([OTHER]),
            moved: Vec::new(),
            left: BTreeSet::new(),
        };
        assert_eq!(found, Path::Step(expected));
        assert_eq!(of(&[]), Path::Step(Touched::default()));
    }

    fn deleted(uid: Uid, parent: Uid) -> Event {
        Event {
            workspace: parent.to_string(),
            ..event("workspace.delete", Target::new(Kind::Workspace, uid))
        }
    }

    fn moved(uid: Uid, from: &str, to: &str) -> Event {
        let edit = event("workspace.edit", Target::new(Kind::Workspace, uid));
        with(edit, "parent", from, to)
    }

    #[test]
    fn a_workspace_that_was_moved_or_deleted_comes_with_its_parents() {
        let (from, to) = (OWN.to_string(), OTHER.to_string());
        let Path::Step(found) = of(&[moved(BELOW, &from, &to), deleted(BELOW, OTHER)]) else {
            panic!("a pack");
        };
        let expected = |parents: &[Uid], is_deleted| Moved {
            uid: BELOW,
            parents: parents.to_vec(),
            is_deleted,
        };
        let all = [expected(&[OWN, OTHER], false), expected(&[OTHER], true)];
        assert_eq!(found.moved, all);
        check_pack(moved(BELOW, "x", &to), true);
        let nowhere = event("workspace.delete", Target::new(Kind::Workspace, OTHER));
        check_pack(nowhere, true);
    }

    #[test]
    fn what_no_event_names_needs_a_pack() {
        let of_all = actions::ALL.iter().copied();
        let of_all: Vec<&str> = of_all
            .filter(|action| is_about_everything(action))
            .collect();
        assert!(of_all.contains(&"server.restore"));
        for action in of_all.into_iter().chain(FOR_SITES) {
            check_pack(event(action, Target::server()), true);
        }
        for action in FOR_SITES {
            assert!(actions::ALL.contains(&action) && !is_about_everything(action));
        }
        for action in ["key.accept", "key.tampered"] {
            check_pack(event(action, Target::new(Kind::Key, KeyId(1))), true);
        }
        check_pack(deleted(OTHER, BELOW), false);
        check_pack(deleted(OWN, OTHER), true);
        let workspace = |action: &str, uid| event(action, Target::new(Kind::Workspace, uid));
        check_pack(
            with(workspace("workspace.edit", OWN), "name", "x", "y"),
            false,
        );
        let policy = || event("policy.edit", Target::new(Kind::Policy, "p"));
        check_pack(with(policy(), "acts_for_owner", "false", "true"), true);
        check_pack(with(policy(), "description", "x", "y"), false);
        let site = || event("site.edit", Target::server());
        check_pack(with(site(), "workspaces", "x", "y"), true);
        check_pack(with(site(), "minimal", "false", "true"), true);
        check_pack(with(site(), "lend", "1", "2"), false);
        let other = event("site.edit", Target::server());
        let mut changes = Changes::default();
        changes.note("site", &"", &"ship-2");
        changes.note("workspaces", &"x", &"y");
        check_pack(
            Event {
                changes: changes.into_json(),
                ..other
            },
            false,
        );
    }

    #[test]
    fn what_cannot_be_read_needs_a_pack() {
        check_pack(event("key.edit", Target::new(Kind::Key, "strange!")), true);
        check_pack(event("user.edit", Target::new(Kind::User, "x")), true);
        check_pack(event("key.import", Target::server()), true);
        let key = |number| event("key.issue", Target::new(Kind::Key, KeyId(number)));
        let many: Vec<Event> = (0..=TOUCHED_MAX as u64).map(key).collect();
        assert_eq!(of(&many), Path::Pack);
        assert!(matches!(of(&many[1..]), Path::Step(_)));
    }
}
