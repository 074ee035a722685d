//! A server that another one has replaced and that goes on answering.

use super::super::cluster::{Cluster, issued};
use super::lost_commits::{names, set_standbys};
use super::wait_for_verdict;
use crate::domain::keys::verdict::Code;
use crate::store::Read;
use crate::store::postgres::Postgres;
use crate::store::postgres::server::{Server, wait_for};

/// The standby is promoted, and the primary before is not shut down: it says that it takes changes, and its commits wait for a standby.
#[test]
fn all_connections_of_a_node_leave_a_server_that_was_replaced() {
    let Some(old) = Server::start() else {
        return;
    };
    let address = old.empty_database("cluster");
    let mut cluster = Cluster::create(address.clone());
    let admin = Read::from(Postgres::open(&address).unwrap());
    let new = old.start_standby();
    set_standbys(&admin, "*");
    let new_address = address.at(&new.folder);
    cluster.add_at(address.or_at(&new_address));
    let node = cluster.nodes[0].clone();
    issued(&node, "before").unwrap();
    assert!(names(&node).contains_key("before"));

    new.promote();
    cluster.address = new_address.clone();
    cluster.add_at(new_address);
    // The node writes nothing meanwhile.
    let (_, later) = issued(&cluster.nodes[1], "later").unwrap();
    wait_for_verdict(&node, &later, Code::Valid);
    wait_for("lists stay old", || {
        names(&node).contains_key("later").then_some(())
    });
    wait_for("the node stays stale", || node.require_known().ok());
    issued(&node, "after").unwrap();
    assert_eq!(node.forks(), Some(0));
    cluster.check_equal();
    // Let the processes end whose commits wait.
    set_standbys(&admin, "");
}
