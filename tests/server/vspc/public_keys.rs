//! Signing in with an RSA key (1D-16, 1D-28): the private one stays with OpenSSL.

use serde_json::json;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::second_factor::register;
use super::{Console, text, token};
use crate::command_line::Line;
use crate::support::{PASSWORD, Server, User, fresh_folder};

/// A key pair in a folder of its own.
struct Pair(PathBuf);

impl Pair {
    fn new() -> Pair {
        let folder = fresh_folder();
        std::fs::create_dir_all(&folder).unwrap();
        let pair = Pair(folder.join("key.pem"));
        pair.openssl(&["genrsa", "-out", &pair.path(), "2048"], b"");
        pair
    }

    fn path(&self) -> String {
        self.0.to_string_lossy().into_owned()
    }

    fn openssl(&self, arguments: &[&str], input: &[u8]) -> Vec<u8> {
        let mut running = Command::new("openssl")
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        running.stdin.take().unwrap().write_all(input).unwrap();
        let done = running.wait_with_output().unwrap();
        assert!(done.status.success(), "openssl {arguments:?}");
        done.stdout
    }

    fn public(&self, form: &str) -> Vec<u8> {
        self.openssl(
            &["rsa", "-in", &self.path(), "-pubout", "-outform", form],
            b"",
        )
    }

    fn decrypt(&self, base64: &str) -> String {
        let bytes = self.openssl(&["base64", "-d", "-A"], base64.as_bytes());
        let padding = "rsa_padding_mode:oaep";
        let path = self.path();
        let arguments = ["pkeyutl", "-decrypt", "-inkey", &path, "-pkeyopt", padding];
        String::from_utf8(self.openssl(&arguments, &bytes)).unwrap()
    }

    fn register(&self, user: &User, uid: &str, query: &str) -> i64 {
        let path = format!("/api/v3/users/{uid}/logins/asymmetricalgorithm?{query}");
        let made = user.send(
            "POST",
            &path,
            "application/octet-stream",
            &self.public("DER"),
        );
        let made = made.expect(200).json();
        assert_eq!(made["data"]["identityProviderName"], "RSA", "{made}");
        assert_eq!(made["data"]["parameters"], json!(null));
        made["data"]["id"].as_i64().unwrap()
    }

    /// The first step's answer, or its error's word.
    fn challenge(&self, server: &Server) -> Result<String, String> {
        let key = self.openssl(&["base64", "-A"], &self.public("DER"));
        let key: String = key.iter().map(|byte| format!("%{byte:02X}")).collect();
        let (status, answer) = token(server, &format!("grant_type=public_key&public_key={key}"));
        match status {
            200 => Ok(text(&answer, "encrypted_code")),
            _ => Err(text(&answer, "error")),
        }
    }

    #[track_caller]
    fn sign_in(&self, server: &Server) -> serde_json::Value {
        let code = self.decrypt(&self.challenge(server).unwrap());
        let (status, pair) = token(
            server,
            &format!("grant_type=authorization_code&code={code}"),
        );
        assert_eq!(status, 200, "{pair}");
        pair
    }
}

#[test]
fn whoever_has_the_private_key_signs_in_and_each_challenge_does_once() {
    let console = Console::start();
    let server = &console.server;
    let pair = Pair::new();
    let id = pair.register(
        &console.owner(),
        &console.me,
        "description=Sync&scopes=rest",
    );
    assert_eq!(
        server.admin().newest_event()["action"],
        "user.authenticator_add"
    );
    let encrypted = pair.challenge(server).unwrap();
    let code = pair.decrypt(&encrypted);
    let form = format!("grant_type=authorization_code&code={code}");
    let wrong = token(server, "grant_type=authorization_code&code=x");
    assert_eq!((wrong.0, &wrong.1["error"]), (400, &json!("invalid_grant")));
    let undecrypted: String = encrypted
        .bytes()
        .map(|byte| format!("%{byte:02X}"))
        .collect();
    let wrong = token(
        server,
        &format!("grant_type=authorization_code&code={undecrypted}"),
    );
    assert_eq!((wrong.0, &wrong.1["error"]), (400, &json!("invalid_grant")));
    server.bearer(&code).get("/api/v3/about").expect(401);
    let (status, tokens) = token(server, &form);
    assert_eq!(status, 200, "{tokens}");
    let again = token(server, &form);
    assert_eq!((again.0, &again.1["error"]), (400, &json!("invalid_grant")));

    let access = server.bearer(&text(&tokens, "access_token"));
    access.get("/api/v3/about").expect(200);
    let (_, renewed) = token(
        server,
        &format!(
            "grant_type=refresh_token&refresh_token={}",
            text(&tokens, "refresh_token")
        ),
    );
    // What it has begun ends with it, what it was renewed with too; the password's sessions stay.
    let login = format!("/api/v3/users/{}/logins/{id}", console.me);
    let off = json!([{"op": "replace", "path": "/status", "value": "disabled"}]);
    console.owner().patch(&login, off).expect(200);
    access.get("/api/v3/about").expect(401);
    server
        .bearer(&text(&renewed, "access_token"))
        .get("/api/v3/about")
        .expect(401);
    let refresh = text(&renewed, "refresh_token");
    let ended = token(
        server,
        &format!("grant_type=refresh_token&refresh_token={refresh}"),
    );
    assert_eq!(ended.0, 400);
    assert_eq!(pair.challenge(server), Err("invalid_grant".to_owned()));
    let on = json!([{"op": "replace", "path": "/status", "value": "enabled"}]);
    console.owner().patch(&login, on).expect(200);
    let late = pair.decrypt(&pair.challenge(server).unwrap());
    let tokens = pair.sign_in(server);
    // Its tokens can be ended by its number alone.
    let access = server.bearer(&text(&tokens, "access_token"));
    let path = format!("/api/v3/users/{}/tokens?userLoginId={id}", console.me);
    console.owner().delete(&path).expect(200);
    access.get("/api/v3/about").expect(401);
    console.owner().delete(&login).expect(200);
    // A challenge of before does not outlive it.
    let (status, _) = token(
        server,
        &format!("grant_type=authorization_code&code={late}"),
    );
    assert_eq!(status, 400);
    console.owner().get("/api/v3/about").expect(200);
    assert_eq!(pair.challenge(server), Err("invalid_grant".to_owned()));
}

#[test]
fn a_key_has_its_scopes_and_its_limits() {
    let console = Console::start();
    let server = &console.server;
    let reading = Pair::new();
    let query = "description=x&scopes=[%22rest%22]&isReadAccessOnly=true";
    let id = reading.register(&console.owner(), &console.me, query);
    let tokens = reading.sign_in(server);
    let access = server.bearer(&text(&tokens, "access_token"));
    access.get("/api/v3/users").expect(200);
    access
        .delete(&format!("/api/v3/users/{}/logins/{id}", console.me))
        .expect(403);
    let without = Pair::new();
    without.register(&console.owner(), &console.me, "description=x&scopes=ui");
    let code = without.decrypt(&without.challenge(server).unwrap());
    let (status, refused) = token(
        server,
        &format!("grant_type=authorization_code&code={code}"),
    );
    assert_eq!(
        (status, &refused["error"]),
        (400, &json!("unauthorized_client"))
    );

    // One key is one identity's, and it is no other's to register or to take over with.
    let alice = server.local().person("alice", "administrator", "root");
    let user = server.anonymous().signed_in("alice", PASSWORD);
    let path = |uid: &str| {
        format!("/api/v3/users/{uid}/logins/asymmetricalgorithm?description=x&scopes=rest")
    };
    let der = reading.public("DER");
    let octets = "application/octet-stream";
    user.send("POST", &path(&alice), octets, &der).expect(409);
    let other = Pair::new().public("PEM");
    user.send("POST", &path(&console.me), octets, &other)
        .expect(403);
    let (_, key) = console.key("description=x&scopes=rest");
    server
        .bearer(&key)
        .send("POST", &path(&console.me), octets, &other)
        .expect(403);
    for bad in [&b""[..], b"x", b"AAAA", &der[..100]] {
        let refused = user
            .send("POST", &path(&alice), octets, bad)
            .expect(400)
            .json();
        assert_eq!(
            refused["errors"][0]["parameterName"], "publicKey",
            "{refused}"
        );
    }
    user.send("POST", &path(&alice), octets, &other).expect(200);
    // Organizations list public keys among their keys, and a mightier user's cannot be taken away.
    let home = console.owner().get("/api/v3/users/me").json();
    let home = text(&home["data"], "organizationUid");
    let keys = console
        .owner()
        .get(&format!("/api/v3/organizations/{home}/keys"));
    let keys = keys.expect(200).json();
    let kinds = keys["data"].as_array().unwrap().iter();
    let of_rsa = kinds.filter(|one| one["identityProviderName"] == "RSA");
    assert_eq!(of_rsa.count(), 3, "{keys}");
    user.delete(&format!("/api/v3/users/{}/logins/{id}", console.me))
        .expect(403);
    // A disabled user's key signs nobody in.
    console
        .server
        .local()
        .patch("/v1/users/alice", json!({"enabled": false}))
        .expect(200);
}

// attacks 195
#[test]
fn a_restore_brings_back_neither_a_password_without_its_second_factor_nor_keys() {
    let mut console = Console::start();
    let pair = Pair::new();
    pair.register(&console.owner(), &console.me, "description=x&scopes=rest");
    let (_, key) = console.key("description=x&scopes=rest");
    let made = console.server.local().post("/v1/backups", json!({}));
    let backup = text(&made.expect(201).json(), "file");
    register(&console.owner(), &console.me);
    console.server.stop();
    let said = Line::of(&console.server).ok(&["restore", &backup, "--yes", "--json"]);
    assert!(said.contains("public keys of users deleted"), "{said}");
    console.server.restart();
    let server = &console.server;
    let (name, password) = (&server.owner_user_name, &server.owner_password);
    let form = format!("grant_type=password&username={name}&password={password}");
    let (status, refused) = token(server, &form);
    assert_eq!((status, &refused["error"]), (400, &json!("invalid_grant")));
    assert_eq!(pair.challenge(server), Err("invalid_grant".to_owned()));
    server.bearer(&key).get("/api/v3/about").expect(200);
}
