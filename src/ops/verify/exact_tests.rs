//! Exact rate limits of keys, on several nodes with one database.

use super::exact;
use super::trial::{self, About, Request};
use super::{Outcome, verify, verify_blocking};
use crate::domain::keys::KeyId;
use crate::domain::keys::quota::{RateLimit, RateStatus};
use crate::domain::keys::verdict::{Code, Question};
use crate::error::{Error, Result};
use crate::ops::following::cluster::{Cluster, issued, issued_with, local, verdict};
use crate::ops::keys::edit;
use crate::ops::keys::members::KeyMembers;
use crate::ops::policies::{self, PolicyEdit};
use crate::ops::setup::fixture::Fixture;
use crate::ops::{App, backups, schema_upgrade};
use crate::store::Store;
use crate::store::migrations_testing::{OLD, make_older};
use crate::store::postgres::Postgres;
use crate::store::postgres::server::wait_for;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

const TEN: RateLimit = RateLimit {
    limit: 10,
    window_s: 3_600,
    exact: true,
};

fn members(name: &str, rate: RateLimit) -> KeyMembers {
    KeyMembers {
        name: Some(name.to_owned()),
        rate_limit: Some(Some(rate)),
        ..KeyMembers::default()
    }
}

/// So many fresh nodes that know one another.
fn cluster(count: usize) -> Option<Cluster> {
    let cluster = Cluster::start(count)?;
    for app in &cluster.nodes {
        wait_for("the nodes do not know one another", || {
            (app.live_nodes() == count as u64 && app.require_known().is_ok()).then_some(())
        });
    }
    Some(cluster)
}

fn follows(cluster: &Cluster) {
    let head = cluster.head(0);
    for app in &cluster.nodes {
        wait_for("a node does not follow", || {
            (app.applier.applied() == head.seq).then_some(())
        });
    }
}

fn ask(app: &App, secret: &str, cost: u64) -> Result<(Code, Option<RateStatus>)> {
    let question = Question {
        cost,
        ..Question::default()
    };
    verify_blocking(app, secret, &question, None, |it| (it.code, it.rate))
}

/// How many of so many questions for each node, from four threads each, are answered VALID.
fn valid(nodes: &[Arc<App>], secret: &str, each: usize) -> usize {
    let found = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for app in nodes.iter().cycle().take(4 * nodes.len()) {
            scope.spawn(|| {
                for _ in 0..each / 4 {
                    let (code, _) = ask(app, secret, 1).unwrap();
                    assert!(matches!(
                        code,
                        Code::RateLimited | Code::UsageExceeded | Code::Valid
                    ));
                    found.fetch_add(usize::from(code == Code::Valid), SeqCst);
                }
            });
        }
    });
    found.into_inner()
}

fn remaining(app: &App, id: KeyId) -> u64 {
    remaining_of(app, id, TEN)
}

fn remaining_of(app: &App, id: KeyId, rate: RateLimit) -> u64 {
    let (_, answer) = exact::look(app, id, rate, 1, true).unwrap();
    answer.unwrap_or_else(|status| status).remaining
}

#[test]
fn nodes_admit_exactly_the_limit_together() {
    let Some(cluster) = cluster(2) else {
        return;
    };
    let one = &cluster.nodes[0];
    let (id, secret) = issued_with(one, &local(one), members("exact", TEN), None).unwrap();
    follows(&cluster);
    // No thread that answers at once waits for the database.
    let question = Question {
        cost: 1,
        ..Question::default()
    };
    let quick = || verify(one, &secret, &question, None, |it| it.code);
    assert!(matches!(quick(), Outcome::MustWait));
    let (code, rate) = ask(one, &secret, 0).unwrap();
    assert_eq!((code, rate.unwrap().remaining), (Code::Valid, 10));
    let (code, rate) = ask(&cluster.nodes[1], &secret, 1).unwrap();
    assert_eq!((code, rate.unwrap().remaining), (Code::Valid, 9));
    assert_eq!(valid(&cluster.nodes, &secret, 20), 9);
    // A refusal that stands needs no database.
    for app in &cluster.nodes {
        assert_eq!(ask(app, &secret, 1).unwrap().0, Code::RateLimited);
        let about = About {
            catalog: None,
            owner: None,
            uses_left: None,
            workspace: "root",
        };
        let tried = trial::try_known(app, &local(app), id, &about, &Request::default());
        assert_eq!(tried.unwrap().code, Code::RateLimited);
    }
    assert!(matches!(quick(), Outcome::Done(Code::RateLimited)));
}

/// What was spent shortly before an edit counts in the longer window, at every node.
#[test]
fn a_longer_window_restores_no_quota() {
    let Some(cluster) = cluster(2) else {
        return;
    };
    let (one, other) = (&cluster.nodes[0], &cluster.nodes[1]);
    let short = RateLimit { window_s: 1, ..TEN };
    let (id, secret) = issued_with(one, &local(one), members("exact", short), None).unwrap();
    for _ in 0..10 {
        ask(one, &secret, 1).unwrap();
    }
    let spent = 10 - remaining_of(one, id, short);
    edit::edit(one, &local(one), id, members("exact", TEN)).unwrap();
    follows(&cluster);
    let admin = Postgres::open(&cluster.address).unwrap();
    admin
        .batch("UPDATE exact_windows SET ends_at = ends_at - 60000")
        .unwrap();
    one.store.forget_exact_windows().unwrap();
    assert!(remaining(other, id) <= 10 - spent);
}

#[test]
fn what_another_limit_refuses_is_not_counted() {
    let Some(cluster) = cluster(2) else {
        return;
    };
    let one = &cluster.nodes[0];
    let four = KeyMembers {
        uses_left: Some(Some(4)),
        ..members("exact", TEN)
    };
    let (id, secret) = issued_with(one, &local(one), four, None).unwrap();
    follows(&cluster);
    assert_eq!(valid(&cluster.nodes[..1], &secret, 40), 4);
    assert_eq!(remaining(one, id), 6);
}

#[test]
fn without_the_database_a_key_with_an_exact_limit_opens_nothing() {
    let Some(cluster) = cluster(2) else {
        return;
    };
    let (one, other) = (&cluster.nodes[0], &cluster.nodes[1]);
    let (_, secret) = issued_with(one, &local(one), members("exact", TEN), None).unwrap();
    let (_, plain) = issued(one, "plain").unwrap();
    follows(&cluster);
    assert_eq!(ask(other, &secret, 1).unwrap().0, Code::Valid);
    let admin = Postgres::open(&cluster.address).unwrap();
    admin
        .batch("ALTER TABLE exact_windows RENAME TO away")
        .unwrap();
    for app in &cluster.nodes {
        for cost in [0, 1] {
            let refused = ask(app, &secret, cost).unwrap_err();
            assert!(matches!(&refused, Error::Unavailable(_)), "{refused:?}");
            assert!(
                refused.to_string().contains("exact rate limit"),
                "{refused}"
            );
        }
        assert_eq!(verdict(app, &plain), Code::Valid);
    }
    admin
        .batch("ALTER TABLE away RENAME TO exact_windows")
        .unwrap();
    assert_eq!(valid(&cluster.nodes, &secret, 20), 9);
}

#[test]
fn limits_become_exact_when_the_cluster_has_the_schema() {
    let Some((database, address)) = crate::store::postgres::server::empty_database() else {
        return;
    };
    let mut cluster = Cluster::create(address.clone());
    cluster.database = Some(database);
    let admin = Postgres::open(&address).unwrap();
    make_older(&admin, address.schemas);
    cluster.add();
    cluster.add();
    let (one, other) = (cluster.nodes[0].clone(), cluster.nodes[1].clone());
    let caller = local(&one);
    let shared = RateLimit {
        exact: false,
        ..TEN
    };
    let (id, before) = issued_with(&one, &caller, members("before", shared), None).unwrap();
    let exactly = |app: &App| edit::edit(app, &local(app), id, members("before", TEN));
    let by_default = |app: &App, name: &str| {
        let edit = PolicyEdit {
            rate_limit: Some(Some(TEN)),
            ..PolicyEdit::default()
        };
        policies::create(app, &local(app), name.to_owned(), edit, None)
    };
    let refused = [
        issued_with(&one, &caller, members("exact", TEN), None).map(drop),
        exactly(&one).map(drop),
        by_default(&one, "exactly").map(drop),
    ];
    for refused in refused {
        let why = refused.unwrap_err();
        assert!(matches!(&why, Error::Conflict(_)), "{why:?}");
        assert!(
            why.to_string().contains("latchkey cluster upgrade"),
            "{why}"
        );
    }
    // The way back of the upgrade: a backup that the older program restores.
    let backup = backups::create(&one, &caller, None).unwrap();
    assert_eq!(Store::schema(&backup.path).unwrap(), OLD);
    assert_eq!(schema_upgrade::upgrade(&one, &caller).unwrap().version, OLD);
    let backup = backups::create(&one, &caller, None).unwrap();
    assert_eq!(Store::schema(&backup.path).unwrap(), OLD + 1);
    exactly(&other).unwrap();
    by_default(&one, "exactly").unwrap();
    follows(&cluster);
    assert_eq!(valid(&cluster.nodes, &before, 20), 10);
    cluster.check_equal();
}

#[test]
fn a_single_node_counts_exactly_in_memory() {
    let fixture = Fixture::new();
    let app = &fixture.app;
    let (_, secret) = issued_with(app, &fixture.local(), members("exact", TEN), None).unwrap();
    let found = (0..30).filter(|_| ask(app, &secret, 1).unwrap().0 == Code::Valid);
    assert_eq!(found.count(), 10);
}
