//! The pages of sites in the console of the server, with a real site.

use std::fs;

use serde_json::{Value, json};

use super::Pair;
use crate::console::Visitor;
use crate::support::{PASSWORD, Server};

/// The events about sites, the newest first.
fn actions(server: &Server) -> Vec<String> {
    let events = server
        .local()
        .get("/v1/audit-events?action=site")
        .expect(200)
        .json();
    let items = events["items"].as_array().unwrap();
    let action = |event: &Value| event["action"].as_str().unwrap().to_owned();
    items.iter().map(action).collect()
}

/// The report that the site makes now.
fn report(pair: &Pair) -> String {
    let folder = pair.site.path("reports");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir(&folder).unwrap();
    pair.site
        .line
        .ok(&["site", "report", "--out", folder.to_str().unwrap()]);
    let mut files = fs::read_dir(folder).unwrap();
    fs::read_to_string(files.next().unwrap().unwrap().path()).unwrap()
}

/// Takes in a report through the page.
#[track_caller]
fn collect(owner: &mut Visitor, report: &str) {
    owner.get("/console/sites").expect(200);
    let taken = owner.upload("/console/site-reports", &[], report);
    assert_eq!(
        taken.expect(303).header("location"),
        Some("/console/sites/plant-7")
    );
}

#[test]
fn packs_revocations_and_reports_travel_through_pages() {
    let pair = Pair::new();
    let (admin, site) = (pair.server.admin(), &pair.site);
    let ends = admin.issue(json!({ "name": "ends" }));
    let counted = admin.issue(json!({ "name": "counted", "uses_left": 500 }));
    let mut owner = Visitor::owner(&pair.server);
    let home = owner.get("/console").expect(200).text();
    assert!(home.contains("href=\"/console/sites\""), "{home}");
    let page = owner.get("/console/sites").expect(200).text();
    assert!(
        page.contains("plant-7") && page.contains("No pack yet"),
        "{page}"
    );

    // A pack is made and downloaded, and the site applies the file as it is.
    owner.get("/console/sites/plant-7").expect(200);
    owner
        .post("/console/sites/plant-7/packs", &[("kind", "difference")])
        .expect(303);
    let page = owner.get("/console/sites/plant-7").expect(200).text();
    assert!(page.contains("The pack has been made."), "{page}");
    assert!(page.contains("Never reported"), "{page}");
    let packs = pair.server.data.join("packs/plant-7");
    let file = owner.get("/console/sites/plant-7/packs/1").expect(200);
    assert_eq!(
        file.header("content-disposition"),
        Some("attachment; filename=\"000001.lkpack\"")
    );
    assert_eq!(file.body, fs::read(packs.join("000001.lkpack")).unwrap());
    let carried = site.stick().join("000001.lkpack");
    fs::write(&carried, &file.body).unwrap();
    let ran = site.try_apply(&carried);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    for missing in ["2", "0", "x"] {
        let path = format!("/console/sites/plant-7/packs/{missing}");
        owner.get(&path).expect(404);
    }
    let running = site.serve();
    assert_eq!(running.local().verdict(&ends.secret), "VALID");

    // What the site reports is taken in once.
    let first = report(&pair);
    collect(&mut owner, &first);
    let page = owner.get("/console/sites/plant-7").expect(200).text();
    assert!(page.contains("The report has been taken in."), "{page}");
    assert!(page.contains("Up to date"), "{page}");
    assert!(
        page.contains("Lent uses") && page.contains("counted"),
        "{page}"
    );
    collect(&mut owner, &first);
    let page = owner.get("/console/sites/plant-7").expect(200).text();
    assert!(page.contains("Nothing has changed."), "{page}");

    // A key ends here: the site is not known to have heard of it, and a code ends it there.
    admin.delete(&format!("/v1/keys/{}", ends.id)).expect(204);
    admin.issue(json!({ "name": "newer" }));
    let page = owner.get("/console/sites").expect(200).text();
    assert!(page.contains("1 revocation is not confirmed."), "{page}");
    let page = owner.get("/console/sites/plant-7").expect(200).text();
    assert!(page.contains("Lacks revocations"), "{page}");
    let lacks = page.split("id=\"lacks\"").nth(1).unwrap();
    let lacks = lacks.split("</section>").next().unwrap();
    assert!(
        lacks.contains(&ends.id) && lacks.contains("ends"),
        "{lacks}"
    );
    let changed = page.split("id=\"changed\"").nth(1).unwrap();
    assert!(changed.contains("newer"), "{changed}");
    let codes = owner.post("/console/sites/plant-7/revocations", &[]);
    let codes = codes.expect(200).text();
    assert!(codes.contains("<svg class=\"qr large\""), "{codes}");
    let text = codes.split(">LKREV1:").nth(1).unwrap();
    let text = format!("LKREV1:{}", text.split('<').next().unwrap());
    let said = site.line.ok(&["pack", "apply", "--qr-text", &text]);
    assert!(said.contains("1 could still be used"), "{said}");
    assert_eq!(running.local().verdict(&ends.secret), "DISABLED");

    // With the next pack and the report on it, all is confirmed.
    pair.bring();
    collect(&mut owner, &report(&pair));
    let page = owner.get("/console/sites").expect(200).text();
    assert!(page.contains("Up to date"), "{page}");
    assert!(!page.contains("not confirmed."), "{page}");
    owner.get("/console/sites/plant-7").expect(200);
    let none = owner.post("/console/sites/plant-7/revocations", &[]);
    assert!(none.expect(409).text().contains("No key has ended since."));
    assert_eq!(
        actions(&pair.server),
        [
            "site.report",
            "site.pack",
            "site.revocations",
            "site.report",
            "site.pack",
            "site.add"
        ]
    );
    assert_eq!(admin.key(&counted.id)["uses_left"], 400);
}

#[test]
fn a_key_that_was_ended_at_a_site_is_disabled_here_with_one_button() {
    let pair = Pair::new();
    let admin = pair.server.admin();
    let [bad, good] = ["bad", "good"].map(|name| admin.issue(json!({ "name": name })));
    pair.bring();
    pair.site.line.ok(&["site", "disable", &bad.id, "--yes"]);
    let mut owner = Visitor::owner(&pair.server);
    collect(&mut owner, &report(&pair));
    let page = owner.get("/console/sites/plant-7").expect(200).text();
    assert!(page.contains("Disable here too"), "{page}");
    assert!(!page.contains(&good.id), "{page}");
    let disable = |id: &str| format!("/console/sites/plant-7/keys/{id}/disable");
    // The site has not proposed the other key.
    owner.post(&disable(&good.id), &[]).expect(404);
    assert_eq!(admin.verdict(&good.secret), "VALID");
    assert_eq!(admin.verdict(&bad.secret), "VALID", "only a proposal");
    owner.get("/console/sites/plant-7").expect(200);
    owner.post(&disable(&bad.id), &[]).expect(303);
    assert_eq!(admin.verdict(&bad.secret), "DISABLED");
    let page = owner.get("/console/sites/plant-7").expect(200).text();
    assert!(page.contains("The key is disabled."), "{page}");
    assert!(!page.contains("Disable here too"), "{page}");
}

#[test]
fn what_a_site_is_given_is_edited_and_a_site_is_removed() {
    let pair = Pair::new();
    let admin = pair.server.admin();
    admin.workspace("emea", "root");
    let mut owner = Visitor::owner(&pair.server);
    owner.get("/console/sites/plant-7/edit").expect(200);
    let before = owner.value("before").unwrap();
    let edit = |until: &'static str, unit: &'static str, workspaces: &'static str| {
        [
            ("workspaces[]", workspaces),
            ("names", "no"),
            ("until", until),
            ("until_unit", unit),
            ("lend", "7"),
            ("max_stale", "20"),
        ]
    };
    let send = |owner: &mut Visitor, fields: &[(&str, &str)]| {
        let all = [&[("before", before.as_str())], fields].concat();
        owner.post("/console/sites/plant-7/edit", &all)
    };
    for (fields, words) in [
        (edit("59", "seconds", "emea"), "Must be between 60 and"),
        (edit("x", "days", "emea"), "Must be a whole number."),
        (
            edit("7", "weeks", "emea"),
            "Must be one of the offered values.",
        ),
        (edit("7", "days", "nowhere"), "There is no such workspace"),
    ] {
        let refused = send(&mut owner, &fields).expect(422).text();
        assert!(refused.contains(words), "{words}: {refused}");
        assert!(refused.contains("value=\"7\""), "what was typed stays");
    }
    // Another user changes something else meanwhile, which stays.
    let lend = json!({ "catalogs": ["latchkey"] });
    admin.patch("/v1/sites/plant-7", lend).expect(200);
    send(&mut owner, &edit("12", "hours", "emea")).expect(303);
    let site = admin.get("/v1/sites/plant-7").expect(200).json();
    assert_eq!(site["workspaces"], json!(["emea"]));
    assert_eq!(site["catalogs"], json!(["latchkey"]));
    assert_eq!(
        (&site["minimal"], &site["until_s"], &site["lend"]),
        (&json!(true), &json!(43_200), &json!(7))
    );

    let page = owner
        .get("/console/sites/plant-7/remove")
        .expect(200)
        .text();
    assert!(
        page.contains("latchkey site remove plant-7 --rotate"),
        "{page}"
    );
    owner.post("/console/sites/plant-7/remove", &[]).expect(303);
    let page = owner.get("/console/sites").expect(200).text();
    assert!(page.contains("There is no site yet."), "{page}");
    owner.get("/console/sites/plant-7").expect(404);
    admin.get("/v1/sites/plant-7").expect(404);
    assert_eq!(actions(&pair.server)[0], "site.remove");
}

#[test]
fn the_commands_of_a_new_site_are_written_and_nothing_is_enrolled() {
    let server = Server::start();
    server.admin().workspace("emea", "root");
    let mut owner = Visitor::owner(&server);
    // Before the first site, the navigation does not lead there, and one page does.
    let home = owner.get("/console").expect(200).text();
    assert!(!home.contains("\"/console/sites\""), "{home}");
    let connect = owner.get("/console/connect").expect(200).text();
    assert!(connect.contains("\"/console/sites\""), "{connect}");
    let none = owner.get("/console/sites").expect(200).text();
    assert!(none.contains("There is no site yet."), "{none}");
    let rest = "names=no&until=30&until_unit=days&lend=100&max_stale=10";
    for (asked, words) in [
        ("name=Plant&workspaces[]=emea", "Must be 1 to 63 characters"),
        ("name=plant", "Must have 1 to 1000 entries"),
        (
            "name=plant&workspaces[]=nowhere",
            "There is no such workspace",
        ),
        (
            "name=plant&workspaces[]=emea&server=a%20b",
            "keys.example.com",
        ),
        (
            "name=plant&workspaces[]=emea&catalogs[]=x",
            "Is not a catalog",
        ),
    ] {
        let path = format!("/console/new-site?{asked}&{rest}");
        let refused = owner.get(&path).text();
        assert!(refused.contains(words), "{words}: {refused}");
        assert!(!refused.contains("latchkey site add"), "{refused}");
    }
    let asked = "name=plant-9&workspaces[]=emea&workspaces[]=root&catalogs[]=latchkey&server=keys.example.com";
    let page = owner.get(&format!("/console/new-site?{asked}&{rest}"));
    let page = page.expect(200).text();
    let data = server.data.display();
    let command = format!(
        "latchkey site add plant-9 --workspace emea --workspace root --catalog latchkey --minimal --until 30d \
         --server-name keys.example.com --out plant-9.enrol --data {data}"
    );
    assert!(page.contains(&command), "{command}: {page}");
    assert!(page.contains("latchkey site init plant-9.enrol"), "{page}");
    let sites = server.local().get("/v1/sites").expect(200).json();
    assert_eq!(sites["items"], json!([]));
    assert_eq!(actions(&server), Vec::<String>::new());
}

/// Attack case 117 for these pages: each role sees all of them, or none of them, and no entry of the navigation.
#[test]
fn only_users_who_administer_the_server_see_sites() {
    let pair = Pair::new();
    let admin = pair.server.admin();
    let key = admin.issue(json!({ "name": "k" }));
    pair.bring();
    pair.site.line.ok(&["site", "disable", &key.id, "--yes"]);
    let text = report(&pair);
    admin.workspace("emea", "root");
    let roles = [
        ("ada", "administrator", "root"),
        ("kim", "key_manager", "root"),
        ("aud", "auditor", "root"),
        ("mia", "member", "root"),
        ("eve", "owner", "emea"),
    ];
    for (name, role, workspace) in roles {
        admin.person(name, role, workspace);
    }
    let at = "/console/sites/plant-7";
    let reads = [
        "/console/sites".to_owned(),
        "/console/new-site".to_owned(),
        at.to_owned(),
        format!("{at}/edit"),
        format!("{at}/remove"),
        format!("{at}/packs/1"),
    ];
    let writes = [
        format!("{at}/packs"),
        format!("{at}/revocations"),
        format!("{at}/keys/{}/disable", key.id),
        format!("{at}/edit"),
        format!("{at}/remove"),
    ];
    let before = actions(&pair.server).len();
    for (name, ..) in roles {
        let mut user = Visitor::new(&pair.server);
        user.sign_in(name, PASSWORD).expect(303);
        let home = user.get("/console").expect(200).text();
        assert!(!home.contains("/console/sites"), "{name}");
        assert!(
            !user
                .get("/console/connect")
                .text()
                .contains("/console/sites")
        );
        for path in &reads {
            assert_eq!(user.get(path).status, 403, "{name} {path}");
        }
        for path in &writes {
            user.get("/console/account");
            let fields = [("before", ""), ("until", "1"), ("until_unit", "days")];
            assert_eq!(user.post(path, &fields).status, 403, "{name} {path}");
        }
        user.get("/console/account");
        assert_eq!(user.upload("/console/site-reports", &[], &text).status, 403);
    }
    let allowed = pair
        .server
        .local()
        .get("/v1/audit-events?action=site&outcome=allowed");
    let allowed = allowed.expect(200).json();
    assert_eq!(allowed["items"].as_array().unwrap().len(), before);
    assert_eq!(admin.verdict(&key.secret), "VALID");
    let site = admin.get("/v1/sites/plant-7").expect(200).json();
    assert_eq!(site["applied"], Value::Null);
}

#[test]
fn a_file_that_is_no_report_of_a_site_changes_nothing() {
    let pair = Pair::new();
    pair.bring();
    let good = report(&pair);
    let mut owner = Visitor::owner(&pair.server);
    let changed = good.replacen("pack 1", "pack 9", 1);
    let strange = good.replacen("site plant-7", "site plant-8", 1);
    assert!(changed != good && strange != good);
    for (file, words) in [
        (changed.as_str(), "was changed"),
        (strange.as_str(), "does not have"),
        ("hello", "is not the report of a site"),
        ("", "is not the report of a site"),
    ] {
        owner.get("/console/sites").expect(200);
        let refused = owner.upload("/console/site-reports", &[], file);
        let refused = refused.expect(422).text();
        assert!(refused.contains(words), "{words}: {refused}");
    }
    let admin = pair.server.admin();
    let site = admin.get("/v1/sites/plant-7").expect(200).json();
    assert_eq!(site["applied"], Value::Null);
}

/// A browser of the machine of a site that was let in.
#[track_caller]
fn let_in(pair: &Pair, running: &Server) -> Visitor {
    let link = pair.site.line.json(&["site", "console"])["url"].clone();
    let link = link.as_str().unwrap();
    let path = link.split_once("/console/").unwrap().1;
    let mut browser = Visitor::new(running);
    let entered = browser.get(&format!("/console/{path}")).expect(303);
    assert_eq!(entered.header("location"), Some("/console/keys"));
    browser
}

#[test]
fn a_browser_at_a_site_sees_keys_and_why_one_does_not_work() {
    let pair = Pair::new();
    let admin = pair.server.admin();
    admin.person("carol", "key_manager", "root");
    let key = json!({ "name": "pump control", "owner": "carol", "scopes": ["pumps:read"], "expires_in_s": 864_000 });
    let key = admin.issue(key);
    let rotated = admin.issue(json!({ "name": "gateway" }));
    let ended = admin.issue(json!({ "name": "crane" }));
    let fresh = admin.rotate(&rotated.id, json!({ "grace_s": 3600 }));
    pair.bring();
    let newer = admin.issue(json!({ "name": "newer" }));
    let again = admin.rotate(&rotated.id, json!({ "grace_s": 0 }));
    pair.site.line.ok(&["site", "disable", &ended.id, "--yes"]);
    let running = pair.site.serve();
    let mut browser = let_in(&pair, &running);
    let page = browser.get("/console/keys").expect(200).text();
    for words in [
        "pump control",
        "gateway",
        "crane",
        "carol",
        "5 keys",
        "Disabled",
    ] {
        assert!(page.contains(words), "{words}: {page}");
    }
    assert!(!page.contains("newer"), "{page}");
    let found = browser.get("/console/keys?q=pump").expect(200).text();
    assert!(
        found.contains("pump control") && !found.contains("crane"),
        "{found}"
    );
    let none = browser.get("/console/keys?q=nothing").expect(200).text();
    assert!(none.contains("No key of this site matches."), "{none}");
    let long = format!("/console/keys?q={}", "ab%20".repeat(40));
    assert!(
        browser
            .get(&long)
            .expect(422)
            .text()
            .contains("100 characters")
    );

    // A secret leads to its key, with what is known about it, and gets into no address.
    let at = |id: &str, word: &str| format!("/console/keys/{id}?secret={word}");
    for (secret, location, words) in [
        (&key.secret, at(&key.id, "newest"), "is the newest one"),
        (
            &fresh.secret,
            at(&rotated.id, "newest"),
            "is the newest one",
        ),
        (&rotated.secret, at(&rotated.id, "older"), "It still works."),
        (
            &again.secret,
            at(&rotated.id, "other"),
            "does not know the secret",
        ),
    ] {
        let led = browser
            .send("/console/secret", &[("secret", secret)])
            .expect(303);
        assert_eq!(led.header("location"), Some(location.as_str()));
        let page = browser.get(&location).expect(200).text();
        assert!(
            page.contains(words) && !page.contains(secret.as_str()),
            "{words}: {page}"
        );
    }
    for (secret, words) in [
        (newer.secret.as_str(), "no key with the id"),
        ("hello", "no secret of Latchkey"),
        (&key.secret[..key.secret.len() - 1], "no secret of Latchkey"),
    ] {
        let known = browser.send("/console/secret", &[("secret", secret)]);
        let known = known.expect(200).text();
        assert!(
            known.contains(words) && !known.contains(secret),
            "{words}: {known}"
        );
    }
    let dropped = browser.get(&format!("/console/keys?q={}", key.secret));
    assert_eq!(
        dropped.expect(303).header("location"),
        Some("/console/keys")
    );

    let page = browser
        .get(&format!("/console/keys/{}", ended.id))
        .expect(200)
        .text();
    assert!(page.contains("by the operator of this site"), "{page}");
    let test = |scopes: &str| format!("/console/keys/{}?test=yes&scopes={scopes}&ip=", key.id);
    let good = browser.get(&test("pumps:read")).expect(200).text();
    assert!(good.contains("The key opens this request."), "{good}");
    let bad = browser.get(&test("pumps:write")).expect(200).text();
    assert!(bad.contains("INSUFFICIENT_SCOPE"), "{bad}");
    browser
        .get(&format!("/console/keys/{}", newer.id))
        .expect(404);
    // Nothing was counted, and there is nothing that changes something.
    for id in [&key.id, &ended.id] {
        let page = browser
            .get(&format!("/console/keys/{id}"))
            .expect(200)
            .text();
        assert!(!page.contains("method=\"post\""), "{page}");
    }
    let report = report(&pair);
    assert!(!report.contains(&key.id), "{report}");
}

#[test]
fn keys_at_a_site_are_shown_only_to_a_browser_that_its_administrator_let_in() {
    let pair = Pair::new();
    let key = pair.server.admin().issue(json!({ "name": "pump control" }));
    pair.bring();
    let said = pair.site.line.refused(&["site", "console"], 1);
    assert!(said.contains("the site does not run"), "{said}");
    let running = pair.site.serve();
    let own = format!("/console/keys/{}", key.id);
    let closed = |browser: &mut Visitor| {
        for path in ["/console/keys", &own, "/console/keys?q=pump"] {
            let answer = browser.get(path).expect(303);
            assert_eq!(answer.header("location"), Some("/console"), "{path}");
        }
        let answer = browser.send("/console/secret", &[("secret", &key.secret)]);
        assert_eq!(answer.expect(303).header("location"), Some("/console"));
        let page = browser.get("/console").expect(200).text();
        assert!(
            page.contains("latchkey site console") && !page.contains("pump"),
            "{page}"
        );
    };
    let mut stranger = Visitor::new(&running);
    closed(&mut stranger);
    let path = || {
        let link = pair.site.line.json(&["site", "console"])["url"].clone();
        let link = link.as_str().unwrap();
        format!("/console/{}", link.split_once("/console/").unwrap().1)
    };
    // A link counts once, a newer one takes its place, and nothing near it counts.
    let (first, second) = (path(), path());
    for bad in [
        "/console/open",
        "/console/open?code=",
        first.as_str(),
        &second[..second.len() - 1],
    ] {
        let refused = stranger.get(bad).expect(403).text();
        assert!(
            refused.contains("This link was used before"),
            "{bad}: {refused}"
        );
    }
    closed(&mut stranger);
    let mut browser = Visitor::new(&running);
    browser.get(&second).expect(303);
    browser.get(&own).expect(200);
    stranger.get(&second).expect(403);
    closed(&mut stranger);
    // A proxy that shows itself, and another site, get nothing with the cookie.
    let cookie = &browser.cookies[0];
    let cookie = format!("{}={}", cookie.0, cookie.1);
    let headers = [
        ("Cookie", cookie.as_str()),
        ("X-Forwarded-For", "192.0.2.1"),
    ];
    assert_eq!(
        running.call("GET", "/console/keys", &headers, None).status,
        403
    );
    let headers = [
        ("Cookie", cookie.as_str()),
        ("Origin", "https://evil.example"),
    ];
    let fields = b"secret=x".as_slice();
    let answer = running.call("POST", "/console/secret", &headers, Some(fields));
    assert!([403, 415].contains(&answer.status), "{}", answer.exchange());
    // Only the administrator of the machine makes links.
    let refused = running.anonymous().post("/v1/site/browsers", json!({}));
    assert!([401, 403].contains(&refused.status), "{}", refused.status);
    // A start forgets all browsers.
    drop(running);
    let running = pair.site.serve();
    let mut again = Visitor::new(&running);
    again.cookies = browser.cookies.clone();
    closed(&mut again);
}
