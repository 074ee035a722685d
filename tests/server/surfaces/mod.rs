//! All dialects on one listener: which dialect a path belongs to, and which dialect renders its errors.
//!
//! These tests get the list of dialects from the executable, so they apply to all of them.

mod faults;
mod mounts;
mod security_txt;
mod words;

use crate::support::refusal::ended;
use crate::support::{Received, Response, Server, executable, fresh_folder};
use std::fs;

/// The names of the dialects that can be moved, from the program itself.
fn dialects() -> Vec<String> {
    let folder = fresh_folder();
    let mut command = executable(None);
    command.args(["quickstart", "--mount", "?=/x", "--listen", "127.0.0.1:0"]);
    let said = ended(command.arg("--data").arg(folder.join("data"))).stderr;
    let _ = fs::remove_dir_all(folder);
    let names = said.split_once("names none of ").expect("names are told").1;
    names.trim().split(", ").map(str::to_owned).collect()
}

/// The default mount of a dialect.
fn mount(dialect: &str) -> &'static str {
    match dialect {
        "adverity" => "/api",
        "aware" => "/external",
        "awaretrain" => "/public/v1",
        "vspc" => "/api/v3",
        other => panic!("where is {other}?"),
    }
}

/// Sends bytes unchanged, and reads one answer.
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

/// A request without a body to this host.
#[track_caller]
fn ask(server: &Server, method: &str, host: &str, path: &str) -> Response {
    let bytes = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    answer(server, &bytes)
}
