//! Dropping a link by hand, for a site that is gone: nothing waits any more for the lease of its last word.

use super::Feed;
use super::hub::{Hub, refuse_older};
use super::link::Link;
use crate::domain::locks::{lock, write as write_lock};
use std::sync::RwLockWriteGuard;

impl Hub {
    /// Drops the link of a site. What is left of it is the end of the lease that was granted, and what shows whether another process of
    /// the site has words too, in case that it asks again.
    fn unlink(&mut self, site: &str) {
        if let Some(link) = self.links.get_mut(site) {
            *link = Link {
                lease_end_ms: link.lease_end_ms,
                others_end_ms: link.others_end_ms,
                chain: link.chain,
                is_dropped: true,
                ..Link::default()
            };
        }
    }
}

impl Feed {
    /// While this is held, no link is recorded in the database; for a change that removes one.
    pub fn hold_recording(&self) -> RwLockWriteGuard<'_, ()> {
        write_lock(&self.recording)
    }

    /// Whether a site has a link that can be dropped.
    pub fn is_known(&self, site: &str) -> bool {
        let hub = lock(&self.hub);
        hub.links.get(site).is_some_and(|link| !link.is_dropped)
    }

    /// For how many milliseconds a site whose link was dropped may still answer by its last word; `None` if it may not.
    pub fn dropped_left_ms(&self, site: &str, now_ms: u64) -> Option<u64> {
        let hub = lock(&self.hub);
        let link = hub.links.get(site).filter(|link| link.is_dropped)?;
        let left_ms = link.lease_end_ms.saturating_sub(now_ms);
        Some(left_ms).filter(|left_ms| *left_ms > 0)
    }

    /// When the last word that was sent lets the site answer no more; `None` if there was none lately.
    pub fn lease_end_ms(&self, site: &str) -> Option<u64> {
        let hub = lock(&self.hub);
        hub.links.get(site).map(|link| link.lease_end_ms)
    }

    /// Drops the link of a site, after its row was removed: its questions get no answer, and no change waits for its lease.
    /// If it asks again, it is linked again.
    pub fn unlink(&self, site: &str) {
        let mut hub = lock(&self.hub);
        hub.unlink(site);
        let asking = hub.asking.remove(site);
        let packing = hub.packing.remove(site);
        hub.preparing.remove(site);
        hub.prepared.remove(site);
        drop(hub);
        self.ending.notify_one();
        asking.into_iter().chain(packing).for_each(refuse_older);
    }
}
