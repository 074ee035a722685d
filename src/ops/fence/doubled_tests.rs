//! Two processes with one `node-id`, as after a data folder was copied.

use crate::error::{Error, Result};
use crate::ops::App;
use crate::ops::following::cluster::Cluster;
use crate::refusals;
use crate::store::postgres::server::{date, wait_for};
use crate::store::postgres::{Lease, LeaseHolder};
use crate::store::{Durability, nodes};

/// The lease of a node, as another process with its id writes it.
fn lease_of(app: &App) -> Lease {
    let holder = LeaseHolder {
        node: app.node.id(),
        name: "copy".to_owned(),
    };
    app.store.lease(holder).unwrap()
}

fn is_refused(result: Result<impl Sized>) -> bool {
    let expected = refusals::server::node_id_twice();
    matches!(result, Err(Error::Unavailable(why)) if why.is_like(&expected))
}

fn is_doubled(app: &App) -> bool {
    app.fence_figures().is_some_and(|found| found.is_doubled)
}

#[test]
fn a_copied_folder_does_not_start_while_the_node_runs() {
    let Some(cluster) = Cluster::start(1) else {
        return;
    };
    let [own, copy] = [0, 1].map(|node| cluster.folder_of(node));
    std::fs::create_dir(&copy).unwrap();
    std::fs::copy(own.join("node-id"), copy.join("node-id")).unwrap();
    assert!(is_refused(cluster.try_to_start(1)));
    // A lease that nobody writes any more.
    cluster.stop(0);
    lease_of(&cluster.nodes[0]).renew(60_000).unwrap();
    cluster.try_to_start(1).unwrap().close();
}

#[test]
fn of_two_processes_of_a_node_the_one_that_was_started_later_gives_way() {
    let Some(mut cluster) = Cluster::start(1) else {
        return;
    };
    let app = cluster.nodes[0].clone();
    let (id, mut copy) = (app.node.id(), lease_of(&app));
    let start = move |tx: &crate::store::Write<'_>| nodes::begin(tx, id, "copy", date()).map(drop);
    app.store.write(Durability::Full, start).unwrap();
    wait_for("the copy is not noticed", || {
        copy.renew(60_000).unwrap();
        is_doubled(&app).then_some(())
    });
    wait_for("the earlier one does not go on", || {
        app.require_known().ok()
    });
    wait_for("the copy has ended", || (!is_doubled(&app)).then_some(()));
    app.close();
    cluster.start_again(0);
    let app = cluster.nodes[0].clone();
    let mut copy = lease_of(&app);
    wait_for("the later one goes on", || {
        copy.renew(60_000).unwrap();
        is_refused(app.require_known()).then_some(())
    });
    assert!(is_refused(app.require_serving()));
    assert!(is_refused(app.require_fresh(app.now())));
    app.close();
    assert!(copy.find().unwrap().is_some());
}
