//! The commands for sites and packs: what they write, and what a pack has and has not.

use super::{enrol, make, passphrase_file, path_of, public_key, show};
use crate::command_line::Line;
use crate::keeping::restore::{back_up, restore};
use crate::support::{Server, fresh_folder};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name();
    let mut names: Vec<String> = entries
        .map(|entry| name(entry).into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_site_is_enrolled_served_shown_and_removed_by_commands() {
    let server = Server::start();
    let line = Line::of(&server);
    let folder = fresh_folder();
    let (file, out) = (folder.join("plant-7.enrol"), folder.join("stick"));
    let (file, out) = (file.to_str().unwrap(), out.to_str().unwrap());
    let pass = passphrase_file();
    let add = [
        "site",
        "add",
        "plant-7",
        "--workspace",
        "root",
        "--out",
        file,
        "--passphrase-file",
        pass.to_str().unwrap(),
        "--server-name",
        "server.example",
        "--until",
        "2d",
    ];
    let added = line.run(&add);
    assert_eq!(added.code, Some(0), "{added:?}");
    assert!(
        added.stdout.contains("pack make --site plant-7"),
        "{added:?}"
    );
    let enrolment = fs::read_to_string(file).unwrap();
    assert!(enrolment.starts_with("latchkey-secrets 1:"));
    assert!(!enrolment.contains("plant"));
    let again = line.run(&add);
    assert_eq!(again.code, Some(1), "{again:?}");

    let made = line.run(&["pack", "make", "--all", "--out", out]);
    assert_eq!(made.code, Some(0), "{made:?}");
    let site = Path::new(out).join("plant-7");
    assert_eq!(names(&site), ["000001.lkpack"]);
    let (shown, code) = show(&server, &site.join("000001.lkpack"));
    assert_eq!(code, Some(0), "{shown}");
    assert_eq!((&shown["pack"], &shown["base"]), (&json!(1), &json!(0)));
    assert_eq!(shown["server"], "server.example");
    assert_eq!(shown["signed_by"], json!([public_key(&server)]));
    assert_eq!(shown["damaged"], Value::Null);
    let words = line.run(&["pack", "show", site.join("000001.lkpack").to_str().unwrap()]);
    assert!(words.stdout.contains("good"), "{words:?}");

    // The next one is a difference, and comes with its base until the site has reported it.
    server.admin().issue(json!({ "name": "new" }));
    let (many, two) = (folder.join("two"), "plant-7");
    for _ in 0..40 {
        server.admin().issue(json!({ "name": "more" }));
    }
    let whole = line.run(&["pack", "make", "--site", two, "--whole", "--out", out]);
    assert_eq!(whole.code, Some(0), "{whole:?}");
    server.admin().issue(json!({ "name": "newer" }));
    let args = [
        "pack",
        "make",
        "--site",
        two,
        "--out",
        many.to_str().unwrap(),
        "--json",
    ];
    let made = line.run(&args);
    let made: Value = serde_json::from_str(&made.stdout).unwrap();
    assert_eq!((&made[0]["pack"], &made[0]["base"]), (&json!(3), &json!(2)));
    assert_eq!(
        names(&many.join(two)),
        ["000002.lkpack", "000003-of-2.lkpack"]
    );
    assert_eq!(
        fs::read(many.join(two).join("000002.lkpack")).unwrap(),
        fs::read(site.join("000002.lkpack")).unwrap()
    );

    let list = line.run(&["site", "list", "--json"]);
    let list: Value = serde_json::from_str(&list.stdout).unwrap();
    assert_eq!(list[0]["pack"], 3);
    assert_eq!(list[0]["unconfirmed_revocations"], Value::Null);
    let edited = line.run(&["site", "edit", two, "--minimal", "true", "--json"]);
    assert!(edited.stdout.contains("\"minimal\":true"), "{edited:?}");
    let nothing = line.run(&["site", "edit", two]);
    assert_eq!(nothing.code, Some(2));
    let shown = line.run(&["site", "show", two]);
    assert!(shown.stdout.contains("given keys"), "{shown:?}");
    let until = line.run(&["site", "show", two, "--json"]);
    let until: Value = serde_json::from_str(&until.stdout).unwrap();
    let until = until["until"].as_str().unwrap();
    let removed = line.run(&["site", "remove", two, "--rotate", "--yes"]);
    assert!(removed.stdout.contains(until), "{until}: {removed:?}");
    assert!(
        removed.stdout.contains("version 2 of the pepper"),
        "{removed:?}"
    );
    assert!(names(&server.data.join("packs").join(two)).is_empty());
    let none = line.run(&["pack", "make", "--all", "--out", out]);
    assert_eq!(none.code, Some(1), "{none:?}");
}

#[test]
fn a_changed_pack_is_shown_as_what_it_is() {
    let server = Server::start();
    enrol(&server, "plant-7", json!({}));
    let pack = make(&server.local(), "plant-7", true);
    let bytes = fs::read(path_of(&pack)).unwrap();
    let file = fresh_folder().join("changed.lkpack");
    let check = |change: &dyn Fn(&mut Vec<u8>), word: &str| {
        let mut changed = bytes.clone();
        change(&mut changed);
        fs::write(&file, changed).unwrap();
        let run = Line::of(&server).run(&["pack", "show", file.to_str().unwrap()]);
        assert_eq!(run.code, Some(1), "{run:?}");
        let said = format!("{}{}", run.stdout, run.stderr);
        assert!(said.contains(word), "{said}");
    };
    check(&|bytes| bytes[0] = b'X', "not a pack");
    check(&|bytes| bytes.truncate(100), "cut off");
    check(&|bytes| bytes.truncate(bytes.len() - 1), "cut off");
    check(&|bytes| bytes.push(0), "cut off");
    check(
        &|bytes| *bytes.last_mut().unwrap() ^= 1,
        "not the one that was signed",
    );
    check(&|bytes| bytes[12] ^= 1, "head");
    let reign = bytes.windows(8).position(|part| part == b" reign 1");
    let reign = reign.unwrap() + 7;
    check(&|bytes| bytes[reign] = b'2', "has not made");
    // Another server's pack.
    let other = Server::start();
    enrol(&other, "plant-7", json!({}));
    let pack = make(&other.local(), "plant-7", true);
    let theirs = fs::read(path_of(&pack)).unwrap();
    check(&|bytes| *bytes = theirs.clone(), "no key that is trusted");
}

#[test]
fn a_site_is_given_what_it_was_given_and_nothing_else() {
    let server = Server::start();
    let admin = server.admin();
    for (slug, parent) in [("emea", "root"), ("paris", "emea"), ("apac", "root")] {
        admin.workspace(slug, parent);
    }
    let catalog = json!({ "scopes": [{ "name": "rooms:read", "label": "Read the rooms" }] });
    admin.put("/v1/catalogs/rooms", catalog).expect(201);
    admin.person("alice", "member", "emea");
    let issue = |name: &str, workspace: &str, more: Value| {
        let mut key = json!({ "name": name, "workspace": workspace });
        for (member, value) in more.as_object().unwrap() {
            key[member] = value.clone();
        }
        admin.issue(key)
    };
    issue(
        "key-emea",
        "emea",
        json!({ "metadata": { "team": "violet" } }),
    );
    issue("key-paris", "paris", json!({ "owner": "alice" }));
    issue(
        "key-rooms",
        "paris",
        json!({ "catalog": "rooms", "scopes": ["rooms:read"] }),
    );
    issue("key-apac", "apac", json!({}));
    let import = r#"{"name":"key-imported","digest":"sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"}"#;
    let path = "/v1/keys/import?source=x&workspace=emea";
    let imported = admin.send("POST", path, "application/jsonl", import.as_bytes());
    imported.expect(200);

    let texts = |site: &str, more: Value, keys: u64, words: &[&str], not: &[&str]| {
        enrol(&server, site, more);
        let pack = make(&server.local(), site, true);
        assert_eq!(pack["keys"], keys, "{site}");
        let bytes = fs::read(path_of(&pack)).unwrap();
        let has = |word: &str| bytes.windows(word.len()).any(|w| w == word.as_bytes());
        for word in words {
            assert!(has(word), "{site} lacks {word}");
        }
        for word in not {
            assert!(!has(word), "{site} has {word}");
        }
        pack
    };
    let all = [
        "key-emea",
        "key-paris",
        "key-rooms",
        "violet",
        "alice",
        "rooms:read",
        "Read the rooms",
    ];
    let others = ["key-apac", "apac", "key-imported", "ba7816bf", "owner@"];
    let pack = texts("one", json!({ "workspaces": ["emea"] }), 3, &all, &others);
    assert_eq!(pack["left_out"], 1);
    let shown = admin.get("/v1/sites/one").expect(200).json();
    assert_eq!(
        (&shown["given_keys"], &shown["left_out"]),
        (&json!(3), &json!(1))
    );
    assert_eq!(shown["left_out_ids"].as_array().unwrap().len(), 1);
    let minimal = json!({ "workspaces": ["emea"], "minimal": true });
    let secret = ["key-emea", "key-paris", "violet", "alice", "Read the rooms"];
    texts("two", minimal, 3, &["rooms:read", "emea"], &secret);
    let rooms = json!({ "workspaces": ["emea"], "catalogs": ["rooms"] });
    texts(
        "three",
        rooms,
        1,
        &["key-rooms"],
        &["key-emea", "key-paris", "alice"],
    );
    let both = json!({ "workspaces": ["paris", "apac"] });
    texts("four", both, 3, &["key-apac", "key-paris"], &["key-emea"]);
}

#[test]
fn a_base_that_is_gone_or_changed_makes_the_next_pack_whole() {
    let mut server = Server::start();
    for _ in 0..30 {
        server.admin().issue(json!({ "name": "x" }));
    }
    enrol(&server, "plant-7", json!({}));
    let base = make(&server.local(), "plant-7", false);
    assert_eq!(base["base"], 0);
    server.restart();
    server.wait_until_ready();
    let delta = make(&server.local(), "plant-7", false);
    assert_eq!((&delta["pack"], &delta["base"]), (&json!(2), &json!(1)));
    let mut bytes = fs::read(path_of(&base)).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(path_of(&base), bytes).unwrap();
    let whole = make(&server.local(), "plant-7", false);
    assert_eq!((&whole["pack"], &whole["base"]), (&json!(3), &json!(0)));
    fs::remove_file(path_of(&whole)).unwrap();
    let whole = make(&server.local(), "plant-7", false);
    assert_eq!((&whole["pack"], &whole["base"]), (&json!(4), &json!(0)));
    let folder = path_of(&whole).parent().unwrap().to_owned();
    assert_eq!(names(&folder), ["000004.lkpack"]);
}

#[test]
fn a_rotation_of_the_sealing_key_leaves_nothing_under_the_old_one() {
    let server = Server::start();
    enrol(&server, "plant-7", json!({}));
    let before = public_key(&server);
    let local = server.local();
    let rotate = json!({ "file": "sealing-key" });
    local.post("/v1/secrets/rotate", rotate).expect(200);
    let retire = json!({ "file": "sealing-key", "version": 1 });
    local.post("/v1/secrets/retire", retire).expect(200);
    assert_eq!(public_key(&server), before);
    let pack = make(&local, "plant-7", true);
    let (shown, code) = show(&server, &path_of(&pack));
    assert_eq!(code, Some(0), "{shown}");
    // A new signing key, which the one before has introduced.
    local.post("/v1/packs/signing-keys", json!({})).expect(201);
    let pack = make(&local, "plant-7", true);
    let file = path_of(&pack);
    let args = [
        "pack",
        "show",
        file.to_str().unwrap(),
        "--key",
        &before,
        "--json",
    ];
    let shown = Line::of(&server).run(&args);
    assert_eq!(shown.code, Some(0), "{shown:?}");
    let shown: Value = serde_json::from_str(&shown.stdout).unwrap();
    assert_eq!(shown["signed_by"], json!([public_key(&server)]));
    assert_ne!(shown["signed_by"][0], json!(before));
}

#[test]
fn a_restore_begins_a_new_reign_even_of_the_same_backup() {
    let mut server = Server::start();
    enrol(&server, "plant-7", json!({}));
    let reign = |server: &Server| {
        let pack = make(&server.local(), "plant-7", true);
        let (shown, _) = show(server, &path_of(&pack));
        shown["reign"].as_u64().unwrap()
    };
    let first = reign(&server);
    let backup = back_up(&server);
    restore(&mut server, &backup, &[]);
    server.restart();
    server.wait_until_ready();
    let second = reign(&server);
    assert!(first < second, "{first} {second}");
}
