//! Storage faults and resources in `docs/threats.md`: disks that are full or fail, locks, limits, closed outputs.
//!
//! Not covered here: 218 (file system remounted read-only), because Linux refuses that while the database is open for
//! writing, and the remaining case is a failed write, as in `device`. 217 (log growth), because no reader of the server
//! holds a snapshot longer than a list takes. A panic in a change and a failing COMMIT are unit tests of
//! `src/store/writer`.

mod device;
pub mod disk;
mod locked;
mod process;

use serde_json::{Value, json};

use crate::support::{Issued, Server, wait};

/// Waits until `/readyz?write` returns this status. It may take a while, because the server caches its result for a second.
#[track_caller]
pub fn wait_for_readiness(server: &Server, wanted: u16) {
    wait::until(&format!("the status of /readyz is {wanted}"), || {
        server.anonymous().get("/readyz?write").status == wanted
    });
}

/// Keys whose issue was acknowledged, and names whose issue was refused.
#[derive(Default)]
struct Journal {
    issued: Vec<Issued>,
    refused: Vec<String>,
}

impl Journal {
    /// Requests one more key and returns the status.
    fn issue(&mut self, server: &Server) -> u16 {
        let name = format!("key {}", self.issued.len() + self.refused.len());
        let answer = server.admin().post(
            "/v1/keys",
            json!({ "name": name, "metadata": {"x": "y".repeat(3000)} }),
        );
        match answer.status {
            201 => {
                let body = answer.json();
                self.issued.push(Issued {
                    id: body["key"]["id"].as_str().expect("an id").to_owned(),
                    secret: body["secret"].as_str().expect("a secret").to_owned(),
                    key: body["key"].clone(),
                });
            }
            503 => {
                let retry = answer.header("retry-after").map(str::parse::<u32>);
                assert!(matches!(retry, Some(Ok(1..))), "{}", answer.exchange());
                self.refused.push(name);
            }
            _ => panic!("{}", answer.exchange()),
        }
        answer.status
    }

    /// Checks that every acknowledged key verifies, that no refused key exists, and that no invalid key is accepted.
    #[track_caller]
    fn check(&self, server: &Server) {
        self.check_verdicts(server);
        let list = server.admin().get("/v1/keys?limit=500").expect(200).json();
        let names: Vec<&Value> = list["items"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|key| &key["name"])
            .collect();
        for key in &self.issued {
            assert!(
                names.contains(&&key.key["name"]),
                "{} is gone",
                key.key["name"]
            );
        }
        for name in &self.refused {
            assert!(
                !names.contains(&&json!(name)),
                "{name} was refused and is there"
            );
        }
    }

    /// Checks the verdicts that the server can give from memory.
    #[track_caller]
    fn check_verdicts(&self, server: &Server) {
        server.assert_alive();
        for key in &self.issued {
            assert_eq!(server.anonymous().verdict(&key.secret), "VALID");
            let bad = [("X-API-Key", format!("{}x", key.secret))];
            let bad: Vec<(&str, &str)> = bad
                .iter()
                .map(|(name, value)| (*name, value.as_str()))
                .collect();
            let answer = server.call("GET", "/auth/caddy", &bad, None);
            assert_eq!(answer.status, 401, "{}", answer.exchange());
        }
    }
}

/// Prints why a test cannot run here; fails where every test must run.
pub fn left_out(why: &str) {
    assert!(std::env::var_os("LATCHKEY_TEST_ALL").is_none(), "{why}");
    println!("left out: {why}");
}
