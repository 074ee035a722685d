//! The lease of this node: a row that it writes once a second, by which it knows that it is not behind.
//!
//! Only a write proves that: it is acknowledged when the standbys that the server waits for have it, so the server is the one that
//! changes are written to. A server that was replaced still answers queries, and its write is answered with a warning or not at all.
//! The write has a connection of its own, and waits for no change and no lock but that of its row.

use super::pulse::Watch;
use super::{Address, Postgres, next_rows, schema};
use crate::domain::nodes::NodeId;
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::refusals;
use crate::refusals::server::database_locked;
use crate::store::connection::{Cells as RowCells, Head, Row, ToValue};
use crate::store::postgres::values::{Cells, Param};
use crate::store::sqlite::SCHEMA_VERSION;
use std::time::Duration;

/// How long the server may take to write a lease. A later answer would prove nothing that is still of use.
const RENEW_MAX: Duration = Duration::from_secs(5);

/// How long a node counts as in use after its lease was written last.
const IN_USE_MS: i64 = 60_000;

/// Writes the lease, unless this program is too old for the database by now. The newest event is read after the question was sent, by
/// the same statement.
const RENEW: &str = "INSERT INTO node_leases (node, name, seen_at, version, schema)
     SELECT CAST($1 AS TEXT), CAST($2 AS TEXT), CAST(floor(extract(epoch FROM clock_timestamp()) * 1000) AS BIGINT),
            CAST($3 AS TEXT), CAST($4 AS BIGINT)
     FROM latchkey_schema
     WHERE one = 1 AND oldest_reader <= $4
     ON CONFLICT (node) DO UPDATE
     SET name = excluded.name, seen_at = excluded.seen_at, version = excluded.version, schema = excluded.schema
     RETURNING seen_at,
               (SELECT earlier.seen_at FROM node_leases AS earlier WHERE earlier.node = $1) AS earlier,
               (SELECT boot FROM nodes WHERE id = $1) AS boot,
               COALESCE((SELECT seq FROM audit_head WHERE one = 1), 0) AS seq,
               (SELECT hash FROM audit_head WHERE one = 1) AS hash,
               (SELECT count(*) FROM node_leases AS other
                WHERE other.node <> node_leases.node AND other.seen_at > node_leases.seen_at - $5) AS others";

/// The lease as it is, and the time, both by the clock of the server.
const FIND: &str =
    "SELECT seen_at, CAST(floor(extract(epoch FROM clock_timestamp()) * 1000) AS BIGINT) AS now
     FROM node_leases
     WHERE node = $1";

/// What a node writes about itself.
#[derive(Clone, Debug)]
pub struct LeaseHolder {
    pub node: NodeId,
    /// The name of its machine.
    pub name: String,
}

/// What the server has answered when it had written a lease.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Renewed {
    /// The newest event that was acknowledged when the lease was asked for, or a later one.
    pub head: Head,
    /// By the clock of the server.
    pub at: Timestamp,
    /// When the lease had been written before, if there was one.
    pub earlier: Option<Timestamp>,
    /// The latest start of the node that is recorded.
    pub boot: Option<i64>,
    /// The number of nodes that are in use, this one included.
    pub live: u64,
}

/// See the heading.
pub struct Lease {
    address: Address,
    /// `None` before the first question, and after one that failed.
    connection: Option<Postgres>,
    holder: LeaseHolder,
    /// Whether it could not be written last time.
    has_failed: bool,
    /// The lease is written once a second.
    _watch: Watch,
}

impl Lease {
    pub fn new(address: Address, holder: LeaseHolder) -> Lease {
        Lease {
            _watch: address.pulse.watch(),
            address,
            connection: None,
            holder,
            has_failed: false,
        }
    }

    /// When the lease was last written, by any process, and the time now; `None` if there is no lease.
    pub fn find(&mut self) -> Result<Option<(Timestamp, Timestamp)>> {
        let connection = self.connection()?;
        let (mut found, node) = (None, self.holder.node.to_string());
        connection.each(FIND, &[&node], &mut |row| {
            found = Some((row.get("seen_at")?, row.get("now")?));
            Ok(())
        })?;
        self.connection = Some(connection);
        Ok(found)
    }

    /// Writes the lease and waits until it is durable. Nodes that were seen within the last `live_ms` milliseconds count as in use. If
    /// that fails, the server may be one that another one has replaced, so all connections of the node are opened again. A first
    /// refusal because a table is locked is no sign of that: an upgrade of the schema locks tables, over one of these connections.
    pub fn renew(&mut self, live_ms: i64) -> Result<Renewed> {
        let round = self.address.primary.round();
        let renewed = self.renew_here(live_ms);
        let had_failed = std::mem::replace(&mut self.has_failed, renewed.is_err());
        match &renewed {
            Ok(_) => self.address.primary.stay(),
            Err(Error::Unavailable(why)) if !had_failed && *why == database_locked() => {}
            Err(_) => self.address.primary.leave(round),
        }
        renewed
    }

    /// The connection that was used before, if it can be used again: not one that was lost, or with an answer that is still to come.
    fn connection(&mut self) -> Result<Postgres> {
        match self.connection.take().filter(|it| !it.is_over()) {
            Some(connection) => Ok(connection),
            None => Postgres::open(&self.address),
        }
    }

    fn renew_here(&mut self, live_ms: i64) -> Result<Renewed> {
        let connection = self.connection()?;
        let renewed = written(&connection, &self.holder, live_ms)?;
        self.connection = Some(connection);
        Ok(renewed)
    }

    /// Deletes the lease, so that the other nodes do not wait until it is old.
    pub fn end(&mut self) -> Result<()> {
        let Some(connection) = self.connection.take() else {
            return Ok(());
        };
        let node = self.holder.node.to_string();
        connection
            .execute("DELETE FROM node_leases WHERE node = $1", &[&node])
            .map(drop)
    }
}

/// The nodes but one whose leases are younger than so many milliseconds, and the seconds until a lease is older. Their names are those
/// of their machines.
const IN_USE: &str = "SELECT node, name, CAST(ceil((seen_at + $2 - extract(epoch FROM clock_timestamp()) * 1000) / 1000) AS BIGINT) AS left_s
     FROM latchkey.node_leases
     WHERE node <> $1 AND seen_at + $2 > extract(epoch FROM clock_timestamp()) * 1000
     ORDER BY name, node";

/// Refuses a database that other nodes than `own` use, for work that no node may see. A node that was killed counts until its lease is
/// old.
pub fn check_unused(address: &Address, own: Option<NodeId>) -> Result<()> {
    let postgres = Postgres::connect(address)?;
    let has_leases = "SELECT CAST(count(*) AS BIGINT) AS count FROM pg_catalog.pg_tables
         WHERE schemaname = 'latchkey' AND tablename = 'node_leases'";
    if postgres.count(has_leases)? == 0 {
        return Ok(());
    }
    let own = own.map(|own| own.to_string()).unwrap_or_default();
    let (mut nodes, mut left_s) = (Vec::new(), 0);
    postgres.each(IN_USE, &[&own, &IN_USE_MS], &mut |row| {
        let (node, name): (String, String) = (row.get("node")?, row.get("name")?);
        nodes.push(format!("{name} ({node})"));
        left_s = row.get::<i64>("left_s")?.max(left_s);
        Ok(())
    })?;
    match nodes.is_empty() {
        true => Ok(()),
        false => Err(schema::refused(&format!(
            "is used by these nodes: {}. Stop them; if they do not run any more, wait {left_s} s until their leases are over. Nothing was \
             changed",
            nodes.join(", ")
        ))),
    }
}

fn written(postgres: &Postgres, holder: &LeaseHolder, live_ms: i64) -> Result<Renewed> {
    let (node, version) = (holder.node.to_string(), env!("CARGO_PKG_VERSION"));
    let params: [&dyn ToValue; 5] = [&node, &holder.name, &version, &SCHEMA_VERSION, &live_ms];
    let statement = postgres.prepared(RENEW)?;
    let params: Vec<Param> = params.iter().map(|param| Param(param.to_value())).collect();
    drop(postgres.link.borrow_mut().take_warnings());
    let client = postgres.link.borrow().client();
    // The result ends when the transaction has ended, and not with its row.
    let rows = postgres.run(RENEW_MAX, async {
        let mut stream = Box::pin(client?.query_raw(&statement, params).await?);
        Ok(next_rows(&mut stream).await?)
    })?;
    let warnings = postgres.link.borrow_mut().take_warnings();
    if !warnings.is_empty() {
        log::warn!("store: a lease does not count: {}", warnings.join("; "));
        return Err(Error::Unavailable(refusals::server::database_unusable()));
    }
    let Some(row) = rows.first() else {
        schema::versions(postgres)?.check_readable()?;
        return Err(Error::internal("a lease was not written"));
    };
    let row = Row::new(RowCells::Postgres(Cells { row }));
    Ok(Renewed {
        at: row.get("seen_at")?,
        earlier: row.get("earlier")?,
        boot: row.get("boot")?,
        head: Head {
            seq: row.get("seq")?,
            hash: row
                .get::<Option<[u8; 32]>>("hash")?
                .unwrap_or(Head::NONE.hash),
        },
        live: row.get::<u64>("others")? + 1,
    })
}

#[cfg(test)]
mod tests {
    use super::super::server::{Server, new_database, wait_for};
    use super::*;
    use crate::store::leases;

    fn lease(address: &Address, node: u8) -> Lease {
        let holder = LeaseHolder {
            node: NodeId([node; 16]),
            name: format!("machine-{node}"),
        };
        Lease::new(address.clone(), holder)
    }

    #[test]
    fn a_server_is_left_when_the_lease_cannot_be_written_but_not_for_a_lock_at_once() {
        let Some((_database, address)) = new_database() else {
            return;
        };
        let mut one = lease(&address, 1);
        one.renew(60_000).unwrap();
        let round = || address.primary.round();
        let before = round();
        let admin = Postgres::open(&address).unwrap();
        admin
            .batch("BEGIN; LOCK TABLE node_leases IN SHARE MODE")
            .unwrap();
        assert!(one.renew(60_000).is_err());
        assert_eq!(round(), before);
        assert!(one.renew(60_000).is_err());
        assert_ne!(round(), before);
        drop(admin);
        wait_for("the lease is not written", || one.renew(60_000).ok());
        assert!(!one.has_failed);
    }

    #[test]
    fn a_lease_counts_the_nodes_that_are_in_use() {
        let Some((_database, address)) = new_database() else {
            return;
        };
        let (mut one, mut other) = (lease(&address, 1), lease(&address, 2));
        assert_eq!(one.find().unwrap(), None);
        let first = one.renew(60_000).unwrap();
        assert_eq!((first.head, first.live), (Head::NONE, 1));
        assert_eq!((first.earlier, first.boot), (None, None));
        let found = one.find().unwrap().unwrap();
        assert!(found.0 == first.at && found.1 >= first.at);
        assert_eq!(other.renew(60_000).unwrap().live, 2);
        let again = one.renew(60_000).unwrap();
        assert_eq!((again.live, again.earlier), (2, Some(first.at)));
        assert!(again.at >= first.at);
        let admin = Postgres::open(&address).unwrap();
        admin
            .batch("UPDATE node_leases SET seen_at = seen_at - 60000 WHERE name = 'machine-2'")
            .unwrap();
        assert_eq!(one.renew(60_000).unwrap().live, 1);
        assert_eq!(other.renew(60_000).unwrap().live, 2);
        one.end().unwrap();
        let names = leases::list(&admin.into()).unwrap();
        assert_eq!(names.len(), 1);
        assert_eq!(names[0].name, "machine-2");
    }

    #[test]
    fn a_database_is_in_use_until_the_leases_of_other_nodes_are_over() {
        let Some((_database, address)) = new_database() else {
            return;
        };
        let own = NodeId([1; 16]);
        let (mut one, mut other) = (lease(&address, 1), lease(&address, 2));
        one.renew(60_000).unwrap();
        check_unused(&address, Some(own)).unwrap();
        other.renew(60_000).unwrap();
        let refused = check_unused(&address, Some(own)).unwrap_err().to_string();
        assert!(
            refused.contains("machine-2") && !refused.contains("machine-1"),
            "{refused}"
        );
        let refused = check_unused(&address, None).unwrap_err().to_string();
        assert!(refused.contains("machine-1 ("), "{refused}");
        let admin = Postgres::open(&address).unwrap();
        admin
            .batch("UPDATE node_leases SET seen_at = seen_at - 60000 WHERE name = 'machine-2'")
            .unwrap();
        check_unused(&address, Some(own)).unwrap();
        admin.batch("DROP SCHEMA latchkey CASCADE").unwrap();
        check_unused(&address, None).unwrap();
    }

    /// The server waits for a standby that does not exist, and a wait that is stopped is answered like a success.
    #[test]
    fn a_lease_that_no_standby_has_proves_nothing() {
        let Some(server) = Server::start() else {
            return;
        };
        let address = server.address(super::super::server::TEMPLATE);
        let admin = Postgres::open(&address).unwrap();
        for set in [
            "ALTER SYSTEM SET synchronous_standby_names = 'nobody'",
            "SELECT pg_reload_conf()",
        ] {
            admin.batch(set).unwrap();
        }
        for how in ["pg_cancel_backend", "pg_terminate_backend"] {
            let mut held = lease(&address, 1);
            // Until the setting is in force, leases are written.
            let renewing = std::thread::spawn(move || while held.renew(60_000).is_ok() {});
            let stop =
                format!("SELECT {how}(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'");
            wait_for("a lease without a standby counts", || {
                admin.batch(&stop).unwrap();
                renewing.is_finished().then_some(())
            });
            renewing.join().unwrap();
        }
    }
}
