//! What a site refuses: every management route, packs that are not its next one, serving as something else, and what a thief
//! of its folder could try.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::{Pair, Site};
use crate::command_line::Line;
use crate::support::{refusal, wait};

/// What a site has of the API of a server.
const SERVED: &[(&str, &str)] = &[
    ("get", "/v1/audit-events"),
    ("get", "/v1/audit-events/chain"),
    ("get", "/v1/clock"),
    ("post", "/v1/clock/accept"),
    ("get", "/v1/doctor"),
    ("post", "/v1/doctor/bundle"),
    ("post", "/v1/introspect"),
    ("get", "/v1/packs/signing-keys"),
    ("post", "/v1/verify"),
    ("post", "/v1/verify/batch"),
];

#[test]
fn every_other_route_of_a_server_is_refused_at_a_site() {
    let pair = Pair::new();
    pair.bring();
    let running = pair.site.serve();
    let document = pair
        .server
        .anonymous()
        .get("/v1/openapi.json")
        .expect(200)
        .json();
    let mut refused = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        let is_native = path.starts_with("/v1/");
        for method in methods.as_object().unwrap().keys() {
            if !["get", "post", "put", "patch", "delete"].contains(&method.as_str()) {
                continue;
            }
            let is_served = !is_native || SERVED.contains(&(method, path));
            let asked = path.replace(['{', '}'], "");
            let answer = running.local().call(&method.to_uppercase(), &asked, None);
            if is_served {
                assert_ne!(answer.status, 403, "{method} {path}");
                continue;
            }
            refused += 1;
            assert_eq!(answer.status, 403, "{method} {path}: {}", answer.exchange());
            let text = answer.text();
            let is_about_keys = ["/v1/keys", "/v1/users", "/v1/policies", "/v1/catalogs"];
            let why = match is_about_keys.iter().any(|begin| path.starts_with(begin)) {
                true => "this is a site of server.example; change keys there",
                false => "server.example",
            };
            assert!(text.contains(why), "{method} {path}: {text}");
        }
    }
    assert!(refused > 60, "{refused}");
    for (method, path) in [
        ("GET", "/console/users"),
        ("POST", "/console/sign-in"),
        ("POST", "/api/v3/token"),
        ("GET", "/api/stacks"),
        ("DELETE", "/v1/anything/else"),
    ] {
        let answer = running.local().call(method, path, None);
        assert_eq!(answer.status, 403, "{method} {path}");
    }
    let said = pair.site.line.refused(&["key", "list"], 1);
    assert!(said.contains("this is a site of server.example"), "{said}");
    let page = running.local().get("/console").expect(200).text();
    assert!(
        page.contains("plant-7") && page.contains("server.example"),
        "{page}"
    );
    let proxied = running.call("GET", "/console", &[("X-Forwarded-For", "192.0.2.1")], None);
    assert_eq!(proxied.status, 403);
}

#[test]
fn a_folder_is_served_as_what_it_is() {
    let pair = Pair::new();
    let ended = refusal::serve(pair.site.data());
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("latchkey serve --site"), "{ended:?}");
    let mut server = pair.server;
    server.stop();
    let data = server.data.to_str().unwrap();
    let line = Line::at(Path::new("nowhere"));
    let said = line.refused(
        &["serve", "--site", "--listen", "127.0.0.1:0", "--data", data],
        1,
    );
    assert!(said.contains("not that of a site"), "{said}");
}

#[test]
fn the_commands_of_a_site_say_what_a_folder_is() {
    let pair = Pair::new();
    let server = pair.server.data.to_str().unwrap();
    let line = Line::at(&pair.site.path("empty"));
    for command in ["console", "status", "reset"] {
        let said = line.refused(&["site", command, "--data", server], 1);
        assert!(
            said.contains("is the data folder of a server"),
            "{command}: {said}"
        );
        let said = line.refused(&["site", command], 1);
        assert!(
            said.contains("latchkey site init FILE --data"),
            "{command}: {said}"
        );
    }
    let said = line.refused(&["serve", "--site", "--listen", "127.0.0.1:0"], 1);
    assert!(said.contains("latchkey site init FILE --data"), "{said}");
}

#[test]
fn a_report_that_cannot_be_written_has_no_number() {
    let pair = Pair::new();
    let site = &pair.site;
    let missing = site.path("missing/folder").display().to_string();
    let said = site.line.refused(&["site", "report", "--out", &missing], 1);
    assert!(said.contains("is not there"), "{said}");
    assert_eq!(site.status()["reports"], 0);
    let stick = site.stick().display().to_string();
    site.line.ok(&["site", "report", "--out", &stick]);
    assert_eq!(site.status()["reports"], 1);
}

/// Replay, reorder, splice, cut and foreign: each changes nothing, is named, and the command exits 1.
#[test]
fn a_pack_that_is_not_the_next_one_changes_nothing_and_is_named() {
    let pair = Pair::new();
    let site = &pair.site;
    let other = Site::enrol(&pair.server, "ship-2", &[]);
    let admin = pair.server.admin();
    let key = admin.issue(json!({ "name": "k" }));
    pair.bring();
    let running = site.serve();
    admin
        .post(&format!("/v1/keys/{}/disable", key.id), json!({}))
        .expect(200);
    pair.make(&[]);
    pair.make(&[]);
    let packs = site.packs();
    let [first, second, third] = packs.as_slice() else {
        panic!("{packs:?}");
    };
    let bytes = |path: &Path| fs::read(path).unwrap();
    let bad = site.path("bad.lkpack");
    #[track_caller]
    fn check(
        site: &Site,
        running: &crate::support::Server,
        path: &Path,
        secret: &str,
        expected: &str,
    ) {
        let before = site.status();
        let ran = site.try_apply(path);
        assert_eq!(ran.code, Some(1), "{ran:?}");
        assert!(ran.stderr.contains(path.to_str().unwrap()), "{ran:?}");
        assert_eq!(site.status()["pack"], before["pack"]);
        assert_eq!(running.local().verdict(secret), expected);
    }
    let whole = bytes(second);
    for end in [0, 5, 20, whole.len() / 2, whole.len() - 1] {
        fs::write(&bad, &whole[..end]).unwrap();
        check(site, &running, &bad, &key.secret, "VALID");
    }
    for position in (0..whole.len()).step_by(whole.len() / 40 + 1) {
        let mut changed = whole.clone();
        changed[position] ^= 1;
        fs::write(&bad, &changed).unwrap();
        check(site, &running, &bad, &key.secret, "VALID");
    }
    let spliced = [
        &whole[..whole.len() - 40],
        &bytes(third)[bytes(third).len() - 40..],
    ]
    .concat();
    if spliced != whole {
        fs::write(&bad, &spliced).unwrap();
        check(site, &running, &bad, &key.secret, "VALID");
    }
    check(site, &running, first, &key.secret, "VALID");
    pair.line().ok(&[
        "pack",
        "make",
        "--site",
        "ship-2",
        "--out",
        site.path("stick").to_str().unwrap(),
    ]);
    let foreign = fs::read_dir(site.stick().join("ship-2"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    check(site, &running, &foreign, &key.secret, "VALID");
    drop(other);
    // The newest one is the whole truth, and then both older ones are refused.
    site.apply();
    assert_eq!(running.local().verdict(&key.secret), "DISABLED");
    check(site, &running, second, &key.secret, "DISABLED");
    check(site, &running, first, &key.secret, "DISABLED");
}

/// Everything in the folder of a site makes nothing that its server or another site takes.
#[test]
fn a_stolen_folder_of_a_site_makes_no_pack_no_key_and_no_row() {
    let pair = Pair::new();
    let other = Site::enrol(&pair.server, "ship-2", &[]);
    let key = pair.server.admin().issue(json!({ "name": "k" }));
    pair.bring();
    let stolen = pair.site.path("stolen");
    Site::copy(pair.site.data(), &stolen);
    let held: Vec<Vec<u8>> = fs::read_dir(&stolen)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .chain(
            fs::read_dir(stolen.join("packs"))
                .unwrap()
                .map(|entry| entry.unwrap().path()),
        )
        .filter(|path| path.is_file())
        .map(|path| fs::read(path).unwrap())
        .collect();
    let has = |text: &str| {
        let text = text.as_bytes();
        held.iter()
            .any(|bytes| bytes.windows(text.len()).any(|window| window == text))
    };
    for name in ["seal-key", "sealing-key"] {
        let file = fs::read_to_string(pair.server.data.join(name)).unwrap();
        let secret = file.trim().split(' ').next_back().unwrap();
        assert!(!has(secret), "{name} of the server");
    }
    assert!(has(fs::read_to_string(pair.server.data.join("pepper"))
        .unwrap()
        .trim()));
    assert!(!has(&key.secret) && !has(&pair.server.management_key));
    // The pack of the stolen site is none for another one, under any name.
    let line = Line::at(&stolen);
    for entry in fs::read_dir(stolen.join("packs")).unwrap() {
        let ran = other.try_apply(&entry.unwrap().path());
        assert_eq!(ran.code, Some(1), "{ran:?}");
    }
    for command in [
        &["key", "issue", "x"][..],
        &["pack", "make", "--all", "--out", "x"],
        &[
            "site",
            "add",
            "x",
            "--workspace",
            "root",
            "--out",
            "/tmp/x",
            "--passphrase-file",
            "/dev/null",
        ],
        &["user", "create", "x"],
        &["backup"],
    ] {
        let ran = line.run(command);
        assert_ne!(ran.code, Some(0), "{command:?}: {ran:?}");
    }
    // Its reports are for its own name: with another one they have a wrong tag.
    let out = pair.site.path("forged");
    fs::create_dir(&out).unwrap();
    line.ok(&["site", "report", "--out", out.to_str().unwrap()]);
    let report = fs::read_dir(&out).unwrap().next().unwrap().unwrap().path();
    let text = fs::read_to_string(&report)
        .unwrap()
        .replace("plant-7", "ship-2");
    fs::write(&report, text).unwrap();
    let ran = pair.line().run(&["site", "collect", out.to_str().unwrap()]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    // Nothing of the site's is the server's: its database opens with neither of the two sets of key files.
    let mut server = pair.server;
    server.stop();
    Site::copy(
        &stolen.join("latchkey.db"),
        &server.data.join("latchkey.db"),
    );
    let ended = refusal::serve(&server.data);
    assert_eq!(ended.code, Some(1), "{ended:?}");
}

/// Whole seconds since 1970.
fn second() -> u64 {
    let now = std::time::SystemTime::now();
    now.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

/// The numbers of a site count as they are: the state is sealed as a whole.
#[test]
fn a_state_that_was_changed_in_the_database_stops_the_site() {
    let pair = Pair::new();
    pair.bring();
    let database = rusqlite::Connection::open(pair.site.data().join("latchkey.db")).unwrap();
    let changed = database.execute(
        "UPDATE site_state SET sealed = zeroblob(length(sealed))",
        [],
    );
    assert_eq!(changed.unwrap(), 1);
    drop(database);
    let said = pair.site.line.refused(&["site", "status"], 1);
    assert!(
        said.contains("cannot be read with its sealing key"),
        "{said}"
    );
    let again = [
        "site",
        "init",
        &pair.site.path("enrolment").display().to_string(),
        "--passphrase-file",
        &pair.site.path("passphrase").display().to_string(),
    ]
    .map(str::to_owned);
    let again: Vec<&str> = again.iter().map(String::as_str).collect();
    // A pack of the second in which the site is enrolled again is taken: it may have been made after that.
    let begun = second();
    wait::until("the next second", || second() > begun);
    let told = pair.site.line.ok(&again);
    assert!(
        told.contains("takes no pack that was made before"),
        "{told}"
    );
    let ran = pair.site.try_apply(&pair.site.stick());
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let status: Value = pair.site.status();
    assert_eq!(
        (&status["pack"], &status["loaded"]),
        (&json!(0), &json!(false))
    );
}
