//! A server whose store holds many keys.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Stdio};

use serde_json::Value;

use crate::support::{executable, fresh_folder};

/// A server whose store holds many keys; it stops when it is dropped.
pub struct Filled {
    pub address: SocketAddr,
    pub owner_password: String,
    folder: PathBuf,
    child: Child,
}

impl Filled {
    pub fn start(keys: u32) -> Filled {
        let folder = fresh_folder();
        let data = folder.join("data");
        let made = executable(None)
            .args(["init", "--json", "--keys", &keys.to_string(), "--data"])
            .arg(&data)
            .arg("--secrets")
            .arg(folder.join("secrets"))
            .output()
            .unwrap();
        assert!(
            made.status.success(),
            "{}",
            String::from_utf8_lossy(&made.stderr)
        );
        let made: Value = serde_json::from_slice(&made.stdout).unwrap();
        let mut child = executable(None)
            .args(["serve", "--json", "--listen", "127.0.0.1:0", "--data"])
            .arg(&data)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        std::thread::spawn(move || stdout.lines().map_while(Result::ok).for_each(drop));
        let hello: Value = serde_json::from_str(&line).unwrap();
        let url = hello["url"].as_str().unwrap();
        Filled {
            address: url.trim_start_matches("http://").parse().unwrap(),
            owner_password: made["owner"]["password"].as_str().unwrap().to_owned(),
            folder,
            child,
        }
    }
}

impl Drop for Filled {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
