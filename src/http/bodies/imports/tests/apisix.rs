//! Lists of consumers of APISIX.

use super::*;

const GOOD: &str = r#"{"total":1,"list":[
 {"key":"/apisix/consumers/jack","value":{"username":"jack","create_time":1735689600,"desc":"d",
  "plugins":{
   "key-auth":{"key":"auth-one-5Tg7Yh9Uj"},
   "ip-restriction":{"whitelist":["10.0.0.0/8"]},
   "limit-count":{"count":100,"time_window":60,"key":"consumer_name"}
  },"labels":{"team":"a"}}}
]}"#;

#[test]
fn malformed_lists_are_refused_with_their_line() {
    refused(
        Source::Apisix,
        GOOD,
        &[
            ("\n]}", "", 7, "a comma or ]"),
            ("\"desc\":\"d\",", "\"desc\":\"d\"", 3, "a comma or }"),
            ("\"total\":1", "\"total\":2", 1, "further pages"),
            ("\"list\":[\n", "\"lists\":[\n", 1, "no list of consumers"),
            (
                "\"username\":\"jack\"",
                "\"username\":7",
                2,
                "no list of consumers",
            ),
            ("\"username\":\"jack\",", "", 2, "no list of consumers"),
            (
                "\"value\":{",
                "\"value\":{\"quota\":5,",
                2,
                "does not know the property",
            ),
            (
                "\"value\":{",
                "\"value\":{\"group_id\":\"gold\",",
                2,
                "consumer group",
            ),
            (
                "\"value\":{",
                "\"value\":{\"value\":{},\"value\":{},",
                2,
                "there twice",
            ),
            ("1735689600", "\"soon\"", 2, "create_time of jack"),
            ("1735689600", "99999999999999", 2, "create_time of jack"),
            ("\"auth-one-5Tg7Yh9Uj\"", "\"\"", 4, "no secret"),
            ("\"auth-one-5Tg7Yh9Uj\"", "12345", 4, "in quotation marks"),
            ("\"auth-one-5Tg7Yh9Uj\"", "null", 4, "in quotation marks"),
            ("auth-one-5Tg7Yh9Uj", " auth-one", 4, "blanks at its ends"),
            (
                "auth-one-5Tg7Yh9Uj",
                "$secret://vault/1/jack/key",
                4,
                "reference",
            ),
            ("auth-one-5Tg7Yh9Uj", "$env://JACK", 4, "reference"),
            (
                "auth-one-5Tg7Yh9Uj",
                "0mD5Cq5kqRzJ9nXvQ1bY2w==",
                4,
                "encrypted",
            ),
            (
                "{\"key\":\"auth-one-5Tg7Yh9Uj\"}",
                "\"auth-one\"",
                4,
                "must be an object",
            ),
            ("{\"key\":\"auth-one-5Tg7Yh9Uj\"}", "{}", 2, "no secret"),
            (
                "{\"key\":\"auth-one-5Tg7Yh9Uj\"}",
                "{\"key\":\"abcdef\",\"_meta\":{\"disable\":true}}",
                4,
                "disabled",
            ),
            (
                "{\"key\":\"auth-one-5Tg7Yh9Uj\"}",
                "{\"key\":\"abcdef\",\"ttl\":9}",
                4,
                "does not know the property",
            ),
            ("10.0.0.0/8", "10.0.0.1/8", 5, "IPv4 or IPv6 address"),
            ("\"whitelist\"", "\"blacklist\"", 5, "denied addresses"),
            (
                "\"whitelist\":[\"10.0.0.0/8\"]",
                "",
                5,
                "must not be an empty list",
            ),
            ("consumer_name", "remote_addr", 6, "not of this key alone"),
            ("\"time_window\":60,", "", 6, "not complete"),
            ("\"count\":100", "\"count\":-1", 6, "whole number"),
            (
                "\"time_window\":60",
                "\"time_window\":9999999",
                6,
                "at most 31 days",
            ),
            (
                "\"limit-count\"",
                "\"limit-req\"",
                6,
                "does not know the plugin",
            ),
            ("", "[]", 1, "no keys of apisix"),
            ("", "username: jack", 1, "a value is expected"),
            (
                "",
                r#"{"key":"/apisix/consumers/a/credentials/b","value":{"plugins":{"key-auth":{"key":"abcdef"}}}}"#,
                1,
                "does not have the consumer a",
            ),
        ],
    );
}

/// Version 2 of the Admin API has other lists.
#[test]
fn lists_of_version_2_are_read() {
    let text = r#"{"action":"get","count":1,"node":{"key":"/apisix/consumers","dir":true,"nodes":[{"key":"/apisix/consumers/jack","value":{"username":"jack","plugins":{"key-auth":{"key":"auth-one"}}}}]}}"#;
    let parsed = parse(Source::Apisix, text.as_bytes()).unwrap();
    assert_eq!(parsed.keys[0].name, "jack");
    let empty = r#"{"node":{"nodes":{}}}"#;
    refused_whole(Source::Apisix, empty.as_bytes(), 1, "no keys of apisix");
}

#[test]
fn a_limit_of_a_consumer_with_several_keys_is_not_given_to_each_of_them() {
    let more = "\n{\"key\":\"/apisix/consumers/jack/credentials/b\",\"value\":{\"plugins\":{\"key-auth\":{\"key\":\"abcdef\"}}}}";
    let parsed = parse(Source::Apisix, (GOOD.to_owned() + more).as_bytes()).unwrap();
    assert!(parsed.keys.is_empty(), "{}", shown(&parsed));
}
