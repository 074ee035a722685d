//! The page of a key: the old secret, a trial, refusals, the chart, and programs that use a new secret.

use serde_json::json;

use super::Visitor;
use crate::support::{PASSWORD, Server, wait};

#[test]
fn the_old_secret_is_shown_with_its_end_and_can_be_ended() {
    let server = Server::start();
    let admin = server.admin();
    let mut owner = Visitor::owner(&server);
    let old = admin.issue(json!({ "name": "k" }));
    let page = format!("/console/keys/{}", old.id);
    assert!(!owner.get(&page).text().contains("old secret"));
    let hint = admin.key(&old.id)["hint"].as_str().unwrap().to_owned();
    admin.rotate(&old.id, json!({ "grace_s": 3_600 }));
    let text = owner.get(&page).expect(200).text();
    assert!(
        text.contains(&format!("The old secret {hint} works until 20")),
        "{text}"
    );
    assert!(
        text.contains("It has not been used since the rotation."),
        "{text}"
    );
    admin.verify(json!({ "key": old.secret }));
    let text = owner.get(&page).expect(200).text();
    assert!(text.contains("It was last used just now."), "{text}");
    assert!(text.contains("The old secret works for"), "{text}");

    // A further rotation would end both, and its page warns of that.
    let rotate = owner.get(&format!("{page}/rotate")).expect(200).text();
    assert!(
        rotate.contains("works until 20") && !rotate.contains("grace-day"),
        "{rotate}"
    );

    owner.get(&page);
    owner.post(&format!("{page}/end-previous"), &[]).expect(303);
    assert_eq!(admin.verdict(&old.secret), "NOT_FOUND");
    let text = owner.get(&page).expect(200).text();
    assert!(!text.contains("works until 20"), "{text}");
    assert!(text.contains("Old secret of a rotated key ended"), "{text}");
    let rotate = owner.get(&format!("{page}/rotate")).expect(200).text();
    assert!(
        rotate.contains("grace-day") && rotate.contains("It ends on 20"),
        "{rotate}"
    );
}

#[test]
fn an_auditor_sees_the_old_secret_and_cannot_end_it() {
    let server = Server::start();
    let admin = server.admin();
    admin.person("looks", "auditor", "root");
    let old = admin.issue(json!({ "name": "k" }));
    admin.rotate(&old.id, json!({ "grace_s": 3_600 }));
    let mut looks = Visitor::new(&server);
    looks.sign_in("looks", PASSWORD).expect(303);
    let page = format!("/console/keys/{}", old.id);
    let text = looks.get(&page).expect(200).text();
    assert!(
        text.contains("works until 20") && !text.contains("end-previous"),
        "{text}"
    );
    looks.post(&format!("{page}/end-previous"), &[]).expect(403);
    assert_eq!(admin.verdict(&old.secret), "VALID");
}

#[test]
fn a_trial_names_the_reason_and_refusals_are_listed_with_what_clients_sent_as_text() {
    let server = Server::start();
    let admin = server.admin();
    let mut owner = Visitor::owner(&server);
    let key =
        admin.issue(json!({ "name": "k", "scopes": ["a"], "allowed_ips": ["203.0.113.0/24"] }));
    let page = format!("/console/keys/{}", key.id);
    let text = owner.get(&page).expect(200).text();
    assert!(
        text.contains("No request with a secret of this key has been refused"),
        "{text}"
    );
    let text = owner
        .get(&format!("{page}?test=yes&scopes=a&ip=198.51.100.7"))
        .expect(200)
        .text();
    assert!(
        text.contains("198.51.100.7 is not among the addresses"),
        "{text}"
    );
    let text = owner
        .get(&format!("{page}?test=yes&scopes=a&ip=203.0.113.7"))
        .expect(200)
        .text();
    assert!(text.contains("The key opens this request."), "{text}");
    let text = owner
        .get(&format!("{page}?test=yes&ip=x"))
        .expect(200)
        .text();
    assert!(text.contains("Must be an IPv4 or IPv6 address."), "{text}");
    assert_eq!(admin.key(&key.id)["use_count"], 0);

    let evil = "/<script>alert(1)</script>";
    admin.verify(json!({ "key": key.secret, "ip": "198.51.100.9", "method": "GET", "path": evil }));
    let text = owner.get(&page).expect(200).text();
    assert!(
        text.contains("198.51.100.9") && text.contains("The address is not allowed"),
        "{text}"
    );
    assert!(!text.contains("<script>alert"), "{text}");
    assert!(
        !text.contains(&key.secret),
        "no page but one has the secret"
    );
}

#[test]
fn the_chart_has_four_ranges_with_axes_and_any_other_is_the_first() {
    let server = Server::start();
    let admin = server.admin();
    let mut owner = Visitor::owner(&server);
    let key = admin.issue(json!({ "name": "k" }));
    for _ in 0..3 {
        admin.verify(json!({ "key": key.secret }));
    }
    let page = format!("/console/keys/{}", key.id);
    for (range, label, bars) in [
        ("24h", "24 hours", 24),
        ("7d", "7 days", 168),
        ("30d", "30 days", 30),
        ("90d", "90 days", 90),
        ("<x>", "24 hours", 24),
    ] {
        let text = owner
            .get(&format!("{page}?range={range}"))
            .expect(200)
            .text();
        let current = format!("aria-current=\"true\">{label}<");
        assert!(text.contains(&current), "{range}");
        assert_eq!(text.matches("class=\"reach\"").count(), bars, "{range}");
        assert!(
            text.contains("3 accepted") && text.contains("<span>4</span>"),
            "{range}: {text}"
        );
    }
}

/// N20: calls of the management API are no requests that were let in.
#[test]
fn uses_of_management_keys_are_apart_in_the_totals() {
    let mut server = Server::start();
    let key = server.admin().issue(json!({ "name": "k" }));
    server.admin().verify(json!({ "key": key.secret }));
    for after_restart in [false, true] {
        if after_restart {
            server.stop();
            server.restart();
        }
        let mut owner = Visitor::owner(&server);
        let text = owner.get("/console?range=7d").expect(200).text();
        assert!(text.contains("1 accepted"), "{text}");
        assert!(text.contains("made with management keys"), "{text}");
    }
}

#[test]
fn a_new_secret_comes_with_programs_that_verify_it() {
    let server = Server::start();
    let mut owner = Visitor::owner(&server);
    owner.get("/console/keys/new?policy=standard").expect(200);
    let (nonce, token) = (owner.value("nonce").unwrap(), owner.token());
    let fields = [
        ("form_token", token.as_str()),
        ("policy", "standard"),
        ("nonce", nonce.as_str()),
        ("name", "k"),
        ("workspace", "root"),
    ];
    let text = owner.send("/console/keys/new", &fields).expect(200).text();
    for language in ["curl", "Python", "JavaScript", "Go", ".env"] {
        assert!(
            text.contains(&format!("<summary>{language}</summary>")),
            "{language}"
        );
    }
    // The command works as it stands: its header is the one for this machine.
    let curl = text.split("id=\"snippet-curl\"").nth(1).unwrap();
    let json = curl
        .split("{&#34;")
        .nth(1)
        .unwrap()
        .split('}')
        .next()
        .unwrap();
    let json = format!("{{\"{}}}", json.replace("&#34;", "\""));
    let question: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert!(curl.contains("Latchkey-Local: 1"));
    let verdict = server
        .anonymous()
        .with("Latchkey-Local", "1")
        .verify(question);
    assert_eq!(verdict["code"], "VALID");
}

#[test]
fn a_decoy_shows_how_often_it_was_tried_and_where_its_secret_was_found() {
    let server = Server::start();
    let admin = server.admin();
    let mut owner = Visitor::owner(&server);
    let policy = json!({ "name": "decoy", "decoy": true });
    admin.post("/v1/policies", policy).expect(201);
    let decoy = admin.issue(json!({ "name": "k", "policy": "decoy" }));
    let page = format!("/console/keys/{}", decoy.id);
    let text = owner.get(&page).expect(200).text();
    assert!(text.contains("This key is a decoy"), "{text}");
    assert!(text.contains("It has not been tried yet."), "{text}");
    for _ in 0..2 {
        admin.verify(json!({ "key": decoy.secret, "ip": "192.0.2.7" }));
    }
    wait::until("both are recorded", || {
        server.alarm(&decoy.id, "tripped") == Some(2)
    });
    let report = json!({ "secret": decoy.secret, "url": "https://wiki.example.com/<b>" });
    admin.post("/v1/leaks", report).expect(204);
    let text = owner.get(&page).expect(200).text();
    assert!(text.contains("Tried 2 times, last just now."), "{text}");
    assert!(text.contains("192.0.2.7"), "{text}");
    assert!(text.contains("reported as leaked"), "{text}");
    let place = "Found at https://wiki.example.com/";
    assert!(text.contains(place) && !text.contains("com/<b>"), "{text}");
    assert!(text.contains("Decoy tried"), "{text}");
}
