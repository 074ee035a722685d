//! A damaged or changed database: the server refuses it or parts of it, never replaces it, and never grants more than
//! before.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use rusqlite::Connection;
use serde_json::json;

use super::{check_refused, init, stopped};
use crate::support::{Random, Server, executable, fresh_folder, refusal};

const PAGE_BYTES: u64 = 4096;

fn database(server: &Server) -> PathBuf {
    server.data.join("latchkey.db")
}

// attacks 221
#[test]
fn a_file_that_is_no_database_of_ours_is_refused_and_left_alone() {
    let mut server = stopped();
    let path = database(&server);
    let good = fs::read(&path).expect("it can be read");

    let mut random = Random::seeded();
    let noise: Vec<u8> = (0..20_000).map(|_| random.below(256) as u8).collect();
    for damaged in [&[][..], b"x", &noise, &good[..50], &good[..99]] {
        fs::write(&path, damaged).expect("it can be written");
        check_refused(
            &server.data,
            &[
                "is damaged or no database",
                "restore a backup",
                "left as it",
            ],
        );
        init(&server.data).expect_refused(&["is initialised already"]);
    }

    fs::remove_file(&path).expect("it can be removed");
    let other = Connection::open(&path).expect("it can be made");
    other
        .execute_batch("CREATE TABLE notes (x)")
        .expect("it can be written");
    drop(other);
    check_refused(&server.data, &["is not a Latchkey database", "left as it"]);

    for (pragma, words) in [
        ("application_id = 7", "is not a Latchkey database"),
        ("user_version = 9999", "was written by a newer Latchkey"),
        ("user_version = 0", "which no release ever wrote"),
    ] {
        fs::write(&path, &good).expect("it can be written");
        change(
            &path,
            &format!("PRAGMA journal_mode = DELETE; PRAGMA {pragma}"),
        );
        check_refused(&server.data, &[words]);
        // The same change, but only in the write-ahead log of a killed process.
        fs::write(&path, &good).expect("it can be written");
        change_in_log_only(&path, pragma);
        check_refused(&server.data, &[words]);
        let _ = fs::remove_file(path.with_extension("db-wal"));
        let _ = fs::remove_file(path.with_extension("db-shm"));
    }

    fs::write(&path, &good).expect("it can be written");
    server.restart();
    server.assert_alive();
}

fn change(path: &Path, sql: &str) {
    let connection = Connection::open(path).expect("it can be opened");
    connection.execute_batch(sql).expect("it can be changed");
}

/// Leaves the change in the write-ahead log, as a kill does: the files are copied while the connection is open.
fn change_in_log_only(path: &Path, pragma: &str) {
    let folder = fresh_folder();
    let copy = folder.join("copy.db");
    fs::copy(path, &copy).expect("it can be copied");
    let connection = Connection::open(&copy).expect("it can be opened");
    connection
        .execute_batch(&format!("PRAGMA journal_mode = WAL; PRAGMA {pragma}"))
        .expect("it can be changed");
    for suffix in ["", "-wal"] {
        let name = |path: &Path| PathBuf::from(format!("{}{suffix}", path.display()));
        fs::copy(name(&copy), name(path)).expect("it can be copied");
    }
    drop(connection);
    let _ = fs::remove_dir_all(folder);
}

/// Attacks 221 and 222: whichever bit is flipped, the server refuses to start, or it runs and accepts no secret that
/// was refused before.
#[test]
fn a_flipped_bit_never_lets_a_bad_key_pass() {
    let mut server = Server::start();
    let admin = server.admin();
    let mut bad = Vec::new();
    for number in 0..40 {
        let issued = admin.issue(json!({ "name": format!("key {number}") }));
        match number % 4 {
            0 => drop(admin.delete(&format!("/v1/keys/{}", issued.id)).expect(204)),
            1 => drop(admin.rotate(&issued.id, json!({}))),
            2 => drop(admin.rotate(&issued.id, json!({}))),
            _ => continue,
        }
        bad.push(issued.secret);
    }
    server.stop();
    let path = database(&server);
    let good = fs::read(&path).expect("it can be read");
    // A start that finds a changed row disables its object and records that in the tombstones, so this file must be
    // restored, too.
    let tombstones = path.with_file_name("tombstones");
    let good_tombstones = fs::read(&tombstones).expect("it can be read");
    let pages = good.len() as u64 / PAGE_BYTES;
    let mut random = Random::seeded();
    let (mut refused, mut served) = (0, 0);
    for page in 0..pages {
        // One bit in every page, alternately in the header and in the body.
        let at = [random.below(12), 12 + random.below(PAGE_BYTES - 12)][page as usize % 2];
        let at = page * PAGE_BYTES + at;
        let flipped = [good[at as usize] ^ (1 << random.below(8))];
        fs::write(&path, &good).expect("it can be written");
        fs::write(&tombstones, &good_tombstones).expect("it can be written");
        let file = fs::File::options()
            .write(true)
            .open(&path)
            .expect("it can be opened");
        file.write_all_at(&flipped, at).expect("it can be written");
        drop(file);
        match try_serve(&mut server) {
            false => {
                refused += 1;
                let kept = fs::read(&path).expect("it can be read");
                assert_eq!(kept.len(), good.len(), "page {page}: the file was replaced");
                assert_eq!(
                    kept[at as usize], flipped[0],
                    "page {page}: the file was changed"
                );
            }
            true => {
                served += 1;
                check_bad(&server, &bad, at);
                server.kill9();
                let _ = fs::remove_file(path.with_extension("db-wal"));
                let _ = fs::remove_file(path.with_extension("db-shm"));
            }
        }
    }
    println!("{pages} pages: {refused} refused, {served} served");
    assert!(refused > 0);
    fs::write(&path, &good).expect("it can be written");
    fs::write(&tombstones, &good_tombstones).expect("it can be written");
    server.restart();
    server.assert_alive();
}

/// Whether the server starts; if not, it must end with exit code 1 and a sentence.
#[track_caller]
fn try_serve(server: &mut Server) -> bool {
    let mut probe = executable(None)
        .args(["serve", "--json", "--listen", "127.0.0.1:0", "--data"])
        .arg(&server.data)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it can be started");
    let mut hello = String::new();
    let stdout = probe.stdout.take().expect("stdout is a pipe");
    let _ = std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut hello);
    if !hello.is_empty() {
        let _ = probe.kill();
        let _ = probe.wait();
        server.restart();
        return true;
    }
    let output = probe.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("latchkey: "), "{said}");
    false
}

/// Checks that invalid secrets are refused or not answered; none is valid.
#[track_caller]
fn check_bad(server: &Server, bad: &[String], at: u64) {
    for secret in bad {
        let asked = json!({ "key": secret });
        let answer = server.admin().post("/v1/verify", asked);
        // The damaged row may be that of the management key itself.
        assert!(
            matches!(answer.status, 200 | 401 | 403 | 500 | 503),
            "byte {at}: {}",
            answer.exchange()
        );
        if answer.status == 200 {
            assert_eq!(
                answer.json()["valid"],
                false,
                "byte {at}: {}",
                answer.exchange()
            );
        }
    }
    let unknown = server
        .anonymous()
        .post("/v1/verify", json!({ "key": server.secret }));
    assert!(
        matches!(unknown.status, 200 | 500 | 503),
        "byte {at}: {}",
        unknown.exchange()
    );
    let list = server.admin().get("/v1/keys");
    assert!(
        matches!(list.status, 200 | 401 | 403 | 500 | 503),
        "byte {at}: {}",
        list.exchange()
    );
}

#[test]
fn a_database_that_is_locked_is_not_called_damaged() {
    let server = stopped();
    let holder = Connection::open(database(&server)).expect("it can be opened");
    holder
        .execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE;")
        .expect("it can be locked");
    refusal::serve(&server.data).expect_refused(&["locked by another program"]);
    drop(holder);
}
