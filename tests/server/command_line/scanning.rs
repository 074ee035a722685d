//! `latchkey scan`: finds secrets in files of the tests.

use super::{Line, running_and_stopped};
use crate::support::{Server, executable, fresh_folder};
use rustix::fs::{CWD, FileType, Mode, OFlags, mkdirat, mknodat, openat};
use serde_json::{Value, json};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// A tree with one secret in a normal file and one in a file that .gitignore excludes.
fn planted(secret: &str, ignored: &str) -> PathBuf {
    let tree = fresh_folder();
    fs::create_dir_all(tree.join("src")).unwrap();
    fs::create_dir_all(tree.join(".git")).unwrap();
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

type Files = &'static [(&'static str, &'static str)];

/// The files of a tree, the part of it that is scanned, and the files in which secrets are found. All other files
/// contain a secret, too, except for pattern files.
#[rustfmt::skip]
const LEFT_OUT: &[(Files, &str, &[&str])] = &[
    // The nearest pattern file decides, and within a file the last matching line.
    (&[(".gitignore", "*.log\n/a/x\n"), ("a/.gitignore", "!b.log\n"), ("a/b.log", ""), ("a/c.log", ""), ("a/x", ""),
       ("c.log", ""), ("x", "")],
     "", &["a/b.log", "x"]),
    (&[(".gitignore", "*.env\n!keep.env\n"), (".env", ""), ("keep.env", ""), ("d/keep.env", ""), ("d/e.env", "")],
     "", &["d/keep.env", "keep.env"]),
    // An anchored pattern is relative to the folder of its file.
    (&[("a/.gitignore", "/x\nb/y\n**/z\n"), ("x", ""), ("a/x", ""), ("a/b/x", ""), ("a/b/y", ""), ("a/c/b/y", ""),
       ("a/c/z", ""), ("z", "")],
     "", &["a/b/x", "a/c/b/y", "x", "z"]),
    // A pattern for folders does not match files; files below an excluded folder cannot be included again.
    (&[(".gitignore", "out/\n!out/keep\n!keep\n"), ("out/keep", ""), ("out/.gitignore", "!*\n"), ("a/out", "")],
     "", &["a/out"]),
    (&[(".gitignore", "/out/*\n!/out/keep\n"), ("out/keep", ""), ("out/x", "")],
     "", &["out/keep"]),
    // Pattern files above the scanned folder apply: .gitignore files up to the top of the repository, and .ignore files
    // from every level.
    (&[(".gitignore", "*.out\n"), (".ignore", "*.own\n"), ("r/.git/HEAD", ""), ("r/.gitignore", "*.log\n/a/b/x\n"),
       ("r/a/b/x", ""), ("r/a/b/c.log", ""), ("r/a/b/c.out", ""), ("r/a/b/c.own", ""), ("r/a/b/y", "")],
     "r/a/b", &["r/a/b/c.out", "r/a/b/y"]),
    // The same holds if the scan starts above the repository.
    (&[(".gitignore", "*.out\n"), (".ignore", "*.own\n"), ("r/.git/HEAD", ""), ("r/x.out", ""), ("r/x.own", ""),
       ("x.out", "")],
     "", &["r/x.out"]),
    // A path on the command line is always scanned, even if a pattern excludes it.
    (&[(".gitignore", "out/\n*.log\n"), ("out/x", ""), ("out/y.log", "")], "out", &["out/x"]),
    (&[(".gitignore", "*.log\n"), ("y.log", "")], "y.log", &["y.log"]),
    // An .ignore file takes precedence over a .gitignore file that is nearer.
    (&[(".ignore", "!x.log\n*.own\n"), ("a/.gitignore", "*.log\n!y.own\n"), ("a/x.log", ""), ("a/y.own", ""),
       ("a/z.log", "")],
     "", &["a/x.log"]),
    // The exclude file of the repository has a lower precedence and is anchored at its top; that of a submodule is in
    // another folder.
    (&[(".git/info/exclude", "*.tmp\n/a/x\n"), (".gitignore", "!keep.tmp\n"), ("a/b.tmp", ""), ("a/keep.tmp", ""),
       ("a/x", ""), ("b/a/x", "")],
     "", &["a/keep.tmp", "b/a/x"]),
    (&[(".git/modules/m/info/exclude", "*.tmp\n"), ("m/.git", "gitdir: ../.git/modules/m\n"), ("m/x.tmp", ""),
       ("m/y", ""), ("x.tmp", "")],
     "", &["m/y", "x.tmp"]),
    (&[(".git/info/exclude", "*.tmp\n"), (".git/worktrees/w/commondir", "../..\n"), ("x.tmp", ""), ("w/x.tmp", ""),
       ("w/.git", "gitdir: ../.git/worktrees/w\n")],
     "w", &[]),
    // Line ends, a byte order mark, comments, spaces, escapes.
    (&[(".gitignore", "\u{feff}a\r\n#b\r\n\\#c\r\nd  \r\ne\\ \r\n"), ("a", ""), ("b", ""), ("#b", ""), ("#c", ""), ("d", ""),
       ("e", ""), ("e ", "")],
     "", &["#b", "b", "e"]),
    // Patterns are case-sensitive.
    (&[(".gitignore", "*.log\n"), ("a.LOG", ""), ("a.log", "")], "", &["a.LOG"]),
];

#[test]
fn what_pattern_files_leave_out_is_not_looked_into() {
    let server = Server::start();
    let line = Line::of(&server);
    for (files, part, expected) in LEFT_OUT {
        let top = tree(&server.secret, files);
        let part = match *part {
            "" => top.clone(),
            part => top.join(part),
        };
        assert_eq!(found_in(&line, &top, &[&part], &[]), *expected, "{files:?}");

        let mut all: Vec<&str> = files.iter().map(|(path, _)| *path).collect();
        all.retain(|path| top.join(path).starts_with(&part) && !is_kept(path));
        all.sort_unstable();
        let found = found_in(&line, &top, &[&part], &["--no-ignore"]);
        assert_eq!(found, all, "{files:?}");
        fs::remove_dir_all(top).unwrap();
    }
}

#[test]
fn the_users_own_patterns_are_the_weakest() {
    let server = Server::start();
    let top = tree(
        &server.secret,
        &[
            (".gitignore", "!keep.bak\n"),
            ("x.bak", ""),
            ("keep.bak", ""),
            ("top", ""),
            ("a/top", ""),
            ("set/git/ignore", "*.bak\n/top\n"),
            ("home/.config/git/ignore", "*.bak\n/top\n"),
        ],
    );
    let named = top.join("a").join("..");
    for (name, value, count) in [
        ("XDG_CONFIG_HOME", "set", 2),
        ("HOME", "home", 2),
        ("HOME", "nowhere", 4),
    ] {
        let ran = executable(None)
            .args(["scan", "--json", "--data", "/nowhere/at/all"])
            .arg(&named)
            .env_remove("XDG_CONFIG_HOME")
            .env(name, top.join(value))
            .output()
            .unwrap();
        let findings: Vec<Value> = serde_json::from_slice(&ran.stdout).unwrap();
        assert_eq!(findings.len(), count, "{name}={value}: {findings:?}");
    }
    fs::remove_dir_all(top).unwrap();
}

#[test]
fn links_are_followed_only_where_they_are_named() {
    let server = Server::start();
    let line = Line::of(&server);
    let top = tree(&server.secret, &[("a/b/x", ""), (".gitignore", "*.log\n")]);
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

/// The invalid pattern excludes nothing, so the scan is complete.
#[test]
fn a_pattern_file_that_cannot_be_applied_is_told() {
    let line = Line::at(Path::new("/nowhere/at/all"));
    let big = "#".repeat(1024 * 1024 + 1);
    for (patterns, said) in [
        (
            "ok\n[a-\n",
            "a/.gitignore:2: the line has a [ without its ]",
        ),
        ("x\\\n", "a/.gitignore:1: the line ends in a backslash"),
        (big.as_str(), "a/.gitignore: larger than 1048576 bytes"),
    ] {
        let top = tree("nothing", &[("a/.gitignore", patterns)]);
        let ran = line.run(&["scan", top.to_str().unwrap()]);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        assert!(ran.stderr.contains(said), "{ran:?}");
        line.ok(&["scan", "--no-ignore", top.to_str().unwrap()]);
        // Files above the named folders are read once for each folder, but reported only once.
        fs::create_dir_all(top.join("a/b/c")).unwrap();
        let named = ["a/b", "a/b/c"].map(|it| top.join(it).to_str().unwrap().to_owned());
        let ran = line.run(&["scan", &named[0], &named[1]]);
        assert_eq!(ran.stderr.matches(said).count(), 1, "{ran:?}");
        fs::remove_dir_all(top).unwrap();
    }
    // The scan does not wait for a named pipe.
    let top = tree("nothing", &[("x", "")]);
    mknodat(CWD, top.join(".gitignore"), FileType::Fifo, Mode::RWXU, 0).unwrap();
    line.ok(&["scan", top.to_str().unwrap()]);
    fs::remove_dir_all(top).unwrap();
}

#[test]
fn many_files_in_one_folder_and_names_that_are_no_text_are_met() {
    let server = Server::start();
    let line = Line::of(&server);
    let top = tree(&server.secret, &[(".gitignore", "no-*\n")]);
    for at in 0..3000 {
        fs::write(top.join(format!("no-{at}")), &server.secret).unwrap();
        fs::write(top.join(format!("{at}")), format!("{at} of many")).unwrap();
    }
    for name in [&b"\xff\xfe"[..], b"no-\xff"] {
        fs::write(top.join(OsStr::from_bytes(name)), &server.secret).unwrap();
    }
    let ran = line.run(&["scan", top.to_str().unwrap()]);
    assert!(ran.stderr.contains("1 secrets in 3002 files"), "{ran:?}");
    fs::remove_dir_all(top).unwrap();
}

/// Creates the top folder of a repository with these files; files without patterns contain the secret.
fn tree(secret: &str, files: &[(&str, &str)]) -> PathBuf {
    let top = fresh_folder();
    fs::create_dir_all(top.join(".git")).unwrap();
    for (path, text) in files {
        let path = top.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, if text.is_empty() { secret } else { text }).unwrap();
    }
    top
}

/// Whether a file of a tree contains no secret, or is never scanned.
fn is_kept(path: &str) -> bool {
    path.split('/').any(|it| it == ".git") || path.ends_with("ignore")
}

/// The paths in which secrets are found, relative to the top of the tree, in the order of the output.
#[track_caller]
fn found_in(line: &Line, top: &Path, named: &[&Path], flags: &[&str]) -> Vec<String> {
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
