//! What a site takes, what it refuses, and what it answers then.

use super::fixture::{Issued, NOW, Packer, Plant, signing_key, sources};
use super::*;
use crate::domain::keys::secret::Secret;
use crate::domain::keys::verdict::Question;
use crate::domain::packs::file;
use crate::domain::packs::revocations::Revocations;
use crate::domain::packs::site_key::SiteKey;
use crate::domain::uid::Uid;
use crate::ops::{setup, verify};

#[test]
fn a_site_answers_from_its_pack_and_the_next_one_ends_a_key() {
    let mut packer = Packer::new();
    let mut plant = Plant::new(&packer);
    let (one, two) = (packer.issue(1), packer.issue(2));
    assert_eq!(plant.verdict(&one), "site.stale_none");
    let first = packer.make(true);
    assert_eq!(plant.apply(&first).unwrap().counts.added, 2);
    assert_eq!(
        (plant.verdict(&one), plant.verdict(&two)),
        ("VALID".into(), "VALID".into())
    );
    packer.keys.remove(&2);
    let three = packer.issue(3);
    let second = packer.make(false);
    let applied = plant.apply(&second).unwrap();
    assert_eq!(
        (applied.keys, applied.counts.added, applied.counts.ended),
        (2, 1, 1)
    );
    for _ in 0..2 {
        assert_eq!(plant.verdict(&one), "VALID");
        assert_eq!(plant.verdict(&two), "NOT_FOUND");
        assert_eq!(plant.verdict(&three), "VALID");
        assert_eq!(plant.refused(&second), "site.older");
        assert_eq!(plant.refused(&first), "site.older");
        plant.restart();
    }
    let names = std::fs::read_dir(plant.folder.join("packs"))
        .unwrap()
        .count();
    assert_eq!(names, 2, "the base and the newest");
}

/// Replay, reorder, splice, cut and flip at every byte: refused, and the old state is kept.
#[test]
fn nothing_but_the_next_pack_of_its_server_changes_a_site() {
    let mut packer = Packer::new();
    let plant = Plant::new(&packer);
    let secret = packer.issue(1);
    let first = packer.make(true);
    plant.apply(&first).unwrap();
    packer.keys.get_mut(&1).unwrap().enabled = false;
    let second = packer.make(false);
    let third = packer.make(false);
    let check = |bytes: &[u8], why: &str| {
        assert!(plant.apply(bytes).is_err(), "{why}");
        assert_eq!(plant.verdict(&secret), "VALID", "{why}");
    };
    for end in 0..second.len() {
        check(&second[..end], &format!("cut at {end}"));
    }
    let mut flipped = second.clone();
    for position in 0..second.len() {
        let bit = 1 << (position % 8);
        flipped[position] ^= bit;
        check(&flipped, &format!("flipped at {position}"));
        flipped[position] ^= bit;
    }
    let parts = file::split(&second).unwrap();
    let other = file::split(&first).unwrap();
    let head = |parts: &file::Parts<'_>| String::from_utf8(parts.head.to_vec()).unwrap();
    check(
        &file::write(&head(&parts), other.body),
        "the body of another",
    );
    check(
        &file::write(&head(&other), parts.body),
        "the head of another",
    );
    check(&[&second[..], &second[..]].concat(), "twice");
    check(&[&second[..], &first[..], &first[..]].concat(), "three");
    check(&[&second[..], b"x"].concat(), "more");
    let mut stranger = Packer::new();
    stranger.keys = std::mem::take(&mut packer.keys);
    stranger.head.pack = 10;
    stranger.head.server = Uid(8);
    check(&stranger.make(true), "another server");
    stranger.head.server = Uid(7);
    stranger.head.site = "plant-8".to_owned();
    check(&stranger.make(true), "another site");

    // The newest with the same base, and then nothing older.
    plant.apply(&third).unwrap();
    assert_eq!(plant.verdict(&secret), "DISABLED");
    assert_eq!(plant.refused(&second), "site.older");
    assert_eq!(plant.verdict(&secret), "DISABLED");
}

#[test]
fn a_new_base_comes_with_the_pack_that_follows_it() {
    let mut packer = Packer::new();
    let plant = Plant::new(&packer);
    let secret = packer.issue(1);
    let first = packer.make(true);
    plant.apply(&first).unwrap();
    let base = packer.make(true);
    packer.keys.remove(&1);
    let next = packer.make(false);
    assert_eq!(plant.refused(&next), "site.base_missing");
    assert_eq!(
        plant.refused(&[&first[..], &next[..]].concat()),
        "site.base_of_other"
    );
    assert_eq!(plant.verdict(&secret), "VALID");
    plant.apply(&[&base[..], &next[..]].concat()).unwrap();
    assert_eq!(plant.verdict(&secret), "NOT_FOUND");
    assert_eq!(plant.refused(&base), "site.older");
}

/// A key that has come to a site, changed, gone and come back is at the site what it is at the server, at every pack.
#[test]
fn a_site_and_its_server_agree_after_every_pack_of_a_random_history() {
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut below = |end: u64| {
        random ^= random >> 12;
        random ^= random << 25;
        random ^= random >> 27;
        random.wrapping_mul(0x2545_f491_4f6c_dd1d) % end
    };
    for _ in 0..40 {
        let mut packer = Packer::new();
        let mut plant = Plant::new(&packer);
        let mut secrets: Vec<(u64, String)> = Vec::new();
        let mut deltas_lost: Vec<Vec<u8>> = Vec::new();
        for step in 0..12 {
            for _ in 0..below(6) {
                let id = below(12);
                match (packer.keys.contains_key(&id), below(4)) {
                    (false, _) => secrets.push((id, packer.issue(id))),
                    (true, 0) => drop(packer.keys.remove(&id)),
                    (true, 1) => {
                        let key = packer.keys.get_mut(&id).unwrap();
                        key.enabled = !key.enabled;
                    }
                    (true, 2) => secrets.push((id, packer.rotate(id))),
                    (true, _) => packer.keys.get_mut(&id).unwrap().older = None,
                }
            }
            let pack = packer.make(step == 0 || below(5) == 0);
            let is_whole = packer.head.base == 0;
            if !is_whole && below(3) == 0 {
                // It is lost, or comes later.
                deltas_lost.push(pack);
                continue;
            }
            plant.apply(&pack).unwrap();
            if let Some(late) = deltas_lost.pop() {
                assert!(plant.apply(&late).is_err());
            }
            if below(6) == 0 {
                plant.restart();
            }
            for (id, secret) in &secrets {
                let key = packer.keys.get(id);
                let is_newest = key.is_some_and(|key| key.secret.expose() == *secret);
                let is_older = key.is_some_and(|key| {
                    let older = key.older.as_ref();
                    older.is_some_and(|(older, _)| older.expose() == *secret)
                });
                let expected = match key {
                    Some(key) if (is_newest || is_older) && !key.enabled => "DISABLED",
                    Some(_) if is_newest || is_older => "VALID",
                    _ => "NOT_FOUND",
                };
                let question = Question::default();
                let told = |verdict: &verify::Verdict<'_>| verdict.code.as_str();
                let found = verify::verify_blocking(&plant.app, secret, &question, None, told);
                assert_eq!(found.unwrap(), expected, "step {step} key {id}");
            }
        }
    }
}

#[test]
fn what_has_ended_at_a_site_stays_ended_whatever_a_pack_holds() {
    let mut packer = Packer::new();
    let mut plant = Plant::new(&packer);
    let (one, old) = (packer.issue(1), packer.issue(2));
    let new = packer.rotate(2);
    plant.apply(&packer.make(true)).unwrap();
    assert_eq!(plant.verdict(&old), "VALID");
    assert_eq!(plant.verdict(&new), "VALID");
    assert_eq!(plant.verdict(&old), "NOT_FOUND");
    assert!(ended::disable(&plant.app, &plant.local(), KeyId(1)).unwrap());
    assert!(!ended::disable(&plant.app, &plant.local(), KeyId(1)).unwrap());
    assert!(ended::disable(&plant.app, &plant.local(), KeyId(9)).is_err());
    for whole in [true, false, true] {
        assert_eq!(plant.verdict(&one), "DISABLED");
        assert_eq!(plant.verdict(&old), "NOT_FOUND");
        assert_eq!(plant.verdict(&new), "VALID");
        plant.restart();
        plant.apply(&packer.make(whole)).unwrap();
    }
    let (name, file) = report::make(&plant.app, &plant.local()).unwrap();
    assert!(
        name.starts_with("plant-7-") && name.ends_with("-000001.lkreport"),
        "{name}"
    );
    let report = crate::domain::packs::report::Report::open(&file, &SiteKey::of([3; 32])).unwrap();
    let of = |id| report.keys.iter().find(|key| key.id == KeyId(id)).unwrap();
    assert!(of(1).ended_at.is_some() && of(2).ended_at.is_none());
    assert_eq!((of(1).refusals, of(2).uses), (3, 5));
    assert!(of(1).older_ended.is_none() && of(2).older_ended.is_some());
    assert_eq!(report.pack, 4);
}

#[test]
fn a_revocation_counts_before_the_pack_that_has_it() {
    let mut packer = Packer::new();
    let mut plant = Plant::new(&packer);
    let secret = packer.issue(1);
    plant.apply(&packer.make(true)).unwrap();
    let list = Revocations {
        server: Uid(7),
        reign: 1,
        events: packer.head.events + 1,
        made: NOW,
        part: 1,
        parts: 1,
        ids: vec![KeyId(1), KeyId(5)],
        secrets: Vec::new(),
    };
    let revoke = |plant: &Plant, list: &Revocations| {
        revoke::apply(&plant.app, &plant.local(), &list.sign(&[signing_key()]))
    };
    let of_other = Revocations {
        server: Uid(8),
        ..list.clone()
    };
    assert!(revoke(&plant, &of_other).is_err());
    assert_eq!(revoke(&plant, &list).unwrap().ended, 1);
    assert_eq!(plant.verdict(&secret), "DISABLED");
    assert_eq!(revoke(&plant, &list).unwrap().ended, 0);
    plant.restart();
    assert_eq!(plant.verdict(&secret), "DISABLED");
    // The server has enabled the key again since; a newer pack has that.
    packer.head.events += 5;
    plant.apply(&packer.make(false)).unwrap();
    assert_eq!(plant.verdict(&secret), "VALID");
    assert_eq!(revoke(&plant, &list).unwrap().ended, 0);
    assert_eq!(plant.verdict(&secret), "VALID", "the pack is newer");
}

#[test]
fn a_site_spends_what_it_was_lent_and_no_restart_restores_a_use() {
    let mut packer = Packer::new();
    let mut plant = Plant::new(&packer);
    let secret = packer.issue(1);
    packer.keys.get_mut(&1).unwrap().lent = Some(3);
    plant.apply(&packer.make(true)).unwrap();
    assert_eq!(plant.verdict(&secret), "VALID");
    plant.restart();
    assert_eq!(plant.verdict(&secret), "VALID");
    // The same number again is not more.
    plant.apply(&packer.make(true)).unwrap();
    assert_eq!(plant.verdict(&secret), "VALID");
    assert_eq!(plant.verdict(&secret), "USAGE_EXCEEDED");
    packer.keys.get_mut(&1).unwrap().lent = Some(4);
    plant.apply(&packer.make(false)).unwrap();
    assert_eq!(plant.verdict(&secret), "VALID");
    assert_eq!(plant.verdict(&secret), "USAGE_EXCEEDED");
    plant.restart();
    assert_eq!(plant.verdict(&secret), "USAGE_EXCEEDED");
}

#[test]
fn a_restored_server_is_a_fork_and_what_had_ended_stays_ended() {
    let mut packer = Packer::new();
    let mut plant = Plant::new(&packer);
    let (gone, old, off, stays) = (
        packer.issue(1),
        packer.issue(2),
        packer.issue(3),
        packer.issue(4),
    );
    let first = packer.make(true);
    plant.apply(&first).unwrap();
    // The backup is from here.
    let mut restored = Packer::new();
    (restored.head, restored.base) = (packer.head.clone(), packer.base.clone());
    for (id, text) in [(1, &gone), (2, &old), (3, &off), (4, &stays)] {
        let secret = Secret::read_back(text).unwrap();
        restored.keys.insert(
            id,
            Issued {
                secret,
                older: None,
                enabled: true,
                lent: None,
            },
        );
    }
    packer.keys.remove(&1);
    packer.rotate(2);
    packer.keys.get_mut(&2).unwrap().older = None;
    packer.keys.get_mut(&3).unwrap().enabled = false;
    plant.apply(&packer.make(false)).unwrap();
    plant.apply(&packer.make(true)).unwrap();

    restored.head.reign = 2;
    restored.head.made = restored.head.made.plus_s(60);
    let next = restored.make(true);
    assert_eq!(plant.refused(&next), "site.fork");
    assert_eq!(show(&plant.app, &plant.local()).unwrap().fork, Fork::Seen);
    assert_eq!(plant.verdict(&gone), "NOT_FOUND");
    plant.restart();
    assert_eq!(plant.refused(&next), "site.fork");
    reset::accept_fork(&plant.app, &plant.local()).unwrap();
    plant.apply(&next).unwrap();
    for _ in 0..2 {
        assert_eq!(plant.verdict(&gone), "DISABLED");
        assert_eq!(plant.verdict(&old), "DISABLED");
        assert_eq!(plant.verdict(&off), "DISABLED");
        assert_eq!(plant.verdict(&stays), "VALID");
        plant.apply(&restored.make(false)).unwrap();
        plant.restart();
    }
    assert_eq!(plant.refused(&packer.make(true)), "site.other_reign");
}

#[test]
fn a_state_that_is_lost_takes_no_pack_that_may_have_been_applied() {
    let mut packer = Packer::new();
    let mut plant = Plant::new(&packer);
    packer.issue(1);
    let first = packer.make(true);
    plant.apply(&first).unwrap();
    let damage = |tx: &Write<'_>| tx.execute("UPDATE site_state SET sealed = zeroblob(99)", &[]);
    plant.app.store.write(Durability::Full, damage).unwrap();
    plant.app.close();
    let path = plant.folder.join("db");
    let open = || setup::open(&path, plant.files.clone(), &[], sources());
    assert!(open().is_err(), "a damaged state");
    let again = || enrol::create_again(&path, &plant.files, &packer.enrolment(), sources());
    again().unwrap();
    assert!(again().is_err(), "the state is sound");
    plant.app = open().unwrap();
    assert_eq!(plant.refused(&first), "site.made_before");
    packer.head.made = Timestamp(NOW.0 + 3_600_000);
    plant.apply(&packer.make(true)).unwrap();
}

#[test]
fn packs_that_the_folder_has_lost_are_taken_again() {
    let mut packer = Packer::new();
    let mut plant = Plant::new(&packer);
    let secret = packer.issue(1);
    let first = packer.make(true);
    let second = packer.make(false);
    plant.apply(&first).unwrap();
    plant.apply(&second).unwrap();
    let folder = plant.folder.join("packs");
    std::fs::write(folder.join("1-000001.lkpack"), b"damaged").unwrap();
    plant.restart();
    assert_eq!(plant.verdict(&secret), "site.stale_none");
    assert_eq!(plant.refused(&second), "site.base_missing");
    assert_eq!(plant.refused(&first), "site.older");
    plant.apply(&[&first[..], &second[..]].concat()).unwrap();
    assert_eq!(plant.verdict(&secret), "VALID");
    // A process that ended between the file and the commit has left a newer pack.
    packer.keys.remove(&1);
    std::fs::write(folder.join("1-000003-of-1.lkpack"), packer.make(false)).unwrap();
    plant.restart();
    assert_eq!(plant.verdict(&secret), "NOT_FOUND");
}
