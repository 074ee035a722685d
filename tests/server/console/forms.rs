//! Which forms are accepted, and what happens to a form whose sender is not signed in.

use super::Visitor;
use crate::support::Server;

const PASSWORDS: [(&str, &str); 3] = [
    ("current_password", "one"),
    ("password", "two"),
    ("password_again", "two"),
];

// attacks 164
#[test]
fn forms_of_other_sites_are_refused() {
    let server = Server::start();
    let mut owner = Visitor::owner(&server);
    let token = owner.token();
    let events = server.admin().newest_event()["seq"].clone();
    let own = format!("http://{}", server.address);
    let fields = [("form_token", token.as_str())];
    for headers in [
        vec![],
        vec![("Origin", "null")],
        vec![("Origin", "https://evil.example")],
        vec![("Origin", own.as_str()), ("Sec-Fetch-Site", "cross-site")],
        vec![("Origin", own.as_str()), ("Sec-Fetch-Site", "same-site")],
        vec![("Origin", own.as_str()), ("Origin", own.as_str())],
    ] {
        owner
            .send_with("/console/sign-out", &headers, &fields)
            .expect(403);
    }
    // The right origin without the form token is not enough either.
    owner.send("/console/sign-out", &[]).expect(403);
    owner
        .send("/console/sign-out", &[("form_token", &"0".repeat(64))])
        .expect(403);
    owner
        .send("/console/sign-out", &[("form_token", "")])
        .expect(403);
    assert_eq!(server.admin().newest_event()["seq"], events);
    owner.get("/console/account").expect(200);
    // Nothing is done with GET.
    owner.get("/console/sign-out").expect(405);
    owner.get("/console/account/password").expect(405);
}

// attacks 164, 165
#[test]
fn only_forms_are_forms() {
    let server = Server::start();
    let mut owner = Visitor::owner(&server);
    let token = owner.token();
    let own = format!("http://{}", server.address);
    for kind in [
        "text/plain",
        "application/json",
        "multipart/form-data; boundary=x",
        "",
    ] {
        let headers = [("Origin", own.as_str()), ("Content-Type", kind)];
        let fields = [("form_token", token.as_str())];
        owner
            .send_with("/console/sign-out", &headers, &fields)
            .expect(415);
    }
    owner.get("/console/account").expect(200);
}

// attacks 167
#[test]
fn other_hosts_are_not_answered_for() {
    let server = Server::start();
    for path in [
        "/",
        "/console",
        "/console/sign-in",
        "/console/assets/console.css",
    ] {
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n");
        let received = server.raw(request);
        assert_eq!(received.statuses(), [421], "{path}");
    }
}

#[test]
fn what_was_typed_is_there_again_after_signing_in() {
    let server = Server::start();
    let mut visitor = Visitor::new(&server);
    let typed = [
        ("name", "Größe & \"quotes\" <b>"),
        ("scopes[]", "a"),
        ("scopes[]", "b"),
    ];
    let with: Vec<_> = typed.iter().chain(&PASSWORDS).copied().collect();
    visitor.send("/console/account/password", &with).expect(403);
    assert!(visitor.page.contains("What you typed is kept"));
    let (to, form) = (
        visitor.value("carried_to").unwrap(),
        visitor.value("carried_form").unwrap(),
    );
    assert!(!form.contains("two"), "passwords do not travel: {form}");
    let fields = [
        ("user_name", server.owner_user_name.as_str()),
        ("password", server.owner_password.as_str()),
        ("carried_to", &to),
        ("carried_form", &form),
    ];
    visitor.send("/console/sign-in", &fields).expect(200);
    for part in [
        "action=\"/console/account/password\"",
        "name=\"name\" value=\"Größe &#38; &#34;quotes&#34; &#60;b&#62;\"",
        "name=\"scopes[]\" value=\"a\"",
        "name=\"scopes[]\" value=\"b\"",
    ] {
        assert!(
            visitor.page.contains(part),
            "{part} is not in\n{}",
            visitor.page
        );
    }
    let token = visitor.value("form_token").unwrap();
    visitor
        .send("/console/account/password", &[("form_token", &token)])
        .expect(403);
    assert!(visitor.page.contains("is not your current password"));
}

#[test]
fn a_form_of_an_earlier_session_can_be_sent_again() {
    let server = Server::start();
    let mut owner = Visitor::owner(&server);
    let token = owner.token();
    owner
        .sign_in(&server.owner_user_name, &server.owner_password)
        .expect(303);
    let fields = [("form_token", token.as_str()), ("name", "typed")];
    owner.send("/console/account/password", &fields).expect(403);
    assert!(owner.page.contains("Nothing has been done yet."));
    assert_eq!(owner.value("name").as_deref(), Some("typed"));
    assert_ne!(owner.value("form_token"), Some(token));
}
