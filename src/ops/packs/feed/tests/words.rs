//! What a site is answered, and when.

use super::{Linked, is_waiting};
use crate::domain::locks::lock;
use crate::domain::packs::question::Events;
use crate::domain::packs::site_key::SiteKey;
use crate::domain::packs::word::WordKind;
use crate::domain::uid::Uid;
use crate::error::Error;
use crate::ops::audit;
use crate::ops::doctor::examine;
use crate::ops::packs::feed::model::{ModelSite, received, send};
use crate::ops::packs::sites::{self, SiteEdit};
use crate::ops::workspaces::{self, WorkspaceEdit};
use crate::store::audit::Cut;
use crate::store::{Durability, Write};
use std::sync::atomic::Ordering::Relaxed;

#[test]
fn a_site_gets_a_pack_first_and_steps_from_then_on() {
    let linked = Linked::new();
    let key = linked.key("first");
    let mut site = ModelSite::new(linked.app(), "plant-7");
    assert_eq!(site.follow(linked.app()), WordKind::Pack);
    assert_eq!(site.word.as_ref().unwrap().lease_s, 0);
    assert!(site.model.keys.contains_key(&key));
    // The first word that lets the site answer comes at once.
    assert_eq!(site.follow(linked.app()), WordKind::Step);
    assert_eq!(site.word.as_ref().unwrap().lease_s, 86_400);
    // From then on a step comes when something happens, and not before.
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
    // As long as its last word lets it answer, it learns of that.
    assert_eq!(site.follow(linked.app()), WordKind::Removed);
    refused(&body.replace("lease 86400", "lease 8640"));
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

/// A recorded question is not answered a second time, and takes nothing from the site.
#[test]
fn a_question_that_comes_again_has_no_effect_on_the_site() {
    let linked = Linked::new();
    let mut site = linked.site("plant-7");
    let old = site.body("");
    let first = send(linked.app(), &old).unwrap();
    let key = linked.key("k");
    refused(&linked, &old);
    let answer = received(&first).unwrap();
    assert_eq!(site.apply(&answer), WordKind::Step);
    assert!(site.model.keys.contains_key(&key));
    refused(&linked, &old);
    let newer = site.begin(linked.app());
    refused(&linked, &old);
    linked.delete(key);
    assert_eq!(site.take(&newer), WordKind::Step);
    // Nor does it confirm anything for the site.
    let outcome = linked.wait();
    refused(&linked, &old);
    assert!(outcome.try_recv().is_err());
}

#[track_caller]
fn refused(linked: &Linked, body: &str) {
    match send(linked.app(), body) {
        Err(Error::Conflict(why)) => assert_eq!(why.code(), "packs.asked_again"),
        other => panic!("{}", other.is_ok()),
    }
}

/// The network held it up: the site waits for the answer to the newer one.
#[test]
fn a_question_that_arrives_after_a_newer_one_does_not_take_its_place() {
    let linked = Linked::new();
    let mut site = linked.site("plant-7");
    let late = site.body("");
    let newer = site.begin(linked.app());
    refused(&linked, &late);
    let key = linked.key("k");
    assert_eq!(site.take(&newer), WordKind::Step);
    assert!(site.model.keys.contains_key(&key));
    refused(&linked, &late);
    assert_eq!(site.check(linked.app()), 0);
    // A process that begins counts from 1, and takes the place of the one before.
    let older = site.begin(linked.app());
    let mut begun = ModelSite::new(linked.app(), "plant-7");
    let answer = begun.begin(linked.app());
    assert!(matches!(received(&older), Err(Error::Conflict(_))));
    assert_eq!(begun.take(&answer), WordKind::Pack);
}

/// A site that has all that has happened waits without a look at the database.
#[test]
fn a_question_with_nothing_new_costs_no_look_at_the_database() {
    let linked = Linked::new();
    linked.add("ship-2", &["root"], 86_400);
    let (mut one, mut two) = (linked.site("plant-7"), linked.site("ship-2"));
    // The pack of the other site has an event.
    one.catch_up(linked.app());
    two.catch_up(linked.app());
    let rounds = &linked.app().feed.figures.rounds;
    let before = rounds.load(Relaxed);
    let waiting = one.begin(linked.app());
    let key = linked.key("k");
    assert_eq!(one.take(&waiting), WordKind::Step);
    // Also with what it has taken just now.
    let waiting = one.begin(linked.app());
    // Behind by one event, so it is looked at.
    assert_eq!(two.follow(linked.app()), WordKind::Step);
    assert!(two.model.keys.contains_key(&key));
    assert_eq!(rounds.load(Relaxed), before + 2);
    assert!(is_waiting(&waiting));
}

/// An event that is missing or was changed could name a key that has ended, so no step leads over it.
#[test]
fn what_a_damaged_log_may_hide_comes_with_a_pack_and_is_shown() {
    for damage in [
        "DELETE FROM audit_events WHERE seq = ",
        "UPDATE audit_events SET action = 'key.edit' WHERE seq = ",
        "UPDATE audit_events SET target_kind = 'nonsense' WHERE seq = ",
        "UPDATE audit_events SET previous = zeroblob(32) WHERE seq = ",
    ] {
        let linked = Linked::new();
        let (app, local) = (linked.app(), linked.local());
        let gone = linked.key("gone");
        let mut site = linked.site("plant-7");
        assert!(site.model.keys.contains_key(&gone));
        linked.delete(gone);
        let event = linked.fixture.last_event();
        linked.key("other");
        let past: &'static str = format!("{damage}{event}").leak();
        let change = move |tx: &Write<'_>| tx.execute(past, &[]);
        app.store.write(Durability::Full, change).unwrap();
        assert_eq!(site.check(app), 1, "{damage}");
        assert!(!site.model.keys.contains_key(&gone), "{damage}");
        // From there it follows in steps again.
        linked.key("later");
        assert_eq!(site.check(app), 0, "{damage}");
        let view = sites::find_view(app, &local, "plant-7").unwrap();
        let unread = view.link.unwrap().unread.unwrap();
        let event = event.unsigned_abs();
        // A change of an event shows at the one that follows it.
        assert!([event, event + 1].contains(&unread), "{damage}: {unread}");
        let checks = examine(app, &local).unwrap();
        let found = checks.iter().find(|check| check.name == "sites").unwrap();
        let wanted = format!("event {unread} of the audit log cannot be read, so site plant-7");
        assert!(found.found.to_string().contains(&wanted), "{found:?}");
    }
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
    // The log of the server is as good as before.
    let now_ms = linked.app().now().steady_ms;
    let standing = linked.app().feed.standing("plant-7", now_ms);
    assert_eq!(standing.unwrap().unread, None);
    assert_eq!(lock(&linked.app().feed.hub).unread, None);
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
    let view = sites::find_view(linked.app(), &linked.local(), "plant-7").unwrap();
    assert_eq!(view.link.unwrap().unread, None, "it was cut, not damaged");
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
    assert_eq!(site.check(app), 0, "a step does, if it is not too much");
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
