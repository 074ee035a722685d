//! Correcting the effects of a wrong time when the clock is corrected. This only takes access away and never grants
//! any: a key that had expired by the wrong time is disabled, because it is unknown whether it would have expired by
//! the right time too. A key that was issued meanwhile keeps its lifetime, counted from the right time.

use crate::domain::audit::{Changes, Kind, Target};
use crate::domain::authenticators::one_time;
use crate::domain::keys::KeyId;
use crate::domain::sessions::UNTIMELY_S;
use crate::domain::time::Timestamp;
use crate::error::Result;
use crate::ops::Record;
use crate::store::clock::{self, TimedKey};
use crate::store::{Read, Write, restore};
use std::collections::BTreeMap;

/// A key whose expiry is corrected.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CorrectedKey {
    pub key: TimedKey,
    /// The new expiry of the key; `None` for a key that never expires, which is only reported.
    pub ends_at: Option<Timestamp>,
}

/// A replaced secret whose grace period is over or is shortened.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Grace {
    pub key: KeyId,
    pub workspace: crate::domain::uid::Uid,
    /// `None` if the grace period is over.
    pub ends_at: Option<Timestamp>,
}

/// The corrections to make, found without changing anything.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Plan {
    /// Keys that had expired by the wrong time, but not by the right one. They are disabled.
    pub ended: Vec<TimedKey>,
    /// Keys that were issued, or whose expiry was set, after the right time.
    pub issued: Vec<CorrectedKey>,
    /// Keys that were valid by the wrong time, but become valid later by the right one. They are only reported.
    pub later: Vec<TimedKey>,
    pub graces: Vec<Grace>,
    pub sessions: u64,
    /// One-time code authenticators whose codes would not be accepted before the wrong time.
    pub codes: u64,
}

impl Plan {
    /// Finds the effects of the time `wrong`, where the right time is `right`.
    pub fn of(read: &Read, right: Timestamp, wrong: Timestamp) -> Result<Plan> {
        let after = right.plus_s(UNTIMELY_S);
        let mut issued: BTreeMap<KeyId, (TimedKey, Timestamp)> = clock::list_created(read, after)?
            .into_iter()
            .map(|key| (key.id, (key.clone(), key.created_at)))
            .collect();
        for (key, edited_at) in clock::list_edited(read, after)? {
            issued.insert(key.id, (key, edited_at));
        }
        let graces = clock::list_replaced(read, right)?.into_iter();
        let graces = graces.filter_map(|one| {
            let begun_at = one
                .rotated_at
                .filter(|at| *at > after && one.expires_at > *at);
            let ends_at = match begun_at {
                _ if one.expires_at <= wrong => None,
                Some(begun_at) => Some(moved(one.expires_at, begun_at, right)),
                None => return None,
            };
            Some(Grace {
                key: one.key,
                workspace: one.workspace,
                ends_at,
            })
        });
        let mut ended = clock::list_ended(read, right, wrong)?;
        ended.sort_unstable_by_key(|key| key.id);
        Ok(Plan {
            graces: graces.collect(),
            issued: issued
                .into_values()
                // An expiry before the wrong time began has been corrected already.
                .filter(|(key, from)| key.expires_at.is_none_or(|end| end > *from))
                .map(|(key, from)| CorrectedKey {
                    ends_at: key.expires_at.map(|end| moved(end, from, right)),
                    key,
                })
                .collect(),
            later: clock::list_begun(read, right, wrong)?,
            ended,
            sessions: clock::count_untimely(read, after, right, wrong)?,
            codes: clock::count_codes(read, one_time::latest_step(right))?,
        })
    }

    /// Whether there is nothing to correct. Keys that never expire need no correction.
    pub fn is_empty(&self) -> bool {
        let moves = self.issued.iter().any(|one| one.ends_at.is_some());
        self.ended.is_empty() && !moves && self.graces.is_empty() && self.sessions + self.codes == 0
    }

    /// Makes the corrections, and returns a record of each change to a key, with its action.
    pub fn apply(
        &self,
        tx: &Write<'_>,
        right: Timestamp,
        wrong: Timestamp,
    ) -> Result<Vec<(&'static str, Record)>> {
        let mut records = Vec::new();
        for one in &self.issued {
            if let Some(ends_at) = one.ends_at {
                clock::update_end(tx, one.key.id, ends_at)?;
                let mut changes = Changes::default();
                changes.note_option("expires_at", &one.key.expires_at, &Some(ends_at));
                records.push(("key.edit", of_key(one.key.id, one.key.workspace, changes)));
            }
        }
        for key in &self.ended {
            if restore::disable_key(tx, key.id)? {
                let mut changes = Changes::default();
                changes.note("enabled", &true, &false);
                records.push(("key.disable", of_key(key.id, key.workspace, changes)));
            }
        }
        for grace in &self.graces {
            match grace.ends_at {
                None => {
                    crate::store::keys::delete_older_secret(tx, grace.key, false, right)?;
                    let record = of_key(grace.key, grace.workspace, Changes::default());
                    records.push(("key.rotation_complete", record));
                }
                Some(ends_at) => {
                    clock::update_grace(tx, grace.key, ends_at)?;
                    tx.touch(Target::new(Kind::Key, grace.key));
                }
            }
        }
        for session in clock::delete_untimely(tx, right.plus_s(UNTIMELY_S), right, wrong)? {
            tx.touch(Target::new(Kind::Session, session));
        }
        clock::update_codes(tx, one_time::latest_step(right))?;
        clock::update_local(tx, right)?;
        Ok(records)
    }
}

/// The corrected expiry: as long after the right time as the old expiry is after the time at which it was set.
fn moved(end: Timestamp, set_at: Timestamp, right: Timestamp) -> Timestamp {
    Timestamp(right.0.saturating_add(end.0.saturating_sub(set_at.0))).min(end)
}

fn of_key(id: KeyId, workspace: crate::domain::uid::Uid, changes: Changes) -> Record {
    Record {
        target: Target::new(Kind::Key, id),
        workspace: Some(workspace),
        changes,
    }
}
