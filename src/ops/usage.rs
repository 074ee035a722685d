//! Reports of verdicts by hour or by day: of one key, and of all keys together. They contain what is not written yet.

use super::App;
use crate::authz::caller::Caller;
use crate::domain::catalogs::BUILT_IN;
use crate::domain::keys::KeyId;
use crate::domain::keys::live::Live;
use crate::domain::time::Timestamp;
use crate::domain::users::permissions::Permission;
use crate::error::{Error, Result};
use crate::refusals;
use crate::store::usage::{self, StepRow};

/// The longest span of one answer in hours: 92 days.
const HOURS_MAX: i64 = 92 * 24;

/// How many hours the steps of a report have.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Step {
    Day,
    Hour,
}

impl Step {
    /// The number of hours.
    pub fn hours(self) -> i64 {
        match self {
            Step::Day => 24,
            Step::Hour => 1,
        }
    }
}

/// The verdicts on one key by step and code, oldest first.
pub fn of_key(
    app: &App,
    caller: &Caller,
    key: KeyId,
    step: Step,
    since: Timestamp,
    until: Timestamp,
) -> Result<Vec<StepRow>> {
    super::keys::find(app, caller, key)?;
    if until.hour() - since.hour() > HOURS_MAX {
        return Err(Error::invalid("since", refusals::audit::span()));
    }
    let hours = since.hour()..until.hour() + 1;
    let mut rows =
        app.read(|read| usage::list_steps(read, key, step.hours(), hours.start, hours.end))?;
    let waiting = app.index.usage.pending(key).unwrap_or_default();
    for &(hour, code, count) in waiting.verdicts() {
        if hours.contains(&hour) {
            add(&mut rows, step, (hour, code.as_str(), false), count);
        }
    }
    sort(&mut rows);
    Ok(rows)
}

/// The verdicts on all keys by step and code, oldest first; those of keys for this server itself are apart. Only for
/// callers who may read every key.
pub fn of_all(app: &App, caller: &Caller, step: Step, since: Timestamp) -> Result<Vec<StepRow>> {
    caller.require_global(&app.index.directory(), Permission::KeysRead)?;
    let mut rows = app.read(|read| usage::list_totals(read, step.hours(), since.hour()))?;
    let waiting = app.index.usage.waiting(|key| is_management(app, key));
    for ((hour, code, is_management), count) in waiting {
        if hour >= since.hour() {
            add(&mut rows, step, (hour, code.as_str(), is_management), count);
        }
    }
    sort(&mut rows);
    Ok(rows)
}

/// Whether a key is for this server itself. A key that has ended since its last use counts as one that is not.
pub(super) fn is_management(app: &App, key: KeyId) -> bool {
    let is_built_in = |live: &Live| live.shared.catalog.as_deref() == Some(BUILT_IN);
    app.index.with_key(key, is_built_in).unwrap_or(false)
}

fn add(rows: &mut Vec<StepRow>, step: Step, (hour, code, of_server): (i64, &str, bool), more: u64) {
    let number = hour.div_euclid(step.hours());
    let known = rows
        .iter_mut()
        .find(|row| row.step == number && row.code == code && row.is_management == of_server);
    match known {
        Some(row) => row.count += more,
        None => rows.push(StepRow {
            step: number,
            code: code.to_owned(),
            is_management: of_server,
            count: more,
        }),
    }
}

fn sort(rows: &mut [StepRow]) {
    rows.sort_by(|a, b| {
        (a.step, &a.code, a.is_management).cmp(&(b.step, &b.code, b.is_management))
    });
}
