//! Signatures: `dev/sign` makes them, Debian's minisign verifies them with one command, and nothing else passes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::faults::left_out;
use crate::support::refusal::ended;
use crate::support::{executable, fresh_folder};

/// The second line of the public key file.
fn key_of(file: &Path) -> String {
    let text = fs::read_to_string(file).unwrap();
    text.lines().nth(1).unwrap().to_owned()
}

fn minisign(args: &[&str], folder: &Path) -> Output {
    let mut command = Command::new("minisign");
    command.args(args).current_dir(folder).stdin(Stdio::null());
    command.output().unwrap()
}

/// A folder with a throw-away key, `NAME.pub` and `NAME.key`. `None` if minisign is not installed.
fn with_key(folder: &Path, name: &str) -> Option<()> {
    if Command::new("minisign").arg("-v").output().is_err() {
        left_out("minisign is not installed (dev/test installs it)");
        return None;
    }
    let (public, secret) = (format!("{name}.pub"), format!("{name}.key"));
    let made = minisign(&["-G", "-W", "-p", &public, "-s", &secret], folder);
    assert!(made.status.success(), "{made:?}");
    Some(())
}

fn sign(folder: &Path, public: &str, secret: &str, files: &[&str]) -> Output {
    let path = |name: &str| folder.join(name).display().to_string();
    let mut command = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("dev/sign"));
    command.args(["--public-key", &path(public), &path(secret)]);
    command.args(files.iter().map(|name| path(name)));
    command.stdin(Stdio::null()).output().unwrap()
}

fn release() -> PathBuf {
    let folder = fresh_folder();
    fs::write(folder.join("latchkey"), "the program").unwrap();
    fs::write(folder.join("SHA256SUMS"), "sums").unwrap();
    folder
}

#[test]
fn a_stranger_verifies_a_file_with_one_command() {
    let folder = release();
    let Some(()) = with_key(&folder, "own") else {
        return;
    };
    let signed = sign(&folder, "own.pub", "own.key", &["latchkey", "SHA256SUMS"]);
    assert!(signed.status.success(), "{signed:?}");
    let key = key_of(&folder.join("own.pub"));
    let verify = |file: &str| minisign(&["-V", "-P", &key, "-m", file], &folder);
    for file in ["latchkey", "SHA256SUMS"] {
        let verified = verify(file);
        assert!(verified.status.success(), "{verified:?}");
        let comment = format!("latchkey {}, file {file}", env!("CARGO_PKG_VERSION"));
        let said = String::from_utf8_lossy(&verified.stdout).into_owned();
        assert!(said.contains(&comment), "{said}");
    }

    // A signature is for one file and one key, and a changed comment is noticed.
    let signature = folder.join("latchkey.minisig");
    let good = fs::read_to_string(&signature).unwrap();
    fs::copy(folder.join("SHA256SUMS.minisig"), &signature).unwrap();
    assert!(
        !verify("latchkey").status.success(),
        "the signature of another file"
    );
    fs::write(&signature, good.replace(", file latchkey", ", file other")).unwrap();
    assert!(!verify("latchkey").status.success(), "another comment");
    fs::write(&signature, &good).unwrap();
    assert!(verify("latchkey").status.success());
    fs::write(folder.join("latchkey"), "the program?").unwrap();
    assert!(!verify("latchkey").status.success(), "another program");
    fs::remove_file(&signature).unwrap();
    assert!(!verify("latchkey").status.success(), "no signature");
    let _ = fs::remove_dir_all(folder);
}

#[test]
fn a_key_that_nobody_could_verify_signs_nothing() {
    let folder = release();
    let Some(()) = with_key(&folder, "own").and_then(|()| with_key(&folder, "other")) else {
        return;
    };
    fs::write(
        folder.join("none.pub"),
        "untrusted comment: none yet\n<no key>\n",
    )
    .unwrap();
    for (public, why) in [
        ("other.pub", "is not the secret key of"),
        ("none.pub", "holds no public key"),
    ] {
        let refused = sign(&folder, public, "own.key", &["latchkey"]);
        assert!(!refused.status.success(), "{refused:?}");
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(said.contains(why), "{said}");
        assert!(!folder.join("latchkey.minisig").exists());
    }
    let _ = fs::remove_dir_all(folder);
}

/// README, operator's guide, program and package name the same key, or none of them does.
#[test]
fn the_program_and_the_readme_name_the_key_of_the_releases() {
    let key = key_of(Path::new("assets/release.pub"));
    for page in ["README.md", "docs/operations.md"] {
        let text = fs::read_to_string(page).unwrap();
        assert!(
            text.contains(&format!("'{key}'")),
            "{page} does not name {key}"
        );
    }
    let ended = ended(executable(None).args(["version", "--public-key"]));
    match key.starts_with("RW") {
        true => assert_eq!(ended.stdout.trim(), key),
        false => {
            assert_eq!(ended.code, Some(1), "{ended:?}");
            assert!(ended.stderr.contains("names no public key"), "{ended:?}");
        }
    }
    let manifest = fs::read_to_string("Cargo.toml").unwrap();
    assert!(manifest.contains("[\"assets/release.pub\", \"usr/share/doc/latchkey/\", \"644\"]"));
}

#[test]
fn the_version_is_printed_in_both_ways() {
    let expected = format!("latchkey {}\n", env!("CARGO_PKG_VERSION"));
    for args in [&["version"][..], &["--version"]] {
        let ended = ended(executable(None).args(args));
        assert_eq!(
            (ended.code, ended.stdout.as_str()),
            (Some(0), expected.as_str())
        );
    }
}
