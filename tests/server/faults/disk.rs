//! A full disk: a small file system in memory, and a limit on the size of files.

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::json;

use super::{Journal, left_out, wait_for_readiness};
use crate::durability::file;
use crate::support::{Issued, Server, fresh_folder, refusal};

/// A mounted file system; unmounted on drop.
pub struct Disk(pub PathBuf);

impl Disk {
    /// `None` if this machine does not allow mounting.
    pub fn mount(size: &str) -> Option<Disk> {
        let place = fresh_folder();
        let mounted = Command::new("mount")
            .args([
                "-t",
                "tmpfs",
                "-o",
                &format!("size={size},mode=700"),
                "tmpfs",
            ])
            .arg(&place)
            .status();
        mounted
            .is_ok_and(|status| status.success())
            .then_some(Disk(place))
    }

    /// Uses all the space that is left.
    pub fn fill(&self) {
        let mut filler = File::options()
            .create(true)
            .append(true)
            .open(self.0.join("filler"))
            .expect("a file can be opened");
        for size in [65536, 4096, 512, 1] {
            while filler.write_all(&vec![0; size]).is_ok() {}
        }
    }

    pub fn free(&self) {
        fs::remove_file(self.0.join("filler")).expect("it can be removed");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
        let _ = fs::remove_dir(&self.0);
    }
}

/// Issues keys until several in a row are refused.
#[track_caller]
fn issue_until_refused(server: &Server, journal: &mut Journal, again: impl Fn()) {
    let mut in_a_row = 0;
    for _ in 0..1000 {
        again();
        in_a_row = if journal.issue(server) == 503 {
            in_a_row + 1
        } else {
            0
        };
        if in_a_row == 20 {
            return;
        }
    }
    panic!("the fault has no effect");
}

// attacks 71, 204, 216 and 251, promise P7: verdicts need no store, and leave no event that could not be written
#[test]
fn a_full_disk_stops_changes_only_and_heals_without_a_restart() {
    let Some(disk) = Disk::mount("3m") else {
        return left_out("a full disk: nothing can be mounted here");
    };
    let mut server = Server::start_at(&disk.0.join("data"));
    let mut journal = Journal::default();
    for _ in 0..3 {
        assert_eq!(journal.issue(&server), 201);
    }
    for round in 0..3 {
        issue_until_refused(&server, &mut journal, || disk.fill());
        wait_for_readiness(&server, 503);
        assert_eq!(server.anonymous().get("/healthz").status, 200);
        journal.check(&server);

        disk.free();
        assert_eq!(
            journal.issue(&server),
            201,
            "round {round}: {}",
            server.log()
        );
        wait_for_readiness(&server, 200);
        journal.check(&server);
    }

    // The process is killed now; the next one must verify keys without any free space.
    issue_until_refused(&server, &mut journal, || disk.fill());
    server.kill9();
    server.restart();
    journal.check(&server);
    disk.free();
    assert_eq!(journal.issue(&server), 201, "{}", server.log());
    journal.check(&server);
    assert!(server.stop().is_some_and(|status| status.success()));
    file::check(&server.data);
    drop(server);
}

/// Changes that remove something have reserved space, which is available from the first such change on.
#[test]
fn on_a_full_disk_the_first_change_that_takes_away_succeeds_and_others_wait_for_room() {
    let Some(disk) = Disk::mount("24m") else {
        return left_out("a full disk: nothing can be mounted here");
    };
    let mut server = Server::start_at(&disk.0.join("data"));
    let admin = server.admin();
    let keys: Vec<_> = (0..60)
        .map(|number| admin.issue(json!({ "name": format!("k{number}") })))
        .collect();
    // Of each third one the old secret of a rotation still works.
    for key in keys.iter().skip(2).step_by(3) {
        admin.rotate(&key.id, json!({ "grace_s": 3_600 }));
    }
    admin.person("mem", "member", "root");
    let end = |part: &[Issued]| {
        for key in part {
            let number = keys.iter().position(|known| known.id == key.id).unwrap();
            match number % 3 {
                0 => admin.delete(&format!("/v1/keys/{}", key.id)).expect(204),
                2 => admin
                    .delete(&format!("/v1/keys/{}/previous", key.id))
                    .expect(204),
                _ => admin
                    .post(&format!("/v1/keys/{}/disable", key.id), json!({}))
                    .expect(200),
            };
            assert_ne!(admin.verdict(&key.secret), "VALID", "{}", server.log());
        }
    };
    let switch = |on: bool| {
        admin
            .patch("/v1/users/mem", json!({ "enabled": on }))
            .status
    };
    let more = || {
        admin.post(
            "/v1/keys",
            json!({ "name": "m", "metadata": {"x": "y".repeat(3000)} }),
        )
    };
    disk.fill();
    end(&keys[..20]);
    assert_eq!(switch(false), 200, "{}", server.log());
    // The content of the write-ahead log has been moved to the database, which leaves some space for other changes.
    let refused = (0..5_000)
        .map(|_| more())
        .find(|answer| answer.status != 201);
    let problem = refused
        .expect("room without end")
        .refused(503, "unavailable");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("the disk is full"), "{detail}");
    // Small changes are refused, too, once they have filled the rest of the write-ahead log.
    disk.fill();
    let small = || admin.post("/v1/keys", json!({ "name": "s" })).status;
    assert!((0..5_000).any(|_| small() == 503), "{}", server.log());
    end(&keys[20..40]);
    disk.free();
    more().expect(201);
    assert_eq!(switch(true), 200);
    disk.fill();
    end(&keys[40..]);
    server.kill9();
    disk.free();
    server.restart();
    let admin = server.admin();
    for key in &keys {
        assert_ne!(admin.verdict(&key.secret), "VALID");
    }
    admin.issue(json!({ "name": "there is room again" }));
    drop(server);
}

/// In this case not even the index of the write-ahead log can be created.
#[test]
fn a_start_on_a_full_disk_after_an_orderly_stop_says_so() {
    let Some(disk) = Disk::mount("3m") else {
        return left_out("a full disk: nothing can be mounted here");
    };
    let mut server = Server::start_at(&disk.0.join("data"));
    let ended = server.stop();
    assert!(ended.is_some_and(|status| status.success()), "{ended:?}");
    disk.fill();
    refusal::serve(&server.data).expect_refused(&["disk is full"]);
    disk.free();
    server.restart();
    server.assert_alive();
    drop(server);
}

// attacks 248
#[test]
fn a_limit_on_the_size_of_files_is_like_a_full_disk() {
    let mut server = Server::start();
    let mut journal = Journal::default();
    assert_eq!(journal.issue(&server), 201);
    let size = |name: &str| fs::metadata(server.data.join(name)).map_or(0, |found| found.len());
    let limit = size("latchkey.db").max(size("latchkey.db-wal")) + 50_000;
    limit_files(&server, Some(limit));
    issue_until_refused(&server, &mut journal, || ());
    // Refused writes may have left space for the small write of `/readyz?write`; now there is none.
    limit_files(&server, Some(1));
    wait_for_readiness(&server, 503);
    journal.check(&server);

    limit_files(&server, None);
    assert_eq!(journal.issue(&server), 201, "{}", server.log());
    journal.check(&server);
    server.kill9();
    server.restart();
    journal.check(&server);
}

fn limit_files(server: &Server, bytes: Option<u64>) {
    let limit = Rlimit {
        current: bytes,
        maximum: None,
    };
    let pid = Pid::from_raw(server.pid as i32);
    prlimit(pid, Resource::Fsize, limit).expect("the limit can be set");
}
