//! Several nodes on a database of a real server that is replaced by an older copy.

use super::{forget, known};
use crate::authz::caller::Origin;
use crate::domain::audit::Event;
use crate::domain::keys::KeyId;
use crate::domain::keys::rotation::Grace;
use crate::domain::keys::verdict::{Code, Question};
use crate::domain::policies::CredentialHeader;
use crate::error::{Error, Result};
use crate::ops::App;
use crate::ops::fence::Limits;
use crate::ops::following::cluster::{
    Cluster, PASSWORD, issued, issued_with, local, user, user_session, verdict,
};
use crate::ops::keys::members::KeyMembers;
use crate::ops::keys::{self, edit, rotate};
use crate::ops::sessions;
use crate::ops::users::{self, UserEdit};
use crate::ops::{authenticate, verify};
use crate::refusals;
use crate::store::audit::events;
use crate::store::postgres::server::{date, wait_for};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

fn members(name: &str) -> KeyMembers {
    KeyMembers {
        name: Some(name.to_owned()),
        ..KeyMembers::default()
    }
}

fn with_uses(name: &str, uses: u64) -> KeyMembers {
    KeyMembers {
        uses_left: Some(Some(uses)),
        ..members(name)
    }
}

fn disabled() -> KeyMembers {
    KeyMembers {
        enabled: Some(false),
        ..KeyMembers::default()
    }
}

pub(super) fn narrowed() -> KeyMembers {
    KeyMembers {
        expires_at: Some(Some(crate::domain::time::Timestamp(date().0 + 300))),
        ..KeyMembers::default()
    }
}

pub(super) fn no_use() -> KeyMembers {
    KeyMembers {
        uses_left: Some(Some(1)),
        ..KeyMembers::default()
    }
}

/// Whether a node lets a secret pass. A refusal to answer opens nothing.
pub(super) fn opens(app: &App, secret: &str) -> bool {
    let code = verify::verify_blocking(app, secret, &Question::default(), None, |it| it.code);
    matches!(code, Ok(Code::Valid))
}

pub(super) fn is_session(app: &App, token: &str) -> bool {
    let header = CredentialHeader::Bearer;
    let found = authenticate::authenticate(app, token, header, Origin::default(), true);
    matches!(found, Ok(Some(_)))
}

fn number(app: &App, id: KeyId) -> i64 {
    let key = app.read(|read| crate::store::keys::find(read, id));
    key.unwrap().unwrap().number
}

/// The events of the nodes that have closed the copy.
pub(super) fn closings(app: &App) -> Vec<Event> {
    let mut found = Vec::new();
    app.read(|read| {
        events::each_after(read, 0, |event| {
            if event.action == "server.close_older_copy" {
                found.push(event);
            }
            Ok(())
        })
    })
    .unwrap();
    found
}

pub(super) fn wait_until_closed(app: &App, count: usize) {
    wait_for("the copy is not closed", || {
        (closings(app).len() == count && app.applier.fork().is_none()).then_some(())
    });
}

fn refused(result: Result<impl Sized>) -> String {
    match result {
        Err(Error::Unavailable(why)) => why.to_string(),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it was not refused"),
    }
}

/// Waits until a node remembers so many others.
fn wait_until_known(cluster: &Cluster, node: usize, count: usize) {
    let database = cluster.folder_of(node).join("db");
    wait_for("the nodes are not remembered", || {
        (known::read(&database).len() == count).then_some(())
    });
}

/// What ends the access of a secret.
type Ending = fn(&App, KeyId);

const ENDINGS: [Ending; 4] = [
    |app, id| keys::delete(app, &local(app), id, None).unwrap(),
    |app, id| drop(edit::edit(app, &local(app), id, disabled()).unwrap()),
    |app, id| drop(rotate::rotate(app, &local(app), id, Grace::AtOnce).unwrap()),
    |app, id| drop(edit::edit(app, &local(app), id, narrowed()).unwrap()),
];

/// P15: a restore to before 50 endings, with two nodes up, and one down that comes back later and knows endings of its own.
#[test]
fn nothing_that_had_ended_opens_after_a_restore() {
    let Some(mut cluster) = Cluster::start(3) else {
        return;
    };
    let first = cluster.nodes[0].clone();
    let keys: Vec<(KeyId, String)> = (0..40)
        .map(|number| issued(&first, &format!("key {number}")).unwrap())
        .collect();
    let names: Vec<String> = (0..5).map(|number| format!("user-{number}")).collect();
    names.iter().for_each(|name| user(&first, name));
    let (_, counted) = issued_with(&first, &local(&first), with_uses("counted", 5), None).unwrap();
    let (_, kept) = issued(&first, "kept").unwrap();
    let tokens: Vec<String> = (0..5).map(|_| user_session(&first, "user-0")).collect();
    drop(first);
    let copy = cluster.copy();
    for node in 0..3 {
        wait_until_known(&cluster, node, 2);
    }
    let [one, two, away] = [0, 1, 2].map(|node| cluster.nodes[node].clone());
    // What all of them know.
    for (at, (id, _)) in keys.iter().enumerate().take(30) {
        ENDINGS[at % 4]([&one, &two, &away][at % 3], *id);
    }
    for name in &names {
        let edit = UserEdit {
            enabled: Some(false),
            ..UserEdit::default()
        };
        users::edit(&two, &local(&two), name, edit).unwrap();
    }
    let late = issued(&two, "issued after the copy").unwrap();
    let mut numbers = vec![number(&two, late.0)];
    let head = cluster.head(0).seq;
    for node in [&one, &two, &away] {
        wait_for("a node does not follow", || {
            (node.applier.applied() == head).then_some(())
        });
    }
    for node in [&one, &two, &away] {
        wait_for("what has ended is open", || {
            let mut ended = keys.iter().take(30);
            (!ended.any(|(_, secret)| opens(node, secret))).then_some(())
        });
    }
    // What only the third one knows, before it is lost together with the database.
    let turns = [&one, &two].map(|app| app.read(|read| app.applier.prepare(read, &[])).unwrap());
    for (at, (id, _)) in keys.iter().enumerate().skip(30) {
        ENDINGS[at % 4](&away, *id);
    }
    drop(away);
    cluster.stop(2);
    let is_over = AtomicBool::new(false);
    let opened = std::thread::scope(|scope| {
        let watching = [&one, &two].map(|app| {
            let (keys, tokens, is_over) = (&keys, &tokens, &is_over);
            scope.spawn(move || {
                let mut opened = 0;
                while !is_over.load(SeqCst) {
                    let all = keys
                        .iter()
                        .take(30)
                        .filter(|(_, secret)| opens(app, secret));
                    opened +=
                        all.count() + tokens.iter().filter(|token| is_session(app, token)).count();
                }
                opened
            })
        });
        cluster.exchange_with(&copy);
        drop(turns);
        for app in [&one, &two] {
            wait_until_closed(app, 2);
        }
        is_over.store(true, SeqCst);
        watching.map(|watching| watching.join().unwrap())
    });
    assert_eq!(opened, [0, 0]);
    // The third one is waited for.
    for app in [&one, &two] {
        let why = wait_for("changes are not refused", || {
            let why = refused(issued(app, "refused"));
            why.contains("forget NODE").then_some(why)
        });
        let id = std::fs::read_to_string(cluster.folder_of(2).join("node-id")).unwrap();
        assert!(why.contains(id.trim()), "{why}");
        let signed_in = sessions::sign_in(app, "user-0", PASSWORD, None, Origin::default());
        assert!(signed_in.is_err());
        assert_eq!(verdict(app, &kept), Code::Valid);
        assert_ne!(verdict(app, &late.1), Code::Valid);
    }
    // A node with an empty folder has nothing to protect.
    cluster.add();
    let new = cluster.nodes[3].clone();
    let unknown = verify::verify_blocking(&new, &kept, &Question::default(), None, |it| it.code);
    assert!(refused(unknown).contains("does not know what had ended"));
    // It comes back.
    cluster.start_again(2);
    let away = cluster.nodes[2].clone();
    for app in [&one, &two, &away, &new] {
        wait_for("a change is refused", || issued(app, "allowed").ok());
        wait_for("nothing opens", || opens(app, &kept).then_some(()));
        for (_, secret) in &keys {
            assert!(!opens(app, secret));
        }
        assert!(!opens(app, &counted));
        for _ in 0..3 {
            numbers.push(number(app, issued(app, "new").unwrap().0));
        }
    }
    let count = numbers.len();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), count);
    assert!(numbers[1] > numbers[0] + 60_000, "{numbers:?}");
    // Each has closed once, and the uses were taken once.
    let closings = closings(&one);
    assert_eq!(closings.len(), 3);
    let taken = closings
        .iter()
        .filter(|event| event.changes.contains("uses_taken"));
    assert_eq!(taken.count(), 1);
    drop((one, two, away, new));
    // What the files know is kept, and they follow the log that is there now.
    for node in 0..4 {
        cluster.stop(node);
        cluster.start_again(node);
    }
    assert_eq!(self::closings(&cluster.nodes[0]).len(), 3);
    for (_, secret) in &keys {
        assert!(!opens(&cluster.nodes[1], secret));
    }
    cluster.check_equal();
}

/// P4b: the primary that takes over lacks what was acknowledged, and a node that was behind has gone on with it.
#[test]
fn what_a_primary_lost_stays_ended_though_another_node_went_on() {
    let Some(mut cluster) = Cluster::start(2) else {
        return;
    };
    let (_, untouched) = issued(&cluster.nodes[0], "untouched").unwrap();
    let (id, secret) = issued(&cluster.nodes[0], "narrowed").unwrap();
    let copy = cluster.copy();
    for node in 0..2 {
        wait_until_known(&cluster, node, 1);
    }
    let one = cluster.nodes[0].clone();
    edit::edit(&one, &local(&one), id, no_use()).unwrap();
    cluster.stop(0);
    cluster.stop(1);
    cluster.exchange_with(&copy);
    // A node that knows nothing goes on with what is left, and changes it later than the lost change.
    cluster.add();
    let new = cluster.nodes[2].clone();
    let (_, later) = issued(&new, "later").unwrap();
    assert_eq!(verdict(&new, &secret), Code::Valid);
    drop(one);
    cluster.start_again(0);
    cluster.start_again(1);
    for app in &cluster.nodes {
        wait_for("changes are refused", || issued(app, "allowed").ok());
        assert_ne!(verdict(app, &secret), Code::Valid);
        assert_eq!(verdict(app, &untouched), Code::Valid);
        assert_eq!(verdict(app, &later), Code::Valid);
    }
    cluster.check_equal();
}

#[test]
fn a_node_that_ends_before_its_file_has_the_closing_closes_once() {
    let Some(mut cluster) = Cluster::start(1) else {
        return;
    };
    let (id, secret) = issued(&cluster.nodes[0], "ended").unwrap();
    let copy = cluster.copy();
    keys::delete(&cluster.nodes[0], &local(&cluster.nodes[0]), id, None).unwrap();
    cluster.stop(0);
    let file = cluster.folder_of(0).join("tombstones");
    let before = std::fs::read(&file).unwrap();
    cluster.exchange_with(&copy);
    cluster.start_again(0);
    assert_eq!(closings(&cluster.nodes[0]).len(), 1);
    // As if the process had ended between the commit and the file.
    cluster.stop(0);
    std::fs::write(&file, before).unwrap();
    cluster.start_again(0);
    assert_eq!(closings(&cluster.nodes[0]).len(), 1);
    assert_eq!(verdict(&cluster.nodes[0], &secret), Code::NotFound);
    cluster.stop(0);
    cluster.start_again(0);
    assert_eq!(closings(&cluster.nodes[0]).len(), 1);
    issued(&cluster.nodes[0], "allowed").unwrap();
}

#[test]
fn a_node_that_is_lost_is_given_up_by_the_administrator_alone() {
    let Some(mut cluster) = Cluster::start(2) else {
        return;
    };
    let (id, secret) = issued(&cluster.nodes[0], "ended").unwrap();
    let (known, _) = issued(&cluster.nodes[0], "known").unwrap();
    let copy = cluster.copy();
    for node in 0..2 {
        wait_until_known(&cluster, node, 1);
    }
    let one = cluster.nodes[0].clone();
    let lost = cluster.nodes[1].node.id().to_string();
    keys::delete(&one, &local(&one), known, None).unwrap();
    // A node that lacks what the other one had acknowledged does not see it leave.
    let turn = one.read(|read| one.applier.prepare(read, &[])).unwrap();
    let other = cluster.nodes[1].clone();
    keys::delete(&other, &local(&other), id, None).unwrap();
    drop(other);
    cluster.stop(1);
    cluster.exchange_with(&copy);
    drop(turn);
    let key = issued(&one, "noticed").is_ok();
    assert!(!key);
    wait_until_closed(&one, 1);
    assert!(one.applier.is_waiting());
    assert!(forget::forget(&one, &local(&one), "nobody").is_err());
    forget::forget(&one, &local(&one), &lost).unwrap();
    let again = forget::forget(&one, &local(&one), &lost);
    let expected = refusals::server::node_not_waited_for(&lost);
    assert!(matches!(again, Err(Error::Conflict(why)) if why.is_like(&expected)));
    issued(&one, "allowed").unwrap();
    // It comes back all the same, and closes the copy.
    cluster.start_again(1);
    wait_until_closed(&cluster.nodes[1], 2);
    assert_ne!(verdict(&cluster.nodes[1], &secret), Code::Valid);
    drop(one);
    cluster.check_equal();
}

/// A command has no thread that closes the copy.
#[test]
fn giving_a_node_up_loads_nothing_from_a_copy_that_is_not_closed() {
    let Some(mut cluster) = Cluster::start(3) else {
        return;
    };
    let (id, secret) = issued(&cluster.nodes[0], "ended").unwrap();
    let (other, _) = issued(&cluster.nodes[0], "ended elsewhere").unwrap();
    let copy = cluster.copy();
    for node in 0..3 {
        wait_until_known(&cluster, node, 2);
    }
    let [one, lost] = [0, 2].map(|node| cluster.nodes[node].clone());
    cluster.stop(1);
    let command = cluster.open_for_a_command(1);
    keys::delete(&one, &local(&one), id, None).unwrap();
    command.store.follow_now().unwrap();
    assert!(!opens(&command, &secret));
    // A node that lacks what the other one had acknowledged does not see it leave.
    let turn = one.read(|read| one.applier.prepare(read, &[])).unwrap();
    keys::delete(&lost, &local(&lost), other, None).unwrap();
    cluster.stop(2);
    cluster.exchange_with(&copy);
    drop(turn);
    wait_until_closed(&one, 1);
    let lost = lost.node.id().to_string();
    forget::forget(&command, &local(&command), &lost).unwrap();
    assert!(command.applier.fork().is_some());
    assert!(!opens(&command, &secret));
    command.close();
}

/// The copy has fewer events than the index, so their number proves nothing.
#[test]
fn a_lease_on_a_database_that_lacks_what_the_node_knows_does_not_count() {
    let Some(mut cluster) = Cluster::start(1) else {
        return;
    };
    let (id, _) = issued(&cluster.nodes[0], "ended").unwrap();
    let copy = cluster.copy();
    let one = cluster.nodes[0].clone();
    keys::delete(&one, &local(&one), id, None).unwrap();
    // The other log cannot be noticed while this is held.
    let turn = one.read(|read| one.applier.prepare(read, &[])).unwrap();
    cluster.exchange_with(&copy);
    one.set_limits(Limits {
        stale_after_ms: 1_500,
        refuse_after_ms: None,
    });
    let connected = || one.fence_figures().is_some_and(|found| found.is_connected);
    wait_for("the node still counts as up to date", || {
        (connected() && one.require_known().is_err()).then_some(())
    });
    drop(turn);
    wait_until_closed(&one, 1);
    one.set_limits(Limits::default());
    wait_for("the node does not go on", || issued(&one, "allowed").ok());
}
