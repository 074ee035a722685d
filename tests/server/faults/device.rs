//! A failing disk: writes and syncs return EIO. The server runs with `failing_disk.c` loaded before its C library.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use super::{Journal, left_out, wait_for_readiness};
use crate::durability::file;
use crate::support::{Server, fresh_folder};

struct Device {
    folder: PathBuf,
}

impl Device {
    /// `None` if there is no C compiler.
    fn build() -> Option<Device> {
        let folder = fresh_folder();
        let source =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/server/faults/failing_disk.c");
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .arg(folder.join("failing_disk.so"))
            .arg(source)
            .status();
        built
            .is_ok_and(|status| status.success())
            .then_some(Device { folder })
    }

    fn server(&self) -> Server {
        let library = self.folder.join("failing_disk.so").display().to_string();
        let fault = self.fault().display().to_string();
        Server::start_with(
            &[],
            &[("LD_PRELOAD", &library), ("LATCHKEY_TEST_FAULT", &fault)],
        )
    }

    fn fault(&self) -> PathBuf {
        self.folder.join("fault")
    }

    fn fail(&self, how: &str) {
        fs::write(self.fault(), how).expect("it can be written");
    }

    fn heal(&self) {
        fs::remove_file(self.fault()).expect("it can be removed");
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

// attacks 215
#[test]
fn writes_that_fail_are_refused_cleanly_and_heal() {
    let Some(device) = Device::build() else {
        return left_out("a failing disk: there is no C compiler");
    };
    let mut server = device.server();
    let mut journal = Journal::default();
    for how in ["w", "h", "w"] {
        assert_eq!(journal.issue(&server), 201);
        device.fail(how);
        for _ in 0..5 {
            assert_eq!(journal.issue(&server), 503);
        }
        wait_for_readiness(&server, 503);
        journal.check(&server);
        device.heal();
        assert_eq!(journal.issue(&server), 201, "{}", server.log());
        journal.check(&server);
    }
    device.fail("h");
    assert_eq!(journal.issue(&server), 503);
    server.kill9();
    device.heal();
    server.restart();
    journal.check(&server);
    server.stop();
    file::check(&server.data);
}

/// After a failed sync the content of the disk is unknown. The caller receives an error and never a success, and later
/// answers agree with the file.
#[test]
fn a_sync_that_fails_is_never_success_and_the_index_follows_the_file() {
    let Some(device) = Device::build() else {
        return left_out("a failing disk: there is no C compiler");
    };
    let mut server = device.server();
    let admin = server.admin();
    let keys: Vec<_> = (0..6)
        .map(|number| admin.issue(json!({ "name": format!("key {number}") })))
        .collect();
    for (number, key) in keys.iter().enumerate() {
        device.fail("s");
        let path = format!("/v1/keys/{}/disable", key.id);
        let answer = admin.call("POST", &path, None);
        assert!(matches!(answer.status, 500 | 503), "{}", answer.exchange());
        let later = admin.post("/v1/keys", json!({ "name": "later" }));
        assert!(matches!(later.status, 500 | 503), "{}", later.exchange());
        wait_for_readiness(&server, 503);
        server.assert_alive();
        device.heal();
        if number % 2 == 1 {
            server.kill9();
            server.restart();
        }
        admin.issue(json!({ "name": format!("healed {number}") }));
        check_follows(&server, &key.id, &key.secret);
    }
    server.kill9();
    server.restart();
    for key in &keys {
        check_follows(&server, &key.id, &key.secret);
    }
    server.stop();
    file::check(&server.data);
}

#[track_caller]
fn check_follows(server: &Server, id: &str, secret: &str) {
    let enabled = server
        .admin()
        .get(&format!("/v1/keys/{id}"))
        .expect(200)
        .json()["enabled"]
        == true;
    let expected = if enabled { "VALID" } else { "DISABLED" };
    assert_eq!(server.admin().verdict(secret), expected);
}
