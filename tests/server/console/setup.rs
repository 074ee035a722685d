//! The first run: no default password, one code, one owner.

use super::visitor::{Visitor, encoded_form};
use crate::support::{Address, PASSWORD, executable, fresh_folder};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Stdio};

/// A server on a folder that was initialised with `--setup`.
pub struct Unset {
    pub address: SocketAddr,
    pub code: Option<String>,
    child: Child,
}

impl Unset {
    pub fn serve(data: &Path) -> Unset {
        let mut child = executable(None)
            .args(["serve", "--json", "--listen", "127.0.0.1:0", "--data"])
            .arg(data)
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
        Unset {
            address: url.trim_start_matches("http://").parse().unwrap(),
            code: hello["setup_code"].as_str().map(str::to_owned),
            child,
        }
    }

    pub fn visitor(&self) -> Visitor {
        Visitor::at(self.address)
    }
}

impl Drop for Unset {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn initialised(data: &Path) -> Value {
    let made = executable(None)
        .args(["init", "--setup", "--json", "--data"])
        .arg(data)
        .output()
        .unwrap();
    assert!(made.status.success());
    serde_json::from_slice(&made.stdout).unwrap()
}

// attacks 134, 180
#[test]
fn whoever_has_the_code_sets_the_owners_password_once() {
    let folder = fresh_folder();
    let data = folder.join("data");
    let made = initialised(&data);
    assert_eq!(made["owner"]["password"], Value::Null);
    let server = Unset::serve(&data);
    let code = server.code.clone().unwrap();
    let fields = |code: &str, password: &str| {
        [
            ("code", code.to_owned()),
            ("user_name", "ada".to_owned()),
            ("password", password.to_owned()),
            ("password_again", password.to_owned()),
        ]
    };
    let send = |visitor: &mut Visitor, fields: [(&str, String); 4]| {
        let fields = fields
            .each_ref()
            .map(|(name, value)| (*name, value.as_str()));
        visitor.send("/console/setup", &fields)
    };

    let mut visitor = server.visitor();
    let place = visitor.get("/console").expect(303);
    assert_eq!(place.header("location"), Some("/console/setup"));
    visitor.get("/console/setup").expect(200);
    // Before the set-up, no name and no password is accepted.
    for password in ["", "owner"] {
        visitor.sign_in("owner", password).expect(403);
    }
    send(&mut visitor, fields("0000000000000000", PASSWORD)).expect(422);
    send(&mut visitor, fields("", PASSWORD)).expect(422);
    send(&mut visitor, fields(&code, "short")).expect(422);
    assert_eq!(
        visitor.value("code").as_deref(),
        Some(code.as_str()),
        "what was typed is kept"
    );

    // Of two requests at once, one makes the owner and the other is refused.
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let mut visitor = server.visitor();
                let fields = fields(&code, PASSWORD);
                scope.spawn(move || send(&mut visitor, fields).status)
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    assert!(
        statuses == [303, 409] || statuses == [409, 303],
        "{statuses:?}"
    );
    send(&mut visitor, fields(&code, "another good password")).expect(409);
    visitor.get("/console/setup").expect(303);
    visitor.sign_in("ada", PASSWORD).expect(303);
    visitor.get("/console").expect(200);
    drop(server);

    let server = Unset::serve(&data);
    assert_eq!(server.code, None);
    let _ = std::fs::remove_dir_all(folder);
}

// attacks 164, 180
#[test]
fn another_site_cannot_set_a_server_up() {
    let folder = fresh_folder();
    let data = folder.join("data");
    initialised(&data);
    let server = Unset::serve(&data);
    let body = encoded_form(&[
        ("code", server.code.as_deref().unwrap()),
        ("password", PASSWORD),
    ]);
    let headers = [
        ("Origin", "https://evil.example"),
        ("Content-Type", "application/x-www-form-urlencoded"),
    ];
    let address = Address::Tcp(server.address);
    address
        .call("POST", "/console/setup", &headers, Some(body.as_bytes()))
        .expect(403);
    server.visitor().get("/console/setup").expect(200);
    drop(server);
    let _ = std::fs::remove_dir_all(folder);
}
