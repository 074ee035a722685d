//! Whether a node that shares its database is up to date, and whether its clock agrees with that of the database's server.

use super::finding::{Check, NAMED_MAX};
use crate::ops::App;
use crate::ops::fence::{FenceFigures, SKEW_REPORTED_MS};
use crate::refusals::{findings, server};
use crate::store::leases;

const NAME: &str = "nodes";

/// `None` for a server with a database of its own.
pub fn check(app: &App) -> Option<Check> {
    let found = app.fence_figures()?;
    if let Some(check) = older_copy(app) {
        return Some(check);
    }
    let names = app.read(leases::list).map(|rows| {
        let names = rows
            .iter()
            .map(|row| format!("{} {}", row.name, row.version));
        names.take(NAMED_MAX).collect::<Vec<String>>()
    });
    Some(of(&found, &names.unwrap_or_default()))
}

/// What is found while the database is an older copy that not all nodes have closed.
fn older_copy(app: &App) -> Option<Check> {
    if app.applier.fork().is_some() {
        let advice = findings::nodes_forked_advice();
        return Some(Check::failed(NAME, findings::nodes_forked(), advice));
    }
    if let Err(err) = app.require_protection() {
        let advice = findings::nodes_waiting_advice();
        return Some(Check::failed(NAME, err.refusal(), advice));
    }
    app.applier.is_waiting().then(|| {
        let waiting = findings::nodes_waiting(app.applier.waited_for());
        Check::warning(NAME, waiting, findings::nodes_waiting_advice())
    })
}

/// `names` are those of the machines of the nodes, as far as they are known.
fn of(found: &FenceFigures, names: &[String]) -> Check {
    let live = match names.is_empty() {
        true => found.live.to_string(),
        false => format!("{} ({})", found.live, names.join(", ")),
    };
    let seconds = |ms: i64| ms.unsigned_abs() / 1000;
    if found.is_doubled {
        return Check::failed(
            NAME,
            server::node_id_twice(),
            findings::nodes_doubled_advice(),
        );
    }
    match found.age_ms {
        None => Check::failed(
            NAME,
            server::stale_from_start(),
            findings::nodes_stale_advice(),
        ),
        Some(age_ms) if age_ms >= found.limits.stale_after_ms => Check::failed(
            NAME,
            findings::nodes_stale(seconds(age_ms)),
            findings::nodes_stale_advice(),
        ),
        Some(_) if found.skew_ms.abs() > SKEW_REPORTED_MS => Check::warning(
            NAME,
            findings::nodes_clock(seconds(found.skew_ms)),
            findings::nodes_clock_advice(),
        ),
        Some(_) if found.limits.refuse_after_ms.is_none() => Check::warning(
            NAME,
            findings::nodes_endless(live),
            findings::nodes_endless_advice(),
        ),
        Some(_) => Check::ok(NAME, findings::nodes_fresh(live)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::doctor::Finding;
    use crate::ops::fence::Limits;

    #[test]
    fn what_is_worst_is_found() {
        let limits = Limits::default();
        let endless = Limits {
            refuse_after_ms: None,
            ..limits
        };
        let doubled = FenceFigures {
            age_ms: Some(0),
            left_ms: None,
            live: 1,
            skew_ms: 0,
            is_connected: true,
            head_seq: 0,
            is_doubled: true,
            limits,
        };
        let found = of(&doubled, &[]);
        assert!(found.found.to_string().contains("the id of this node"));
        for (age_ms, skew_ms, limits, finding, words) in [
            (None, 0, limits, Finding::Failed, "since its start"),
            (Some(5_000), 40_000, limits, Finding::Failed, "5 s ago"),
            (
                Some(4_999),
                1_000,
                limits,
                Finding::Ok,
                "nodes in use: 3 (a, b)",
            ),
            (Some(0), -1_001, limits, Finding::Warning, "differs by 1 s"),
            (Some(0), 0, endless, Finding::Warning, "without an end"),
        ] {
            let figures = FenceFigures {
                age_ms,
                live: 3,
                skew_ms,
                limits,
                is_doubled: false,
                ..doubled
            };
            let found = of(&figures, &["a".to_owned(), "b".to_owned()]);
            assert_eq!(found.finding, finding, "{words}");
            assert!(found.found.to_string().contains(words), "{}", found.found);
        }
    }
}
