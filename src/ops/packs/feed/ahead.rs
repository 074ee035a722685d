//! A site that knows more than this server: an older copy of the whole folder was put back, with its file of the longest lease, so
//! the server does not know which sites have words of the time between.
//!
//! All of these were given before this process began. So from then on each site may answer for the longest lease that is known, and the
//! one that has asked for as long as it asks for. Changes that wait for the sites wait for that.

use super::Feed;
use super::leases::UNKNOWN;
use super::link::lease_end_ms;
use crate::domain::locks::lock;
use crate::domain::packs::question::Question;
use crate::error::Result;
use crate::ops::App;
use crate::store::sites;
use std::sync::atomic::Ordering::Relaxed;

impl Feed {
    /// Notes that this process of the server begins.
    pub(super) fn begins_at(&self, now_ms: u64) {
        self.began_ms.store(now_ms, Relaxed);
    }

    /// For how long this process has been running.
    pub(super) fn since_start_ms(&self, now_ms: u64) -> u64 {
        now_ms.saturating_sub(self.began_ms.load(Relaxed))
    }

    /// Lets changes wait for the words that this server does not know, because a site has asked that knows more.
    pub(super) fn note_ahead(&self, app: &App, question: &Question) -> Result<()> {
        let began_ms = self.began_ms.load(Relaxed);
        let longest_s = self.leases.longest_s();
        let own_ms = lease_end_ms(began_ms, longest_s.max(question.lease_s));
        let all_ms = lease_end_ms(began_ms, longest_s);
        let now_ms = app.now().steady_ms;
        if now_ms < own_ms {
            self.raise(std::slice::from_ref(&question.site), own_ms);
        }
        if now_ms < all_ms && !self.is_behind.load(Relaxed) {
            let mut all = app.read(sites::list_names)?;
            all.push(UNKNOWN.to_owned());
            self.raise(&all, all_ms);
            self.is_behind.store(true, Relaxed);
        }
        Ok(())
    }

    /// Lets sites count as linked up to this time, also for changes that wait already.
    fn raise(&self, names: &[String], until_ms: u64) {
        let mut hub = lock(&self.hub);
        for name in names {
            let link = hub.links.entry(name.clone()).or_default();
            link.lease_end_ms = link.lease_end_ms.max(until_ms);
            link.note_other();
            for wait in &mut hub.waits {
                wait.raise(name, until_ms);
            }
        }
        drop(hub);
        self.ending.notify_one();
    }
}
