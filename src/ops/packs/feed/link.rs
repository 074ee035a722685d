//! What the server knows about the link to one site. Times are those of the steady clock of this process.

use super::IDLE_MS;
use super::heard::Heard;
use crate::domain::keys::KeyId;
use crate::domain::packs::question::{Events, Nonce, Question};
use crate::domain::uid::Uid;
use std::collections::BTreeSet;

/// How often the log names a possible copy of a site.
const COPY_LOGGED_MS: u64 = 60_000;

/// A pack that does not arrive is sent again after so many times the first pause, at most.
const RESENT_PART_MAX: u32 = 30;

/// How much longer a lease may last by the clock of the site than by that of this server: one part of fifty.
const DRIFT_PART: u64 = 50;

/// A word that was sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Said {
    pub nonce: Nonce,
    /// The state that it leads to.
    pub to: Events,
    /// Whether it answers the first question of a process of the site, and so grants nothing.
    pub is_first: bool,
}

/// A pack that was sent, and of which it is not known whether it has arrived.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct OnItsWay {
    /// The question that it answers.
    pub nonce: Nonce,
    pub number: u64,
    /// The life that asked for it.
    pub life: Uid,
    /// How often it was sent, and when last.
    pub times: u32,
    pub sent_ms: u64,
}

/// The link to a site that has asked at least once, here or before the last start.
#[derive(Clone, Debug, Default)]
pub struct Link {
    /// Of the newest question.
    pub life: Option<Uid>,
    /// The newest event that is in force at the site, if it is known to be one of this server's history.
    pub applied: Events,
    /// The newest word that this process has sent. Only a question that answers to it comes for certain from the one process
    /// that has taken all words.
    pub chain: Option<Said>,
    /// Until then another process of the site, such as one on a copied machine, may answer by words that the process which asks
    /// has not taken.
    pub others_end_ms: u64,
    /// The newest question, and the state in it.
    pub asked: Option<Nonce>,
    pub asked_events: Events,
    /// The pack in it.
    pub pack: u64,
    pub heard: Heard,
    /// When the log last named a copy of the site.
    pub copy_logged_ms: Option<u64>,
    /// When the newest report was taken in.
    pub report_ms: Option<u64>,
    /// When the newest question arrived.
    pub asked_ms: Option<u64>,
    /// From then on no word that was sent lets the site answer. It is counted from the arrival of questions, which is after they
    /// were sent, so it is never too early.
    pub lease_end_ms: u64,
    /// What the newest question is granted at most.
    pub lease_s: u64,
    /// The longest lease that the database knows about. It is recorded before a word grants it, so that a server which is started
    /// again knows how long it has to wait.
    pub recorded_lease_s: u64,
    /// The newest report that was taken in, and the life that it counts for.
    pub report: Option<(Uid, u64)>,
    /// Keys whose state the site has to learn, although no event names them: what it was lent has changed.
    pub pending: BTreeSet<KeyId>,
    /// The question that was answered last, and those of the pending keys that the answer has.
    pub sent: Option<(Nonce, BTreeSet<KeyId>)>,
    /// The site must take a newer pack than this one, even if nothing has happened since.
    pub needs_newer_than: Option<u64>,
    /// The time up to which packs that were made are accounted for.
    pub packs_until_ms: u64,
    /// The same of those that what has happened at the server has made necessary.
    pub outdated_until_ms: u64,
    /// The pack that was sent last, until the site has it.
    pub on_its_way: Option<OnItsWay>,
    /// The newest pack that has arrived, and was of no use to the site, and how often.
    pub pack_useless: (u64, u32),
    /// Where the audit log could not be read, so that the site got a pack in the place of a step.
    pub unread: Option<u64>,
    /// Its operator has dropped it: nothing waits for the end of its lease.
    pub is_dropped: bool,
}

impl Link {
    /// Notes that another process of the site may have the words that were sent up to now.
    pub fn note_other(&mut self) {
        self.others_end_ms = self.others_end_ms.max(self.lease_end_ms);
    }

    /// Whether the log should name a copy of the site: it has not done so lately.
    pub fn is_copy_news(&mut self, now_ms: u64) -> bool {
        let lately = |at: u64| now_ms.saturating_sub(at) < COPY_LOGGED_MS;
        let is_news = !self.copy_logged_ms.is_some_and(lately);
        if is_news {
            self.copy_logged_ms = Some(now_ms);
        }
        is_news
    }

    /// Takes a question in, and returns whether it is the first of a process of the site, whose answer grants nothing. The
    /// state in it counts at once only if its hash is known: as that of the word before, or
    /// of the newest event. Otherwise it counts after a look at the history ([`Link::confirm`]).
    pub fn ask(&mut self, question: &Question, reign: u64, newest: Events, now_ms: u64) -> bool {
        self.life = Some(question.life);
        self.asked_ms = Some(now_ms);
        let has_none = question.has_applied_none();
        // A process may have no use for the first word, and asks again as if there had been none.
        let is_second = has_none && self.chain.is_some_and(|said| said.is_first);
        let is_next = |said: Said| said.nonce == question.applied;
        if !is_second && !self.chain.is_none_or(is_next) {
            self.note_other();
        }
        let led_to = self.chain.filter(|said| is_next(*said));
        let is_known =
            question.events == newest || led_to.is_some_and(|said| said.to == question.events);
        self.applied = match question.reign == reign && is_known {
            true => question.events,
            false => Events::default(),
        };
        self.asked = Some(question.nonce);
        self.asked_events = question.events;
        self.heard.note(question, now_ms);
        self.pack = question.pack;
        if let Some((nonce, keys)) = self.sent.take()
            && nonce == question.applied
        {
            self.pending.retain(|key| !keys.contains(key));
        }
        if self
            .needs_newer_than
            .is_some_and(|pack| question.pack > pack)
        {
            self.needs_newer_than = None;
        }
        has_none && !is_second
    }

    /// Looks at what became of the pack that was sent. Returns whether the site has applied it.
    pub fn settle_pack(&mut self, question: &Question) -> bool {
        let Some(OnItsWay { nonce, number, .. }) = self.on_its_way else {
            return false;
        };
        let has_applied = question.pack == number;
        if has_applied || question.arrived == nonce {
            self.on_its_way = None;
        }
        if !has_applied && question.arrived == nonce {
            self.pack_useless = match self.pack_useless {
                (of, times) if of == number => (of, times + 1),
                _ => (number, 1),
            };
        }
        has_applied
    }

    /// Notes that a pack is sent.
    pub fn send_pack(&mut self, question: &Question, number: u64, now_ms: u64) {
        let before = self
            .on_its_way
            .filter(|sent| (sent.number, sent.life) == (number, question.life));
        self.on_its_way = Some(OnItsWay {
            nonce: question.nonce,
            number,
            life: question.life,
            times: before.map_or(0, |sent| sent.times).saturating_add(1),
            sent_ms: now_ms,
        });
    }

    /// Whether a pack was sent to a life of the site just now, and is not known to have arrived. It is sent again after `least_ms`, and
    /// then after twice as long each time.
    pub fn is_on_its_way(&self, life: Uid, number: u64, (now_ms, least_ms): (u64, u64)) -> bool {
        let sent = self
            .on_its_way
            .filter(|sent| (sent.number, sent.life) == (number, life));
        sent.is_some_and(|sent| {
            let doubled = 1_u32.checked_shl(sent.times.saturating_sub(1).min(16));
            let parts = doubled.unwrap_or(u32::MAX).min(RESENT_PART_MAX);
            let pause_ms = least_ms.saturating_mul(u64::from(parts));
            now_ms.saturating_sub(sent.sent_ms) < pause_ms
        })
    }

    /// Notes that the state in a question is one of this server's history. A question that was asked before the newest
    /// does not count any more.
    pub fn confirm(&mut self, question: &Question) {
        if self.asked == Some(question.nonce) {
            self.applied = question.events;
        }
    }

    /// Whether the site has applied an event, whichever of its processes answers.
    pub fn has_applied(&self, number: u64, now_ms: u64) -> bool {
        self.applied.number >= number && self.others_end_ms <= now_ms
    }

    /// Notes keys that the site has to learn about, also if the last word has an older state of them.
    pub fn tell(&mut self, keys: &[KeyId]) {
        self.pending.extend(keys);
        if let Some((_, sent)) = &mut self.sent {
            sent.retain(|key| !keys.contains(key));
        }
    }

    /// Notes that the site may answer for so long after its question, which arrived at `asked_ms`.
    pub fn grant(&mut self, asked_ms: u64, lease_s: u64) {
        self.lease_end_ms = self.lease_end_ms.max(lease_end_ms(asked_ms, lease_s));
    }

    /// For how long the site may go on to answer at most if this process ended now.
    pub fn reach_s(&self, now_ms: u64) -> u64 {
        let left_ms = self.lease_end_ms.saturating_sub(now_ms);
        left_ms.div_ceil(1000).max(self.lease_s)
    }

    /// When the link is forgotten, if the site asks no more and is granted nothing more.
    pub fn idle_ms(&self) -> u64 {
        let asked = self.asked_ms.unwrap_or(0).saturating_add(IDLE_MS);
        self.lease_end_ms.max(asked)
    }

    /// Whether a word that was sent may still let the site answer, and changes wait for that.
    pub fn is_linked(&self, now_ms: u64) -> bool {
        !self.is_dropped && self.has_lease(now_ms)
    }

    /// Whether a word that was sent may still let the site answer.
    pub fn has_lease(&self, now_ms: u64) -> bool {
        now_ms < self.lease_end_ms
    }

    /// Whether so long has passed since the newest report of the site.
    pub fn may_report(&self, now_ms: u64, least_ms: u64) -> bool {
        self.report_ms
            .is_none_or(|at| now_ms.saturating_sub(at) >= least_ms)
    }

    /// The newest report of a life that was taken in; 0 if there is none.
    pub fn report_of(&self, life: Uid) -> u64 {
        match self.report {
            Some((of, number)) if of == life => number,
            _ => 0,
        }
    }
}

/// The end of a lease, for a server whose clock may be a little faster than that of the site.
pub fn lease_end_ms(from_ms: u64, lease_s: u64) -> u64 {
    let lease_ms = lease_s.saturating_mul(1000);
    from_ms
        .saturating_add(lease_ms)
        .saturating_add(lease_ms / DRIFT_PART)
}

/// How long a question with such a lease waits for something to happen: a part of the lease, and at most so long.
pub fn poll_ms(lease_s: u64, most_ms: u64) -> u64 {
    most_ms.min(lease_s.saturating_mul(250))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEWEST: Events = Events {
        number: 5,
        hash: [5; 32],
    };

    fn said(nonce: u8, to: Events) -> Option<Said> {
        Some(Said {
            nonce: Nonce([nonce; 16]),
            to,
            is_first: false,
        })
    }

    fn question(reign: u64, applied: Nonce) -> Question {
        Question {
            origin: "server.example".to_owned(),
            site: "plant-7".to_owned(),
            server: Uid(1),
            life: Uid(2),
            nonce: Nonce([3; 16]),
            applied,
            arrived: Nonce::default(),
            process: Nonce([6; 16]),
            number: 7,
            reign,
            pack: 7,
            base: 7,
            events: NEWEST,
            lease_s: 10,
        }
    }

    #[test]
    fn a_lease_ends_late_and_never_goes_back() {
        let mut link = Link::default();
        assert!(!link.is_linked(0));
        link.grant(1_000, 10);
        assert!(link.is_linked(11_199));
        assert!(!link.is_linked(11_200));
        link.grant(500, 10);
        assert!(link.is_linked(11_199));
        link.lease_s = 2;
        assert_eq!((link.reach_s(1_000), link.reach_s(11_000)), (11, 2));
        assert_eq!(poll_ms(2, 1_000), 500);
        assert_eq!(poll_ms(86_400, 1_000), 1_000);
    }

    #[test]
    fn a_key_is_pending_until_the_word_that_had_it_is_applied() {
        let mut link = Link {
            pending: BTreeSet::from([KeyId(1), KeyId(2)]),
            sent: Some((Nonce([9; 16]), BTreeSet::from([KeyId(1)]))),
            ..Link::default()
        };
        let mut lost = link.clone();
        lost.ask(&question(1, Nonce::default()), 1, NEWEST, 0);
        assert_eq!(lost.pending.len(), 2);
        link.ask(&question(1, Nonce([9; 16])), 1, NEWEST, 0);
        assert_eq!(link.pending, BTreeSet::from([KeyId(2)]));
        assert_eq!(link.applied.number, 5);
        link.sent = Some((Nonce([9; 16]), BTreeSet::from([KeyId(2)])));
        link.tell(&[KeyId(2)]);
        link.ask(&question(1, Nonce([9; 16])), 1, NEWEST, 0);
        assert_eq!(link.pending, BTreeSet::from([KeyId(2)]));
        // The numbers of another reign mean nothing.
        link.ask(&question(2, Nonce::default()), 1, NEWEST, 0);
        assert_eq!(link.applied, Events::default());
    }

    /// A number alone does not count: another history has it as well.
    #[test]
    fn a_state_counts_when_its_hash_is_known() {
        let strange = Events {
            hash: [6; 32],
            ..NEWEST
        };
        let asked = question(1, Nonce([9; 16]));
        let mut link = Link::default();
        link.ask(&asked, 1, strange, 0);
        assert_eq!(link.applied, Events::default());
        let older = Question {
            nonce: Nonce([4; 16]),
            ..asked.clone()
        };
        link.confirm(&older);
        assert_eq!(link.applied, Events::default());
        link.confirm(&asked);
        assert_eq!(link.applied, NEWEST);
        // As the state that the word before leads to.
        link.chain = said(9, NEWEST);
        link.ask(&asked, 1, strange, 0);
        assert_eq!(link.applied, NEWEST);
        link.chain = said(9, strange);
        link.ask(&asked, 1, Events::default(), 0);
        assert_eq!(link.applied, Events::default());
    }

    /// What one process of a site has applied does not count for another one, which has a word that this one does not have.
    #[test]
    fn a_word_that_another_process_may_have_counts_until_its_lease_is_over() {
        let mut link = Link::default();
        link.ask(&question(1, Nonce([7; 16])), 1, NEWEST, 0);
        assert!(link.has_applied(5, 0));
        link.grant(0, 10);
        link.chain = said(8, NEWEST);
        link.ask(&question(1, Nonce([8; 16])), 1, NEWEST, 100);
        assert!(link.has_applied(5, 100) && !link.has_applied(6, 100));
        for applied in [Nonce([7; 16]), Nonce::default()] {
            let mut link = link.clone();
            link.ask(&question(1, applied), 1, NEWEST, 200);
            assert!(!link.has_applied(5, 10_199));
            assert!(link.has_applied(5, 10_200));
        }
    }

    #[test]
    fn the_log_names_a_copy_once_in_a_while() {
        let mut link = Link::default();
        link.grant(0, 10);
        link.note_other();
        assert_eq!(link.others_end_ms, link.lease_end_ms);
        assert!(link.is_copy_news(5));
        assert!(!link.is_copy_news(60_004));
        assert!(link.is_copy_news(60_005));
    }

    #[test]
    fn a_pack_that_has_not_arrived_is_sent_again_after_longer_and_longer_pauses() {
        let asked = question(1, Nonce::default());
        let mut link = Link::default();
        let mut now_ms = 5_000;
        for pause_ms in [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000] {
            assert!(!link.is_on_its_way(asked.life, 8, (now_ms, 1_000)));
            link.send_pack(&asked, 8, now_ms);
            now_ms += pause_ms;
            assert!(link.is_on_its_way(asked.life, 8, (now_ms - 1, 1_000)));
        }
        // Another pack, or another life of the site, does not wait for it.
        assert!(!link.is_on_its_way(asked.life, 9, (now_ms - 1, 1_000)));
        assert!(!link.is_on_its_way(Uid(9), 8, (now_ms - 1, 1_000)));
        let arrived = Question {
            pack: 7,
            arrived: asked.nonce,
            ..asked.clone()
        };
        link.settle_pack(&arrived);
        assert!(!link.is_on_its_way(asked.life, 8, (now_ms - 1, 1_000)));
    }

    #[test]
    fn a_pack_is_of_no_use_only_if_it_has_arrived() {
        let asked = |pack: u64, arrived: u8| Question {
            pack,
            arrived: Nonce([arrived; 16]),
            ..question(1, Nonce::default())
        };
        let send = |link: &mut Link, number: u64| {
            let question = Question {
                nonce: Nonce([9; 16]),
                ..asked(7, 0)
            };
            link.send_pack(&question, number, 0);
        };
        let mut link = Link::default();
        send(&mut link, 8);
        // It was lost on its way, however often.
        for _ in 0..3 {
            assert!(!link.settle_pack(&asked(7, 1)));
            assert_eq!(link.pack_useless, (0, 0));
        }
        for times in 1..3 {
            send(&mut link, 8);
            assert!(!link.settle_pack(&asked(7, 9)));
            assert!(link.on_its_way.is_none());
            assert_eq!(link.pack_useless, (8, times));
        }
        send(&mut link, 9);
        assert!(link.settle_pack(&asked(9, 9)));
        assert!(link.on_its_way.is_none());
        assert_eq!(link.pack_useless, (8, 2));
        assert!(!link.settle_pack(&asked(9, 9)), "it counts once");
    }

    /// The first word of a process grants nothing, so it is no matter who has it.
    #[test]
    fn a_process_may_ask_twice_before_it_has_taken_a_word() {
        let first = question(1, Nonce::default());
        let mut link = Link::default();
        link.grant(0, 10);
        link.chain = said(8, NEWEST);
        assert!(link.ask(&first, 1, NEWEST, 100));
        assert_eq!(link.others_end_ms, link.lease_end_ms);
        link.others_end_ms = 0;
        link.chain = Some(Said {
            is_first: true,
            ..said(9, NEWEST).unwrap()
        });
        assert!(!link.ask(&first, 1, NEWEST, 200));
        assert_eq!(link.others_end_ms, 0);
        // The answer to the second one grants a lease, so the third is that of another process.
        link.chain = said(10, NEWEST);
        assert!(link.ask(&first, 1, NEWEST, 300));
        assert_eq!(link.others_end_ms, link.lease_end_ms);
    }

    #[test]
    fn a_pack_that_is_needed_is_needed_until_it_was_applied() {
        let mut link = Link {
            needs_newer_than: Some(7),
            ..Link::default()
        };
        link.ask(&question(1, Nonce::default()), 1, NEWEST, 0);
        assert_eq!(link.needs_newer_than, Some(7));
        link.needs_newer_than = Some(6);
        link.ask(&question(1, Nonce::default()), 1, NEWEST, 0);
        assert_eq!(link.needs_newer_than, None);
    }

    #[test]
    fn a_report_counts_for_its_life() {
        let link = Link {
            report: Some((Uid(2), 9)),
            ..Link::default()
        };
        assert_eq!((link.report_of(Uid(2)), link.report_of(Uid(3))), (9, 0));
    }
}
