//! Two machines that were enrolled from copies of one file, over a link.

use serde_json::json;
use std::fs;

use super::{follow, url_of, verdict};
use crate::command_line::Line;
use crate::sites::Site;
use crate::support::{Server, fresh_folder, wait};

/// Enrols a site, and makes the folders of two machines from two copies of its file, neither of which is marked as used.
fn enrol_twice(server: &Server) -> [Site; 2] {
    let folder = fresh_folder();
    let path = |name: &str| folder.join(name).display().to_string();
    let (file, passphrase) = (path("enrolment"), path("passphrase"));
    fs::write(&passphrase, "seven lanterns over the harbour\n").unwrap();
    let add = ["site", "add", "plant-7", "--workspace", "root"];
    let files = ["--out", &file, "--passphrase-file", &passphrase];
    Line::of(server).ok(&[&add[..], &files].concat());
    let machines = [1, 2].map(|number| {
        let folder = fresh_folder();
        let copy = folder.join("enrolment");
        fs::copy(&file, &copy).unwrap();
        let line = Line::at(&folder.join("data"));
        let copy = copy.display().to_string();
        let ran = line.run(&["site", "init", &copy, "--passphrase-file", &passphrase]);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        assert!(
            !ran.stderr.contains("was made of this file"),
            "{number}: {ran:?}"
        );
        Site {
            name: "plant-7".to_owned(),
            folder,
            line,
        }
    });
    let _ = fs::remove_dir_all(&folder);
    machines
}

/// Waits until a machine knows the key, and spends uses until it has none; returns their number.
fn spend(running: &Server, secret: &str) -> u64 {
    let mut spent = 0;
    wait::until("the machine knows the key", || {
        let found = verdict(running, secret);
        spent += u64::from(found == "VALID");
        matches!(&*found, "VALID" | "USAGE_EXCEEDED")
    });
    while verdict(running, secret) == "VALID" {
        spent += 1;
        assert!(spent < 1_000);
    }
    spent
}

#[test]
fn two_machines_of_one_enrolment_spend_no_use_twice() {
    let server = Server::start();
    let machines = enrol_twice(&server);
    let body = json!({ "name": "counted", "uses_left": 250 });
    let key = server.admin().issue(body);
    let running = machines.each_ref().map(|site| {
        // Both have asked before either has anything to report.
        let running = follow(site, &url_of(&server), "10s");
        wait::until("the machine has a pack", || {
            site.status()["pack"].as_u64() > Some(0)
        });
        running
    });
    let lives = machines
        .each_ref()
        .map(|site| site.status()["life"].clone());
    assert_ne!(lives[0], lives[1]);
    let named = Line::of(&server).json(&["site", "show", "plant-7"]);
    assert!(lives.contains(&named["life"]), "{named}");
    let spent: u64 = running.iter().map(|site| spend(site, &key.secret)).sum();
    let mut rest = 0;
    while server.local().verdict(&key.secret) == "VALID" {
        rest += 1;
    }
    assert!(spent + rest <= 250, "{spent} + {rest}");
}
