//! Texts that are sent as a secret and are not one.

use serde_json::json;

use crate::support::Server;

/// attacks 52, 53, 54, 58
#[test]
fn what_is_no_secret_of_ours_is_malformed_or_unknown_and_tells_nothing() {
    let server = Server::start();
    let admin = server.admin();
    let good = &server.secret;
    let id = &good[3..13];
    let other = admin.issue(json!({ "name": "other" }));
    // The random part of one key with the id of another and a valid checksum cannot be created from outside; a unit
    // test covers it. A changed character always makes the checksum invalid.
    let mut flipped = good.clone().into_bytes();
    flipped[20] = if flipped[20] == b'a' { b'b' } else { b'a' };
    let flipped = String::from_utf8(flipped).unwrap();
    let long = "a".repeat(4096);
    let cases = [
        "",
        "x",
        " ",
        "lk_",
        "' OR 1=1 --",
        "%",
        "_",
        "*",
        "\0",
        "lk\u{200b}_a",
        id,
        &long,
        &flipped,
        &format!("{good} "),
        &format!(" {good}"),
        &format!("{good}\n"),
        &good[..good.len() - 1],
        &good[3..],
        &format!("sk{}", &good[2..]),
        &format!("LK{}", &good[2..]),
        &good.replace("lk_", "\u{4c}\u{212a}_"),
        &format!("Bearer {good}"),
        &format!("lk_{id}{}", &other.secret[13..]),
        &good.replace('_', "%5F"),
    ];
    for text in cases {
        let verdict = admin.verify(json!({ "key": text }));
        assert_eq!(
            verdict,
            json!({ "valid": false, "code": "MALFORMED" }),
            "{text:?}"
        );
    }
    admin.delete(&format!("/v1/keys/{}", other.id)).expect(204);
    let unknown = json!({ "valid": false, "code": "NOT_FOUND" });
    assert_eq!(admin.verify(json!({ "key": other.secret })), unknown);
    let elsewhere = Server::start();
    assert_eq!(admin.verify(json!({ "key": elsewhere.secret })), unknown);
}
