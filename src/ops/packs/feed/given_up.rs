//! Leases that are given up: a process of a site that stops declares it with its last question, so that no change waits for it. So does a
//! site that learns that it was removed. As long as a word may let it answer, it is still known here by its key.

use super::Feed;
use super::ask::look_up;
use super::heard::Order;
use super::hub::refuse_older;
use super::known::Known;
use super::link::Link;
use crate::domain::locks::lock;
use crate::domain::packs::question::Question;
use crate::error::{Error, Result};
use crate::ops::App;
use crate::refusals;
use std::sync::Arc;

impl Link {
    /// Ends the lease of the process that asks, if it is known to have all words that this one has sent. What other processes of the site
    /// may have counts on.
    fn give_up(&mut self, question: &Question, now_ms: u64) {
        let is_last = self.chain.is_some_and(|said| {
            // The first word of a process grants nothing.
            said.nonce == question.applied || (said.is_first && question.has_applied_none())
        });
        if !is_last {
            self.note_other();
        }
        self.lease_end_ms = self.others_end_ms;
        self.lease_s = 0;
        self.asked = Some(question.nonce);
        self.asked_ms = Some(now_ms);
        self.heard.note(question, now_ms);
    }
}

impl Feed {
    /// A site, before it is removed; `None` also if it cannot be read.
    pub fn find(&self, app: &App, name: &str) -> Option<Arc<Known>> {
        look_up(app, name).ok().flatten()
    }

    /// Notes that a site was removed.
    pub fn note_removed(&self, known: Arc<Known>, now_ms: u64) {
        let has_lease = |name: &str| {
            let hub = lock(&self.hub);
            hub.links
                .get(name)
                .is_some_and(|link| link.has_lease(now_ms))
        };
        let mut all = lock(&self.removed);
        all.retain(|name, _| has_lease(name));
        if has_lease(&known.site.name) {
            all.insert(known.site.name.clone(), known);
        }
    }

    /// A site that was removed, and that may still answer by its last word.
    pub(super) fn removed(&self, name: &str, now_ms: u64) -> Option<Arc<Known>> {
        let known = lock(&self.removed).get(name).cloned()?;
        let hub = lock(&self.hub);
        let link = hub.links.get(name)?;
        link.has_lease(now_ms).then_some(known)
    }

    /// Takes the last question of a process of a site in, which gives no verdict any more.
    ///
    /// # Errors
    /// `Conflict` if the process has asked a newer one.
    pub(super) fn give_up(&self, question: &Question, now_ms: u64) -> Result<()> {
        let name = &question.site;
        let mut hub = lock(&self.hub);
        let Some(link) = hub.links.get_mut(name) else {
            return Ok(());
        };
        match link.heard.order(question, now_ms) {
            Order::Newest => {}
            Order::Copied { .. } => link.note_other(),
            Order::HeldUp | Order::Repeated => {
                return Err(Error::Conflict(refusals::packs::asked_again()));
            }
        }
        link.give_up(question, now_ms);
        let asking = hub.asking.remove(name);
        let packing = hub.packing.remove(name);
        drop(hub);
        self.ending.notify_one();
        asking.into_iter().chain(packing).for_each(refuse_older);
        Ok(())
    }
}
