//! Without a sink the server sends nothing: it runs in a network namespace of its own, in which every packet is counted.

use super::notable;
use crate::support::{Address, User, fresh_folder, wait};
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A server in a network namespace.
struct Apart {
    child: Child,
    admin: User,
}

impl Apart {
    /// `None` if this machine permits no namespaces.
    fn start(data: &Path, args: &[&str]) -> Option<Apart> {
        let mut child = Command::new("unshare")
            .args(["-rn", "sh", "-c", "ip link set lo up && exec \"$0\" \"$@\""])
            .arg(env!("CARGO_BIN_EXE_latchkey"))
            .args([
                "quickstart",
                "--json",
                "--listen",
                "127.0.0.1:8420",
                "--data",
            ])
            .arg(data)
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let mut lines = BufReader::new(child.stdout.take()?).lines();
        let Some(Ok(hello)) = lines.next() else {
            let _ = child.wait();
            return None;
        };
        let hello: Value = serde_json::from_str(&hello).unwrap();
        let socket = hello["socket"].as_str().unwrap();
        let admin = User::new(Address::Unix(socket.into()));
        Some(Apart { child, admin })
    }

    /// The packets that were sent in the namespace.
    fn sent(&self) -> u64 {
        let path = format!("/proc/{}/net/dev", self.child.id());
        let text = fs::read_to_string(path).unwrap();
        let of_device = |line: &str| {
            let (_, numbers) = line.split_once(':')?;
            numbers.split_whitespace().nth(9)?.parse::<u64>().ok()
        };
        text.lines().filter_map(of_device).sum()
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn without_a_sink_no_packet_is_sent() {
    let folder = fresh_folder();
    let Some(server) = Apart::start(&folder.join("without"), &[]) else {
        println!("left out: this machine permits no network namespaces");
        return;
    };
    notable(&server.admin, "alice");
    wait::until("there is a notice", || {
        let page = server.admin.get("/v1/notices").expect(200).json();
        page["items"]
            .as_array()
            .is_some_and(|items| !items.is_empty())
    });
    assert_eq!(server.sent(), 0);
    // The same with a sink: packets are counted where there are some.
    let place = ["--notice-syslog", "tcp:127.0.0.1:601"];
    let with = Apart::start(&folder.join("with"), &place).expect("a namespace");
    notable(&with.admin, "alice");
    wait::until("something is sent", || with.sent() > 0);
    drop((server, with));
    let _ = fs::remove_dir_all(folder);
}
