//! The check of sinks. While the server is stopped there are none.

use super::Check;
use crate::domain::notices::sink::Series;
use crate::error::Result;
use crate::ops::App;
use crate::ops::notices::sinks::unknown_workspaces;
use crate::refusals::findings;

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
            bad.push(findings::sink_unknown(sink, unknown.join(", ")));
        }
        match state.fault() {
            None => good.push(findings::sink_good(sink, waiting)),
            Some((at, why)) => {
                bad.push(findings::sink_failed(sink, at, waiting, why));
            }
        }
    }
    Ok(match (good.is_empty(), bad.is_empty()) {
        (true, true) => Check::ok(name, findings::sinks_none()),
        (_, true) => Check::ok(name, good),
        _ => Check::warning(name, bad, findings::sinks_advice()),
    })
}
