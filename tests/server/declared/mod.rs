//! Keys, policies and catalogs that files declare.

mod bad;
mod by_hand;
mod image;
mod life;
mod moved;
mod shared;
mod whole;

use crate::command_line::Line;
use crate::support::{Server, executable, fresh_folder};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A folder of files, which is removed when it is dropped.
pub struct Files(PathBuf);

impl Files {
    pub fn new() -> Files {
        let folder = fresh_folder().join("keys.d");
        fs::create_dir_all(&folder).expect("a folder can be made");
        Files(folder)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The folder as an argument.
    pub fn arg(&self) -> &str {
        self.0.to_str().expect("text")
    }

    /// Writes a file that only its owner can change. The first line is `version = 1`, the second one `absent`, if any.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        self.write_whole(name, &format!("version = 1\n{text}"))
    }

    pub fn write_whole(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).expect("a file can be written");
        let mode = fs::Permissions::from_mode(0o644);
        fs::set_permissions(&path, mode).expect("a file can be closed");
        path
    }

    pub fn remove(&self, name: &str) {
        fs::remove_file(self.0.join(name)).expect("a file can be removed");
    }

    /// A server that reads this folder.
    pub fn server(&self) -> Server {
        Server::start_with(&["--keys", self.arg(), "--usage-interval-s", "3600"], &[])
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        if let Some(folder) = self.0.parent() {
            let _ = fs::remove_dir_all(folder);
        }
    }
}

/// What `latchkey key draw` prints.
pub struct Drawn {
    pub id: String,
    pub digest: String,
    pub secret: String,
    pub stanza: String,
}

impl Drawn {
    /// The stanza with further lines.
    pub fn with(&self, more: &str) -> String {
        format!("{}\n{more}\n", self.stanza)
    }
}

pub fn draw(name: &str) -> Drawn {
    draw_with(&[name])
}

pub fn draw_with(args: &[&str]) -> Drawn {
    let line = Line::at(Path::new("/nowhere"));
    let drawn = line.json(&[&["key", "draw"], args].concat());
    let text = |member: &str| drawn[member].as_str().expect("text").to_owned();
    Drawn {
        id: text("id"),
        digest: text("digest"),
        secret: text("secret"),
        stanza: text("stanza"),
    }
}

/// Applies the files of a running server, and returns the verbs and the names of the changes.
#[track_caller]
pub fn apply(server: &Server) -> Vec<String> {
    verbs(&Line::of(server).json(&["keys", "apply"]))
}

pub fn verbs(applied: &Value) -> Vec<String> {
    let changes = applied["changes"].as_array().expect("a list of changes");
    let verb = |change: &Value| {
        let text = |member: &str| change[member].as_str().expect("text").to_owned();
        format!("{} {}", text("verb"), text("name"))
    };
    changes.iter().map(verb).collect()
}

/// The key of this name that the files declare.
#[track_caller]
pub fn named(server: &Server, name: &str) -> Value {
    let page = server
        .local()
        .get("/v1/keys?source=file")
        .expect(200)
        .json();
    let items = page["items"].as_array().expect("items").clone();
    let found = items.into_iter().find(|key| key["name"] == name);
    found.unwrap_or_else(|| panic!("no key {name}"))
}

/// The digest of a secret, as `latchkey key digest` prints it.
pub fn digest(secret: &str) -> String {
    let line = Line::at(Path::new("/nowhere"));
    let ran = line.run_with_input(&["key", "digest"], secret);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    ran.stdout
}

/// The reasons why the running server does not apply its files.
pub fn refused(server: &Server) -> Vec<String> {
    let applied = server
        .local()
        .post("/v1/declared/apply", serde_json::json!({}));
    let complaints = applied.expect(200).json()["complaints"].clone();
    let complaints = complaints.as_array().expect("a list").clone();
    let line = |complaint: &Value| {
        let path = complaint["path"].as_str().expect("a path");
        let reason = complaint["reason"].as_str().expect("a reason");
        match complaint["line"].as_u64() {
            Some(line) => format!("{path}:{line}: {reason}"),
            None => format!("{path}: {reason}"),
        }
    };
    complaints.iter().map(line).collect()
}

/// `latchkey keys apply` for a stopped folder.
pub fn apply_command(data: &Path, files: &Files) -> Command {
    let mut command = executable(None);
    command
        .args(["keys", "apply", "--json", "--keys", files.arg(), "--data"])
        .arg(data);
    command
}
