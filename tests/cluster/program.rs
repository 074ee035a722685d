//! The program, and folders for its data.

use serde_json::Value;
use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// The key files of every node.
const KEY_FILES: [&str; 3] = ["pepper", "seal-key", "sealing-key"];

/// A folder for data, which is removed at the end.
pub struct Folder {
    top: PathBuf,
    pub path: PathBuf,
    /// The program that its commands run.
    pub program: PathBuf,
}

/// How a command ended.
pub struct Ended {
    pub is_good: bool,
    pub text: String,
}

impl Folder {
    pub fn new() -> Folder {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Relaxed);
        let name = format!("latchkey-node-{}-{number}", std::process::id());
        let top = std::env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&top);
        fs::create_dir_all(&top).unwrap();
        Folder {
            path: top.join("data"),
            program: PathBuf::from(env!("CARGO_BIN_EXE_latchkey")),
            top,
        }
    }

    /// A folder with the key files of another one.
    pub fn with_keys_of(other: &Folder) -> Folder {
        let folder = Folder::new();
        fs::DirBuilder::new()
            .mode(0o700)
            .create(&folder.path)
            .unwrap();
        for name in KEY_FILES {
            fs::copy(other.path.join(name), folder.path.join(name)).unwrap();
        }
        folder
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.top.join(name)
    }

    pub fn has(&self, name: &str) -> bool {
        self.path.join(name).exists()
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(args).arg("--data").arg(&self.path);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs a command that may fail.
    pub fn run(&self, args: &[&str]) -> Ended {
        self.run_with(args, "")
    }

    fn run_with(&self, args: &[&str], input: &str) -> Ended {
        let mut child = self.command(args).spawn().unwrap();
        let written = child.stdin.take().unwrap().write_all(input.as_bytes());
        // A command that is refused may end without reading.
        let is_whole = written.map_or_else(|err| err.kind() == ErrorKind::BrokenPipe, |()| true);
        assert!(is_whole, "{args:?}");
        Ended::of(child.wait_with_output().unwrap())
    }

    /// Runs a command that must succeed, and returns what it prints.
    pub fn good(&self, args: &[&str]) -> String {
        let ended = self.run(args);
        assert!(ended.is_good, "{args:?}: {}", ended.text);
        ended.text
    }

    /// Runs a command that must be refused with this text.
    #[track_caller]
    pub fn refused(&self, args: &[&str], why: &str) {
        let ended = self.run(args);
        assert!(
            !ended.is_good && ended.text.contains(why),
            "{args:?}: {}",
            ended.text
        );
    }

    /// Begins a command that is going to be killed or waited for.
    pub fn begin(&self, args: &[&str]) -> Child {
        let mut command = self.command(args);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command.spawn().unwrap()
    }

    /// The id and the secret of a new key.
    pub fn issue(&self, name: &str) -> (String, String) {
        let text = self.good(&["key", "issue", name, "--json"]);
        let issued = document(&text);
        let member = |value: &Value| value.as_str().unwrap().to_owned();
        (member(&issued["key"]["id"]), member(&issued["secret"]))
    }

    /// The code of the verdict on a secret.
    pub fn verify(&self, secret: &str) -> String {
        let ended = self.run_with(&["key", "verify", "--json"], secret);
        document(&ended.text)["code"].as_str().unwrap().to_owned()
    }

    /// The findings of doctor by the names of the checks.
    pub fn finding(&self, check: &str) -> String {
        finding(&self.run(&["doctor", "--json"]).text, check)
    }
}

/// The JSON document in what a command prints, which is one line.
fn document(text: &str) -> Value {
    let line = text.lines().find(|line| line.starts_with('{'));
    serde_json::from_str(line.unwrap_or_else(|| panic!("{text}"))).unwrap()
}

/// The finding and the text of a check in a JSON document.
pub fn finding(text: &str, check: &str) -> String {
    let found = document(text);
    let checks = found["checks"].as_array().unwrap();
    let one = checks.iter().find(|one| one["name"] == check);
    let one = one.unwrap_or_else(|| panic!("no {check} in {text}"));
    format!(
        "{}: {}",
        one["finding"].as_str().unwrap(),
        one["text"].as_str().unwrap()
    )
}

impl Ended {
    fn of(output: Output) -> Ended {
        let text = [output.stdout, output.stderr].concat();
        Ended {
            is_good: output.status.success(),
            text: String::from_utf8_lossy(&text).into_owned(),
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.top);
    }
}

/// The path as an argument.
pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
