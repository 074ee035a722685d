//! Settings from flags, variables and the file: which one takes precedence, and which errors prevent the start.

use std::fs::{self, Permissions};
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
            "[server]\nlisten = \"127.0.0.1:1\"\n",
            &["settings.toml:1: there is no setting server"],
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
            "allow_plain_http = \"yes\"\n",
            &["write allow_plain_http = true or allow_plain_http = false"],
        ),
        (
            "listen = 8420\n",
            &["settings.toml:1: listen is a text; write listen = \"…\""],
        ),
        (
            "listen = \"localhost\"\n",
            &["settings.toml:1: listen: invalid socket address"],
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
        .env("LATCHKEY_PORT_8420_TCP_ADDR", "10.0.0.1")
        .env("LATCHKEY_PORT", "tcp://10.0.0.1:8420");
    assert_eq!(refusal::ended(&mut command).code, Some(0));
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
                allowed_hosts = [\"a.example\", \"B.example\"]\n";
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
