//! The command line from outside: every command has the same result whether the server runs or not.

mod audit;
mod catalogs;
mod encodings;
mod keys;
mod people;
mod probing;
mod scanning;
mod scanning_git;
mod typing;

use crate::support::{Server, executable};
use serde_json::Value;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;

/// A command line for one data folder.
pub struct Line {
    data: PathBuf,
}

/// The result of a command.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// Runs a check on a folder with a running server, and on one whose server has been stopped.
pub fn running_and_stopped(check: impl Fn(&Line)) {
    let server = Server::start();
    check(&Line::of(&server));
    let mut server = Server::start();
    server.stop();
    check(&Line::of(&server));
}

impl Line {
    pub fn of(server: &Server) -> Line {
        Line::at(&server.data)
    }

    pub fn at(data: &Path) -> Line {
        Line {
            data: data.to_owned(),
        }
    }

    pub fn data(&self) -> &Path {
        &self.data
    }

    pub fn run(&self, args: &[&str]) -> Ran {
        self.run_with_input(args, "")
    }

    pub fn run_with_input(&self, args: &[&str], input: &str) -> Ran {
        let mut child = executable(None)
            .args(args)
            .env("LATCHKEY_DATA", &self.data)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the command can be started");
        // A command that does not read its input may have ended already.
        let _ = child
            .stdin
            .take()
            .expect("stdin is a pipe")
            .write_all(input.as_bytes());
        let output = child.wait_with_output().expect("the command ends");
        Ran {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).expect("stdout is text"),
            stderr: String::from_utf8(output.stderr).expect("stderr is text"),
        }
    }

    /// The standard output of a command that must succeed.
    #[track_caller]
    pub fn ok(&self, args: &[&str]) -> String {
        let ran = self.run(args);
        assert_eq!(ran.code, Some(0), "{args:?}: {ran:?}");
        ran.stdout
    }

    /// The JSON output of a command that must succeed.
    #[track_caller]
    pub fn json(&self, args: &[&str]) -> Value {
        let text = self.ok(&[args, &["--json"]].concat());
        serde_json::from_str(&text).unwrap_or_else(|err| panic!("{args:?}: {err}\n{text}"))
    }

    /// The standard error of a command that must fail with this exit code.
    #[track_caller]
    pub fn refused(&self, args: &[&str], code: i32) -> String {
        let ran = self.run(args);
        assert_eq!(ran.code, Some(code), "{args:?}: {ran:?}");
        ran.stderr
    }

    /// Issues a key and returns its id.
    #[track_caller]
    pub fn issue(&self, name: &str) -> String {
        let issued = self.json(&["key", "issue", name]);
        issued["key"]["id"].as_str().expect("an id").to_owned()
    }
}

#[test]
fn completions_are_written_for_each_shell() {
    let line = Line::at(Path::new("nowhere"));
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = line.ok(&["completions", shell]);
        assert!(script.contains("latchkey"), "{shell}");
        assert!(script.contains("expiring"), "{shell}");
    }
    line.refused(&["completions", "cobol"], 2);
}

#[test]
fn usage_errors_exit_with_two() {
    let line = Line::at(Path::new("nowhere"));
    for args in [
        &["key"][..],
        &["key", "expiring", "--within", "14"],
        &["key", "issue"],
        &["key", "edit", "abcdefghij"],
        &["key", "delete", "abcdefghij"],
        &["user", "create", "x", "--role", "owner"],
        &["nonsense"],
    ] {
        let said = line.refused(args, 2);
        assert!(!said.is_empty(), "{args:?}");
    }
}

#[test]
fn a_folder_that_is_not_there_is_told_with_what_to_do() {
    let said = Line::at(Path::new("/nowhere/at/all")).refused(&["key", "list"], 1);
    assert!(
        said.contains("latchkey init --data /nowhere/at/all"),
        "{said}"
    );
}

#[test]
fn a_socket_that_a_killed_server_has_left_is_no_obstacle() {
    let mut server = Server::start();
    server.kill9();
    assert!(server.socket.exists());
    let line = Line::of(&server);
    let id = line.issue("after the crash");
    server.restart();
    assert_eq!(line.json(&["key", "show", &id])["state"], "active");
}

#[test]
fn commands_wait_for_one_another() {
    let mut server = Server::start();
    server.stop();
    let line = Line::of(&server);
    std::thread::scope(|scope| {
        for name in ["a", "b", "c", "d"] {
            let line = &line;
            scope.spawn(move || line.issue(name));
        }
    });
    let keys = line.json(&["key", "list"]);
    assert_eq!(keys.as_array().map(Vec::len), Some(6), "{keys}");
}
