//! `latchkey scan`: finds secrets in files of the tests.

use super::{Line, running_and_stopped};
use crate::faults::left_out;
use crate::support::{Server, fresh_folder};
use rustix::fs::{Mode, OFlags, mkdirat, openat};
use serde_json::{Value, json};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A tree with one secret in a normal file and one in a file that .gitignore excludes.
fn planted(secret: &str, ignored: &str) -> PathBuf {
    let tree = fresh_folder();
    fs::create_dir_all(tree.join("src")).unwrap();
    git(&tree, &["init", "--quiet"]);
    fs::write(tree.join(".gitignore"), "*.log\n").unwrap();
    fs::write(
        tree.join("src/config.py"),
        format!("# key\nKEY = \"{secret}\"\n"),
    )
    .unwrap();
    fs::write(tree.join("debug.log"), format!("used {ignored}\n")).unwrap();
    fs::write(tree.join(".git/packed"), secret).unwrap();
    tree
}

fn found(line: &Line, args: &[&str]) -> Vec<Value> {
    let ran = line.run(&[&["scan", "--json"], args].concat());
    assert_eq!(ran.code, Some(1), "{ran:?}");
    serde_json::from_str(&ran.stdout).unwrap()
}

#[test]
fn a_planted_secret_is_found_with_its_key_and_never_printed() {
    if !has_git() {
        return;
    }
    running_and_stopped(|line| {
        let secret = line.ok(&["key", "issue", "leaked", "--secret-only"]);
        let secret = secret.trim_end();
        let tree = planted(secret, secret);
        let path = tree.to_str().unwrap();

        let findings = found(line, &[path]);
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert!(
            findings[0]["path"]
                .as_str()
                .unwrap()
                .ends_with("src/config.py")
        );
        assert_eq!(findings[0]["line"], 2);
        assert_eq!(findings[0]["known"], "secret");
        assert_eq!(findings[0]["key"]["name"], "leaked");
        assert_eq!(findings[0]["key"]["state"], "active");
        assert_eq!(found(line, &["--no-ignore", path]).len(), 2);

        let ran = line.run(&["scan", path]);
        assert_eq!(ran.code, Some(1));
        assert!(ran.stdout.contains("src/config.py:2") && ran.stdout.contains("working secret"));
        assert!(!ran.stdout.contains(secret) && !ran.stderr.contains(secret));

        // A scan does not count as use of the key.
        let id = &secret[3..13];
        assert_eq!(line.json(&["key", "show", id])["use_count"], 0);

        let rotated = line.ok(&["key", "rotate", id, "--secret-only"]);
        assert_eq!(found(line, &[path])[0]["known"], "id");
        let piped = line.run_with_input(&["scan", "--json", "-"], &rotated);
        assert!(piped.stdout.contains("\"known\":\"secret\""), "{piped:?}");
        fs::remove_dir_all(tree).unwrap();
    });
}

#[test]
fn a_rotation_that_waits_for_first_use_is_not_ended_by_a_scan() {
    let server = Server::start();
    let line = Line::of(&server);
    let key = server.admin().issue(json!({"name":"x"}));
    let new = server
        .admin()
        .rotate(&key.id, json!({"until_first_use": true}));
    let ran = line.run_with_input(&["scan", "--json", "-"], &new.secret);
    assert!(ran.stdout.contains("\"known\":\"secret\""), "{ran:?}");
    assert_eq!(server.admin().verdict(&key.secret), "VALID");
}

#[test]
fn without_a_store_shapes_alone_are_told() {
    if !has_git() {
        return;
    }
    let server = Server::start();
    let other = Line::at(Path::new("/nowhere/at/all"));
    let tree = planted(&server.secret, &server.secret);
    let path = tree.to_str().unwrap();
    let findings = found(&other, &[path]);
    assert_eq!(findings.len(), 1);
    assert_eq!(findings[0]["known"], Value::Null);

    let strange = Server::start();
    let findings = found(&Line::of(&strange), &[path]);
    assert_eq!(findings[0]["known"], "nothing");
    fs::remove_dir_all(tree).unwrap();
}

#[test]
fn a_clean_tree_exits_with_nought_and_a_missing_one_does_not() {
    let tree = fresh_folder();
    let almost = format!("lk_{}", "a".repeat(59));
    fs::write(tree.join("a.txt"), almost).unwrap();
    let line = Line::at(Path::new("/nowhere/at/all"));
    let path = tree.to_str().unwrap();
    assert_eq!(line.ok(&["scan", path]), "");
    assert_eq!(line.json(&["scan", path]), json!([]));
    line.refused(&["scan", "/nowhere/at/all"], 1);
    line.refused(&["scan"], 2);
    fs::remove_dir_all(tree).unwrap();
}

#[test]
fn identifying_needs_the_right_to_verify() {
    let server = Server::start();
    let reader = json!({"name":"r","catalog":"latchkey","scopes":["keys:read"]});
    let reader = server.admin().issue(reader);
    let body = json!({"items": [server.secret, "junk"]});
    server
        .bearer(&reader.secret)
        .post("/v1/keys/identify", body.clone())
        .expect(403);
    let answer = server
        .admin()
        .post("/v1/keys/identify", body)
        .expect(200)
        .json();
    assert_eq!(answer["items"][0]["known"], "secret");
    assert_eq!(answer["items"][1], json!({"known":"nothing","key":null}));
    let many = json!({"items": vec!["x"; 101]});
    server.admin().post("/v1/keys/identify", many).expect(422);
}

#[test]
fn encoded_secrets_are_found_and_what_is_packed_otherwise_is_named() {
    let server = Server::start();
    let line = Line::of(&server);
    let top = fresh_folder();
    let encoded = base64(server.secret.as_bytes());
    let utf16: Vec<u8> = server
        .secret
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    let manifest =
        format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: k}}\ndata:\n  key: {encoded}\n");
    fs::write(top.join("secret.yaml"), &manifest).unwrap();
    fs::write(top.join("ps.txt"), [b"\xff\xfe", &utf16[..]].concat()).unwrap();
    fs::write(top.join("url.log"), server.secret.replace('_', "%5F")).unwrap();
    fs::write(top.join("plain"), format!("\n {}", server.secret)).unwrap();
    fs::write(
        top.join("access.log"),
        format!("\n\nGET / {}\n{manifest}", server.secret),
    )
    .unwrap();
    let packed = Command::new("gzip")
        .arg("-k")
        .arg(top.join("access.log"))
        .status()
        .unwrap();
    assert!(packed.success());
    fs::rename(top.join("access.log.gz"), top.join("no-suffix")).unwrap();
    fs::remove_file(top.join("access.log")).unwrap();
    fs::write(top.join("a.zip"), "PK\x03\x04").unwrap();
    fs::write(top.join("b.xz"), b"\xfd7zXZ\0").unwrap();
    fs::write(top.join("cut.gz"), b"\x1f\x8b\x08\0\0\0\0\0\0\x03\x05").unwrap();

    let path = top.to_str().unwrap();
    let ran = line.run(&["scan", "--json", path]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let findings: Vec<Value> = serde_json::from_str(&ran.stdout).unwrap();
    let seen: Vec<(&str, u64, u64, &str)> = findings
        .iter()
        .map(|it| {
            assert_eq!(it["known"], "secret", "{it}");
            let path = it["path"].as_str().unwrap();
            let name = &path[path.rfind('/').unwrap() + 1..];
            let number = |member: &str| it[member].as_u64().unwrap();
            (
                name,
                number("line"),
                number("offset"),
                it["encoding"].as_str().unwrap_or("-"),
            )
        })
        .collect();
    let at = manifest.find(&encoded).unwrap() as u64;
    let in_gzip = 2 + 6 + server.secret.len() as u64 + 1 + at;
    assert_eq!(
        seen,
        [
            ("no-suffix", 3, 8, "gzip"),
            ("no-suffix", 8, in_gzip, "gzip base64"),
            ("plain", 2, 2, "-"),
            ("ps.txt", 1, 2, "utf-16"),
            ("secret.yaml", 5, at, "base64"),
            ("url.log", 1, 0, "percent"),
        ]
    );
    let unread: Value = serde_json::from_str(ran.stderr.lines().next().unwrap()).unwrap();
    let unread = unread["not_looked_into"].as_array().unwrap();
    let names: Vec<&str> = unread
        .iter()
        .map(|it| it["path"].as_str().unwrap())
        .collect();
    assert!(
        names[0].ends_with("a.zip") && names[1].ends_with("b.xz") && names[2].ends_with("cut.gz")
    );
    assert_eq!(unread[0]["why"], "zip archive");

    let ran = line.run(&["scan", path]);
    assert!(ran.stderr.contains("b.xz: compressed with xz"), "{ran:?}");
    for text in [&server.secret, &encoded] {
        assert!(!ran.stdout.contains(text) && !ran.stderr.contains(text));
    }
    // A file that is not scanned does not change the exit code.
    for name in ["no-suffix", "plain", "ps.txt", "secret.yaml", "url.log"] {
        fs::remove_file(top.join(name)).unwrap();
    }
    assert_eq!(line.ok(&["scan", path]), "");
    let piped = line.run_with_input(&["scan", "--json", "-"], &manifest);
    assert!(
        piped.stdout.contains("\"encoding\":\"base64\""),
        "{piped:?}"
    );
    fs::remove_dir_all(top).unwrap();
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let bits = three
            .iter()
            .fold(0_u32, |bits, it| bits << 8 | u32::from(*it));
        let bits = bits << (8 * (3 - three.len()));
        for at in 0..=three.len() {
            text.push(char::from(DIGITS[(bits >> (18 - 6 * at) & 63) as usize]));
        }
        text.push_str(&"=".repeat(3 - three.len()));
    }
    text
}

#[test]
fn links_are_followed_only_where_they_are_named() {
    if !has_git() {
        return;
    }
    let server = Server::start();
    let line = Line::of(&server);
    let top = work_tree(
        &server.secret,
        &[("a/b/x", ""), (".gitignore", "*.log\n")],
        &["a/b/x"],
    );
    fs::write(top.join("a/b/x.log"), &server.secret).unwrap();
    for (from, to) in [
        ("a/b/loop", "../.."),
        ("a/b/self", "self"),
        ("a/b/gone", "nowhere"),
        ("a/b/again", "x"),
        ("folder", "a/b"),
        ("file", "a/b/x"),
    ] {
        symlink(to, top.join(from)).unwrap();
    }
    assert_eq!(found_in(&line, &top, &[&top], &[]), ["a/b/x"]);
    // The pattern files above the target of the link apply.
    let folder = top.join("folder");
    assert_eq!(found_in(&line, &top, &[&folder], &[]), ["folder/x"]);
    let file = top.join("file");
    assert_eq!(found_in(&line, &top, &[&file], &[]), ["file"]);
    let inner = top.join("a/b");
    let named = [&folder, &top, &file, &inner].map(PathBuf::as_path);
    let all = found_in(&line, &top, &named, &[]);
    assert_eq!(all, ["a/b/x", "a/b/x", "file", "folder/x"]);
    for broken in ["a/b/self", "a/b/gone"] {
        let said = line.refused(&["scan", top.join(broken).to_str().unwrap()], 1);
        assert!(said.contains(broken), "{said}");
    }
    fs::remove_dir_all(top).unwrap();
}

/// The tree is deeper than the longest path, so even root cannot open its lowest folders by path.
#[test]
fn what_cannot_be_looked_at_is_told_and_the_rest_is_found() {
    let server = Server::start();
    let line = Line::of(&server);
    let top = tree(&server.secret, &[("a/x", ""), ("z", ""), ("p/y", "")]);
    fs::remove_dir_all(top.join(".git")).unwrap();
    let name = "d".repeat(200);
    let mut folder = fs::File::open(&top).unwrap().into();
    for _ in 0..25 {
        mkdirat(&folder, &name, Mode::RWXU).unwrap();
        folder = openat(&folder, &name, OFlags::RDONLY, Mode::empty()).unwrap();
    }
    fs::set_permissions(top.join("p"), fs::Permissions::from_mode(0o000)).unwrap();

    let ran = line.run(&["scan", "--json", top.to_str().unwrap()]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let findings: Vec<Value> = serde_json::from_str(&ran.stdout).unwrap();
    assert!(ran.stderr.contains("File name too long"), "{ran:?}");
    assert!(ran.stderr.contains("not everything"), "{ran:?}");
    let is_root = rustix::process::geteuid().is_root();
    assert_eq!(findings.len(), if is_root { 3 } else { 2 }, "{findings:?}");
    if !is_root {
        let said = format!("{}: Permission denied", top.join("p").display());
        assert!(ran.stderr.contains(&said), "{ran:?}");
    }

    fs::set_permissions(top.join("p"), fs::Permissions::from_mode(0o700)).unwrap();
    fs::remove_dir_all(top).unwrap();
}

#[test]
fn many_files_in_one_folder_and_names_that_are_no_text_are_met() {
    if !has_git() {
        return;
    }
    let server = Server::start();
    let line = Line::of(&server);
    let top = work_tree(&server.secret, &[(".gitignore", "no-*\n")], &[]);
    for at in 0..3000 {
        fs::write(top.join(format!("no-{at}")), &server.secret).unwrap();
        fs::write(top.join(format!("{at}")), format!("{at} of many")).unwrap();
    }
    for name in [&b"\xff\xfe"[..], b"no-\xff"] {
        fs::write(top.join(OsStr::from_bytes(name)), &server.secret).unwrap();
    }
    let ran = line.run(&["scan", top.to_str().unwrap()]);
    assert!(ran.stderr.contains("1 secret in 3002 files"), "{ran:?}");
    fs::remove_dir_all(top).unwrap();
}

/// Creates the top folder of a repository with these files; files without patterns contain the secret.
pub fn tree(secret: &str, files: &[(&str, &str)]) -> PathBuf {
    let top = fresh_folder();
    fs::create_dir_all(top.join(".git")).unwrap();
    for (path, text) in files {
        let path = top.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, if text.is_empty() { secret } else { text }).unwrap();
    }
    top
}

/// A work tree with these files, some of which are tracked even if an ignore pattern matches them.
pub fn work_tree(secret: &str, files: &[(&str, &str)], tracked: &[&str]) -> PathBuf {
    let top = tree(secret, &[]);
    git(&top, &["init", "--quiet"]);
    for (path, text) in files {
        let path = top.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, if text.is_empty() { secret } else { text }).unwrap();
    }
    for path in tracked {
        git(&top, &["--literal-pathspecs", "add", "--force", "--", path]);
    }
    git(
        &top,
        &["commit", "--quiet", "--allow-empty", "--message", "x"],
    );
    top
}

/// Whether git can be run here; fails where every test must run.
pub fn has_git() -> bool {
    let found = Command::new("git").arg("--version").output().is_ok();
    if !found {
        left_out("git is not installed (dev/test installs it)");
    }
    found
}

#[track_caller]
pub fn git(folder: &Path, args: &[&str]) {
    let ran = Command::new("git")
        .args(["-c", "user.name=a", "-c", "user.email=a@example"])
        .args(args)
        .current_dir(folder)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .output()
        .unwrap();
    assert!(ran.status.success(), "{args:?}: {ran:?}");
}

/// Whether a file of a tree contains no secret, or is never scanned.
pub fn is_kept(path: &str) -> bool {
    path.split('/').any(|it| it == ".git") || path.ends_with("ignore")
}

/// The paths in which secrets are found, relative to the top of the tree, in the order of the output.
#[track_caller]
pub fn found_in(line: &Line, top: &Path, named: &[&Path], flags: &[&str]) -> Vec<String> {
    let named = named.iter().map(|path| path.to_str().unwrap());
    let args: Vec<&str> = ["scan", "--json"]
        .into_iter()
        .chain(flags.iter().copied())
        .chain(named)
        .collect();
    let ran = line.run(&args);
    let findings: Vec<Value> = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(ran.code, Some(i32::from(!findings.is_empty())), "{ran:?}");
    let path = |finding: &Value| {
        let path = Path::new(finding["path"].as_str().unwrap()).to_owned();
        path.strip_prefix(top).unwrap().to_str().unwrap().to_owned()
    };
    findings.iter().map(path).collect()
}
