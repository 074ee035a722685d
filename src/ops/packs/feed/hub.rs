//! What the threads of the links share: the questions that wait, the links, and what commits have touched.

use super::lending::Lacking;
use super::link::{self, Link};
use super::waits::Wait;
use super::{Answer, PACKING_MS};
use crate::domain::keys::KeyId;
use crate::domain::packs::question::{Events, Question};
use crate::domain::packs::step::TOUCHED_MAX;
use crate::domain::uid::Uid;
use crate::error::Error;
use crate::refusals;
use std::collections::{BTreeMap, HashMap, HashSet};

/// See the heading.
#[derive(Default)]
pub(super) struct Hub {
    /// The newest event whose changes are in the index.
    pub(super) installed: Events,
    /// The newest event whose changes are coming into the index, or are in it.
    pub(super) begun: u64,
    /// The same of changes of the tree of workspaces.
    pub(super) begun_tree: u64,
    pub(super) links: BTreeMap<String, Link>,
    /// The number of sites whose link is just being recorded.
    pub(super) registering: u64,
    pub(super) asking: HashMap<String, Asking>,
    /// Questions whose answer is a pack.
    pub(super) packing: HashMap<String, Asking>,
    /// Sites that follow in steps until the pack which they are to take next is made, each with a question.
    pub(super) preparing: HashMap<String, Question>,
    /// Sites for which that pack is made.
    pub(super) prepared: HashSet<String>,
    pub(super) lacking: Vec<Lacking>,
    pub(super) waits: Vec<Wait>,
    /// No word that is older than this event is sent any more.
    pub(super) waited: u64,
    /// Grows with every change of the tree of workspaces.
    pub(super) tree: u64,
    /// What commits have touched since the thread of the answers last looked.
    pub(super) touched: Vec<Touched>,
    pub(super) is_stopped: bool,
    /// When the thread of the answers looks again, even if nothing happens; 0 while it does not wait.
    pub(super) wakes_ms: u64,
    /// Where the audit log could not be read last.
    pub(super) unread: Option<u64>,
}

/// A question that waits for its answer.
pub(super) struct Asking {
    pub(super) question: Question,
    pub(super) asked_ms: u64,
    /// It is not looked at before.
    pub(super) ready_ms: u64,
    /// The same if a change waits for the sites.
    pub(super) hurried_ms: u64,
    /// When it is answered, even if nothing has happened.
    pub(super) deadline_ms: u64,
    /// How long it may be granted to answer. The first question of a process is granted nothing.
    pub(super) lease_s: u64,
    pub(super) answer: Answer,
    /// Whether the answer is to come at once, even if nothing has happened.
    pub(super) is_due: bool,
    /// Whether it is to be looked at even if nothing happens.
    pub(super) is_new: bool,
}

/// What a commit has touched.
pub struct Touched {
    pub(super) events: Events,
    /// The keys, each with its workspace before the commit.
    pub(super) keys: Vec<(KeyId, Option<Uid>)>,
    /// Something that many keys may depend on.
    pub(super) is_wide: bool,
    /// The tree of workspaces.
    pub(super) is_tree: bool,
}

/// Some work for the thread of the answers.
pub(super) struct Work {
    pub(super) asking: Vec<(String, Asking)>,
    pub(super) touched: Vec<Touched>,
}

impl Asking {
    /// The word that answers it.
    pub(super) fn said(&self, to: Events) -> link::Said {
        link::Said {
            nonce: self.question.nonce,
            to,
            is_first: self.lease_s == 0,
        }
    }

    /// Lets it be answered as soon as may be: a change waits for the site, or the site has to learn something.
    pub(super) fn hurry(&mut self) {
        self.is_due = true;
        self.ready_ms = self.hurried_ms;
    }

    /// When to look at it, if nothing happens before.
    pub(super) fn next_ms(&self) -> u64 {
        match self.is_due || self.is_new {
            true => self.ready_ms,
            false => self.deadline_ms.max(self.ready_ms),
        }
    }
}

impl Hub {
    /// Whether a question is the newest one of its site, and the link was not dropped since.
    pub(super) fn is_newest(&self, site: &str, asking: &Asking) -> bool {
        let link = self.links.get(site);
        link.is_some_and(|link| link.asked == Some(asking.question.nonce))
    }

    /// Takes the questions that are to be looked at.
    pub(super) fn work(&mut self, now_ms: u64) -> Work {
        let (touched, waited) = (std::mem::take(&mut self.touched), self.waited);
        for asking in self.asking.values_mut() {
            asking.is_due |= asking.deadline_ms <= now_ms;
            // A change waits for the site, which confirms with its next question.
            if asking.question.events.number < waited {
                asking.hurry();
            }
            // What was touched is not kept for one that is not ready.
            asking.is_new |= !touched.is_empty() && asking.ready_ms > now_ms;
        }
        let looks = |asking: &Asking| {
            let has_cause = asking.is_due || asking.is_new || !touched.is_empty();
            has_cause && asking.ready_ms <= now_ms
        };
        let taken = self.asking.extract_if(|_, asking| looks(asking));
        Work {
            asking: taken.collect(),
            touched,
        }
    }

    /// Notes what a commit has touched. If the thread of the answers does not look, nothing piles up: then it looks at all.
    pub(super) fn note(&mut self, touched: Touched) {
        if self.touched.len() < TOUCHED_MAX {
            return self.touched.push(touched);
        }
        self.touched = vec![Touched {
            keys: Vec::new(),
            is_wide: true,
            ..touched
        }];
    }

    pub(super) fn end_waits(&mut self, now_ms: u64) -> Vec<Wait> {
        let links = &self.links;
        self.waits
            .extract_if(.., |wait| wait.look(links, now_ms))
            .collect()
    }

    /// Takes the questions for whose pack they have waited too long.
    pub(super) fn end_packing(&mut self, now_ms: u64) -> Vec<Asking> {
        let is_late = |asking: &Asking| asking.deadline_ms + PACKING_MS <= now_ms;
        let late = self.packing.extract_if(|_, asking| is_late(asking));
        late.map(|(_, asking)| asking).collect()
    }

    /// The next time at which a wait ends, if nothing happens before.
    pub(super) fn next_end_ms(&self) -> Option<u64> {
        let packing = self.packing.values();
        let packing = packing.map(|asking| asking.deadline_ms + PACKING_MS);
        let waits = self.waits.iter().map(Wait::next_ms);
        packing.chain(waits).min()
    }

    /// The next time at which there is a question to look at, or nothing is linked any more, if nothing happens before.
    pub(super) fn next_question_ms(&self) -> Option<u64> {
        let asking = self.asking.values().map(Asking::next_ms);
        // All links have to be idle, so the last one counts.
        let idle = self.links.values().map(Link::idle_ms).max();
        asking.chain(idle).min()
    }

    /// Whether no site has asked lately, and none may still answer.
    pub(super) fn is_idle(&self, now_ms: u64) -> bool {
        let is_over = |link: &Link| link.idle_ms() <= now_ms;
        self.registering == 0
            && self.asking.is_empty()
            && self.packing.is_empty()
            && self.waits.is_empty()
            && self.links.values().all(is_over)
    }

    pub(super) fn refuse_all(&mut self) {
        let stopping = || Error::Unavailable(refusals::server::stopping());
        let asking = self.asking.drain().chain(self.packing.drain());
        asking.for_each(|(_, asking)| (asking.answer)(Err(stopping())));
    }
}

/// Answers a question that gets no other answer, because the site has asked again.
pub(super) fn refuse_older(asking: Asking) {
    (asking.answer)(Err(Error::Conflict(refusals::packs::asked_again())));
}
