//! docs/metrics.md lists what the server answers, and the files of `examples/monitoring` work with Debian's Prometheus.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Permissions};
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::command_line::Line;
use crate::faults::left_out;
use crate::support::{Address, Server, User, fresh_folder, fresh_loopback, wait};

/// The files for Prometheus and Grafana.
const EXAMPLES: &str = "examples/monitoring";
/// The metric that a label belongs to, and the values of the label.
type Values = BTreeMap<(String, String), BTreeSet<String>>;

/// A metric, as the server and the document describe it.
#[derive(Debug, Default, Eq, PartialEq)]
struct Metric {
    kind: String,
    labels: BTreeSet<String>,
    help: String,
}

/// A server that has all metrics: it serves TLS, has made a backup, and has all sinks, two of which reach no receiver.
fn complete_server() -> Server {
    let mut server = Server::start();
    Line::of(&server).ok(&["tls", "self-signed", "--host", "localhost"]);
    let site = json!({ "name": "plant-7", "workspaces": ["root"], "passphrase": "nine anchors in the meadow" });
    server.local().post("/v1/sites", site).expect(201);
    server.stop();
    let file = |name: &str| server.data.join(name).display().to_string();
    let (certificate, key) = (file("tls-certificate.pem"), file("tls-key.pem"));
    let webhook_key = file("webhook-key");
    let notices = fresh_folder().join("notices.jsonl").display().to_string();
    // 24 bytes that are not verified.
    fs::write(&webhook_key, "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz\n").unwrap();
    fs::set_permissions(&webhook_key, Permissions::from_mode(0o600)).unwrap();
    let args = [
        "--tls-certificate",
        &certificate,
        "--tls-key",
        &key,
        "--notice-file",
        &notices,
        "--notice-syslog",
        "tcp:127.0.0.1:9",
        "--notice-webhook",
        "http://127.0.0.1:9/hook",
        "--notice-webhook-key",
        &webhook_key,
        "--audit-sinks",
        "file,syslog,webhook",
    ];
    let mut server = server.with_args(&args);
    server.restart();
    server.wait_until_ready();
    server.local().post("/v1/backups", json!({})).expect(201);
    wait::until("the end of the certificate is known", || {
        text_of(&server).contains("\nlatchkey_certificate_expires_seconds ")
    });
    server
}

fn text_of(server: &Server) -> String {
    server.local().get("/metrics").expect(200).text()
}

/// Reads the text format of Prometheus.
fn described(text: &str) -> (BTreeMap<String, Metric>, Values) {
    let (mut metrics, mut values) = (BTreeMap::<String, Metric>::new(), Values::new());
    for line in text.lines() {
        if let Some((name, help)) = after(line, "# HELP ") {
            metrics.entry(name).or_default().help = help;
        } else if let Some((name, kind)) = after(line, "# TYPE ") {
            metrics.entry(name).or_default().kind = kind;
        } else if let Some((name, labels)) = line.split_once('{') {
            let labels = labels.rsplit_once('}').unwrap().0;
            let name = name.trim_end_matches("_bucket");
            for pair in labels.split(',') {
                let (label, value) = pair.split_once('=').unwrap();
                if label == "le" {
                    continue;
                }
                let metric = metrics.get_mut(name).unwrap();
                metric.labels.insert(label.to_owned());
                let of = (name.to_owned(), label.to_owned());
                let value = value.trim_matches('"').to_owned();
                values.entry(of).or_default().insert(value);
            }
        }
    }
    (metrics, values)
}

fn after(line: &str, word: &str) -> Option<(String, String)> {
    let (name, rest) = line.strip_prefix(word)?.split_once(' ')?;
    Some((name.to_owned(), rest.to_owned()))
}

/// The rows of the tables with this many columns.
fn rows(document: &str, columns: usize) -> Vec<Vec<&str>> {
    let rows = document.lines().filter(|line| line.starts_with("| `"));
    let cells = rows.map(|row| {
        let row = row.trim_start_matches('|').trim_end_matches('|');
        row.split('|').map(str::trim).collect::<Vec<&str>>()
    });
    cells.filter(|row| row.len() == columns).collect()
}

/// The sections that one server without a link has, and the ones of linked sites and of nodes.
fn split(document: &str) -> (String, String) {
    let (elsewhere, here): (Vec<&str>, Vec<&str>) = document
        .split("\n## ")
        .partition(|section| section.starts_with("At a "));
    (here.concat(), elsewhere.concat())
}

/// What is in backticks.
fn quoted(text: &str) -> BTreeSet<String> {
    let words = text.split('`').skip(1).step_by(2);
    words.map(str::to_owned).collect()
}

#[test]
fn the_document_lists_every_metric_as_the_server_describes_it() {
    let document = fs::read_to_string("docs/metrics.md").unwrap();
    let (document, elsewhere) = split(&document);
    assert!(rows(&elsewhere, 4).len() >= 10, "{elsewhere}");
    let listed: BTreeMap<String, Metric> = rows(&document, 4)
        .into_iter()
        .map(|row| {
            let metric = Metric {
                kind: row[1].to_owned(),
                labels: quoted(row[2]),
                help: row[3].to_owned(),
            };
            (row[0].trim_matches('`').to_owned(), metric)
        })
        .collect();
    let server = complete_server();
    let (answered, values) = described(&text_of(&server));
    for (name, metric) in &answered {
        let Metric { kind, labels, help } = metric;
        let labels: Vec<String> = labels.iter().map(|label| format!("`{label}`")).collect();
        let row = format!("| `{name}` | {kind} | {} | {help} |", labels.join(", "));
        assert_eq!(listed.get(name), Some(metric), "docs/metrics.md: {row}");
    }
    for name in listed.keys() {
        assert!(answered.contains_key(name), "there is no metric {name}");
    }
    assert!(answered.len() > 25, "only {} metrics", answered.len());

    let mut seen = 0;
    for row in rows(&document, 3) {
        let (name, label) = (row[0].trim_matches('`'), row[1].trim_matches('`'));
        let known = values.get(&(name.to_owned(), label.to_owned()));
        assert_eq!(
            known,
            Some(&quoted(row[2])),
            "docs/metrics.md: {name}, {label}"
        );
        seen += 1;
    }
    let version = ("latchkey_build_info".to_owned(), "version".to_owned());
    assert!(values[&version].contains(env!("CARGO_PKG_VERSION")));
    // All labels but the two of the version have their values in the document.
    assert_eq!(seen, values.len() - 2);
}

#[test]
fn the_figures_of_the_process_are_those_of_the_kernel() {
    let server = Server::start();
    let value = |name: &str| super::metric(&server, name);
    assert!(value("process_cpu_seconds_total") > 0.0);
    let resident = value("process_resident_memory_bytes");
    assert!(resident > 1e6 && resident < value("process_virtual_memory_bytes"));
    let limits = fs::read_to_string(format!("/proc/{}/limits", server.pid)).unwrap();
    let limit = limits
        .lines()
        .find(|line| line.starts_with("Max open files"));
    let limit: f64 = limit
        .unwrap()
        .split_whitespace()
        .nth(3)
        .unwrap()
        .parse()
        .unwrap();
    assert_eq!(value("process_max_fds"), limit);
    let open = fs::read_dir(format!("/proc/{}/fd", server.pid))
        .unwrap()
        .count();
    // The connection of the request is open as well, and the one of an earlier request may still be.
    let told = value("process_open_fds");
    assert!((told - open as f64).abs() < 5.0, "{told} and {open}");
    let folder = fs::metadata(format!("/proc/{}", std::process::id())).unwrap();
    let now = folder
        .modified()
        .unwrap()
        .duration_since(std::time::UNIX_EPOCH);
    let apart = value("process_start_time_seconds") - now.unwrap().as_secs_f64();
    assert!(apart.abs() < 86_400.0, "{apart}");
}

/// Runs promtool; `None` if it is not installed.
fn promtool(args: &[&str], input: &str) -> Option<String> {
    let spawned = Command::new("promtool")
        .args(args)
        .current_dir(EXAMPLES)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut child) = spawned else {
        left_out("promtool is not installed (dev/test installs it)");
        return None;
    };
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "promtool {args:?}: {text}");
    Some(text)
}

#[test]
fn promtool_finds_nothing_wrong_with_the_metrics() {
    let server = complete_server();
    let Some(said) = promtool(&["check", "metrics"], &text_of(&server)) else {
        return;
    };
    assert_eq!(said, "");
}

#[test]
fn promtool_accepts_the_configuration_and_the_rules() {
    for args in [
        &["check", "config", "prometheus.yml"][..],
        &["check", "rules", "latchkey.rules.yml"],
        &["test", "rules", "latchkey.rules.test.yml"],
    ] {
        if promtool(args, "").is_none() {
            return;
        }
    }
}

#[test]
fn each_alert_has_a_case_in_which_it_fires() {
    let read = |name: &str| fs::read_to_string(Path::new(EXAMPLES).join(name)).unwrap();
    let (rules, tests) = (read("latchkey.rules.yml"), read("latchkey.rules.test.yml"));
    let alerts = rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "));
    let alerts: Vec<&str> = alerts.collect();
    assert!(alerts.len() >= 15, "{alerts:?}");
    for alert in alerts {
        let fires = format!("{{alertname=\"{alert}\"}}', value: 1");
        assert!(tests.contains(&fires), "{alert} fires in no case");
    }
}

/// The queries of the dashboard: those of panels, variables and annotations.
fn queries(dashboard: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let mut waiting = vec![dashboard];
    while let Some(value) = waiting.pop() {
        waiting.extend(value.as_array().into_iter().flatten());
        for (name, value) in value.as_object().into_iter().flatten() {
            match value.as_str() {
                Some(text) if ["expr", "query"].contains(&name.as_str()) => {
                    found.push(text.to_owned())
                }
                _ => waiting.push(value),
            }
        }
    }
    found
}

#[test]
fn dashboard_and_rules_ask_for_metrics_that_there_are() {
    let document = fs::read_to_string("docs/metrics.md").unwrap();
    let mut known: BTreeSet<String> = BTreeSet::new();
    for row in rows(&document, 4) {
        let name = row[0].trim_matches('`');
        known.insert(name.to_owned());
        if row[1] == "histogram" {
            known.extend(["bucket", "sum", "count"].map(|end| format!("{name}_{end}")));
        }
    }
    let read = |name: &str| fs::read_to_string(Path::new(EXAMPLES).join(name)).unwrap();
    let dashboard: Value = serde_json::from_str(&read("latchkey-dashboard.json")).unwrap();
    let queries = queries(&dashboard);
    assert!(queries.len() > 25, "only {} queries", queries.len());
    let mut asked: BTreeSet<String> = BTreeSet::new();
    let rules = read("latchkey.rules.yml");
    for text in queries.iter().chain([&rules]) {
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '/');
        let metrics =
            words.filter(|word| word.starts_with("latchkey_") || word.starts_with("process_"));
        asked.extend(metrics.map(str::to_owned));
    }
    assert!(asked.len() > 20, "{asked:?}");
    let unknown: Vec<&String> = asked.difference(&known).collect();
    assert!(unknown.is_empty(), "{unknown:?}");

    // Grafana fills in its variables.
    let filled = |query: &String| {
        query
            .replace("$__rate_interval", "5m")
            .replace("$instance", "a")
    };
    let asked = queries
        .iter()
        .filter(|query| !query.contains("label_values"));
    let asked = asked.filter(|query| *query != "prometheus").map(filled);
    let records: Vec<Value> = (0..)
        .zip(asked)
        .map(|(number, query)| json!({ "record": format!("panel:{number}"), "expr": query }))
        .collect();
    let rules = json!({ "groups": [{ "name": "panels", "rules": records }] });
    let folder = fresh_folder();
    // JSON is YAML as well.
    let file = folder.join("panels.json");
    fs::write(&file, rules.to_string()).unwrap();
    promtool(&["check", "rules", file.to_str().unwrap()], "");
    let _ = fs::remove_dir_all(folder);
}

/// Debian's Prometheus; stopped on drop.
struct Prometheus {
    child: Child,
    address: SocketAddr,
    folder: PathBuf,
}

impl Prometheus {
    /// Starts it with the configuration of the example, for another address. `None` if it is not installed.
    fn start(target: SocketAddr) -> Option<Prometheus> {
        let folder = fresh_folder();
        let read = |name: &str| fs::read_to_string(Path::new(EXAMPLES).join(name)).unwrap();
        let config = read("prometheus.yml").replace("127.0.0.1:9420", &target.to_string());
        // The shortest interval, so that the test need not wait.
        let config = config.replace("15s", "1s");
        assert!(config.contains(&target.to_string()) && config.contains("1s"));
        fs::write(folder.join("prometheus.yml"), config).unwrap();
        fs::write(
            folder.join("latchkey.rules.yml"),
            read("latchkey.rules.yml"),
        )
        .unwrap();
        let address = SocketAddr::from((fresh_loopback(), 9090));
        let log = fs::File::create(folder.join("log")).unwrap();
        let spawned = Command::new("prometheus")
            .arg(format!("--web.listen-address={address}"))
            .args(["--config.file=prometheus.yml", "--storage.tsdb.path=data"])
            .current_dir(&folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        match spawned {
            Ok(child) => Some(Prometheus {
                child,
                address,
                folder,
            }),
            Err(_) => {
                let _ = fs::remove_dir_all(&folder);
                left_out("prometheus is not installed (dev/test installs it)");
                None
            }
        }
    }

    /// The value of an expression with one result.
    fn value(&self, expression: &str) -> Option<String> {
        let answer = Address::Tcp(self.address).try_call("GET", expression, &[], None)?;
        let body: Value = serde_json::from_slice(&answer.body).ok()?;
        let value = &body["data"]["result"][0]["value"][1];
        value.as_str().map(str::to_owned)
    }

    /// All rules with their state.
    fn rules(&self) -> Vec<Value> {
        // To a client of HTTP/1.0 a long answer is sent without chunks.
        let request = b"GET /api/v1/rules HTTP/1.0\r\n\r\n";
        let received = Address::Tcp(self.address).raw(request, wait::PATIENCE);
        let text = received.text();
        let body = text.split_once("\r\n\r\n").unwrap().1;
        let body: Value = serde_json::from_str(body).unwrap();
        let rules = body["data"]["groups"][0]["rules"].as_array();
        rules.unwrap().clone()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

#[test]
fn prometheus_scrapes_the_server_as_the_example_configures_it() {
    let address = SocketAddr::from((fresh_loopback(), 9420));
    let server = Server::start_with(&["--metrics-listen", &address.to_string()], &[]);
    let there = User::new(Address::Tcp(address));
    there.get("/metrics").expect(200);
    let Some(prometheus) = Prometheus::start(address) else {
        return;
    };
    server.anonymous().verdict(&server.secret);
    for (query, expected) in [
        ("up%7Bjob%3D%22latchkey%22%7D", "1"),
        ("latchkey_ready", "1"),
        ("latchkey_verdicts_total%7Bcode%3D%22VALID%22%7D", "1"),
        ("count(latchkey_build_info)", "1"),
    ] {
        let path = format!("/api/v1/query?query={query}");
        wait::until(&format!("{query} is {expected}"), || {
            prometheus.value(&path).as_deref() == Some(expected)
        });
    }
    wait::until("every rule was evaluated without an error", || {
        let rules = prometheus.rules();
        assert!(rules.len() >= 15, "{rules:?}");
        rules.iter().all(|rule| rule["health"] == "ok")
    });
}
