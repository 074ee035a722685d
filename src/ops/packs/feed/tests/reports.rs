//! What sites report with their questions, and what is known about them.

use super::Linked;
use crate::domain::keys::KeyId;
use crate::domain::keys::pepper::Peppers;
use crate::domain::keys::rotation::Grace;
use crate::domain::locks::lock;
use crate::domain::packs::question::Nonce;
use crate::domain::packs::report::{KeyReport, Report};
use crate::domain::packs::word::WordKind;
use crate::domain::uid::Uid;
use crate::ops::keys::issue::NewKey;
use crate::ops::keys::members::KeyMembers;
use crate::ops::keys::{edit, rotate, upgrade};
use crate::ops::packs::feed::ask::record_all;
use crate::ops::packs::feed::model::{ModelSite, send};
use crate::ops::packs::make::{Wanted, make};
use crate::ops::packs::sites::{self, SiteEdit};
use crate::ops::setup::fixture::NOW;
use crate::store;
use crate::store::seals::keys::RemainingUses;
use std::sync::atomic::Ordering::Relaxed;

pub fn report(site: &ModelSite, number: u64, keys: Vec<KeyReport>) -> String {
    let question = &site.question;
    let report = Report {
        origin: question.origin.clone(),
        site: question.site.clone(),
        server: question.server,
        life: question.life,
        number,
        at: NOW,
        pack: question.pack,
        reign: question.reign,
        events: question.events.number,
        codes: Vec::new(),
        keys,
    };
    report.write(&site.key)
}

/// A key with so many uses.
fn counted(linked: &Linked, uses: u64) -> KeyId {
    let members = KeyMembers {
        uses_left: Some(Some(uses)),
        ..KeyMembers::named("counted")
    };
    linked.issue(NewKey {
        members,
        ..NewKey::default()
    })
}

pub fn blank(id: KeyId) -> KeyReport {
    KeyReport {
        id,
        uses: 0,
        refusals: 0,
        spent: 0,
        last_used_at: None,
        ended_at: None,
        older_ended: None,
    }
}

fn with_report(site: &mut ModelSite, linked: &Linked, number: u64, key: KeyReport) {
    let report = report(site, number, vec![key]);
    let body = site.body(&report);
    let answer = send(linked.app(), &body).unwrap();
    // It does not wait, so that the site learns that its report has arrived.
    assert_eq!(site.take(&answer), WordKind::Step);
    assert_eq!(site.word.as_ref().unwrap().report, number);
}

#[test]
fn a_report_in_a_question_is_taken_in_once_and_only_the_first_has_an_event() {
    let linked = Linked::new();
    let key = linked.key("k");
    let mut site = linked.site("plant-7");
    let events = linked.fixture.last_event();
    let used = KeyReport {
        uses: 7,
        last_used_at: Some(NOW),
        ..blank(key)
    };
    // From the first on, uses are lent to this life of the site.
    with_report(&mut site, &linked, 1, used);
    assert_eq!(linked.fixture.last_event(), events + 1);
    with_report(&mut site, &linked, 2, used);
    let uses = linked
        .app()
        .read(|read| store::usage::find_usage(read, key));
    assert_eq!(uses.unwrap().use_count, 7);
    assert_eq!(linked.fixture.last_event(), events + 1);
    // That a site proposes to end a key is worth one.
    let ended = KeyReport {
        ended_at: Some(NOW),
        ..used
    };
    for number in [3, 4] {
        with_report(&mut site, &linked, number, ended);
    }
    assert_eq!(linked.fixture.last_event(), events + 2);
    let shown = sites::show(linked.app(), &linked.local(), "plant-7").unwrap();
    assert_eq!(shown.ended_there.len(), 1);
    // A report of another site is refused, and nothing changes.
    linked.add("ship-2", &["root"], 10);
    let mut other = ModelSite::new(linked.app(), "ship-2");
    let strange = report(&site, 9, Vec::new());
    let body = other.body(&strange);
    assert!(send(linked.app(), &body).is_err());
}

#[test]
fn the_first_use_of_a_rotated_secret_at_a_site_ends_the_older_one() {
    let linked = Linked::new();
    let key = linked.key("k");
    let (app, local) = (linked.app(), linked.local());
    let mut site = linked.site("plant-7");
    let digest = || app.index.with_key(key, |key| key.secret.digest.0).unwrap();
    let before = digest();
    rotate::rotate(app, &local, key, Grace::UntilFirstUse(3_600)).unwrap();
    site.catch_up(app);
    let has_older = || {
        let secrets = app.read(|read| store::keys::list_secrets(read, key));
        secrets.unwrap().len() == 2
    };
    let ended = |start: &[u8]| KeyReport {
        older_ended: Some(start[..8].try_into().unwrap()),
        ..blank(key)
    };
    with_report(&mut site, &linked, 1, ended(&digest()));
    assert!(has_older(), "another secret than the newest was meant");
    with_report(&mut site, &linked, 2, ended(&before));
    assert!(!has_older());
    assert_eq!(site.check(app), 0);
    let end = linked.fixture.last_event();
    with_report(&mut site, &linked, 3, ended(&before));
    assert_eq!(linked.fixture.last_event(), end);
}

#[test]
fn an_older_secret_that_waits_for_a_first_use_is_the_same_one_when_a_report_ends_it() {
    let linked = Linked::new();
    let (rotated, other) = (linked.key("k"), linked.key("l"));
    let (app, local) = (linked.app(), linked.local());
    let mut site = linked.site("plant-7");
    let secret = |key| app.index.with_key(key, |key| key.secret).unwrap();
    let (older, used) = (secret(rotated), secret(other));
    rotate::rotate(app, &local, rotated, Grace::UntilFirstUse(3_600)).unwrap();
    site.catch_up(app);
    // The site ends the older secret now. Before its report arrives, the same secret is used here, after a rotation of the pepper.
    let newer = Peppers::parse(&format!("2 {}\n", "ab".repeat(32))).unwrap();
    for (key, secret) in [(rotated, older), (other, used)] {
        app.upgrades.note_use(&newer, key, &secret, "text");
    }
    upgrade::write_all(app);
    assert_eq!(app.upgrades.waiting(), 0);
    assert_eq!(secret(other).pepper, 2, "other digests are replaced");
    let ended = KeyReport {
        older_ended: older.digest.0.first_chunk().copied(),
        ..blank(rotated)
    };
    with_report(&mut site, &linked, 1, ended);
    let secrets = app.read(|read| store::keys::list_secrets(read, rotated));
    assert_eq!(secrets.unwrap().len(), 1);
}

fn lent(site: &ModelSite, linked: &Linked, key: KeyId) -> u64 {
    let name = site.question.site.clone();
    let found = linked
        .app()
        .read(|read| store::sites::find_lent(read, &linked.app().seal_keys, &name, key));
    found.unwrap().lent()
}

#[test]
fn a_linked_site_is_lent_what_it_has_spent() {
    let linked = Linked::new();
    let mut site = linked.site("plant-7");
    let key = counted(&linked, 25);
    // The key itself comes with its event, and the uses with the word after it.
    while lent(&site, &linked, key) == 0 {
        site.catch_up(linked.app());
    }
    assert_eq!(lent(&site, &linked, key), 10);
    let spent = KeyReport {
        spent: 4,
        ..blank(key)
    };
    with_report(&mut site, &linked, 1, spent);
    assert_eq!(lent(&site, &linked, key), 14);
    let pending = |linked: &Linked| {
        let hub = lock(&linked.app().feed.hub);
        hub.links["plant-7"].pending.len()
    };
    // A word that is lost is sent again: what was lent is pending until a question confirms it.
    assert_eq!(pending(&linked), 1);
    let applied = std::mem::take(&mut site.question.applied);
    linked.app().feed.poll_ms.store(1, Relaxed);
    assert_eq!(site.follow(linked.app()), WordKind::Step);
    assert_eq!(pending(&linked), 1);
    assert_ne!(applied, Nonce::default());
    assert_eq!(site.follow(linked.app()), WordKind::Step);
    assert_eq!(pending(&linked), 0);
    // Never more than the key has.
    for (number, spent) in [(2, 14), (3, 25)] {
        let more = KeyReport {
            spent,
            ..blank(key)
        };
        with_report(&mut site, &linked, number, more);
    }
    assert_eq!(lent(&site, &linked, key), 25);
}

#[test]
fn a_site_that_is_enrolled_again_is_lent_uses_with_its_first_pack() {
    let linked = Linked::new();
    let app = linked.app();
    let mut before = linked.site("plant-7");
    let key = counted(&linked, 25);
    let spent = KeyReport {
        spent: 3,
        ..blank(key)
    };
    while lent(&before, &linked, key) == 0 {
        before.catch_up(app);
    }
    with_report(&mut before, &linked, 1, spent);
    assert_eq!(lent(&before, &linked, key), 13);
    let life = || {
        let site = app.read(|read| store::sites::find(read, "plant-7"));
        site.unwrap().unwrap().lent_life
    };
    assert_eq!(life(), Some(before.question.life));
    let mut after = ModelSite::new(app, "plant-7");
    after.question.life = Uid(before.question.life.0 + 1);
    after.catch_up(app);
    assert_eq!(life(), Some(after.question.life));
    assert_eq!(after.lent_to, Some(after.question.life));
    // The uses come with the pack, or with a word after it.
    while lent(&after, &linked, key) == 0 {
        after.catch_up(app);
    }
    // What the life before was lent stays spent: 12 are left of 25, and 10 of these are lent.
    assert_eq!(lent(&after, &linked, key), 10);
    let mut again = ModelSite::new(app, "plant-7");
    again.question.life = after.question.life;
    again.catch_up(app);
    assert_eq!(lent(&again, &linked, key), 10);
    assert_eq!(again.lent_to, Some(after.question.life));
    assert_eq!((after.lent[&key], again.lent[&key]), (10, 10));
    // A site that has a pack changes nothing, also if it names another life.
    before.question.life = Uid(7);
    before.catch_up(app);
    assert_eq!(life(), Some(after.question.life));
}

/// Its enrolment was used before, by a state that may have spent what was lent to it.
#[test]
fn a_site_of_a_used_enrolment_is_lent_uses_from_its_first_question() {
    let linked = Linked::new();
    let app = linked.app();
    let key = counted(&linked, 25);
    let wanted = Wanted::default();
    make(app, &linked.local(), wanted).unwrap();
    let mut site = ModelSite::new(app, "plant-7");
    assert_eq!(lent(&site, &linked, key), 10);
    site.question.life = Uid(77);
    site.catch_up(app);
    assert_eq!(site.lent_to, Some(Uid(77)));
    while site.lent.get(&key) != Some(&10) {
        site.catch_up(app);
    }
    let left = app.read(|read| store::seals::keys::find_uses(read, &app.seal_keys, key));
    let RemainingUses::Counted(left) = left.unwrap() else {
        panic!("it is not counted");
    };
    assert_eq!(left.left, 5);
}

#[test]
fn a_report_of_another_life_brings_a_pack_that_names_it() {
    let linked = Linked::new();
    let app = linked.app();
    let key = counted(&linked, 25);
    let mut site = linked.site("plant-7");
    site.question.life = Uid(77);
    let text = report(&site, 1, vec![blank(key)]);
    let body = site.body(&text);
    let answer = send(app, &body).unwrap();
    assert_eq!(site.take(&answer), WordKind::Pack);
    assert_eq!((site.catch_up(app), site.lent_to), (0, Some(Uid(77))));
    // An administrator may name the life again, for a site that has no such pack.
    let edit = SiteEdit {
        life: Some(Uid(77)),
        ..SiteEdit::default()
    };
    sites::edit(app, &linked.local(), "plant-7", edit).unwrap();
    assert_eq!((site.catch_up(app), site.lent_to), (1, Some(Uid(77))));
}

/// Otherwise each of them would spend what one of them was lent.
#[test]
fn two_lives_of_one_site_are_not_lent_the_same_uses() {
    let linked = Linked::new();
    let app = linked.app();
    let mut before = linked.site("plant-7");
    let key = counted(&linked, 25);
    before.catch_up(app);
    with_report(&mut before, &linked, 1, blank(key));
    while before.lent.get(&key) != Some(&10) {
        before.catch_up(app);
    }
    let mut after = ModelSite::new(app, "plant-7");
    after.question.life = Uid(before.question.life.0 + 1);
    while after.lent.get(&key) != Some(&10) {
        after.catch_up(app);
    }
    // It learns that uses are lent to the other one.
    assert_eq!(before.catch_up(app), 1);
    assert_eq!(before.lent_to, Some(after.question.life));
    let renamed = KeyMembers::named("renamed");
    edit::edit(app, &linked.local(), key, renamed).unwrap();
    for site in [&mut before, &mut after] {
        assert_eq!(site.catch_up(app), 0);
    }
    assert_eq!((before.lent[&key], after.lent[&key]), (0, 10));
}

/// Both lives are first ones, because each machine was made of a copy of the file that was not marked as used.
#[test]
fn the_first_question_names_the_life_and_a_second_machine_is_lent_nothing_of_it() {
    let linked = Linked::new();
    let app = linked.app();
    let key = counted(&linked, 25);
    let events = || {
        let of_life = "SELECT count(*) AS count FROM audit_events WHERE action = 'site.edit'";
        let found = app.read(|read| read.query_one(of_life, &[], |row| row.get::<u64>("count")));
        found.unwrap().unwrap()
    };
    let life = || {
        let site = app.read(|read| store::sites::find(read, "plant-7"));
        site.unwrap().unwrap().lent_life
    };
    let mut one = ModelSite::new(app, "plant-7");
    let mut other = ModelSite::new(app, "plant-7");
    other.question.life = one.key.tagged_life([6; 8]);
    assert_eq!((life(), events()), (None, 0));
    let waiting = one.begin(app);
    assert_eq!((life(), events()), (Some(one.question.life), 1));
    one.take(&waiting);
    while one.lent.get(&key) != Some(&10) {
        one.catch_up(app);
    }
    assert_eq!(one.lent_to, Some(one.question.life));
    // It has no pack, so it is the state that goes on. What the first one was lent is spent.
    while other.lent.get(&key) != Some(&10) {
        other.catch_up(app);
    }
    assert_eq!(
        (life(), other.lent_to),
        (Some(other.question.life), Some(other.question.life))
    );
    one.catch_up(app);
    assert_ne!(one.lent_to, Some(one.question.life));
    let left = app.read(|read| store::seals::keys::find_uses(read, &app.seal_keys, key));
    assert!(matches!(left.unwrap(), RemainingUses::Counted(counted) if counted.left == 5));
}

#[test]
fn what_a_site_has_applied_is_known_at_once_and_after_a_start() {
    let mut linked = Linked::new();
    let key = linked.key("k");
    let mut site = linked.site("plant-7");
    let view = |linked: &Linked| {
        let mut all = sites::list(linked.app(), &linked.local()).unwrap();
        all.remove(0)
    };
    let _answer = site.begin(linked.app());
    let link = view(&linked).link.unwrap();
    assert_eq!((link.is_linked, link.lag), (true, 0));
    // Keys are counted only for who sees the number.
    assert_eq!(view(&linked).given_keys, None);
    let counted = sites::list_with_keys(linked.app(), &linked.local()).unwrap();
    let shown = sites::show(linked.app(), &linked.local(), "plant-7").unwrap();
    assert!(shown.keys > 0);
    assert_eq!(counted[0].given_keys, Some(shown.keys));
    assert_eq!(shown.view.given_keys, Some(shown.keys));
    assert_eq!(view(&linked).unconfirmed.count(), Some(0));
    linked.delete(key);
    assert_eq!(view(&linked).unconfirmed.count(), Some(1));
    assert_eq!(view(&linked).link.unwrap().lag, 1);
    site.catch_up(linked.app());
    let _answer = site.begin(linked.app());
    assert_eq!(view(&linked).unconfirmed.count(), Some(0));
    record_all(linked.app()).unwrap();
    linked.restart();
    let link = view(&linked).link.unwrap();
    assert_eq!((link.is_linked, link.lag), (false, 0));
    assert_eq!(view(&linked).unconfirmed.count(), Some(0));
}
