//! Dumps of Kong, and answers of its Admin API.

use super::*;

const GOOD: &str = "_format_version: '3.0'
consumers:
- username: alice
  custom_id: '42'
  acls:
  - group: readers
  groups:
  - name: staff
  keyauth_credentials:
  - key: iwb6Djkk4HhUlOCmLilDIKh6nZrn90ts
    tags: [a]
  plugins:
  - name: rate-limiting
    config:
      minute: 60
      limit_by: consumer
  - name: ip-restriction
    config:
      allow: [10.0.0.0/8]
consumer_groups:
- name: staff
services:
- name: orders
  plugins:
  - name: acl
    config:
      deny: [nobody]
";

#[test]
fn malformed_dumps_are_refused_with_their_line() {
    refused(
        Source::Kong,
        GOOD,
        &[
            ("_format_version", "_version", 1, "neither a dump of deck"),
            ("username", "name", 3, "does not know the property"),
            ("consumers:\n-", "consumers:\n", 4, "neither YAML nor JSON"),
            ("consumers:", "consumers: *a", 2, "neither YAML nor JSON"),
            ("  custom_id", "  username", 4, "there twice"),
            ("'42'", "'42", 4, "neither YAML nor JSON"),
            ("consumers:\n", "---\nconsumers:\n", 2, "several documents"),
            (
                "  acls:\n  - group: readers",
                "  acls: readers",
                5,
                "acls must be a list",
            ),
            ("group: readers", "grp: readers", 6, "no group"),
            ("- group: readers", "- readers", 6, "no group"),
            (
                "- name: staff\n  keyauth",
                "- nom: staff\n  keyauth",
                8,
                "no name",
            ),
            (
                "name: staff\n  keyauth",
                "name: gold\n  keyauth",
                8,
                "consumer group gold",
            ),
            (
                "- name: staff\nservices",
                "- name: staff\n  plugins:\n  - name: x\nservices",
                8,
                "consumer group staff",
            ),
            (
                "  - key: iwb6Djkk4HhUlOCmLilDIKh6nZrn90ts\n",
                "  - kye: iwb6Djkk4HhUlOCmLilDIKh6nZrn90ts\n",
                10,
                "does not know the property",
            ),
            (
                "iwb6Djkk4HhUlOCmLilDIKh6nZrn90ts",
                "12345",
                10,
                "in quotation marks",
            ),
            ("iwb6Djkk4HhUlOCmLilDIKh6nZrn90ts", "~", 10, "no secret"),
            ("iwb6Djkk4HhUlOCmLilDIKh6nZrn90ts", "''", 10, "no secret"),
            (
                "iwb6Djkk4HhUlOCmLilDIKh6nZrn90ts",
                "'{vault://env/key}'",
                10,
                "reference",
            ),
            (
                "iwb6Djkk4HhUlOCmLilDIKh6nZrn90ts",
                "'${{ env \"DECK_KEY\" }}'",
                10,
                "reference",
            ),
            (
                "iwb6Djkk4HhUlOCmLilDIKh6nZrn90ts",
                "$ke$1$-abc",
                10,
                "reference",
            ),
            (
                "  - key: iwb6Djkk4HhUlOCmLilDIKh6nZrn90ts\n    tags: [a]",
                "  - iwb6Djkk4HhUlOCmLilDIKh6nZrn90ts",
                10,
                "must be an object",
            ),
            ("tags: [a]", "ttl: 60", 11, "ttl"),
            ("tags: [a]", "created_at: x", 11, "created_at of alice"),
            ("minute: 60", "minute: many", 15, "whole number"),
            (
                "minute: 60",
                "minute: 60\n      hour: 100",
                13,
                "has several",
            ),
            ("minute: 60", "month: 60", 13, "calendar"),
            (
                "      limit_by: consumer",
                "      limit_by: ip",
                13,
                "not of this key alone",
            ),
            (
                "name: rate-limiting",
                "name: rate-limiting\n    route: r1",
                13,
                "one route or service",
            ),
            (
                "name: rate-limiting",
                "name: request-termination",
                13,
                "ends every request",
            ),
            (
                "name: rate-limiting",
                "name: pre-function",
                13,
                "does not know the plugin",
            ),
            (
                "allow: [10.0.0.0/8]",
                "deny: [10.0.0.0/8]",
                17,
                "denied addresses",
            ),
            ("[10.0.0.0/8]", "[everywhere]", 10, "IPv4 or IPv6 address"),
            ("[nobody]", "[readers]", 6, "denies the group readers"),
            (
                "services:\n- name: orders\n  plugins:\n  - name: acl\n    config:\n      deny: [nobody]\n",
                "",
                6,
                "unknown whether one denies",
            ),
            (
                "_format_version: '3.0'",
                "_format_version: '3.0'\n_info: {select_tags: [a]}",
                7,
                "unknown whether one denies",
            ),
            ("", "{\"data\":[{\"key\":\"abc\"}]}", 1, "no consumer"),
            ("", "{\"data\":\n[7]}", 2, "no key, consumer"),
            (
                "",
                "{\"data\":[],\n\"next\":\"/key-auths?offset=x\"}",
                1,
                "further pages",
            ),
            ("", "{\"list\":[]}", 1, "neither a dump of deck"),
            ("", "{\"data\":[\n", 2, "a value is expected"),
            ("", "# nothing\n", 1, "neither a dump of deck"),
        ],
    );
}

#[test]
fn a_limit_of_a_consumer_with_several_keys_is_not_given_to_each_of_them() {
    let two = "  - key: abcdefgh\n  - key: iwb6";
    let text = GOOD.replacen("  - key: iwb6", two, 1);
    let parsed = parse(Source::Kong, text.as_bytes()).unwrap();
    assert!(parsed.keys.is_empty(), "{}", shown(&parsed));
    let text = text.replace("limit_by: consumer", "limit_by: credential");
    let parsed = parse(Source::Kong, text.as_bytes()).unwrap();
    assert_eq!(parsed.keys.len(), 2, "{}", shown(&parsed));
    assert_eq!(parsed.keys[1].name, "alice (2)");
}

#[test]
fn a_plugin_that_is_off_or_harmless_restricts_nothing() {
    let text = GOOD
        .replace(
            "- name: rate-limiting",
            "- name: rate-limiting\n    enabled: false",
        )
        .replace("- name: ip-restriction", "- name: http-log");
    let parsed = parse(Source::Kong, text.as_bytes()).unwrap();
    let key = &parsed.keys[0];
    assert!(key.rate_limit.is_none() && key.allowed_ips.is_none());
}

/// Credentials and plugins may also stand outside of their consumer.
#[test]
fn a_flat_dump_is_read_as_a_nested_one() {
    let text = "{\"_format_version\":\"3.0\",\"consumers\":[{\"username\":\"alice\"}],\n\"keyauth_credentials\":[{\"consumer\":\"alice\",\"key\":\"abcdef\"}],\n\"acls\":[{\"consumer\":\"alice\",\"group\":\"readers\"}],\n\"plugins\":[{\"name\":\"acl\",\"config\":{\"deny\":[\"readers\"]}}]}";
    refused_whole(Source::Kong, text.as_bytes(), 3, "denies the group readers");
    let parsed = parse(Source::Kong, text.replace("deny", "allow").as_bytes()).unwrap();
    assert_eq!(parsed.keys[0].scopes, ["readers"]);
}
