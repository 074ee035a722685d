//! Tests of what a pack lends and of what reports bring back, on a server without sockets.

use super::make::{self, Made, Wanted};
use super::sites::{self, NewSite};
use super::{collect, find};
use crate::domain::keys::KeyId;
use crate::domain::packs::content::Content;
use crate::domain::packs::file;
use crate::domain::packs::report::{KeyReport, Report};
use crate::domain::packs::site_key::SiteKey;
use crate::domain::time::Timestamp;
use crate::domain::uid::Uid;
use crate::ops::App;
use crate::ops::keys::issue::{NewKey, issue};
use crate::ops::keys::members::KeyMembers;
use crate::ops::setup::fixture::{Fixture, NOW};
use crate::store::{packs, sites as rows, usage};

const PASSPHRASE: &str = "nine anchors in the meadow";

pub fn with_site(lend: u64) -> Fixture {
    let fixture = Fixture::new();
    add(&fixture, "plant-7", lend);
    fixture
}

/// A site that is given workspaces.
pub fn new_site(name: &str, workspaces: &[&str]) -> NewSite {
    NewSite {
        name: name.to_owned(),
        workspaces: workspaces.iter().map(|slug| (*slug).to_owned()).collect(),
        catalogs: Vec::new(),
        minimal: false,
        until_s: None,
        lend: Some(10),
        max_stale_s: None,
        server: "server.example".to_owned(),
        passphrase: PASSPHRASE.to_owned(),
    }
}

pub fn add(fixture: &Fixture, name: &str, lend: u64) {
    let new = NewSite {
        lend: Some(lend),
        ..new_site(name, &["root"])
    };
    sites::add(&fixture.app, &fixture.local(), new, None).unwrap();
}

pub fn counted_key(fixture: &Fixture, uses: u64) -> KeyId {
    let members = KeyMembers {
        name: Some("counted".to_owned()),
        uses_left: Some(Some(uses)),
        ..KeyMembers::default()
    };
    let new = NewKey {
        members,
        ..NewKey::default()
    };
    let issued = issue(&fixture.app, &fixture.local(), new, None).unwrap();
    issued.view.key.id
}

pub fn make(fixture: &Fixture, site: &str) -> Made {
    let wanted = Wanted {
        sites: Some(vec![site.to_owned()]),
        whole: true,
    };
    let mut made = make::make(&fixture.app, &fixture.local(), wanted).unwrap();
    made.remove(0)
}

/// The uses that a pack lends of a key.
pub fn lent_in(made: &Made, id: KeyId) -> Option<u64> {
    let bytes = std::fs::read(&made.path).unwrap();
    let parts = file::split(&bytes).unwrap();
    let (_, head) = crate::domain::packs::head::Head::peek(parts.head).unwrap();
    let content = Content::of(file::body_of(&head, parts.body).unwrap()).unwrap();
    let mut keys = content.keys();
    keys.find(|key| key.id == id).unwrap().lent
}

pub fn uses_left(app: &App, id: KeyId) -> u64 {
    let counters = app.index.counters(id).unwrap();
    let uses = counters.lock().unwrap().uses.unwrap();
    uses.reserved + uses.stored
}

pub fn site_key(app: &App, name: &str) -> SiteKey {
    let site = app.read(|read| find(read, name)).unwrap();
    sites::site_key(app, &site).unwrap()
}

pub fn report(app: &App, number: u64, keys: Vec<KeyReport>) -> Report {
    let server = app.read(packs::find_server).unwrap().unwrap();
    Report {
        origin: server.name,
        site: "plant-7".to_owned(),
        server: server.uid,
        life: site_key(app, "plant-7").tagged_life([7; 8]),
        number,
        at: Timestamp(NOW.0 + i64::try_from(number).unwrap() * 1_000),
        pack: number,
        reign: 1,
        events: 1,
        codes: Vec::new(),
        keys,
    }
}

pub fn key_report(id: KeyId, uses: u64, spent: u64) -> KeyReport {
    KeyReport {
        id,
        uses,
        refusals: 0,
        spent,
        last_used_at: Some(NOW),
        ended_at: None,
        older_ended: None,
    }
}

#[test]
fn uses_are_taken_off_before_they_are_lent_and_never_twice() {
    let fixture = with_site(100);
    add(&fixture, "plant-8", 100);
    let id = counted_key(&fixture, 250);
    let app = &fixture.app;
    assert_eq!(lent_in(&make(&fixture, "plant-7"), id), Some(100));
    assert_eq!(uses_left(app, id), 150);
    // The site has them still, so it gets no more.
    assert_eq!(lent_in(&make(&fixture, "plant-7"), id), Some(100));
    assert_eq!(uses_left(app, id), 150);
    assert_eq!(lent_in(&make(&fixture, "plant-8"), id), Some(100));
    assert_eq!(uses_left(app, id), 50);
    // It has spent eighty; fifty are left.
    let key = site_key(app, "plant-7");
    let text = report(app, 1, vec![key_report(id, 80, 80)]).write(&key);
    assert!(
        collect::collect(app, &fixture.local(), &text)
            .unwrap()
            .is_new
    );
    assert_eq!(lent_in(&make(&fixture, "plant-7"), id), Some(150));
    assert_eq!(uses_left(app, id), 0);
    assert_eq!(lent_in(&make(&fixture, "plant-7"), id), Some(150));
    // The numbers survive a restart.
    let mut fixture = fixture;
    fixture.reopen(&[]);
    assert_eq!(uses_left(&fixture.app, id), 0);
    assert_eq!(lent_in(&make(&fixture, "plant-7"), id), Some(150));
}

#[test]
fn a_report_twice_is_once_and_an_older_one_is_nothing() {
    let fixture = with_site(100);
    let (app, local) = (&fixture.app, fixture.local());
    let id = counted_key(&fixture, 1_000);
    make(&fixture, "plant-7");
    let key = site_key(app, "plant-7");
    let collect = |report: &Report| {
        collect::collect(app, &local, &report.write(&key))
            .unwrap()
            .is_new
    };
    let used = || {
        let usage = app.read(|read| usage::find_usage(read, id)).unwrap();
        (usage.use_count, usage.last_used_at)
    };
    let spent = || {
        let row = app.read(|read| rows::find_lent(read, &app.seal_keys, "plant-7", id));
        match row.unwrap() {
            rows::LentRow::Sound(lent) => lent.spent,
            rows::LentRow::Altered => panic!("the row was changed"),
        }
    };
    let (first, second) = (
        report(app, 1, vec![key_report(id, 5, 5)]),
        report(
            app,
            2,
            vec![key_report(id, 9, 9), key_report(KeyId(id.0 + 1), 1, 1)],
        ),
    );
    assert!(collect(&first));
    assert_eq!((used(), spent()), ((5, Some(NOW)), 5));
    assert!(!collect(&first));
    assert!(collect(&second));
    assert!(!collect(&second) && !collect(&first));
    assert_eq!((used(), spent()), ((9, Some(NOW)), 9));
    // A site whose state has begun again counts from zero, and has nothing of what was lent before.
    let anew = Report {
        life: Uid(8),
        at: Timestamp(NOW.0 + 5_000),
        ..report(app, 1, vec![key_report(id, 2, 2)])
    };
    assert!(collect(&anew) && !collect(&anew) && !collect(&second));
    assert_eq!((used().0, spent()), (11, 0));
    // More than was lent is not believed.
    assert_eq!(lent_in(&make(&fixture, "plant-7"), id), Some(100));
    let more = Report {
        number: 2,
        keys: vec![key_report(id, 3, 7_000)],
        ..anew
    };
    assert!(collect(&more));
    assert_eq!(spent(), 100);
}

#[test]
fn a_report_of_another_site_or_of_another_server_is_refused() {
    let fixture = with_site(0);
    add(&fixture, "plant-8", 0);
    let (app, local) = (&fixture.app, fixture.local());
    let (own, other) = (site_key(app, "plant-7"), site_key(app, "plant-8"));
    let report = report(app, 1, Vec::new());
    let refused = |text: &str| collect::collect(app, &local, text).is_err();
    assert!(refused(&report.write(&other)));
    let stranger = Report {
        server: Uid(1),
        ..report.clone()
    };
    assert!(refused(&stranger.write(&own)));
    let nowhere = Report {
        site: "nowhere".to_owned(),
        ..report.clone()
    };
    assert!(refused(&nowhere.write(&own)));
    assert!(!refused(&report.write(&own)));
}

#[test]
fn a_key_that_ended_since_the_report_is_unconfirmed() {
    let fixture = with_site(0);
    let (app, local) = (&fixture.app, fixture.local());
    let ids = [1, 2].map(|_| counted_key(&fixture, 1));
    make(&fixture, "plant-7");
    let unconfirmed = || {
        let all = sites::list(app, &local).unwrap();
        all[0].unconfirmed.count()
    };
    assert_eq!(unconfirmed(), None);
    let key = site_key(app, "plant-7");
    let now = |number| Report {
        events: fixture.last_event().unsigned_abs(),
        ..report(app, number, vec![])
    };
    collect::collect(app, &local, &now(1).write(&key)).unwrap();
    assert_eq!(unconfirmed(), Some(0));
    crate::ops::keys::delete(app, &local, ids[0], None).unwrap();
    assert_eq!(unconfirmed(), Some(1));
    collect::collect(app, &local, &now(2).write(&key)).unwrap();
    assert_eq!(unconfirmed(), Some(0));
}
