//! Changes that wait for the sites.

use super::{Linked, NEVER_MS};
use crate::domain::locks::lock;
use crate::domain::packs::word::WordKind;
use crate::ops::packs::feed::model::ModelSite;
use crate::ops::packs::feed::waits::{Confirmed, Outcome};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::Receiver;
use std::time::Duration;

#[test]
fn a_change_waits_for_every_linked_site() {
    let linked = Linked::new();
    let key = linked.key("k");
    linked.add("ship-2", &["root"], 86_400);
    // Only words let a site answer, and a pack is none.
    let mut one = ModelSite::new(linked.app(), "plant-7");
    assert_eq!(one.follow(linked.app()), WordKind::Pack);
    assert!(received_outcome(&linked.wait()).sites.is_empty());
    one.catch_up(linked.app());
    let mut two = linked.site("ship-2");
    let (first, second) = (one.begin(linked.app()), two.begin(linked.app()));
    linked.delete(key);
    let outcome = linked.wait();
    assert_eq!(one.take(&first), WordKind::Step);
    assert_eq!(two.take(&second), WordKind::Step);
    assert!(outcome.try_recv().is_err());
    let _first = one.begin(linked.app());
    assert!(outcome.try_recv().is_err());
    let _second = two.begin(linked.app());
    let expected = ["plant-7", "ship-2"].map(|name| (name.to_owned(), Confirmed::Applied));
    assert_eq!(received_outcome(&outcome).sites, expected);
}

fn received_outcome(receiver: &Receiver<Outcome>) -> Outcome {
    let patience = Duration::from_secs(60);
    receiver.recv_timeout(patience).expect("an outcome")
}

#[test]
fn a_site_that_says_nothing_is_waited_for_until_its_lease_is_over() {
    let linked = Linked::new();
    linked.add("ship-2", &["root"], 2);
    let site = linked.site("ship-2");
    assert_eq!(site.word.as_ref().unwrap().lease_s, 2);
    let began_ms = linked.app().now().steady_ms;
    linked.key("k");
    let outcome = received_outcome(&linked.wait());
    assert_eq!(outcome.sites, [("ship-2".to_owned(), Confirmed::LeaseOver)]);
    // The lease began with the question, a moment earlier.
    assert!(linked.app().now().steady_ms - began_ms > 1_000);
}

#[test]
fn a_wait_that_takes_too_long_says_what_is_open() {
    let linked = Linked::new();
    let _site = linked.site("plant-7");
    linked.app().feed.wait_ms.store(50, Relaxed);
    linked.key("k");
    let outcome = received_outcome(&linked.wait());
    assert!(!outcome.is_confirmed());
    let [(name, Confirmed::NotYet { left_ms })] = outcome.sites.as_slice() else {
        panic!("{outcome:?}");
    };
    assert_eq!(name, "plant-7");
    assert!(*left_ms > 80_000_000);
}

/// What the last process granted still counts after a start.
#[test]
fn a_restarted_server_waits_for_the_leases_of_the_one_before() {
    let mut linked = Linked::new();
    let mut site = linked.site("plant-7");
    linked.crash();
    linked.app().feed.wait_ms.store(50, Relaxed);
    linked.key("k");
    let outcome = received_outcome(&linked.wait());
    assert_eq!(outcome.sites.len(), 1);
    assert!(!outcome.is_confirmed());
    // Another machine of the site may have the newest word.
    site.catch_up(linked.app());
    let _answer = site.begin(linked.app());
    assert!(!received_outcome(&linked.wait()).is_confirmed());
}

/// It has recorded which process of the site had its newest word.
#[test]
fn a_server_that_stopped_in_order_knows_who_has_its_newest_word() {
    let mut linked = Linked::new();
    let mut site = linked.site("plant-7");
    linked.restart();
    // A command that opens the database in between forgets nothing.
    linked.restart();
    linked.app().feed.wait_ms.store(NEVER_MS, Relaxed);
    linked.key("k");
    let outcome = linked.wait();
    assert!(outcome.try_recv().is_err());
    assert_eq!(site.catch_up(linked.app()), 0);
    let _answer = site.begin(linked.app());
    let expected = [("plant-7".to_owned(), Confirmed::Applied)];
    assert_eq!(received_outcome(&outcome).sites, expected);
}

#[test]
fn a_restarted_server_waits_no_longer_than_the_leases_of_the_one_before() {
    let mut linked = Linked::new();
    linked.add("ship-2", &["root"], 2);
    let _site = linked.site("ship-2");
    linked.restart();
    linked.app().feed.wait_ms.store(NEVER_MS, Relaxed);
    linked.key("k");
    assert!(received_outcome(&linked.wait()).is_confirmed());
}

/// A step of an older state that was built with a newer tree of workspaces might lack keys.
#[test]
fn a_round_begins_anew_when_the_index_has_moved_on() {
    let linked = Linked::new();
    let mut site = linked.site("plant-7");
    linked.app().feed.poll_ms.store(1, Relaxed);
    // As if a change of the tree was coming into the index after the answer was read from the database.
    let ahead = site.question.events.number + 1;
    lock(&linked.app().feed.hub).begun_tree = ahead;
    let answer = site.begin(linked.app());
    linked.workspace("below", "root");
    assert_eq!(site.take(&answer), WordKind::Step);
    assert!(site.question.events.number >= ahead);
    assert_eq!(site.check(linked.app()), 0);
}

#[test]
fn no_word_is_sent_that_is_older_than_a_change_that_waits() {
    let linked = Linked::new();
    let mut site = linked.site("plant-7");
    linked.app().feed.poll_ms.store(1, Relaxed);
    // As if a change had been acknowledged after the answer was read from the database.
    let ahead = site.question.events.number + 1;
    lock(&linked.app().feed.hub).waited = ahead;
    let answer = site.begin(linked.app());
    linked.key("k");
    assert_eq!(site.take(&answer), WordKind::Step);
    assert!(site.question.events.number >= ahead);
}
