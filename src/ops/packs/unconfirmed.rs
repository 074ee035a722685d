//! Tests of what a site is not known to have heard of, of what it is lent, and of rows of sites that were changed.

use super::ended::{Asked, ended};
use super::make::{self as packs_of, Wanted};
use super::revocations::codes;
use super::sites::{self, SiteEdit};
use super::tests::{
    add, counted_key, key_report, lent_in, make, report, site_key, uses_left, with_site,
};
use super::{collect, find};
use crate::domain::keys::KeyId;
use crate::domain::keys::rotation::Grace;
use crate::domain::packs::file;
use crate::domain::packs::head::Head;
use crate::domain::packs::report::Report;
use crate::domain::policies::TiedTo;
use crate::domain::time::Timestamp;
use crate::domain::uid::Uid;
use crate::error::Error;
use crate::ops::changed_outside::accept::accept;
use crate::ops::keys::edit::edit;
use crate::ops::keys::issue::{NewKey, issue};
use crate::ops::keys::members::KeyMembers;
use crate::ops::keys::rotate;
use crate::ops::policies::{self, PolicyEdit};
use crate::ops::setup::fixture::{Fixture, NOW};
use crate::ops::users::{self, NewUser, UserEdit};
use crate::ops::workspaces::{self, NewWorkspace, WorkspaceEdit};
use crate::store::{Durability, Write};

/// A server with the workspaces `plants` and `ships` below the root, and the site `plant-7`, which is given `plants`.
fn server() -> Fixture {
    let fixture = Fixture::new();
    for slug in ["plants", "ships"] {
        let new = NewWorkspace {
            slug: Some(slug.to_owned()),
            name: slug.to_owned(),
            parent: None,
        };
        workspaces::create(&fixture.app, &fixture.local(), new, None).unwrap();
    }
    add(&fixture, "plant-7", 100);
    give(&fixture, &["plants"]);
    fixture
}

fn give(fixture: &Fixture, workspaces: &[&str]) {
    let edit = SiteEdit {
        workspaces: Some(workspaces.iter().map(ToString::to_string).collect()),
        ..SiteEdit::default()
    };
    sites::edit(&fixture.app, &fixture.local(), "plant-7", edit).unwrap();
}

fn key_in(fixture: &Fixture, workspace: &str, policy: Option<&str>, owner: Option<&str>) -> KeyId {
    let members = KeyMembers {
        name: Some("pump".to_owned()),
        owner: owner.map(|owner| Some(owner.to_owned())),
        ..KeyMembers::default()
    };
    let new = NewKey {
        members,
        workspace: Some(workspace.to_owned()),
        policy: policy.map(str::to_owned),
        ..NewKey::default()
    };
    let issued = issue(&fixture.app, &fixture.local(), new, None).unwrap();
    issued.view.key.id
}

/// The site has everything that has happened so far.
fn confirm(fixture: &Fixture, number: u64) {
    make(fixture, "plant-7");
    let app = &fixture.app;
    let report = Report {
        events: fixture.last_event().unsigned_abs(),
        ..report(app, number, Vec::new())
    };
    let text = report.write(&site_key(app, "plant-7"));
    assert!(
        collect::collect(app, &fixture.local(), &text)
            .unwrap()
            .is_new
    );
    assert_eq!(unconfirmed(fixture), 0);
}

fn unconfirmed(fixture: &Fixture) -> u64 {
    let all = sites::list(&fixture.app, &fixture.local()).unwrap();
    all[0].unconfirmed.count().unwrap()
}

fn edit_key(fixture: &Fixture, id: KeyId, members: KeyMembers) {
    edit(&fixture.app, &fixture.local(), id, members).unwrap();
}

#[test]
fn an_edit_that_ends_nothing_is_no_revocation() {
    let fixture = server();
    let (id, elsewhere) = (
        key_in(&fixture, "plants", None, None),
        key_in(&fixture, "ships", None, None),
    );
    let off = || KeyMembers {
        enabled: Some(false),
        ..KeyMembers::default()
    };
    let disabled = key_in(&fixture, "plants", None, None);
    edit_key(&fixture, disabled, off());
    confirm(&fixture, 1);
    let name = |name: &str| KeyMembers {
        name: Some(name.to_owned()),
        ..KeyMembers::default()
    };
    edit_key(&fixture, id, name("valve"));
    // It had ended before, and stays so.
    edit_key(&fixture, disabled, name("valve"));
    edit_key(&fixture, elsewhere, off());
    // The site never had it.
    let new = key_in(&fixture, "plants", None, None);
    edit_key(&fixture, new, off());
    // A later end, which the site does not know, ends nothing earlier.
    let later = KeyMembers {
        expires_at: Some(Some(Timestamp(NOW.0 + 90_000_000))),
        ..KeyMembers::default()
    };
    edit_key(&fixture, id, later);
    assert_eq!(unconfirmed(&fixture), 0);
    edit_key(&fixture, id, off());
    assert_eq!(unconfirmed(&fixture), 1);
    let on = KeyMembers {
        enabled: Some(true),
        ..KeyMembers::default()
    };
    edit_key(&fixture, id, on);
    assert_eq!(unconfirmed(&fixture), 0);
}

#[test]
fn a_rotation_ends_the_secret_that_the_site_has() {
    let fixture = server();
    let (app, local) = (&fixture.app, fixture.local());
    let ids: Vec<KeyId> = (0..3)
        .map(|_| key_in(&fixture, "plants", None, None))
        .collect();
    confirm(&fixture, 1);
    let rotated = |id, grace| drop(rotate::rotate(app, &local, id, grace).unwrap());
    rotated(ids[0], Grace::AtOnce);
    assert_eq!(unconfirmed(&fixture), 1);
    // Rotated twice: the secret in between was never there.
    rotated(ids[0], Grace::AtOnce);
    assert_eq!(unconfirmed(&fixture), 1);
    // In its grace period it works here too.
    rotated(ids[1], Grace::Seconds(3_600));
    assert_eq!(unconfirmed(&fixture), 1);
    rotate::end_previous(app, &local, ids[1]).unwrap();
    assert_eq!(unconfirmed(&fixture), 2);
    rotated(ids[2], Grace::UntilFirstUse(3_600));
    assert_eq!(unconfirmed(&fixture), 2);
    // A key that has ended altogether counts once.
    crate::ops::keys::delete(app, &local, ids[0], None).unwrap();
    assert_eq!(unconfirmed(&fixture), 2);
    let listed = codes(app, &local, Some("plant-7"), None).unwrap();
    assert_eq!(listed.keys, 2);
    assert!(listed.texts[0].starts_with("LKREV2:"));
    confirm(&fixture, 2);
    assert!(codes(app, &local, Some("plant-7"), None).is_err());
}

#[test]
fn what_is_around_a_key_ends_it_too() {
    let fixture = server();
    let (app, local) = (&fixture.app, fixture.local());
    let tied = PolicyEdit {
        tied_to: Some(TiedTo::OwnerAndWorkspace),
        ..PolicyEdit::default()
    };
    policies::create(app, &local, "tied".to_owned(), tied, None).unwrap();
    let user = NewUser {
        user_name: "alice".to_owned(),
        email: None,
        workspace: None,
        password: None,
        roles: Vec::new(),
    };
    users::create(app, &local, user, None).unwrap();
    for _ in 0..2 {
        key_in(&fixture, "plants", None, None);
    }
    let owned = key_in(&fixture, "plants", Some("tied"), Some("alice"));
    confirm(&fixture, 1);
    let workspace = |enabled| WorkspaceEdit {
        enabled: Some(enabled),
        ..WorkspaceEdit::default()
    };
    let set = |text: &str, enabled| {
        drop(workspaces::edit(app, &local, text, workspace(enabled)).unwrap())
    };
    set("plants", false);
    assert_eq!(unconfirmed(&fixture), 3);
    assert_eq!(codes(app, &local, Some("plant-7"), None).unwrap().keys, 3);
    set("plants", true);
    assert_eq!(unconfirmed(&fixture), 0);
    set("ships", false);
    assert_eq!(unconfirmed(&fixture), 0);

    let alice = |enabled| UserEdit {
        enabled: Some(enabled),
        ..UserEdit::default()
    };
    users::edit(app, &local, "alice", alice(false)).unwrap();
    assert_eq!(unconfirmed(&fixture), 1);
    users::edit(app, &local, "alice", alice(true)).unwrap();
    assert_eq!(unconfirmed(&fixture), 0);
    users::delete(app, &local, "alice", false).unwrap();
    assert_eq!(unconfirmed(&fixture), 1);
    crate::ops::keys::delete(app, &local, owned, None).unwrap();
    assert_eq!(unconfirmed(&fixture), 1);

    // A workspace that moves away takes its keys with it.
    let away = WorkspaceEdit {
        parent: Some("ships".to_owned()),
        ..WorkspaceEdit::default()
    };
    confirm(&fixture, 2);
    workspaces::edit(app, &local, "plants", away).unwrap();
    assert_eq!(unconfirmed(&fixture), 2, "ships is disabled");
}

#[test]
fn keys_that_the_site_is_not_given_any_more_are_unconfirmed_also_if_they_end_later() {
    let fixture = server();
    let (app, local) = (&fixture.app, fixture.local());
    give(&fixture, &["plants", "ships"]);
    let (one, two) = (
        key_in(&fixture, "ships", None, None),
        key_in(&fixture, "ships", None, None),
    );
    key_in(&fixture, "plants", None, None);
    confirm(&fixture, 1);
    give(&fixture, &["plants"]);
    assert_eq!(unconfirmed(&fixture), 2);
    crate::ops::keys::delete(app, &local, one, None).unwrap();
    assert_eq!(unconfirmed(&fixture), 2);
    give(&fixture, &["plants", "ships"]);
    assert_eq!(unconfirmed(&fixture), 1);
    assert_eq!(codes(app, &local, Some("plant-7"), None).unwrap().keys, 1);
    crate::ops::keys::delete(app, &local, two, None).unwrap();
    assert_eq!(unconfirmed(&fixture), 2);
}

#[test]
fn several_sites_are_counted_from_their_own_events() {
    let fixture = server();
    let (app, local) = (&fixture.app, fixture.local());
    let ids: Vec<KeyId> = (0..3)
        .map(|_| key_in(&fixture, "plants", None, None))
        .collect();
    let mut marks = vec![fixture.last_event().unsigned_abs()];
    for id in ids {
        crate::ops::keys::delete(app, &local, id, None).unwrap();
        marks.push(fixture.last_event().unsigned_abs());
    }
    let counted = app.read(|read| {
        let site = find(read, "plant-7")?;
        let asked: Vec<Asked<'_>> = [1, 3, 0, 2]
            .map(|place: usize| Asked {
                site: Some(&site),
                after: marks[place],
                with_new: false,
            })
            .into();
        ended(app, read, &asked)
    });
    let counted: Vec<u64> = counted
        .unwrap()
        .into_iter()
        .map(|one| one.unwrap().count())
        .collect();
    assert_eq!(counted, [2, 0, 3, 1]);
}

/// The head of a pack.
fn head_of(made: &super::make::Made) -> Head {
    let bytes = std::fs::read(&made.path).unwrap();
    file::head_of(&bytes).unwrap()
}

#[test]
fn a_pack_names_the_packs_before_it() {
    let fixture = server();
    let first = head_of(&make(&fixture, "plant-7"));
    assert_eq!(first.past, Some(Vec::new()));
    let second = head_of(&make(&fixture, "plant-7"));
    let third = head_of(&make(&fixture, "plant-7"));
    let named: Vec<u64> = third
        .past
        .unwrap()
        .iter()
        .map(|point| point.events)
        .collect();
    assert_eq!(named, [second.events, first.events]);
    assert_eq!(second.past.unwrap()[0].start, first.events_hash[..8]);
}

#[test]
fn uses_are_lent_to_the_life_that_the_server_knows() {
    let fixture = with_site(100);
    let app = &fixture.app;
    let id = counted_key(&fixture, 250);
    let key = site_key(app, "plant-7");
    let made = make(&fixture, "plant-7");
    assert_eq!(lent_in(&made, id), Some(100));
    assert_eq!(head_of(&made).lent, Some(key.enrolment()));
    let collect = |report: Report| {
        let text = report.write(&key);
        assert!(
            collect::collect(app, &fixture.local(), &text)
                .unwrap()
                .is_new
        );
    };
    // The first life of which the server hears has what was lent.
    collect(report(app, 1, vec![key_report(id, 30, 30)]));
    let made = make(&fixture, "plant-7");
    assert_eq!(
        (head_of(&made).lent, lent_in(&made, id)),
        (Some(key.tagged_life([7; 8])), Some(130))
    );
    assert_eq!(uses_left(app, id), 120);
    // Another one has nothing of it, and what was lent before counts as spent.
    collect(Report {
        life: Uid(8),
        at: Timestamp(NOW.0 + 60_000),
        ..report(app, 1, vec![key_report(id, 0, 0)])
    });
    let made = make(&fixture, "plant-7");
    assert_eq!(
        (head_of(&made).lent, lent_in(&made, id)),
        (Some(Uid(8)), Some(100))
    );
    assert_eq!(uses_left(app, id), 20);
    // A site that cannot report: a person names its life.
    let edit = SiteEdit {
        life: Some(Uid(9)),
        ..SiteEdit::default()
    };
    sites::edit(app, &fixture.local(), "plant-7", edit).unwrap();
    let made = make(&fixture, "plant-7");
    assert_eq!(
        (head_of(&made).lent, lent_in(&made, id)),
        (Some(Uid(9)), Some(20))
    );
}

/// The first state has spent what was lent, and was lost before it reported.
#[test]
fn a_life_that_is_not_the_first_has_nothing_of_what_was_lent_to_the_enrolment() {
    let fixture = with_site(100);
    let app = &fixture.app;
    let id = counted_key(&fixture, 250);
    assert_eq!(lent_in(&make(&fixture, "plant-7"), id), Some(100));
    let again = Report {
        life: Uid(8),
        ..report(app, 1, vec![key_report(id, 0, 0)])
    };
    let text = again.write(&site_key(app, "plant-7"));
    collect::collect(app, &fixture.local(), &text).unwrap();
    let made = make(&fixture, "plant-7");
    assert_eq!(
        (head_of(&made).lent, lent_in(&made, id)),
        (Some(Uid(8)), Some(100))
    );
    assert_eq!(uses_left(app, id), 50);
}

#[test]
fn uses_of_a_removed_site_stay_spent_unless_they_are_returned() {
    for returns in [false, true] {
        let fixture = with_site(100);
        let app = &fixture.app;
        let id = counted_key(&fixture, 250);
        make(&fixture, "plant-7");
        let report = report(app, 1, vec![key_report(id, 30, 30)]);
        let text = report.write(&site_key(app, "plant-7"));
        collect::collect(app, &fixture.local(), &text).unwrap();
        let removed = sites::remove(app, &fixture.local(), "plant-7", false, returns).unwrap();
        let (kept, returned, left) = if returns { (0, 70, 220) } else { (70, 0, 150) };
        assert_eq!((removed.uses.kept, removed.uses.returned), (kept, returned));
        assert_eq!(uses_left(app, id), left);
        let mut fixture = fixture;
        fixture.reopen(&[]);
        assert_eq!(uses_left(&fixture.app, id), left);
    }
}

/// Otherwise an edit of the number would not be the last word about it.
#[test]
fn uses_flow_back_to_no_other_number_than_they_were_taken_from() {
    for (edited, spent, expected) in [
        // The number is edited after all was lent.
        (false, 0, (100, 0, 5)),
        // The site is lent some of the new number while it has some of the former one.
        (true, 30, (100, 0, 470)),
        // It has spent all of the former one, and what it has is of the new one.
        (true, 100, (0, 100, 500)),
    ] {
        let fixture = with_site(100);
        let app = &fixture.app;
        let id = counted_key(&fixture, 250);
        make(&fixture, "plant-7");
        let set = |uses| {
            let members = KeyMembers {
                uses_left: Some(Some(uses)),
                ..KeyMembers::default()
            };
            edit(app, &fixture.local(), id, members).unwrap();
        };
        set(if edited { 500 } else { 5 });
        if edited {
            let report = report(app, 1, vec![key_report(id, spent, spent)]);
            let text = report.write(&site_key(app, "plant-7"));
            collect::collect(app, &fixture.local(), &text).unwrap();
            assert_eq!(lent_in(&make(&fixture, "plant-7"), id), Some(100 + spent));
        }
        let removed = sites::remove(app, &fixture.local(), "plant-7", false, true).unwrap();
        let uses = removed.uses;
        assert_eq!((uses.kept, uses.returned, uses_left(app, id)), expected);
    }
}

#[test]
fn a_site_whose_rows_were_changed_gets_nothing_until_that_is_accepted() {
    for change in [
        "UPDATE sites SET lend = 100000 WHERE name = 'plant-7'",
        "UPDATE sites SET until_s = 300000000 WHERE name = 'plant-7'",
        "UPDATE sites SET minimal = 1 WHERE name = 'plant-7'",
        "UPDATE sites SET created_at = 1 WHERE name = 'plant-7'",
        "UPDATE sites SET max_stale_s = 86400 WHERE name = 'plant-7'",
        "UPDATE sites SET lent_life = '0e1c2f6a-5b1d-4c8e-9a57-3f0b6d2c4e11' WHERE name = 'plant-7'",
        "DELETE FROM site_parts WHERE site = 'plant-7'",
        "INSERT INTO site_parts (site, kind, id) SELECT 'plant-7', 'workspace', uid FROM workspaces WHERE slug = 'ships'",
        "UPDATE site_lent SET lent = 100000",
        "UPDATE site_lent SET spent = 50",
        "UPDATE site_lent SET epoch = epoch + 1",
        "UPDATE site_lent SET seal = zeroblob(32)",
        "DELETE FROM row_seals WHERE kind = 'site' AND id = 'plant-7'",
    ] {
        let mut fixture = server();
        let id = {
            let members = KeyMembers {
                name: Some("counted".to_owned()),
                uses_left: Some(Some(500)),
                ..KeyMembers::default()
            };
            let new = NewKey {
                members,
                workspace: Some("plants".to_owned()),
                ..NewKey::default()
            };
            issue(&fixture.app, &fixture.local(), new, None)
                .unwrap()
                .view
                .key
                .id
        };
        add(&fixture, "plant-8", 0);
        assert_eq!(lent_in(&make(&fixture, "plant-7"), id), Some(100));
        let past = move |tx: &Write<'_>| tx.execute(change, &[]);
        fixture.app.store.write(Durability::Full, past).unwrap();
        for _ in 0..2 {
            let (app, local) = (&fixture.app, fixture.local());
            let named = Wanted {
                sites: Some(vec!["plant-7".to_owned()]),
                whole: false,
            };
            let refused = packs_of::make(app, &local, named).unwrap_err();
            assert!(
                matches!(&refused, Error::Conflict(why) if why.code() == "packs.site_altered"),
                "{change}: {refused}"
            );
            // The others go on.
            let all = packs_of::make(app, &local, Wanted::default()).unwrap();
            assert_eq!(all.len(), 1, "{change}");
            let all = sites::list(app, &local).unwrap();
            assert_eq!(
                all.iter().map(|view| view.is_sound).collect::<Vec<_>>(),
                [false, true]
            );
            let checks = crate::ops::doctor::examine(app, &local).unwrap();
            let check = checks
                .iter()
                .find(|check| check.name == "sites as recorded")
                .unwrap();
            let text = check.found.to_string();
            assert!(text.contains("plant-7"), "{change}: {text}");
            // A change of something else does not make it sound.
            let edit = SiteEdit {
                lend: Some(7),
                ..SiteEdit::default()
            };
            sites::edit(app, &local, "plant-7", edit).unwrap();
            fixture.reopen(&[]);
        }
        let (app, local) = (&fixture.app, fixture.local());
        accept(app, &local, "site", "plant-7").unwrap();
        let made = packs_of::make(app, &local, Wanted::default()).unwrap();
        assert_eq!(made.len(), 2, "{change}");
    }
}
