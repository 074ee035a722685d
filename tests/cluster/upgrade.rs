//! An upgrade of three nodes, one after the other, to a program with one more step of the schema, while clients use them.
//!
//! The clients do what a balancer does: they go on to the next node if one does not answer.

use crate::postgres::{Database, database};
use crate::program::{Folder, finding};
use crate::wait::until;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

const NODES: usize = 3;
/// The verifications and changes that there must be in each part of the upgrade.
const OF_EACH_PART: usize = 10;

/// The nodes, and what their clients have been answered.
struct Load {
    sockets: Vec<PathBuf>,
    management: String,
    /// Names of keys whose issuing was acknowledged.
    acknowledged: Mutex<Vec<String>>,
    /// Those of them whose secret was answered, with it: the answer to a repeat has none.
    issued: Mutex<Vec<(String, String)>>,
    /// How many of these every node knows by now: others follow a change within a moment.
    known: AtomicUsize,
    verified: AtomicUsize,
    /// Verifications without a right verdict from any node.
    errors: Mutex<Vec<String>>,
    must_end: AtomicBool,
}

impl Load {
    /// Asks the nodes one after the other, from `first` on, and returns the first answer that is no refusal of a node that just
    /// starts, ends or waits.
    fn ask(&self, first: usize, path: &str, headers: &str, body: &Value) -> Option<(u16, Value)> {
        let order = (0..NODES).map(|add| &self.sockets[(first + add) % NODES]);
        let answers = order.filter_map(|socket| exchange(socket, path, headers, body));
        answers.into_iter().find(|(status, _)| *status != 503)
    }

    fn credential(&self) -> String {
        format!("authorization: Bearer {}\r\n", self.management)
    }

    fn verify(&self, first: usize, secret: &str) {
        let headers = self.credential();
        let question = json!({ "key": secret });
        let answer = self.ask(first, "/v1/verify", &headers, &question);
        let is_right = matches!(&answer, Some((200, verdict)) if verdict["code"] == "VALID");
        match is_right {
            true => drop(self.verified.fetch_add(1, Relaxed)),
            false => self.errors.lock().unwrap().push(format!("{answer:?}")),
        }
    }

    /// Issues a key, and repeats it with the same `Idempotency-Key` until it is acknowledged.
    fn issue(&self, first: usize, name: &str) {
        let headers = format!("{}idempotency-key: {name}\r\n", self.credential());
        let body = json!({ "name": name });
        until("a change is acknowledged", || {
            let answer = self.ask(first, "/v1/keys", &headers, &body);
            let Some((201, issued)) = answer else {
                return false;
            };
            self.acknowledged.lock().unwrap().push(name.to_owned());
            if let Some(secret) = issued["secret"].as_str() {
                let secret = secret.to_owned();
                self.issued.lock().unwrap().push((name.to_owned(), secret));
            }
            true
        });
    }

    fn run(&self, client: usize) {
        let mut number = 0;
        while !self.must_end.load(Relaxed) {
            self.issue(client + number, &format!("client-{client}-{number}"));
            let known = self.issued.lock().unwrap()[..self.known.load(Relaxed)].to_vec();
            for (_, secret) in known.iter().rev().take(3) {
                self.verify(client + number, secret);
            }
            number += 1;
        }
    }

    /// Waits until every node knows the keys of now, and until the clients have done something since.
    fn go_on(&self) {
        let issued = self.count();
        let newest = self.issued.lock().unwrap().last().cloned();
        if let Some((_, secret)) = newest {
            let question = json!({ "key": secret });
            for socket in &self.sockets {
                until("a node knows a key", || {
                    let answer = exchange(socket, "/v1/verify", &self.credential(), &question);
                    answer.is_some_and(|(_, verdict)| verdict["code"] == "VALID")
                });
            }
        }
        self.known.store(issued, Relaxed);
        let verified = self.verified.load(Relaxed);
        until("the clients go on", || {
            self.verified.load(Relaxed) >= verified + OF_EACH_PART
                && self.count() >= issued + OF_EACH_PART
        });
    }

    fn count(&self) -> usize {
        self.issued.lock().unwrap().len()
    }
}

/// Ends the clients, also if the test fails.
struct Ends<'a>(&'a Load);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.must_end.store(true, Relaxed);
    }
}

/// One request; `None` if the node does not answer.
fn exchange(socket: &Path, path: &str, headers: &str, body: &Value) -> Option<(u16, Value)> {
    let body = body.to_string();
    let mut stream = UnixStream::connect(socket).ok()?;
    let length = body.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n{headers}\r\n"
    );
    stream.write_all(head.as_bytes()).ok()?;
    stream.write_all(body.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, serde_json::from_str(body).unwrap_or_default()))
}

/// The program of the next schema.
fn next_program() -> PathBuf {
    let made = Command::new("dev/next-schema").output().unwrap();
    let text = String::from_utf8_lossy(&made.stderr);
    assert!(made.status.success(), "{text}");
    PathBuf::from(String::from_utf8(made.stdout).unwrap().trim())
}

fn serve(node: &Folder) -> Child {
    let server = node.begin(&["serve", "--listen", "127.0.0.1:0"]);
    until("the node answers", || node.run(&["health"]).is_good);
    server
}

fn stop(mut server: Child) {
    let pid = rustix::process::Pid::from_child(&server);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    server.wait().unwrap();
}

fn schema(database: &Database) -> i64 {
    let version = database.ask("SELECT version FROM latchkey.latchkey_schema");
    version.parse().unwrap()
}

#[test]
fn three_nodes_are_upgraded_one_by_one_under_load_and_nothing_is_lost() {
    let Some(database) = database() else { return };
    if std::env::var_os("LATCHKEY_TEST_ALL").is_none() {
        return println!("left out: it builds a program with one more step (LATCHKEY_TEST_ALL)");
    }
    let next = next_program();
    let mut nodes = vec![Folder::new()];
    nodes[0].good(&["init", "--database", &database.address()]);
    for _ in 1..NODES {
        let node = Folder::with_keys_of(&nodes[0]);
        node.good(&["init", "--join", "--database", &database.address()]);
        nodes.push(node);
    }
    let management = nodes[0].good(&[
        "key",
        "issue",
        "clients",
        "--catalog",
        "latchkey",
        "--scope",
        "keys:write",
        "--scope",
        "keys:verify",
        "--secret-only",
    ]);
    let before = schema(&database);
    let mut servers: Vec<Child> = nodes.iter().map(serve).collect();
    let load = Load {
        sockets: nodes
            .iter()
            .map(|node| node.path.join("latchkey.sock"))
            .collect(),
        management: management.trim().to_owned(),
        acknowledged: Mutex::default(),
        issued: Mutex::default(),
        known: AtomicUsize::new(0),
        verified: AtomicUsize::new(0),
        errors: Mutex::default(),
        must_end: AtomicBool::new(false),
    };
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..NODES)
            .map(|client| {
                let load = &load;
                scope.spawn(move || load.run(client))
            })
            .collect();
        let ends = Ends(&load);
        // The program that is there has nothing to upgrade.
        until("there are keys", || load.count() > 0);
        load.go_on();
        let said = nodes[0].good(&["cluster", "upgrade", "--yes"]);
        assert!(said.contains("already"), "{said}");
        for (number, node) in nodes.iter_mut().enumerate() {
            stop(servers.remove(0));
            node.program = next.clone();
            servers.push(serve(node));
            load.go_on();
            if number + 1 < NODES {
                node.refused(&["cluster", "upgrade", "--yes"], "older program");
                assert!(node.finding("schema").starts_with("warning: "));
            }
        }
        assert_eq!(schema(&database), before);
        let notes = "SELECT count(*) FROM latchkey.key_notes";
        nodes[1].good(&["cluster", "upgrade", "--yes"]);
        assert_eq!(schema(&database), before + 1);
        load.go_on();
        // Nodes that run use what was added.
        until("new keys have what is new", || database.ask(notes) != "0");
        let said = nodes[2].good(&["cluster", "upgrade", "--yes"]);
        assert!(said.contains("already"), "{said}");
        load.go_on();
        drop(ends);
        for client in clients {
            client.join().unwrap();
        }
    });
    let errors = load.errors.lock().unwrap();
    assert_eq!(errors.as_slice(), [""; 0]);
    let issued = load.issued.lock().unwrap();
    println!(
        "{} changes, {} verifications, no error",
        issued.len(),
        load.verified.load(Relaxed)
    );
    for (name, secret) in issued.iter() {
        for socket in &load.sockets {
            let question = json!({ "key": secret });
            let answer = exchange(socket, "/v1/verify", &load.credential(), &question).unwrap();
            assert_eq!(answer.1["code"], "VALID", "{name}: {answer:?}");
        }
    }
    let names =
        database.ask("SELECT name FROM latchkey.keys WHERE name LIKE 'client-%' ORDER BY name");
    let mut acknowledged = load.acknowledged.lock().unwrap().clone();
    acknowledged.sort();
    let lines: Vec<&str> = names.lines().collect();
    assert_eq!(lines, acknowledged, "each key once, and no other");
    for node in &nodes {
        let found = node.run(&["doctor", "--json"]).text;
        for check in ["schema", "audit log", "keys and audit log"] {
            let found = finding(&found, check);
            assert!(found.starts_with("ok"), "{check}: {found}");
        }
    }
    servers.drain(..).for_each(stop);
    // The program of before cannot use the database any more, and says so.
    nodes[0].program = PathBuf::from(env!("CARGO_BIN_EXE_latchkey"));
    nodes[0].refused(&["key", "list"], "written by a newer Latchkey");
}
