//! Secrets that other systems have made, by their digest.

use super::{Files, apply, digest, draw, named, refused};
use crate::command_line::Line;
use std::path::Path;

#[test]
fn a_digest_is_made_from_a_pipe_or_a_file() {
    let secret = "sk-another-system-0123456789";
    let expected =
        "digest = \"sha256:bea5d2a9e3a8d3b1b5ec9cd3a0e4bdbf4a1e4f0e4cc7eb1fd0d3ec67f2c0b5e3\"\n";
    let made = digest(secret);
    assert_eq!(made.len(), expected.len());
    assert!(made.starts_with("digest = \"sha256:"), "{made}");
    assert_eq!(
        digest(&format!("{secret}\n")),
        made,
        "the end of the line is not a part of it"
    );
    let files = Files::new();
    let file = files.path().join("secret");
    std::fs::write(&file, format!("{secret}\nmore\n")).unwrap();
    let line = Line::at(Path::new("/nowhere"));
    let args = ["key", "digest", "--secret-file", file.to_str().unwrap()];
    assert_eq!(line.ok(&args), made);
    assert_eq!(
        line.run_with_input(&["key", "digest"], "two words").code,
        Some(1)
    );
    assert_eq!(line.run_with_input(&["key", "digest"], "").code, Some(2));
    // Of a secret of this server the id is printed too.
    let drawn = draw("one");
    let own = digest(&drawn.secret);
    let both = format!("id = \"{}\"", drawn.id);
    assert!(
        own.starts_with(&both) && own.contains(&drawn.digest),
        "{own}"
    );
    // A plain one, for clients that accept letters and digits alone.
    let plain = super::draw_with(&["plain", "--prefix", ""]);
    assert!(
        plain
            .secret
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric())
    );
}

#[test]
fn a_secret_of_another_system_goes_on_working() {
    let files = Files::new();
    let secret = "sk-another-system-0123456789";
    files.write(
        "10.toml",
        &format!(
            "[[key]]\nname = \"old\"\n{}scopes = [\"a\"]\n",
            digest(secret)
        ),
    );
    let mut server = files.server();
    assert_eq!(server.anonymous().verdict(secret), "VALID");
    assert_eq!(
        server.anonymous().verdict("sk-another-system-0123456788"),
        "NOT_FOUND"
    );
    assert_eq!(named(&server, "old")["weak"], true);
    // The stanza fits after the digest was replaced by one under the pepper.
    server.restart();
    assert_eq!(server.anonymous().verdict(secret), "VALID");
    assert_eq!(apply(&server), Vec::<String>::new());

    // A drawn secret takes its place: the key stays.
    let id = named(&server, "old")["id"].as_str().unwrap().to_owned();
    let drawn = super::draw_with(&["old", "--id", &id]);
    files.write("10.toml", &drawn.with("scopes = [\"a\"]"));
    assert_eq!(apply(&server), ["rotate old"]);
    assert_eq!(server.anonymous().verdict(&drawn.secret), "VALID");
    // The store has no secret of another system any more, so the text cannot be one.
    assert_eq!(server.anonymous().verdict(secret), "MALFORMED");
    assert!(named(&server, "old")["weak"].is_null());
}

/// An entry in the form of agentgateway's `apiKey` policy (its example `apikey-hashed`), converted with one `sed`.
#[test]
fn an_entry_of_agentgateway_is_converted_with_one_sed() {
    let files = Files::new();
    let secret = "a-long-random-key-of-the-gateway";
    let hash = digest(secret);
    let hash = hash.trim().trim_start_matches("digest = ");
    let entry = format!(
        "          keys:\n          - keyHash: {hash}\n            metadata:\n              group: sales\n"
    );
    let yaml = files.path().join("config.yaml");
    std::fs::write(&yaml, entry).unwrap();
    let script = "s/^ *- keyHash: *\"\\{0,1\\}\\(sha256:[0-9a-f]*\\).*/[[key]]\\nname = \"sales\"\\ndigest = \"\\1\"/p";
    let converted = std::process::Command::new("sed")
        .args(["-n", script])
        .arg(&yaml)
        .output()
        .unwrap();
    files.write("10.toml", &String::from_utf8(converted.stdout).unwrap());
    let server = files.server();
    assert_eq!(refused(&server), Vec::<String>::new());
    assert_eq!(server.anonymous().verdict(secret), "VALID");
}
