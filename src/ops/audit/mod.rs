//! The audit log and usage: reading, verifying and pruning.

pub mod denied;
pub mod parts;
pub mod retention;

use super::{App, Record};
use crate::authz::caller::{Caller, Identity};
use crate::domain::audit::{Changes, Event, Target};
use crate::domain::keys::KeyId;
use crate::domain::paging;
use crate::domain::time::Timestamp;
use crate::domain::uid::Uid;
use crate::domain::users::permissions::Permission;
use crate::error::{Error, Result};
use crate::index::directory::Directory;
use crate::refusals::{self, Refusal};
use crate::store::audit::{self, Cut, Mark};
use crate::store::usage;
use crate::store::usage::{HourRow, HourTotal};
use std::cmp::Reverse;

/// The longest span of one answer in hours: 92 days.
const HOURS_MAX: i64 = 92 * 24;

/// A filter for the audit log. Absent members do not restrict.
#[derive(Clone, Debug, Default)]
pub struct EventFilter {
    pub actor: Option<String>,
    pub action: Option<String>,
    pub target: Option<String>,
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
    /// Only events with a smaller number; the cursor.
    pub before: Option<i64>,
    /// Only events with a greater number.
    pub after: Option<i64>,
    pub limit: usize,
}

impl EventFilter {
    fn fits(&self, event: &Event) -> bool {
        let is = |asked: &Option<String>, found: &str| {
            asked.as_deref().is_none_or(|asked| asked == found)
        };
        is(&self.actor, &event.actor)
            && is(&self.action, &event.action)
            && is(&self.target, &event.target.id)
            && self.since.is_none_or(|since| event.at >= since)
            && self.until.is_none_or(|until| event.at < until)
    }
}

/// A page of events, newest first, and the position of the next page. Events without a workspace are visible only to
/// callers who may read the log of the whole server. Other callers see the events of the workspaces whose log they
/// may read.
pub fn audit_events(
    app: &App,
    caller: &Caller,
    wanted: &EventFilter,
) -> Result<(Vec<Event>, Option<i64>)> {
    caller.require_somewhere(Permission::AuditRead)?;
    let sources = visible(&app.index.directory(), caller);
    app.read(|read| {
        let numbers = |workspace: &Option<Uid>, after: Option<Reverse<i64>>| {
            let before = after.map(|Reverse(seq)| seq);
            let found = audit::list_numbers(read, *workspace, before, paging::BATCH)?;
            let found = found.into_iter();
            let asked = found.take_while(|seq| wanted.after.is_none_or(|after| *seq > after));
            Ok(asked.map(Reverse).collect())
        };
        let look = |Reverse(seq)| Ok(audit::find(read, seq)?.filter(|event| wanted.fits(event)));
        let start = wanted.before.map(Reverse);
        let (events, next) = paging::page(&sources, start, wanted.limit, numbers, look)?;
        Ok((events, next.map(|Reverse(seq)| seq)))
    })
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

/// Hourly totals of a key by verdict, including usage that is not written yet.
pub fn usage(
    app: &App,
    caller: &Caller,
    key: KeyId,
    since: Timestamp,
    until: Timestamp,
) -> Result<Vec<HourRow>> {
    super::keys::find(app, caller, key)?;
    if until.hour() - since.hour() > HOURS_MAX {
        return Err(Error::invalid("since", refusals::audit::span()));
    }
    let hours = since.hour()..until.hour() + 1;
    let mut rows = app.read(|read| usage::list_hours(read, key, hours.start, hours.end))?;
    let waiting = app.index.usage.pending(key).unwrap_or_default();
    for &(hour, code, count) in waiting.verdicts() {
        if !hours.contains(&hour) {
            continue;
        }
        let code = code.as_str();
        match rows
            .iter_mut()
            .find(|row| row.hour == hour && row.code == code)
        {
            Some(row) => row.count += count,
            None => rows.push(HourRow {
                hour,
                code: code.to_owned(),
                count,
            }),
        }
    }
    rows.sort_by(|a, b| (a.hour, &a.code).cmp(&(b.hour, &b.code)));
    Ok(rows)
}

/// Verdicts on all keys by hour, oldest first, including those that are not written yet. Only for callers who may
/// read every key.
pub fn totals(app: &App, caller: &Caller, since: Timestamp) -> Result<Vec<HourTotal>> {
    caller.require_global(&app.index.directory(), Permission::KeysRead)?;
    let mut rows = app.read(|read| usage::list_totals(read, since.hour()))?;
    for (hour, waiting) in app.index.usage.waiting() {
        match rows.iter_mut().find(|row| row.hour == hour) {
            Some(row) => {
                row.valid += waiting.valid;
                row.refused += waiting.refused;
            }
            None => rows.push(HourTotal {
                hour,
                valid: waiting.valid,
                refused: waiting.refused,
            }),
        }
    }
    rows.sort_by_key(|row| row.hour);
    Ok(rows)
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
    let (index, who, peppers) = (app.index.clone(), caller.clone(), app.peppers.clone());
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
        let Some((mark, count)) = audit::prune(tx, &peppers, cut, i64::MAX)? else {
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
    let hash: String = mark.hash.iter().map(|byte| format!("{byte:02x}")).collect();
    changes.note(
        "first_event",
        &(mark.seq + 1 - count as i64),
        &(mark.seq + 1),
    );
    changes.note_option("hash_before_first", &None, &Some(hash));
    changes
}

/// Refuses a caller who may not verify the hash chain, because it covers the events of all workspaces.
pub fn require_verify_chain(app: &App, caller: &Caller) -> Result<()> {
    caller.require_global(&app.index.directory(), Permission::AuditRead)
}

/// Verifies the hash chain: returns the number of events, or the first fault.
pub fn verify_chain(app: &App, caller: &Caller) -> Result<std::result::Result<i64, Refusal>> {
    require_verify_chain(app, caller)?;
    app.read(|read| audit::verify(read, &app.peppers))
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
