//! Digests that are replaced by one under the newest pepper, at the first good use of their secret.
//!
//! Only then is the secret known. A verification notes the new digest in memory, and the maintenance writes what waits in
//! batches. If that is lost, it happens at the next use. On a full disk the old digest goes on working. Where there are sites, an
//! older secret that ends with the first use of the newer one keeps its digest.

use crate::domain::audit::{Changes, Event, Target, named};
use crate::domain::keys::KeyId;
use crate::domain::keys::live::StoredSecret;
use crate::domain::keys::pepper::Peppers;
use crate::domain::keys::scheme::Scheme;
use crate::domain::keys::seal_key::same;
use crate::domain::locks::lock;
use crate::domain::text::counted;
use crate::error::{Error, Result};
use crate::ops::App;
use crate::store::{Durability, Read, audit, foreign, keys, sites};
use std::collections::HashMap;
use std::sync::Mutex;

/// The number of upgrades that may wait. Further ones wait for the next use of their key. What a slow comparison has found
/// is always remembered, because the verification looks for it; there are not more of these than slow digests.
const WAITING_MAX: usize = 16_384;
/// The number of upgrades in one transaction, so that other changes never wait long.
const A_BATCH: usize = 500;
/// How many texts a key with a slow digest is compared with in a minute. A text that matches costs one, too, but is
/// compared only once.
const SLOW_IN_A_MINUTE: u32 = 10;
/// The same for reports of leaks. Their answers do not tell whether a text is right, so this only bounds the work.
const REPORTED_IN_A_MINUTE: u32 = 60;
const MINUTE_MS: u64 = 60_000;

/// A secret by its key and its old digest.
type Place = (KeyId, [u8; 32]);

/// Why a text is compared with a slow digest. Each reason has a budget of its own, so that reports of leaks never keep a
/// client out.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Guess {
    Use,
    Report,
}

/// The upgrades that wait, and the budgets of slow comparisons.
#[derive(Default)]
pub struct Upgrades {
    waiting: Mutex<HashMap<Place, Upgrade>>,
    /// The start of the current minute and the number of comparisons in it.
    slow: Mutex<HashMap<(KeyId, Guess), (u64, u32)>>,
}

#[derive(Clone, Copy)]
struct Upgrade {
    old: StoredSecret,
    new: StoredSecret,
    /// Whether the verdict was VALID, so that the upgrade is written.
    is_used: bool,
}

impl Upgrades {
    /// Notes the use of a secret with the verdict VALID. For a secret under the newest pepper this does nothing.
    pub fn note_use(&self, peppers: &Peppers, id: KeyId, secret: &StoredSecret, text: &str) {
        let is_newest = u32::from(secret.pepper) == peppers.newest();
        if secret.scheme == Scheme::Pepper && is_newest {
            return;
        }
        self.add(peppers, id, secret, text, true);
    }

    /// Remembers that a text is the secret of a slow digest.
    pub fn prove(&self, peppers: &Peppers, id: KeyId, old: &StoredSecret, text: &str) {
        self.add(peppers, id, old, text, false);
    }

    fn add(&self, peppers: &Peppers, id: KeyId, old: &StoredSecret, text: &str, is_used: bool) {
        let mut waiting = lock(&self.waiting);
        let place = (id, old.digest.0);
        if let Some(known) = waiting.get_mut(&place) {
            known.is_used |= is_used;
        } else if waiting.len() < WAITING_MAX || !is_used {
            let new = StoredSecret::under_newest(peppers, text, old.is_foreign);
            let old = *old;
            waiting.insert(place, Upgrade { old, new, is_used });
        }
    }

    /// Whether a text was found to be the secret of a slow digest.
    pub fn is_proven(&self, peppers: &Peppers, id: KeyId, old: &StoredSecret, text: &str) -> bool {
        let known = lock(&self.waiting).get(&(id, old.digest.0)).copied();
        let (_, digest) = peppers.digest(text);
        known.is_some_and(|known| known.old == *old && same(&known.new.digest.0, &digest.0))
    }

    /// Takes one slow comparison from the budget of a key.
    pub fn charge(&self, id: KeyId, guess: Guess, now_ms: u64) -> Result<()> {
        let mut slow = lock(&self.slow);
        let (began_ms, count) = slow.entry((id, guess)).or_insert((now_ms, 0));
        if now_ms.saturating_sub(*began_ms) >= MINUTE_MS {
            (*began_ms, *count) = (now_ms, 0);
        }
        let count_max = match guess {
            Guess::Use => SLOW_IN_A_MINUTE,
            Guess::Report => REPORTED_IN_A_MINUTE,
        };
        if *count >= count_max {
            let left_ms = MINUTE_MS - now_ms.saturating_sub(*began_ms);
            return Err(Error::TooMany {
                retry_after_s: left_ms.div_ceil(1_000),
            });
        }
        *count += 1;
        Ok(())
    }

    /// The number of upgrades that wait to be written.
    pub fn waiting(&self) -> usize {
        let waiting = lock(&self.waiting);
        waiting.values().filter(|upgrade| upgrade.is_used).count()
    }

    /// Some of the upgrades that are to be written.
    fn batch(&self) -> Vec<(KeyId, Upgrade)> {
        let waiting = lock(&self.waiting);
        let used = waiting.iter().filter(|(_, upgrade)| upgrade.is_used);
        let batch = used.map(|((id, _), upgrade)| (*id, *upgrade));
        batch.take(A_BATCH).collect()
    }

    fn forget(&self, written: &[(KeyId, Upgrade)]) {
        let mut waiting = lock(&self.waiting);
        for (id, upgrade) in written {
            waiting.remove(&(*id, upgrade.old.digest.0));
        }
    }
}

/// Writes the upgrades that wait, with events that name their keys.
pub fn write_all(app: &App) {
    loop {
        let batch = app.upgrades.batch();
        if batch.is_empty() {
            return;
        }
        if let Err(err) = write(app, batch.clone()) {
            let digests = counted(batch.len() as u64, "digest");
            log::warn!("upkeep: {digests} to be replaced later: {err}");
            if matches!(err, Error::Unavailable(_)) {
                return;
            }
        }
        app.upgrades.forget(&batch);
    }
}

fn write(app: &App, batch: Vec<(KeyId, Upgrade)>) -> Result<()> {
    let (seal_keys, now) = (app.seal_keys.clone(), app.now().wall);
    app.store.write(Durability::Relaxed, move |tx| {
        let mut replaced = Vec::new();
        let has_sites = sites::is_any(tx)?;
        for (id, upgrade) in &batch {
            if has_sites && waits_for_first_use(tx, *id, &upgrade.old)? {
                continue;
            }
            // The key may have been rotated or deleted since.
            if foreign::replace_digest(tx, *id, &upgrade.old, &upgrade.new)? {
                replaced.push(*id);
            }
        }
        let events = replaced.chunks(named::KEYS_MAX).map(|ids| {
            let mut changes = Changes::default();
            changes.note("digests", &0, &ids.len());
            changes.note(named::KEYS, &String::new(), &named::keys_text(ids));
            Event {
                changes: changes.into_json(),
                ..Event::of_system("secrets.upgrade", Target::server(), now)
            }
        });
        audit::append_all(tx, &seal_keys, events)
    })
}

/// Whether a secret ends with the first use of a newer one. Where there are sites, its digest stays as it is: a site where the
/// newer secret is used ends the older one by its digest, and reports that digest later. The grace period ends in any case.
fn waits_for_first_use(read: &Read, id: KeyId, secret: &StoredSecret) -> Result<bool> {
    let rows = keys::list_secrets(read, id)?;
    let row = rows.iter().find(|row| row.secret == *secret);
    Ok(row.is_some_and(|row| row.until_first_use && row.expires_at.is_some()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_not_under_the_newest_pepper_waits_and_only_its_use_is_written() {
        let (peppers, text) = Peppers::generate().unwrap();
        let newer = Peppers::parse(&format!("{text}2 {}\n", "ab".repeat(32))).unwrap();
        let upgrades = Upgrades::default();
        let secret = StoredSecret::under_newest(&peppers, "secret", false);
        upgrades.note_use(&peppers, KeyId(1), &secret, "secret");
        assert_eq!(upgrades.waiting(), 0);
        upgrades.prove(&newer, KeyId(1), &secret, "secret");
        assert_eq!(upgrades.waiting(), 0);
        assert!(upgrades.is_proven(&newer, KeyId(1), &secret, "secret"));
        for (id, text) in [(1, "secreT"), (2, "secret")] {
            assert!(!upgrades.is_proven(&newer, KeyId(id), &secret, text));
        }
        upgrades.note_use(&newer, KeyId(1), &secret, "secret");
        assert_eq!(upgrades.waiting(), 1);
        let batch = upgrades.batch();
        assert_eq!(batch[0].1.new.pepper, 2);
        upgrades.forget(&batch);
        assert_eq!(upgrades.waiting(), 0);
    }

    #[test]
    fn a_key_has_ten_slow_comparisons_a_minute() {
        let upgrades = Upgrades::default();
        for _ in 0..REPORTED_IN_A_MINUTE {
            upgrades.charge(KeyId(1), Guess::Report, 5).unwrap();
        }
        assert!(upgrades.charge(KeyId(1), Guess::Report, 5).is_err());
        for _ in 0..SLOW_IN_A_MINUTE {
            upgrades.charge(KeyId(1), Guess::Use, 5).unwrap();
        }
        let refused = upgrades.charge(KeyId(1), Guess::Use, 30_005).unwrap_err();
        assert!(matches!(refused, Error::TooMany { retry_after_s: 30 }));
        upgrades.charge(KeyId(2), Guess::Use, 5).unwrap();
        upgrades.charge(KeyId(1), Guess::Use, 60_005).unwrap();
    }
}
