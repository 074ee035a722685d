//! Secrets that have ended, by eight bytes of their digests: enough to notice that one is tried again, and useless to
//! anybody else. A slot of the table has 17 bytes, so one secret takes 20 to 39 bytes, and all of them at most 20 MB.

use crate::domain::keys::KeyId;
use crate::domain::keys::pepper::Peppers;
use crate::domain::locks::{read, write};
use crate::index::IdHasher;
use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasherDefault;
use std::sync::RwLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// The number of secrets in memory. Further ones are stored, and come to memory at a start after older ones have gone.
pub const RETIRED_MAX: usize = 500_000;

/// Set in the value of the table if the first use of a newer secret had ended the secret. Ids of keys are smaller.
const AFTER_USE: u64 = 1 << 63;

/// A secret that has ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Retired {
    pub key: KeyId,
    /// The first eight bytes of the digest.
    pub digest: [u8; 8],
    /// The version of the pepper of that digest.
    pub pepper: u32,
    /// The first use of the secret after it had ended it.
    pub after_use: bool,
}

/// All of them.
#[derive(Default)]
pub struct RetiredSecrets {
    any: AtomicBool,
    table: RwLock<Table>,
}

#[derive(Default)]
struct Table {
    /// Digests are distributed evenly, and cannot be chosen without the pepper.
    keys: HashMap<u64, u64, BuildHasherDefault<IdHasher>>,
    /// The versions of the pepper, with the number of digests of each.
    versions: BTreeMap<u32, usize>,
    /// What was added since a reload began, while one lasts.
    added_since: Option<Vec<Retired>>,
}

impl Table {
    fn add(&mut self, all: &[Retired]) {
        for one in all {
            let short = u64::from_be_bytes(one.digest);
            let flag = if one.after_use { AFTER_USE } else { 0 };
            if let Some(value) = self.keys.get_mut(&short) {
                if *value & !AFTER_USE == one.key.0 {
                    *value = one.key.0 | flag;
                }
                continue;
            }
            if self.keys.len() >= RETIRED_MAX {
                continue;
            }
            self.keys.insert(short, one.key.0 | flag);
            *self.versions.entry(one.pepper).or_default() += 1;
        }
    }
}

impl RetiredSecrets {
    /// Adds secrets that have ended. One of the same key that is there already gets the new record of its end.
    pub fn add(&self, all: &[Retired]) {
        if all.is_empty() {
            return;
        }
        let mut table = write(&self.table);
        table.add(all);
        if let Some(added) = &mut table.added_since {
            added.extend(all);
        }
        self.any.store(!table.keys.is_empty(), Ordering::Release);
    }

    /// Replaces all of them with what `read` finds, and adds what was added meanwhile, of which `read` may know nothing. There
    /// must be only one reload at a time.
    pub fn reload<E>(&self, read: impl FnOnce() -> Result<Vec<Retired>, E>) -> Result<(), E> {
        write(&self.table).added_since = Some(Vec::new());
        let all = read().inspect_err(|_| write(&self.table).added_since = None)?;
        let mut fresh = Table::default();
        fresh.add(&all);
        let mut table = write(&self.table);
        fresh.add(&table.added_since.take().unwrap_or_default());
        self.any.store(!fresh.keys.is_empty(), Ordering::Release);
        let replaced = std::mem::replace(&mut *table, fresh);
        // Freeing a large table takes a while.
        drop(table);
        drop(replaced);
        Ok(())
    }

    /// The secret that a text is, if it is one of these. With none of them nothing is computed; otherwise there is one
    /// HMAC for each pepper, for every text.
    pub fn find(&self, peppers: &Peppers, text: &str) -> Option<Retired> {
        if !self.any.load(Ordering::Acquire) {
            return None;
        }
        let table = read(&self.table);
        let mut found = None;
        for version in table.versions.keys() {
            let Some(digest) = peppers.digest_with(*version, text) else {
                continue;
            };
            let [a, b, c, d, e, f, g, h, ..] = digest.0;
            let digest = [a, b, c, d, e, f, g, h];
            if let Some(value) = table.keys.get(&u64::from_be_bytes(digest)) {
                found = Some(Retired {
                    key: KeyId(value & !AFTER_USE),
                    digest,
                    pepper: *version,
                    after_use: value & AFTER_USE != 0,
                });
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn retired(peppers: &Peppers, text: &str, key: u64, after_use: bool) -> Retired {
        let (pepper, digest) = peppers.digest(text);
        Retired {
            key: KeyId(key),
            digest: *digest.0.first_chunk().unwrap(),
            pepper,
            after_use,
        }
    }

    #[test]
    fn a_secret_that_has_ended_is_found_by_its_text_alone() {
        let (peppers, _) = Peppers::generate().unwrap();
        let set = RetiredSecrets::default();
        assert_eq!(set.find(&peppers, "one"), None);
        let all = [
            retired(&peppers, "one", 1, false),
            retired(&peppers, "two", 62_u64.pow(10) - 1, true),
        ];
        set.add(&all);
        for (text, known) in ["one", "two"].iter().zip(&all) {
            assert_eq!(set.find(&peppers, text), Some(*known));
        }
        assert_eq!(set.find(&peppers, "three"), None);
        let forgotten = Retired {
            after_use: false,
            ..all[1]
        };
        set.add(&[forgotten]);
        assert_eq!(set.find(&peppers, "two"), Some(forgotten));
        assert_eq!(read(&set.table).versions.values().sum::<usize>(), 2);
        set.reload(|| Ok::<_, ()>(all[1..].to_vec())).unwrap();
        assert_eq!(set.find(&peppers, "one"), None);
        assert!(set.find(&peppers, "two").is_some());
        set.reload(|| Ok::<_, ()>(Vec::new())).unwrap();
        assert_eq!(set.find(&peppers, "two"), None);
    }

    #[test]
    fn what_is_added_during_a_reload_stays() {
        let (peppers, _) = Peppers::generate().unwrap();
        let set = RetiredSecrets::default();
        let [old, two, late] = ["old", "two", "late"].map(|text| retired(&peppers, text, 1, true));
        let forgotten = Retired {
            after_use: false,
            ..two
        };
        set.add(&[old, two]);
        let failed = set.reload(|| {
            set.add(&[late]);
            Err("on purpose")
        });
        assert_eq!(failed, Err("on purpose"));
        assert!(read(&set.table).added_since.is_none());
        for text in ["old", "late"] {
            assert!(set.find(&peppers, text).is_some());
        }
        set.reload(|| {
            // What is being read has not seen these.
            let rows = vec![two];
            set.add(&[late, forgotten]);
            Ok::<_, ()>(rows)
        })
        .unwrap();
        assert_eq!(set.find(&peppers, "old"), None);
        assert_eq!(set.find(&peppers, "late"), Some(late));
        assert_eq!(set.find(&peppers, "two"), Some(forgotten));
        assert!(read(&set.table).added_since.is_none());
    }

    #[test]
    fn the_memory_is_bounded() {
        let set = RetiredSecrets::default();
        let many: Vec<Retired> = (0..RETIRED_MAX as u64 + 10)
            .map(|number| Retired {
                key: KeyId(1),
                digest: number.to_be_bytes(),
                pepper: 1,
                after_use: false,
            })
            .collect();
        set.add(&many);
        assert_eq!(read(&set.table).keys.len(), RETIRED_MAX);
    }
}
