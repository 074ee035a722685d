//! A site whose disk is full can still end keys.

use serde_json::json;

use super::{Pair, Site};
use crate::command_line::Line;
use crate::faults::disk::Disk;
use crate::faults::left_out;
use crate::support::Server;

#[test]
fn a_site_ends_keys_on_a_full_disk() {
    let Some(disk) = Disk::mount("24m") else {
        return left_out("a full disk at a site: nothing can be mounted here");
    };
    let pair = Pair::new();
    let admin = pair.server.admin();
    let keys: Vec<_> = (0..4)
        .map(|number| admin.issue(json!({ "name": format!("k{number}") })))
        .collect();
    pair.bring();
    let data = disk.0.join("data");
    Site::copy(pair.site.data(), &data);
    let running = Server::serve_site(&data, &[], &[]);
    let line = Line::at(&data);
    let verdict = |place: usize| running.local().verdict(&keys[place].secret);
    let codes = pair.site.path("codes.txt");
    let codes = codes.to_str().unwrap();
    admin
        .delete(&format!("/v1/keys/{}", keys[2].id))
        .expect(204);
    pair.line()
        .ok(&["pack", "make", "--revocations", "--qr", codes]);

    disk.fill();
    // Other changes are refused, once they have filled what is left.
    let report = || running.local().post("/v1/site/reports", json!({})).status;
    assert!((0..5_000).any(|_| report() == 503), "{}", running.log());
    line.ok(&["site", "disable", &keys[0].id, "--yes"]);
    line.ok(&["site", "disable", &keys[1].id, "--yes"]);
    line.ok(&["pack", "apply", "--qr-text", codes]);
    let all = |running: &dyn Fn(usize) -> String| {
        for place in 0..3 {
            assert_ne!(running(place), "VALID", "{place}");
        }
        assert_eq!(running(3), "VALID");
    };
    all(&verdict);
    drop(running);
    disk.free();
    let running = Server::serve_site(&data, &[], &[]);
    all(&|place| running.local().verdict(&keys[place].secret));
    drop(running);
    drop(disk);
}
