//! Where commands find the data folder if the user names none: as the Debian package needs it.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::refusal::{self, Ended};
use crate::support::{Server, executable, fresh_folder};

/// Runs `key list` in a folder, with a settings file if one is named.
fn list(at: &Path, config: Option<&Path>, args: &[&str]) -> Ended {
    let mut command = executable(None);
    command.args(["key", "list"]).args(args).current_dir(at);
    if let Some(config) = config {
        command.env("LATCHKEY_CONFIG", config);
    }
    refusal::ended(&mut command)
}

#[test]
fn a_command_finds_the_folder_in_the_settings_file() {
    let server = Server::start();
    let folder = fresh_folder();
    let config = folder.join("settings.toml");
    fs::write(
        &config,
        format!("listen = \"127.0.0.1:1\"\ndata = {:?}\n", server.data),
    )
    .unwrap();
    let found = list(&folder, Some(&config), &[]);
    assert_eq!(found.code, Some(0), "{found:?}");
    assert!(found.stdout.contains("sample"), "{found:?}");

    // --data takes precedence, and so does the variable.
    let absent = folder.join("absent");
    let named = ["--data", absent.to_str().unwrap()];
    list(&folder, Some(&config), &named).expect_refused(&["absent is not initialised"]);
    let mut command = executable(None);
    command.args(["key", "list"]).current_dir(&folder);
    command
        .env("LATCHKEY_CONFIG", &config)
        .env("LATCHKEY_DATA", &absent);
    refusal::ended(&mut command).expect_refused(&["absent is not initialised"]);

    // A file without the line does not count.
    fs::write(&config, "threads = 2\n").unwrap();
    list(&folder, Some(&config), &[]).expect_refused(&[
        "./latchkey-data is not initialised",
        "then for ./latchkey-data, and then for `data` in /etc/latchkey/latchkey.toml",
    ]);
    // A faulty one leaves the place of the folder unknown, and another folder would be a surprise.
    fs::create_dir(folder.join("latchkey-data")).unwrap();
    for (text, why) in [
        (
            "data = /var/lib/latchkey\n",
            "settings.toml:1: a text needs quotation marks",
        ),
        ("threads = 2\ndata = 7\n", "settings.toml:2: data is a text"),
    ] {
        fs::write(&config, text).unwrap();
        list(&folder, Some(&config), &[]).expect_refused(&[why, "name it with --data"]);
    }
    let _ = fs::remove_dir_all(folder);
}

#[test]
fn a_settings_file_that_cannot_be_read_does_not_stop_commands_that_need_no_folder() {
    let folder = fresh_folder();
    let run = |args: &[&str]| {
        let mut command = executable(None);
        command.args(args).current_dir(&folder);
        refusal::ended(command.env("LATCHKEY_CONFIG", &folder))
    };
    fs::write(folder.join("letter"), "nothing\n").unwrap();
    let scanned = run(&["scan", "letter"]);
    assert_eq!(scanned.code, Some(0), "{scanned:?}");
    assert!(scanned.stderr.contains("is a folder"), "{scanned:?}");
    assert!(scanned.stderr.contains("goes on without it"), "{scanned:?}");
    run(&["key", "list"]).expect_refused(&["is a folder", "name it with --data"]);
    let _ = fs::remove_dir_all(&folder);
}

/// In a mount namespace of its own, `/etc` is that of a machine with the Debian package.
#[test]
fn a_command_finds_the_folder_of_the_package_unless_one_is_here() {
    let server = Server::start();
    let folder = fresh_folder();
    let script = format!(
        "mount -t tmpfs none /etc && mkdir /etc/latchkey && echo 'data = {:?}' > /etc/latchkey/latchkey.toml && \
         cd {folder:?} && exec {:?} key list",
        server.data,
        env!("CARGO_BIN_EXE_latchkey"),
    );
    let in_namespace = |config: &str| {
        let mut command = Command::new("unshare");
        command.env("LATCHKEY_CONFIG", config);
        refusal::ended(command.args(["--mount", "sh", "-c", &script]))
    };
    let probe = Command::new("unshare").args(["--mount", "true"]).status();
    if !probe.is_ok_and(|status| status.success()) {
        assert!(
            std::env::var_os("LATCHKEY_TEST_ALL").is_none(),
            "no mount namespace"
        );
        return println!("left out: only root can make a mount namespace");
    }
    let found = in_namespace("");
    assert_eq!(found.code, Some(0), "{found:?}");
    assert!(found.stdout.contains("sample"), "{found:?}");
    // A settings file of the caller's own is for another server than that of the package.
    let config = folder.join("settings.toml");
    fs::write(&config, "threads = 2\n").unwrap();
    in_namespace(config.to_str().unwrap()).expect_refused(&["./latchkey-data is not initialised"]);
    fs::create_dir(folder.join("latchkey-data")).unwrap();
    in_namespace("").expect_refused(&["./latchkey-data is not initialised"]);
    let _ = fs::remove_dir_all(folder);
}
