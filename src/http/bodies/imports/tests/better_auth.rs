//! Rows of better-auth.

use super::*;

const GOOD: &str = r#"[
 {"id":"k1","key":"47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU","enabled":1,"expiresAt":null,
  "name":"ci","start":"ba_a","referenceId":"u1","rateLimitEnabled":1,"rateLimitTimeWindow":60000,"rateLimitMax":5,
  "remaining":null,"createdAt":"2025-01-01T00:00:00.000Z","permissions":null,"metadata":"null"}
]"#;

#[test]
fn malformed_rows_are_refused_with_their_line() {
    refused(
        Source::BetterAuth,
        GOOD,
        &[
            ("\n]", "", 4, "a comma or ]"),
            ("[\n", "[\n[", 5, "a comma or ]"),
            ("\"enabled\":1,", "\"enabled\":1", 2, "a comma or }"),
            ("\"id\"", "id", 2, "in quotation marks"),
            ("\"id\":\"k1\",", "", 2, "no id"),
            ("\"key\"", "\"hash\"", 2, "no key"),
            ("\"enabled\"", "\"active\"", 2, "no enabled"),
            ("\"expiresAt\"", "\"expires\"", 2, "no expiresAt"),
            ("\"name\"", "\"id\"", 3, "there twice"),
            ("47DEQ", "47D", 2, "no digest of a known form"),
            (
                "\"47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU\"",
                "null",
                2,
                "no digest of a known form",
            ),
            (
                "\"47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU\"",
                "\"ba_a \"",
                2,
                "blanks at its ends",
            ),
            ("\"enabled\":1", "\"enabled\":3", 2, "true or false"),
            (
                "\"expiresAt\":null",
                "\"expiresAt\":\"2025-13-01T00:00:00Z\"",
                2,
                "expiresAt of ci",
            ),
            (
                "\"expiresAt\":null",
                "\"expiresAt\":[]",
                2,
                "expiresAt of ci",
            ),
            ("60000", "60500", 2, "60500 ms"),
            ("60000", "\"long\"", 3, "whole number"),
            (
                "\"rateLimitMax\":5",
                "\"rateLimitMax\":-5",
                3,
                "whole number",
            ),
            (
                "\"remaining\":null",
                "\"remaining\":\"x\"",
                4,
                "remaining of ci",
            ),
            (
                "\"permissions\":null",
                "\"permissions\":\"[]\"",
                4,
                "permissions of ci",
            ),
            (
                "\"permissions\":null",
                "\"permissions\":\"{\\\"a\\\":1}\"",
                4,
                "list of strings",
            ),
            (
                "\"metadata\":\"null\"",
                "\"metadata\":\"x\"",
                4,
                "metadata of ci",
            ),
            (
                "\"metadata\":\"null\"",
                "\"metadata\":{\"n\":12345678901234567890}",
                2,
                "not every program reads alike",
            ),
            (
                "\"metadata\":\"null\"",
                "\"tenant\":\"t1\"",
                4,
                "does not know the property",
            ),
            ("", "[]", 1, "no keys of better-auth"),
            ("", "{}", 1, "no id"),
        ],
    );
}

/// With `disableKeyHashing` the table has the secrets themselves.
#[test]
fn a_secret_that_was_not_hashed_is_hashed_here() {
    let text = GOOD.replace(
        "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU",
        "ba_abcdefghijklmnopqrstuvwxyz",
    );
    let parsed = parse(Source::BetterAuth, text.as_bytes()).unwrap();
    assert!(parsed.keys[0].digest.starts_with("sha256:"));
    assert!(!shown(&parsed).contains("bcdefghij"));
    let unknown = text.replace("\"start\":\"ba_a\"", "\"start\":null");
    assert!(
        parse(Source::BetterAuth, unknown.as_bytes())
            .unwrap()
            .keys
            .is_empty()
    );
}
