//! Rows of Unkey.

use super::*;

const GOOD: &str = r#"[
 {"id":"key_1","hash":"9OmnbVcvXGOc34kVuVFE5qXGBCRk3WY/1ZhhR2MtOWI=","enabled":true,
  "name":"ci","start":"acme","created_at":"2025-01-01 00:00:00","expires":null,"remaining_requests":7,
  "ratelimit_limit":10,"ratelimit_duration":60000,"meta":"{}","permissions":"[]","ratelimits":"[]","ip_whitelist":"10.0.0.1, 10.0.0.2",
  "deleted_at_m":null}
]"#;

#[test]
fn malformed_rows_are_refused_with_their_line() {
    refused(
        Source::Unkey,
        GOOD,
        &[
            ("[\n", "[\n,", 2, "a value is expected"),
            ("\n]", "", 5, "a comma or ]"),
            ("true,", "true", 3, "a comma or }"),
            (" {\"id\"", " [\"id\"", 2, "a comma or ]"),
            ("\"id\":\"key_1\",", "", 2, "no id"),
            ("\"hash\"", "\"hush\"", 2, "no hash"),
            ("\"enabled\":true,", "", 2, "no enabled"),
            ("\"name\"", "\"id\"", 3, "there twice"),
            ("9Omnb", "9Om", 2, "no digest of a known form"),
            (
                "9OmnbVcvXGOc34kVuVFE5qXGBCRk3WY/1ZhhR2MtOWI=",
                "0123456789abcdef0123456789abcdef",
                2,
                "MD5/murmur",
            ),
            (
                "\"9OmnbVcvXGOc34kVuVFE5qXGBCRk3WY/1ZhhR2MtOWI=\"",
                "null",
                2,
                "no digest",
            ),
            ("true", "\"perhaps\"", 2, "true or false"),
            ("2025-01-01 00:00:00", "01/02/2025", 3, "created_at of ci"),
            (
                "\"expires\":null",
                "\"expires\":\"never\"",
                3,
                "expires of ci",
            ),
            (
                "\"remaining_requests\":7",
                "\"remaining_requests\":-7",
                3,
                "remaining_requests of ci",
            ),
            (
                "\"remaining_requests\":7",
                "\"remaining_requests\":1.5",
                3,
                "whole number",
            ),
            ("60000", "60001", 2, "60001 ms"),
            ("\"ratelimit_duration\":60000,", "", 2, "bucket"),
            ("60000", "0", 2, "10 requests in 0 ms"),
            ("\"meta\":\"{}\"", "\"meta\":\"{\"", 4, "meta of ci"),
            ("\"meta\":\"{}\"", "\"meta\":\"[]\"", 4, "must be an object"),
            (
                "\"permissions\":\"[]\"",
                "\"permissions\":\"a b\"",
                4,
                "list of strings",
            ),
            (
                "\"ratelimits\":\"[]\"",
                "\"ratelimits\":\"[{}]\"",
                4,
                "no limit or duration",
            ),
            (
                "\"ratelimits\":\"[]\"",
                "\"ratelimits\":\"[1]\"",
                4,
                "list of objects",
            ),
            (
                "\"deleted_at_m\":null",
                "\"deleted_at_m\":1750000000000",
                5,
                "deleted",
            ),
            ("10.0.0.1", "10.0.0.x", 4, "ip_whitelist[0]"),
            (
                "\"ratelimits\":\"[]\"",
                r#""ratelimits":[{"limit":1,"duration":1000,"identity_id":"i"}]"#,
                4,
                "not of this key alone",
            ),
            (
                "\"deleted_at_m\":null",
                "\"new_limit\":3",
                5,
                "does not know the property",
            ),
            ("", "[7]", 1, "must be an object"),
            ("", "[]", 1, "no keys of unkey"),
            ("", "id,hash,enabled\nkey_1,abc\n", 2, "2 cells"),
            ("", "id,hash\nkey_1,abc\n", 2, "no enabled"),
        ],
    );
}

#[test]
fn a_limit_that_cannot_be_kept_drops_the_key_and_one_that_is_named_does_not() {
    let limits = |json: &str| {
        let text = GOOD.replace("\"ratelimits\":\"[]\"", &format!("\"ratelimits\":{json}"));
        parse(Source::Unkey, text.as_bytes()).unwrap()
    };
    let two = limits(r#"[{"name":"a","limit":1,"duration":1000,"auto_apply":1}]"#);
    assert!(two.keys.is_empty(), "{}", shown(&two));
    let named = limits(r#"[{"name":"a","limit":1,"duration":1000,"auto_apply":0}]"#);
    assert_eq!(named.keys.len(), 1, "{}", shown(&named));
    assert_eq!(named.left_out.len(), 1, "{}", shown(&named));
}

#[test]
fn permissions_that_are_no_scopes_are_left_out() {
    let text = GOOD.replace(
        "\"permissions\":\"[]\"",
        r#""permissions":["a.read","a b","a.read"]"#,
    );
    let parsed = parse(Source::Unkey, text.as_bytes()).unwrap();
    assert_eq!(parsed.keys[0].scopes, ["a.read"]);
    assert_eq!(parsed.left_out.len(), 1, "{}", shown(&parsed));
}
