//! What a site is answered, and when.

use super::{Linked, is_waiting};
use crate::domain::locks::lock;
use crate::domain::packs::question::Events;
use crate::domain::packs::site_key::SiteKey;
use crate::domain::packs::word::{Word, WordKind};
use crate::domain::uid::Uid;
use crate::error::Error;
use crate::ops::audit;
use crate::ops::packs::feed::model::{ModelSite, received, send};
use crate::ops::packs::sites::{self, SiteEdit};
use crate::ops::workspaces::{self, WorkspaceEdit};
use crate::store::audit::Cut;
use std::sync::atomic::Ordering::Relaxed;

#[test]
fn a_site_gets_a_pack_first_and_steps_from_then_on() {
    let linked = Linked::new();
    let key = linked.key("first");
    let mut site = ModelSite::new(linked.app(), "plant-7");
    assert_eq!(site.follow(linked.app()), WordKind::Pack);
    assert_eq!(site.word.as_ref().unwrap().lease_s, 0);
    assert!(site.model.keys.contains_key(&key));
    // A step comes when something happens, and not before.
    let answer = site.begin(linked.app());
    assert!(is_waiting(&answer));
    linked.delete(key);
    assert_eq!(site.take(&answer), WordKind::Step);
    assert!(!site.model.keys.contains_key(&key));
    assert_eq!(site.word.as_ref().unwrap().lease_s, 86_400);
    let answer = site.begin(linked.app());
    let second = linked.key("second");
    assert_eq!(site.take(&answer), WordKind::Step);
    assert!(site.model.keys.contains_key(&second));
    assert_eq!(site.check(linked.app()), 0);
}

#[test]
fn a_question_is_answered_after_its_time_even_if_nothing_happens() {
    let linked = Linked::new();
    let mut site = linked.site("plant-7");
    linked.app().feed.poll_ms.store(20, Relaxed);
    let before = site.question.events;
    assert_eq!(site.follow(linked.app()), WordKind::Step);
    let word = site.word.as_ref().unwrap();
    assert_eq!((word.bytes, word.to), (0, before));
}

#[test]
fn what_is_none_of_a_sites_business_neither_wakes_it_nor_comes() {
    let linked = Linked::new();
    linked.workspace("own", "root");
    linked.workspace("other", "root");
    linked.add("ship-2", &["own"], 86_400);
    let mut site = linked.site("ship-2");
    let answer = site.begin(linked.app());
    let strange = linked.key_in("strange", "other");
    linked.delete(strange);
    let own = linked.key_in("own", "own");
    assert_eq!(site.take(&answer), WordKind::Step);
    assert_eq!(site.model.keys.keys().collect::<Vec<_>>(), [&own]);
    // The first word after the question had all of it: none came for the strange key.
    assert_eq!(linked.app().feed.figures.steps.load(Relaxed), 1);
    assert_eq!(site.check(linked.app()), 0);
}

#[test]
fn strangers_are_refused() {
    let linked = Linked::new();
    let mut site = linked.site("plant-7");
    let refused = |body: &str| {
        let answer = send(linked.app(), body);
        assert!(matches!(answer, Err(Error::Unauthenticated)), "{body}");
    };
    let body = site.body("");
    refused(&body.replace("lease 86400", "lease 8640"));
    refused(&body.replace("plant-7", "plant-8"));
    let other = SiteKey::of([7; 32]);
    refused(&site.question.write(&other, ""));
    for change in [
        |site: &mut ModelSite| site.question.origin = "other.example".to_owned(),
        |site: &mut ModelSite| site.question.server = Uid(3),
    ] {
        let mut site = ModelSite::new(linked.app(), "plant-7");
        change(&mut site);
        refused(&site.body(""));
    }
    for body in [
        "",
        "nonsense",
        "a\nsite plant-7\n",
        "latchkey.question/v1 x\nsite plant-7\n",
    ] {
        let answer = send(linked.app(), body);
        assert!(answer.is_err(), "{body}");
    }
    sites::remove(linked.app(), &linked.local(), "plant-7", false, false).unwrap();
    refused(&site.body(""));
}

/// A pack that ends soon is no reason to let the lease end.
#[test]
fn steps_come_while_the_next_pack_is_made() {
    let linked = Linked::new();
    let mut site = linked.site("plant-7");
    let app = linked.app();
    app.feed.poll_ms.store(1, Relaxed);
    let pack = site.question.pack;
    lock(&app.feed.hub)
        .links
        .get_mut("plant-7")
        .unwrap()
        .needs_newer_than = Some(pack);
    assert_eq!(site.follow(app), WordKind::Step);
    assert!(site.word.as_ref().unwrap().lease_s > 0);
    while site.follow(app) == WordKind::Step {
        assert_eq!(site.question.pack, pack);
    }
    assert!(site.question.pack > pack);
    assert_eq!(site.check(app), 0);
}

/// A recorded question brings the answer to itself, and no site waits for that any more.
#[test]
fn a_question_that_comes_again_has_no_effect_on_the_site() {
    let linked = Linked::new();
    let mut site = linked.site("plant-7");
    let old = site.body("");
    let first = send(linked.app(), &old).unwrap();
    let key = linked.key("k");
    let answer = received(&first).unwrap();
    assert_eq!(site.apply(&answer), WordKind::Step);
    assert!(site.model.keys.contains_key(&key));
    let replayed = send(linked.app(), &old).unwrap();
    let answer = received(&replayed).unwrap();
    let nonce = site.question.nonce;
    site.body("");
    assert_ne!(nonce, site.question.nonce);
    let (word, _) = Word::open(&answer, &site.trusted).unwrap();
    assert!(!word.word.answers(&site.question));
    // Nor does it confirm anything for the site.
    linked.delete(key);
    let outcome = linked.wait();
    let replayed = send(linked.app(), &old).unwrap();
    received(&replayed).unwrap();
    assert!(outcome.try_recv().is_err());
}

#[test]
fn a_newer_question_takes_the_place_of_an_older_one() {
    let linked = Linked::new();
    let mut site = linked.site("plant-7");
    let older = site.begin(linked.app());
    let newer = site.begin(linked.app());
    assert!(matches!(received(&older), Err(Error::Conflict(_))));
    linked.key("k");
    assert_eq!(site.take(&newer), WordKind::Step);
}

#[test]
fn a_site_that_knows_another_history_is_a_fork() {
    let linked = Linked::new();
    let site = linked.site("plant-7");
    let now = site.question.events;
    let strange: [fn(Events) -> Events; 3] = [
        |events| Events {
            number: events.number + 1,
            ..events
        },
        |events| Events {
            hash: [1; 32],
            ..events
        },
        |events| Events {
            number: events.number - 1,
            ..events
        },
    ];
    for change in strange {
        let mut other = ModelSite::new(linked.app(), "plant-7");
        other.question = site.question.clone();
        other.question.events = change(now);
        assert_eq!(other.follow(linked.app()), WordKind::Fork);
        assert_eq!(other.word.as_ref().unwrap().lease_s, 0);
    }
    let mut other = ModelSite::new(linked.app(), "plant-7");
    other.question = site.question.clone();
    other.question.reign += 1;
    assert_eq!(other.follow(linked.app()), WordKind::Fork);
}

#[test]
fn a_restarted_server_goes_on_from_its_log() {
    let mut linked = Linked::new();
    let mut site = linked.site("plant-7");
    let before = linked.key("before");
    linked.restart();
    let after = linked.key("after");
    linked.delete(before);
    assert_eq!(site.check(linked.app()), 0);
    assert!(site.model.keys.contains_key(&after));
}

#[test]
fn a_site_that_the_log_does_not_reach_gets_a_pack() {
    let linked = Linked::new();
    let mut site = linked.site("plant-7");
    for name in ["a", "b", "c"] {
        linked.key(name);
    }
    audit::prune(linked.app(), &linked.local(), Cut::Keep(1)).unwrap();
    assert_eq!(site.check(linked.app()), 1);
    // From there it follows in steps again.
    linked.key("d");
    assert_eq!(site.check(linked.app()), 0);
}

#[test]
fn what_changes_the_share_of_a_site_is_a_pack() {
    let linked = Linked::new();
    for slug in ["own", "other"] {
        linked.workspace(slug, "root");
        linked.key_in("k", slug);
    }
    linked.workspace("below", "own");
    let inner = linked.key_in("inner", "below");
    linked.add("ship-2", &["own"], 86_400);
    let (app, local) = (linked.app(), linked.local());
    let mut site = linked.site("ship-2");
    let workspaces = Some(vec!["own".to_owned(), "other".to_owned()]);
    let edited = SiteEdit {
        workspaces,
        ..SiteEdit::default()
    };
    sites::edit(app, &local, "ship-2", edited).unwrap();
    assert_eq!(site.check(app), 1);
    assert_eq!(site.model.keys.len(), 3);
    let minimal = SiteEdit {
        minimal: Some(true),
        ..SiteEdit::default()
    };
    sites::edit(app, &local, "ship-2", minimal).unwrap();
    assert_eq!(site.check(app), 1);
    let moved = WorkspaceEdit {
        parent: Some("root".to_owned()),
        ..WorkspaceEdit::default()
    };
    workspaces::edit(app, &local, "below", moved).unwrap();
    assert_eq!(site.check(app), 1);
    assert!(!site.model.keys.contains_key(&inner));
    workspaces::delete::delete_with_contents(app, &local, "other").unwrap();
    assert_eq!(site.check(app), 1);
    // What is about another site is not.
    let other = SiteEdit {
        minimal: Some(true),
        ..SiteEdit::default()
    };
    sites::edit(app, &local, "plant-7", other).unwrap();
    assert_eq!(site.check(app), 0);
}

#[test]
fn sites_that_reconnect_at_once_share_what_is_made() {
    let linked = Linked::new();
    let names: Vec<String> = (0..5).map(|number| format!("s{number}")).collect();
    for name in &names {
        linked.add(name, &["root"], 86_400);
    }
    let mut all: Vec<ModelSite> = names
        .iter()
        .map(|name| ModelSite::new(linked.app(), name))
        .collect();
    let waiting: Vec<_> = all
        .iter_mut()
        .map(|site| site.begin(linked.app()))
        .collect();
    for (site, answer) in all.iter_mut().zip(&waiting) {
        assert_eq!(site.take(answer), WordKind::Pack);
    }
    // A pack that serves is not made again.
    let numbers: Vec<u64> = all.iter().map(|site| site.question.pack).collect();
    let mut again = ModelSite::new(linked.app(), &names[0]);
    assert_eq!(again.follow(linked.app()), WordKind::Pack);
    assert_eq!(again.question.pack, numbers[0]);
}

#[test]
fn a_stopping_server_answers_all_who_wait() {
    let mut linked = Linked::new();
    let mut site = linked.site("plant-7");
    let answer = site.begin(linked.app());
    linked.stop();
    assert!(matches!(received(&answer), Err(Error::Unavailable(_))));
    let body = site.body("");
    assert!(matches!(
        send(linked.app(), &body),
        Err(Error::Unavailable(_))
    ));
}
