//! Renders the metrics as text. Names are `latchkey_…` and units are base units, according to the naming conventions of
//! Prometheus; those of the process have the names of Prometheus' own libraries. docs/metrics.md lists them all with their
//! helps.

use crate::domain::keys::State;
use crate::domain::metrics::{CODES, COMMIT_BOUNDS_NS, SpanTotals, TRAFFIC, VERIFY_BOUNDS_NS};
use crate::domain::notices::sink::Series;
use crate::ops::App;
use crate::ops::metrics::LIFETIMES;
use crate::ops::packs;
use crate::ops::process::Process;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

/// The values of all metrics at one moment.
#[derive(Debug)]
struct Snapshot {
    counters: Vec<(&'static str, &'static str, u64)>,
    /// Counters that grow by fractions.
    amounts: Vec<(&'static str, &'static str, f64)>,
    gauges: Vec<(&'static str, &'static str, f64)>,
    /// Metrics with a label.
    families: Vec<Family>,
    spans: Vec<(&'static str, &'static str, &'static [u64; 12], SpanTotals)>,
}

/// A gauge, if it has a value.
type Gauge = (&'static str, &'static str, Option<f64>);

/// The labels of `latchkey_build_info`.
const BUILD: [(&str, &str); 2] = [
    ("version", env!("CARGO_PKG_VERSION")),
    ("arch", std::env::consts::ARCH),
];

#[derive(Debug)]
struct Family {
    name: &'static str,
    help: &'static str,
    label: &'static str,
    counts_up: bool,
    values: Vec<(&'static str, u64)>,
}

/// The metrics in the format of OpenMetrics, including `# EOF`.
pub fn written(app: &App) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Snapshot::take(app)));
    let mut written = String::with_capacity(8 * 1024);
    text::encode(&mut written, &registry)?;
    Ok(written)
}

/// Converts the metrics to the text format of Prometheus: there the name of a counter in `# HELP` and `# TYPE` includes
/// `_total`, and there is no end marker. The lines of samples are the same in both formats.
pub fn for_prometheus(open_metrics: &str) -> String {
    let mut written = String::with_capacity(open_metrics.len() + 256);
    let counters: Vec<&str> = open_metrics
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter"))
        .collect();
    for line in open_metrics.lines().filter(|line| *line != "# EOF") {
        let head = ["# HELP ", "# TYPE "]
            .into_iter()
            .find(|head| line.starts_with(head));
        let Some(head) = head else {
            written.push_str(line);
            written.push('\n');
            continue;
        };
        let (name, rest) = line[head.len()..]
            .split_once(' ')
            .unwrap_or((&line[head.len()..], ""));
        let total = if counters.contains(&name) {
            "_total"
        } else {
            ""
        };
        // Both formats escape the text after HELP in the same way, except that only OpenMetrics escapes quotation
        // marks.
        let rest = rest.replace("\\\"", "\"");
        written.push_str(&format!("{head}{name}{total} {rest}\n"));
    }
    written
}

impl Snapshot {
    fn take(app: &App) -> Snapshot {
        let figures = app.figures();
        let loaded = app.index.is_complete();
        let now = app.now();
        let fresh = app.require_fresh(now).is_ok();
        let ready = loaded && fresh && app.check_writable().is_ok();
        let clock = app.clock.reading();
        let behind_ms = clock.wall.0.saturating_sub(clock.mark.0);
        let mut snapshot = Snapshot {
            counters: vec![
                (
                    "latchkey_commit_failures",
                    "Transactions that could not be begun or committed",
                    figures.commits_failed.load(Relaxed),
                ),
                (
                    "latchkey_connections_accepted",
                    "Connections accepted since the start",
                    TRAFFIC.accepted.load(Relaxed),
                ),
                (
                    "latchkey_audit_events_lost",
                    "Refused attempts that came too fast to be recorded, and changes recorded in memory only",
                    figures.events_lost.load(Relaxed),
                ),
                (
                    "latchkey_usage_lost",
                    "Verdicts missing from the usage of keys because too many keys were in use at once",
                    app.index.usage.lost(),
                ),
                (
                    "latchkey_backup_failures",
                    "Scheduled backups that could not be made",
                    figures.backups_failed.load(Relaxed),
                ),
            ],
            amounts: Vec::new(),
            gauges: vec![
                (
                    "latchkey_ready",
                    "1 if keys are loaded and the database can be written",
                    flag(ready),
                ),
                (
                    "latchkey_keys_loaded",
                    "1 if every key is in memory",
                    flag(loaded),
                ),
                (
                    "latchkey_connections",
                    "Open connections",
                    level(&TRAFFIC.connections),
                ),
                (
                    "latchkey_clock_offset_seconds",
                    "The wall clock less the recorded time, which goes on; below zero the wall clock has fallen back or the recorded time is wrong",
                    behind_ms as f64 / 1000.0,
                ),
            ],
            families: Vec::new(),
            spans: vec![
                (
                    "latchkey_verify_duration_seconds",
                    "Time from a presented secret to its verdict",
                    &VERIFY_BOUNDS_NS,
                    figures.verify_spans(),
                ),
                (
                    "latchkey_commit_duration_seconds",
                    "Time to commit a batch of changes, the sync of the disk included",
                    &COMMIT_BOUNDS_NS,
                    figures.commits.totals(),
                ),
            ],
        };
        let link = app.link_figures();
        snapshot.add_if_known([
            (
                "latchkey_link_up",
                "At a linked site, 1 if the server has answered the last question",
                link.map(|(is_up, _)| flag(is_up)),
            ),
            (
                "latchkey_link_lease_seconds",
                "At a linked site, seconds for which it gives verdicts without a further word of the server",
                link.map(|(_, left_ms)| left_ms as f64 / 1000.0),
            ),
        ]);
        snapshot.add_if_known(of_node(app));
        snapshot.counters.extend(forks_of_node(app));
        let sites = packs::figures(app).ok().flatten();
        snapshot.add_if_known([
            (
                "latchkey_pack_age_seconds",
                "Seconds since the newest pack was made; with several sites, that of the site whose pack is the oldest; without linked sites",
                pack_age_s(app, sites.and_then(|sites| sites.age_ms)),
            ),
            (
                "latchkey_site_unconfirmed_revocations",
                "Keys and secrets that have ended and of which a site that reports is not known to have heard, summed over sites; an unknown number counts as one",
                sites.map(|sites| sites.unconfirmed as f64),
            ),
        ]);
        if sites.is_some() {
            snapshot.add_links(app);
        }
        snapshot.add_if_known([
            (
                "latchkey_disk_free_bytes",
                "Bytes that are free where the database is",
                app.disk_free().map(|free| free as f64),
            ),
            (
                "latchkey_certificate_expires_seconds",
                "Seconds until the certificate that is served ends; below zero it has ended",
                figures
                    .certificate_end()
                    .map(|end| (end.0 - now.wall.0) as f64 / 1000.0),
            ),
            (
                "latchkey_backup_age_seconds",
                "Seconds since the newest complete backup was made, wherever it is",
                app.backup_age_ms().map(|age| age as f64 / 1000.0),
            ),
        ]);
        snapshot.add_process(&Process::now());
        snapshot.families = families(app);
        snapshot.families.extend(commits_of_node(app));
        snapshot
    }

    /// Adds those gauges that have a value.
    fn add_if_known<const N: usize>(&mut self, gauges: [Gauge; N]) {
        let known = |(name, help, value): Gauge| Some((name, help, value?));
        self.gauges.extend(gauges.into_iter().filter_map(known));
    }

    /// Adds the figures of the live links to sites.
    fn add_links(&mut self, app: &App) {
        let (linked, lag) = app.feed.lag(app.now().steady_ms);
        let figures = &app.feed.figures;
        self.gauges.extend([
            (
                "latchkey_sites_linked",
                "Sites that may answer by the last word that they got over a live link",
                linked as f64,
            ),
            (
                "latchkey_site_lag_events",
                "Events that a linked site had not applied when it asked last; of the one that is furthest behind",
                lag as f64,
            ),
        ]);
        self.counters.extend([
            (
                "latchkey_site_words",
                "Questions of linked sites that were answered with a signed word",
                figures.words.load(Relaxed),
            ),
            (
                "latchkey_site_steps",
                "Words with something that was changed",
                figures.steps.load(Relaxed),
            ),
            (
                "latchkey_site_packs_sent",
                "Packs that sites have taken over a live link, because they could not follow in steps",
                figures.packs.load(Relaxed),
            ),
        ]);
    }

    fn add_process(&mut self, process: &Process) {
        let help = "Processor time of all threads of the server";
        let cpu = process.cpu_s.map(|s| ("process_cpu_seconds", help, s));
        self.amounts.extend(cpu);
        self.add_if_known([
            (
                "process_start_time_seconds",
                "When the server was started, in seconds since 1970",
                process.started_at_s,
            ),
            (
                "process_resident_memory_bytes",
                "Memory of the server that is in RAM",
                process.resident_bytes,
            ),
            (
                "process_virtual_memory_bytes",
                "Addresses that the server has mapped, used or not",
                process.virtual_bytes,
            ),
            (
                "process_open_fds",
                "Open file descriptors of the server, connections included",
                process.descriptors,
            ),
            (
                "process_max_fds",
                "How many file descriptors the server may have open",
                process.descriptors_max,
            ),
        ]);
    }
}

/// The counter of a node that shares its database with others.
fn forks_of_node(app: &App) -> Option<(&'static str, &'static str, u64)> {
    let help = "How often the database lacked events that this node knew: an older copy had taken its place";
    Some(("latchkey_forks", help, app.forks()?))
}

/// The commits of such a node whose answer did not come.
fn commits_of_node(app: &App) -> Option<Family> {
    app.fence_figures()?;
    let figures = app.figures();
    Some(Family {
        name: "latchkey_commit_unknown",
        help: "Commits that the database did not answer in order, by what was found out about them",
        label: "resolved",
        counts_up: true,
        values: vec![
            ("saved", figures.unanswered_saved.load(Relaxed)),
            ("not_saved", figures.unanswered_not_saved.load(Relaxed)),
        ],
    })
}

/// The gauges of a node that shares its database with others.
fn of_node(app: &App) -> [Gauge; 6] {
    let found = app.fence_figures();
    let seconds = |ms: i64| ms as f64 / 1000.0;
    [
        (
            "latchkey_database_connected",
            "At a node that shares its database, 1 if the last attempt to renew its lease was successful",
            found.map(|found| flag(found.is_connected)),
        ),
        (
            "latchkey_stale_seconds",
            "At a node that shares its database, seconds since it was last certain to know every change",
            found.and_then(|found| found.age_ms).map(seconds),
        ),
        (
            "latchkey_lease_seconds",
            "At a node that shares its database, seconds for which it gives verdicts without the database",
            found.and_then(|found| found.left_ms).map(seconds),
        ),
        (
            "latchkey_feed_lag_events",
            "At a node that shares its database, events that the database had when the lease was last renewed, and that the node has not taken in yet",
            app.lag_events().map(|lag| lag as f64),
        ),
        (
            "latchkey_nodes_live",
            "Nodes that share the database and are in use, this one included",
            found.map(|found| found.live as f64),
        ),
        (
            "latchkey_clock_skew_seconds",
            "At a node that shares its database, the clock of its machine less that of the server of the database",
            found.map(|found| seconds(found.skew_ms)),
        ),
    ]
}

fn families(app: &App) -> Vec<Family> {
    let figures = app.figures();
    let keys = app.key_figures();
    let clock = app.clock.reading().state.as_str();
    let codes = CODES.iter().map(|code| code.as_str());
    let states = State::ALL.iter().zip(keys.states);
    let states = states.filter(|(state, _)| **state != State::Deleted);
    let spans = LIFETIMES.iter().map(|(word, _)| *word);
    let spans = std::iter::once("ended")
        .chain(spans)
        .chain(["later", "never"]);
    let sinks = app.notices.sinks();
    let pending = |series| {
        let named = sinks.iter().filter(move |it| it.series().contains(&series));
        named.map(move |it| (it.sink.as_str(), app.notices.pending(it, series)))
    };
    vec![
        Family {
            name: "latchkey_notices_pending",
            help: "Notices that a sink has not handled yet",
            label: "sink",
            counts_up: false,
            values: pending(Series::Notices).collect(),
        },
        Family {
            name: "latchkey_audit_stream_pending",
            help: "Events of the audit log that a sink has not sent yet",
            label: "sink",
            counts_up: false,
            values: pending(Series::Audit).collect(),
        },
        Family {
            name: "latchkey_notice_failures",
            help: "Deliveries to a sink that failed",
            label: "sink",
            counts_up: true,
            values: sinks
                .iter()
                .map(|it| (it.sink.as_str(), it.failures.load(Relaxed)))
                .collect(),
        },
        Family {
            name: "latchkey_verdicts",
            help: "Presented secrets by verdict",
            label: "code",
            counts_up: true,
            values: codes.zip(figures.verdicts()).collect(),
        },
        Family {
            name: "latchkey_keys",
            help: "Keys by state",
            label: "state",
            counts_up: false,
            values: states
                .map(|(state, count)| (state.as_str(), count))
                .collect(),
        },
        Family {
            name: "latchkey_keys_by_lifetime",
            help: "Keys by what is left of their lives; each key is counted once, in the shortest span that holds it",
            label: "within",
            counts_up: false,
            values: spans.zip(keys.lifetimes).collect(),
        },
        Family {
            name: "latchkey_waiting",
            help: "What waits: changes for the writer, requests for a thread, keys whose usage is not written yet",
            label: "for",
            counts_up: false,
            values: vec![
                ("writer", count(&figures.changes_waiting)),
                ("thread", count(&TRAFFIC.requests_waiting)),
                ("usage", app.index.usage.waiting_keys() as u64),
            ],
        },
        Family {
            name: "latchkey_clock",
            help: "1 for what the clock is: in step, behind or ahead of the latest time that was believed",
            label: "state",
            counts_up: false,
            values: ["in_step", "behind", "ahead"]
                .map(|word| (word, u64::from(word == clock)))
                .to_vec(),
        },
    ]
}

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        for (name, help, value) in &self.counters {
            let metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            ConstCounter::new(*value).encode(metric)?;
        }
        for (name, help, value) in &self.amounts {
            let metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            ConstCounter::new(*value).encode(metric)?;
        }
        let help =
            "1; its labels are the version of the server and the processor that it was built for";
        let mut metric =
            encoder.encode_descriptor("latchkey_build_info", help, None, MetricType::Gauge)?;
        ConstGauge::new(1_i64).encode(metric.encode_family(&BUILD)?)?;
        for (name, help, value) in &self.gauges {
            let metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            ConstGauge::new(*value).encode(metric)?;
        }
        for family in &self.families {
            let kind = match family.counts_up {
                true => MetricType::Counter,
                false => MetricType::Gauge,
            };
            let mut metric = encoder.encode_descriptor(family.name, family.help, None, kind)?;
            for (word, value) in &family.values {
                let labels = [(family.label, *word)];
                let one = metric.encode_family(&labels)?;
                match family.counts_up {
                    true => ConstCounter::new(*value).encode(one)?,
                    false => ConstGauge::new(*value as i64).encode(one)?,
                }
            }
        }
        for (name, help, bounds_ns, totals) in &self.spans {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
            let bounds = bounds_ns.iter().map(|ns| *ns as f64 / 1e9);
            let buckets: Vec<(f64, u64)> =
                bounds.chain([f64::INFINITY]).zip(totals.buckets).collect();
            let count = totals.buckets.iter().sum();
            let sum = totals.sum_ns as f64 / 1e9;
            metric.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)?;
        }
        Ok(())
    }
}

/// At a site, the age of its own pack.
fn pack_age_s(app: &App, of_sites_ms: Option<i64>) -> Option<f64> {
    let of_site = app.pack_age_s().map(|age| age as f64);
    of_site.or(of_sites_ms.map(|age| age as f64 / 1000.0))
}

fn flag(is: bool) -> f64 {
    f64::from(u8::from(is))
}

fn level(gauge: &AtomicI64) -> f64 {
    count(gauge) as f64
}

/// The value may be negative for a moment, because two threads may count the beginning and the end of one thing in the
/// wrong order.
fn count(gauge: &AtomicI64) -> u64 {
    u64::try_from(gauge.load(Relaxed)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_of_prometheus_has_whole_names_and_no_end() {
        let open_metrics = "# HELP a_seconds Time, \\\"it\\\".\n# TYPE a_seconds histogram\na_seconds_sum 1.0\n# HELP b Of b.\n# TYPE b counter\n\
                            b_total{code=\"# TYPE b\"} 1\n# HELP b_c C.\n# TYPE b_c gauge\nb_c 2.0\n# EOF\n";
        assert_eq!(
            for_prometheus(open_metrics),
            "# HELP a_seconds Time, \"it\".\n# TYPE a_seconds histogram\na_seconds_sum 1.0\n# HELP b_total Of b.\n# TYPE b_total counter\n\
             b_total{code=\"# TYPE b\"} 1\n# HELP b_c C.\n# TYPE b_c gauge\nb_c 2.0\n"
        );
    }
}
