//! A site as its server knows it.

use crate::domain::audit::{Event, Kind, Target, changes};
use crate::domain::keys::KeyId;
use crate::domain::keys::sealing::Sealed;
use crate::domain::time::Timestamp;
use crate::domain::uid::Uid;

/// How long a pack counts by default: seven days.
pub const UNTIL_S: u64 = 7 * 86_400;
/// The longest and the shortest time that a pack can count: ten years, a minute.
pub const UNTIL_S_MAX: u64 = 10 * 366 * 86_400;
/// See [`UNTIL_S_MAX`].
pub const UNTIL_S_MIN: u64 = 60;
/// The uses of a counted key that a site may have at a time, by default.
pub const LEND: u64 = 100;
/// How long a linked site may answer after the last word of the server, by default.
pub const MAX_STALE_S: u64 = 10;
/// The shortest and the longest time of that kind: two seconds, a day.
pub const MAX_STALE_S_MIN: u64 = 2;
/// See [`MAX_STALE_S_MIN`].
pub const MAX_STALE_S_MAX: u64 = 86_400;
/// The greatest number of workspaces, and of catalogs, that a site is given.
pub const PARTS_MAX: usize = 1_000;
/// The greatest number of sites.
pub const SITES_MAX: usize = 10_000;

/// A site.
#[derive(Clone, Debug)]
pub struct Site {
    pub name: String,
    /// Its packs have no names and no metadata.
    pub minimal: bool,
    /// How long a pack counts.
    pub until_s: u64,
    /// Uses of a counted key that it may have at a time.
    pub lend: u64,
    /// How long it may answer after the last word of the server, while it is linked.
    pub max_stale_s: u64,
    pub created_at: Timestamp,
    pub removed_at: Option<Timestamp>,
    /// The key that it has alone with the server; `None` once it is removed.
    pub sealed: Option<Sealed>,
    /// The latest number that was given; 0 if none was.
    pub pack: u64,
    /// The latest whole pack.
    pub base: u64,
    /// The life of its state to which uses are lent; `None` while the server knows of none: to the enrolment.
    pub lent_life: Option<Uid>,
    /// The content of the newest report.
    pub reported: Option<Reported>,
    /// What it is given, with everything below.
    pub workspaces: Vec<Uid>,
    /// Empty for the keys of all catalogs and of none.
    pub catalogs: Vec<String>,
}

/// The content of the newest report of a site about itself.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Reported {
    pub life: Uid,
    pub number: u64,
    /// By the clock of the site.
    pub at: Timestamp,
    /// The pack in force there; 0 if there is none.
    pub applied: u64,
    /// The newest audit event that this pack includes.
    pub events: u64,
}

/// A pack that was made.
#[derive(Clone, Debug)]
pub struct MadePack {
    pub site: String,
    pub number: u64,
    /// 0 for a whole pack.
    pub base: u64,
    pub made_at: Timestamp,
    pub until: Timestamp,
    pub events: u64,
    pub keys: u64,
    /// Of the file.
    pub bytes: u64,
    /// Of the body.
    pub sha256: [u8; 32],
}

impl MadePack {
    /// The name of its file: `000040.lkpack` for a whole pack, `000043-of-40.lkpack` for a difference.
    pub fn file_name(&self) -> String {
        file_name(self.number, self.base)
    }
}

/// See [`MadePack::file_name`].
pub fn file_name(number: u64, base: u64) -> String {
    match base {
        0 => format!("{number:06}.lkpack"),
        base => format!("{number:06}-of-{base}.lkpack"),
    }
}

/// The text that the sealed key of a site is bound to.
pub fn key_purpose(site: &str) -> String {
    format!("latchkey: key of site {site}")
}

/// The text that the sealed seed of a signing key is bound to.
pub fn signing_key_purpose(version: u32) -> String {
    format!("latchkey: seed of pack signing key {version}")
}

/// The action with which a site ends a key. The event is about the site, where the key is no row.
pub const DISABLE: &str = "site.disable";

/// The key that a site has ended by an event.
pub fn disabled_key(event: &Event) -> Option<Target> {
    if event.action != DISABLE {
        return None;
    }
    let mut members = changes::parse(&event.changes)?.into_iter();
    let (_, key) = members.find(|(member, _)| member == "key")?;
    Some(Target::new(Kind::Key, KeyId::parse(&key?)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::tombstones::{self, Verb};

    #[test]
    fn what_a_site_has_ended_and_a_site_that_was_removed_leave_tombstones() {
        let check =
            |action: &str, target: Target, changes: &str, expected: Option<(Verb, &str)>| {
                let event = Event {
                    changes: changes.to_owned(),
                    ..Event::of_system(action, target, Timestamp(1))
                };
                let found = tombstones::of(&event);
                let found: Vec<_> = found
                    .iter()
                    .map(|one| (one.verb, one.id.as_str()))
                    .collect();
                assert_eq!(found, Vec::from_iter(expected), "{action}");
            };
        let key = r#"{"key":[null,"k3J9aQ0xZb"]}"#;
        let site = || Target::new(Kind::Site, "plant-7");
        check(
            DISABLE,
            Target::server(),
            key,
            Some((Verb::Off, "k3J9aQ0xZb")),
        );
        check(DISABLE, Target::server(), "", None);
        check("site.report", Target::server(), key, None);
        check("site.remove", site(), "", Some((Verb::Deleted, "plant-7")));
        check("site.edit", site(), "", None);
    }
}
