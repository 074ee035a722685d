//! The versions of the key files: rotating them while the server runs and while it does not, retiring them, killing both
//! at every step, and saving them.

mod killed;
mod retiring;
mod rotating;
mod saving;

use std::fs;
use std::path::Path;

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::support::{Issued, PASSWORD, Server, User};

/// The names of the files.
const FILES: [&str; 3] = ["pepper", "sealing-key", "seal-key"];

/// The answer of `GET /v1/secrets` about the versions of a file.
fn versions(user: &User, file: &str) -> Vec<Value> {
    let status = user.get("/v1/secrets").expect(200).json();
    let files = status["files"].as_array().unwrap();
    let own = files.iter().find(|known| known["file"] == file).unwrap();
    own["versions"].as_array().unwrap().clone()
}

/// The numbers of the versions of a file in the folder.
fn in_file(data: &Path, file: &str) -> Vec<u32> {
    let text = fs::read_to_string(data.join(file)).unwrap();
    let number = |line: &str| line.split_once(' ').unwrap().0.parse().unwrap();
    text.lines().map(number).collect()
}

/// The numbers of the versions of a file in the database.
fn in_database(data: &Path, file: &str) -> Vec<u32> {
    let table = match file {
        "pepper" => "peppers",
        "seal-key" => "seal_keys",
        _ => "sealing_keys",
    };
    let database = Connection::open(data.join("latchkey.db")).unwrap();
    let mut statement = database
        .prepare(&format!("SELECT version FROM {table} ORDER BY version"))
        .unwrap();
    let rows = statement.query_map([], |row| row.get(0)).unwrap();
    rows.map(Result::unwrap).collect()
}

fn rotate(server: &Server, file: &str) -> Value {
    let answer = server
        .local()
        .post("/v1/secrets/rotate", json!({ "file": file }));
    answer.expect(200).json()
}

fn retire(server: &Server, body: Value) -> crate::support::Response {
    server.local().post("/v1/secrets/retire", body)
}

/// A server with a key whose secret can be shown again.
fn with_copy() -> (Server, Issued) {
    let server = Server::start();
    let policy = json!({ "name": "copy", "secret_shown": "sealed" });
    server.admin().post("/v1/policies", policy).expect(201);
    let key = json!({ "name": "copied", "policy": "copy" });
    let key = server.admin().issue(key);
    (server, key)
}

/// The secret of a key, as it is shown again.
fn reveal(server: &Server, key: &Issued) -> Value {
    let path = format!("/v1/keys/{}/reveal", key.id);
    let answer = server.admin().post(&path, json!({}));
    answer.expect(200).json()["secret"].clone()
}

fn sign_in(server: &Server, name: &str) -> User {
    server.anonymous().signed_in(name, PASSWORD)
}
