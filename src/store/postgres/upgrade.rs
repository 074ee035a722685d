//! Bringing the schema of a database that nodes use to that of this program.
//!
//! One transaction does it, which runs alone: it waits until the changes of all nodes have ended, and they wait for its end. So a
//! database has the older schema or the newer one, whenever this process is killed. Nodes verify from memory meanwhile.

use super::{Address, Postgres};
use crate::domain::audit::Event;
use crate::domain::keys::keyfile::KeyFiles;
use crate::error::{Error, Result};
use crate::refusals;
use crate::store::connection::{ChainEnd, Fault, FaultKind};
use crate::store::migrations::rolling;
use crate::store::schema_upgrade::{NodeProgram, SchemaState};
use crate::store::sqlite::SCHEMA_VERSION;
use crate::store::{Read, Row};

/// How often it is tried again when a table is being read for longer than it waits.
const ATTEMPTS: usize = 5;
/// How long a statement waits for a table. All who want to read the table wait behind it.
const WAIT: &str = "SET LOCAL lock_timeout = '2s'";
/// Leases are not written from here to the end: a node whose program is older could be starting.
const LOCK_LEASES: &str = "LOCK TABLE node_leases IN SHARE MODE";
/// The nodes in use, by the clock of the server.
const NODES: &str = "SELECT name, version, schema
     FROM node_leases
     WHERE seen_at > CAST(floor(extract(epoch FROM clock_timestamp()) * 1000) AS BIGINT) - $1
     ORDER BY name, node";

/// The schema of the database, and the nodes that were in use within the last `live_ms` milliseconds.
pub fn state(read: &Read, live_ms: i64) -> Result<SchemaState> {
    let nodes = read.query(NODES, &[&live_ms], |row: &Row<'_>| {
        Ok(NodeProgram {
            name: row.get("name")?,
            version: row.get("version")?,
            schema: row.get("schema")?,
        })
    })?;
    Ok(SchemaState {
        version: read.version()?,
        wanted: SCHEMA_VERSION,
        nodes,
    })
}

/// Brings the schema to that of this program, and returns what was there before. Does nothing if it is there already.
///
/// # Errors
/// `Conflict` if the program of a node in use is older. After an error the database is as it was, unless the error is that the outcome
/// is unknown.
pub fn upgrade(
    address: &Address,
    files: &KeyFiles,
    live_ms: i64,
    draft: &Event,
) -> Result<SchemaState> {
    let mut last = None;
    for _ in 0..ATTEMPTS {
        match attempt(address, files, live_ms, draft) {
            Err(Error::Unavailable(why)) if why == refusals::server::database_locked() => {
                log::info!("store: the schema is not changed yet, because its tables are in use");
                last = Some(why);
            }
            done => return done,
        }
    }
    let why = last.unwrap_or_else(refusals::server::database_locked);
    Err(Error::Unavailable(why))
}

fn attempt(
    address: &Address,
    files: &KeyFiles,
    live_ms: i64,
    draft: &Event,
) -> Result<SchemaState> {
    let postgres = Postgres::open(address)?;
    postgres.begin_alone()?;
    let read = Read::from(postgres);
    let before = carry_out(&read, files, live_ms, draft);
    drop(read.take_effects());
    match &before {
        Ok(before) if before.version < SCHEMA_VERSION => {}
        _ => {
            read.end();
            return before;
        }
    }
    if let Err(fault) = read.commit() {
        // The connection is over, so that the transaction behind it ends.
        drop(read);
        check_outcome(address, fault)?;
    }
    log::info!("store: the database was brought to schema {SCHEMA_VERSION}");
    before
}

fn carry_out(read: &Read, files: &KeyFiles, live_ms: i64, draft: &Event) -> Result<SchemaState> {
    let postgres = read.postgres()?;
    read.batch(WAIT)?;
    read.set_chain_end(Some(ChainEnd::locked(postgres.lock_head()?)));
    let before = state(read, live_ms)?;
    if before.version >= SCHEMA_VERSION {
        return Ok(before);
    }
    before.check_nodes()?;
    postgres.difference_here()?.check_useful()?;
    let schemas = postgres.address.schemas;
    rolling::run(read, schemas, before.version, files, draft.clone())?;
    postgres.forget_version();
    postgres.difference_here()?.check_useful()?;
    read.batch(LOCK_LEASES)?;
    state(read, live_ms)?.check_nodes()?;
    Ok(before)
}

/// Looks over another connection whether a commit without an answer has come to pass. If that cannot be found out either, the outcome
/// stays unknown, and is reported so.
fn check_outcome(address: &Address, fault: Fault) -> Result<()> {
    if fault.kind != FaultKind::Unknown {
        return Err(fault.error);
    }
    let found = Postgres::open(address).and_then(|other| {
        other.settle_earlier(address.resolve_max)?;
        other.version()
    });
    match found {
        Ok(version) if version >= SCHEMA_VERSION => Ok(()),
        Ok(_) => Err(Error::Unavailable(refusals::server::not_saved())),
        Err(err) => {
            log::error!(
                "store: it is not known whether the schema was changed: {} ({err})",
                fault.error
            );
            Err(Error::Unavailable(refusals::server::upgrade_unknown()))
        }
    }
}
