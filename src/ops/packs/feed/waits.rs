//! Changes whose answer waits until no linked site can answer as before: each has applied the change, or its lease has run out.

use super::link::Link;
use std::collections::BTreeMap;

/// What became of the wait for the sites.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Outcome {
    /// Those that might still answer when the change was made, by name.
    pub sites: Vec<(String, Confirmed)>,
}

/// Why a site cannot answer as before a change.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Confirmed {
    /// A question of the site shows that it has applied the change.
    Applied,
    /// An administrator has dropped the link, because the site is gone: nothing is known about it.
    Dropped,
    /// It had no word that is new enough, and gives no verdict.
    LeaseOver,
    /// It may still answer as before, for at most so many milliseconds.
    NotYet { left_ms: u64 },
}

impl Confirmed {
    pub fn as_str(self) -> &'static str {
        match self {
            Confirmed::Applied => "applied",
            Confirmed::Dropped => "dropped",
            Confirmed::LeaseOver => "lease-over",
            Confirmed::NotYet { .. } => "unconfirmed",
        }
    }
}

impl Outcome {
    /// Whether no site can answer as before.
    pub fn is_confirmed(&self) -> bool {
        let mut all = self.sites.iter();
        all.all(|(_, confirmed)| !matches!(confirmed, Confirmed::NotYet { .. }))
    }
}

/// A change that waits.
pub struct Wait {
    /// The newest event of the change, or a later one.
    pub events: u64,
    /// When the wait is given up.
    until_ms: u64,
    sites: BTreeMap<String, Waiting>,
    done: Box<dyn FnOnce(Outcome) + Send>,
}

/// A site that asks another node of the database, whose words this node does not know.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Elsewhere {
    pub site: String,
    /// When no word counts any more that may lack what was committed up to now.
    pub lease_end_ms: u64,
}

#[derive(Clone, Copy)]
struct Waiting {
    /// Of the words that the site had when the change was made. Later words have the change, so a site whose lease they prolong
    /// has applied it.
    lease_end_ms: u64,
    /// Whether other nodes may have granted leases too, so that the end of that of this node means nothing.
    is_elsewhere: bool,
    confirmed: Option<Confirmed>,
}

impl Wait {
    /// Begins to wait for the sites that may still answer. One whose link was dropped is named, and not waited for.
    pub fn new(
        events: u64,
        (now_ms, until_ms): (u64, u64),
        links: &BTreeMap<String, Link>,
        elsewhere: Vec<Elsewhere>,
        done: Box<dyn FnOnce(Outcome) + Send>,
    ) -> Wait {
        let linked = links.iter().filter(|(_, link)| link.has_lease(now_ms));
        let waiting = |(name, link): (&String, &Link)| {
            let waiting = Waiting {
                lease_end_ms: link.lease_end_ms,
                is_elsewhere: false,
                confirmed: None,
            };
            (name.clone(), waiting)
        };
        let mut sites: BTreeMap<String, Waiting> = linked.map(waiting).collect();
        for other in elsewhere {
            let own_end_ms = sites.get(&other.site).map_or(0, |own| own.lease_end_ms);
            let waiting = Waiting {
                lease_end_ms: other.lease_end_ms.max(own_end_ms),
                is_elsewhere: true,
                confirmed: None,
            };
            sites.insert(other.site, waiting);
        }
        Wait {
            events,
            until_ms,
            sites,
            done,
        }
    }

    /// Looks at the links. Returns whether the wait is over.
    pub fn look(&mut self, links: &BTreeMap<String, Link>, now_ms: u64) -> bool {
        for (name, waiting) in &mut self.sites {
            if waiting.confirmed.is_some() {
                continue;
            }
            waiting.confirmed = match links.get(name) {
                Some(link) if link.is_dropped => Some(Confirmed::Dropped),
                Some(link) if link.has_applied(self.events, now_ms) => Some(Confirmed::Applied),
                // Also one that was given up before its time.
                Some(link) if !waiting.is_elsewhere && !link.has_lease(now_ms) => {
                    Some(Confirmed::LeaseOver)
                }
                _ if waiting.lease_end_ms <= now_ms => Some(Confirmed::LeaseOver),
                _ => None,
            };
        }
        now_ms >= self.until_ms || self.sites.values().all(|one| one.confirmed.is_some())
    }

    /// Lets the change wait for a site at least up to this time.
    pub fn raise(&mut self, site: &str, lease_end_ms: u64) {
        let waiting = self.sites.entry(site.to_owned()).or_insert(Waiting {
            lease_end_ms,
            is_elsewhere: false,
            confirmed: None,
        });
        waiting.lease_end_ms = waiting.lease_end_ms.max(lease_end_ms);
        if waiting.confirmed == Some(Confirmed::LeaseOver) {
            waiting.confirmed = None;
        }
    }

    /// When to look again, even if no site asks.
    pub fn next_ms(&self) -> u64 {
        let open = self.sites.values().filter(|one| one.confirmed.is_none());
        let ends = open.map(|one| one.lease_end_ms);
        ends.fold(self.until_ms, u64::min)
    }

    /// Gives the answer.
    pub fn end(self, now_ms: u64) {
        let outcome = |(name, waiting): (String, Waiting)| {
            let open = Confirmed::NotYet {
                left_ms: waiting.lease_end_ms.saturating_sub(now_ms),
            };
            (name, waiting.confirmed.unwrap_or(open))
        };
        (self.done)(Outcome {
            sites: self.sites.into_iter().map(outcome).collect(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::packs::question::Events;
    use std::sync::mpsc::{Receiver, channel};

    fn link(lease_end_ms: u64, applied: u64) -> Link {
        let applied = Events {
            number: applied,
            hash: [0; 32],
        };
        Link {
            lease_end_ms,
            applied,
            ..Link::default()
        }
    }

    fn links(all: &[(&str, u64, u64)]) -> BTreeMap<String, Link> {
        let one =
            |(name, end, applied): &(&str, u64, u64)| (name.to_string(), link(*end, *applied));
        all.iter().map(one).collect()
    }

    fn wait(links: &BTreeMap<String, Link>) -> (Wait, Receiver<Outcome>) {
        wait_for(links, Vec::new())
    }

    fn wait_for(
        links: &BTreeMap<String, Link>,
        elsewhere: Vec<Elsewhere>,
    ) -> (Wait, Receiver<Outcome>) {
        let (sender, receiver) = channel();
        let done = Box::new(move |outcome| sender.send(outcome).unwrap());
        (
            Wait::new(9, (100, 60_100), links, elsewhere, done),
            receiver,
        )
    }

    #[test]
    fn a_site_has_applied_the_change_or_its_lease_is_over() {
        let mut known = links(&[("a", 5_000, 8), ("b", 9_000, 8), ("gone", 100, 3)]);
        let (mut wait, receiver) = wait(&known);
        assert!(!wait.look(&known, 100));
        assert_eq!(wait.next_ms(), 5_000);
        known.insert("a".to_owned(), link(20_000, 9));
        assert!(!wait.look(&known, 200));
        assert_eq!(wait.next_ms(), 9_000);
        assert!(!wait.look(&known, 8_999));
        assert!(wait.look(&known, 9_000));
        wait.end(9_000);
        let outcome = receiver.recv().unwrap();
        assert!(outcome.is_confirmed());
        let expected = [
            ("a".to_owned(), Confirmed::Applied),
            ("b".to_owned(), Confirmed::LeaseOver),
        ];
        assert_eq!(outcome.sites, expected);
    }

    #[test]
    fn a_site_that_asks_another_node_is_waited_for_until_all_leases_are_over() {
        let elsewhere = |site: &str, lease_end_ms| Elsewhere {
            site: site.to_owned(),
            lease_end_ms,
        };
        // One asks here too, one has done so before, and of one nothing is known here.
        let mut known = links(&[("both", 5_000, 8), ("moved", 50, 8)]);
        let others = vec![
            elsewhere("both", 4_000),
            elsewhere("moved", 16_000),
            elsewhere("other", 20_000),
        ];
        let (mut wait, receiver) = wait_for(&known, others);
        assert!(!wait.look(&known, 100));
        assert_eq!(wait.next_ms(), 5_000);
        known.insert("both".to_owned(), link(9_000, 9));
        assert!(!wait.look(&known, 15_999));
        assert!(!wait.look(&known, 16_000));
        assert_eq!(wait.next_ms(), 20_000);
        assert!(wait.look(&known, 20_000));
        wait.end(20_000);
        let found = receiver.recv().unwrap().sites;
        let confirmed: Vec<Confirmed> = found.iter().map(|(_, confirmed)| *confirmed).collect();
        let over = Confirmed::LeaseOver;
        assert_eq!(confirmed, [Confirmed::Applied, over, over]);
    }

    #[test]
    fn a_link_that_was_dropped_is_not_waited_for_and_is_named() {
        let dropped = |end, is_dropped| Link {
            is_dropped,
            ..link(end, 8)
        };
        let mut known = BTreeMap::from([
            ("a".to_owned(), dropped(80_000, true)),
            ("b".to_owned(), dropped(80_000, false)),
            ("over".to_owned(), dropped(100, true)),
        ]);
        let (mut wait, receiver) = wait(&known);
        assert!(!wait.look(&known, 100));
        known.insert("b".to_owned(), dropped(80_000, true));
        assert!(wait.look(&known, 200));
        wait.end(200);
        let outcome = receiver.recv().unwrap();
        assert!(outcome.is_confirmed());
        let expected = ["a", "b"].map(|name| (name.to_owned(), Confirmed::Dropped));
        assert_eq!(outcome.sites, expected);
        assert_eq!(outcome.sites[0].1.as_str(), "dropped");
    }

    /// What a site confirmed stays confirmed, even if it goes back to an older state: then it has no lease.
    #[test]
    fn a_confirmation_stays() {
        let mut known = links(&[("a", 5_000, 9), ("b", 9_000, 8)]);
        let (mut wait, _receiver) = wait(&known);
        assert!(!wait.look(&known, 100));
        known.insert("a".to_owned(), link(5_000, 3));
        known.insert("b".to_owned(), link(9_000, 10));
        assert!(wait.look(&known, 200));
    }

    #[test]
    fn a_wait_is_given_up_and_says_how_long_a_site_may_go_on() {
        let known = links(&[("a", 80_000, 8)]);
        let (mut wait, receiver) = wait(&known);
        assert!(!wait.look(&known, 60_099));
        assert_eq!(wait.next_ms(), 60_100);
        assert!(wait.look(&known, 60_100));
        wait.end(60_100);
        let outcome = receiver.recv().unwrap();
        assert!(!outcome.is_confirmed());
        assert_eq!(
            outcome.sites,
            [("a".to_owned(), Confirmed::NotYet { left_ms: 19_900 })]
        );
    }

    /// A site has shown meanwhile that there are words which the server does not know.
    #[test]
    fn a_change_that_waits_waits_for_a_lease_that_becomes_known() {
        let mut known = links(&[("a", 5_000, 8), ("b", 200, 8)]);
        let (mut wait, receiver) = wait(&known);
        assert!(!wait.look(&known, 300));
        for name in ["b", "c"] {
            wait.raise(name, 9_000);
            known.insert(name.to_owned(), link(9_000, 3));
        }
        known.insert("a".to_owned(), link(20_000, 9));
        assert!(!wait.look(&known, 8_999));
        assert!(wait.look(&known, 9_000));
        wait.end(9_000);
        let found = receiver.recv().unwrap().sites;
        let confirmed: Vec<Confirmed> = found.iter().map(|(_, confirmed)| *confirmed).collect();
        let over = Confirmed::LeaseOver;
        assert_eq!(confirmed, [Confirmed::Applied, over, over]);
    }

    #[test]
    fn nobody_waits_for_sites_that_are_not_linked() {
        let known = links(&[("a", 100, 3)]);
        let (mut wait, receiver) = wait(&known);
        assert!(wait.look(&known, 100));
        wait.end(100);
        assert_eq!(receiver.recv().unwrap(), Outcome::default());
    }
}
