//! Tests with several nodes on one database of PostgreSQL.

mod lost_commits;
mod replaced_server;

use super::cluster::{Cluster, caller_of, issued, issued_as, issued_with, local, verdict};
use super::relay::Relay;
use crate::domain::audit::{Event, Target};
use crate::domain::catalogs::BUILT_IN;
use crate::domain::keys::KeyId;
use crate::domain::keys::rotation::Grace;
use crate::domain::keys::verdict::Code;
use crate::domain::locks::lock;
use crate::domain::users::roles::Role;
use crate::error::Error;
use crate::ops::App;
use crate::ops::keys::members::KeyMembers;
use crate::ops::keys::{self, edit, rotate};
use crate::ops::policies::{self, PolicyEdit};
use crate::ops::users::{self, NewUser};
use crate::ops::workspaces::{self, NewWorkspace};
use crate::refusals;
use crate::store::audit::{self, Cut};
use crate::store::postgres::server::{Server, wait_for};
use crate::store::{Durability, Write};

fn management(name: &str) -> KeyMembers {
    KeyMembers {
        name: Some(name.to_owned()),
        scopes: Some(vec!["keys:read".to_owned(), "keys:write".to_owned()]),
        ..KeyMembers::default()
    }
}

fn disabled() -> KeyMembers {
    KeyMembers {
        enabled: Some(false),
        ..KeyMembers::default()
    }
}

fn is_refused_as(err: &Error, why: &refusals::Refusal) -> bool {
    matches!(err, Error::Unavailable(found) if found.is_like(why))
}

/// Waits until a node has the verdict on a secret.
fn wait_for_verdict(app: &App, secret: &str, code: Code) {
    wait_for("the node does not follow", || {
        (verdict(app, secret) == code).then_some(())
    });
}

#[test]
fn what_one_node_changes_another_one_knows() {
    for notifies in [true, false] {
        let cluster = Cluster::start_with(2, |address| address.notifies = notifies);
        let Some(mut cluster) = cluster else {
            return;
        };
        let [one, other] = [cluster.nodes[0].clone(), cluster.nodes[1].clone()];
        let (id, secret) = issued(&one, "pump").unwrap();
        wait_for_verdict(&other, &secret, Code::Valid);
        edit::edit(&other, &local(&other), id, disabled()).unwrap();
        wait_for_verdict(&one, &secret, Code::Disabled);
        keys::delete(&one, &local(&one), id, None).unwrap();
        wait_for_verdict(&other, &secret, Code::NotFound);
        // What keys depend on.
        let plant = NewWorkspace {
            slug: Some("plant".to_owned()),
            name: "Plant".to_owned(),
            parent: None,
        };
        workspaces::create(&one, &local(&one), plant, None).unwrap();
        policies::create(
            &other,
            &local(&other),
            "strict".to_owned(),
            PolicyEdit::default(),
            None,
        )
        .unwrap();
        let user = NewUser {
            user_name: "alice".to_owned(),
            email: None,
            workspace: Some("plant".to_owned()),
            password: None,
            roles: vec![("plant".to_owned(), Role::Administrator)],
        };
        wait_for("the workspace is not there", || {
            other.index.directory().find_place("plant").map(drop)
        });
        users::create(&other, &local(&other), user, None).unwrap();
        cluster.check_equal();
    }
}

#[test]
fn nodes_that_write_at_once_leave_one_chain_and_the_same_index() {
    const EACH: usize = 40;
    let Some(mut cluster) = Cluster::start(3) else {
        return;
    };
    let began = cluster.head(0).seq;
    std::thread::scope(|scope| {
        for (number, node) in cluster.nodes.iter().enumerate() {
            for thread in 0..2 {
                scope.spawn(move || {
                    let who = local(node);
                    for round in 0..EACH {
                        let name = format!("{number} {thread} {round}");
                        let (id, _) = issued_as(node, &who, &name).unwrap();
                        match round % 4 {
                            0 => drop(edit::edit(node, &who, id, disabled()).unwrap()),
                            1 => drop(rotate::rotate(node, &who, id, Grace::AtOnce).unwrap()),
                            2 => keys::delete(node, &who, id, None).unwrap(),
                            _ => {}
                        }
                    }
                });
            }
        }
    });
    let events = 6 * (EACH + EACH / 4 * 3) as i64;
    assert_eq!(cluster.head(0).seq, began + events);
    cluster.check_equal();
}

/// What ends the right of a caller to change anything: of a key, and of the user who owns it.
type Ending = fn(&App, KeyId, &str);

/// The caller was found by the memory of one node before another one has acknowledged its end.
#[test]
fn nothing_is_allowed_after_its_end_was_acknowledged_by_another_node() {
    const ROUNDS: u32 = 50;
    let cluster = Cluster::start_with(2, |address| address.notifies = false);
    let Some(cluster) = cluster else {
        return;
    };
    let [one, other] = [&cluster.nodes[0], &cluster.nodes[1]];
    let endings: [(&str, Ending); 4] = [
        ("deleted", |app, id, _| {
            keys::delete(app, &local(app), id, None).unwrap();
        }),
        ("narrowed", |app, id, _| {
            let members = KeyMembers {
                scopes: Some(vec!["keys:read".to_owned()]),
                ..KeyMembers::default()
            };
            edit::edit(app, &local(app), id, members).unwrap();
        }),
        ("rotated", |app, id, _| {
            rotate::rotate(app, &local(app), id, Grace::AtOnce).unwrap();
        }),
        ("without a role", |app, _, user| {
            users::set_roles(app, &local(app), user, Vec::new()).unwrap();
        }),
    ];
    for (how, end) in endings {
        let user_name = format!("user-{}", how.replace(' ', "-"));
        let user = NewUser {
            user_name: user_name.clone(),
            email: None,
            workspace: None,
            password: None,
            roles: Vec::new(),
        };
        users::create(one, &local(one), user, None).unwrap();
        let role = || vec![("root".to_owned(), Role::Administrator)];
        users::set_roles(one, &local(one), &user_name, role()).unwrap();
        let (target, _) = issued(other, &format!("target {how}")).unwrap();
        for round in 0..ROUNDS {
            if how == "without a role" {
                users::set_roles(one, &local(one), &user_name, role()).unwrap();
            }
            let members = KeyMembers {
                owner: Some(Some(user_name.clone())),
                ..management(&format!("{how} {round}"))
            };
            let (id, secret) = issued_with(one, &local(one), members, Some(BUILT_IN)).unwrap();
            // A change of its own brings the other node up to date.
            other.store.write(Durability::Relaxed, |_| Ok(())).unwrap();
            let caller = caller_of(other, &secret).unwrap();
            if round == 0 {
                edit::edit(other, &caller, target, disabled()).unwrap();
            }
            end(one, id, &user_name);
            let refused = keys::delete(other, &caller, target, None);
            assert!(refused.is_err(), "{how}: {round}");
            if let Ok(caller) = caller_of(other, &secret) {
                let refused = keys::delete(other, &caller, target, None);
                assert!(refused.is_err(), "{how}: {round}");
            }
        }
    }
}

/// A key is ended by one node, and the other one is still reading its keys.
#[test]
fn a_node_that_starts_knows_what_ends_meanwhile() {
    let Some(mut cluster) = Cluster::start(1) else {
        return;
    };
    let one = cluster.nodes[0].clone();
    let keys: Vec<_> = (0..200)
        .map(|number| issued(&one, &format!("key {number}")).unwrap())
        .collect();
    std::thread::scope(|scope| {
        let ending = scope.spawn(|| {
            for (id, _) in &keys {
                keys::delete(&one, &local(&one), *id, None).unwrap();
            }
        });
        // Each has connections of its own, and a server takes a limited number of them.
        for _ in 0..6 {
            cluster.add();
        }
        ending.join().unwrap();
        for node in &cluster.nodes {
            for (_, secret) in &keys {
                wait_for_verdict(node, secret, Code::NotFound);
            }
        }
    });
    cluster.check_equal();
}

fn prune(app: &App, keep: u64) {
    let (seal_keys, now) = (app.seal_keys.clone(), app.now().wall);
    let cut = move |tx: &Write<'_>| {
        audit::prune(tx, &seal_keys, Cut::Keep(keep), i64::MAX)?;

        let event = Event::of_system("audit.prune", Target::server(), now);
        audit::append(tx, &seal_keys, event)
    };
    app.store.write(Durability::Full, cut).unwrap();
}

#[test]
fn a_node_that_missed_what_was_pruned_loads_everything_again() {
    let Some(mut cluster) = Cluster::start(1) else {
        return;
    };
    let relay = Relay::start(&cluster.address);
    cluster.add_at(relay.address());
    let [one, far] = [cluster.nodes[0].clone(), cluster.nodes[1].clone()];
    let (kept, kept_secret) = issued(&one, "kept").unwrap();
    let (gone, gone_secret) = issued(&one, "gone").unwrap();
    wait_for_verdict(&far, &gone_secret, Code::Valid);
    relay.block();
    keys::delete(&one, &local(&one), gone, None).unwrap();
    edit::edit(&one, &local(&one), kept, disabled()).unwrap();
    let (_, new_secret) = issued(&one, "new").unwrap();
    prune(&one, 0);
    assert_eq!(verdict(&far, &gone_secret), Code::Valid);
    assert!(issued(&far, "refused").is_err());
    relay.unblock();
    wait_for_verdict(&far, &gone_secret, Code::NotFound);
    assert_eq!(verdict(&far, &kept_secret), Code::Disabled);
    assert_eq!(verdict(&far, &new_secret), Code::Valid);
    issued(&far, "allowed").unwrap();
    // The writer finds the gap before the thread that follows does.
    relay.block();
    keys::delete(&one, &local(&one), kept, None).unwrap();
    prune(&one, 0);
    relay.unblock();
    wait_for("nothing can be changed", || issued(&far, "again").ok());
    assert_eq!(verdict(&far, &kept_secret), Code::NotFound);
    cluster.check_equal();
}

#[test]
fn nodes_follow_a_server_that_was_started_again() {
    let Some(server) = Server::start() else {
        return;
    };
    let mut cluster = Cluster::create(server.empty_database("cluster"));
    cluster.add();
    cluster.add();
    for round in 0..3 {
        let [one, other] = [&cluster.nodes[round % 2], &cluster.nodes[1 - round % 2]];
        let (id, secret) = issued(one, &format!("key {round}")).unwrap();
        wait_for_verdict(other, &secret, Code::Valid);
        server.crash();
        wait_for("nothing can be changed", || {
            keys::delete(one, &local(one), id, None).ok()
        });
        wait_for_verdict(other, &secret, Code::NotFound);
    }
    cluster.check_equal();
}

#[test]
fn a_failure_to_follow_skips_no_event() {
    let Some(cluster) = Cluster::start(2) else {
        return;
    };
    let [one, other] = [&cluster.nodes[0], &cluster.nodes[1]];
    let (_, secret) = issued(one, "first").unwrap();
    wait_for_verdict(other, &secret, Code::Valid);
    let applied = other.applier.applied();
    // Nothing can be put into the index while this lasts.
    let turn = other.applier.begin();
    let (_, second) = issued(one, "second").unwrap();
    assert_eq!(verdict(other, &second), Code::NotFound);
    assert_eq!(other.applier.applied(), applied);
    assert!(lock(&other.applier.progress).applied.is_some());
    drop(turn);
    wait_for_verdict(other, &second, Code::Valid);
}
