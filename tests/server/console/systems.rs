//! Which systems have pages in the console: chosen at the set-up, switched later, or configured.

use super::Visitor;
use super::setup::{Unset, initialised};
use crate::support::{PASSWORD, Server, executable, fresh_folder};
use serde_json::json;

/// The menus that the four systems' documents name: product, menu, page.
const MENUS: [(&str, &str, &str); 4] = [
    ("Aware", "System Settings", "Integrations"),
    ("Awaretrain", "Settings", "API Keys"),
    ("Adverity", "Administration", "Management API keys"),
    (
        "Veeam Service Provider Console",
        "Configuration",
        "Access Management",
    ),
];
/// Their names in the navigation.
const SHORT: [&str; 4] = ["Aware", "Awaretrain", "Adverity", "Veeam"];
const POLICIES: [&str; 4] = ["aware", "awaretrain", "adverity-ui", "vspc"];

/// The same systems, as the flag `--systems` and the boxes of the set-up name them.
const SYSTEMS: [&str; 4] = ["aware", "awaretrain", "adverity", "vspc"];

/// The navigation on the overview.
fn navigation(visitor: &mut Visitor) -> String {
    let page = visitor.get("/console").expect(200).text();
    let nav = page.split("<nav aria-label").nth(1).unwrap();
    nav.split("</nav>").next().unwrap().to_owned()
}

/// The policies of the systems that a navigation contains: each is one entry with the system's name and the place in
/// its own menus.
fn offered(navigation: &str) -> Vec<&'static str> {
    let all = POLICIES.iter().zip(MENUS).zip(SHORT);
    let shown = all.filter(|((policy, (_, menu, page)), short)| {
        let entry = format!("<a href=\"/console/keys?policy={policy}\"");
        let parts: Vec<&str> = navigation.split(&entry).skip(1).collect();
        assert!(parts.len() <= 1, "{policy}: {navigation}");
        let Some(part) = parts.first() else {
            return false;
        };
        let part = part.split("</a>").next().unwrap();
        assert!(part.contains(&format!("<span>{short}</span>")), "{part}");
        assert!(part.contains(&format!("{menu} › {page}")), "{part}");
        true
    });
    let found: Vec<&str> = shown.map(|((policy, _), _)| *policy).collect();
    let heading = navigation.contains(">Other systems</li>");
    assert_eq!(heading, !found.is_empty(), "{navigation}");
    found
}

// finding D8; 1A-5, 1B-4, 1C-12
#[test]
fn a_fresh_server_offers_no_system_until_an_owner_does() {
    let server = Server::start();
    let admin = server.admin();
    admin.person("mia", "key_manager", "root");
    let mut owner = Visitor::owner(&server);
    assert_eq!(offered(&navigation(&mut owner)), Vec::<&str>::new());
    for policy in POLICIES {
        owner.get("/console/policies").expect(200);
        let path = format!("/console/policies/{policy}/page");
        owner.post(&path, &[("on", "yes")]).expect(303);
    }
    assert_eq!(offered(&navigation(&mut owner)), POLICIES);
    // Every user who may use a menu sees it; only owners see the switch.
    let mut mia = Visitor::new(&server);
    mia.sign_in("mia", PASSWORD).expect(303);
    assert_eq!(offered(&navigation(&mut mia)), POLICIES);
    let page = mia.get("/console/policies/aware").expect(200).text();
    assert!(!page.contains("/page\""));
    let page = owner.get("/console/policies/aware").expect(200).text();
    assert!(page.contains("/console/policies/aware/page\""));
    mia.post("/console/policies/aware/page", &[("on", "no")])
        .expect(403);
    owner.post("/console/policies/aware/page", &[("on", "no")]);
    assert_eq!(offered(&navigation(&mut owner)), &POLICIES[1..]);
}

#[test]
fn an_owner_switches_a_system_over_the_api_and_on_the_command_line() {
    let server = Server::start();
    let admin = server.admin();
    let mut owner = Visitor::owner(&server);
    let page = "/v1/policies/vspc/page";
    admin.put(page, json!({ "on": true })).expect(200);
    assert_eq!(offered(&navigation(&mut owner)), ["vspc"]);
    for bad in [
        json!({}),
        json!({ "on": "yes" }),
        json!({ "on": null }),
        json!({ "on": true, "off": 1 }),
    ] {
        assert!([400, 422].contains(&admin.put(page, bad).status));
    }
    admin
        .put("/v1/policies/none/page", json!({ "on": true }))
        .expect(404);
    for (policy, state) in [("vspc", "off"), ("adverity-ui", "on")] {
        let done = executable(None)
            .args(["policy", "page", policy, state, "--data"])
            .arg(&server.data)
            .output()
            .unwrap();
        assert!(done.status.success(), "{done:?}");
    }
    assert_eq!(offered(&navigation(&mut owner)), ["adverity-ui"]);
}

#[test]
fn a_system_is_offered_to_nobody_who_could_do_nothing_there() {
    let server = Server::start_with(&["--systems", "all"], &[]);
    let admin = server.admin();
    for role in ["auditor", "member"] {
        admin.person(role, role, "root");
    }
    let mut auditor = Visitor::new(&server);
    auditor.sign_in("auditor", PASSWORD).expect(303);
    assert_eq!(offered(&navigation(&mut auditor)), POLICIES);
    // Keys of Awaretrain and Adverity belong to no member. Keys of Aware may, and members make their own keys of VSPC.
    let mut member = Visitor::new(&server);
    member.sign_in("member", PASSWORD).expect(303);
    assert_eq!(offered(&navigation(&mut member)), ["aware", "vspc"]);
}

#[test]
fn the_setup_page_asks_which_systems_are_offered() {
    let folder = fresh_folder();
    let data = folder.join("data");
    initialised(&data);
    let server = Unset::serve(&data);
    let code = server.code.clone().unwrap();
    let mut visitor = server.visitor();
    let page = visitor.get("/console/setup").expect(200).text();
    for (product, _, _) in MENUS {
        assert!(page.contains(&format!(">{product}</label>")), "{product}");
    }
    let fields = |password| {
        [
            ("code", code.as_str()),
            ("user_name", "ada"),
            ("password", password),
            ("password_again", password),
            ("systems[]", "vspc"),
            ("systems[]", "awaretrain"),
            ("systems[]", "nothing"),
        ]
    };
    // The choice is kept when the form is refused because of another field.
    let page = visitor.send("/console/setup", &fields("short")).expect(422);
    let page = page.text();
    assert!(page.contains("value=\"vspc\" checked"));
    assert!(page.contains("value=\"aware\">"));
    visitor
        .send("/console/setup", &fields(PASSWORD))
        .expect(303);
    assert_eq!(offered(&navigation(&mut visitor)), ["awaretrain", "vspc"]);
    drop(server);
    let _ = std::fs::remove_dir_all(folder);
}

#[test]
fn init_takes_the_systems_from_a_flag() {
    for (systems, expected) in [
        ("aware,adverity", &["aware", "adverity-ui"][..]),
        ("all", &POLICIES[..]),
        ("none", &[]),
    ] {
        let folder = fresh_folder();
        let data = folder.join("data");
        let made = executable(None)
            .args(["init", "--setup", "--systems", systems, "--data"])
            .arg(&data)
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        let server = Unset::serve(&data);
        let code = server.code.clone().unwrap();
        let mut visitor = server.visitor();
        let fields = [
            ("code", code.as_str()),
            ("user_name", "ada"),
            ("password", PASSWORD),
            ("password_again", PASSWORD),
        ];
        // The boxes show what is on.
        let page = visitor.get("/console/setup").expect(200).text();
        for (policy, system) in POLICIES.iter().zip(SYSTEMS) {
            let is_ticked = page.contains(&format!("value=\"{system}\" checked"));
            assert_eq!(is_ticked, expected.contains(policy), "{systems}: {system}");
        }
        visitor.send("/console/setup", &fields).expect(303);
        assert_eq!(offered(&navigation(&mut visitor)), expected, "{systems}");
        drop(server);
        let _ = std::fs::remove_dir_all(folder);
    }
    for bad in ["veeam", "all,aware", "", "Aware"] {
        let folder = fresh_folder();
        let data = folder.join("data");
        let refused = executable(None)
            .args(["init", "--systems", bad, "--data"])
            .arg(&data)
            .output()
            .unwrap();
        assert!(!refused.status.success(), "{bad}");
        assert!(!data.join("latchkey.db").exists(), "{bad}");
        let _ = std::fs::remove_dir_all(folder);
    }
}

#[test]
fn a_box_that_is_unticked_at_the_setup_switches_the_page_off() {
    let folder = fresh_folder();
    let data = folder.join("data");
    let made = executable(None)
        .args(["init", "--setup", "--systems", "aware,vspc", "--data"])
        .arg(&data)
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let server = Unset::serve(&data);
    let code = server.code.clone().unwrap();
    let mut visitor = server.visitor();
    let page = visitor.get("/console/setup").expect(200).text();
    assert!(page.contains("name=\"systems_listed\" value=\"yes\""));
    let fields = |password| {
        [
            ("code", code.as_str()),
            ("user_name", "ada"),
            ("password", password),
            ("password_again", password),
            ("systems_listed", "yes"),
            ("systems[]", "awaretrain"),
            ("systems[]", "vspc"),
        ]
    };
    // A refused form keeps the boxes as they were left.
    let page = visitor.send("/console/setup", &fields("short")).expect(422);
    let page = page.text();
    assert!(page.contains("value=\"vspc\" checked"));
    assert!(page.contains("value=\"aware\">"));
    visitor
        .send("/console/setup", &fields(PASSWORD))
        .expect(303);
    assert_eq!(offered(&navigation(&mut visitor)), ["awaretrain", "vspc"]);
    drop(server);
    let _ = std::fs::remove_dir_all(folder);
}

#[test]
fn a_setting_decides_and_then_nobody_else_does() {
    let mut server = Server::start_with(&["--systems", "awaretrain"], &[]);
    let mut owner = Visitor::owner(&server);
    assert_eq!(offered(&navigation(&mut owner)), ["awaretrain"]);
    let page = owner.get("/console/policies/aware").expect(200).text();
    assert!(!page.contains("/page\""), "there is nothing to press");
    let refused = owner.post("/console/policies/aware/page", &[("on", "yes")]);
    assert!(refused.expect(409).text().contains("setting systems"));
    let event = server.admin().get("/v1/audit-events?action=policy.page");
    let event = &event.expect(200).json()["items"][0];
    assert_eq!(event["actor"], "system");
    assert!(event.to_string().contains("awaretrain"), "{event}");
    // Without the setting the owner can choose again, beginning with the last state.
    server = server.with_args(&[]);
    server.restart();
    let mut owner = Visitor::owner(&server);
    assert_eq!(offered(&navigation(&mut owner)), ["awaretrain"]);
    owner.get("/console/policies").expect(200);
    owner
        .post("/console/policies/aware/page", &[("on", "yes")])
        .expect(303);
    assert_eq!(offered(&navigation(&mut owner)), ["aware", "awaretrain"]);
}
