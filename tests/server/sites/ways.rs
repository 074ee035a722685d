//! The whole way: a key, a pack, a verdict, an end, a report. On a stick, through a folder, by a list on paper.

use std::process::Stdio;

use serde_json::json;

use super::{Pair, Site, question};
use crate::support::{executable, wait};

#[test]
fn a_stick_carries_keys_and_their_end_and_a_report_comes_back() {
    let pair = Pair::new();
    let (admin, site) = (pair.server.admin(), &pair.site);
    let stays = admin.issue(json!({ "name": "stays" }));
    let ends = admin.issue(json!({ "name": "ends" }));
    pair.make(&[]);
    // Before the site runs, as a command.
    let said = site.apply();
    assert!(said.contains("pack 1 is in force"), "{said}");
    let running = site.serve();
    let local = running.local();
    assert_eq!(local.verdict(&stays.secret), "VALID");
    assert_eq!(local.verdict(&ends.secret), "VALID");
    assert_eq!(running.call("GET", "/readyz", &[], None).status, 200);
    let answer = running.call("GET", "/auth/nginx", &[("X-API-Key", &stays.secret)], None);
    assert_eq!(answer.expect(200).header("x-auth-key-name"), Some("stays"));

    admin.delete(&format!("/v1/keys/{}", ends.id)).expect(204);
    assert_eq!(
        local.verdict(&ends.secret),
        "VALID",
        "nothing has travelled"
    );
    pair.bring();
    assert_eq!(local.verdict(&ends.secret), "NOT_FOUND");
    assert_eq!(local.verdict(&stays.secret), "VALID");
    let again = site.apply();
    assert!(again.contains("nothing is newer"), "{again}");

    site.line.ok(&["site", "disable", &stays.id, "--yes"]);
    assert_eq!(local.verdict(&stays.secret), "DISABLED");
    pair.bring();
    assert_eq!(local.verdict(&stays.secret), "DISABLED", "a site may end");
    let stick = site.stick();
    site.line
        .ok(&["site", "report", "--out", stick.to_str().unwrap()]);
    pair.line()
        .ok(&["site", "collect", stick.to_str().unwrap()]);
    let shown = pair.line().json(&["site", "show", "plant-7"]);
    assert_eq!(shown["applied"], 3, "{shown}");
    let ended = shown["ended_there"].to_string();
    assert!(ended.contains(&stays.id), "{shown}");
    for (line, name) in [(&pair.line(), "show plant-7"), (&site.line, "status")] {
        let command: Vec<&str> = ["site"].into_iter().chain(name.split(' ')).collect();
        let text = line.ok(&command);
        let ended = text.lines().find(|line| line.starts_with("ended "));
        let is_plain = |ended: &str| ended.contains(&stays.id) && !ended.contains('{');
        assert!(ended.is_some_and(is_plain), "{text}");
    }
    // What the site is known to have, and what it lacks.
    assert!(shown["as_of"].is_string(), "{shown}");
    assert_eq!(shown["changed_keys"], 0, "{shown}");
    admin.issue(json!({ "name": "new" }));
    let shown = pair.line().json(&["site", "show", "plant-7"]);
    assert_eq!(shown["changed_keys"], 1, "{shown}");
    let listed = pair.line().ok(&["site", "list"]);
    assert!(listed.contains("AS OF"), "{listed}");
    assert_eq!(admin.verdict(&stays.secret), "VALID", "only a proposal");
}

#[test]
fn a_folder_is_watched_and_a_file_that_still_grows_is_left_alone() {
    let pair = Pair::new();
    let site = &pair.site;
    let key = pair.server.admin().issue(json!({ "name": "k" }));
    let running = site.serve();
    let spool = site.path("spool");
    std::fs::create_dir(&spool).unwrap();
    let mut watch = executable(None)
        .args(["pack", "watch", "--every", "1s", "--data"])
        .arg(site.data())
        .arg(&spool)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    pair.make(&[]);
    let pack = site.packs().pop().unwrap();
    let bytes = std::fs::read(&pack).unwrap();
    let arriving = spool.join("a.lkpack");
    std::fs::write(&arriving, &bytes[..bytes.len() / 2]).unwrap();
    std::fs::write(&arriving, &bytes).unwrap();
    wait::until("the pack is in force", || {
        running
            .local()
            .post("/v1/verify", question(&key.secret))
            .status
            == 200
    });
    assert_eq!(running.local().verdict(&key.secret), "VALID");
    watch.kill().unwrap();
    watch.wait().unwrap();
}

#[test]
fn a_list_of_revocations_ends_keys_before_a_pack_does() {
    let pair = Pair::new();
    let (admin, site) = (pair.server.admin(), &pair.site);
    let key = admin.issue(json!({ "name": "k" }));
    pair.bring();
    let running = site.serve();
    assert_eq!(running.local().verdict(&key.secret), "VALID");
    admin.delete(&format!("/v1/keys/{}", key.id)).expect(204);
    let answer = pair
        .server
        .local()
        .post("/v1/packs/revocations", json!({ "site": "plant-7" }));
    let answer = answer.expect(200).json();
    let text = answer["codes"][0]
        .as_str()
        .unwrap_or_else(|| panic!("{answer}"));
    let list = site.path("codes.txt");
    std::fs::write(&list, format!("{text}\n")).unwrap();
    let list = list.display().to_string();
    let changed = site.path("changed.txt");
    let other = if text.ends_with('A') { 'B' } else { 'A' };
    std::fs::write(&changed, format!("{}{other}\n", &text[..text.len() - 1])).unwrap();
    site.line.refused(
        &["pack", "apply", "--qr-text", changed.to_str().unwrap()],
        1,
    );
    assert_eq!(running.local().verdict(&key.secret), "VALID");
    let said = site.line.ok(&["pack", "apply", "--qr-text", &list]);
    assert!(said.contains("1 could still be used"), "{said}");
    assert_eq!(running.local().verdict(&key.secret), "DISABLED");
    pair.bring();
    assert_eq!(running.local().verdict(&key.secret), "NOT_FOUND");
    site.line.ok(&["pack", "apply", "--qr-text", text]);
}

#[test]
fn a_site_verifies_for_callers_that_have_a_key_of_the_server() {
    let pair = Pair::new();
    let admin = pair.server.admin();
    let key = admin.issue(json!({ "name": "k", "scopes": ["a:read"] }));
    let verifier = admin
        .issue(json!({ "name": "verifier", "catalog": "latchkey", "scopes": ["keys:verify"] }));
    pair.bring();
    let running = pair.site.serve();
    let caller = running.bearer(&verifier.secret);
    assert_eq!(caller.verdict(&key.secret), "VALID");
    let stranger = running.anonymous().with("Latchkey-Local", "");
    let refused = stranger.post("/v1/verify", question(&key.secret));
    assert_eq!(refused.status, 401);
    assert_eq!(caller.get("/v1/site").status, 403);
    let form = format!("token={}", key.secret);
    let kind = "application/x-www-form-urlencoded";
    let answer = caller.send("POST", "/v1/introspect", kind, form.as_bytes());
    assert_eq!(answer.expect(200).json()["active"], true);
    let metrics = running.local().get("/metrics").expect(200).text();
    assert!(metrics.contains("latchkey_pack_age_seconds"), "{metrics}");
}

#[test]
fn one_stick_serves_several_sites() {
    let pair = Pair::new();
    let other = Site::enrol(&pair.server, "ship-2", &[]);
    let key = pair.server.admin().issue(json!({ "name": "k" }));
    let stick = pair.site.stick();
    pair.line()
        .ok(&["pack", "make", "--all", "--out", stick.to_str().unwrap()]);
    pair.site.apply();
    other.line.ok(&["pack", "apply", stick.to_str().unwrap()]);
    let running = other.serve();
    assert_eq!(running.local().verdict(&key.secret), "VALID");
    // The pack of the other site, named as a file.
    let foreign = pair.site.packs().pop().unwrap();
    let ran = other.try_apply(&foreign);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stderr.contains("it is for the site plant-7"), "{ran:?}");
    assert_eq!(running.local().verdict(&key.secret), "VALID");
}
