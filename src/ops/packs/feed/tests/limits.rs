//! What one site can make the server do.

use super::reports::{blank, report};
use super::{Linked, NEVER_MS};
use crate::domain::audit::{Kind, Target};
use crate::domain::keys::KeyId;
use crate::domain::locks::lock;
use crate::domain::packs::step::TOUCHED_MAX;
use crate::domain::packs::word::WordKind;
use crate::error::Error;
use crate::ops::packs::feed::model::send;
use crate::store::site_links::{self, LinkRow};
use crate::store::{Durability, usage};
use std::sync::atomic::Ordering::Relaxed;

#[test]
fn a_question_with_nothing_new_waits_before_it_is_looked_at() {
    let linked = Linked::new();
    let mut site = linked.site("plant-7");
    let feed = &linked.app().feed;
    feed.poll_ms.store(1, Relaxed);
    // Each question waits for the one before it, so the first wait begins with this one.
    let began_ms = linked.app().now().steady_ms;
    assert_eq!(site.follow(linked.app()), WordKind::Step);
    feed.again_ms.store(300, Relaxed);
    for _ in 0..3 {
        assert_eq!(site.follow(linked.app()), WordKind::Step);
    }
    assert!(linked.app().now().steady_ms - began_ms >= 600);
    // A site that has taken something new is looked at at once.
    linked.key("a");
    assert_eq!(site.follow(linked.app()), WordKind::Step);
    feed.again_ms.store(NEVER_MS, Relaxed);
    for name in ["b", "c", "d"] {
        let key = linked.key(name);
        assert_eq!(site.follow(linked.app()), WordKind::Step);
        assert!(site.model.keys.contains_key(&key));
    }
}

#[test]
fn a_lease_that_is_too_short_is_refused() {
    let linked = Linked::new();
    let mut site = linked.site("plant-7");
    for lease_s in [0, 1] {
        site.question.lease_s = lease_s;
        let answer = send(linked.app(), &site.body(""));
        assert!(matches!(answer, Err(Error::Malformed(_))), "{lease_s}");
    }
}

#[test]
fn a_report_that_comes_too_early_is_not_taken_in() {
    let linked = Linked::new();
    let key = linked.key("k");
    let mut site = linked.site("plant-7");
    let mut ask = |number: u64| {
        let mut used = blank(key);
        used.uses = number;
        let text = report(&site, number, vec![used]);
        linked.app().feed.poll_ms.store(1, Relaxed);
        let body = site.body(&text);
        site.take(&send(linked.app(), &body).unwrap());
        let found = linked.app().read(|read| usage::find_usage(read, key));
        (site.word.as_ref().unwrap().report, found.unwrap().use_count)
    };
    assert_eq!(ask(1), (1, 1));
    let report_ms = &linked.app().feed.report_ms;
    report_ms.store(NEVER_MS, Relaxed);
    assert_eq!(ask(2), (1, 1));
    report_ms.store(0, Relaxed);
    assert_eq!(ask(3), (3, 3));
}

#[test]
fn a_site_that_asks_for_packs_for_ever_gets_a_few() {
    let linked = Linked::new();
    let _site = linked.site("plant-7");
    let feed = &linked.app().feed;
    feed.pack_ms.store(60_000, Relaxed);
    let made = (0..10).filter(|_| feed.may_make("plant-7", 1_000));
    assert_eq!(made.count(), 5);
    assert!(!feed.may_make("plant-7", 60_999));
    assert!(feed.may_make("plant-7", 61_000));
    assert!(!feed.may_make("plant-7", 61_000));
    assert!(!feed.may_make("strange", 61_000));
}

/// What commits have touched does not pile up if it is not looked at.
#[test]
fn what_was_touched_has_an_end() {
    let mut linked = Linked::new();
    linked.stop();
    let app = linked.app();
    let target = Target::new(Kind::Key, KeyId(5));
    for _ in 0..=TOUCHED_MAX {
        let touched = app
            .read(|read| {
                app.feed
                    .look(&app.index, read, std::slice::from_ref(&target))
            })
            .unwrap();
        app.feed.committed(touched);
    }
    let hub = lock(&app.feed.hub);
    assert_eq!(hub.touched.len(), 1);
    assert!(hub.touched[0].is_wide);
}

#[test]
fn a_shorter_lease_does_not_take_the_place_of_a_longer_one() {
    let linked = Linked::new();
    let row = |lease_s: u64| LinkRow {
        site: "plant-7".to_owned(),
        lease_s,
        asked_at: linked.app().now().wall,
        events: 0,
    };
    for lease_s in [3_600, 10] {
        let row = row(lease_s);
        let written = linked
            .app()
            .store
            .write(Durability::Relaxed, move |tx| site_links::raise(tx, &row));
        written.unwrap();
    }
    let found = linked.app().read(site_links::list).unwrap();
    assert_eq!(found, [row(3_600)]);
}
