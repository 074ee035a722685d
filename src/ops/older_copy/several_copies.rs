//! Nodes that come back late, after the log was cut, and databases that are replaced more than once.

use super::keeper::Keeper;
use super::tests::{closings, is_session, narrowed, no_use, opens, wait_until_closed};
use super::{forget, known};
use crate::domain::keys::KeyId;
use crate::domain::keys::verdict::Code;
use crate::domain::time::Timestamp;
use crate::ops::App;
use crate::ops::audit;
use crate::ops::following::cluster::{
    Cluster, caller_of, issued, local, user, user_session, verdict,
};
use crate::ops::keys::{self, edit};
use crate::ops::sessions;
use crate::store::audit::Cut;
use crate::store::postgres::server::{self, Database, wait_for};
use std::sync::Arc;

/// Two nodes that know of different endings, of which the copy has none.
struct Apart {
    cluster: Cluster,
    one: Arc<App>,
    away: Arc<App>,
    copy: Database,
    /// What only the second node ends: one key is deleted, and the other one is narrowed.
    secrets: [String; 2],
    /// Held so that the first node follows nothing.
    turn: Option<Box<dyn FnOnce()>>,
}

impl Apart {
    fn new() -> Option<Apart> {
        let mut cluster = Cluster::start(2)?;
        let keys = ["deleted", "narrowed", "known"];
        let keys: [(KeyId, String); 3] = keys.map(|name| issued(&cluster.nodes[0], name).unwrap());
        let copy = cluster.copy();
        let [one, away] = [0, 1].map(|node| cluster.nodes[node].clone());
        for node in [0, 1] {
            wait_for("the other node is not remembered", || {
                let database = cluster.folder_of(node).join("db");
                (known::read(&database).len() == 1).then_some(())
            });
        }
        keys::delete(&one, &local(&one), keys[2].0, None).unwrap();
        wait_for("the other node does not follow", || {
            (!opens(&away, &keys[2].1)).then_some(())
        });
        let [(deleted, first), (changed, second), _] = keys;
        let turn = one.read(|read| one.applier.prepare(read, &[])).unwrap();
        keys::delete(&away, &local(&away), deleted, None).unwrap();
        edit::edit(&away, &local(&away), changed, narrowed()).unwrap();
        Some(Apart {
            cluster,
            one,
            away,
            copy,
            secrets: [first, second],
            turn: Some(turn),
        })
    }

    /// Puts the copy in the place of the database, and lets the first node go on, which closes it.
    fn exchange(&mut self) {
        self.cluster.exchange_with(&self.copy);
        self.turn = None;
        wait_until_closed(&self.one, 1);
    }

    /// Gives the second node up at the first one, goes on, and cuts off the log up to the newest event.
    fn go_on_and_cut(&self) {
        let one = &self.one;
        forget::forget(one, &local(one), &self.away.node.id().to_string()).unwrap();
        (0..9).for_each(|_| drop(issued(one, "later").unwrap()));
        cut(one);
        assert!(closings(one).is_empty());
    }

    /// The first node and another one follow one another, and open nothing that only the second one had ended.
    #[track_caller]
    fn check_closed_at(&self, other: &App) {
        let (_, later) = issued(&self.one, "allowed").unwrap();
        for app in [&self.one, other] {
            wait_for("a node does not follow", || {
                opens(app, &later).then_some(())
            });
            assert!(!self.opens_any(app));
        }
    }

    /// Whether a node opens what only the second one had ended.
    fn opens_any(&self, app: &App) -> bool {
        self.secrets.iter().any(|secret| opens(app, secret))
    }
}

/// Deletes all events but the newest one, as soon as changes are accepted.
fn cut(app: &App) {
    wait_for("the log cannot be cut", || {
        audit::prune(app, &local(app), Cut::Keep(1)).ok()
    });
}

#[test]
fn a_node_that_comes_back_after_the_log_was_cut_ends_what_only_it_knew() {
    let Some(mut apart) = Apart::new() else {
        return;
    };
    apart.cluster.stop(1);
    apart.exchange();
    assert!(apart.opens_any(&apart.one));
    apart.go_on_and_cut();
    apart.cluster.start_again(1);
    let away = apart.cluster.nodes[1].clone();
    wait_until_closed(&away, 1);
    apart.check_closed_at(&away);
    // It has done so once, and belongs to this log now.
    cut(&away);
    for _ in 0..2 {
        apart.cluster.stop(1);
        apart.cluster.start_again(1);
        let closed_again = closings(&apart.cluster.nodes[1]);
        assert!(closed_again.is_empty());
        cut(&apart.one);
    }
    apart.cluster.check_equal();
}

/// Its process was stopped, and goes on.
#[test]
fn a_running_node_that_has_missed_a_copy_and_a_cut_ends_what_only_it_knew() {
    let Some(mut apart) = Apart::new() else {
        return;
    };
    let away = apart.away.clone();
    let turn = away.read(|read| away.applier.prepare(read, &[])).unwrap();
    apart.exchange();
    apart.go_on_and_cut();
    drop(turn);
    wait_until_closed(&away, 1);
    apart.check_closed_at(&away);
    drop(away);
    apart.cluster.check_equal();
}

/// The nodes have closed the copy, and one joined after the event of that was deleted. Each of them is then away for a cut.
#[test]
fn a_node_that_belongs_to_the_log_closes_nothing_after_a_cut() {
    let Some(mut apart) = Apart::new() else {
        return;
    };
    apart.exchange();
    wait_until_closed(&apart.away, 2);
    cut(&apart.one);
    apart.cluster.add();
    let (_, open) = issued(&apart.one, "open").unwrap();
    for node in [1, 2] {
        apart.cluster.stop(node);
        (0..9).for_each(|_| drop(issued(&apart.one, "later").unwrap()));
        cut(&apart.one);
        apart.cluster.start_again(node);
        let app = &apart.cluster.nodes[node];
        assert!(closings(app).is_empty());
        assert_eq!(verdict(app, &open), Code::Valid);
        issued(app, "allowed").unwrap();
    }
    apart.cluster.check_equal();
}

/// The second copy is from between the two closings of the first one, after the node was given up that came back later.
#[test]
fn a_node_that_closed_one_copy_late_closes_the_next_one_as_a_whole() {
    let Some(mut apart) = Apart::new() else {
        return;
    };
    apart.cluster.stop(1);
    apart.exchange();
    let (one, away) = (apart.one.clone(), apart.away.node.id().to_string());
    forget::forget(&one, &local(&one), &away).unwrap();
    user(&one, "user-1");
    let token = user_session(&one, "user-1");
    let second = apart.cluster.copy_while(&[0]);
    let one = apart.cluster.nodes[0].clone();
    apart.cluster.start_again(1);
    let away = apart.cluster.nodes[1].clone();
    wait_until_closed(&away, 2);
    let caller = caller_of(&one, &token).unwrap();
    sessions::sign_out(&one, &caller).unwrap();
    wait_for("the session goes on", || {
        (!is_session(&away, &token)).then_some(())
    });
    apart.cluster.stop(0);
    apart.cluster.exchange_with(&second);
    wait_until_closed(&away, 2);
    assert!(!is_session(&away, &token));
    let sessions =
        away.read(|read| crate::store::sessions::list(read, &away.seal_keys, Timestamp(0)));
    assert!(sessions.unwrap().is_empty());
}

/// The node that is waited for is not forgotten, wherever that is written.
#[test]
fn a_node_that_is_waited_for_is_waited_for_in_the_next_copy_too() {
    let Some(mut apart) = Apart::new() else {
        return;
    };
    let again = server::new_copy_of(apart.copy.name()).unwrap().0;
    apart.cluster.stop(1);
    apart.exchange();
    let away = apart.away.node.id().to_string();
    assert!(apart.one.applier.waited_for().contains(&away));
    Keeper::default().look(&apart.one);
    // The first copy once more, which does not have that either.
    apart.cluster.exchange_with(&again);
    wait_for("the node is not waited for", || {
        let is_closed = closings(&apart.one).len() == 1 && apart.one.applier.fork_count() == 2;
        (is_closed && apart.one.applier.fork().is_none()).then_some(())
    });
    assert!(apart.one.applier.waited_for().contains(&away));
    apart.cluster.add();
    assert!(!apart.opens_any(&apart.cluster.nodes[2]));
    apart.cluster.start_again(1);
    for app in &apart.cluster.nodes {
        wait_for("changes are refused", || issued(app, "allowed").ok());
        assert!(!apart.opens_any(app));
    }
    apart.cluster.check_equal();
}

/// Its tombstone file begins after the copy, and another node has written to the copy before.
#[test]
fn a_node_that_joined_after_the_copy_was_made_closes_what_has_changed_since() {
    let Some(mut cluster) = Cluster::start(1) else {
        return;
    };
    let (id, secret) = issued(&cluster.nodes[0], "narrowed").unwrap();
    let (_, untouched) = issued(&cluster.nodes[0], "untouched").unwrap();
    let copy = cluster.copy();
    let one = cluster.nodes[0].clone();
    (0..9).for_each(|_| drop(issued(&one, "later").unwrap()));
    cluster.add();
    edit::edit(&one, &local(&one), id, no_use()).unwrap();
    let joined = cluster.nodes[1].clone();
    wait_for("the node does not follow", || {
        (joined.applier.newest() == one.applier.newest()).then_some(())
    });
    drop((one, joined));
    (0..2).for_each(|node| cluster.stop(node));
    cluster.exchange_with(&copy);
    cluster.add();
    issued(&cluster.nodes[2], "issued in the copy").unwrap();
    assert_eq!(verdict(&cluster.nodes[2], &secret), Code::Valid);
    cluster.start_again(1);
    let joined = &cluster.nodes[1];
    wait_until_closed(joined, 2);
    assert_ne!(verdict(joined, &secret), Code::Valid);
    assert_eq!(verdict(joined, &untouched), Code::Valid);
}

/// Its folder was put back as well, so it knows less than the copy has, and goes on with it until the other node comes.
#[test]
fn what_a_node_with_an_older_folder_opens_ends_when_another_node_comes() {
    let Some(mut cluster) = Cluster::start(2) else {
        return;
    };
    let (early, first) = issued(&cluster.nodes[0], "ended before the copy").unwrap();
    let (late, second) = issued(&cluster.nodes[0], "ended after the copy").unwrap();
    cluster.stop(0);
    let files = ["tombstones", "known-nodes"].map(|name| cluster.folder_of(0).join(name));
    let before = files.each_ref().map(|path| std::fs::read(path).ok());
    cluster.start_again(0);
    let end = |app: &App, id| keys::delete(app, &local(app), id, None).unwrap();
    end(&cluster.nodes[0], early);
    let copy = cluster.copy();
    end(&cluster.nodes[0], late);
    let head = cluster.head(0);
    wait_for("the other node does not follow", || {
        (cluster.nodes[1].applier.newest() == Some(head)).then_some(())
    });
    (0..2).for_each(|node| cluster.stop(node));
    cluster.exchange_with(&copy);
    for (path, bytes) in files.iter().zip(&before) {
        let _ = std::fs::remove_file(path);
        if let Some(bytes) = bytes {
            std::fs::write(path, bytes).unwrap();
        }
    }
    cluster.start_again(0);
    let older = cluster.nodes[0].clone();
    assert!(!opens(&older, &first) && opens(&older, &second));
    assert!(closings(&older).is_empty());
    (0..9).for_each(|_| drop(issued(&older, "later").unwrap()));
    cluster.start_again(1);
    for app in &cluster.nodes {
        wait_for("changes are refused", || issued(app, "allowed").ok());
        assert!(!opens(app, &first) && !opens(app, &second));
    }
    drop(older);
    cluster.check_equal();
}
