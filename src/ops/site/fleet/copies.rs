//! Older copies of a site's database that are put back: nothing that was spent or has ended comes back with them.

use super::{Machine, bytes_of, new_site};
use crate::domain::clock::Uptime;
use crate::domain::keys::rotation::Grace;
use crate::domain::keys::verdict::{Code, Question};
use crate::domain::time::Timestamp;
use crate::ops::clock::Sources;
use crate::ops::keys::issue::{NewKey, issue};
use crate::ops::keys::members::KeyMembers;
use crate::ops::keys::rotate::rotate;
use crate::ops::setup::fixture::NOW;
use crate::ops::site::reset::accept_fork;
use crate::ops::site::{fresh::Age, view};
use crate::ops::verify;
use std::fs;
use std::sync::atomic::{AtomicI64, Ordering::SeqCst};

static WALL: AtomicI64 = AtomicI64::new(NOW.0);

const SOURCES: Sources = Sources {
    wall: || Timestamp(WALL.load(SeqCst)),
    uptime: || Uptime { boot: None, ms: 0 },
};

/// The code of a question that spends one use.
fn use_once(site: &Machine, secret: &str) -> Option<Code> {
    let question = Question {
        cost: 1,
        ..Question::default()
    };
    let told = |verdict: &verify::Verdict<'_>| verdict.code;
    verify::verify_blocking(&site.app, secret, &question, None, told).ok()
}

#[test]
fn an_older_database_whose_packs_are_gone_gives_back_no_use_and_no_secret() {
    let server = Machine::server(SOURCES);
    let local = server.local();
    let members = KeyMembers {
        uses_left: Some(Some(100)),
        ..KeyMembers::named("counted")
    };
    let new = NewKey {
        members,
        ..NewKey::default()
    };
    let issued = issue(&server.app, &local, new, None).unwrap();
    let counted = issued.secret.unwrap().expose().to_owned();
    let new = NewKey {
        members: KeyMembers::named("rotated"),
        ..NewKey::default()
    };
    let issued = issue(&server.app, &local, new, None).unwrap();
    let old = issued.secret.unwrap().expose().to_owned();
    let grace = Grace::UntilFirstUse(86_400);
    let issued = rotate(&server.app, &local, issued.view.key.id, grace).unwrap();
    let newer = issued.secret.unwrap().expose().to_owned();

    let mut site = Machine::site(&server.enrol(new_site("plant-7", &["root"])), SOURCES);
    let bring = |site: &Machine| {
        // Heads have whole seconds.
        WALL.fetch_add(1_000, SeqCst);
        site.apply(&bytes_of(&server.make(None, true).unwrap()[0]))
            .unwrap()
    };
    bring(&site);
    let copy = site.copy();
    bring(&site);
    for _ in 0..10 {
        assert_eq!(use_once(&site, &counted), Some(Code::Valid));
    }
    assert_eq!(use_once(&site, &counted), Some(Code::UsageExceeded));
    assert_eq!(use_once(&site, &old), Some(Code::Valid));
    assert_eq!(use_once(&site, &newer), Some(Code::Valid));
    assert_eq!(use_once(&site, &old), Some(Code::NotFound));

    // The process is killed, an older database is put back, and the packs are lost.
    let killed = site.copy();
    fs::remove_dir_all(killed.join("packs")).unwrap();
    super::replace_database(&killed, &copy);
    site.go_on_with(killed);
    assert_eq!(view(&site.app).unwrap().age, Age::None);
    for _ in 0..2 {
        bring(&site);
        assert_eq!(use_once(&site, &counted), Some(Code::UsageExceeded));
        assert_eq!(use_once(&site, &old), Some(Code::NotFound));
        assert_eq!(use_once(&site, &newer), Some(Code::Valid));
        site.reopen();
    }
    fs::remove_dir_all(copy).unwrap();
}

/// A clock without a battery, an older database, and an operator who accepts a restored server: an earlier pack of it is
/// nevertheless not taken.
#[test]
fn an_older_database_takes_no_pack_of_before_the_newest_in_its_folder() {
    let server = Machine::server(SOURCES);
    let mut site = Machine::site(&server.enrol(new_site("plant-7", &["root"])), SOURCES);
    let make = || {
        WALL.fetch_add(1_000, SeqCst);
        bytes_of(&server.make(None, true).unwrap()[0])
    };
    site.apply(&make()).unwrap();
    let copy = site.copy();
    let begin = |tx: &crate::store::Write<'_>| crate::store::packs::begin_reign(tx, NOW);
    server
        .app
        .store
        .write(crate::store::Durability::Full, begin)
        .unwrap();
    let earlier = make();
    let newest = make();
    assert!(site.apply(&newest).is_err());
    accept_fork(&site.app, &site.local()).unwrap();
    site.apply(&newest).unwrap();
    site.put_database_back(&copy);
    // The first time, the site notes the fork; then its operator accepts it.
    assert!(site.apply(&earlier).is_err());
    accept_fork(&site.app, &site.local()).unwrap();
    assert!(site.apply(&earlier).is_err());
    assert_eq!(view(&site.app).unwrap().age, Age::None);
    site.apply(&make()).unwrap();
    fs::remove_dir_all(copy).unwrap();
}
