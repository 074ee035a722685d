//! Copies of a site, and older copies of the server's database.

use super::Linked;
use crate::domain::keys::KeyId;
use crate::domain::packs::word::WordKind;
use crate::error::Error;
use crate::ops::packs::feed::ask;
use crate::ops::packs::feed::leases::UNKNOWN;
use crate::ops::packs::feed::model::{ModelSite, send};
use crate::ops::packs::feed::waits::{Confirmed, Outcome};
use crate::store::{Durability, Write, site_links};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::Receiver;
use std::time::Duration;

fn outcome(receiver: &Receiver<Outcome>) -> Outcome {
    let patience = Duration::from_secs(60);
    receiver.recv_timeout(patience).expect("an outcome")
}

#[track_caller]
fn check_open(outcome: &Outcome, expected: &[&str]) {
    let names: Vec<&str> = outcome.sites.iter().map(|(name, _)| &**name).collect();
    assert_eq!(names, expected);
    for (name, confirmed) in &outcome.sites {
        let is_open = matches!(confirmed, Confirmed::NotYet { left_ms } if *left_ms > 80_000_000);
        assert!(is_open, "{name}: {confirmed:?}");
    }
}

/// Another machine with the state of a site.
fn copy_of(site: &ModelSite, linked: &Linked) -> ModelSite {
    let mut copy = ModelSite::new(linked.app(), "plant-7");
    copy.question = site.question.clone();
    copy
}

/// Ends a key, and returns what is known of its site after one of its machines has followed.
fn end_with(linked: &Linked, key: KeyId, machine: &mut ModelSite) -> Outcome {
    linked.app().feed.wait_ms.store(400, Relaxed);
    linked.delete(key);
    let waiting = linked.wait();
    for _ in 0..2 {
        assert_eq!(machine.follow(linked.app()), WordKind::Step);
    }
    outcome(&waiting)
}

#[test]
fn what_a_copy_of_a_site_applies_does_not_count_for_the_other() {
    let linked = Linked::new();
    let key = linked.key("k");
    let mut site = linked.site("plant-7");
    let mut copy = copy_of(&site, &linked);
    linked.app().feed.poll_ms.store(1, Relaxed);
    assert_eq!(copy.follow(linked.app()), WordKind::Step);
    // It has a word that the copy lacks, and the other way round.
    assert_eq!(site.follow(linked.app()), WordKind::Step);
    let found = end_with(&linked, key, &mut copy);
    check_open(&found, &["plant-7"]);
}

/// It counts on from the same number, has the same words, and is refused as long as it is behind.
#[test]
fn a_copy_that_is_behind_the_other_machine_counts_too() {
    let linked = Linked::new();
    let key = linked.key("k");
    let mut site = linked.site("plant-7");
    let mut copy = copy_of(&site, &linked);
    linked.app().feed.poll_ms.store(1, Relaxed);
    for _ in 0..5 {
        assert_eq!(site.follow(linked.app()), WordKind::Step);
    }
    let refused = send(linked.app(), &copy.body(""));
    assert!(matches!(refused, Err(Error::Conflict(_))));
    let found = end_with(&linked, key, &mut site);
    check_open(&found, &["plant-7"]);
}

#[test]
fn a_question_that_was_recorded_and_one_that_was_held_up_show_no_copy() {
    let linked = Linked::new();
    let key = linked.key("k");
    let mut site = linked.site("plant-7");
    linked.app().feed.poll_ms.store(1, Relaxed);
    let recorded = site.body("");
    site.take(&send(linked.app(), &recorded).unwrap());
    let held_up = site.body("");
    for _ in 0..3 {
        assert_eq!(site.follow(linked.app()), WordKind::Step);
    }
    for body in [&recorded, &held_up] {
        let refused = send(linked.app(), body);
        assert!(matches!(refused, Err(Error::Conflict(_))));
    }
    linked.delete(key);
    let waiting = linked.wait();
    for _ in 0..2 {
        assert_eq!(site.follow(linked.app()), WordKind::Step);
    }
    let found = outcome(&waiting);
    assert_eq!(found.sites, [("plant-7".to_owned(), Confirmed::Applied)]);
}

/// The server does not know from its database who was linked after the copy, and for how long.
#[test]
fn a_server_with_an_older_database_waits_for_every_site() {
    let mut linked = Linked::new();
    linked.add("removed", &["root"], 60);
    let (app, local) = (linked.app().clone(), linked.local());
    crate::ops::packs::sites::remove(&app, &local, "removed", false, false).unwrap();
    let key = linked.key("k");
    linked.keep_copy();
    let mut site = linked.site("plant-7");
    linked.delete(linked.key("later"));
    site.catch_up(linked.app());
    linked.put_copy_back();
    linked.app().feed.wait_ms.store(50, Relaxed);
    linked.delete(key);
    let open = [UNKNOWN, "plant-7", "removed"];
    check_open(&outcome(&linked.wait()), &open);
    // The number of the site's event is a larger one, but of another history.
    let events = site.question.events;
    let _answer = site.begin(linked.app());
    check_open(&outcome(&linked.wait()), &open);
    assert_eq!(site.question.events, events);
    // It still counts after another start.
    linked.restart();
    linked.app().feed.wait_ms.store(50, Relaxed);
    check_open(&outcome(&linked.wait()), &open);
    // The site takes a pack of the new reign, and is up to date then. Another machine of it may still answer.
    assert_eq!(site.catch_up(linked.app()), 1);
    let _answer = site.begin(linked.app());
    check_open(&outcome(&linked.wait()), &open);
}

/// The server does not know any more which machine had its newest word.
#[test]
fn after_a_start_of_the_server_no_machine_of_a_site_speaks_for_the_others() {
    let mut linked = Linked::new();
    let key = linked.key("k");
    let mut site = linked.site("plant-7");
    linked.app().feed.poll_ms.store(1, Relaxed);
    assert_eq!(site.follow(linked.app()), WordKind::Step);
    let mut copy = ModelSite::new(linked.app(), "plant-7");
    linked.restart();
    linked.app().feed.poll_ms.store(1, Relaxed);
    copy.catch_up(linked.app());
    let found = end_with(&linked, key, &mut copy);
    check_open(&found, &["plant-7"]);
}

/// If only short leases were ever granted, an older copy is waited for as long as they count.
#[test]
fn the_longest_lease_is_known_beside_the_database() {
    let mut linked = Linked::new();
    linked.add("ship-2", &["root"], 2);
    linked.keep_copy();
    let _site = linked.site("ship-2");
    linked.delete(linked.key("later"));
    linked.put_copy_back();
    linked.key("k");
    let found = outcome(&linked.wait());
    assert!(found.is_confirmed(), "{found:?}");
    assert!(
        found
            .sites
            .iter()
            .all(|(_, confirmed)| *confirmed == Confirmed::LeaseOver)
    );
}

/// Nothing in the folder says so; only a site knows more.
#[test]
fn a_server_whose_whole_folder_is_an_older_copy_waits_once_a_site_shows_it() {
    let mut linked = Linked::new();
    linked.add("ship-2", &["root"], 86_400);
    let key = linked.key("k");
    let _site = linked.site("plant-7");
    linked.keep_whole_copy();
    let mut ship = linked.site("ship-2");
    linked.delete(linked.key("later"));
    ship.catch_up(linked.app());
    linked.put_whole_copy_back();
    linked.app().feed.wait_ms.store(50, Relaxed);
    linked.delete(key);
    check_open(&outcome(&linked.wait()), &["plant-7"]);
    assert_eq!(ship.follow(linked.app()), WordKind::Fork);
    let open = [UNKNOWN, "plant-7", "ship-2"];
    check_open(&outcome(&linked.wait()), &open);
    // So it is after a further start.
    linked.crash();
    linked.app().feed.wait_ms.store(50, Relaxed);
    assert_eq!(ship.follow(linked.app()), WordKind::Fork);
    check_open(&outcome(&linked.wait()), &open);
}

/// Such as one that was linked after the copy, if nothing else has happened since.
#[test]
fn a_site_with_a_word_that_the_database_does_not_know_counts_as_linked_from_its_question_on() {
    let mut linked = Linked::new();
    let mut site = linked.site("plant-7");
    let forget = |tx: &Write<'_>| site_links::delete(tx, "plant-7");
    linked.stop();
    let store = &linked.app().store;
    assert!(store.write(Durability::Full, forget).unwrap());
    linked.crash();
    linked.app().feed.wait_ms.store(50, Relaxed);
    // It has no answer yet.
    let asked = ask::read(linked.app(), &site.body(""), true).unwrap();
    assert!(asked.is_some());
    linked.key("k");
    check_open(&outcome(&linked.wait()), &["plant-7"]);
}
