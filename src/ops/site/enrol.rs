//! The enrolment: an empty database becomes that of a site.

use super::{find_state, put_state};
use crate::domain::audit::{Event, Target};
use crate::domain::clock::first;
use crate::domain::keys::keyfile::KeyFiles;
use crate::domain::packs::enrolment::Enrolment;
use crate::domain::packs::state::{Fork, State};
use crate::domain::time::Timestamp;
use crate::domain::uid::Uid;
use crate::error::{Error, Result};
use crate::ops::clock::{Clock, Sources};
use crate::ops::nodes;
use crate::ops::setup::insert_basis;
use crate::refusals;
use crate::store::nodes::open_file;
use crate::store::{Durability, Store, audit, clock, site, users};
use std::path::Path;

/// The state of a site that has applied nothing yet.
fn state_of(enrolment: &Enrolment, made: Timestamp) -> Result<State> {
    Ok(State {
        site: enrolment.site.clone(),
        origin: enrolment.origin.clone(),
        server: enrolment.server,
        life: match enrolment.is_used {
            true => Uid::generate()?,
            false => enrolment.site_key.first_life()?,
        },
        trusted: enrolment.keys.clone(),
        key: *enrolment.site_key.expose(),
        reign: enrolment.reign,
        pack: 0,
        events: 0,
        events_hash: [0; 32],
        pack_events: 0,
        distrusts: false,
        made,
        base: None,
        delta: None,
        fork: Fork::None,
        reports: 0,
        pack_hash: [0; 32],
        has_past: false,
        lent: None,
        enrolment: (!enrolment.is_used).then(|| enrolment.site_key.enrolment()),
        is_date_open: false,
        peppers: Vec::new(),
    })
}

/// Whether the folder of a database can be that of a node.
///
/// # Errors
/// `Unavailable` if its file `node-id` cannot be used.
pub fn check_node(path: &Path) -> Result<()> {
    open_file(&path.with_file_name(nodes::FILE)).map(drop)
}

/// Creates the database of a site at `path`: the state, a root workspace for its own log, and neither a user nor a key.
pub fn create(
    path: &Path,
    files: &KeyFiles,
    enrolment: &Enrolment,
    sources: Sources,
) -> Result<()> {
    let (wall, uptime) = ((sources.wall)(), (sources.uptime)());
    let recorded = first(wall, Some(uptime));
    let now = wall.max(recorded.mark);
    // Before the database, so that a file that cannot be used leaves nothing behind.
    let node = open_file(&path.with_file_name(nodes::FILE))?;
    Store::create(path)?;
    let store = Store::open(path, files, now, Box::new(|_, _| Ok(Box::new(|| {}))))?;
    let (files, state) = (files.clone(), state_of(enrolment, Timestamp(0))?);
    store.write(Durability::Full, move |tx| {
        clock::record(tx, node, &recorded)?;
        insert_basis(tx, &files, "site.init", now)?;
        put_state(tx, &files.sealing, &state)
    })?;
    store.close();
    Ok(())
}

/// Gives a database whose state is lost a new one. No pack is taken that was made before the time that the database knows to
/// have passed, which is returned: an older one may have been applied already.
///
/// # Errors
/// `Conflict` if the database is that of a server, or if its state is sound.
pub fn create_again(
    path: &Path,
    files: &KeyFiles,
    enrolment: &Enrolment,
    sources: Sources,
) -> Result<Timestamp> {
    let wall = (sources.wall)();
    let store = Store::open(path, files, wall, Box::new(|_, _| Ok(Box::new(|| {}))))?;
    let may = store.read(|read| {
        if !users::list(read)?.is_empty() {
            return Err(Error::Conflict(refusals::site::is_server()));
        }
        match find_state(read, &files.sealing) {
            Ok(Some(state)) => Err(Error::Conflict(refusals::site::enrolled(
                state.site,
                state.origin,
            ))),
            Ok(None) | Err(_) => Ok(()),
        }
    });
    may?;
    let recorded = store.read(clock::find_latest)?;
    let clock = Clock::new(sources, recorded.as_ref(), None);
    let passed = clock.reading().mark;
    // Heads have whole seconds, so a pack of this second can be later than now.
    let state = State {
        // The enrolment was used for the state that is lost.
        enrolment: None,
        life: Uid::generate()?,
        ..state_of(enrolment, passed.whole_second())?
    };
    let files = files.clone();
    store.write(Durability::Full, move |tx| {
        site::forget_counts(tx)?;
        put_state(tx, &files.sealing, &state)?;
        let event = Event::of_system("site.init", Target::server(), passed);
        audit::append(tx, &files.seal, event)
    })?;
    store.close();
    Ok(passed)
}
