//! The data folder: what a start refuses, with helpful messages, and without changing any file.

mod database;
mod first_start;

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use crate::support::refusal::{self, Ended};
use crate::support::{Server, executable, fresh_folder};

/// The content of every file except the lock, which names the last process that tried to take it, and the index of the
/// write-ahead log, which SQLite creates again whenever it reads a log.
fn files(data: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(data).expect("the folder is there");
    entries
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.is_file())
        .filter(|path| !path.ends_with("latchkey.lock") && !path.ends_with("latchkey.db-shm"))
        .map(|path| {
            let name = path.display().to_string();
            (name, fs::read(&path).expect("it can be read"))
        })
        .collect()
}

/// Checks that both ways to serve are refused with these words, and that no file has changed.
#[track_caller]
fn check_refused(data: &Path, words: &[&str]) {
    let before = files(data);
    for command in ["serve", "quickstart"] {
        run(command, data).expect_refused(words);
        let after = files(data);
        let changed: Vec<&String> = after
            .keys()
            .chain(before.keys())
            .filter(|name| before.get(*name) != after.get(*name))
            .collect();
        assert!(changed.is_empty(), "{command} changed {changed:?}");
    }
}

fn run(command: &str, data: &Path) -> Ended {
    let mut process = executable(None);
    process.args([command, "--listen", "127.0.0.1:0", "--data"]);
    refusal::ended(process.arg(data))
}

fn init(data: &Path) -> Ended {
    refusal::ended(executable(None).args(["init", "--data"]).arg(data))
}

/// A server that was shut down in order; its folder exists until it is dropped.
fn stopped() -> Server {
    let mut server = Server::start();
    server.stop();
    server
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("the mode can be set");
}

// attacks 232
#[test]
fn a_folder_that_others_can_enter_is_closed_and_a_pepper_that_they_can_read_is_refused() {
    let mut server = stopped();
    let mode_of = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    for mode in [0o755, 0o750, 0o701, 0o2750] {
        set_mode(&server.data, mode);
        server.restart();
        server.assert_alive();
        assert_eq!(mode_of(&server.data), 0o700, "{mode:o}");
        server.stop();
    }
    assert!(server.log().contains("these rights were taken away"));
    // Others could have put another database there.
    set_mode(&server.data, 0o757);
    check_refused(&server.data, &["can be read by other users", "chmod 700"]);
    set_mode(&server.data, 0o700);
    let pepper = server.data.join("pepper");
    set_mode(&pepper, 0o644);
    check_refused(
        &server.data,
        &["pepper", "can be read by other users", "chmod 600"],
    );
    set_mode(&pepper, 0o600);
    server.restart();
    server.assert_alive();
}

// attacks 232
#[test]
fn a_folder_whose_path_is_too_long_for_its_socket_is_refused_at_once() {
    let folder = fresh_folder();
    let room = 107 - "/latchkey.sock".len() - folder.as_os_str().len() - 1;
    let fits = folder.join("x".repeat(room));
    let too_long = folder.join("x".repeat(room + 1));
    assert_eq!(init(&fits).code, Some(0));
    let refused = init(&too_long);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(!too_long.exists(), "nothing is made");
    let mut list = executable(None);
    let list = refusal::ended(list.args(["key", "list", "--data"]).arg(&too_long));
    for ended in [refused, list] {
        assert!(ended.stderr.contains("at most 93 bytes"), "{ended:?}");
    }
    let _ = std::fs::remove_dir_all(folder);
}

/// A volume of a container begins with mode 755 or 2770, and a file system of its own has `lost+found`.
#[test]
fn an_empty_folder_that_others_can_enter_is_closed_by_the_first_start() {
    for mode in [0o755, 0o2770] {
        let folder = fresh_folder();
        fs::create_dir(folder.join("lost+found")).unwrap();
        set_mode(&folder, mode);
        let made = init(&folder);
        assert_eq!(made.code, Some(0), "{made:?}");
        assert!(
            made.stderr.contains("these rights were taken away"),
            "{made:?}"
        );
        let now = fs::metadata(&folder).unwrap().permissions().mode() & 0o7777;
        assert_eq!(now, 0o700, "{mode:o}");
        let _ = fs::remove_dir_all(folder);
    }
    // One that every user may write to, or that is sticky, belongs to all of them.
    for mode in [0o777, 0o1777, 0o1755] {
        let folder = fresh_folder();
        set_mode(&folder, mode);
        init(&folder).expect_refused(&["can be read by other users"]);
        let now = fs::metadata(&folder).unwrap().permissions().mode() & 0o7777;
        assert_eq!(now, mode);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
        let _ = fs::remove_dir_all(folder);
    }
    // A folder with files of others stays as it is.
    let folder = fresh_folder();
    fs::write(folder.join("letter"), "x").unwrap();
    set_mode(&folder, 0o755);
    init(&folder).expect_refused(&["can be read by other users"]);
    assert!(!folder.join("latchkey.lock").exists());
    let _ = fs::remove_dir_all(folder);
}

#[test]
fn data_that_others_could_have_changed_is_refused_and_not_closed() {
    let mut server = stopped();
    let data = server.data.clone();
    let hmac = data.join("hmac-keys");
    fs::create_dir(&hmac).unwrap();
    set_mode(&hmac, 0o700);
    fs::write(hmac.join("old"), "0123456789abcdef0123456789abcdef").unwrap();
    set_mode(&hmac.join("old"), 0o600);
    let names = ["latchkey.db", "pepper", "tombstones", "hmac-keys/old"];
    let mode_of = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    let refused = |name: &str| {
        check_refused(&data, &["they may have made or changed", name]);
        assert!(mode_of(&data) & 0o077 != 0, "{name}: the folder stays open");
    };
    for folder_mode in [0o755, 0o2770] {
        set_mode(&data, folder_mode);
        for name in names {
            let path = data.join(name);
            set_mode(&path, 0o646);
            refused(name);
            assert_eq!(mode_of(&path), 0o646);
            set_mode(&path, 0o600);
            // A second name outside of the folder.
            let second = data.with_extension("second");
            fs::hard_link(&path, &second).unwrap();
            refused(name);
            fs::remove_file(&second).unwrap();
            // A link instead of a file.
            fs::rename(&path, &second).unwrap();
            std::os::unix::fs::symlink(&second, &path).unwrap();
            refused(name);
            fs::rename(&second, &path).unwrap();
            // A file of another user, which only root can make.
            if chown(&path, Some(12345), None).is_ok() {
                refused(name);
                chown(&path, Some(rustix::process::geteuid().as_raw()), None).unwrap();
            }
        }
    }
    // Other users have no access in a closed folder, so there the rights of others are only taken away.
    set_mode(&data, 0o700);
    set_mode(&data.join("latchkey.db"), 0o646);
    server.restart();
    server.assert_alive();
    assert_eq!(mode_of(&data.join("latchkey.db")), 0o600);
}

/// Sets the modes that a volume driver sets at each start of a pod with `fsGroup`: group read and write for all files,
/// and the setgid bit for folders.
#[test]
fn what_a_volume_driver_has_opened_to_a_group_is_closed_again_and_told() {
    let mut server = stopped();
    fs::create_dir_all(server.data.join("backups")).unwrap();
    fs::write(server.data.join("backups/asked-20260101T000000Z.db"), "x").unwrap();
    let modes = |folder: &Path| -> Vec<u32> {
        let inner = [folder.to_owned(), folder.join("backups")];
        let entries = inner
            .iter()
            .flat_map(|folder| fs::read_dir(folder).unwrap());
        let paths = entries.map(|entry| entry.unwrap().path());
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        paths
            .map(|path| mode(&path))
            .chain([mode(folder)])
            .collect()
    };
    for (of_folder, of_files) in [
        (0o2770, 0o660),
        (0o2750, 0o640),
        (0o770, 0o660),
        (0o700, 0o640),
    ] {
        for folder in [server.data.clone(), server.data.join("backups")] {
            set_mode(&folder, of_folder);
            for entry in fs::read_dir(&folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_file() {
                    set_mode(&path, of_files);
                }
            }
        }
        let list = refusal::ended(
            executable(None)
                .args(["key", "list", "--data"])
                .arg(&server.data),
        );
        assert_eq!(list.code, Some(0), "{of_folder:o}: {list:?}");
        assert!(
            list.stderr.contains("these rights were taken away"),
            "{list:?}"
        );
        let modes = modes(&server.data);
        assert!(
            modes.iter().all(|mode| matches!(mode, 0o600 | 0o700)),
            "{modes:?}"
        );
    }
    set_mode(&server.data, 0o2770);
    server.restart();
    assert!(server.log().contains("these rights were taken away"));
    server.assert_alive();
    // Files that do not belong to Latchkey keep their modes, even if --data names their folder.
    let other = fresh_folder();
    fs::write(other.join("letter"), "x").unwrap();
    set_mode(&other.join("letter"), 0o660);
    set_mode(&other, 0o2770);
    for command in [
        &["key", "list"][..],
        &["serve", "--listen", "127.0.0.1:0"],
        &["init"],
    ] {
        let ran = refusal::ended(executable(None).args(command).arg("--data").arg(&other));
        assert_eq!(ran.code, Some(1), "{command:?}: {ran:?}");
    }
    assert_eq!(
        fs::metadata(&other).unwrap().permissions().mode() & 0o7777,
        0o2770
    );
    assert_eq!(
        fs::metadata(other.join("letter"))
            .unwrap()
            .permissions()
            .mode()
            & 0o7777,
        0o660
    );
    assert_eq!(fs::read_dir(&other).unwrap().count(), 1);
    let _ = fs::remove_dir_all(other);
}

#[test]
fn a_folder_of_another_user_is_refused() {
    let server = stopped();
    if chown(&server.data, Some(12345), None).is_err() {
        assert!(
            std::env::var_os("LATCHKEY_TEST_ALL").is_none(),
            "only root can give a folder away"
        );
        println!("left out: only root can give a folder away");
        return;
    }
    check_refused(
        &server.data,
        &["belongs to user 12345", "run it as that user"],
    );
    chown(
        &server.data,
        Some(rustix::process::geteuid().as_raw()),
        None,
    )
    .expect("it can be taken back");
}

// attacks 234
#[test]
fn a_pepper_that_is_missing_or_damaged_is_refused_and_never_made_anew() {
    let mut server = stopped();
    let pepper = server.data.join("pepper");
    let good = fs::read_to_string(&pepper).expect("a text");

    fs::remove_file(&pepper).expect("it can be removed");
    check_refused(
        &server.data,
        &["pepper is missing", "put the file back from your backup"],
    );
    init(&server.data).expect_refused(&["pepper is missing"]);
    assert!(!pepper.exists());

    let (half, twice) = (&good[..40], format!("{good}{good}"));
    let no_digit = format!("{}g{}", &good[..20], &good[21..]);
    for damaged in ["", "\n", "1 \n", half, &twice, &no_digit, "1 é\n"] {
        fs::write(&pepper, damaged).expect("it can be written");
        set_mode(&pepper, 0o600);
        check_refused(
            &server.data,
            &["pepper", "put the file back from your backup"],
        );
    }

    let other = stopped();
    fs::copy(other.data.join("pepper"), &pepper).expect("it can be copied");
    check_refused(
        &server.data,
        &[
            "is not the one this database was made with",
            "put the right file back",
        ],
    );

    fs::write(&pepper, &good).expect("it can be written");
    server.restart();
    server.assert_alive();
}

#[test]
fn serving_nothing_says_what_to_run() {
    let folder = fresh_folder();
    let absent = folder.join("absent");
    refusal::serve(&absent).expect_refused(&[
        "is not initialised",
        "latchkey init --data",
        "latchkey quickstart",
    ]);
    assert!(!absent.exists());

    let empty = folder.join("empty");
    fs::create_dir(&empty).expect("it can be made");
    set_mode(&empty, 0o700);
    refusal::serve(&empty).expect_refused(&["is not initialised", "latchkey init --data"]);
    assert_eq!(files(&empty), BTreeMap::new());

    let file = folder.join("file");
    fs::write(&file, "x").expect("it can be written");
    refusal::serve(&file).expect_refused(&["is not a folder"]);
    let _ = fs::remove_dir_all(folder);
}
