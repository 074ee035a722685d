//! Imports against a real store.

use super::*;
use crate::authz::caller::Origin;
use crate::domain::audit::{Kind, changes};
use crate::domain::hex::hex;
use crate::domain::keys::keyfile::HmacKeys;
use crate::domain::keys::rotation::Grace;
use crate::domain::keys::secret::Secret;
use crate::domain::keys::verdict::{Code, Question};
use crate::domain::policies::{CredentialHeader, Presence};
use crate::ops::authenticate::authenticate;
use crate::ops::keys::edit::edit;
use crate::ops::keys::export::{ExportedKey, export};
use crate::ops::keys::members::KeyMembers;
use crate::ops::keys::rotate::rotate;
use crate::ops::keys::{delete, find, upgrade};
use crate::ops::policies::{PolicyEdit, create};
use crate::ops::setup::fixture::Fixture;
use crate::ops::verify::verify_blocking;
use std::sync::Arc;

fn sha256(secret: &str) -> String {
    format!("sha256:{}", hex(&Scheme::Sha256.digest(secret).unwrap()))
}

/// A record on a line, whose secret is `secret LINE`.
fn record(line: usize) -> Record {
    Record {
        line,
        new: NewKey {
            members: KeyMembers::named(&format!("key {line}")),
            ..NewKey::default()
        },
        digest: sha256(&format!("secret {line}")),
        ..Record::default()
    }
}

fn of_kong(records: Vec<Record>) -> Import {
    Import {
        system: "kong".to_owned(),
        file_sha256: Some("ab".repeat(32)),
        records,
        ..Import::default()
    }
}

#[track_caller]
fn run(fixture: &Fixture, records: Vec<Record>) -> Report {
    import(&fixture.app, &fixture.local(), of_kong(records)).unwrap()
}

/// The reasons of a report, by line.
fn reasons(report: &Report) -> Vec<(usize, String)> {
    let problems = report.problems.iter();
    problems.map(|it| (it.line, it.why.to_string())).collect()
}

fn verdict(fixture: &Fixture, secret: &str) -> Code {
    let question = Question {
        cost: 1,
        ..Question::default()
    };
    verify_blocking(&fixture.app, secret, &question, None, |it| it.code).unwrap()
}

/// The id of the live key with this name.
fn id_of(fixture: &Fixture, name: &str) -> KeyId {
    let ids = fixture
        .app
        .read(|read| {
            crate::store::keys::list_ids(read, &crate::store::keys::Source::All, None, 10_000)
        })
        .unwrap();
    let is = |id: &KeyId| find(&fixture.app, &fixture.local(), *id).unwrap().key.name == name;
    ids.into_iter().find(is).unwrap()
}

fn numbers(report: &Report) -> (usize, usize, usize) {
    (report.taken, report.present, report.refused)
}

#[test]
fn imported_keys_work_with_their_old_secrets_and_a_second_import_passes_them_over() {
    let fixture = Fixture::new();
    let dry = Import {
        dry_run: true,
        ..of_kong(vec![record(1), record(2)])
    };
    let before = fixture.last_event();
    let report = import(&fixture.app, &fixture.local(), dry).unwrap();
    assert_eq!(numbers(&report), (2, 0, 0));
    assert_eq!(fixture.last_event(), before);
    // A store without foreign secrets knows nothing of their form.
    assert_eq!(verdict(&fixture, "secret 1"), Code::Malformed);

    let report = run(&fixture, vec![record(1), record(2)]);
    assert_eq!(numbers(&report), (2, 0, 0));
    let (group, count) = report.groups.first_key_value().unwrap();
    assert_eq!((group.workspace.as_str(), *count), ("root", 2));
    assert_eq!(
        (group.policy.as_str(), group.scheme),
        ("standard", Scheme::Sha256)
    );
    assert_eq!(fixture.last_event(), before + 1);
    assert_eq!(verdict(&fixture, "secret 1"), Code::Valid);
    assert_eq!(verdict(&fixture, "secret 2"), Code::Valid);
    // A stored digest opens nothing.
    assert_eq!(verdict(&fixture, &sha256("secret 1")), Code::NotFound);
    assert_eq!(verdict(&fixture, &sha256("secret 1")[7..]), Code::NotFound);
    let key = find(&fixture.app, &fixture.local(), id_of(&fixture, "key 1"))
        .unwrap()
        .key;
    assert_eq!((key.source.as_str(), key.weak), ("import:kong", true));

    // The digest of a used key was replaced, and is known all the same.
    upgrade::write_all(&fixture.app);
    let event = fixture.last_event();
    let report = run(&fixture, vec![record(1), record(2), record(3)]);
    assert_eq!(numbers(&report), (1, 2, 0));
    assert_eq!(fixture.last_event(), event + 1);
    assert_eq!(
        numbers(&run(&fixture, vec![record(1), record(2)])),
        (0, 2, 0)
    );
    assert_eq!(fixture.last_event(), event + 1);
}

#[test]
fn each_thousand_has_an_event_that_tells_which_keys_it_is_about() {
    let fixture = Fixture::new();
    let report = run(&fixture, (1..=2_001).map(record).collect());
    assert_eq!(numbers(&report), (2_001, 0, 0));
    let events = fixture.app.read(|read| {
        let mut events = Vec::new();
        crate::store::audit::events::each_after(read, 0, |event| {
            events.extend((event.action == ACTION).then_some(event));
            Ok(())
        })?;
        Ok(events)
    });
    let events = events.unwrap();
    let told = |position: usize| changes::parse(&events[position].changes).unwrap();
    let value = |position: usize, name: &str| {
        let found = told(position).into_iter().find(|(known, _)| known == name);
        found.and_then(|(_, value)| value).unwrap_or_default()
    };
    assert_eq!(events.len(), 3);
    assert!(events.iter().all(|event| event.target.kind == Kind::Server));
    for (position, part, count) in [
        (0, "1 of 3", "1000"),
        (1, "2 of 3", "1000"),
        (2, "3 of 3", "1"),
    ] {
        assert_eq!(value(position, "part"), part);
        assert_eq!(value(position, "keys"), count);
        assert_eq!(value(position, "weak"), count);
        assert_eq!(value(position, "source"), "kong");
        assert_eq!(value(position, "file_sha256"), "ab".repeat(32));
    }
    let number = find(&fixture.app, &fixture.local(), id_of(&fixture, "key 2001"));
    let number = number.unwrap().key.number;
    assert_eq!(value(2, "numbers"), format!("{number} to {number}"));
    let checks = crate::ops::doctor::examine(&fixture.app, &fixture.local()).unwrap();
    let of_keys = checks
        .iter()
        .find(|it| it.name == "keys and audit log")
        .unwrap();
    assert_eq!(
        of_keys.finding,
        crate::ops::doctor::Finding::Ok,
        "{of_keys:?}"
    );
}

#[test]
fn the_same_secret_twice_is_refused_on_both_lines() {
    let fixture = Fixture::new();
    let again = |line, of: usize| Record {
        digest: sha256(&format!("secret {of}"))
            .to_uppercase()
            .replace("SHA", "sha"),
        ..record(line)
    };
    let report = run(&fixture, vec![record(1), record(2), again(7, 1)]);
    assert_eq!(numbers(&report), (1, 0, 2));
    let found = reasons(&report);
    assert_eq!((found[0].0, found[1].0), (1, 7));
    assert!(
        found[0].1.contains("line 7 has the same digest"),
        "{found:?}"
    );
    assert!(
        found[1].1.contains("line 1 has the same digest"),
        "{found:?}"
    );
    assert_eq!(verdict(&fixture, "secret 1"), Code::NotFound);
    let slow = |line| Record {
        digest: format!("$2b$04${}{line}", "a".repeat(52)),
        found_by: Some("alice:".to_owned()),
        ..record(line)
    };
    let report = run(&fixture, vec![slow(1), slow(2)]);
    assert!(
        reasons(&report)[0]
            .1
            .contains("line 2 has the same found_by")
    );
}

#[test]
fn a_digest_that_ended_or_that_another_key_has_is_refused() {
    let fixture = Fixture::new();
    let (app, local) = (&fixture.app, fixture.local());
    run(&fixture, (1..=5).map(record).collect());
    for line in [1, 2, 4] {
        assert_eq!(verdict(&fixture, &format!("secret {line}")), Code::Valid);
    }
    upgrade::write_all(app);
    delete(app, &local, id_of(&fixture, "key 1"), None).unwrap();
    rotate(app, &local, id_of(&fixture, "key 2"), Grace::AtOnce).unwrap();
    rotate(app, &local, id_of(&fixture, "key 3"), Grace::Seconds(60)).unwrap();
    let mut elsewhere = record(5);
    elsewhere.new.members.owner = Some(Some("owner".to_owned()));
    let renamed = KeyMembers::named("another name");
    edit(app, &local, id_of(&fixture, "key 4"), renamed).unwrap();
    let report = run(
        &fixture,
        vec![record(1), record(2), record(3), record(4), elsewhere],
    );
    let found = reasons(&report);
    assert_eq!(numbers(&report), (0, 1, 4), "{found:?}");
    for (position, line, words) in [
        (0, 1, "was deleted"),
        (1, 2, "has a new secret since"),
        (2, 3, "has a new secret since"),
        (3, 5, "did not come from an import into the same workspace"),
    ] {
        assert_eq!(found[position].0, line);
        assert!(found[position].1.contains(words), "{found:?}");
    }
    assert_eq!(verdict(&fixture, "secret 1"), Code::NotFound);
}

#[test]
fn a_foreign_secret_neither_manages_this_server_nor_acts_for_a_user() {
    let fixture = Fixture::new();
    let (app, local) = (&fixture.app, fixture.local());
    let acting = PolicyEdit {
        issued_by: Some(IssuedBy::Owner),
        acts_for_owner: Some(true),
        owner: Some(Presence::Required),
        ..PolicyEdit::default()
    };
    create(app, &local, "acting".to_owned(), acting, None).unwrap();
    let password = PolicyEdit {
        issued_by: Some(IssuedBy::Password),
        ..PolicyEdit::default()
    };
    create(app, &local, "password".to_owned(), password, None).unwrap();
    let manager = PolicyEdit {
        catalog: Some(Some(BUILT_IN.to_owned())),
        ..PolicyEdit::default()
    };
    create(app, &local, "manager".to_owned(), manager, None).unwrap();
    let mut records: Vec<Record> = (1..=4).map(record).collect();
    records[0].new.catalog = Some(BUILT_IN.to_owned());
    for (position, policy) in [(1, "acting"), (2, "password"), (3, "manager")] {
        records[position].new.policy = Some(policy.to_owned());
    }
    let report = run(&fixture, records);
    let found = reasons(&report);
    assert_eq!(numbers(&report), (0, 0, 4));
    for (position, words) in [
        (0, "manage this server"),
        (1, "act for their owner"),
        (2, "proves a password"),
        (3, "manage this server"),
    ] {
        assert!(found[position].1.contains(words), "{found:?}");
    }
}

#[test]
fn each_line_is_judged_as_a_new_key_is() {
    let fixture = Fixture::new();
    let (app, local) = (&fixture.app, fixture.local());
    let tight = PolicyEdit {
        keys_per_workspace_max: Some(Some(2)),
        name_unique: Some(true),
        ..PolicyEdit::default()
    };
    create(app, &local, "tight".to_owned(), tight, None).unwrap();
    let tight = |line, name: &str| {
        let mut record = record(line);
        record.new.policy = Some("tight".to_owned());
        record.new.members.name = Some(name.to_owned());
        record
    };
    let with = |line, change: fn(&mut Record)| {
        let mut record = record(line);
        change(&mut record);
        record
    };
    let records = vec![
        tight(1, "one"),
        tight(2, "One"),
        tight(3, "two"),
        tight(4, "three"),
        with(5, |it| it.new.workspace = Some("nowhere".to_owned())),
        with(6, |it| it.new.policy = Some("nothing".to_owned())),
        with(7, |it| {
            it.new.members.owner = Some(Some("nobody".to_owned()))
        }),
        with(8, |it| it.new.members.expires_at = Some(Some(Timestamp(1)))),
        with(9, |it| it.new.members.name = Some(String::new())),
        with(10, |it| {
            it.digest = "md5:900150983cd24fb0d6963f7d28e17f72".to_owned()
        }),
        with(11, |it| it.hint = Some("secret 11".to_owned())),
        with(12, |it| {
            it.new.members.description = Some("secret 12".to_owned())
        }),
        with(13, |it| {
            it.digest = format!("hmac-sha256:old:{}", "ab".repeat(32))
        }),
        with(14, |it| it.found_by = Some("x.".to_owned())),
        with(15, |it| it.new.catalog = Some("nothing".to_owned())),
    ];
    let report = run(&fixture, records);
    let found = reasons(&report);
    assert_eq!(numbers(&report), (2, 0, 13), "{found:?}");
    for ((line, why), (expected, words)) in found.iter().zip([
        (2, "a key of this name already"),
        (4, "allows 2 keys in a workspace"),
        (5, "no workspace nowhere here; create it first"),
        (6, "no policy \"nothing\""),
        (7, "no user nobody here; create the user first"),
        (8, "must be in the future"),
        (9, "name: must"),
        (10, "MD5"),
        (11, "hint: is the secret itself"),
        (12, "description: is the secret itself"),
        (13, "hmac-keys/old"),
        (14, "found_by"),
        (15, "no catalog"),
    ]) {
        assert_eq!(*line, expected, "{found:?}");
        assert!(why.contains(words), "{line}: {why}");
    }
    // The keys that are written are those that were checked: the other one of the same name has no room either.
    assert_eq!(
        numbers(&run(&fixture, vec![tight(1, "one"), tight(9, "nine")])),
        (0, 1, 1)
    );
}

#[test]
fn a_store_has_four_kinds_of_fast_digests_at_most() {
    let fixture = Fixture::new();
    let hmac = HmacKeys::of(["a", "b", "c"].map(|name| (name.to_owned(), b"key".to_vec())));
    fixture.app.index.foreign.set_hmac_keys(Arc::new(hmac));
    let with = |line, digest: String| Record {
        digest,
        ..record(line)
    };
    let (short, long) = ("ab".repeat(32), "cd".repeat(64));
    let all = |kinds: &[&str]| -> Vec<Record> {
        let digest = |kind: &str| match kind.contains("512") {
            true => format!("{kind}:{long}"),
            false => format!("{kind}:{short}"),
        };
        let records = kinds.iter().enumerate();
        records
            .map(|(line, kind)| with(line, digest(kind)))
            .collect()
    };
    let five = [
        "sha256",
        "sha512",
        "talos",
        "hmac-sha256:a",
        "hmac-sha512:b",
    ];
    let before = fixture.last_event();
    let refused = import(&fixture.app, &fixture.local(), of_kong(all(&five))).unwrap_err();
    assert!(
        refused.to_string().contains("more than 4 kinds"),
        "{refused}"
    );
    assert!(refused.to_string().contains("hmac-sha512:b"), "{refused}");
    assert_eq!(fixture.last_event(), before);
    assert_eq!(numbers(&run(&fixture, all(&five[..4]))), (4, 0, 0));
    let refused = import(&fixture.app, &fixture.local(), of_kong(all(&five[4..])));
    assert!(matches!(refused, Err(Error::Conflict(_))));
    assert_eq!(numbers(&run(&fixture, vec![record(9)])), (1, 0, 0));
}

/// The caller of a new management key with these scopes.
fn manager(fixture: &Fixture, workspace: &str, scopes: &[&str]) -> Caller {
    let new = NewKey {
        members: KeyMembers {
            scopes: Some(scopes.iter().map(ToString::to_string).collect()),
            ..KeyMembers::named("manager")
        },
        workspace: Some(workspace.to_owned()),
        catalog: Some(BUILT_IN.to_owned()),
        ..NewKey::default()
    };
    let issued = issue::issue(&fixture.app, &fixture.local(), new, None).unwrap();
    let secret = issued.secret.unwrap();
    let (header, origin) = (CredentialHeader::Bearer, Origin::default());
    let caller = authenticate(&fixture.app, secret.expose(), header, origin, true);
    caller.unwrap().unwrap()
}

#[test]
fn nothing_is_written_for_a_caller_without_the_permission_and_the_attempt_is_recorded() {
    let fixture = Fixture::new();
    let (app, local) = (&fixture.app, fixture.local());
    let new = crate::ops::workspaces::NewWorkspace {
        slug: Some("emea".to_owned()),
        name: "emea".to_owned(),
        parent: None,
    };
    crate::ops::workspaces::create(app, &local, new, None).unwrap();
    let caller = manager(&fixture, "emea", &["keys:write", "keys:read"]);
    let in_emea = |line| {
        let mut record = record(line);
        record.new.workspace = Some("emea".to_owned());
        record
    };
    let report = import(app, &caller, of_kong(vec![in_emea(1)])).unwrap();
    assert_eq!(numbers(&report), (1, 0, 0));
    // The root workspace is not visible to this caller, so it does not exist.
    let mut in_root = record(3);
    in_root.new.workspace = Some("root".to_owned());
    let report = import(app, &caller, of_kong(vec![in_emea(2), in_root])).unwrap();
    assert_eq!(numbers(&report), (1, 0, 1));
    let reader = manager(&fixture, "root", &["keys:read"]);
    let before = fixture.last_event();
    let refused = import(app, &reader, of_kong(vec![record(4)]));
    assert!(matches!(refused, Err(Error::Forbidden(_))), "{refused:?}");
    assert_eq!(fixture.last_event(), before + 1);
}

/// Every key of a server, as the lines of its export.
fn exported(fixture: &Fixture) -> Vec<ExportedKey> {
    export(&fixture.app, &fixture.local(), "jsonl", None, 100)
        .unwrap()
        .0
}

fn imported(one: &ExportedKey, line: usize) -> Record {
    let key = &one.view.key;
    Record {
        line,
        new: NewKey {
            members: KeyMembers {
                scopes: Some(key.scopes.clone()),
                owner: one.view.owner.clone().map(Some),
                ..KeyMembers::named(&key.name)
            },
            catalog: key.catalog.clone(),
            ..NewKey::default()
        },
        digest: one.digest.clone(),
        found_by: one.found_by.clone(),
        pepper_fingerprint: one
            .pepper
            .and_then(|(_, fingerprint)| fingerprint)
            .map(|it: [u8; 32]| hex(&it)),
        id: one.keeps_id.then_some(key.id),
        hint: Some(key.hint.clone()),
        created_at: Some(key.created_at),
    }
}

#[test]
fn an_export_that_comes_back_is_passed_over_and_one_of_another_pepper_is_refused() {
    let (one, other) = (Fixture::new(), Fixture::new());
    run(&one, vec![record(1), record(2)]);
    assert_eq!(verdict(&one, "secret 1"), Code::Valid);
    upgrade::write_all(&one.app);
    let keys = exported(&one);
    assert_eq!(keys.len(), 4);
    assert_eq!(keys.iter().filter(|it| it.keeps_id).count(), 2);
    let records = || {
        keys.iter()
            .zip(1..)
            .map(|(it, line)| imported(it, line))
            .collect()
    };
    assert_eq!(numbers(&run(&one, records())), (0, 4, 0));
    let report = run(&other, records());
    assert_eq!(numbers(&report), (1, 0, 3), "{:?}", reasons(&report));
    assert!(
        reasons(&report)[0]
            .1
            .contains("a pepper that this server does not have")
    );
    assert_eq!(verdict(&other, "secret 2"), Code::Valid);
}

#[test]
fn a_drawn_secret_keeps_its_id_and_is_as_strong_as_any_other() {
    let fixture = Fixture::new();
    let id = KeyId(12_345);
    let secret = Secret::generate("lk", id).unwrap();
    let drawn = |id, hint: Option<String>| Record {
        id: Some(id),
        hint,
        digest: sha256(secret.expose()),
        ..record(1)
    };
    let bad = run(
        &fixture,
        vec![drawn(id, Some("lk_0000000001…abcd".to_owned()))],
    );
    assert!(reasons(&bad)[0].1.contains("must be the hint of key"));
    let report = run(&fixture, vec![drawn(id, Some(secret.hint()))]);
    assert_eq!(numbers(&report), (1, 0, 0), "{:?}", reasons(&report));
    assert_eq!(verdict(&fixture, secret.expose()), Code::Valid);
    let key = find(&fixture.app, &fixture.local(), id).unwrap().key;
    assert!(!key.weak);
    assert_eq!(numbers(&run(&fixture, vec![drawn(id, None)])), (0, 1, 0));
    let other = Record {
        digest: sha256("another"),
        ..drawn(id, None)
    };
    assert!(
        reasons(&run(&fixture, vec![other]))[0]
            .1
            .contains("another digest")
    );
    let slow = Record {
        digest: format!("$2b$04${}", "a".repeat(53)),
        found_by: Some("alice:".to_owned()),
        ..drawn(KeyId(7), None)
    };
    assert!(
        reasons(&run(&fixture, vec![slow]))[0]
            .1
            .contains("id: must be left out")
    );
}

#[test]
fn two_imports_do_not_run_at_the_same_time_and_none_is_endless() {
    let fixture = Fixture::new();
    let running = fixture.app.importing.0.lock().unwrap();
    let refused = import(&fixture.app, &fixture.local(), of_kong(vec![record(1)]));
    assert!(matches!(refused, Err(Error::Conflict(_))));
    drop(running);
    let bad = |change: fn(&mut Import)| {
        let mut asked = of_kong(vec![record(1)]);
        change(&mut asked);
        import(&fixture.app, &fixture.local(), asked)
            .unwrap_err()
            .to_string()
    };
    assert!(bad(|it| it.system = "Kong!".to_owned()).contains("source"));
    assert!(bad(|it| it.workspace = Some("nowhere".to_owned())).contains("no such workspace"));
    assert!(bad(|it| it.policy = Some("nothing".to_owned())).contains("no policy"));
    assert!(bad(|it| it.file_sha256 = Some("ab".to_owned())).contains("64 hexadecimal"));
}
