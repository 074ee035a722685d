//! Uses that a site was lent, when it is enrolled a second time; and a server whose folder was replaced by an older copy.

use serde_json::json;

use super::{Pair, Site};
use crate::command_line::{Line, Ran};
use crate::support::{Issued, Server};

/// Spends uses of a key until it has none, and returns how many it had.
fn spend(running: &Server, secret: &str) -> u64 {
    let mut spent = 0;
    while running.local().verdict(secret) == "VALID" {
        spent += 1;
        assert!(spent < 1_000);
    }
    spent
}

/// A site that has spent the 100 uses that it was lent of a key with 250.
fn spent() -> (Pair, Issued) {
    let pair = Pair::new();
    let body = json!({ "name": "counted", "uses_left": 250 });
    let key = pair.server.admin().issue(body);
    pair.bring();
    let running = pair.site.serve();
    assert_eq!(spend(&running, &key.secret), 100);
    (pair, key)
}

/// Makes a site again of the enrolment file of another one.
fn init(site: &Site, again: &Line) -> Ran {
    let [file, passphrase] =
        ["enrolment", "passphrase"].map(|name| site.path(name).display().to_string());
    again.run(&["site", "init", &file, "--passphrase-file", &passphrase])
}

#[test]
fn a_site_that_is_made_again_of_the_same_file_spends_nothing_a_second_time() {
    let (pair, key) = spent();
    let (server, site) = (&pair.server, &pair.site);
    // The folder is lost, and the stick still has the pack.
    let again = Line::at(&site.path("again"));
    // An attempt that fails leaves no database, which would be in the way of the next one.
    let node_id = again.data().join("node-id");
    let private = std::os::unix::fs::DirBuilderExt::mode(&mut std::fs::DirBuilder::new(), 0o700)
        .create(again.data());
    private.unwrap();
    std::fs::write(&node_id, "strange").unwrap();
    let ran = init(site, &again);
    assert_ne!(ran.code, Some(0), "{ran:?}");
    assert!(ran.stderr.contains("node-id"), "{ran:?}");
    std::fs::remove_file(&node_id).unwrap();
    let ran = init(site, &again);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(
        ran.stderr.contains("a site was made of this file before"),
        "{ran:?}"
    );
    let stick = site.stick().display().to_string();
    again.ok(&["pack", "apply", &stick]);
    let status = again.json(&["site", "status"]);
    assert_eq!(status["may_spend"], false);
    let said = again.ok(&["doctor"]);
    assert!(said.contains("--life"), "{said}");
    let running = Server::serve_site(again.data(), &[], &[]);
    assert_eq!(spend(&running, &key.secret), 0);

    // The reports of both lives have names of their own, and the server learns of the second one.
    site.line.ok(&["site", "report", "--out", &stick]);
    again.ok(&["site", "report", "--out", &stick]);
    let reports = std::fs::read_dir(site.stick()).unwrap().flatten();
    let reports = reports.filter(|entry| {
        entry
            .path()
            .extension()
            .is_some_and(|end| end == "lkreport")
    });
    assert_eq!(reports.count(), 2);
    let line = pair.line();
    let life = status["life"].as_str().unwrap();
    line.ok(&["site", "edit", "plant-7", "--life", life]);
    assert_eq!(
        line.json(&["site", "show", "plant-7"])["life"],
        status["life"]
    );
    pair.make(&[]);
    again.ok(&["pack", "apply", &stick]);
    assert_eq!(spend(&running, &key.secret), 100);
    // What is left at the server.
    assert_eq!(spend(server, &key.secret), 50);
}

/// The first machine spends what it was lent, and is lost before it has reported. The second one is known to be another life by its report.
#[test]
fn a_site_that_is_made_again_spends_nothing_a_second_time_if_only_it_reports() {
    let (pair, key) = spent();
    let (server, site) = (&pair.server, &pair.site);
    let again = Line::at(&site.path("again"));
    let ran = init(site, &again);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let stick = site.stick().display().to_string();
    again.ok(&["pack", "apply", &stick]);
    again.ok(&["site", "report", "--out", &stick]);
    pair.line().ok(&["site", "collect", &stick]);
    pair.make(&[]);
    again.ok(&["pack", "apply", &stick]);
    let running = Server::serve_site(again.data(), &[], &[]);
    assert_eq!(spend(&running, &key.secret), 100);
    assert_eq!(spend(server, &key.secret), 50);
}

#[test]
fn an_enrolment_that_fails_leaves_its_file_unmarked() {
    let pair = Pair::new();
    let folder = pair.site.path("another");
    let folder = folder.display().to_string();
    let [file, passphrase, data] =
        ["enrolment", "passphrase", "data"].map(|name| format!("{folder}/{name}"));
    std::fs::create_dir(&folder).unwrap();
    std::fs::copy(pair.site.path("passphrase"), &passphrase).unwrap();
    let add = [
        "site",
        "add",
        "ship-2",
        "--workspace",
        "root",
        "--out",
        &file,
    ];
    let with = ["--passphrase-file", &passphrase];
    pair.line().ok(&[&add[..], &with].concat());
    let before = std::fs::read(&file).unwrap();
    let line = Line::at(std::path::Path::new(&data));
    let init = [&["site", "init", &file][..], &with].concat();
    let private = std::os::unix::fs::DirBuilderExt::mode(&mut std::fs::DirBuilder::new(), 0o700)
        .create(line.data());
    private.unwrap();
    let node_id = line.data().join("node-id");
    std::fs::write(&node_id, "0".repeat(32)).unwrap();
    let ran = line.run(&init);
    assert_ne!(ran.code, Some(0), "{ran:?}");
    assert_eq!(std::fs::read(&file).unwrap(), before);
    std::fs::remove_file(&node_id).unwrap();
    let ran = line.run(&init);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(!ran.stderr.contains("was made of this file"), "{ran:?}");
    assert_ne!(std::fs::read(&file).unwrap(), before, "it is marked now");
    assert_eq!(line.json(&["site", "status"])["may_spend"], true);
}

#[test]
fn what_a_removed_site_was_lent_stays_spent_unless_it_is_returned() {
    for (args, left) in [(&[][..], 150), (&["--return-uses"][..], 250)] {
        let pair = Pair::new();
        let body = json!({ "name": "counted", "uses_left": 250 });
        let key = pair.server.admin().issue(body);
        pair.bring();
        let remove = [&["site", "remove", "plant-7", "--yes"][..], args].concat();
        let said = pair.line().ok(&remove);
        let word = if args.is_empty() {
            "stay spent"
        } else {
            "got 100 uses back"
        };
        assert!(said.contains(word), "{said}");
        assert_eq!(spend(&pair.server, &key.secret), left);
    }
}

#[test]
fn an_older_copy_of_the_whole_folder_of_the_server_is_noticed() {
    let mut pair = Pair::new();
    let admin = pair.server.admin();
    let (one, two) = (
        admin.issue(json!({ "name": "one" })),
        admin.issue(json!({ "name": "two" })),
    );
    pair.bring();
    let copy = pair.site.path("copy");
    pair.server.stop();
    Site::copy(&pair.server.data, &copy);
    pair.server.restart();
    pair.server
        .admin()
        .delete(&format!("/v1/keys/{}", one.id))
        .expect(204);
    pair.bring();
    let running = pair.site.serve();
    assert_eq!(running.local().verdict(&one.secret), "NOT_FOUND");

    // With its tombstones, so it does not notice anything itself.
    pair.server.stop();
    let data = pair.server.data.clone();
    Site::copy(&copy, &data);
    pair.server.restart();
    let admin = pair.server.admin();
    for number in 0..20 {
        admin.issue(json!({ "name": format!("k{number}") }));
    }
    for _ in 0..4 {
        pair.make(&[]);
    }
    let stick = pair.site.stick();
    let ran = pair.site.try_apply(&stick);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(
        ran.stderr
            .contains("an older copy of its folder was put back"),
        "{ran:?}"
    );
    assert_eq!(running.local().verdict(&one.secret), "NOT_FOUND");
    assert_eq!(pair.site.status()["fork"], "seen");
    let ran = pair.site.line.run(&["doctor"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stdout.contains("latchkey site reset"), "{ran:?}");
    pair.site.line.ok(&["site", "reset", "--yes"]);
    pair.site.apply();
    assert_eq!(
        running.local().verdict(&one.secret),
        "DISABLED",
        "what has ended stays ended"
    );
    assert_eq!(running.local().verdict(&two.secret), "VALID");
}
