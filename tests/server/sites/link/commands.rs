//! The commands of a server that wait for its sites.

use std::fs;

use super::super::Site;
use super::{await_verdict, follow, url_of, verdict};
use crate::command_line::Line;
use crate::support::Server;
use serde_json::json;

/// A file for a command.
fn file(site: &Site, name: &str, content: &str) -> String {
    let path = site.path(name);
    fs::write(&path, content).unwrap();
    path.to_str().unwrap().to_owned()
}

/// A command, and what the site answers right after it: the code for a secret, where the command changes it.
type Step<'a> = (&'a [&'a str], Option<(&'a String, &'a str)>);

#[test]
fn commands_of_users_workspaces_policies_and_catalogs_wait_for_the_sites() {
    let server = Server::start();
    let site = Site::enrol(&server, "plant-7", &[]);
    let (admin, line) = (server.admin(), Line::of(&server));
    let billing = json!({ "name": "billing", "scopes": [{ "name": "a:read" }], "operations": [] });
    let catalog = file(&site, "billing.json", &billing.to_string());
    line.ok(&["catalog", "put", &catalog]);
    let strict = file(
        &site,
        "strict.json",
        &json!({ "name": "strict" }).to_string(),
    );
    line.ok(&["policy", "put", &strict]);
    line.ok(&["user", "create", "ann"]);
    line.ok(&["workspace", "create", "emea"]);
    let of_ann = admin.issue(json!({ "name": "a", "owner": "ann" })).secret;
    let of_emea = admin
        .issue(json!({ "name": "e", "workspace": "emea" }))
        .secret;
    let running = follow(&site, &url_of(&server), "10s");
    for secret in [&of_ann, &of_emea] {
        await_verdict(&running, secret, "VALID");
    }
    let steps: &[Step<'_>] = &[
        (
            &["user", "disable", "ann"],
            Some((&of_ann, "OWNER_DISABLED")),
        ),
        (&["user", "enable", "ann"], Some((&of_ann, "VALID"))),
        (&["user", "edit", "ann", "--email", "ann@example.com"], None),
        (&["user", "roles", "ann", "--set", "auditor@emea"], None),
        (
            &["workspace", "disable", "emea"],
            Some((&of_emea, "WORKSPACE_DISABLED")),
        ),
        (&["workspace", "enable", "emea"], Some((&of_emea, "VALID"))),
        (&["workspace", "edit", "emea", "--name", "Europe"], None),
        (&["catalog", "put", &catalog], None),
        (&["policy", "put", &strict], None),
        (
            &["workspace", "delete", "emea", "--recursive", "--yes"],
            Some((&of_emea, "NOT_FOUND")),
        ),
        (
            &["user", "delete", "ann", "--yes"],
            Some((&of_ann, "OWNER_DISABLED")),
        ),
    ];
    for (command, expected) in steps {
        let printed = line.ok(&[command, &["--wait-sites"][..]].concat());
        assert!(
            printed.contains("sites: plant-7=applied"),
            "{command:?}: {printed}"
        );
        if let Some((secret, code)) = expected {
            assert_eq!(verdict(&running, secret), *code, "{command:?}");
        }
    }
}

#[test]
fn a_command_without_a_terminal_names_the_option_of_the_passphrase() {
    let server = Server::start();
    let site = Site::enrol(&server, "plant-7", &[]);
    let out = site.path("other.enrol");
    let add = ["site", "add", "ship-2", "--workspace", "root", "--out"];
    let refused = Line::of(&server).refused(&[&add[..], &[out.to_str().unwrap()]].concat(), 2);
    assert!(refused.contains("no passphrase was given"), "{refused}");
    assert!(refused.contains("--passphrase-file"), "{refused}");
    assert!(!out.exists());
}

#[test]
fn a_site_that_is_given_less_has_the_rest_no_longer_when_the_answer_comes() {
    let server = Server::start();
    let site = Site::enrol(&server, "plant-7", &[]);
    let admin = server.admin();
    admin.workspace("part", "root");
    let of_root = admin.issue(json!({ "name": "k" }));
    let of_part = admin.issue(json!({ "name": "p", "workspace": "part" }));
    let running = follow(&site, &url_of(&server), "10s");
    await_verdict(&running, &of_root.secret, "VALID");
    let line = Line::of(&server);
    let edit = ["site", "edit", "plant-7", "--workspace", "part"];
    let said = line.ok(&[&edit[..], &["--wait-sites"]].concat());
    assert!(said.contains("plant-7"), "{said}");
    assert_ne!(verdict(&running, &of_root.secret), "VALID");
    await_verdict(&running, &of_part.secret, "VALID");
    assert_eq!(verdict(&running, &of_root.secret), "NOT_FOUND");
}
