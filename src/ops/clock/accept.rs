//! `latchkey clock accept`: the administrator of the machine confirms its wall clock. The mark is set to the time of
//! the wall clock, and the effects of a wrong mark are corrected (`future`).

use super::future::Plan;
use super::{Clock, Reading};
use crate::authz::caller::{Caller, Identity};
use crate::domain::audit::{Changes, Target};
use crate::domain::clock::{self as rules, State};
use crate::domain::nodes::NodeId;
use crate::domain::time::Timestamp;
use crate::domain::users::permissions::Permission;
use crate::error::{Error, Result};
use crate::ops::{App, Record, append_all, draft};
use crate::refusals;
use crate::store::{Durability, clock};
use std::sync::Arc;
use std::time::Instant;

const ACTION: &str = "clock.accept";

/// What was done, or would be done in a dry run.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// The clock before the correction.
    pub before: Reading,
    pub plan: Plan,
    /// Whether something was changed.
    pub changed: bool,
}

/// The options of the command.
#[derive(Clone, Copy, Debug, Default)]
pub struct Request {
    /// Only report what would be done.
    pub dry_run: bool,
    /// Accept a date that is not plausible.
    pub implausible: bool,
}

/// The state of the clock. Only for administrators of the server.
pub fn show(app: &App, caller: &Caller) -> Result<Reading> {
    caller.require_global(&app.index.directory(), Permission::ServerAdmin)?;
    Ok(app.clock.reading())
}

/// Sets the mark to the time of the wall clock.
///
/// # Errors
/// `Forbidden` unless the caller is the administrator of the machine. `Conflict` for a date that is not plausible.
pub fn accept(app: &App, caller: &Caller, request: Request) -> Result<Accepted> {
    let permitted = match caller.identity {
        Identity::Local => Ok(()),
        _ => Err(Error::Forbidden(refusals::server::clock_is_local())),
    };
    app.decided(caller, ACTION, Target::server(), permitted)?;
    let (before, read_at) = (app.clock.reading(), Instant::now());
    let right = before.wall;
    if !request.implausible && !rules::is_plausible(right) {
        return Err(Error::Conflict(refusals::server::clock_implausible(
            right,
            rules::RELEASED,
            rules::PLAUSIBLE_YEARS,
        )));
    }
    // Something that ends by the wrong time while this function runs counts as ended.
    let wrong = Timestamp(before.now.0.saturating_add(rules::BEHIND_MS));
    let wrong = if before.state == State::Behind {
        wrong
    } else {
        right
    };
    let plan = app.read(|read| Plan::of(read, right, wrong))?;
    let needed = before.state != State::InStep || !before.settled || !plan.is_empty();
    if request.dry_run || !needed {
        return Ok(Accepted {
            before,
            plan,
            changed: false,
        });
    }
    let (clock, seal_keys, node) = (app.clock.clone(), app.seal_keys.clone(), app.node.id());
    let draft = draft(caller, ACTION, right);
    let plan = app.store.write(Durability::Full, move |tx| {
        let plan = Plan::of(tx, right, wrong)?;
        let mut records = plan.apply(tx, right, wrong)?;
        records.push((ACTION, record(&before, &plan)));
        append_all(tx, &seal_keys, &draft, records)?;
        correct(tx, node, &clock, right, read_at)?;
        Ok(plan)
    })?;
    log::warn!(
        "clock: the administrator has accepted this machine's date; the recorded time was {} and is {right} now",
        before.mark
    );
    Ok(Accepted {
        before,
        plan,
        changed: true,
    })
}

/// Stores the corrected mark, and corrects the clock in memory after the commit.
fn correct(
    tx: &crate::store::Write<'_>,
    node: NodeId,
    clock: &Arc<Clock>,
    mark: Timestamp,
    read_at: Instant,
) -> Result<()> {
    let recorded = rules::StoredClock {
        mark,
        settled: true,
        allowance_ms: None,
        ..clock.recorded()
    };
    let corrections = clock::correct(tx, node, &recorded)?;
    let clock = clock.clone();
    tx.after_commit(move || clock.correct(mark, read_at, corrections));
    Ok(())
}

fn record(before: &Reading, plan: &Plan) -> Record {
    let mut changes = Changes::default();
    changes.note("mark", &before.mark, &before.wall);
    for (member, count) in [
        ("keys_disabled", plan.ended.len() as u64),
        ("keys_issued_meanwhile", plan.issued.len() as u64),
        ("graces_ended", plan.graces.len() as u64),
        ("sessions_ended", plan.sessions),
        ("codes_reset", plan.codes),
    ] {
        changes.note(member, &0, &count);
    }
    Record {
        target: Target::server(),
        workspace: None,
        changes,
    }
}
