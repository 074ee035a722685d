//! The first use of a key from a network that it was never used from.

use super::notice;
use crate::support::{Server, User, wait};
use rusqlite::Connection;
use serde_json::json;

const EVERY_SECOND: [(&str, &str); 1] = [("LATCHKEY_USAGE_INTERVAL_S", "1")];

fn networks(server: &Server, id: &str) -> String {
    let connection = Connection::open(server.data.join("latchkey.db")).unwrap();
    let sql = "SELECT networks FROM key_usage WHERE key_id = ?1";
    connection
        .query_row(sql, [id], |row| row.get(0))
        .unwrap_or_default()
}

fn used_from(user: &User, secret: &str, ip: &str) {
    let told = user.verify(json!({ "key": secret, "ip": ip }));
    assert_eq!(told["code"], "VALID");
}

#[test]
fn the_networks_of_good_uses_are_remembered_across_a_restart() {
    let mut server = Server::start_with(&[], &EVERY_SECOND);
    let key = server.admin().issue(json!({ "name": "k" }));
    for (ip, known) in [
        ("192.0.2.1", "192.0.2.0/24"),
        ("192.0.2.200", "192.0.2.0/24"),
        ("2001:db8:0:7::1", "2001:db8::/56 192.0.2.0/24"),
        ("198.51.100.9", "198.51.100.0/24 2001:db8::/56 192.0.2.0/24"),
    ] {
        used_from(&server.admin(), &key.secret, ip);
        wait::until("the networks are stored", || {
            networks(&server, &key.id) == known
        });
        if ip == "198.51.100.9" {
            wait::until("the newest network is noticed", || {
                notice(&server.admin(), "key.new_source", &key.id)["networks"] == "198.51.100.0/24"
            });
        }
        server.stop();
        server.restart();
    }
}

/// A key that was used before networks were remembered: the ones of its first hour are learnt.
#[test]
fn the_first_network_of_a_key_is_no_notice_and_neither_are_those_of_the_hour_after_an_upgrade() {
    let mut server = Server::start_with(&[], &EVERY_SECOND);
    let admin = server.admin();
    let [upgraded, new] = ["upgraded", "new"].map(|name| admin.issue(json!({ "name": name })));
    used_from(&admin, &upgraded.secret, "192.0.2.1");
    wait::until("the use is stored", || {
        !networks(&server, &upgraded.id).is_empty()
    });
    server.stop();
    let connection = Connection::open(server.data.join("latchkey.db")).unwrap();
    connection
        .execute(
            "UPDATE key_usage SET networks = '' WHERE key_id = ?1",
            [&upgraded.id],
        )
        .unwrap();
    drop(connection);
    server.restart();
    let admin = server.admin();
    for (number, key) in [(1, &upgraded), (2, &upgraded), (3, &new)] {
        used_from(&admin, &key.secret, &format!("198.51.{number}.1"));
        let network = format!("198.51.{number}.0/24");
        wait::until("the network is stored", || {
            networks(&server, &key.id).starts_with(&network)
        });
    }
    // Notices come in order: this one is the only one.
    used_from(&admin, &new.secret, "198.51.4.1");
    notice(&admin, "key.new_source", &new.id);
    let all = admin.get("/v1/notices").expect(200).text();
    assert!(!all.contains(&upgraded.id), "{all}");
}
