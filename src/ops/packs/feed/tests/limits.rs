//! What one site can make the server do.

use super::reports::{blank, report};
use super::{Linked, NEVER_MS};
use crate::domain::audit::{Kind, Target};
use crate::domain::budget::Rate;
use crate::domain::keys::KeyId;
use crate::domain::locks::lock;
use crate::domain::packs::file;
use crate::domain::packs::head::Head;
use crate::domain::packs::question::Nonce;
use crate::domain::packs::step::TOUCHED_MAX;
use crate::domain::packs::word::{Word, WordKind, read_packs};
use crate::domain::policies::IssuedBy;
use crate::domain::uid::Uid;
use crate::error::Error;
use crate::ops::packs::feed::ask;
use crate::ops::packs::feed::model::{ModelSite, received, send};
use crate::ops::packs::feed::pace::Pace;
use crate::ops::policies::{self, PolicyEdit};
use crate::ops::workspaces::{self, WorkspaceEdit};
use crate::store::site_links::{self, LinkRow};
use crate::store::{Durability, heads, usage};
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
    site.question.lease_s = 1;
    let answer = send(linked.app(), &site.body(""));
    assert!(matches!(answer, Err(Error::Malformed(_))));
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
    let now_ms = linked.app().now().steady_ms;
    let may_make = |name: &str, after_ms| feed.may_make(name, false, now_ms + after_ms);
    let made = (0..10).filter(|_| may_make("plant-7", 0));
    assert_eq!(made.count(), 5);
    assert!(!may_make("plant-7", 59_999));
    assert!(may_make("plant-7", 60_000));
    assert!(!may_make("plant-7", 60_000));
    assert!(!may_make("strange", 60_000));
}

/// It cannot go on without them, and no other site has asked for them.
#[test]
fn a_site_that_needs_packs_because_of_what_happens_at_the_server_gets_them_within_its_lease() {
    let linked = Linked::new();
    linked.add("ship-2", &["root"], 2);
    let mut site = linked.site("ship-2");
    let feed = &linked.app().feed;
    feed.pack_ms.store(60_000, Relaxed);
    let now_ms = linked.app().now().steady_ms;
    for after_ms in [0, 500, 1_000] {
        lock(&feed.hub)
            .links
            .get_mut("ship-2")
            .unwrap()
            .outdated_until_ms = 0;
        let made = (0..10).filter(|_| feed.may_make("ship-2", true, now_ms + after_ms));
        assert_eq!(made.count(), 5);
        assert!(!feed.may_make("ship-2", true, now_ms + after_ms + 499));
        assert!(feed.may_make("ship-2", true, now_ms + after_ms + 500));
    }
    lock(&feed.hub)
        .links
        .get_mut("ship-2")
        .unwrap()
        .outdated_until_ms = 0;
    // Each of these changes needs a pack, and no step leads over it. What the site may ask for on its own is not used up by them.
    for round in 0..8 {
        let edit = PolicyEdit {
            acts_for_owner: Some(round % 2 == 0),
            issued_by: Some(IssuedBy::Owner),
            ..PolicyEdit::default()
        };
        match round {
            0 => policies::create(linked.app(), &linked.local(), "p".to_owned(), edit, None),
            _ => policies::edit(linked.app(), &linked.local(), "p", edit),
        }
        .unwrap();
        let mut refused = 0;
        loop {
            match received(&site.begin(linked.app())) {
                Ok(answer) => {
                    if site.apply(&answer) == WordKind::Step {
                        break;
                    }
                }
                Err(Error::Unavailable(why)) => {
                    refused += u64::from(why.code() == "packs.made_often");
                }
                Err(err) => panic!("{err:?}"),
            }
        }
        assert!(round > 4 || refused == 0, "{round}");
    }
    assert!(feed.may_make("ship-2", false, linked.app().now().steady_ms));
}

#[test]
fn what_is_moved_comes_in_steps_and_what_moves_elsewhere_not_at_all() {
    let linked = Linked::new();
    for (slug, parent) in [
        ("own", "root"),
        ("other", "root"),
        ("part", "own"),
        ("strange", "other"),
    ] {
        linked.workspace(slug, parent);
    }
    linked.add("ship-2", &["own"], 86_400);
    let key = linked.key_in("k", "part");
    let strange = linked.key_in("strange", "strange");
    let mut site = linked.site("ship-2");
    linked.app().feed.pack_ms.store(NEVER_MS, Relaxed);
    let move_to = |slug: &str, parent: &str| {
        let change = WorkspaceEdit {
            parent: Some(parent.to_owned()),
            ..WorkspaceEdit::default()
        };
        workspaces::edit(linked.app(), &linked.local(), slug, change).unwrap();
    };
    for _ in 0..4 {
        move_to("part", "other");
        assert_eq!(site.check(linked.app()), 0);
        assert!(!site.model.keys.contains_key(&key));
        move_to("part", "own");
        assert_eq!(site.check(linked.app()), 0);
        assert!(site.model.keys.contains_key(&key));
    }
    // What has ended before it left, before the site asks again, or what has ended with its workspace, is not left there.
    let [ended, with_it] = ["part", "short"].map(|slug| {
        if slug == "short" {
            linked.workspace(slug, "own");
        }
        linked.key_in("ended", slug)
    });
    assert_eq!(site.check(linked.app()), 0);
    linked.delete(ended);
    move_to("part", "other");
    move_to("short", "other");
    workspaces::delete::delete_with_contents(linked.app(), &linked.local(), "short").unwrap();
    assert_eq!(site.check(linked.app()), 0);
    for gone in [ended, with_it, key] {
        assert!(!site.model.keys.contains_key(&gone));
    }
    // Neither wakes the site, nor comes with what does.
    let waiting = site.begin(linked.app());
    for parent in ["root", "other"] {
        move_to("strange", parent);
    }
    linked.workspace("empty", "other");
    workspaces::delete::delete(linked.app(), &linked.local(), "empty").unwrap();
    let steps = linked.app().feed.figures.steps.load(Relaxed);
    let own = linked.key_in("own", "own");
    assert_eq!(site.take(&waiting), WordKind::Step);
    assert!(site.model.keys.contains_key(&own) && !site.model.keys.contains_key(&strange));
    assert_eq!(linked.app().feed.figures.steps.load(Relaxed), steps + 1);
    linked.workspace("shorter", "own");
    workspaces::delete::delete(linked.app(), &linked.local(), "shorter").unwrap();
    assert_eq!(site.check(linked.app()), 0);
}

/// Each step has what has happened since the one before, so a site gets many changes at once.
#[test]
fn changes_that_come_one_after_the_other_are_gathered() {
    let linked = Linked::new();
    let mut site = linked.site("plant-7");
    site.check(linked.app());
    let feed = &linked.app().feed;
    feed.gather_ms.store(1_000, Relaxed);
    let steps = feed.figures.steps.load(Relaxed);
    let mut waiting = site.begin(linked.app());
    linked.key("first");
    assert_eq!(site.take(&waiting), WordKind::Step);
    waiting = site.begin(linked.app());
    let keys: Vec<KeyId> = (0..5).map(|_| linked.key("k")).collect();
    assert_eq!(site.take(&waiting), WordKind::Step);
    // On a slow machine they take longer than that.
    while keys.iter().any(|key| !site.model.keys.contains_key(key)) {
        assert_eq!(site.follow(linked.app()), WordKind::Step);
    }
    assert!(feed.figures.steps.load(Relaxed) - steps < 6);
}

/// Only changes for which no request waits are gathered.
#[test]
fn a_change_that_waits_is_not_held_back() {
    let linked = Linked::new();
    let mut site = linked.site("plant-7");
    linked.key("first");
    site.catch_up(linked.app());
    let feed = &linked.app().feed;
    for pause in [&feed.gather_ms, &feed.wait_ms] {
        pause.store(NEVER_MS, Relaxed);
    }
    for _ in 0..3 {
        let waiting = site.begin(linked.app());
        let key = linked.key("k");
        let outcome = linked.wait();
        assert_eq!(site.take(&waiting), WordKind::Step);
        assert!(site.model.keys.contains_key(&key));
        assert!(outcome.try_recv().is_err());
    }
    // One that was made while the site asked hurries its next question.
    let key = linked.key("k");
    let _outcome = linked.wait();
    assert_eq!(site.follow(linked.app()), WordKind::Step);
    assert!(site.model.keys.contains_key(&key));
    // With its first questions a site does not wait either.
    feed.wait_ms.store(0, Relaxed);
    let mut other = ModelSite::new(linked.app(), "plant-7");
    assert_eq!(other.catch_up(linked.app()), 1);
}

/// A site that asks in a tight loop takes no more than its part of the server, and nothing from others.
#[test]
fn a_site_that_does_not_wait_for_answers_is_refused() {
    let linked = Linked::new();
    linked.add("ship-2", &["root"], 86_400);
    let (mut one, mut two) = (linked.site("plant-7"), linked.site("ship-2"));
    let read = |body: &str| ask::read(linked.app(), body, false);
    // The pack of the other site was an event about sites, so they are read again.
    for site in [&mut one, &mut two] {
        assert!(ask::read(linked.app(), &site.body(""), true).is_ok());
    }
    linked.app().feed.pace.set_rate(Rate {
        per_second: 0,
        burst: 5,
    });
    for _ in 0..5 {
        assert!(read(&one.body("")).unwrap().is_some());
    }
    let refused = read(&one.body(""));
    assert!(matches!(
        refused,
        Err(Error::TooMany { retry_after_s: 1.. })
    ));
    assert!(read(&two.body("")).unwrap().is_some());
    // A caller without the key of a site takes nothing from it.
    for _ in 0..10 {
        let strange = two.body("").replace("lease 86400", "lease 8640");
        assert!(matches!(read(&strange), Err(Error::Unauthenticated)));
    }
    assert!(read(&two.body("")).unwrap().is_some());
}

#[test]
fn a_site_that_begins_again_and_again_is_refused() {
    let linked = Linked::new();
    linked.app().feed.pace.set_rate(Rate {
        per_second: 0,
        burst: 5,
    });
    let begin = |may_wait| {
        let body = ModelSite::new(linked.app(), "plant-7").body("");
        ask::read(linked.app(), &body, may_wait)
    };
    for _ in 0..5 {
        // What is read once more, on a thread that may wait, counts once.
        assert!(begin(false).unwrap().is_none());
        assert!(begin(true).unwrap().is_some());
    }
    assert!(matches!(begin(true), Err(Error::TooMany { .. })));
}

#[test]
fn the_usual_limits_let_a_site_ask_that_waits_for_its_answers() {
    let pace = Pace::default();
    // 100 questions a second, as often as one is looked at; a first question every second.
    for now_ms in (0..20_000).step_by(10) {
        assert!(pace.question("plant-7", now_ms).is_ok(), "{now_ms}");
        if now_ms % 1_000 == 0 {
            assert!(pace.registration("plant-7", now_ms).is_ok(), "{now_ms}");
        }
    }
    let all = (0..10_000).filter(|_| pace.question("plant-7", 20_000).is_ok());
    assert!(all.count() <= 400);
    let all = (0..10_000).filter(|_| pace.registration("plant-7", 20_000).is_ok());
    assert!(all.count() <= 20);
}

#[test]
fn a_site_begins_few_new_lives() {
    let pace = Pace::default();
    let begin = |now_ms| pace.new_life("plant-7", now_ms);
    assert!((0..5).all(|_| begin(1_000).is_ok()));
    let refused = begin(1_000);
    let Err(Error::TooMany { retry_after_s }) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(retry_after_s, 60);
    assert!(begin(60_000).is_err() && begin(61_020).is_ok() && begin(61_020).is_err());
    assert!(pace.new_life("ship-2", 1_000).is_ok());
    // Through a question.
    let linked = Linked::new();
    linked.app().feed.pace.set_rate(Rate {
        per_second: 0,
        burst: 7,
    });
    let mut first = linked.site("plant-7");
    let text = report(&first, 1, Vec::new());
    send(linked.app(), &first.body(&text)).unwrap();
    let begin = |life: u128| {
        let mut site = ModelSite::new(linked.app(), "plant-7");
        site.question.life = Uid(life);
        ask::read(linked.app(), &site.body(""), true).map(|asked| asked.is_some())
    };
    let lives: Vec<bool> = (100..120).map(|life| begin(life).is_ok()).collect();
    let taken = lives.iter().filter(|taken| **taken).count();
    assert!((1..7).contains(&taken), "{lives:?}");
    assert!(!lives[19]);
}

/// Otherwise a site that confirms no pack would get it again and again.
#[test]
fn a_pack_is_not_sent_again_while_it_may_be_on_its_way() {
    let linked = Linked::new();
    let app = linked.app();
    app.feed.resend_ms.store(NEVER_MS, Relaxed);
    let mut site = ModelSite::new(app, "plant-7");
    assert!(received(&site.begin(app)).is_ok());
    for _ in 0..3 {
        let Err(Error::Unavailable(why)) = received(&site.begin(app)) else {
            panic!("it was sent again");
        };
        assert_eq!(why.code(), "packs.being_made");
    }
    app.feed.resend_ms.store(0, Relaxed);
    assert_eq!(site.catch_up(app), 1);
}

/// A large pack over a bad line is sent until it has arrived. Only one that has arrived and was of no use is replaced.
#[test]
fn a_pack_that_is_lost_on_its_way_is_sent_again_and_not_made_again() {
    let linked = Linked::new();
    let app = linked.app();
    let mut site = ModelSite::new(app, "plant-7");
    let number_of = |answer: &[u8]| {
        let (signed, body) = Word::open(answer, &site.trusted).unwrap();
        assert_eq!(signed.word.kind, WordKind::Pack);
        let files = read_packs(body).unwrap();
        let newest = file::split(files[files.len() - 1]).unwrap();
        (Head::peek(newest.head).unwrap().1.pack, signed.word.nonce)
    };
    let mut asked = ModelSite::new(app, "plant-7");
    let mut ask = |arrived: Nonce| {
        asked.question.arrived = arrived;
        number_of(&received(&asked.begin(app)).unwrap())
    };
    let (first, _) = ask(Nonce::default());
    let packs = &app.feed.figures.packs;
    for _ in 0..4 {
        assert_eq!(ask(Nonce::default()).0, first);
    }
    assert_eq!(packs.load(Relaxed), 0);
    let mut nonce = ask(Nonce::default()).1;
    let (number, next) = ask(nonce);
    assert_eq!(number, first);
    nonce = next;
    assert!(
        ask(nonce).0 > first,
        "it has arrived twice and was of no use"
    );
    assert_eq!(site.catch_up(app), 1);
    assert_eq!(packs.load(Relaxed), 1);
}

/// What commits have touched does not pile up if it is not looked at.
#[test]
fn what_was_touched_has_an_end() {
    let mut linked = Linked::new();
    linked.stop();
    let app = linked.app();
    let target = Target::new(Kind::Key, KeyId(5));
    for _ in 0..=TOUCHED_MAX {
        let end = app.read(heads::newest).unwrap();
        let targets = std::slice::from_ref(&target);
        let touched = app.feed.look(&app.index, end, targets);
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
