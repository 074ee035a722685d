//! Sites of a server that was restored from a backup which is older than the key that signs its packs.

use std::fs;
use std::path::PathBuf;

use serde_json::json;

use super::Pair;
use crate::support::Server;

/// A server that was restored from a backup of before a rotation of its key, and whose site has taken a pack of the newer one.
fn restored(change: impl FnOnce(&Server)) -> Pair {
    let mut pair = Pair::new();
    pair.server.admin().issue(json!({ "name": "k" }));
    pair.bring();
    let made = pair
        .server
        .local()
        .post("/v1/backups", json!({}))
        .expect(201);
    let backup = PathBuf::from(made.json()["file"].as_str().unwrap());
    pair.line().ok(&["pack", "rotate-key"]);
    pair.bring();
    pair.server.stop();
    let said = pair
        .line()
        .ok(&["restore", backup.to_str().unwrap(), "--yes"]);
    assert!(said.contains("Sites in the backup: plant-7."), "{said}");
    assert!(said.contains("latchkey site reset"), "{said}");
    change(&pair.server);
    pair.server.restart();
    pair.make(&["--whole"]);
    pair
}

/// Accepts that the server was restored, and takes its pack.
fn accept(pair: &Pair) {
    let ran = pair.site.try_apply(&pair.site.stick());
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stderr.contains("latchkey site reset"), "{ran:?}");
    pair.site.line.ok(&["site", "reset", "--yes"]);
    assert!(pair.site.apply().contains("is in force"));
}

#[test]
fn a_restored_server_signs_with_the_key_that_its_sites_trust() {
    accept(&restored(|_| {}));
}

/// With its disk, the server has lost the file that has the newer key.
#[test]
fn a_site_can_trust_the_key_of_a_server_that_has_lost_the_newer_one() {
    let pair = restored(|server| fs::remove_file(server.data.join("signing-keys")).unwrap());
    let ran = pair.site.try_apply(&pair.site.stick());
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stderr.contains("no key that is trusted"), "{ran:?}");
    let keys = pair
        .server
        .admin()
        .get("/v1/packs/signing-keys")
        .expect(200);
    let key = keys.json()["items"][0]["public_key"].clone();
    let key = key.as_str().unwrap();
    let trust = |key: &str| {
        pair.site
            .line
            .run(&["site", "reset", "--key", key, "--yes"])
    };
    for strange in ["x", &key.replace("server.example", "other.example")] {
        let ran = trust(strange);
        assert_eq!(ran.code, Some(1), "{ran:?}");
        assert!(ran.stderr.contains("server.example"), "{ran:?}");
    }
    assert_eq!(trust(key).code, Some(0));
    let ran = trust(key);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    accept(&pair);
}
