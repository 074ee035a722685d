//! The first page of the console: the next steps, what is wrong, and the checks of the server.

use super::Visitor;
use crate::support::{PASSWORD, Server, wait};
use serde_json::json;

/// The steps of the page that are done.
fn done(page: &str) -> Vec<&'static str> {
    let known = [
        "Create the first key",
        "Protect an application",
        "Save the key files",
        "Make backups",
        "Add a second owner",
    ];
    let steps = page.split("<li class=\"done\">").skip(1);
    let name = |step: &str| {
        let step = step.split("</li>").next()?;
        known.into_iter().find(|words| step.contains(words))
    };
    steps.filter_map(name).collect()
}

#[test]
fn the_next_steps_are_ticked_as_they_are_done() {
    let server = Server::start();
    let admin = server.admin();
    let mut owner = Visitor::owner(&server);
    let page = owner.get("/console").expect(200).text();
    assert!(page.contains("What to do next"));
    assert_eq!(done(&page), Vec::<&str>::new());
    let key = admin.issue(json!({ "name": "web shop" }));
    admin.verify(json!({ "key": key.secret }));
    owner.get("/console/backups").expect(200);
    owner.post("/console/backups", &[]).expect(303);
    admin.person("second", "owner", "root");
    wait::until("all four are done", || {
        let page = owner.get("/console").expect(200).text();
        done(&page)
            == [
                "Create the first key",
                "Protect an application",
                "Make backups",
                "Add a second owner",
            ]
    });
    // Only those who administer the server are asked to do them.
    admin.person("auditor", "auditor", "root");
    let mut auditor = Visitor::new(&server);
    auditor.sign_in("auditor", PASSWORD).expect(303);
    assert!(!auditor.get("/console").text().contains("What to do next"));
}

#[test]
fn the_next_steps_can_be_hidden_and_shown_again() {
    let server = Server::start();
    let mut owner = Visitor::owner(&server);
    owner.get("/console").expect(200);
    owner.post("/console/steps", &[("show", "no")]).expect(303);
    let page = owner.get("/console").expect(200).text();
    assert!(!page.contains("Create the first key"));
    owner.post("/console/steps", &[("show", "yes")]).expect(303);
    let page = owner.get("/console").expect(200).text();
    assert!(page.contains("Create the first key"));
}

#[test]
fn owners_run_the_checks_of_the_server_and_no_other_user_does() {
    let server = Server::start();
    let mut owner = Visitor::owner(&server);
    owner.get("/console/doctor").expect(200);
    let page = owner.post("/console/doctor", &[]).expect(200).text();
    assert!(page.contains("Pages, indexes and references are whole."));
    // The key files of this server were never saved.
    assert!(page.contains("badge-warn"), "{page}");
    server.admin().person("admin", "administrator", "root");
    let mut admin = Visitor::new(&server);
    admin.sign_in("admin", PASSWORD).expect(303);
    let page = admin.get("/console/doctor").expect(403).text();
    assert!(page.contains("Ask an owner of"));
    admin.post("/console/doctor", &[]).expect(403);
    assert!(!admin.get("/console").text().contains("/console/doctor"));
}
