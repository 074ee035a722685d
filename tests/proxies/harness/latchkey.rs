//! The real server, on the port that the examples use, and its native API.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use super::client::{Reply, request};
use super::process::Process;

pub const PORT: u16 = 8420;
const ADDRESS: &str = "127.0.0.1:8420";
/// Where HAProxy asks in its own protocol.
pub const AGENT_PORT: u16 = 8422;
const AGENT: &str = "127.0.0.1:8422";

/// A running server with the catalog `billing`.
pub struct Latchkey {
    data: PathBuf,
    management_key: String,
    process: Option<Process>,
}

#[derive(Clone)]
pub struct Key {
    pub id: String,
    pub name: String,
    pub secret: String,
}

impl Latchkey {
    /// Starts on a fresh data folder.
    pub fn start(folder: &Path) -> Latchkey {
        let data = folder.join("latchkey");
        let mut process = launch(&["quickstart", "--json"], &data);
        let line = process.first_line();
        let printed: Value = serde_json::from_str(&line)
            .unwrap_or_else(|_| panic!("quickstart --json printed {line:?}"));
        let management_key = printed["management_key"].as_str().unwrap().to_owned();
        let latchkey = Latchkey {
            data,
            management_key,
            process: Some(process),
        };
        latchkey.call("PUT", "/v1/catalogs/billing", &catalog());
        latchkey
    }

    /// The data folder.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Runs a command of the command line on the data folder.
    pub fn run(&self, args: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_latchkey"))
            .args(args)
            .env("LATCHKEY_DATA", &self.data)
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// The Unix socket on which the server listens.
    pub fn socket(&self) -> PathBuf {
        self.data.join("latchkey.sock")
    }

    /// Ends the process, as a crash would.
    pub fn stop(&mut self) {
        self.process = None;
        super::process::await_silence(PORT);
    }

    /// Starts the server again on the same data.
    pub fn restart(&mut self) {
        self.process = Some(launch(&["serve"], &self.data));
    }

    /// Stops all threads of the process, with its sockets open, until `resume`.
    pub fn suspend(&self) {
        self.process.as_ref().unwrap().suspend();
    }

    pub fn resume(&self) {
        self.process.as_ref().unwrap().signal("CONT");
    }

    /// Issues a key of the catalog `billing`; `members` may add to it.
    #[track_caller]
    pub fn issue(&self, name: &str, scopes: &[&str], members: Value) -> Key {
        let mut body = json!({"name": name, "catalog": "billing", "scopes": scopes});
        let more = members.as_object().unwrap().clone();
        body.as_object_mut().unwrap().extend(more);
        let issued = self.call("POST", "/v1/keys", &body).json();
        Key {
            id: issued["key"]["id"].as_str().unwrap().to_owned(),
            name: name.to_owned(),
            secret: issued["secret"].as_str().unwrap().to_owned(),
        }
    }

    pub fn delete(&self, key: &Key) {
        self.call("DELETE", &format!("/v1/keys/{}", key.id), &Value::Null);
    }

    #[track_caller]
    pub fn call(&self, method: &str, path: &str, body: &Value) -> Reply {
        let mut call = request(method, path.as_bytes()).bearer(&self.management_key);
        if !body.is_null() {
            let body = body.to_string();
            call = call
                .header("Content-Type", "application/json")
                .body(body.as_bytes());
        }
        let reply = call.send(PORT);
        assert!(
            reply.is_success(),
            "{method} {path} {body}: {} {}",
            reply.status,
            reply.text()
        );
        reply
    }
}

fn launch(command: &[&str], data: &Path) -> Process {
    let folder = data.parent().unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_latchkey"));
    let data = data.to_str().unwrap();
    let options = [
        "--data",
        data,
        "--listen",
        ADDRESS,
        "--haproxy-agent",
        AGENT,
    ];
    Process::start(program, &[command, &options].concat(), folder, PORT)
}

fn catalog() -> Value {
    json!({
        "scopes": [
            {"name": "invoices:read", "label": "Read invoices"},
            {"name": "invoices:write", "label": "Pay invoices", "implies": ["invoices:read"]},
        ],
        "operations": [
            {"id": "list", "method": "GET", "path": "/billing/invoices", "access": "read",
             "any_of": ["invoices:read"]},
            {"id": "pay", "method": "POST", "path": "/billing/invoices/{id}/pay", "access": "write",
             "any_of": ["invoices:write"]},
        ],
    })
}
