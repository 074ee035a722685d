//! Whether rows say what the audit log and the memory say.
//!
//! The audit log is sealed under the pepper, rows are not: whoever can write the database file could turn a disabled
//! key on again. He cannot make the log say so.

use crate::domain::audit::{Event, Kind, Outcome};
use crate::domain::keeping::{changes, tombstone};
use crate::domain::key::live::Live;
use crate::domain::key::{Key, KeyId};
use crate::error::Result;
use crate::index::Index;
use crate::ops::keys::issue;
use crate::store::Read;
use crate::store::keeping::events;
use crate::store::keys::{self, SecretRow};
use std::collections::{HashMap, HashSet};

/// Differences that are named.
pub const NAMED_MAX: usize = 20;

/// Members that are compared, each with the value that it has if nobody ever says.
const MEMBERS: [(&str, Option<&str>); 13] = [
    ("name", Some("")),
    ("description", Some("")),
    ("policy", Some("standard")),
    ("owner", None),
    ("catalog", None),
    ("scopes", Some("")),
    ("read_only", Some("false")),
    ("enabled", Some("true")),
    ("not_before", None),
    ("expires_at", None),
    ("allowed_ips", None),
    ("rate_limit", None),
    ("workspace", None),
];

/// What the log says of one key, in as little memory as it takes.
#[derive(Default)]
struct Told {
    is_deleted: bool,
    /// The log has it from its birth on.
    is_whole: bool,
    /// Members that are not as they would be by themselves: place in [`MEMBERS`], and the start of the value's hash.
    values: Vec<(u8, u64)>,
    /// Members that an event has changed; others are known only from a birth.
    known: u16,
}

impl Told {
    fn take(&mut self, event: &Event) {
        let verb = event.action.split_once('.').map_or("", |(_, verb)| verb);
        match verb {
            "issue" => {
                self.is_whole = true;
                self.set("workspace", Some(&event.workspace));
            }
            "delete" | "revoke" => self.is_deleted = true,
            _ => {}
        }
        // Names of deleted keys are noted as taken away.
        if !self.is_deleted {
            for (member, value) in changes::parse(&event.changes).unwrap_or_default() {
                self.set(&member, value.as_deref());
            }
        }
    }

    fn set(&mut self, member: &str, value: Option<&str>) {
        let Some(place) = MEMBERS.iter().position(|(name, _)| *name == member) else {
            return;
        };
        let number = place as u8;
        self.values.retain(|(known, _)| *known != number);
        self.known |= 1 << place;
        if value != MEMBERS[place].1 {
            self.values.push((number, hash(value)));
        }
    }

    /// Members of which the row says something else.
    fn differences(&self, key: &Key) -> Vec<&'static str> {
        let mut row = Told::default();
        for (member, value) in issue::born(key).into_json_and_back() {
            row.set(&member, value.as_deref());
        }
        row.set("workspace", Some(&key.workspace.to_string()));
        let value = |told: &Told, place: usize| {
            let found = told
                .values
                .iter()
                .find(|(known, _)| usize::from(*known) == place);
            found.map(|(_, hash)| *hash)
        };
        let mut found: Vec<&str> = (0..MEMBERS.len())
            .filter(|place| self.is_whole || self.known & (1 << place) != 0)
            .filter(|place| value(self, *place) != value(&row, *place))
            .map(|place| MEMBERS[place].0)
            .collect();
        if self.is_deleted != key.deleted_at.is_some() {
            found.push("deleted");
        }
        found
    }
}

/// At most so many keys whose rows are not what the log last said of them, each with a sentence.
pub fn against_the_log(read: &Read, most: usize) -> Result<Vec<(KeyId, String)>> {
    let mut told: HashMap<KeyId, Told> = HashMap::new();
    // Keys made in bulk have no events, nor have those whose events were cut off.
    let mut is_gapless = true;
    let mut first = None;
    events::each_after(read, 0, |event| {
        first.get_or_insert(event.seq);
        is_gapless &= event.action != "server.fill";
        if event.target.kind == Kind::Key
            && event.outcome == Outcome::Allowed
            && let Some(id) = KeyId::parse(&event.target.id)
        {
            told.entry(id).or_default().take(&event);
        }
        Ok(())
    })?;
    is_gapless &= first == Some(1);
    let mut found = Vec::new();
    let mut name = |id: KeyId, sentence: String| {
        if found.len() < most {
            found.push((id, sentence));
        }
    };
    let mut after = None;
    loop {
        let ids = keys::list_ids(read, &keys::Source::All, after, 1_000)?;
        let Some(last) = ids.last() else { break };
        after = Some(*last);
        for id in ids {
            let Some(key) = keys::find(read, id)? else {
                continue;
            };
            match told.remove(&id) {
                None if is_gapless => name(id, format!("key {id} was never issued")),
                None => {}
                Some(told) => {
                    let members = told.differences(&key);
                    if !members.is_empty() {
                        name(id, format!("key {id}: {}", members.join(", ")));
                    }
                }
            }
        }
    }
    for id in told.keys() {
        name(*id, format!("key {id} is missing"));
    }
    Ok(found)
}

/// Keys of which the memory and the rows say different things; those that merely change meanwhile are not named.
pub fn against_the_index(
    read: impl Fn(&mut dyn FnMut(&Read) -> Result<()>) -> Result<()>,
    index: &Index,
) -> Result<Vec<KeyId>> {
    let mut suspects = Vec::new();
    let mut there = HashSet::new();
    read(&mut |read| {
        keys::each_live(read, KeyId(0), LAST, |key, secret| {
            if secret.expires_at.is_none() {
                there.insert(key.id);
                let agrees = index.with_key(key.id, |live| agree(live, &key, &secret));
                if agrees != Some(true) {
                    suspects.push(key.id);
                }
            }
            Ok(())
        })
    })?;
    index.each_key(|_, live| {
        if !there.contains(&live.id) {
            suspects.push(live.id);
        }
    });
    suspects.truncate(NAMED_MAX * 10);
    // Looked at again one by one: a commit may have come between the two looks.
    let mut wrong = Vec::new();
    for id in suspects {
        read(&mut |read| {
            let key = keys::find(read, id)?.filter(|key| key.deleted_at.is_none());
            let newest = keys::list_secrets(read, id)?;
            let newest = newest.into_iter().find(|row| row.expires_at.is_none());
            let agrees = match (key, newest) {
                (Some(key), Some(secret)) => {
                    index.with_key(id, |live| agree(live, &key, &secret)) == Some(true)
                }
                _ => index.with_key(id, |_| ()).is_none(),
            };
            if !agrees {
                wrong.push(id);
            }
            Ok(())
        })?;
    }
    wrong.truncate(NAMED_MAX);
    Ok(wrong)
}

/// The greatest id there can be.
const LAST: KeyId = KeyId(62_u64.pow(crate::domain::key::ID_CHARS as u32) - 1);

fn agree(live: &Live, key: &Key, secret: &SecretRow) -> bool {
    let rare = live.rare.as_ref();
    let kin = &live.kin;
    let scopes = kin.scopes.iter().map(|scope| &**scope);
    live.secret == secret.secret
        && live.enabled == key.enabled
        && live.ends_at() == key.expires_at
        && live.not_before == key.not_before.unwrap_or(live.not_before)
        && (kin.workspace, kin.owner, kin.read_only) == (key.workspace, key.owner, key.read_only)
        && *kin.policy == *key.policy
        && kin.catalog.as_deref() == key.catalog.as_deref()
        && scopes.eq(key.scopes.iter().map(String::as_str))
        && rare.and_then(|rare| rare.addresses.as_ref()) == key.allowed_ips.as_ref()
        && rare.and_then(|rare| rare.rate_limit) == key.rate_limit
}

fn hash(value: Option<&str>) -> u64 {
    let text = value.map_or("-".to_owned(), |value| format!("={value}"));
    tombstone::short(&crate::domain::audit::digest_of(&[text.as_bytes()]))
}
