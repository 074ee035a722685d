//! Compares keys with the audit log: what the log records of a key, and where its row differs.
//!
//! A person who can write the database file can change rows, but not the log without being detected. So the log shows
//! which members of a key were changed, while a seal shows only that something was changed.

use super::keys;
use crate::domain::audit::{Changes, Event, Kind, Outcome, Target, changes};
use crate::domain::keys::changes::born;
use crate::domain::keys::imported;
use crate::domain::keys::seal_key::SealKeys;
use crate::domain::keys::{ID_CHARS, Key, KeyId, Logged, Member};
use crate::domain::tombstones;
use crate::error::Result;
use crate::store::Read;
use crate::store::audit::{events, from_row};
use std::collections::HashMap;
use std::sync::LazyLock;

/// A key on which nobody has set anything: the values of members that no event sets.
static BLANK: LazyLock<Key> = LazyLock::new(Key::blank);

/// What the seal covers, but the log does not record.
pub const UNTOLD: &str = "its secrets, its times or its numbers";

/// How faults and events describe a key for which the log has no issue event.
pub const NEVER_ISSUED: &str = "was never issued";

/// The lowest and the highest id.
pub const ALL: (KeyId, KeyId) = (KeyId(0), KeyId(62_u64.pow(ID_CHARS as u32) - 1));

/// What the log records of one key, in a form that takes little memory.
#[derive(Default)]
struct RecordedKey {
    /// Whether the key is deleted. `None` if the log does not say: it was cut, and begins with an event that a deleted key can
    /// have as well, such as the use of an old secret.
    is_deleted: Option<bool>,
    /// Whether the log contains the issue event of the key.
    is_whole: bool,
    /// Members that do not have their default, and the start of the hash of the value.
    values: Vec<(Member, u64)>,
    /// Bit set of the members that an event has set, by their position in [`Member::ALL`]. The values of the others are
    /// known only if the log contains the issue.
    known: u32,
    /// The uses that an event has set last. The key may have fewer left.
    uses: Option<Option<u64>>,
}

impl RecordedKey {
    fn take(&mut self, event: &Event) {
        let verb = event.action.split_once('.').map_or("", |(_, verb)| verb);
        match verb {
            "issue" => {
                self.is_whole = true;
                self.is_deleted = Some(false);
                self.set("workspace", Some(&event.workspace));
            }
            "delete" | "revoke" => self.is_deleted = Some(true),
            "accept" => {
                let members = changes::parse(&event.changes).unwrap_or_default();
                let deleted = members.iter().find(|(member, _)| member == "deleted");
                if let Some((_, Some(value))) = deleted {
                    self.is_deleted = Some(value == "true");
                }
            }
            _ => {}
        }
        // The deletion event of a key records its name as removed; this is not a change of the name.
        if self.is_deleted != Some(true) {
            for (member, value) in changes::parse(&event.changes).unwrap_or_default() {
                self.set(&member, value.as_deref());
            }
        }
    }

    fn set(&mut self, word: &str, value: Option<&str>) {
        let Some(member) = Member::parse(word) else {
            return;
        };
        if member.logged() == Logged::Maximum {
            self.uses = Some(value.and_then(|value| value.parse().ok()));
        }
        if !is_compared(member) {
            return;
        }
        self.values.retain(|(known, _)| *known != member);
        self.known |= bit(member);
        if value != default(member).as_deref() {
            self.values.push((member, hash(value)));
        }
    }

    /// The names of the members whose value in the row differs from the log.
    fn differences(&self, key: &Key) -> Vec<&'static str> {
        let mut row = RecordedKey::default();
        for (member, value) in born(key).into_json_and_back() {
            row.set(&member, value.as_deref());
        }
        row.set("workspace", Some(&key.workspace.to_string()));
        let value = |told: &RecordedKey, member: Member| {
            let found = told.values.iter().find(|(known, _)| *known == member);
            found.map(|(_, hash)| *hash)
        };
        let members = Member::ALL.iter().copied();
        let mut found: Vec<&str> = members
            .filter(|member| self.is_whole || self.known & bit(*member) != 0)
            .filter(|member| value(self, *member) != value(&row, *member))
            .map(Member::word)
            .collect();
        let set = self.uses.or(self.is_whole.then_some(None));
        let has_more = match (set, key.uses_left) {
            (Some(Some(set)), Some(left)) => left > set,
            (Some(set), left) => set.is_some() != left.is_some(),
            (None, _) => false,
        };
        if has_more && key.deleted_at.is_none() {
            found.push("uses_left");
        }
        if self
            .is_deleted
            .is_some_and(|is_deleted| is_deleted != key.deleted_at.is_some())
        {
            found.push("deleted");
        }
        found
    }
}

/// The members of one key whose value in its row differs from the log.
pub fn differences(read: &Read, key: &Key) -> Result<Vec<&'static str>> {
    let mut told = RecordedKey::default();
    read.each(
        "SELECT seq, at, actor, action, target_kind, target_id, workspace_uid, source, request_id, outcome,
                reason, changes, previous
         FROM audit_events
         WHERE target_kind = 'key' AND target_id = $1 AND outcome = 'allowed'
         ORDER BY seq",
        &[&key.id],
        &mut |row| {
            told.take(&from_row(row)?);
            Ok(())
        },
    )?;
    Ok(told.differences(key))
}

/// Whether the log has a value of the member to compare the row with. The workspace is that of the issue event.
fn is_compared(member: Member) -> bool {
    match member.logged() {
        Logged::Change => true,
        Logged::Event => member == Member::Workspace,
        Logged::Maximum | Logged::Never => false,
    }
}

/// The value of a member that no event sets.
fn default(member: Member) -> Option<String> {
    match member.logged() {
        Logged::Change => member.text(&BLANK),
        Logged::Event | Logged::Maximum | Logged::Never => None,
    }
}

/// The bit of a member in [`RecordedKey::known`].
fn bit(member: Member) -> u32 {
    1 << member as u32
}

/// Whether the log contains the issue of every key: it was never cut, and no keys were created in bulk.
pub fn is_gapless(read: &Read) -> Result<bool> {
    let is_cut = super::audit::ends(read)?.is_some_and(|(first, _)| first != 1);
    let filled = read.query_one(
        "SELECT EXISTS (SELECT 1 FROM audit_events WHERE action = 'server.fill') AS filled",
        &[],
        |row| row.get::<bool>("filled"),
    )?;
    Ok(!is_cut && filled == Some(false))
}

/// Does the same as [`differences`] with the values of the row, for an event that accepts them.
pub fn differing(read: &Read, key: &Key) -> Result<Changes> {
    let values: HashMap<String, Option<String>> =
        born(key).into_json_and_back().into_iter().collect();
    let mut changes = Changes::default();
    for member in differences(read, key)? {
        let row = match member {
            "workspace" => Some(key.workspace.to_string()),
            "deleted" => Some(key.deleted_at.is_some().to_string()),
            _ => match values.get(member) {
                Some(value) => value.clone(),
                None => Member::parse(member).and_then(default),
            },
        };
        // Earlier events of the log contain the old value.
        changes.note_always(member, row.as_deref());
    }
    Ok(changes)
}

/// A key whose row is not what Latchkey last wrote.
pub struct Changed {
    pub id: KeyId,
    /// A sentence that names the differing members.
    pub sentence: String,
    /// Whether the key has a row.
    pub is_there: bool,
}

/// What the log records of every key.
pub struct Log {
    keys: HashMap<KeyId, RecordedKey>,
    is_gapless: bool,
}

impl Log {
    pub fn read(read: &Read) -> Result<Log> {
        let mut keys: HashMap<KeyId, RecordedKey> = HashMap::new();
        events::each_after(read, 0, |event| {
            if event.target.kind == Kind::Key
                && event.outcome == Outcome::Allowed
                && let Some(id) = KeyId::parse(&event.target.id)
            {
                keys.entry(id).or_default().take(&event);
            }
            Ok(())
        })?;
        Ok(Log {
            keys,
            is_gapless: is_gapless(read)?,
        })
    }

    /// A sentence that names what differs between a row and the log; `fits` says whether the row matches its seal. Each
    /// key can be compared once.
    pub fn compare(&mut self, key: &Key, fits: bool) -> Option<String> {
        let id = key.id;
        match self.keys.remove(&id) {
            // Imported keys have an event for each thousand.
            None if self.is_gapless && !key.source.starts_with(imported::SOURCE) => {
                Some(format!("key {id} {NEVER_ISSUED}"))
            }
            None => (!fits).then(|| format!("key {id}: what it is, or {UNTOLD}")),
            Some(told) => {
                let members = told.differences(key);
                match (members.is_empty(), fits) {
                    (true, true) => None,
                    (true, false) => Some(format!("key {id}: {UNTOLD}")),
                    (false, _) => Some(format!("key {id}: {}", members.join(", "))),
                }
            }
        }
    }
}

/// Calls `take` with every key whose row does not match its seal or differs from the audit log.
pub fn each_changed(
    read: &Read,
    seal_keys: &SealKeys,
    mut take: impl FnMut(Changed),
) -> Result<()> {
    let mut log = Log::read(read)?;
    keys::each(read, Some(seal_keys), ALL, true, |found| {
        let (key, fits) = (&found.key, found.fits());
        if let Some(sentence) = log.compare(key, fits) {
            take(Changed {
                id: key.id,
                sentence,
                is_there: true,
            });
        }
        Ok(())
    })?;
    for id in log.keys.keys() {
        take(Changed {
            id: *id,
            sentence: format!("key {id} is missing"),
            is_there: false,
        });
    }
    Ok(())
}

/// The key that a target names.
pub fn id_of(target: &Target) -> Option<KeyId> {
    KeyId::parse(&target.id)
}

fn hash(value: Option<&str>) -> u64 {
    let text = value.map_or("-".to_owned(), |value| format!("={value}"));
    tombstones::short(&crate::domain::audit::digest_of(&[text.as_bytes()]))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A member that is missing here could be changed in the database without being named.
    #[test]
    fn a_row_that_differs_from_the_log_in_any_recorded_member_is_named() {
        let (log, full) = (Key::blank(), Key::full());
        let mut told = RecordedKey {
            is_whole: true,
            is_deleted: Some(false),
            ..RecordedKey::default()
        };
        told.set("workspace", Some(&log.workspace.to_string()));
        assert_eq!(told.differences(&log), Vec::<&str>::new());
        for member in Member::ALL {
            let mut row = log.clone();
            member.copy(&full, &mut row);
            let named = match (member, member.logged()) {
                (Member::DeletedAt, _) => vec!["deleted"],
                (Member::Workspace, _) | (_, Logged::Change | Logged::Maximum) => {
                    vec![member.word()]
                }
                (_, Logged::Event | Logged::Never) => Vec::new(),
            };
            assert_eq!(told.differences(&row), named, "{}", member.word());
        }
        told.is_deleted = None;
        let mut deleted = log.clone();
        Member::DeletedAt.copy(&full, &mut deleted);
        assert_eq!(told.differences(&deleted), Vec::<&str>::new());
        assert!(
            Member::ALL.len() <= 32,
            "more members than bits of RecordedKey::known"
        );
    }
}
