//! `latchkey scan` in work trees of git: which files count, and what a hostile tree can do.

use super::Line;
use super::scanning::{found_in, git, has_git, is_kept, tree, work_tree};
use crate::support::{Server, executable, fresh_folder};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

type Files = &'static [(&'static str, &'static str)];

/// Files of a work tree, the tracked ones among them, the part that is scanned, and where secrets are found. Every file
/// contains a secret, except for files with patterns.
#[rustfmt::skip]
const LEFT_OUT: &[(Files, &[&str], &str, &[&str])] = &[
    // A tracked file counts, even if a pattern matches it or a folder above it.
    (&[(".gitignore", ".env\nbuild/\n"), (".env", ""), ("build/a/x", ""), ("build/a/y", ""), ("z", "")],
     &[".env", "build/a/x"], "", &[".env", "build/a/x", "z"]),
    (&[(".gitignore", "*.log\n/a/x\n"), ("a/.gitignore", "!b.log\n"), ("a/b.log", ""), ("a/c.log", ""), ("a/x", ""),
       ("c.log", ""), ("x", "")],
     &[], "", &["a/b.log", "x"]),
    // A part of the tree: patterns of higher folders apply to it.
    (&[(".gitignore", "*.log\n/a/b/x\n"), ("a/b/x", ""), ("a/b/c.log", ""), ("a/b/y", ""), ("a/b/t.log", "")],
     &["a/b/t.log"], "a/b", &["a/b/t.log", "a/b/y"]),
    // A path on the command line is scanned, even if a pattern matches it.
    (&[(".gitignore", "out/\n*.log\n"), ("out/x", ""), ("out/y.log", ""), ("out/d/z", "")],
     &["out/x"], "out", &["out/d/z", "out/x", "out/y.log"]),
    (&[(".gitignore", "out/\n"), ("out/x", ""), ("out/d/z", "")], &[], "out/d", &["out/d/z"]),
    (&[(".gitignore", "*.log\n"), ("y.log", "")], &[], "y.log", &["y.log"]),
    (&[(".git/info/exclude", "*.tmp\n"), ("x.tmp", ""), ("y", "")], &[], "", &["y"]),
    // The ignore files of other programs have no effect.
    (&[(".ignore", "*.own\n"), ("a.own", "")], &[], "", &["a.own"]),
    // Names that git would quote.
    (&[("a b", ""), ("tab\there", ""), ("ü\n\"x\"", ""), ("-n", "")], &["ü\n\"x\""], "", &["-n", "a b", "tab\there", "ü\n\"x\""]),
];

#[test]
fn in_a_work_tree_tracked_files_count_and_ignored_ones_do_not() {
    if !has_git() {
        return;
    }
    let server = Server::start();
    let line = Line::of(&server);
    for (files, tracked, part, expected) in LEFT_OUT {
        let top = work_tree(&server.secret, files, tracked);
        let part = match *part {
            "" => top.clone(),
            part => top.join(part),
        };
        assert_eq!(found_in(&line, &top, &[&part], &[]), *expected, "{files:?}");

        let mut all: Vec<&str> = files.iter().map(|(path, _)| *path).collect();
        all.retain(|path| top.join(path).starts_with(&part) && !is_kept(path));
        all.sort_unstable();
        for flag in ["--no-ignore", "--all"] {
            let found = found_in(&line, &top, &[&part], &[flag]);
            assert_eq!(found, all, "{files:?}");
        }
        fs::remove_dir_all(top).unwrap();
    }
}

/// For submodules, further work trees and repositories among the files, git is asked separately.
#[test]
fn repositories_within_repositories_are_looked_into() {
    if !has_git() {
        return;
    }
    let server = Server::start();
    let line = Line::of(&server);
    let top = fresh_folder();
    let make = |name: &str| {
        let tree = work_tree(
            &server.secret,
            &[
                (".gitignore", "*.log\n"),
                ("x", ""),
                ("y.log", ""),
                ("z.log", ""),
            ],
            &[".gitignore", "x", "y.log"],
        );
        fs::rename(tree, top.join(name)).unwrap();
        top.join(name)
    };
    // These are below a folder that is in no work tree.
    let outer = make("outer");
    assert_eq!(
        found_in(&line, &top, &[&top], &[]),
        ["outer/x", "outer/y.log"]
    );
    // Untracked, and a submodule.
    fs::rename(make("inner"), outer.join("inner")).unwrap();
    let library = make("library");
    git(
        &outer,
        &[
            "-c",
            "protocol.file.allow=always",
            "submodule",
            "--quiet",
            "add",
            library.to_str().unwrap(),
            "sub",
        ],
    );
    fs::write(outer.join("sub/new"), &server.secret).unwrap();
    fs::write(outer.join("sub/new.log"), &server.secret).unwrap();
    // A second work tree, whose .git is a file.
    git(
        &outer,
        &[
            "worktree",
            "add",
            "--quiet",
            top.join("second").to_str().unwrap(),
        ],
    );
    let found = found_in(&line, &top, &[&outer], &[]);
    let expected = [
        "outer/inner/x",
        "outer/inner/y.log",
        "outer/sub/new",
        "outer/sub/x",
        "outer/sub/y.log",
        "outer/x",
        "outer/y.log",
    ];
    assert_eq!(found, expected);
    let second = top.join("second");
    assert_eq!(
        found_in(&line, &top, &[&second], &[]),
        ["second/x", "second/y.log"]
    );
    // A tracked file that was deleted, and one that was replaced by a link.
    fs::remove_file(outer.join("x")).unwrap();
    fs::remove_file(outer.join("y.log")).unwrap();
    symlink("z.log", outer.join("y.log")).unwrap();
    assert_eq!(found_in(&line, &top, &[&outer], &[]), expected[..5]);
    fs::remove_dir_all(top).unwrap();
}

/// If git does not answer, every file counts, and the user sees the reason.
#[test]
fn without_an_answer_of_git_every_file_is_looked_into() {
    if !has_git() {
        return;
    }
    let server = Server::start();
    let line = Line::of(&server);
    let whole = [(".gitignore", "*.log\n"), ("x", ""), ("y.log", "")];
    let said = "git does not say which files count, so all";
    let both = |top: &Path, path: Option<&Path>, why: &str| {
        let mut command = executable(None);
        command.args(["scan", "--data", "/nowhere/at/all"]).arg(top);
        if let Some(path) = path {
            command.env("PATH", path);
        }
        let ran = command.output().unwrap();
        let (out, err) = (
            String::from_utf8_lossy(&ran.stdout),
            String::from_utf8_lossy(&ran.stderr),
        );
        assert_eq!(ran.status.code(), Some(1), "{err}");
        assert!(err.contains(said), "{err}");
        assert!(err.contains(&format!(" are looked into: {why}")), "{err}");
        assert!(out.contains("/x:1") && out.contains("/y.log:1"), "{out}");
    };
    // A folder named `.git` that is no repository.
    let top = tree(&server.secret, &whole);
    both(&top, None, "its .git is no repository for this folder");
    fs::remove_dir_all(&top).unwrap();
    // A damaged index.
    let top = work_tree(&server.secret, &whole, &["x"]);
    fs::write(top.join(".git/index"), "junk").unwrap();
    both(&top, None, "");
    fs::remove_dir_all(&top).unwrap();
    // No git is installed; a relative folder in PATH is ignored.
    let top = work_tree(&server.secret, &whole, &["x"]);
    both(
        &top,
        Some(Path::new("/nowhere/at/all")),
        "no program git was found in PATH",
    );
    both(
        &top,
        Some(Path::new("")),
        "no program git was found in PATH",
    );
    // A git that prints nothing and does not end is not tested here, because it would take a minute. A git that fails:
    let programs = fresh_folder();
    fs::write(programs.join("git"), "#!/bin/sh\necho no 1>&2\nexit 3\n").unwrap();
    fs::set_permissions(programs.join("git"), fs::Permissions::from_mode(0o755)).unwrap();
    both(&top, Some(&programs), "no");
    // A git that lists a file outside the folder. `pwd -P` is the right answer to the question for the top of the work
    // tree.
    let script = "#!/bin/sh\ncase \"$*\" in *--show-toplevel*) pwd -P;; *rev-parse*) echo true;; *--others*) printf '../x\\0';; esac\n";
    fs::write(programs.join("git"), script).unwrap();
    both(&top, Some(&programs), "git lists a file outside the folder");
    fs::remove_dir_all(programs).unwrap();
    // A repository with `core.worktree` in another folder lists nothing here.
    let settings = fs::read_to_string(top.join(".git/config")).unwrap();
    for elsewhere in ["/nowhere/at/all", "/usr", "../.."] {
        let changed = format!("{settings}[core]\n\tworktree = {elsewhere}\n");
        fs::write(top.join(".git/config"), changed).unwrap();
        assert_eq!(
            found_in(&line, &top, &[&top], &[]),
            ["x", "y.log"],
            "{elsewhere}"
        );
    }
    fs::remove_dir_all(top).unwrap();
    // A bare repository is scanned like any other folder.
    let bare = fresh_folder();
    git(&bare, &["init", "--quiet", "--bare"]);
    fs::write(bare.join("description"), &server.secret).unwrap();
    assert_eq!(found_in(&line, &bare, &[&bare], &[]), ["description"]);
    fs::remove_dir_all(bare).unwrap();
}

/// The settings of a tree that another person made name programs, and so do environment variables.
#[test]
fn no_program_that_a_tree_names_is_run() {
    if !has_git() {
        return;
    }
    let server = Server::start();
    let top = work_tree(
        &server.secret,
        &[(".gitignore", "*.log\n"), ("x", ""), ("y.log", "")],
        &["x"],
    );
    let mark = top.join("mark");
    let program = top.join("program");
    fs::write(&program, format!("#!/bin/sh\ntouch '{}'\n", mark.display())).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let hooks = top.join("hooks");
    fs::create_dir(&hooks).unwrap();
    for hook in ["post-index-change", "fsmonitor-watchman", "pre-commit"] {
        fs::copy(&program, hooks.join(hook)).unwrap();
        fs::copy(&program, top.join(".git/hooks").join(hook)).unwrap();
    }
    let program = program.to_str().unwrap();
    for (name, value) in [
        ("core.fsmonitor", program),
        ("core.fsmonitorHookVersion", "2"),
        ("core.hooksPath", hooks.to_str().unwrap()),
        ("core.pager", program),
        ("pager.ls-files", "true"),
        ("core.editor", program),
        ("core.sshCommand", program),
        ("core.askPass", program),
        ("core.gitProxy", program),
        ("core.alternateRefsCommand", program),
        ("credential.helper", program),
        ("alias.ls-files", &format!("!{program}")),
        ("alias.rev-parse", &format!("!{program}")),
        ("filter.x.clean", program),
        ("filter.x.process", program),
        ("diff.external", program),
        ("uploadpack.packObjectsHook", program),
        ("remote.origin.url", &format!("ext::{program}")),
        ("remote.origin.promisor", "true"),
        ("remote.origin.uploadpack", program),
        ("extensions.partialClone", "origin"),
        ("protocol.ext.allow", "always"),
        ("index.sparse", "true"),
        ("trace2.eventTarget", mark.to_str().unwrap()),
    ] {
        git(&top, &["config", "--file", ".git/config", name, value]);
    }
    fs::write(top.join(".gitattributes"), "* filter=x\n").unwrap();
    let _ = fs::remove_file(&mark);
    let ran = executable(None)
        .args(["scan", "--json", "--data", "/nowhere/at/all"])
        .arg(&top)
        .env("GIT_DIR", "/nowhere/at/all")
        .env("GIT_WORK_TREE", "/usr")
        .env("GIT_EXTERNAL_DIFF", program)
        .env("GIT_TRACE", mark.to_str().unwrap())
        .env("GIT_CONFIG_COUNT", "1")
        .env("GIT_CONFIG_KEY_0", "core.fsmonitor")
        .env("GIT_CONFIG_VALUE_0", program)
        .output()
        .unwrap();
    let findings: Vec<Value> = serde_json::from_slice(&ran.stdout).unwrap();
    assert_eq!(findings.len(), 1, "{ran:?}");
    assert!(!mark.exists(), "{ran:?}");
    assert!(
        !String::from_utf8_lossy(&ran.stderr).contains("does not say"),
        "{ran:?}"
    );
    fs::remove_dir_all(top).unwrap();
}

/// Files that git would not list, because of the index or the settings of the tree.
#[test]
fn no_file_of_a_hostile_tree_is_left_out_in_silence() {
    if !has_git() {
        return;
    }
    let server = Server::start();
    let line = Line::of(&server);

    // A submodule without its .git: git lists nothing below it.
    let top = work_tree(&server.secret, &[("sub/deep/x", ""), ("sub/y", "")], &[]);
    let commit = "0123456789012345678901234567890123456789";
    let entry = format!("160000,{commit},sub");
    git(&top, &["update-index", "--add", "--cacheinfo", &entry]);
    let found = found_in(&line, &top, &[&top], &[]);
    assert_eq!(found, ["sub/deep/x", "sub/y"]);
    // A file or a link in its place.
    fs::remove_dir_all(top.join("sub")).unwrap();
    fs::write(top.join("sub"), &server.secret).unwrap();
    assert_eq!(found_in(&line, &top, &[&top], &[]), ["sub"]);
    fs::remove_file(top.join("sub")).unwrap();
    let outside = tree(&server.secret, &[("x", "")]);
    symlink(&outside, top.join("sub")).unwrap();
    assert!(found_in(&line, &top, &[&top], &[]).is_empty());
    fs::remove_dir_all(top).unwrap();

    // A link in the place of a folder with tracked files, at any depth.
    for above in ["a", "a/b", "a/b/c"] {
        let top = work_tree(&server.secret, &[("a/b/c/x", ""), ("z", "")], &["a/b/c/x"]);
        let rest = Path::new("a/b/c/x").strip_prefix(above).unwrap();
        let target = outside.join(rest);
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::write(&target, &server.secret).unwrap();
        fs::remove_dir_all(top.join(above)).unwrap();
        symlink(&outside, top.join(above)).unwrap();
        assert_eq!(found_in(&line, &top, &[&top], &[]), ["z"], "{above}");
        fs::remove_dir_all(top).unwrap();
    }
    fs::remove_dir_all(outside).unwrap();

    // Names that differ only in case.
    let top = work_tree(
        &server.secret,
        &[("README", "x"), ("readme", "")],
        &["README"],
    );
    git(&top, &["config", "core.ignoreCase", "true"]);
    assert_eq!(found_in(&line, &top, &[&top], &[]), ["readme"]);
    fs::remove_dir_all(top).unwrap();

    // What is in a .git that is no repository.
    for (path, flags) in [
        (".git/key", &[][..]),
        ("d/.git/a/key", &[]),
        ("d/.git", &["--all"]),
    ] {
        let top = tree(&server.secret, &[("x", "none")]);
        fs::create_dir_all(top.join(path).parent().unwrap()).unwrap();
        fs::write(top.join(path), &server.secret).unwrap();
        assert_eq!(found_in(&line, &top, &[&top], flags), [path]);
        fs::remove_dir_all(top).unwrap();
    }
}

/// git ends with 0 although it could not list all files.
#[test]
fn what_git_says_of_an_error_counts_whatever_its_exit_code() {
    if !has_git() {
        return;
    }
    let server = Server::start();
    let top = work_tree(
        &server.secret,
        &[(".gitignore", "*.log\n"), ("x", ""), ("y.log", "")],
        &["x"],
    );
    let programs = fresh_folder();
    let scan = |script: &str| {
        fs::write(programs.join("git"), script).unwrap();
        fs::set_permissions(programs.join("git"), fs::Permissions::from_mode(0o755)).unwrap();
        let mut command = executable(None);
        command
            .args(["scan", "--data", "/nowhere/at/all"])
            .arg(&top);
        let path = std::env::var("PATH").unwrap();
        command.env("PATH", format!("{}:{path}", programs.display()));
        let ran = command.output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (text(&ran.stdout), text(&ran.stderr))
    };
    let pass_on = "PATH=${PATH#*:}\nexec git \"$@\"\n";
    for (said, is_refused) in [
        ("error: a", true),
        ("fatal: a", true),
        ("warning: could not open directory a", true),
        ("warning: a", false),
        ("hint: a", false),
    ] {
        let (out, err) = scan(&format!("#!/bin/sh\necho '{said}' >&2\n{pass_on}"));
        assert!(out.contains("/x:1"), "{err}");
        assert_eq!(out.contains("/y.log:1"), is_refused, "{said}: {err}");
        let told = format!("are looked into: {said}");
        assert_eq!(err.contains(&told), is_refused, "{err}");
    }
    // No protocol is allowed, even if the settings of the tree allow it.
    let mark = programs.join("mark");
    let script = format!(
        "#!/bin/sh\necho \"<${{GIT_ALLOW_PROTOCOL-unset}}>\" >>'{}'\n{pass_on}",
        mark.display()
    );
    scan(&script);
    let seen = fs::read_to_string(&mark).unwrap();
    assert!(
        seen.lines().all(|it| it == "<>") && !seen.is_empty(),
        "{seen}"
    );
    fs::remove_dir_all(programs).unwrap();
    fs::remove_dir_all(top).unwrap();
}

#[test]
fn names_do_not_reach_the_terminal_raw() {
    if !has_git() {
        return;
    }
    let server = Server::start();
    let line = Line::of(&server);
    let top = fresh_folder();
    let name = "a\u{1b}]0;b\u{7}\nnot looked into: forged: x";
    fs::create_dir_all(top.join(name).join(".git")).unwrap();
    fs::write(top.join(name).join("a.zip"), "PK\u{3}\u{4}").unwrap();
    symlink("nowhere", top.join("gone\n\u{1b}x")).unwrap();
    let gone = top.join("gone\n\u{1b}x");
    let ran = line.run(&["scan", top.to_str().unwrap(), gone.to_str().unwrap()]);
    let lines: Vec<&str> = ran.stderr.lines().collect();
    assert!(
        lines
            .iter()
            .all(|it| !it.contains(|c: char| c.is_control())),
        "{ran:?}"
    );
    assert!(
        !lines
            .iter()
            .any(|it| it.starts_with("not looked into: forged")),
        "{ran:?}"
    );
    for part in ["git does not say", "zip archive", "No such file"] {
        assert_eq!(
            lines.iter().filter(|it| it.contains(part)).count(),
            1,
            "{ran:?}"
        );
    }
    fs::remove_dir_all(top).unwrap();
}
