//! Times without a link: commits are not noted, so nothing that is kept may be of before.

use super::Linked;
use crate::domain::locks::lock;
use crate::error::Error;
use crate::ops::packs::feed::ask;
use crate::ops::packs::feed::model::{ModelSite, send};
use crate::ops::packs::sites;
use crate::store::{Durability, Write};
use std::sync::atomic::Ordering::Relaxed;

/// As if no site had asked for a long time and no lease was left.
fn make_idle(linked: &Linked) {
    let feed = &linked.app().feed;
    let mut hub = lock(&feed.hub);
    assert!(hub.asking.is_empty());
    feed.is_active.store(false, Relaxed);
    hub.links.clear();
    feed.forget(&mut hub);
}

#[test]
fn a_workspace_of_a_time_without_links_belongs_to_the_site() {
    let linked = Linked::new();
    linked.workspace("own", "root");
    linked.add("ship-2", &["own"], 86_400);
    let mut site = linked.site("ship-2");
    // The share of the site is kept.
    let first = linked.key_in("first", "own");
    assert_eq!(site.check(linked.app()), 0);
    make_idle(&linked);
    linked.workspace("below", "own");
    let key = linked.key_in("k", "below");
    assert_eq!(site.check(linked.app()), 0);
    assert!(site.model.keys.contains_key(&key));
    linked.delete(key);
    linked.delete(first);
    assert_eq!(site.check(linked.app()), 0);
    assert!(site.model.keys.is_empty());
}

#[test]
fn a_site_that_was_removed_meanwhile_is_a_stranger() {
    let linked = Linked::new();
    let mut removed = linked.site("plant-7");
    make_idle(&linked);
    sites::remove(linked.app(), &linked.local(), "plant-7", false, false).unwrap();
    let refused = |site: &mut ModelSite| {
        let answer = send(linked.app(), &site.body(""));
        assert!(matches!(answer, Err(Error::Unauthenticated)));
    };
    refused(&mut removed);
    refused(&mut removed);
    assert!(!linked.app().feed.is_active());
}

/// A site whose rows were changed past Latchkey gets nothing, over a link either.
#[test]
fn a_site_that_was_changed_past_latchkey_gets_no_answer() {
    let linked = Linked::new();
    let mut site = linked.site("plant-7");
    make_idle(&linked);
    let change = "UPDATE sites SET minimal = 1 - minimal WHERE name = 'plant-7'";
    let past = move |tx: &Write<'_>| tx.execute(change, &[]);
    linked.app().store.write(Durability::Full, past).unwrap();
    for _ in 0..2 {
        let answer = send(linked.app(), &site.body(""));
        let Err(Error::Conflict(why)) = answer else {
            panic!("the site is answered");
        };
        assert_eq!(why.code(), "packs.site_altered");
    }
}

/// A question that is looked at without a link keeps nothing that a later change would have to end.
#[test]
fn what_a_stranger_asks_is_not_kept() {
    let linked = Linked::new();
    let mut site = ModelSite::new(linked.app(), "plant-7");
    let other = site.body("").replace("lease 86400", "lease 8640");
    assert!(send(linked.app(), &other).is_err());
    let edited = sites::SiteEdit {
        max_stale_s: Some(60),
        ..sites::SiteEdit::default()
    };
    sites::edit(linked.app(), &linked.local(), "plant-7", edited).unwrap();
    site.catch_up(linked.app());
    assert_eq!(site.word.as_ref().unwrap().lease_s, 60);
}

#[test]
fn a_question_whose_link_was_forgotten_is_asked_again() {
    let linked = Linked::new();
    let mut site = linked.site("plant-7");
    let body = site.body("");
    let asked = ask::read(linked.app(), &body, true).unwrap().unwrap();
    make_idle(&linked);
    let entered = asked.enter(linked.app(), Box::new(|_| ()));
    assert!(matches!(entered, Err(Error::Unavailable(_))));
    assert!(lock(&linked.app().feed.hub).links.is_empty());
    assert_eq!(site.check(linked.app()), 0);
}
