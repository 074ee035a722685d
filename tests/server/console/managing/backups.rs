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
    let command = page.split("latchkey restore ").nth(1).unwrap();
    let command = command.split('<').next().unwrap();
    let (file, data) = command.split_once(" --data ").unwrap();
    assert!(file.starts_with('/') && data.starts_with('/'), "{command}");
    let made = std::fs::metadata(file).unwrap();
    assert!(made.len() > 0);
    let name = file.rsplit('/').next().unwrap();
    assert!(page.contains(&format!("<code>{name}</code>")));
    assert!(page.contains("The newest backup was made "));
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
fn a_backup_is_checked_as_a_restore_checks_it() {
    let server = Server::start();
    let admin = server.admin();
    let mut owner = Visitor::owner(&server);
    owner.get("/console/backups").expect(200);
    owner.post("/console/backups", &[]).expect(303);
    let listed = admin.get("/v1/backups").json();
    let path = listed["items"][0]["file"].as_str().unwrap().to_owned();
    let file = path.rsplit('/').next().unwrap();
    let names = || {
        let entries = std::fs::read_dir(&server.data).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let check = |visitor: &mut Visitor, file: &str| {
        visitor.get("/console/backups");
        visitor
            .post("/console/backups/check", &[("file", file)])
            .status
    };
    let (before, content) = (names(), std::fs::read(&path).unwrap());
    assert_eq!(check(&mut owner, file), 200);
    assert!(
        owner
            .page
            .contains(&format!("{file} is complete and undamaged.")),
        "{}",
        owner.page
    );
    let event = admin.newest_event();
    assert_eq!(event["action"], "backup.check");
    assert_eq!(event["changes"]["file"][1], path.as_str());
    assert_eq!(std::fs::read(&path).unwrap(), content);
    assert_eq!(names(), before, "the copy is removed");

    // One damaged page is enough, wherever it is.
    let mut damaged = content.clone();
    let middle = damaged.len() / 2;
    damaged[middle..middle + 4_096].fill(0x5a);
    std::fs::write(&path, damaged).unwrap();
    assert_eq!(check(&mut owner, file), 200);
    assert!(
        owner.page.contains("cannot be restored here"),
        "{}",
        owner.page
    );
    assert_eq!(names(), before);
    for other in ["", "none.db", "../latchkey.db", "/etc/passwd"] {
        assert_eq!(check(&mut owner, other), 404, "{other}");
    }
    admin.person("admin", "administrator", "root");
    let mut other = Visitor::new(&server);
    other.sign_in("admin", PASSWORD).expect(303);
    assert_eq!(check(&mut other, file), 403);
}

#[test]
fn a_schedule_is_told() {
    let server = Server::start_with(&["--backup-every", "6h", "--backup-keep", "3"], &[]);
    let mut owner = Visitor::owner(&server);
    let page = owner.get("/console/backups").expect(200).text();
    assert!(page.contains("The server makes a backup every 6 hours and keeps the last 3."));
}
