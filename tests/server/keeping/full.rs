//! A full disk, on which no operation may stop halfway. Uses a small file system in memory, where mounting is allowed.

use serde_json::json;

use super::metric;
use crate::command_line::Line;
use crate::faults::{disk::Disk, left_out, wait_for_readiness};
use crate::support::{Server, fresh_folder};

// attacks 216
#[test]
fn a_deletion_on_a_full_disk_is_refused_whole_and_mends_without_a_restart() {
    let Some(disk) = Disk::mount("4m") else {
        return left_out("a full disk: nothing can be mounted here");
    };
    let mut server = Server::start_at(&disk.0.join("data"));
    let admin = server.admin();
    let keys: Vec<_> = (0..8)
        .map(|number| admin.issue(json!({ "name": format!("k{number}") })))
        .collect();
    let line = Line::of(&server);
    let folder = fresh_folder();
    let backup = folder.join("b.db");
    line.ok(&["backup", backup.to_str().unwrap()]);
    let before = std::fs::metadata(server.data.join("tombstones"))
        .unwrap()
        .len();
    // Large enough to need new space each time, so that it never fits into the rest of the write-ahead log.
    let note = json!({ "metadata": { "x": "y".repeat(3000) } });
    let mut refused = 0;
    for _ in 0..40 {
        disk.fill();
        refused += u32::from(
            admin
                .patch(&format!("/v1/keys/{}", keys[0].id), note.clone())
                .status
                == 503,
        );
        if refused > 5 {
            break;
        }
    }
    for key in &keys {
        disk.fill();
        let status = admin.delete(&format!("/v1/keys/{}", key.id)).status;
        let verdict = server.anonymous().verdict(&key.secret);
        match status {
            204 => assert_eq!(verdict, "NOT_FOUND"),
            503 => assert_eq!(verdict, "VALID", "refused, and half done"),
            other => panic!("{other}"),
        }
    }
    wait_for_readiness(&server, 503);
    assert_eq!(metric(&server, "latchkey_ready"), 0.0);
    assert!(metric(&server, "latchkey_commit_failures_total") > 0.0);
    let told = line.run(&["doctor"]);
    assert_eq!(told.code, Some(1), "{told:?}");
    assert!(told.stdout.contains("failed   writing"), "{told:?}");
    // A backup to the full disk leaves no file.
    let full = disk.0.join("full.db");
    let failed = line.run(&["backup", full.to_str().unwrap()]);
    assert_eq!(failed.code, Some(1), "{failed:?}");
    assert!(!full.exists() && !disk.0.join("full.db.partial").exists());

    disk.free();
    wait_for_readiness(&server, 200);
    for key in &keys {
        let status = admin.delete(&format!("/v1/keys/{}", key.id)).status;
        assert!(matches!(status, 204 | 404 | 409), "{status}");
        assert_eq!(server.anonymous().verdict(&key.secret), "NOT_FOUND");
    }
    let after = std::fs::metadata(server.data.join("tombstones"))
        .unwrap()
        .len();
    assert!(after > before);
    server.kill9();
    line.ok(&["restore", backup.to_str().unwrap(), "--yes"]);
    server.restart();
    for key in &keys {
        assert_eq!(server.anonymous().verdict(&key.secret), "NOT_FOUND");
    }
    line.ok(&["audit", "verify"]);
    server.stop();
    drop(server);
    let _ = std::fs::remove_dir_all(folder);
}
