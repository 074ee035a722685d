//! Commits without an answer: what callers learn is what the database has.

use super::super::cluster::{Cluster, issued, local, verdict};
use super::super::relay::{At, Relay, Way};
use super::{is_refused_as, wait_for_verdict};
use crate::domain::keys::KeyId;
use crate::domain::keys::verdict::{Code, Question};
use crate::error::{Error, Result};
use crate::ops::keys::issue::{NewKey, issue};
use crate::ops::keys::members::KeyMembers;
use crate::ops::{App, idempotency, keys, maintenance, verify};
use crate::refusals;
use crate::store::postgres::server::{Server, wait_for};
use crate::store::{Read, usage};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// The names of all keys, with how many have each.
pub(super) fn names(app: &App) -> BTreeMap<String, usize> {
    let mut names = BTreeMap::new();
    let read = |read: &Read| {
        read.query("SELECT name FROM keys", &[], |row| {
            row.get::<String>("name")
        })
    };
    for name in app.read(read).unwrap() {
        *names.entry(name).or_default() += 1;
    }
    names
}

/// Sets the standbys that commits wait for, and waits until that counts.
pub(super) fn set_standbys(admin: &Read, names: &str) {
    admin.tamper(&format!(
        "ALTER SYSTEM SET synchronous_standby_names = '{names}'"
    ));
    admin.tamper("SELECT pg_reload_conf()");
    wait_for("the setting is not in force", || {
        let sql = "SELECT setting FROM pg_settings WHERE name = 'synchronous_standby_names'";
        let found = admin.query_one(sql, &[], |row| row.get::<String>("setting"));
        (found.unwrap().unwrap() == names).then_some(())
    });
}

/// The processes of the server whose commits wait for a standby.
fn waiting_commits(admin: &Read) -> Vec<i64> {
    let sql =
        "SELECT CAST(pid AS BIGINT) AS pid FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
    admin.query(sql, &[], |row| row.get("pid")).unwrap()
}

#[test]
fn a_commit_that_no_standby_has_is_called_saved_only_when_one_has_it() {
    let Some(server) = Server::start() else {
        return;
    };
    let mut address = server.empty_database("cluster");
    address.resolve_max = Duration::from_secs(120);
    let mut cluster = Cluster::create(address.clone());
    cluster.add();
    cluster.add();
    let admin = Read::from(crate::store::postgres::Postgres::open(&address).unwrap());
    let [one, other] = [&cluster.nodes[0], &cluster.nodes[1]];
    set_standbys(&admin, "nobody");
    std::thread::scope(|scope| {
        let issuing = scope.spawn(|| issued(one, "cancelled"));
        let first = wait_for("the commit does not wait", || {
            waiting_commits(&admin).first().copied()
        });
        admin.tamper(&format!("SELECT pg_cancel_backend({first})"));
        // The commit was answered with a warning, and the one that finds that out waits as well.
        wait_for("nothing looks for the outcome", || {
            let waiting = waiting_commits(&admin);
            waiting.iter().any(|pid| *pid != first).then_some(())
        });
        assert!(!issuing.is_finished());
        set_standbys(&admin, "");
        let (_, secret) = issuing.join().unwrap().unwrap();
        assert_eq!(verdict(one, &secret), Code::Valid);
        wait_for_verdict(other, &secret, Code::Valid);
    });
    cluster.check_equal();
}

#[test]
fn callers_who_waited_long_enough_learn_that_the_outcome_is_not_known() {
    let Some(server) = Server::start() else {
        return;
    };
    let address = server.empty_database("cluster");
    let mut cluster = Cluster::create(address.clone());
    let mut impatient = address.clone();
    impatient.commit_max = Duration::from_millis(200);
    impatient.resolve_max = Duration::from_millis(300);
    cluster.add_at(impatient);
    let admin = Read::from(crate::store::postgres::Postgres::open(&address).unwrap());
    let node = cluster.nodes[0].clone();
    let with_retry = || {
        let new = NewKey {
            members: KeyMembers {
                name: Some("asked twice".to_owned()),
                ..KeyMembers::default()
            },
            ..NewKey::default()
        };
        let retry = idempotency::Retry::new("same", "POST /v1/keys", b"asked twice");
        issue(&node, &local(&node), new, Some(retry)).map(|issued| issued.view.key.id)
    };
    set_standbys(&admin, "nobody");
    let unknown = with_retry().unwrap_err();
    let why = refusals::server::outcome_unknown();
    assert!(is_refused_as(&unknown, &why), "{unknown}");
    // Nothing else is written before the outcome is known.
    let refused = issued(&node, "refused").unwrap_err();
    assert!(matches!(refused, Error::Unavailable(_)), "{refused:?}");
    set_standbys(&admin, "");
    let id = wait_for("the outcome is not found out", || with_retry().ok());
    assert_eq!(names(&node).get("asked twice"), Some(&1));
    assert!(!names(&node).contains_key("refused"));
    keys::delete(&node, &local(&node), id, None).unwrap();
    cluster.check_equal();
}

/// A generator of numbers that are the same in each run (Marsaglia's xorshift).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: u64) -> i64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        i64::try_from(self.0 % end).unwrap()
    }
}

/// The answer that a caller got for a change.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Told {
    NotSaved,
    Saved,
    Unknown,
}

fn told(result: &Result<(KeyId, String)>) -> Told {
    match result {
        Ok(_) => Told::Saved,
        Err(err) if is_refused_as(err, &refusals::server::outcome_unknown()) => Told::Unknown,
        Err(Error::Unavailable(_)) => Told::NotSaved,
        Err(err) => panic!("{err:?}"),
    }
}

#[test]
fn a_connection_that_is_cut_at_any_point_loses_and_doubles_nothing() {
    const CUTS: usize = 250;
    const CALLERS: usize = 3;
    let Some(mut cluster) = Cluster::start(1) else {
        return;
    };
    let relay = Relay::start(&cluster.address);
    cluster.add_at(relay.address());
    let [one, far] = [cluster.nodes[0].clone(), cluster.nodes[1].clone()];
    let (used, used_secret) = issued(&one, "used").unwrap();
    wait_for_verdict(&far, &used_secret, Code::Valid);
    let mut numbers = Numbers(7_041_776);
    let all = Mutex::new(Vec::new());
    let mut uses = 0;
    for cut in 0..CUTS {
        // A batch of this size sends about 25 kB to the server, and gets half of that.
        match cut % 4 {
            0 => relay.cut_at_commit(At::Request),
            1 => relay.cut_at_commit(At::Answer),
            2 => relay.cut_after(Way::ToServer, numbers.below(26_000)),
            _ => relay.cut_after(Way::ToNode, numbers.below(13_000)),
        }
        std::thread::scope(|scope| {
            for caller in 0..CALLERS {
                let (all, far) = (&all, &far);
                scope.spawn(move || {
                    let name = format!("{cut} {caller}");
                    let result = issued(far, &name);
                    all.lock().unwrap().push((name, result));
                });
            }
            // Another node goes on meanwhile, and its numbers come in between.
            issued(&one, &format!("other {cut}")).unwrap();
        });
        if cut % 5 == 0 {
            let question = Question {
                cost: 1,
                ..Question::default()
            };
            verify::verify_blocking(&far, &used_secret, &question, None, |it| it.code).unwrap();
            uses += 1;
            maintenance::write_usage(&far);
        }
    }
    let cuts = relay.cut_nothing();
    assert!(cuts > CUTS / 2, "{cuts}");
    wait_for("nothing can be changed", || issued(&far, "last").ok());
    while maintenance::write_usage(&far) {}
    let stored = names(&one);
    let mut count = BTreeMap::<Told, usize>::new();
    let mut saved = BTreeSet::new();
    for (name, result) in all.lock().unwrap().iter() {
        let told = told(result);
        *count.entry(told).or_default() += 1;
        match told {
            Told::Saved => assert_eq!(stored.get(name), Some(&1), "{name} is lost or doubled"),
            Told::NotSaved => assert_eq!(stored.get(name), None, "{name}: {result:?}"),
            Told::Unknown => assert!(stored.get(name).is_none_or(|found| *found == 1)),
        }
        if let Ok((_, secret)) = result {
            saved.insert(secret.clone());
        }
    }
    let found_out = [
        far.figures().unanswered_saved.load(Relaxed),
        far.figures().unanswered_not_saved.load(Relaxed),
    ];
    assert!(found_out.iter().all(|count| *count > 0), "{found_out:?}");
    println!("{cuts} connections were cut: {count:?}; commits without an answer: {found_out:?}");
    assert!(count.len() >= 2, "{count:?}");
    let found = one.read(|read| usage::find_usage(read, used)).unwrap();
    assert_eq!(found.use_count, uses);
    cluster.check_equal();
    for secret in &saved {
        assert_eq!(verdict(&one, secret), Code::Valid);
    }
}
