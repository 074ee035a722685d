//! Revocations on paper, and what a site knows to have ended: neither a rotation of the pepper, nor one of the key that signs packs,
//! nor a restored server, nor a log that was cut lets an ended secret work on, or count as confirmed.

use std::fs;

use serde_json::json;

use super::Pair;
use crate::command_line::{Line, Ran};
use crate::support::{Issued, Server, wait};

impl Pair {
    /// Writes what has ended as codes, and brings them to the site.
    fn bring_codes(&self, more: &[&str]) -> Ran {
        let file = self.site.path("codes.txt");
        // No command writes over a file.
        let _ = fs::remove_file(&file);
        let file = file.to_str().unwrap();
        let make = ["pack", "make", "--revocations", "--qr", file];
        self.line().ok(&[&make[..], more].concat());
        self.apply_codes()
    }

    /// Applies the codes that were written last.
    fn apply_codes(&self) -> Ran {
        let file = self.site.path("codes.txt");
        let file = file.to_str().unwrap();
        self.site.line.run(&["pack", "apply", "--qr-text", file])
    }

    /// Uses a secret at the server until its digest is one under the newest pepper.
    fn upgrade(&self, key: &Issued) {
        assert_eq!(self.server.admin().verdict(&key.secret), "VALID");
        wait::until("the digest was replaced", || {
            let events = self.server.local().get("/v1/audit-events?limit=20");
            let events = events.expect(200).json();
            let mut events = events["items"].as_array().unwrap().iter();
            events.any(|event| {
                event["action"] == "secrets.upgrade"
                    && event["changes"].to_string().contains(&key.id)
            })
        });
    }

    fn issue(&self, count: usize) -> Vec<Issued> {
        let admin = self.server.admin();
        let name = |number| json!({ "name": format!("k{number}") });
        (0..count).map(|number| admin.issue(name(number))).collect()
    }

    fn unconfirmed(&self) -> serde_json::Value {
        self.line().json(&["site", "list"])[0].clone()
    }
}

fn rotate(server: &Server, key: &Issued) -> Issued {
    server.admin().rotate(&key.id, json!({ "grace_s": 0 }))
}

#[test]
fn a_list_ends_a_secret_whose_digest_was_replaced_since() {
    let pair = Pair::new();
    let keys = pair.issue(3);
    pair.bring();
    let running = pair.site.serve();
    let verdict = |key: &Issued| running.local().verdict(&key.secret);
    pair.line().ok(&["secrets", "rotate"]);
    pair.upgrade(&keys[0]);
    let new = [
        rotate(&pair.server, &keys[0]),
        rotate(&pair.server, &keys[1]),
    ];
    let ran = pair.bring_codes(&[]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    for key in &keys[..2] {
        assert_ne!(verdict(key), "VALID");
    }
    assert_eq!(verdict(&keys[2]), "VALID");
    // The pack has the newer secrets.
    pair.bring();
    for (key, new) in keys.iter().zip(&new) {
        assert_ne!(verdict(key), "VALID");
        assert_eq!(verdict(new), "VALID");
    }
}

#[test]
fn what_a_cut_log_no_longer_has_is_unknown_and_not_confirmed() {
    let pair = Pair::new();
    let keys = pair.issue(4);
    pair.bring();
    let stick = pair.site.stick();
    let stick = stick.to_str().unwrap();
    pair.site.line.ok(&["site", "report", "--out", stick]);
    pair.line().ok(&["site", "collect", stick]);
    assert_eq!(pair.unconfirmed()["unconfirmed_revocations"], 0);
    let admin = pair.server.admin();
    admin
        .delete(&format!("/v1/keys/{}", keys[0].id))
        .expect(204);
    rotate(&pair.server, &keys[1]);
    assert_eq!(pair.unconfirmed()["unconfirmed_revocations"], 2);
    admin
        .delete(&format!("/v1/keys/{}", keys[2].id))
        .expect(204);

    pair.line().ok(&["audit", "prune", "--keep", "2"]);
    let site = pair.unconfirmed();
    assert_eq!(site["unconfirmed_revocations"], json!(null), "{site}");
    assert_eq!(site["unconfirmed_unknown"], true);
    let listed = pair.line().ok(&["site", "list"]);
    assert!(listed.contains("unknown"), "{listed}");
    let metrics = pair.server.local().get("/metrics").expect(200).text();
    let figure = metrics
        .lines()
        .find(|line| line.starts_with("latchkey_site_unconfirmed_revocations "));
    assert!(
        figure.is_some_and(|line| !line.ends_with(" 0")),
        "{figure:?}"
    );
    let doctor = pair.line().run(&["doctor"]);
    assert!(
        doctor.stdout.contains("no longer reaches back"),
        "{doctor:?}"
    );
    let file = pair.site.path("codes.txt");
    let make = |more: &[&str]| {
        let make = [
            "pack",
            "make",
            "--revocations",
            "--qr",
            file.to_str().unwrap(),
        ];
        pair.line().run(&[&make[..], more].concat())
    };
    for more in [&[][..], &["--site", "plant-7"]] {
        let ran = make(more);
        assert_eq!(ran.code, Some(1), "{ran:?}");
        assert!(ran.stderr.contains("no longer reaches back"), "{ran:?}");
    }
    // From an event that the log has on, it is known.
    let newest = pair.server.local().newest_event()["seq"].as_u64().unwrap();
    let ran = make(&["--since", &(newest - 1).to_string()]);
    assert!(!ran.stderr.contains("no longer reaches back"), "{ran:?}");
    // A pack and a report make the number known again.
    pair.bring();
    pair.site.line.ok(&["site", "report", "--out", stick]);
    pair.line().ok(&["site", "collect", stick]);
    let site = pair.unconfirmed();
    assert_eq!(site["unconfirmed_revocations"], 0, "{site}");
    assert_eq!(site["unconfirmed_unknown"], false);
}

#[test]
fn a_list_counts_at_a_site_that_trusts_only_an_older_key() {
    let pair = Pair::new();
    let keys = pair.issue(2);
    pair.bring();
    let running = pair.site.serve();
    for _ in 0..2 {
        pair.line().ok(&["pack", "rotate-key"]);
    }
    let admin = pair.server.admin();
    admin
        .delete(&format!("/v1/keys/{}", keys[0].id))
        .expect(204);
    let ran = pair.bring_codes(&[]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let verdict = |key: &Issued| running.local().verdict(&key.secret);
    assert_ne!(verdict(&keys[0]), "VALID");
    assert_eq!(verdict(&keys[1]), "VALID");
}

#[test]
fn a_list_of_a_restored_server_counts_before_anybody_has_decided() {
    let mut pair = Pair::new();
    let keys = pair.issue(3);
    pair.bring();
    let running = pair.site.serve();
    let line = Line::of(&pair.server);
    let backup = pair.site.path("backup.db");
    line.ok(&["backup", backup.to_str().unwrap()]);
    pair.issue(20);
    pair.bring();
    pair.server.stop();
    line.ok(&["restore", backup.to_str().unwrap(), "--yes"]);
    pair.server.restart();
    let admin = pair.server.admin();
    let verdict = |key: &Issued| running.local().verdict(&key.secret);
    admin
        .delete(&format!("/v1/keys/{}", keys[0].id))
        .expect(204);
    let ran = pair.bring_codes(&[]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_ne!(verdict(&keys[0]), "VALID");
    assert_eq!(verdict(&keys[1]), "VALID");
    // The same after the site has noticed it, and after the decision.
    pair.make(&["--whole"]);
    assert_eq!(pair.site.try_apply(&pair.site.stick()).code, Some(1));
    assert_eq!(pair.site.status()["fork"], "seen");
    admin
        .delete(&format!("/v1/keys/{}", keys[1].id))
        .expect(204);
    let ran = pair.bring_codes(&[]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_ne!(verdict(&keys[1]), "VALID");
    pair.site.line.ok(&["site", "reset", "--yes"]);
    pair.make(&["--whole"]);
    pair.site.apply();
    assert_eq!(verdict(&keys[2]), "VALID");
    assert_ne!(verdict(&keys[0]), "VALID");
}

#[test]
fn a_list_that_is_older_than_the_pack_says_that_it_changes_nothing() {
    let pair = Pair::new();
    let keys = pair.issue(1);
    pair.bring();
    let admin = pair.server.admin();
    let set = |verb: &str| {
        let path = format!("/v1/keys/{}/{verb}", keys[0].id);
        admin.post(&path, json!({})).expect(200);
    };
    set("disable");
    let ran = pair.bring_codes(&[]);
    assert!(ran.stdout.contains("they open nothing any more"), "{ran:?}");
    set("enable");
    pair.bring();
    let ran = pair.apply_codes();
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.stdout.contains("nothing was changed"), "{ran:?}");
    assert!(!ran.stdout.contains("open nothing"), "{ran:?}");
    let running = pair.site.serve();
    assert_eq!(running.local().verdict(&keys[0].secret), "VALID");
}

#[test]
fn what_a_site_knows_to_have_ended_stays_so_under_a_new_pepper_of_a_restored_server() {
    let mut pair = Pair::new();
    let keys = pair.issue(4);
    pair.bring();
    let mut running = pair.site.serve();
    let line = Line::of(&pair.server);
    let backup = pair.site.path("backup.db");
    line.ok(&["backup", backup.to_str().unwrap()]);
    for key in &keys[..2] {
        rotate(&pair.server, key);
    }
    pair.bring();
    pair.server.stop();
    // Without them the server does not know what had ended either.
    fs::remove_file(pair.server.data.join("tombstones")).unwrap();
    line.run(&["restore", backup.to_str().unwrap(), "--yes"]);
    pair.server.restart();
    line.ok(&["secrets", "rotate"]);
    pair.upgrade(&keys[0]);
    pair.make(&["--whole"]);
    assert_eq!(pair.site.try_apply(&pair.site.stick()).code, Some(1));
    pair.site.line.ok(&["site", "reset", "--yes"]);
    pair.site.apply();
    for _ in 0..2 {
        for key in &keys[..2] {
            assert_ne!(running.local().verdict(&key.secret), "VALID");
        }
        assert_eq!(running.local().verdict(&keys[2].secret), "VALID");
        running.restart();
    }
    // Nor does it work when packs no longer have the pepper by which the site knows it.
    pair.upgrade(&keys[2]);
    line.ok(&[
        "secrets",
        "retire",
        "pepper",
        "1",
        "--disable-unseen",
        "--yes",
    ]);
    pair.make(&["--whole"]);
    pair.site.apply();
    for _ in 0..2 {
        assert_ne!(running.local().verdict(&keys[0].secret), "VALID");
        assert_eq!(running.local().verdict(&keys[2].secret), "VALID");
        running.restart();
    }
    // A new secret of the key works.
    let new = rotate(&pair.server, &keys[0]);
    pair.bring();
    assert_eq!(running.local().verdict(&new.secret), "VALID");
    assert_ne!(running.local().verdict(&keys[0].secret), "VALID");
}

#[test]
fn a_site_that_a_few_rotations_of_the_signing_key_would_cut_off_is_named() {
    let pair = Pair::new();
    let line = pair.line();
    let rotate = || line.run(&["pack", "rotate-key"]);
    for _ in 0..11 {
        let ran = rotate();
        assert!(!ran.stderr.contains("plant-7"), "{ran:?}");
    }
    assert!(
        !line
            .run(&["doctor"])
            .stdout
            .contains("others have followed")
    );
    let ran = rotate();
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.stderr.contains("site plant-7 is only known"), "{ran:?}");
    let doctor = line.run(&["doctor"]);
    assert!(doctor.stdout.contains("others have followed"), "{doctor:?}");
    // With a pack and a report it trusts the newest one.
    pair.bring();
    let stick = pair.site.stick();
    let stick = stick.to_str().unwrap();
    pair.site.line.ok(&["site", "report", "--out", stick]);
    line.ok(&["site", "collect", stick]);
    let ran = rotate();
    assert!(!ran.stderr.contains("plant-7"), "{ran:?}");
}

#[test]
fn packs_for_others_alone_are_named() {
    let pair = Pair::new();
    pair.issue(1);
    let other = super::Site::enrol(&pair.server, "plant-8", &[]);
    let stick = other.stick();
    let out = ["pack", "make", "--site", "plant-8", "--out"];
    let out = [&out[..], &[stick.to_str().unwrap()]].concat();
    pair.line().ok(&out);
    let folder = stick.join("plant-8");
    let ran = pair.site.try_apply(&folder);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let names_it = ran.stderr.contains("for site plant-8") && ran.stderr.contains("000001");
    assert!(names_it, "{ran:?}");
    other.apply();
    let again = other.apply();
    assert!(again.contains("nothing is newer than pack 1"), "{again}");
}
