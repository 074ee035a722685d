//! Sites that give up their lease before it is over.

use super::{Linked, NEVER_MS};
use crate::domain::packs::word::WordKind;
use crate::error::Error;
use crate::ops::packs::feed::model::{ModelSite, received, send};
use crate::ops::packs::feed::waits::{Confirmed, Outcome};
use crate::ops::packs::sites;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::Receiver;
use std::time::Duration;

/// A server that answers at once, where a change waits for its sites as long as a test may take.
fn linked() -> Linked {
    let linked = Linked::new();
    linked.app().feed.poll_ms.store(1, Relaxed);
    linked.app().feed.wait_ms.store(NEVER_MS, Relaxed);
    linked
}

fn give_up(site: &mut ModelSite, linked: &Linked) {
    let lease_s = std::mem::take(&mut site.question.lease_s);
    let answer = send(linked.app(), &site.body("")).unwrap();
    assert_eq!(received(&answer).unwrap(), b"");
    site.question.lease_s = lease_s;
}

/// A change waits for a site until it gives its lease up.
#[track_caller]
fn check_waits_until_given_up(site: &mut ModelSite, linked: &Linked) {
    linked.key("k");
    let waiting = linked.wait();
    assert!(waiting.try_recv().is_err());
    give_up(site, linked);
    let expected = [("plant-7".to_owned(), Confirmed::LeaseOver)];
    assert_eq!(outcome(&waiting), expected);
}

fn outcome(receiver: &Receiver<Outcome>) -> Vec<(String, Confirmed)> {
    let patience = Duration::from_secs(60);
    receiver.recv_timeout(patience).expect("an outcome").sites
}

#[test]
fn no_change_waits_for_a_lease_that_was_given_up() {
    let mut linked = linked();
    let mut site = linked.site("plant-7");
    check_waits_until_given_up(&mut site, &linked);
    linked.key("l");
    assert_eq!(outcome(&linked.wait()), []);
    // The server that starts next knows it too.
    linked.restart();
    linked.key("m");
    assert_eq!(outcome(&linked.wait()), []);
    // Another process of the site is linked as before.
    let mut next = ModelSite::new(linked.app(), "plant-7");
    next.question = site.question.clone();
    next.question.applied = Default::default();
    next.question.process = site.question.nonce;
    // Its first word grants nothing.
    for _ in 0..2 {
        next.catch_up(linked.app());
    }
    linked.app().feed.wait_ms.store(NEVER_MS, Relaxed);
    linked.key("n");
    let waiting = linked.wait();
    assert!(waiting.try_recv().is_err());
    next.catch_up(linked.app());
    let _asked = next.begin(linked.app());
    let expected = [("plant-7".to_owned(), Confirmed::Applied)];
    assert_eq!(outcome(&waiting), expected);
}

/// Each process gives up its own lease, and not that of a copy, or of one whose word it does not have.
#[test]
fn what_another_process_may_have_counts_on() {
    let linked = linked();
    let mut site = linked.site("plant-7");
    let mut copy = ModelSite::new(linked.app(), "plant-7");
    copy.question = site.question.clone();
    assert_eq!(copy.follow(linked.app()), WordKind::Step);
    assert_eq!(site.follow(linked.app()), WordKind::Step);
    give_up(&mut copy, &linked);
    linked.app().feed.wait_ms.store(50, Relaxed);
    linked.key("k");
    let found = outcome(&linked.wait());
    assert!(matches!(found.as_slice(), [(_, Confirmed::NotYet { .. })]));
}

/// Its key is gone from the database, and known here until no word lets it answer.
#[test]
fn a_site_that_was_removed_hears_of_it_and_gives_its_lease_up() {
    let linked = linked();
    linked.app().feed.poll_ms.store(NEVER_MS, Relaxed);
    let mut site = linked.site("plant-7");
    let asked = site.begin(linked.app());
    sites::remove(linked.app(), &linked.local(), "plant-7", false, false).unwrap();
    assert_eq!(site.take(&asked), WordKind::Removed);
    // If the word was lost, it comes again.
    assert_eq!(site.follow(linked.app()), WordKind::Removed);
    check_waits_until_given_up(&mut site, &linked);
    let refused = send(linked.app(), &site.body(""));
    assert!(matches!(refused, Err(Error::Unauthenticated)));
}

#[test]
fn a_last_question_that_was_recorded_ends_no_lease() {
    let linked = linked();
    let mut site = linked.site("plant-7");
    let lease_s = std::mem::take(&mut site.question.lease_s);
    let recorded = site.body("");
    site.question.lease_s = lease_s;
    assert_eq!(site.follow(linked.app()), WordKind::Step);
    let refused = send(linked.app(), &recorded);
    assert!(matches!(refused, Err(Error::Conflict(_))));
    linked.app().feed.wait_ms.store(50, Relaxed);
    linked.key("k");
    let found = outcome(&linked.wait());
    assert!(matches!(found.as_slice(), [(_, Confirmed::NotYet { .. })]));
}
