//! Sites: the pages of the server about them.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::harness::browser::Browser;
use crate::support::{Issued, Server, executable, fresh_folder, wait};

const PASSPHRASE: &str = "nine anchors in the meadow";

/// The folder of a site that was enrolled.
struct Site {
    name: &'static str,
    folder: PathBuf,
}

impl Site {
    #[track_caller]
    fn enrol(server: &Server, name: &'static str, more: Value) -> Site {
        let mut body = json!({
            "name": name, "workspaces": ["root"], "passphrase": PASSPHRASE, "server": "keys.example.com",
        });
        for (member, value) in more.as_object().unwrap() {
            body[member] = value.clone();
        }
        let enrolled = server.local().post("/v1/sites", body).expect(201).json();
        let folder = fresh_folder();
        let (file, passphrase) = (folder.join("enrolment"), folder.join("passphrase"));
        fs::write(&file, enrolled["enrolment"].as_str().unwrap()).unwrap();
        fs::write(&passphrase, format!("{PASSPHRASE}\n")).unwrap();
        let site = Site { name, folder };
        site.run(
            &["site", "init"],
            &[&file],
            &["--passphrase-file", passphrase.to_str().unwrap()],
        );
        site
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    #[track_caller]
    fn run(&self, command: &[&str], paths: &[&Path], more: &[&str]) {
        let paths = paths.iter().map(|path| path.to_str().unwrap());
        let all: Vec<&str> = command
            .iter()
            .copied()
            .chain(paths)
            .chain(more.iter().copied())
            .collect();
        self.output(&all);
    }

    /// What a command prints.
    #[track_caller]
    fn output(&self, command: &[&str]) -> String {
        let ran = executable(None)
            .args(command)
            .arg("--data")
            .arg(self.data())
            .output()
            .unwrap();
        assert!(ran.status.success(), "{ran:?}");
        String::from_utf8(ran.stdout).unwrap()
    }

    /// Makes the next pack at the server and applies it.
    #[track_caller]
    fn bring(&self, server: &Server) {
        let body = json!({ "sites": [self.name] });
        let made = server.local().post("/v1/packs", body).expect(201).json();
        let path = PathBuf::from(made["items"][0]["path"].as_str().unwrap());
        self.run(&["pack", "apply"], &[path.parent().unwrap()], &[]);
    }

    /// The file of a new report.
    #[track_caller]
    fn report(&self) -> PathBuf {
        let folder = fresh_folder();
        self.run(&["site", "report", "--out"], &[&folder], &[]);
        let file = fs::read_dir(folder).unwrap().next().unwrap().unwrap();
        file.path()
    }
}

/// A server with keys and with sites that stand in every way but one: a pack that has ended takes too long.
fn server_with_sites() -> (Server, Site, Vec<Issued>) {
    let server = Server::start();
    let admin = server.admin();
    for (slug, parent) in [("plants", "root"), ("ships", "root"), ("north", "plants")] {
        admin.workspace(slug, parent);
    }
    let mut keys: Vec<Issued> = [
        "gateway",
        "pump control",
        "door terminal",
        "crane",
        "meter reader",
    ]
    .into_iter()
    .map(|name| admin.issue(json!({ "name": name, "workspace": "plants" })))
    .collect();
    keys.push(admin.issue(json!({ "name": "tickets", "workspace": "north", "uses_left": 500 })));
    let plant = Site::enrol(
        &server,
        "plant-7",
        json!({ "workspaces": ["plants"], "until_s": 1_209_600 }),
    );
    let ship = Site::enrol(
        &server,
        "ship-aurora",
        json!({ "workspaces": ["ships", "plants"], "minimal": true }),
    );
    Site::enrol(
        &server,
        "harbour",
        json!({ "workspaces": ["ships"], "catalogs": ["latchkey"] }),
    );
    let kiosk = Site::enrol(&server, "kiosk", json!({ "workspaces": ["root"] }));
    for site in [&plant, &ship, &kiosk] {
        site.bring(&server);
    }
    plant.run(&["site", "disable", &keys[3].id, "--yes"], &[], &[]);
    for site in [&plant, &ship] {
        let text = fs::read(site.report()).unwrap();
        let answer = server.local().send(
            "POST",
            "/v1/packs/reports",
            "application/octet-stream",
            &text,
        );
        answer.expect(200);
    }
    (server, plant, keys)
}

#[test]
fn an_administrator_sees_what_each_site_lacks_and_what_to_do() {
    let (server, plant, keys) = server_with_sites();
    let admin = server.admin();
    let Some(browser) = Browser::signed_in(&server) else {
        return;
    };
    browser.navigate("Sites");
    browser.sees("Up to date");
    for key in &keys[..2] {
        admin.delete(&format!("/v1/keys/{}", key.id)).expect(204);
    }
    admin.issue(json!({ "name": "new gateway", "workspace": "plants" }));
    browser.go("/console/sites");
    browser.sees("4 revocations are not confirmed.");
    browser.inspect("sites");
    browser.press("plant-7");
    browser.sees("Lacks revocations");
    browser.sees("new gateway");
    browser.inspect("site");
    browser.press("Show as a QR code");
    browser.sees("2 keys.");
    browser.press("As text");
    browser.sees("LKREV1:");
    browser.inspect("site-revocations");
    browser.press("Back to the site");
    browser.press("Make a pack");
    browser.sees("The pack has been made.");
    plant.bring(&server);
    browser.go("/console/sites");
    browser
        .find("#file")
        .type_in(plant.report().to_str().unwrap());
    browser.press("Take it in");
    browser.sees("The report has been taken in.");
    browser.sees("Up to date");
    browser.find("#proposals button").click();
    browser.sees("The key is disabled.");
    assert_eq!(admin.verdict(&keys[3].secret), "DISABLED");
    browser.press("Enable again");
    browser.go("/console/sites/plant-7");
    browser.press("Edit");
    browser.sees("How long a pack counts");
    browser.inspect("site-edit");
    browser.fill("until", "12");
    browser.choose("Without names and metadata");
    browser.press("Save");
    browser.sees("12 days");
    browser.press("Remove");
    browser.sees("Remove this site?");
    browser.inspect("site-remove");
    browser.press("Remove");
    browser.sees("The site has been removed.");
}

#[test]
fn the_first_site_is_found_from_the_page_that_connects() {
    let server = Server::start();
    server.admin().workspace("plants", "root");
    let Some(browser) = Browser::signed_in(&server) else {
        return;
    };
    browser.navigate("Connect");
    browser.press("Sites");
    browser.sees("There is no site yet.");
    browser.inspect("sites-none");
    browser.press("Add a site");
    browser.fill("name", "Plant 7");
    browser.press("Show the commands");
    browser.sees("Must be 1 to 63 characters");
    browser.driver.complaints();
    browser.fill("name", "plant-7");
    browser.choose("plants (plants)");
    browser.press("Show the commands");
    browser.sees("latchkey site add plant-7 --workspace plants");
    browser.inspect("site-new");
}

#[test]
fn at_a_site_a_browser_shows_why_a_key_does_not_work() {
    let (server, plant, keys) = server_with_sites();
    let admin = server.admin();
    let rotated = admin.rotate(&keys[0].id, json!({ "grace_s": 0 }));
    let running = Server::serve_site(&plant.data(), &[], &[]);
    let Some(browser) = Browser::open_at(running.address) else {
        return;
    };
    browser.go("/console/keys");
    browser.sees("latchkey site console");
    browser.inspect("plant");
    let link = plant.output(&["site", "console", "--json"]);
    let link: Value = serde_json::from_str(&link).unwrap();
    let link = link["url"]
        .as_str()
        .unwrap()
        .split_once("/console/")
        .unwrap();
    browser.go(&format!("/console/{}", link.1));
    browser.sees("Keys of this site");
    browser.sees("pump control");
    browser.inspect("plant-keys");
    browser.fill("q", "crane");
    browser.press("Search");
    browser.sees("1 key");
    browser.press("crane");
    browser.sees("by the operator of this site");
    browser.press("Test");
    browser.sees("DISABLED");
    browser.inspect("plant-key");
    browser.press("Keys of this site");
    browser.fill("secret", &rotated.secret);
    browser.press("Find its key");
    browser.sees("this site does not know the secret");
    assert!(
        browser.place().ends_with("?secret=other"),
        "{}",
        browser.place()
    );
    browser.inspect("plant-key-rotated");
    browser.press("Keys of this site");
    browser.fill("secret", "lk_nothing");
    browser.press("Find its key");
    browser.sees("This is no secret of Latchkey");
    browser.inspect("plant-no-secret");
}

#[test]
fn a_live_link_is_seen_at_the_server_and_at_the_site() {
    let (server, ..) = server_with_sites();
    let admin = server.admin();
    let branch = Site::enrol(&server, "branch", json!({ "max_stale_s": 2 }));
    let ended = admin.issue(json!({ "name": "old till", "workspace": "plants" }));
    let url = format!("http://{}", server.address);
    let running = Server::serve_site(&branch.data(), &["--server", &url], &[]);
    wait::until("the site gives verdicts", || {
        running.call("GET", "/readyz", &[], None).status == 200
    });
    let Some(browser) = Browser::signed_in(&server) else {
        return;
    };
    browser.navigate("Sites");
    browser.sees("over a live link");
    browser.sees("Linked");
    browser.inspect("sites-linked");
    browser.press("branch");
    browser.sees("Revocations reach it at once");
    browser.inspect("site-linked");
    // The site is switched off, and a key ends before it could hear of it.
    drop(running);
    admin.delete(&format!("/v1/keys/{}", ended.id)).expect(204);
    wait::until("the site is not linked any more", || {
        admin.get("/v1/sites/branch").expect(200).json()["linked"] == false
    });
    browser.go("/console/sites/branch");
    browser.sees("Link is down");
    browser.sees("The site hears of it over its link as soon as it asks again.");
    browser.inspect("site-cut");
    let running = Server::serve_site(&branch.data(), &["--server", &url], &[]);
    wait::until("the site gives verdicts again", || {
        running.call("GET", "/readyz", &[], None).status == 200
    });
    browser.go("/console/sites/branch");
    browser.sees("it has all of them");
    let Some(here) = Browser::open_at(running.address) else {
        return;
    };
    here.go("/console");
    here.sees("The server answers.");
    here.inspect("plant-linked");
    drop(server);
    wait::until("the site gives no verdicts", || {
        running.call("GET", "/readyz", &[], None).status == 503
    });
    here.go("/console");
    here.sees("every verdict is refused");
    here.sees("cannot be reached");
    here.inspect("plant-cut");
}
