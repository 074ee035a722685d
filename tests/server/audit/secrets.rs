//! Places in which secrets must not be stored.

use std::fs;

use serde_json::json;

use crate::support::{PASSWORD, Server};

/// attacks 137, 138, 202: every place that a secret passes through is searched for it.
#[test]
fn no_secret_is_in_the_data_folder_or_the_log() {
    let mut server = Server::start_with(&[], &[("RUST_LOG", "trace")]);
    let admin = server.admin();
    admin.person("alice", "key_manager", "root");
    let session = json!({ "user_name": "alice", "password": PASSWORD });
    let token = server
        .anonymous()
        .post("/v1/sessions", session)
        .expect(201)
        .json()["access_token"]
        .as_str()
        .unwrap()
        .to_owned();
    let issued = server.bearer(&token).issue(json!({ "name": "k" }));
    let rotated = admin.rotate(&issued.id, json!({ "grace_s": 60 }));
    let own = server
        .bearer(&rotated.secret)
        .post("/v1/whoami/rotate", json!({}))
        .expect(200)
        .json();
    let secrets = [
        server.management_key.clone(),
        server.secret.clone(),
        server.owner_password.clone(),
        PASSWORD.to_owned(),
        token,
        issued.secret,
        rotated.secret,
        own["secret"].as_str().unwrap().to_owned(),
    ];
    // Clients sometimes send secrets by mistake in these parts of a request.
    for secret in &secrets {
        let plain = secret.replace(' ', "%20");
        admin.get(&format!("/v1/keys?q={plain}"));
        admin.get(&format!("/v1/keys/{plain}"));
        admin.get(&format!("/{plain}"));
        server.anonymous().get(&format!("/auth/nginx?key={plain}"));
        server
            .anonymous()
            .with("X-Original-URI", &format!("/?key={plain}"))
            .bearer(secret)
            .get("/auth/nginx?catalog=x");
        admin.post("/v1/keys", json!({ "name": 1, "secret": secret }));
        admin.post("/v1/verify", json!({ "key": secret, "unknown": true }));
        admin.verify(json!({ "key": secret }));
        server
            .anonymous()
            .bearer(&format!("{secret}x"))
            .get("/v1/keys");
        server
            .anonymous()
            .with("Authorization", &format!("Basic {secret}"))
            .with("Referer", secret)
            .get("/v1/keys");
        server
            .anonymous()
            .with("X-API-Key", secret)
            .with("User-Agent", secret)
            .get("/v1/whoami");
        admin.send(
            "POST",
            "/v1/introspect",
            "application/x-www-form-urlencoded",
            format!("token={plain}").as_bytes(),
        );
    }
    let search = |server: &Server| {
        let mut texts = vec![("the log".to_owned(), server.log().into_bytes())];
        let mut folders = vec![server.data.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
                if entry.file_type().unwrap().is_dir() {
                    folders.push(entry.path());
                } else if entry.file_type().unwrap().is_file() {
                    texts.push((
                        entry.path().display().to_string(),
                        fs::read(entry.path()).unwrap(),
                    ));
                }
            }
        }
        assert!(
            texts.iter().map(|(_, bytes)| bytes.len()).sum::<usize>() > 50_000,
            "there is something to search"
        );
        for (name, bytes) in &texts {
            for secret in &secrets {
                // The id may occur in any file; the rest of a secret, or a password, in none.
                let hidden = secret
                    .split_once('_')
                    .map_or(&secret[..], |(_, rest)| &rest[10..]);
                let found = bytes
                    .windows(hidden.len())
                    .any(|window| window == hidden.as_bytes());
                assert!(!found, "{name} holds a secret");
            }
        }
    };
    search(&server);
    server.stop();
    search(&server);
    server.restart();
    let events = admin.get("/v1/audit-events?limit=500").expect(200).text();
    for secret in &secrets {
        assert!(
            !events.contains(&secret[secret.len() - 20..]),
            "the audit log holds a secret"
        );
    }
}
