//! Keys of Tyk.

use super::*;

const GOOD: &str = r#"{"keys":[
 {"api_model":{},"key_hash":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","key_id":"",
  "data":{"org_id":"5e9d","alias":"ci","expires":0,"rate":10,"per":60,
   "quota_max":-1,"quota_remaining":-1,"quota_renewal_rate":0,"is_inactive":false,"date_created":"2025-01-01T00:00:00Z",
   "meta_data":null,"oauth_client_id":"","hmac_enabled":false,"session_lifetime":0,"max_query_depth":-1,
   "basic_auth_data":{"password":"","hash_type":""},"jwt_data":{"secret":""},
   "access_rights":{"a1":{"api_name":"A","api_id":"a1","versions":["Default"],"allowed_urls":null,"limit":null}}}}
],"pages":1}"#;
const DIGEST: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

#[test]
fn malformed_keys_are_refused_with_their_line() {
    refused(
        Source::Tyk,
        GOOD,
        &[
            ("\n],\"pages\":1}", "", 7, "a comma or ]"),
            ("\"rate\":10,", "\"rate\":10 ", 3, "a comma or }"),
            ("{\"keys\":[\n", "{\"keys\":{\n", 2, "name of a member"),
            ("\"keys\"", "\"kees\"", 1, "no data"),
            ("\"api_model\"", "\"rights\"", 2, "member rights is unknown"),
            ("\"data\":{", "\"session\":{", 2, "no data"),
            ("\"org_id\":\"5e9d\",", "", 3, "no org_id"),
            ("\"expires\":0,", "", 3, "no expires"),
            ("\"access_rights\"", "\"rights\"", 3, "no access_rights"),
            ("\"alias\"", "\"org_id\"", 3, "there twice"),
            (DIGEST, "41c5cb1e", 2, "murmur"),
            (DIGEST, "41c5cb1e41c5cb1e", 2, "murmur"),
            (DIGEST, "41c5cb1e41c5cb1e41c5cb1e41c5cb1e", 2, "murmur"),
            (DIGEST, "", 2, "no secret"),
            (DIGEST, &DIGEST[1..], 2, "no secret"),
            (
                "\"key_id\":\"\"",
                "\"key_id\":\"5e9\",\"key_hash2\":1",
                2,
                "member key_hash2 is unknown",
            ),
            ("\"expires\":0", "\"expires\":\"never\"", 3, "expires of ci"),
            ("\"per\":60", "\"per\":0.5", 3, "whole number"),
            ("\"per\":60", "\"per\":0", 2, "10 requests in 0 ms"),
            ("\"rate\":10", "\"rate\":\"x\"", 3, "rate of ci"),
            (
                "\"quota_max\":-1",
                "\"quota_max\":\"x\"",
                4,
                "quota_max of ci",
            ),
            (
                "\"is_inactive\":false",
                "\"is_inactive\":7",
                4,
                "true or false",
            ),
            ("2025-01-01T00:00:00Z", "soon", 4, "date_created of ci"),
            (
                "\"meta_data\":null",
                "\"meta_data\":\"x\"",
                5,
                "meta_data of ci",
            ),
            (
                "\"oauth_client_id\":\"\"",
                "\"oauth_client_id\":\"c\"",
                5,
                "OAuth client",
            ),
            (
                "\"hmac_enabled\":false",
                "\"hmac_enabled\":true",
                5,
                "signs requests",
            ),
            (
                "\"session_lifetime\":0",
                "\"session_lifetime\":60",
                5,
                "lifetime",
            ),
            (
                "\"max_query_depth\":-1",
                "\"max_query_depth\":3",
                5,
                "depth of queries",
            ),
            (
                "\"meta_data\":null",
                "\"new_limit\":3",
                5,
                "does not know the property",
            ),
            (
                "\"password\":\"\"",
                "\"password\":\"$2a$10$x\"",
                6,
                "is a password",
            ),
            ("\"secret\":\"\"", "\"secret\":\"s\"", 6, "is a password"),
            ("[\"Default\"]", "[\"v2\"]", 7, "access_rights.a1.versions"),
            (
                "\"allowed_urls\":null",
                "\"allowed_urls\":[{}]",
                7,
                "access_rights.a1.allowed_urls",
            ),
            (
                "\"limit\":null",
                "\"limit\":{\"rate\":5,\"per\":1}",
                7,
                "access_rights.a1.limit",
            ),
            ("{\"a1\":{", "{\"a1\":7,\"b\":{", 7, "must be an object"),
            (
                "{\"a1\":{\"api_name\":\"A\",\"api_id\":\"a1\",\"versions\":[\"Default\"],\"allowed_urls\":null,\"limit\":null}}",
                "{}",
                2,
                "which APIs",
            ),
            ("", "{\"keys\":[\n\"5e9d9544\"]}", 2, "only the ids"),
            ("", "{\"keys\":7}", 1, "keys must be a list"),
            ("", "[7]", 1, "must be an object"),
            ("", "{\"keys\":[]}", 1, "no keys of tyk"),
        ],
    );
}

/// Without hashing, the id is the key itself.
#[test]
fn a_key_that_was_not_hashed_is_hashed_here() {
    for id in [
        "5e9de7f75f9e03534825b7aef9df749582e5",
        "eyJvcmciOiI1ZTlkIiwiaWQiOiJhIiwiaCI6Im11cm11cjY0In0=",
        "a-custom-key",
    ] {
        let text = GOOD
            .replace(DIGEST, "")
            .replace("\"key_id\":\"\"", &format!("\"key_id\":\"{id}\""));
        let parsed = parse(Source::Tyk, text.as_bytes()).unwrap();
        assert_eq!(parsed.keys.len(), 1, "{id}: {}", shown(&parsed));
        assert!(!shown(&parsed).contains(id));
    }
    let like_digest = GOOD
        .replace(DIGEST, "")
        .replace("\"key_id\":\"\"", "\"key_id\":\"41c5cb1e\"");
    refused_whole(Source::Tyk, like_digest.as_bytes(), 2, "a digest of it");
}
