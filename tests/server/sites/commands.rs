//! Every command that makes no sense at a site, or none at a server, says so in words; those that help work at both.

use std::fs;

use serde_json::json;

use super::{Pair, Site};
use crate::command_line::Line;
use crate::support::fresh_folder;

/// Runs a command that is refused with these words.
#[track_caller]
fn refused(line: &Line, args: &[&str], why: &str) {
    let said = line.refused(args, 1);
    assert!(said.contains(why), "{args:?}: {said}");
}

/// Runs the check while the site runs, and while it does not.
fn running_and_stopped(site: &Site, check: impl Fn(&Line)) {
    check(&site.line);
    let running = site.serve();
    check(&site.line);
    drop(running);
}

#[test]
fn commands_of_a_server_say_at_a_site_what_to_do() {
    let pair = Pair::new();
    pair.bring();
    let site = &pair.site;
    let path = |name: &str| site.path(name).display().to_string();
    let (out, locked, passphrase) = (path("out"), path("locked"), path("passphrase"));
    running_and_stopped(site, |line| {
        let no_backup = "a site needs no backup";
        refused(line, &["backup"], no_backup);
        refused(line, &["backup", &out], no_backup);
        let key_files = "the pepper of a site comes from server.example";
        let save = [
            "secrets",
            "backup",
            &locked,
            "--passphrase-file",
            &passphrase,
        ];
        refused(line, &save, key_files);
        assert!(!site.path("locked").exists());
        refused(line, &["secrets", "rotate"], key_files);
        refused(line, &["secrets", "status"], key_files);
        refused(
            line,
            &["secrets", "retire", "pepper", "1", "--yes"],
            key_files,
        );
        let at_server = "sites are enrolled, and packs made, there";
        refused(line, &["site", "list"], at_server);
        refused(line, &["site", "show", "plant-7"], at_server);
        refused(line, &["site", "remove", "plant-7", "--yes"], at_server);
        refused(line, &["pack", "make", "--all", "--out", &out], at_server);
        refused(line, &["pack", "rotate-key"], at_server);
        let of_server = "everything else is there";
        refused(line, &["audit", "prune", "--keep", "5"], of_server);
        refused(line, &["notices", "list"], of_server);
        let keys = "change keys there";
        refused(line, &["key", "list"], keys);
        refused(line, &["key", "issue", "k"], keys);
        refused(line, &["user", "list"], keys);
        refused(line, &["workspace", "list"], keys);
        refused(line, &["policy", "list"], keys);
        refused(line, &["catalog", "list"], keys);
        refused(line, &["doctor", "accept", "key", "k3J9aQ0xZb"], keys);
    });
}

#[test]
fn commands_that_help_work_at_a_site() {
    let pair = Pair::new();
    let key = pair.server.admin().issue(json!({ "name": "k" }));
    let site = &pair.site;
    let ran = site.line.run(&["doctor"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stdout.contains("there is no pack yet"), "{ran:?}");
    pair.bring();
    let pack = site.packs().pop().unwrap().display().to_string();
    let count = std::cell::Cell::new(0);
    running_and_stopped(site, |line| {
        let said = line.ok(&["doctor"]);
        for part in [
            "plant-7 of server.example",
            "pack 1 is in force",
            "it counts until",
            "tombstones",
        ] {
            assert!(said.contains(part), "{part}: {said}");
        }
        let shown = line.ok(&["pack", "show", &pack]);
        assert!(
            shown.contains("good") && shown.contains("signed by"),
            "{shown}"
        );
        assert_eq!(
            line.json(&["pack", "show", &pack])["not_signed"],
            json!(null)
        );
        line.ok(&["audit", "list"]);
        line.ok(&["audit", "verify"]);
        line.ok(&["clock"]);
        let ran = line.run_with_input(&["key", "verify"], &format!("{}\n", key.secret));
        assert!(ran.stdout.contains("VALID"), "{ran:?}");
        count.set(count.get() + 1);
        let bundle = site.path(&format!("bundle-{}", count.get()));
        line.ok(&["support-bundle", bundle.to_str().unwrap()]);
        let text = fs::read_to_string(bundle).unwrap();
        assert!(text.contains("age of the pack"), "{text}");
    });
}

#[test]
fn a_pack_is_shown_without_any_folder() {
    let pair = Pair::new();
    pair.make(&[]);
    let pack = pair.site.packs().pop().unwrap();
    let empty = fresh_folder();
    fs::create_dir_all(&empty).unwrap();
    for data in [empty.clone(), empty.join("nothing")] {
        let shown = Line::at(&data).ok(&["pack", "show", pack.to_str().unwrap()]);
        assert!(shown.contains("not checked"), "{shown}");
    }
}

#[test]
fn commands_of_a_site_say_at_a_server_that_it_is_one() {
    let pair = Pair::new();
    pair.make(&[]);
    let stick = pair.site.stick().display().to_string();
    let why = "is the data folder of a server, and this command is for a site";
    for args in [
        &["pack", "apply", &stick][..],
        &["pack", "apply", "--qr-text", "LKREV1:0"],
        &["pack", "watch", &stick],
        &["site", "status"],
        &["site", "disable", "k3J9aQ0xZb", "--yes"],
        &["site", "report", "--out", &stick],
        &["site", "reset", "--yes"],
    ] {
        refused(&pair.line(), args, why);
    }
}

#[test]
fn a_management_key_of_the_server_asks_for_verdicts_at_a_site_and_nothing_else() {
    let pair = Pair::new();
    let body = json!({ "name": "all", "catalog": "latchkey", "scopes": ["server:admin", "audit:read", "keys:verify"] });
    let management = pair.server.admin().issue(body);
    let key = pair.server.admin().issue(json!({ "name": "k" }));
    pair.bring();
    let running = pair.site.serve();
    let caller = running.bearer(&management.secret);
    assert_eq!(caller.verdict(&key.secret), "VALID");
    for path in [
        "/v1/audit-events",
        "/v1/audit-events/chain",
        "/v1/clock",
        "/v1/doctor",
        "/v1/packs/signing-keys",
        "/v1/site",
    ] {
        assert_eq!(caller.get(path).status, 403, "{path}");
        assert_eq!(running.local().get(path).status, 200, "{path}");
    }
    assert_eq!(caller.post("/v1/clock/accept", json!({})).status, 403);
    assert_eq!(caller.post("/v1/doctor/bundle", json!({})).status, 403);
}

#[test]
fn a_workspace_that_the_site_does_not_have_is_reached_by_no_key() {
    let pair = Pair::new();
    let admin = pair.server.admin();
    let key = admin.issue(json!({ "name": "k" }));
    pair.bring();
    let later = admin.workspace("later", "root");
    let running = pair.site.serve();
    for workspace in ["nowhere", "later", &later] {
        let question = json!({ "key": key.secret, "workspace": workspace });
        let answer = running
            .local()
            .post("/v1/verify", question)
            .expect(200)
            .json();
        assert_eq!(answer["code"], "OUTSIDE_WORKSPACE", "{answer}");
        let unknown = json!({ "key": "lk_0000000000", "workspace": workspace });
        let answer = running
            .local()
            .post("/v1/verify", unknown)
            .expect(200)
            .json();
        assert_eq!(answer["code"], "MALFORMED", "{answer}");
    }
}
