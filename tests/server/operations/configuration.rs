//! Settings from flags, variables and the file: which one takes precedence, and which errors prevent the start.

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::support::refusal::{self, Ended};
use crate::support::{executable, fresh_folder};

fn written(folder: &Path, text: &str) -> PathBuf {
    let path = folder.join("settings.toml");
    fs::write(&path, text).expect("it can be written");
    path
}

fn check_config(file: &Path) -> Command {
    let mut command = executable(None);
    command.args(["check-config", "--json", "--config"]);
    command.arg(file);
    command
}

/// Runs `check-config` and a start; both must be refused with these words, and must create nothing.
#[track_caller]
fn check_refused(text: &str, words: &[&str]) {
    let folder = fresh_folder();
    let file = written(&folder, text);
    refusal::ended(&mut check_config(&file)).expect_refused(words);
    let data = folder.join("data");
    let mut start = executable(None);
    start.args(["quickstart", "--data"]).arg(&data);
    start.arg("--config").arg(&file);
    refusal::ended(&mut start).expect_refused(words);
    let _ = fs::remove_dir_all(folder);
}

fn setting(ended: &Ended, name: &str) -> (String, String) {
    let settings: Value =
        serde_json::from_str(&ended.stdout).unwrap_or_else(|err| panic!("{err}: {ended:?}"));
    let all = settings.as_array().expect("an array");
    let found = all
        .iter()
        .find(|setting| setting["name"] == name)
        .unwrap_or_else(|| panic!("no {name} in {settings}"));
    let text = |member: &str| found[member].as_str().expect("a text").to_owned();
    (text("value"), text("source"))
}

// attacks 252
#[test]
fn a_line_that_is_wrong_stops_the_start_and_says_what_to_write() {
    for (text, words) in [
        (
            "\ntrusted_proxy = [\"10.0.0.4\"]\n",
            &["settings.toml:2: there is no setting trusted_proxy; did you mean trusted_proxies?"]
                [..],
        ),
        (
            "nonsense = 1\n",
            &[
                "settings.toml:1: there is no setting nonsense",
                "check-config",
            ],
        ),
        (
            "[service]\nlisten = \"127.0.0.1:1\"\n",
            &["settings.toml:1: there is no setting service"],
        ),
        (
            "threads = 2\nlisten = \"127.0.0.1:1\"\nthreads = 3\n",
            &["settings.toml:3: threads stands in line 1 already; keep one"],
        ),
        (
            "threads = \"2\"\n",
            &["settings.toml:1: threads is a number"],
        ),
        ("threads = 2.5\n", &["settings.toml:1: threads is a number"]),
        (
            "threads = 0\n",
            &["settings.toml:1: threads: 0 is not in 1..=256"],
        ),
        (
            "backup_every = 86400\n",
            &["settings.toml:1: backup_every is a text; write backup_every = \"…\""],
        ),
        (
            "backup_every = \"24\"\n",
            &["settings.toml:1: backup_every: must be a whole number with m, h or d"],
        ),
        (
            "allow_plain_http = \"yes\"\n",
            &["write allow_plain_http = true or allow_plain_http = false"],
        ),
        (
            "listen = 8420\n",
            &["settings.toml:1: listen is a text; write listen = \"…\""],
        ),
        (
            "listen = \"localhost\"\n",
            &[
                "settings.toml:1: listen: \"localhost\" is no address with a port; write 127.0.0.1:8420",
            ],
        ),
        (
            "allowed_hosts = \"a.example\"\n",
            &["write allowed_hosts = [\"…\", \"…\"]"],
        ),
        (
            "allowed_hosts = [\"http://a.example\"]\n",
            &["settings.toml:1: allowed_hosts: \"http://a.example\" is no host name"],
        ),
        (
            "trusted_proxies = [\"10.0.0.4\",\n \"10.0.0.4/24\"]\n",
            &["settings.toml:1: trusted_proxies: \"10.0.0.4/24\" is no address or range"],
        ),
        (
            "cors_origins = [\"*\"]\n",
            &["settings.toml:1: cors_origins: \"*\" is no web origin"],
        ),
        (
            "log_level = \"loud\"\n",
            &[
                "settings.toml:1: log_level: invalid value 'loud'",
                "error, warn, info, debug, trace",
            ],
        ),
        (
            "head_bytes_max = 16383\n",
            &["settings.toml:1: head_bytes_max: 16383 is not in 16384..=65536"],
        ),
        (
            "head_bytes_max = 65537\n",
            &["settings.toml:1: head_bytes_max: 65537 is not in 16384..=65536"],
        ),
        (
            "listen = [\"127.0.0.1:1\", \"localhost:1\"]\n",
            &[
                "settings.toml:1: listen: \"localhost:1\" is no address with a port; write 127.0.0.1:1",
            ],
        ),
        (
            "listen = [\"127.0.0.1:1\", \"127.0.0.1:1\"]\n",
            &["listen", "127.0.0.1:1 is there twice"],
        ),
        (
            "listen = [\"127.0.0.1:1\", \"0.0.0.0:2\"]\n",
            &["0.0.0.0:2 is reached by other machines"],
        ),
        (
            "listen = [\"127.0.0.1:1\", \":2\"]\n",
            &["[::]:2 is reached by other machines"],
        ),
        (
            "listen = [\"127.0.0.1:1\", \"127.0.0.1:9\"]\nmetrics_listen = \"10.0.0.1:9\"\n",
            &["must have another port than listen"],
        ),
        (
            "haproxy_agent = \"10.0.0.1:9\"\n",
            &[
                "10.0.0.1:9 is reached by other machines",
                "--allow-plain-http",
            ],
        ),
        (
            "listen = \"127.0.0.1:9\"\nhaproxy_agent = \"127.0.0.2:9\"\n",
            &["must have another port than listen"],
        ),
        (
            "haproxy_agent = \"unix:haproxy.sock\"\n",
            &["settings.toml:1: haproxy_agent: ", "names no full path"],
        ),
        (
            "listen = 127.0.0.1:8420\n",
            &["settings.toml:1: a text needs quotation marks: write listen = \"…\""],
        ),
        (
            "listen = \"8421\"\n",
            &["write 127.0.0.1:8421 for this machine alone, or :8421 for all of its addresses"],
        ),
        (
            "threads = 2\nmounts = [\"nothing=/x\"]\n",
            &["settings.toml:2: ", "nothing"],
        ),
        (
            "\ntls_certificate = \"c.pem\"\n",
            &["settings.toml:2: ", "it is of no use without --tls-key"],
        ),
        (
            "tls_client_ca = \"c.pem\"\n",
            &[
                "settings.toml:1: ",
                "it is of no use without --tls-certificate",
            ],
        ),
        ("listen = []\n", &["settings.toml:1: listen is a text"]),
        ("listen = \n", &["settings.toml:1: "]),
        ("listen\n", &["settings.toml:1: "]),
        (
            "a = 1\nthreads = 0\n",
            &["settings.toml:1: ", "settings.toml:2: "],
        ),
    ] {
        check_refused(text, words);
    }
}

#[test]
fn a_file_that_anybody_can_change_is_refused() {
    let folder = fresh_folder();
    let file = written(&folder, "threads = 2\n");
    fs::set_permissions(&file, Permissions::from_mode(0o646)).expect("the mode can be set");
    refusal::ended(&mut check_config(&file)).expect_refused(&["chmod o-w", "mode 646"]);
    fs::set_permissions(&file, Permissions::from_mode(0o644)).expect("the mode can be set");
    fs::write(&file, [b"# \xff\n".as_slice()].concat()).expect("it can be written");
    refusal::ended(&mut check_config(&file))
        .expect_refused(&["settings.toml:1: this is not UTF-8"]);
    fs::write(&file, "#".repeat(70_000)).expect("it can be written");
    refusal::ended(&mut check_config(&file)).expect_refused(&["larger than 65536 bytes"]);
    refusal::ended(&mut check_config(&folder.join("none.toml")))
        .expect_refused(&["cannot be read"]);
    let _ = fs::remove_dir_all(folder);
}

#[test]
fn a_variable_that_nothing_reads_stops_the_start() {
    let mut command = executable(None);
    command.arg("check-config").env("LATCHKEY_LISTN", "x");
    refusal::ended(&mut command)
        .expect_refused(&["LATCHKEY_LISTN is no setting; did you mean LATCHKEY_LISTEN?"]);
    // The variable that Kubernetes sets for a service named latchkey is not a setting.
    let mut command = executable(None);
    command
        .args(["check-config", "--json"])
        .env("LATCHKEY_SERVICE_HOST", "10.0.0.1")
        .env("LATCHKEY_SERVICE_PORT", "8420")
        .env("LATCHKEY_SERVICE_PORT_HTTP", "8420")
        .env("LATCHKEY_PORT_8420_TCP", "tcp://10.0.0.1:8420")
        .env("LATCHKEY_PORT_8420_TCP_ADDR", "10.0.0.1")
        .env("LATCHKEY_PORT_8420_TCP_PORT", "8420")
        .env("LATCHKEY_PORT_8420_TCP_PROTO", "tcp")
        .env("LATCHKEY_METRICS_PORT", "tcp://10.0.0.2:9420")
        .env("LATCHKEY_METRICS_PORT_9420_TCP_PORT", "9420")
        .env("LATCHKEY_PORT", "tcp://10.0.0.1:8420");
    let ended = refusal::ended(&mut command);
    assert_eq!(ended.code, Some(0));
    assert!(!ended.stderr.contains("is no setting"), "{ended:?}");
}

/// A port by itself was meant for this program, and is not passed over in silence.
#[test]
fn a_variable_with_a_port_by_itself_is_no_variable_of_kubernetes() {
    for (name, value) in [
        ("LATCHKEY_PORT", "8421"),
        ("LATCHKEY_METRICS_PORT", "9420"),
        ("LATCHKEY_HTTP_PORT", "127.0.0.1:8421"),
        ("LATCHKEY_PORT_NUMBER", "8421"),
        ("LATCHKEY_PORT_8420_X", "8421"),
    ] {
        let mut command = executable(None);
        command.args(["check-config", "--json"]).env(name, value);
        let ended = refusal::ended(&mut command);
        let told = format!("the variable {name} is no setting");
        assert!(ended.stderr.contains(&told), "{ended:?}");
    }
}

/// Compose files and Helm charts set a variable without a value to an empty text.
#[test]
fn a_variable_that_is_set_to_nothing_is_not_set() {
    let folder = fresh_folder();
    let file = written(&folder, "threads = 2\n");
    let ended = refusal::ended(&mut check_config(&file));
    let text = ended.stdout.clone();
    let settings: Vec<serde_json::Value> = serde_json::from_str(&text).expect("JSON");
    let mut command = check_config(&file);
    let names = settings
        .iter()
        .map(|setting| setting["name"].as_str().expect("a name"));
    for name in names.chain(["config", "no_setting"]) {
        command.env(format!("LATCHKEY_{}", name.to_uppercase()), "");
    }
    let empty = refusal::ended(&mut command);
    assert_eq!(
        (empty.code, empty.stdout),
        (Some(0), text),
        "{}",
        empty.stderr
    );
    let _ = fs::remove_dir_all(folder);
}

#[test]
fn a_flag_outranks_a_variable_and_a_variable_the_file() {
    let folder = fresh_folder();
    let text = "listen = \"127.0.0.1:1\"\nthreads = 2\nusage_interval_s = 5\nallow_plain_http = true\n\
                allowed_hosts = [\"a.example\", \"B.example\"]\nbackup_every = \"24h\"\n";
    let file = written(&folder, text);
    let mut command = check_config(&file);
    command
        .args(["--listen", "127.0.0.1:3", "--allow-plain-http=false"])
        .env("LATCHKEY_LISTEN", "127.0.0.1:2")
        .env("LATCHKEY_THREADS", "3");
    let ended = refusal::ended(&mut command);
    let expect = |name: &str, value: &str, source: &str| {
        let (found, from) = setting(&ended, name);
        assert_eq!(found, value, "{name}");
        assert!(from.ends_with(source), "{name}: {from}");
    };
    expect("listen", "127.0.0.1:3", "flag");
    expect("allow_plain_http", "false", "flag");
    expect("threads", "3", "LATCHKEY_THREADS");
    expect("usage_interval_s", "5", "settings.toml:3");
    expect("allowed_hosts", "a.example,B.example", "settings.toml:5");
    expect("backup_every", "24h", "settings.toml:6");
    expect("log_level", "info", "built in");
    let _ = fs::remove_dir_all(folder);
}

#[test]
fn the_file_in_the_data_folder_is_read_unless_another_is_named() {
    let folder = fresh_folder();
    fs::write(folder.join("latchkey.toml"), "threads = 7\n").expect("it can be written");
    let check = |more: &[&str]| {
        let mut command = executable(None);
        command
            .args(["check-config", "--json", "--data"])
            .arg(&folder);
        refusal::ended(command.args(more))
    };
    assert_eq!(setting(&check(&[]), "threads").0, "7");
    let other = written(&folder, "threads = 8\n");
    let other = other.to_str().expect("text");
    assert_eq!(setting(&check(&["--config", other]), "threads").0, "8");

    fs::write(folder.join("latchkey.toml"), "data = \"/elsewhere\"\n").expect("it can be written");
    check(&[]).expect_refused(&["latchkey.toml:1: data cannot be set here"]);
    let _ = fs::remove_dir_all(folder);
}

#[test]
fn settings_that_make_no_sense_together_are_refused_by_check_config_too() {
    check_refused(
        "listen = \"0.0.0.0:0\"\n",
        &[
            "listen: 0.0.0.0:0 is reached by other machines",
            "allow-plain-http",
        ],
    );
}

/// finding D17: a typing error stops the start, and what others set for themselves does not.
#[test]
fn an_unknown_variable_stops_the_start_only_where_a_setting_is_near() {
    for (name, near) in [
        ("LATCHKEY_LISTN", "LATCHKEY_LISTEN"),
        ("LATCHKEY_LISTEN_ADDRESS", "LATCHKEY_LISTEN"),
        ("LATCHKEY_TRUSTED_PROXY", "LATCHKEY_TRUSTED_PROXIES"),
        ("LATCHKEY_ALLOWED_HOST", "LATCHKEY_ALLOWED_HOSTS"),
        ("LATCHKEY_TLS_CERT", "LATCHKEY_TLS_CERTIFICATE"),
        (
            "LATCHKEY_VERIFY_FROM_LOCALHOST",
            "LATCHKEY_VERIFY_FROM_LOOPBACK",
        ),
        ("LATCHKEY_THREAD", "LATCHKEY_THREADS"),
    ] {
        let mut command = executable(None);
        command.arg("check-config").env(name, "x");
        let near = format!("{name} is no setting; did you mean {near}?");
        refusal::ended(&mut command).expect_refused(&[&near]);
    }
    for name in [
        "LATCHKEY_IMAGE_TAG",
        "LATCHKEY_VERSION",
        "LATCHKEY_URL",
        "LATCHKEY_BACKUP_BUCKET",
        "LATCHKEY_X",
        "LATCHKEY_KEY",
        "LATCHKEY_LOG",
        "LATCHKEY_CONSOLE_URL",
    ] {
        let mut command = executable(None);
        command.args(["check-config", "--json"]).env(name, "1.2");
        let ended = refusal::ended(&mut command);
        assert_eq!(ended.code, Some(0), "{name} {ended:?}");
        let warning = format!("the variable {name} is no setting, and nothing reads it");
        assert!(ended.stderr.contains(&warning), "{ended:?}");
        assert!(ended.stdout.starts_with('['), "{ended:?}");
    }
}

/// finding e6: a list in the file, a comma in the variable, a flag several times.
#[test]
fn several_addresses_are_listened_on() {
    let folder = fresh_folder();
    let file = written(&folder, "listen = [\"127.0.0.1:1\", \"[::1]:1\"]\n");
    let ended = refusal::ended(&mut check_config(&file));
    assert_eq!(setting(&ended, "listen").0, "127.0.0.1:1,[::1]:1");
    let file = written(&folder, "listen = \"127.0.0.1:1\"\n");
    let ended = refusal::ended(&mut check_config(&file));
    assert_eq!(setting(&ended, "listen").0, "127.0.0.1:1");
    let ended =
        refusal::ended(check_config(&file).env("LATCHKEY_LISTEN", "127.0.0.1:2,127.0.0.1:3"));
    let expected = ("127.0.0.1:2,127.0.0.1:3", "LATCHKEY_LISTEN");
    let (value, source) = setting(&ended, "listen");
    assert_eq!((value.as_str(), source.as_str()), expected);
    let typed = ["--listen", "127.0.0.1:4", "--listen", "127.0.0.1:5"];
    let ended = refusal::ended(check_config(&file).args(typed));
    assert_eq!(
        setting(&ended, "listen"),
        ("127.0.0.1:4,127.0.0.1:5".to_owned(), "flag".to_owned())
    );
    let _ = fs::remove_dir_all(folder);

    let address = crate::support::fresh_loopback();
    let other = crate::support::fresh_loopback();
    let mut command = executable(None);
    let data = fresh_folder();
    command
        .args(["quickstart", "--json", "--data"])
        .arg(data.join("data"));
    command.args([
        "--listen",
        &format!("{address}:0"),
        "--listen",
        &format!("{other}:0"),
    ]);
    command
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null());
    let mut child = command.spawn().expect("it starts");
    let mut line = String::new();
    let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
    stdout.read_line(&mut line).expect("a line");
    let said: Value = serde_json::from_str(&line).unwrap_or_else(|err| panic!("{err}: {line}"));
    let urls: Vec<&str> = said["urls"]
        .as_array()
        .expect("urls")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    assert_eq!((urls.len(), said["url"].as_str()), (2, Some(urls[0])));
    for (url, ip) in urls.iter().zip([address, other]) {
        let place = url.strip_prefix("http://").expect("plain");
        assert!(place.starts_with(&format!("{ip}:")), "{url}");
        let mut stream = TcpStream::connect(place).expect("it listens");
        stream
            .write_all(
                format!("GET /healthz HTTP/1.1\r\nHost: {place}\r\nConnection: close\r\n\r\n")
                    .as_bytes(),
            )
            .expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("answered");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    child.kill().expect("it runs");
    child.wait().expect("it ends");
    let _ = fs::remove_dir_all(data);
}
