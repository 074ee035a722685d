//! The sites that know a history which is not that of this server: it was restored from a backup, or an older copy of its folder was
//! put back. Such a site takes nothing before its operator has decided.

use crate::domain::locks::lock;
use std::collections::BTreeSet;
use std::sync::Mutex;

/// Their names, as of the newest question of each.
#[derive(Default)]
pub struct Forks(Mutex<BTreeSet<String>>);

impl Forks {
    /// Notes whether a site that has asked is one of them.
    pub fn note(&self, site: &str, is_forked: bool) {
        let mut all = lock(&self.0);
        match is_forked {
            true => drop(all.insert(site.to_owned())),
            false => drop(all.remove(site)),
        }
    }

    pub fn has(&self, site: &str) -> bool {
        lock(&self.0).contains(site)
    }
}
