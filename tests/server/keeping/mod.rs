//! Operation of a server: metrics, logs, a database that vanishes, backups, `doctor`, upgrades.

mod backup;
mod changed_columns;
mod changed_rows;
mod doctor;
mod edited;
mod foreign;
mod full;
pub mod kill;
mod logs;
mod metrics;
mod monitoring;
mod numbers;
pub mod restore;
mod series;
mod unsealed;
mod upgrade;
mod vanished;

use crate::support::Server;

/// The value of a metric without labels, or of one series, which is written as in the text.
#[track_caller]
fn metric(server: &Server, series: &str) -> f64 {
    let text = server.anonymous().get("/metrics").expect(200).text();
    let line = text.lines().find(|line| {
        line.strip_prefix(series)
            .is_some_and(|rest| rest.starts_with(' '))
    });
    let value = line.and_then(|line| line.rsplit(' ').next());
    value
        .and_then(|value| value.parse().ok())
        .unwrap_or_else(|| panic!("no {series} in\n{text}"))
}
