//! The check of sinks. While the server is stopped there are none.

use super::Check;
use crate::domain::notices::sink::Series;
use crate::error::Result;
use crate::ops::App;
use crate::ops::notices::sinks::unknown_workspaces;

/// Names the sinks that fail, and what waits for them.
pub fn sinks(app: &App) -> Result<Check> {
    let name = "sinks";
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    for state in app.notices.sinks() {
        let waiting: u64 = state
            .series()
            .iter()
            .map(|series: &Series| app.notices.pending(state, *series))
            .sum();
        let sink = state.sink.as_str();
        let unknown = unknown_workspaces(app, state);
        if !unknown.is_empty() {
            bad.push(format!(
                "{sink} is set for workspaces that do not exist: {}",
                unknown.join(", ")
            ));
        }
        match state.fault() {
            None => good.push(format!("{sink} ({waiting} waiting)")),
            Some((at, why)) => {
                bad.push(format!("{sink} failed at {at} ({waiting} waiting): {why}"));
            }
        }
    }
    Ok(match (good.is_empty(), bad.is_empty()) {
        (true, true) => Check::ok(name, "this process sends notices to no sink"),
        (_, true) => Check::ok(name, good.join("; ")),
        _ => Check::warning(
            name,
            bad.join("; "),
            "mend what it says, and try it with latchkey notices test SINK; nothing is lost before 10,000 notices wait",
        ),
    })
}
