//! Reading what happened: the audit log, usage, policies.

use super::App;
use super::access::Caller;
use crate::domain::audit::Event;
use crate::domain::key::KeyId;
use crate::domain::people::permission::Permission;
use crate::domain::policy::Policy;
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::store::audit::{self, Filter};
use crate::store::local::{self, HourRow};
use std::sync::Arc;

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

/// Walks the audit chain: how many events there are, or what is wrong first.
pub fn verify_chain(app: &App) -> Result<std::result::Result<i64, String>> {
    app.read(|read| audit::verify(read, &app.peppers))
}

/// All policies, by name.
pub fn policies(app: &App, caller: &Caller) -> Result<Vec<Arc<Policy>>> {
    caller.require_somewhere(Permission::PoliciesRead)?;
    let mut found: Vec<Arc<Policy>> = app.index.directory().policies().cloned().collect();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}
