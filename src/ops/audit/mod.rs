//! The audit log: reading, verifying and pruning.

pub mod denied;
pub mod filter;
pub mod names;
pub mod parts;
pub mod retention;

pub use filter::EventFilter;

use super::{App, Record};
use crate::authz::caller::{Caller, Identity};
use crate::domain::audit::{Changes, Event, Outcome, Target};
use crate::domain::hex::hex;
use crate::domain::paging;
use crate::domain::uid::Uid;
use crate::domain::users::permissions::Permission;
use crate::error::{Error, Result};
use crate::index::directory::Directory;
use crate::refusals::{self, Refusal};
use crate::store::audit::{self, Cut, Mark};
use filter::Query;
use std::cmp::Reverse;

/// A page of events, newest first, and the position of the next page. Events without a workspace are visible only to
/// callers who may read the log of the whole server. Other callers see the events of the workspaces whose log they
/// may read.
pub fn audit_events(
    app: &App,
    caller: &Caller,
    wanted: &EventFilter,
) -> Result<(Vec<Event>, Option<i64>)> {
    caller.require_somewhere(Permission::AuditRead)?;
    let query = wanted.query(app, caller)?;
    let seen = visible(&app.index.directory(), caller);
    let sources = sources(&query, &seen);
    let uids: Vec<String> = seen.iter().flatten().map(Uid::to_string).collect();
    let is_seen = |event: &Event| seen.contains(&None) || uids.contains(&event.workspace);
    app.read(|read| {
        let numbers = |source: &Source<'_>, after: Option<Reverse<i64>>| {
            let before = after.map(|Reverse(seq)| seq);
            let found = match source {
                Source::Workspace(uid) => audit::list_numbers(read, *uid, before, paging::BATCH)?,
                Source::Thing(target, outcome) => {
                    audit::list_numbers_of(read, target, *outcome, before, paging::BATCH)?
                }
            };
            let found = found.into_iter();
            let asked = found.take_while(|seq| wanted.after.is_none_or(|after| *seq > after));
            Ok(asked.map(Reverse).collect())
        };
        let fits = |event: &Event| query.fits(event) && is_seen(event);
        let look = |Reverse(seq)| Ok(audit::find(read, seq)?.filter(fits));
        let start = wanted.before.map(Reverse);
        let (events, next) = paging::page(&sources, start, wanted.limit, numbers, look)?;
        Ok((events, next.map(|Reverse(seq)| seq)))
    })
}

/// Where events are looked for.
enum Source<'a> {
    /// The events about a thing, which an index finds.
    Thing(&'a Target, Outcome),
    /// The events of a workspace; `None` for all events.
    Workspace(Option<Uid>),
}

/// The sources with the fewest events that contain all events that a query asks for.
fn sources<'a>(query: &'a Query<'_>, seen: &[Option<Uid>]) -> Vec<Source<'a>> {
    match &query.targets {
        Some(targets) => {
            let of = |target| Outcome::ALL.map(|outcome| Source::Thing(target, outcome));
            targets.iter().flat_map(of).collect()
        }
        None => seen.iter().map(|uid| Source::Workspace(*uid)).collect(),
    }
}

/// Does the same as [`audit_events`] for an export. The export is itself an event, and this event is the first one
/// exported.
pub fn export(
    app: &App,
    caller: &Caller,
    wanted: &EventFilter,
) -> Result<(Vec<Event>, Option<i64>)> {
    let who = caller.clone();
    app.change(caller, "audit.export", Target::server(), move |_, _| {
        who.require_somewhere(Permission::AuditRead)?;
        let record = Record {
            target: Target::server(),
            workspace: None,
            changes: Changes::default(),
        };
        Ok((Some(record), ()))
    })?;
    audit_events(app, caller, wanted)
}

/// The workspaces whose events the caller may see; `None` stands for all workspaces and the server itself.
fn visible(directory: &Directory, caller: &Caller) -> Vec<Option<Uid>> {
    if caller
        .require_global(directory, Permission::AuditRead)
        .is_ok()
    {
        return vec![None];
    }
    let all = directory.places().map(|place| place.workspace.uid);
    all.filter(|uid| caller.may(directory, Permission::AuditRead, *uid, None))
        .map(Some)
        .collect()
}

/// The result of pruning the audit log.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pruned {
    pub count: usize,
    /// The number of the oldest event that is left; `None` if no event was deleted.
    pub first: Option<i64>,
}

/// Deletes the oldest events of the audit log. The remaining chain can still be verified, and the cut is an event
/// itself.
///
/// Only the administrator of the machine may delete the events of the last days: a stolen key must not, even with
/// full rights, be able to remove the traces of its use.
pub fn prune(app: &App, caller: &Caller, cut: Cut) -> Result<Pruned> {
    let kept_days = match caller.identity {
        Identity::Local => 0,
        _ => app.audit_minimum.days(),
    };
    let (index, who, seal_keys) = (app.index.clone(), caller.clone(), app.seal_keys.clone());
    app.change(caller, "audit.prune", Target::server(), move |tx, now| {
        who.require_global(&index.directory(), Permission::ServerAdmin)?;
        if matches!(cut, Cut::Before(time) if time > now) {
            return Err(Error::invalid("before", refusals::audit::in_the_future()));
        }
        if kept_days > 0 {
            let kept_from = retention::days_before(now, kept_days);
            if audit::last(tx, cut)? > audit::last(tx, Cut::Before(kept_from))? {
                return Err(Error::Forbidden(refusals::audit::kept(
                    kept_days, kept_from,
                )));
            }
        }
        let Some((mark, count)) = audit::prune(tx, &seal_keys, cut, i64::MAX)? else {
            return Ok((None, Pruned::default()));
        };
        let record = Record {
            target: Target::server(),
            workspace: None,
            changes: cut_off(&mark, count),
        };
        let pruned = Pruned {
            count,
            first: Some(mark.seq + 1),
        };
        Ok((Some(record), pruned))
    })
}

/// The content of a cut's event: where the log begins now, and the hash that proves its first event.
fn cut_off(mark: &Mark, count: usize) -> Changes {
    let mut changes = Changes::default();
    let hash = hex(&mark.hash);
    changes.note(
        "first_event",
        &(mark.seq + 1 - count as i64),
        &(mark.seq + 1),
    );
    changes.note_option("hash_before_first", &None, &Some(hash));
    changes
}

/// Refuses a caller who may read the log of no workspace.
pub fn require_read(app: &App, caller: &Caller) -> Result<()> {
    caller.require_in_any(&app.index.directory(), Permission::AuditRead)
}

/// Refuses a caller who may not verify the hash chain, because it covers the events of all workspaces.
pub fn require_verify_chain(app: &App, caller: &Caller) -> Result<()> {
    caller.require_global(&app.index.directory(), Permission::AuditRead)
}

/// Verifies the hash chain: returns the number of events, or the first fault.
pub fn verify_chain(app: &App, caller: &Caller) -> Result<std::result::Result<i64, Refusal>> {
    require_verify_chain(app, caller)?;
    app.read(|read| audit::verify(read, &app.seal_keys))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::setup::fixture::Fixture;
    use crate::ops::workspaces::{self, NewWorkspace};
    use std::sync::atomic::{AtomicBool, Ordering};

    #[test]
    fn commits_are_published_while_lists_are_read() {
        let fixture = Fixture::new();
        let (app, local) = (&fixture.app, fixture.local());
        let done = AtomicBool::new(false);
        let wanted = EventFilter {
            actor: Some("nobody".to_owned()),
            limit: 1,
            ..EventFilter::default()
        };
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while !done.load(Ordering::Relaxed) {
                        let (events, _) = audit_events(app, &local, &wanted).unwrap();
                        assert!(events.is_empty());
                    }
                });
            }
            for number in 0..20 {
                let new = NewWorkspace {
                    slug: Some(format!("w{number}")),
                    name: "w".to_owned(),
                    parent: None,
                };
                workspaces::create(app, &local, new, None).unwrap();
            }
            done.store(true, Ordering::Relaxed);
        });
        let sources = visible(&app.index.directory(), &local);
        assert_eq!(sources, [None], "who sees all needs one source");
    }
}
