//! Files and standard input in another encoding than UTF-8: the message names the file, and what to do.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::support::{Server, executable, fresh_folder};

fn utf16(text: &str, mark: bool) -> Vec<u8> {
    let units = mark
        .then_some(0xfeff_u16)
        .into_iter()
        .chain(text.encode_utf16());
    units.flat_map(u16::to_le_bytes).collect()
}

fn run(command: &mut Command, input: &[u8]) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    // A program that does not read its input may have ended already.
    let _ = child.stdin.take().expect("a pipe").write_all(input);
    child.wait_with_output().expect("it ends")
}

#[track_caller]
fn check_refused(output: &Output, words: &[&str]) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_ne!(output.status.code(), Some(0), "{said}");
    for word in words {
        assert!(said.contains(word), "{word}: {said}");
    }
}

/// finding e5
#[test]
fn a_file_of_utf_16_is_named_with_what_to_do() {
    let server = Server::start();
    let folder = fresh_folder();
    let file = folder.join("text.txt");
    let name = file.to_str().expect("a text");
    let data = server.data.to_str().expect("a text").to_owned();
    let commands: &[&[&str]] = &[
        &["key", "verify", "--secret-file", name, "--data", &data],
        &[
            "user",
            "password",
            "owner",
            "--password-file",
            name,
            "--data",
            &data,
        ],
        &[
            "user",
            "create",
            "bob",
            "--password-file",
            name,
            "--data",
            &data,
        ],
        &[
            "secrets",
            "backup",
            "--passphrase-file",
            name,
            "--data",
            &data,
            "/tmp/latchkey-never",
        ],
        &["catalog", "put", name, "--data", &data],
        &["catalog", "import", name, "--name", "x", "--data", &data],
        &["policy", "put", name, "--data", &data],
        &["check-config", "--config", name],
        &["check-config", "--console-texts", name],
    ];
    for command in commands {
        for bytes in [
            utf16("{}\n", true),
            utf16("{}\n", false),
            b"\xfe\xff\0{".to_vec(),
        ] {
            fs::write(&file, &bytes).expect("written");
            let output = run(executable(None).args(*command), b"");
            check_refused(&output, &[name, "UTF-16", "UTF-8"]);
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(!said.contains("standard input"), "{command:?}: {said}");
        }
        fs::write(&file, b"{\"a\xe9\"}\n").expect("written");
        check_refused(&run(executable(None).args(*command), b""), &[name, "UTF-8"]);
    }
    // Messages name standard input in the words of the command that reads it.
    for command in [
        &["key", "verify", "--data", &data][..],
        &["catalog", "put", "-", "--data", &data],
        &["catalog", "import", "-", "--name", "x", "--data", &data],
        &["policy", "put", "-", "--data", &data],
    ] {
        let output = run(executable(None).args(command), &utf16("{}\n", true));
        check_refused(&output, &["standard input is UTF-16"]);
    }
    let folder_name = folder.to_str().expect("a text");
    let command = [
        "key",
        "verify",
        "--secret-file",
        folder_name,
        "--data",
        &data,
    ];
    let output = run(executable(None).args(command), b"");
    check_refused(&output, &[folder_name, "cannot be read"]);
    // A byte order mark of UTF-8 is no part of a secret.
    verifies(&server, &file, &format!("\u{feff}{}\r\n", server.secret));
    verifies(&server, &file, &format!("{}\n", server.secret));
    let _ = fs::remove_dir_all(folder);
}

#[track_caller]
fn verifies(server: &Server, file: &Path, text: &str) {
    fs::write(file, text).expect("written");
    let mut command = executable(None);
    command.args(["key", "verify", "--secret-file"]).arg(file);
    let output = run(command.arg("--data").arg(&server.data), b"");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}
