//! Histories of a server and a linked site: after every change that has waited for the site, both give the same verdicts. The
//! site is stopped and killed, keys are rotated, and the directory changes.

use serde_json::{Value, json};

use super::relay::Relay;
use super::{await_verdict, follow, url_of, verdict};
use crate::command_line::Line;
use crate::sites::Site;
use crate::sites::histories::History;
use crate::support::{Issued, Server, User};

/// The number of times that the two are compared.
const ROUNDS: u64 = 50;

/// Changes a key, and waits until the site has applied this and everything before.
#[track_caller]
fn settle(admin: &User, site: &Server, barrier: &Issued, round: u64) {
    loop {
        // A site that was killed and started again may have no lease yet; then it is not waited for.
        await_verdict(site, &barrier.secret, "VALID");
        let path = format!("/v1/keys/{}?wait=sites", barrier.id);
        let body = json!({ "description": format!("round {round}") });
        let answer = admin.patch(&path, body).expect(200);
        if answer.header("latchkey-sites") == Some("plant-7=applied") {
            return;
        }
    }
}

fn catalog(scope: &str) -> Value {
    json!({
        "scopes": [{ "name": "things:read" }, { "name": "things:write" }],
        "operations": [{ "id": "read", "method": "GET", "path": "/things", "access": "read", "any_of": [scope] }],
    })
}

#[test]
fn a_linked_site_and_its_server_agree_after_every_change() {
    let server = Server::start();
    let site = Site::enrol(&server, "plant-7", &[]);
    let (admin, line) = (server.admin(), Line::of(&server));
    let mut history = History::begin(&admin, 23);
    let barrier = admin.issue(json!({ "name": "barrier" }));
    admin
        .put("/v1/catalogs/shop", catalog("things:read"))
        .expect(201);
    let shopper =
        admin.issue(json!({ "name": "shopper", "catalog": "shop", "scopes": ["things:read"] }));
    let url = url_of(&server);
    let mut running = follow(&site, &url, "10s");
    await_verdict(&running, &barrier.secret, "VALID");
    for round in 0..ROUNDS {
        for _ in 0..1 + history.random.below(5) {
            history.step(&admin);
        }
        match round % 10 {
            2 => drop(
                admin
                    .put("/v1/catalogs/shop", catalog("things:write"))
                    .expect(200),
            ),
            4 => drop(
                admin
                    .put("/v1/catalogs/shop", catalog("things:read"))
                    .expect(200),
            ),
            5 => running.restart(),
            7 => {
                running.kill9();
                running.restart();
            }
            _ => {}
        }
        match round {
            13 => drop(line.ok(&["pack", "rotate-key"])),
            23 => drop(line.ok(&["secrets", "rotate"])),
            33 => drop(
                admin
                    .patch("/v1/workspaces/plants", json!({ "parent": "root" }))
                    .expect(200),
            ),
            43 => drop(line.ok(&["site", "edit", "plant-7", "--until", "3d"])),
            _ => {}
        }
        settle(&admin, &running, &barrier, round);
        history.compare(&server, &running, &format!("round {round}"));
        let question = json!({
            "key": shopper.secret, "catalog": "shop", "method": "GET", "path": "/things", "cost": 0,
        });
        let at_server = server.local().verify(question.clone());
        assert_eq!(
            at_server["code"],
            running.local().verify(question)["code"],
            "round {round}"
        );
    }
    history.check_kinds();
}

/// Over TLS, the certificate of the server must be one of the authority that is set.
#[test]
fn the_certificate_of_the_server_is_checked() {
    let folder = crate::support::fresh_folder();
    let made = |name: &str| {
        let (certificate, key) = (
            folder.join(format!("{name}.pem")),
            folder.join(format!("{name}.key")),
        );
        let ran = crate::support::executable(None)
            .args(["tls", "self-signed", "--host", "localhost", "--certificate"])
            .arg(&certificate)
            .arg("--key")
            .arg(&key)
            .output()
            .unwrap();
        assert!(ran.status.success(), "{ran:?}");
        (
            certificate.to_str().unwrap().to_owned(),
            key.to_str().unwrap().to_owned(),
        )
    };
    let ((certificate, key), (other, _)) = (made("own"), made("other"));
    let server = Server::start_with(&["--tls-certificate", &certificate, "--tls-key", &key], &[]);
    let site = Site::enrol(&server, "plant-7", &[]);
    let secret = server.local().issue(json!({ "name": "k" })).secret;
    let relay = Relay::on([127, 0, 0, 1].into(), server.address);
    let url = format!("https://localhost:{}", relay.address.port());
    let refused = site.serve_with(&["--server", &url, "--server-ca", &other], &[]);
    refused.wait_for_log(
        "name the file of the authority that has issued it: --server-ca",
        1,
    );
    assert_eq!(verdict(&refused, &secret), "PACK_STALE");
    drop(refused);
    let running = site.serve_with(&["--server", &url, "--server-ca", &certificate], &[]);
    await_verdict(&running, &secret, "VALID");
    let _ = std::fs::remove_dir_all(folder);
}
