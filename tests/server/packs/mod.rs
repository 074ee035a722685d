//! Sites and their packs, as the server makes them: what a pack contains, who may make one, and what comes back.

mod codes;
mod rights;
mod sites;
mod verifier;

use crate::command_line::Line;
use crate::support::{Server, User, fresh_folder};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// The passphrase of enrolments.
const PASSPHRASE: &str = "nine anchors in the meadow";

/// Enrols a site with these workspaces, and returns it.
#[track_caller]
fn enrol(server: &Server, name: &str, more: Value) -> Value {
    let mut body = json!({
        "name": name, "workspaces": ["root"], "passphrase": PASSPHRASE, "server": "server.example",
    });
    for (member, value) in more.as_object().unwrap() {
        body[member] = value.clone();
    }
    server.local().post("/v1/sites", body).expect(201).json()["site"].clone()
}

/// Makes a pack for one site.
#[track_caller]
fn make(user: &User, site: &str, whole: bool) -> Value {
    let body = json!({ "sites": [site], "whole": whole });
    user.post("/v1/packs", body).expect(201).json()["items"][0].clone()
}

/// The place of a pack in the data folder.
fn path_of(pack: &Value) -> PathBuf {
    PathBuf::from(pack["path"].as_str().unwrap())
}

/// The public key that signs.
fn public_key(server: &Server) -> String {
    let keys = server
        .local()
        .get("/v1/packs/signing-keys")
        .expect(200)
        .json();
    let newest = keys["items"].as_array().unwrap().last().unwrap();
    newest["public_key"].as_str().unwrap().to_owned()
}

/// What `latchkey pack show --json` prints about a file, and its exit code.
#[track_caller]
fn show(server: &Server, file: &Path) -> (Value, Option<i32>) {
    let run = Line::of(server).run(&["pack", "show", file.to_str().unwrap(), "--json"]);
    let shown = serde_json::from_str(&run.stdout).unwrap_or(Value::Null);
    (shown, run.code)
}

/// A file with the passphrase.
fn passphrase_file() -> PathBuf {
    let file = fresh_folder().join("passphrase");
    std::fs::write(&file, format!("{PASSPHRASE}\n")).unwrap();
    file
}
