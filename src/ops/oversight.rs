//! What happened: the audit log and usage, read, proven and cut.

use super::access::Caller;
use super::{App, Record};
use crate::domain::audit::{Changes, Event, Target};
use crate::domain::key::KeyId;
use crate::domain::people::permission::Permission;
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::store::audit::{self, Cut, Filter};
use crate::store::local::{self, HourRow};

/// Hours that one answer spans at most: 92 days.
const HOURS_MAX: i64 = 92 * 24;
/// Rows that are read at a time while looking for those that the caller may see.
const BATCH: u32 = 500;

/// A page of events, the newest first, and where the next page begins. Events of other workspaces than the
/// caller's are left out.
pub fn audit_events(
    app: &App,
    caller: &Caller,
    mut filter: Filter,
    limit: usize,
) -> Result<(Vec<Event>, Option<i64>)> {
    caller.require_somewhere(Permission::AuditRead)?;
    let directory = app.index.directory();
    let global = caller
        .require_global(&directory, Permission::AuditRead)
        .is_ok();
    let allowed = |event: &Event| {
        let workspace = crate::domain::uid::Uid::parse(&event.workspace);
        global
            || workspace.is_some_and(|uid| caller.may(&directory, Permission::AuditRead, uid, None))
    };
    app.read(|read| {
        let mut events: Vec<Event> = Vec::new();
        loop {
            let rows = audit::list(read, &filter, BATCH)?;
            let exhausted = rows.len() < BATCH as usize;
            for event in rows {
                filter.before = Some(event.seq);
                if !allowed(&event) {
                    continue;
                }
                if events.len() == limit {
                    let next = events.last().map(|event| event.seq);
                    return Ok((events, next));
                }
                events.push(event);
            }
            if exhausted {
                return Ok((events, None));
            }
        }
    })
}

/// Hourly totals of a key by verdict, with what waits to be written.
pub fn usage(
    app: &App,
    caller: &Caller,
    key: KeyId,
    since: Timestamp,
    until: Timestamp,
) -> Result<Vec<HourRow>> {
    super::keys::find(app, caller, key)?;
    if until.hour() - since.hour() > HOURS_MAX {
        return Err(Error::invalid(
            "since",
            "must be at most 92 days before until",
        ));
    }
    let hours = since.hour()..until.hour() + 1;
    let mut rows = app.read(|read| local::list_hours(read, key, hours.start, hours.end))?;
    let waiting = app.index.usage.pending(key).unwrap_or_default().verdicts;
    for (hour, code, count) in waiting {
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

/// What a cut of the audit log came to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pruned {
    pub count: usize,
    /// The number of the oldest event that is left; `None` if nothing was cut.
    pub first: Option<i64>,
}

/// Cuts the oldest events off the audit log. What is left stays provable, and the cut is an event itself.
pub fn prune(app: &App, caller: &Caller, cut: Cut) -> Result<Pruned> {
    let (index, who, peppers) = (app.index.clone(), caller.clone(), app.peppers.clone());
    app.change(caller, "audit.prune", Target::server(), move |tx, now| {
        who.require_global(&index.directory(), Permission::ServerAdmin)?;
        if matches!(cut, Cut::Before(time) if time > now) {
            return Err(Error::invalid("before", "must not be in the future"));
        }
        let Some((mark, count)) = audit::prune(tx, &peppers, cut)? else {
            return Ok((None, Pruned::default()));
        };
        let mut changes = Changes::default();
        let hash: String = mark.hash.iter().map(|byte| format!("{byte:02x}")).collect();
        changes.note(
            "first_event",
            &(mark.seq + 1 - count as i64),
            &(mark.seq + 1),
        );
        changes.note_option("hash_before_first", &None, &Some(hash));
        let record = Record {
            target: Target::server(),
            workspace: None,
            changes,
        };
        let pruned = Pruned {
            count,
            first: Some(mark.seq + 1),
        };
        Ok((Some(record), pruned))
    })
}

/// Walks the audit chain: how many events there are, or what is wrong first.
pub fn verify_chain(app: &App) -> Result<std::result::Result<i64, String>> {
    app.read(|read| audit::verify(read, &app.peppers))
}
