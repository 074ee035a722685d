//! `init` and the first `quickstart`: secrets are displayed exactly once, even if the start is interrupted.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::{files, init};
use crate::support::refusal::ended;
use crate::support::{Address, Random, User, executable, fresh_folder, wait};

fn quickstart(data: &Path, json: bool) -> Child {
    let mut command = executable(None);
    command
        .args(["quickstart", "--listen", "127.0.0.1:0", "--data"])
        .arg(data);
    if json {
        command.arg("--json");
    }
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("it can be started")
}

/// What the process prints until it listens or ends.
fn hello(child: &mut Child) -> String {
    let stdout = child.stdout.take().expect("stdout is a pipe");
    let mut said = String::new();
    for line in BufReader::new(stdout).lines().map_while(Result::ok) {
        said.push_str(&line);
        said.push('\n');
        if line.starts_with('{') || line.ends_with("latchkey.sock") {
            break;
        }
    }
    said
}

fn kill(mut child: Child) {
    let _ = child.kill();
    let _ = child.wait();
}

#[test]
fn init_twice_is_refused() {
    let folder = fresh_folder();
    let data = folder.join("data");
    let first = init(&data);
    assert_eq!(first.code, Some(0), "{first:?}");
    let before = files(&data);
    init(&data).expect_refused(&["is initialised already", "latchkey serve --data"]);
    assert_eq!(files(&data), before);
    let _ = fs::remove_dir_all(folder);
}

/// If the secrets cannot be displayed, nothing is created.
#[test]
fn init_makes_nothing_if_its_secrets_cannot_be_shown() {
    let folder = fresh_folder();
    let data = folder.join("data");
    let full = fs::File::options()
        .write(true)
        .open("/dev/full")
        .expect("/dev/full is there");
    let mut command = executable(None);
    let output = command
        .args(["init", "--data"])
        .arg(&data)
        .stdout(full)
        .output()
        .expect("it can be run");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("the secrets could not be shown"), "{said}");
    assert_eq!(init(&data).code, Some(0));
    let _ = fs::remove_dir_all(folder);
}

/// Replaces the parts of the output that differ between starts by general words.
fn general(said: &str) -> String {
    let word = |word: &str| -> String {
        let plain = word.trim_end_matches(['"', '}', '\'']);
        let at = plain.find("lk_").filter(|at| plain.len() > at + 60);
        match at {
            Some(at) => format!("{}KEY{}", &plain[..at], &word[plain.len()..]),
            None => word.to_owned(),
        }
    };
    let line = |line: &str| {
        let words: Vec<String> = line.split(' ').map(word).collect();
        match line.trim_start().strip_prefix("password ") {
            Some(_) => "  password        PASSWORD".to_owned(),
            None => words.join(" "),
        }
    };
    said.trim_end()
        .lines()
        .map(line)
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn the_first_start_says_what_the_readme_says() {
    let folder = fresh_folder();
    let data = folder.join("latchkey-data");
    let mut child = quickstart(&data, false);
    let said = hello(&mut child);
    kill(child);
    let port = said.split("listening on http://127.0.0.1:").nth(1).unwrap();
    let port = port.split('\n').next().unwrap();
    let said = said
        .replace(&format!("127.0.0.1:{port}"), "127.0.0.1:8420")
        .replace(&data.display().to_string(), "./latchkey-data");
    let readme = fs::read_to_string("README.md").expect("there is a README");
    let shown = readme.split("```text\n").nth(1).unwrap();
    let shown = shown.split("```").next().unwrap();
    assert_eq!(general(&said), general(shown));
    assert!(said.contains("http://127.0.0.1:8420/console\n"));
    let _ = fs::remove_dir_all(folder);
}

// attacks 137
#[test]
fn a_second_quickstart_shows_no_secret_again() {
    let folder = fresh_folder();
    let data = folder.join("data");
    let mut first = quickstart(&data, true);
    let said = hello(&mut first);
    let signal = rustix::process::Pid::from_child(&first);
    // A signal during the start takes effect when the start is complete.
    rustix::process::kill_process(signal, rustix::process::Signal::TERM).expect("it runs");
    assert!(first.wait().expect("it ends").success());
    let shown: Value = serde_json::from_str(&said).expect("one line of JSON");
    let secrets = [
        &shown["secret"],
        &shown["management_key"],
        &shown["owner"]["password"],
    ];
    for json in [true, false, true] {
        let mut again = quickstart(&data, json);
        let said = hello(&mut again);
        kill(again);
        assert!(said.contains("http://127.0.0.1:"), "{said}");
        for secret in secrets {
            let secret = secret.as_str().expect("a text");
            assert!(secret.len() > 20 && !said.contains(secret), "{said}");
        }
        if json {
            let said: Value = serde_json::from_str(&said).expect("one line of JSON");
            let told = [
                &said["secret"],
                &said["management_key"],
                &said["owner"]["password"],
            ];
            assert!(told.iter().all(|secret| secret.is_null()), "{said}");
        }
    }
    // The secrets are not in any file of the folder.
    for (name, bytes) in files(&data) {
        for secret in secrets {
            let secret = secret.as_str().expect("a text").as_bytes();
            assert!(
                !bytes.windows(secret.len()).any(|window| window == secret),
                "{name}"
            );
        }
    }
    let _ = fs::remove_dir_all(folder);
}

/// Attacks 212: after a first start that is killed at any moment, the next start completes the folder, and the secrets
/// of the folder have been displayed.
#[test]
fn a_first_start_that_is_killed_is_completed_by_the_next_one() {
    let mut random = Random::seeded();
    let folder = fresh_folder();
    let (mut shown_before, mut shown_later) = (0, 0);
    for round in 0..24 {
        let data = folder.join(round.to_string());
        let mut first = quickstart(&data, true);
        wait::pause(Duration::from_millis(random.below(160)));
        let _ = first.kill();
        let before = hello(&mut first);
        kill(first);

        let mut second = quickstart(&data, true);
        let later = hello(&mut second);
        let later: Value = serde_json::from_str(&later).expect("the next start completes");
        let secrets = if later["management_key"].is_null() {
            shown_before += 1;
            serde_json::from_str(&before).expect("the secrets were shown by the first start")
        } else {
            shown_later += 1;
            later.clone()
        };
        let address = later["url"]
            .as_str()
            .expect("a URL")
            .trim_start_matches("http://");
        let address = address.trim_end_matches('/').parse().expect("an address");
        let user = User::new(Address::Tcp(address));
        let admin = user.bearer(secrets["management_key"].as_str().expect("a key"));
        assert_eq!(
            admin.verdict(secrets["secret"].as_str().expect("a key")),
            "VALID"
        );
        kill(second);
        let left: Vec<String> = files(&data)
            .into_keys()
            .filter(|name| name.contains(".new"))
            .collect();
        assert!(left.is_empty(), "{left:?}");
    }
    println!(
        "secrets: {shown_before} times from the first start, {shown_later} times from the next"
    );
    let _ = fs::remove_dir_all(folder);
}

#[test]
fn help_and_mistakes_have_their_exit_codes() {
    assert_eq!(ended(executable(None).arg("--help")).code, Some(0));
    assert_eq!(ended(executable(None).arg("--nonsense")).code, Some(2));
}
