//! Tests of what a site remembers besides its pack: whether its server continues, which date counts, to which life uses are
//! lent, and what has ended here.

use super::fixture::{NOW, Packer, Plant, signing_key};
use super::*;
use crate::domain::packs::body::Body;
use crate::domain::packs::revocations::{EndedSecret, Revocations, start_of};
use crate::domain::uid::Uid;
use crate::ops::clock::Sources;
use crate::ops::setup;
use crate::store::Write;

/// An older copy of a server, which goes on from there: its events have other hashes.
fn older_copy(of: &Packer) -> Packer {
    let mut copy = Packer::new();
    copy.head = of.head.clone();
    copy.head.events_hash = [9; 32];
    copy.head.events += 1_000;
    copy.points = of.points.clone();
    copy.base = of.base.clone();
    copy
}

#[test]
fn an_older_copy_of_the_server_is_noticed_also_if_its_numbers_overtake() {
    let mut packer = Packer::new();
    let mut plant = Plant::new(&packer);
    let (one, two) = (packer.issue(1), packer.issue(2));
    plant.apply(&packer.make(true)).unwrap();
    let mut copy = older_copy(&packer);
    for id in [1, 2] {
        copy.keys.insert(id, packer.copy_of(id));
    }
    packer.keys.get_mut(&1).unwrap().enabled = false;
    plant.apply(&packer.make(false)).unwrap();
    assert_eq!(plant.verdict(&one), "DISABLED");

    // The copy signs the same number again, and then greater ones.
    let same = copy.make(false);
    copy.make(false);
    let overtakes = copy.make(true);
    assert_eq!(plant.refused(&overtakes), "site.fork");
    assert_eq!(plant.refused(&same), "site.fork");
    assert_eq!(plant.verdict(&one), "DISABLED");
    plant.restart();
    assert_eq!(plant.refused(&overtakes), "site.fork");
    // The server itself goes on.
    let next = packer.make(false);
    reset::accept_fork(&plant.app, &plant.local()).unwrap();
    plant.apply(&overtakes).unwrap();
    assert_eq!(
        (plant.verdict(&one), plant.verdict(&two)),
        ("DISABLED".into(), "VALID".into())
    );
    assert_eq!(plant.refused(&next), "site.older");
}

#[test]
fn lost_packs_are_no_fork() {
    let mut packer = Packer::new();
    let plant = Plant::new(&packer);
    packer.issue(1);
    plant.apply(&packer.make(true)).unwrap();
    for _ in 0..50 {
        packer.make(false);
    }
    plant.apply(&packer.make(false)).unwrap();
    let whole = packer.make(true);
    for _ in 0..5 {
        packer.make(false);
    }
    let newest = packer.make(false);
    plant.apply(&[&whole[..], &newest[..]].concat()).unwrap();
}

#[test]
fn a_site_whose_pack_names_no_past_takes_one_that_begins_to() {
    let mut packer = Packer::new();
    let plant = Plant::new(&packer);
    packer.issue(1);
    let content = packer.body(None);
    packer.base = Some((1, content.clone()));
    (packer.head.pack, packer.head.events, packer.head.past) = (1, 101, None);
    plant.apply(&packer.signed(&content)).unwrap();
    // Pack 2 is lost; the server names the packs since then.
    packer.make(false);
    let third = packer.make(false);
    plant.apply(&third).unwrap();
    packer.head.past = None;
    packer.head.pack += 1;
    packer.head.events += 1;
    packer.head.base = 1;
    let base = Body::read(content).unwrap();
    let same = base.difference(&Body::read(packer.body(Some(&base))).unwrap());
    assert_eq!(plant.refused(&packer.signed(&same)), "site.fork");
}

/// The machine's date, while a pack of the year after is in force.
fn far(by_days: i64) -> Timestamp {
    Timestamp(NOW.0 + by_days * 86_400_000)
}

#[test]
fn a_wrong_date_is_taken_back_by_the_administrator_alone_and_nothing_comes_back() {
    let mut packer = Packer::new();
    let mut plant = Plant::new(&packer);
    let (one, two) = (packer.issue(1), packer.issue(2));
    let first = packer.make(true);
    plant.apply(&first).unwrap();
    let right = packer.head.made;
    let local = plant.local();
    assert!(
        reset::accept_date(&plant.app, &local).is_err(),
        "there is no wrong date"
    );
    packer.keys.get_mut(&2).unwrap().enabled = false;
    (packer.head.made, packer.head.until) = (far(400), far(407));
    plant.apply(&packer.make(false)).unwrap();
    packer.keys.get_mut(&1).unwrap().enabled = false;
    (packer.head.made, packer.head.until) = (right.plus_s(60), far(7));
    let next = packer.make(false);
    assert_eq!(plant.refused(&next), "site.made_before");

    reset::accept_date(&plant.app, &local).unwrap();
    for _ in 0..2 {
        assert_eq!(plant.verdict(&one), "site.stale_none");
        assert_eq!(plant.refused(&first), "site.older");
        assert!(show(&plant.app, &plant.local()).unwrap().is_date_open);
        plant.restart();
    }
    plant.apply(&next).unwrap();
    assert_eq!(
        (plant.verdict(&one), plant.verdict(&two)),
        ("DISABLED".into(), "DISABLED".into())
    );
    assert!(!show(&plant.app, &plant.local()).unwrap().is_date_open);
    assert!(plant.app.now().wall < far(1));
}

#[test]
fn what_was_disabled_here_stays_so_if_an_older_copy_of_the_database_is_put_back() {
    let mut packer = Packer::new();
    let mut plant = Plant::new(&packer);
    let (one, two) = (packer.issue(1), packer.issue(2));
    plant.apply(&packer.make(true)).unwrap();
    let (database, copy) = (plant.folder.join("db"), plant.folder.join("copy"));
    plant.app.close();
    std::fs::copy(&database, &copy).unwrap();
    plant.restart();
    ended::disable(&plant.app, &plant.local(), KeyId(1)).unwrap();
    plant.app.close();
    for suffix in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(plant.folder.join(format!("db{suffix}")));
    }
    std::fs::rename(&copy, &database).unwrap();
    plant.restart();
    packer.head.made = far(0).plus_s(60);
    plant.apply(&packer.make(true)).unwrap();
    for _ in 0..2 {
        assert_eq!(
            (plant.verdict(&one), plant.verdict(&two)),
            ("DISABLED".into(), "VALID".into())
        );
        plant.restart();
    }
    let ended = show(&plant.app, &plant.local()).unwrap().ended;
    let one = ended.iter().find(|ended| ended.key == KeyId(1)).unwrap();
    assert_eq!(one.reason, store::site::Reason::Site);
}

/// The action of the newest event of a site, and its number.
fn newest_event(plant: &Plant) -> (String, i64) {
    let newest = |read: &Read| {
        let number = store::audit::newest_number(read)?;
        let event = store::audit::find(read, number)?;
        Ok((event.map(|event| event.action).unwrap_or_default(), number))
    };
    plant.app.read(newest).unwrap()
}

#[test]
fn uses_that_were_taken_do_not_come_back_with_an_older_copy_of_the_database() {
    let mut packer = Packer::new();
    let mut plant = Plant::new(&packer);
    let (counted, other) = (packer.issue(1), packer.issue(2));
    packer.keys.get_mut(&1).unwrap().lent = Some(5);
    plant.apply(&packer.make(true)).unwrap();
    let (database, copy) = (plant.folder.join("db"), plant.folder.join("copy"));
    plant.app.close();
    std::fs::copy(&database, &copy).unwrap();
    plant.restart();
    assert_eq!(plant.verdict(&counted), "VALID");
    let (action, number) = newest_event(&plant);
    assert_eq!(action, "site.uses_taken");
    // There is no event of each block, but one at the stop.
    assert_eq!(plant.verdict(&counted), "VALID");
    assert_eq!(newest_event(&plant).1, number);
    crate::ops::maintenance::flush(&plant.app);
    assert_eq!(newest_event(&plant), (action, number + 1));
    crate::ops::maintenance::flush(&plant.app);
    assert_eq!(newest_event(&plant).1, number + 1);
    assert_eq!(show(&plant.app, &plant.local()).unwrap().needs_made, None);
    plant.app.close();
    for suffix in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(plant.folder.join(format!("db{suffix}")));
    }
    std::fs::rename(&copy, &database).unwrap();
    plant.restart();
    // What is refused says what it needs.
    assert_eq!(plant.verdict(&other), "site.stale_distrusts");
    let needs = show(&plant.app, &plant.local()).unwrap().needs_made;
    assert!(needs > Some(NOW), "{needs:?}");
    packer.head.made = far(0).plus_s(60);
    plant.apply(&packer.make(true)).unwrap();
    assert_eq!(show(&plant.app, &plant.local()).unwrap().needs_made, None);
    assert_eq!(plant.verdict(&other), "VALID");
    assert_eq!(plant.verdict(&counted), "USAGE_EXCEEDED");
}

#[test]
fn a_site_that_is_made_again_of_the_same_file_has_nothing_of_what_was_lent() {
    let mut packer = Packer::new();
    let secret = packer.issue(1);
    packer.keys.get_mut(&1).unwrap().lent = Some(2);
    let key = packer.enrolment().site_key;
    packer.head.lent = Some(key.enrolment());
    let first = packer.make(true);
    let plant = Plant::new(&packer);
    plant.apply(&first).unwrap();
    assert_eq!(plant.verdict(&secret), "VALID");
    let life = |plant: &Plant| {
        let view = show(&plant.app, &plant.local()).unwrap();
        (Uid::parse(&view.life).unwrap(), view.may_spend)
    };
    assert!(life(&plant).1);

    // The file is marked: a site was made of it.
    let again = Plant::of(&crate::domain::packs::enrolment::Enrolment {
        is_used: true,
        ..packer.enrolment()
    });
    again.apply(&first).unwrap();
    assert_eq!(again.verdict(&secret), "USAGE_EXCEEDED");
    assert_ne!(life(&again).0, life(&plant).0);
    assert!(!life(&again).1);
    // The server knows of the new life; the numbers of what is lent begin again.
    packer.head.lent = Some(life(&again).0);
    packer.keys.get_mut(&1).unwrap().lent = Some(1);
    let second = packer.make(false);
    again.apply(&second).unwrap();
    assert_eq!(again.verdict(&secret), "VALID");
    assert_eq!(again.verdict(&secret), "USAGE_EXCEEDED");
    // Nothing in the pack has changed for the other keys, and yet the first life has nothing any more.
    plant.apply(&second).unwrap();
    assert!(!life(&plant).1);
    assert_eq!(plant.app.own_site().unwrap().lent_of(KeyId(1)), 0);
}

#[test]
fn a_state_that_begins_again_counts_from_zero_and_takes_a_pack_of_this_second() {
    let mut packer = Packer::new();
    let mut plant = Plant::new(&packer);
    let secret = packer.issue(1);
    packer.keys.get_mut(&1).unwrap().lent = Some(5);
    packer.head.lent = Some(packer.enrolment().site_key.enrolment());
    plant.apply(&packer.make(true)).unwrap();
    assert_eq!(plant.verdict(&secret), "VALID");
    let damage = |tx: &Write<'_>| tx.execute("UPDATE site_state SET sealed = zeroblob(99)", &[]);
    plant.app.store.write(Durability::Full, damage).unwrap();
    plant.app.close();
    let path = plant.folder.join("db");
    const LATE: Sources = Sources {
        wall: || Timestamp(NOW.0 + 60_700),
        ..STILL
    };
    enrol::create_again(&path, &plant.files, &packer.enrolment(), LATE).unwrap();
    plant.app = setup::open(&path, plant.files.clone(), &[], LATE).unwrap();
    // Heads have whole seconds.
    packer.head.made = Timestamp(NOW.0 + 59_000);
    plant.apply(&packer.make(true)).unwrap();
    assert_eq!(plant.verdict(&secret), "USAGE_EXCEEDED");
    let spent = plant.app.read(store::site::list_spent).unwrap();
    assert_eq!(spent, []);
}

/// A clock whose boot is not known.
const STILL: Sources = Sources {
    wall: || NOW,
    uptime: || crate::domain::clock::Uptime { boot: None, ms: 0 },
};

#[test]
fn a_list_ends_secrets_of_keys_that_go_on() {
    let mut packer = Packer::new();
    let mut plant = Plant::new(&packer);
    let (one, old) = (packer.issue(1), packer.issue(2));
    let new = packer.rotate(2);
    plant.apply(&packer.make(true)).unwrap();
    let ended = |id: u64, secret: &str| EndedSecret {
        key: KeyId(id),
        start: start_of(&packer.digest(secret)),
    };
    let list = Revocations {
        server: Uid(7),
        reign: 1,
        events: packer.head.events + 5,
        made: NOW,
        part: 1,
        parts: 1,
        ids: Vec::new(),
        secrets: vec![ended(1, &one), ended(2, &old), ended(9, &old)],
    };
    let apply = |plant: &Plant| {
        let text = list.sign(&[signing_key()]);
        let revoked = revoke::apply(&plant.app, &plant.local(), &text).unwrap();
        (revoked.listed, revoked.ended)
    };
    assert_eq!(apply(&plant), (3, 2));
    assert_eq!(apply(&plant), (3, 0));
    let check = |plant: &Plant| {
        assert_eq!(plant.verdict(&one), "DISABLED");
        assert_eq!(plant.verdict(&old), "NOT_FOUND");
        assert_eq!(plant.verdict(&new), "VALID");
    };
    check(&plant);
    plant.restart();
    check(&plant);
    // A pack that was made before the list, and comes after it, brings nothing back.
    plant.apply(&packer.make(false)).unwrap();
    check(&plant);
    plant.apply(&packer.make(true)).unwrap();
    check(&plant);
    // A later one has what has ended itself.
    let newest = packer.rotate(1);
    packer.keys.get_mut(&1).unwrap().older = None;
    packer.keys.get_mut(&2).unwrap().older = None;
    packer.head.events += 10;
    plant.apply(&packer.make(false)).unwrap();
    assert_eq!(
        (plant.verdict(&newest), plant.verdict(&one)),
        ("VALID".into(), "NOT_FOUND".into())
    );
    assert_eq!(plant.app.read(store::site::list_ended_secrets).unwrap(), []);
}
