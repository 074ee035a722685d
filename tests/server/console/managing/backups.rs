//! Backups in the console.

use crate::console::Visitor;
use crate::support::{PASSWORD, Server};

#[test]
fn an_owner_makes_a_backup_and_reads_how_to_go_back_to_it() {
    let server = Server::start();
    let mut owner = Visitor::owner(&server);
    owner.get("/console/backups").expect(200);
    assert!(owner.page.contains("There is no backup yet."));
    assert!(
        owner
            .page
            .contains("The server makes no backups automatically.")
    );
    owner.post("/console/backups", &[]).expect(303);
    let page = owner.get("/console/backups").expect(200).text();
    assert!(page.contains("The backup has been made."));
    let file = page.split("latchkey restore ").nth(1).unwrap();
    let file = file.split('<').next().unwrap();
    let made = std::fs::metadata(file).unwrap();
    assert!(made.len() > 0);
    assert!(page.contains(&format!("<code>{file}</code>")));
    let listed = server.admin().get("/v1/backups").json();
    assert_eq!(listed["items"][0]["file"], file);
    // A user who may not administer the server cannot use the page, and is not offered it.
    server.admin().person("admin", "administrator", "root");
    let mut other = Visitor::new(&server);
    other.sign_in("admin", PASSWORD).expect(303);
    let may = other.get("/console/backups").status == 200;
    let offered = other.get("/console").text().contains("/console/backups");
    assert_eq!(may, offered);
    assert!(!may);
    other.post("/console/backups", &[]).expect(403);
}

#[test]
fn a_schedule_is_told() {
    let server = Server::start_with(&["--backup-every", "6h", "--backup-keep", "3"], &[]);
    let mut owner = Visitor::owner(&server);
    let page = owner.get("/console/backups").expect(200).text();
    assert!(page.contains("The server makes a backup every 6 hours and keeps the last 3."));
}
