//! The warnings of the overview: a full disk, a wrong clock.

use crate::console::Visitor;
use crate::faults::disk::Disk;
use crate::faults::{left_out, wait_for_readiness};
use crate::support::Server;
use rusqlite::Connection;
use serde_json::json;

fn overview(visitor: &mut Visitor) -> String {
    visitor.get("/console").expect(200).text()
}

/// Starts the server again as if the store had last been written so many days from now.
fn restart_with_mark(server: &mut Server, days: i64) {
    server.stop();
    let database = Connection::open(server.data.join("latchkey.db")).unwrap();
    let sql = "UPDATE clock SET mark = mark + ?1 * 86400000";
    assert_eq!(database.execute(sql, [days]).unwrap(), 1);
    drop(database);
    server.restart();
}

#[test]
fn a_wrong_clock_is_told() {
    let mut server = Server::start();
    let mut owner = Visitor::owner(&server);
    let page = overview(&mut owner);
    assert!(!page.contains("clock"), "{page}");
    restart_with_mark(&mut server, -3);
    let page = overview(&mut owner);
    assert!(page.contains("clock has jumped ahead to 2"), "{page}");
    // If the clock goes back by minutes, no session ends.
    server.stop();
    let database = Connection::open(server.data.join("latchkey.db")).unwrap();
    let wall = std::time::SystemTime::now();
    let wall = wall.duration_since(std::time::UNIX_EPOCH).unwrap();
    let ahead = i64::try_from(wall.as_millis()).unwrap() + 1_200_000;
    database
        .execute("UPDATE clock SET mark = ?1", [ahead])
        .unwrap();
    drop(database);
    server.restart();
    let page = overview(&mut owner);
    assert!(page.contains("clock has fallen back to 2"), "{page}");
}

#[test]
fn a_disk_without_room_is_told_and_the_console_can_be_read() {
    let Some(disk) = Disk::mount("3m") else {
        return left_out("a full disk: nothing can be mounted here");
    };
    let server = Server::start_at(&disk.0.join("data"));
    let mut owner = Visitor::owner(&server);
    let page = overview(&mut owner);
    assert!(page.contains("MiB are free on the server"), "{page}");
    assert!(!page.contains("The server cannot write to its disk"));
    owner.get("/console/keys/new?policy=standard").expect(200);
    let mut refused = 0;
    for _ in 0..1_000 {
        disk.fill();
        let metadata = json!({ "x": "y".repeat(3_000) }).to_string();
        let fields = [
            ("policy", "standard"),
            ("name", "k"),
            ("metadata", &metadata),
        ];
        match owner.post("/console/keys/new", &fields).status {
            503 => refused += 1,
            _ => refused = 0,
        }
        if refused == 5 {
            break;
        }
        owner.get("/console/keys/new?policy=standard").expect(200);
    }
    assert_eq!(refused, 5);
    assert!(owner.page.contains("Not available now"), "{}", owner.page);
    wait_for_readiness(&server, 503);
    let page = overview(&mut owner);
    assert!(page.contains("The server cannot write to its disk, so nothing can be changed."));
    assert!(page.contains("Keys are still verified."));
    disk.free();
    wait_for_readiness(&server, 200);
    assert!(!overview(&mut owner).contains("The server cannot write to its disk"));
}
