//! All dialects on one listener: whose a path is, and whose words its refusals are in.
//!
//! These tests ask the executable which dialects it has, so they hold for every one of them.

mod faults;
mod mounts;
mod words;

use crate::support::refusal::ended;
use crate::support::{Received, Response};
use crate::support::{Server, executable, fresh_folder};
use std::fs;

/// The dialects that can be moved, by the names that the program itself tells.
fn dialects() -> Vec<String> {
    let folder = fresh_folder();
    let mut command = executable(None);
    command.args(["quickstart", "--mount", "?=/x", "--listen", "127.0.0.1:0"]);
    let said = ended(command.arg("--data").arg(folder.join("data"))).stderr;
    let _ = fs::remove_dir_all(folder);
    let names = said.split_once("names none of ").expect("names are told").1;
    names.trim().split(", ").map(str::to_owned).collect()
}

/// Where a dialect is by itself.
fn mount(dialect: &str) -> &'static str {
    match dialect {
        "adverity" => "/api",
        "aware" => "/external",
        "awaretrain" => "/public/v1",
        "vspc" => "/api/v3",
        other => panic!("where is {other}?"),
    }
}

/// Sends bytes as they are, and reads the one answer.
#[track_caller]
fn answer(server: &Server, bytes: &str) -> Response {
    let Received { bytes: came, .. } = server.raw(bytes);
    let shown: String = bytes.chars().take(300).collect();
    Response::parse(&shown, &came).unwrap_or_else(|| {
        panic!(
            "no answer to {shown:?}: {:?}",
            String::from_utf8_lossy(&came)
        )
    })
}

/// A request without body, to this host.
#[track_caller]
fn ask(server: &Server, method: &str, host: &str, path: &str) -> Response {
    let bytes = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    answer(server, &bytes)
}
