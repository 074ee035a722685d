//! The description of the operations on keys.

use super::bodies::{
    BatchBody, DeletionBody, IssuedBody, KeyBody, KeyEditBody, NewKeyBody, RotationBody,
};
use super::{LIMIT_DEFAULT, LIMIT_MAX};
use crate::domain::keys::State;
use crate::domain::users::permissions::Permission::{KeysRead, KeysReveal, KeysWrite};
use crate::http::describe::Document;
use crate::http::describe::bodies::{EmptyBody, PageBody};
use crate::ops::keys::list::QUERY_CHARS_MAX;
use serde_json::json;

/// Adds the operations on keys to the description of the server.
pub fn describe(document: &mut Document) {
    document.group("keys", "The life of a key.");
    let text = || json!({ "type": "string" });
    document
        .add("get /v1/keys", "listKeys", "List keys")
        .about("In the order of the ids. A page may be short or even empty, and a next page may still exist.")
        .needs(&[KeysRead])
        .query("workspace", "Keys in this workspace and below, by slug or uid.", text(), json!("emea"))
        .query("policy", "Keys that follow this policy.", text(), json!("standard"))
        .query("owner", "User name or uid.", text(), json!("alice"))
        .query(
            "created_by",
            "Keys that this actor issued, as in `created_by` of a key.",
            json!({ "type": "string", "pattern": "^((user|key|local):.+|system)$" }),
            json!("user:alice"),
        )
        .query(
            "state",
            "Keys in this state; by default all but deleted ones.",
            json!({ "type": "string", "enum": State::ALL.map(State::as_str) }),
            json!("active"),
        )
        .query(
            "q",
            "Part of the id, the name or the description.",
            json!({ "type": "string", "maxLength": QUERY_CHARS_MAX }),
            json!("bill"),
        )
        .query(
            "expiring_within_s",
            "Keys that expire within this number of seconds.",
            json!({ "type": "integer", "minimum": 0 }),
            json!(1_209_600),
        )
        .query(
            "metadata.{name}",
            "Put the name of a member in the place of `{name}`, as in `metadata.customer=7`: keys whose metadata has this \
             member with this value, which is a string, a number as it was sent, or `true` or `false`, on the first level. \
             Names have 1 to 100 letters, digits, `_`, `-` and `.`. At most five such parameters, all of which a key must \
             have.",
            text(),
            json!("7"),
        )
        .query(
            "limit",
            "The number of rows on a page.",
            json!({ "type": "integer", "minimum": 1, "maximum": LIMIT_MAX, "default": LIMIT_DEFAULT }),
            json!(LIMIT_DEFAULT),
        )
        .query("cursor", "The `next_cursor` of the page before.", text(), json!(null))
        .answers::<PageBody<KeyBody>>(200, "A page.");
    document
        .add("post /v1/keys", "issueKey", "Issue a key")
        .needs(&[KeysWrite])
        .shared("IdempotencyKey")
        .body::<NewKeyBody>()
        .examples(&[
            ("short", "What must be there", json!({ "name": "billing" })),
            (
                "whole",
                "A limited key of a catalog",
                json!({
                    "name": "billing", "workspace": "emea", "catalog": "billing", "scopes": ["invoices:read"],
                    "expires_in_s": 7_776_000, "allowed_ips": ["203.0.113.0/24"],
                    "rate_limit": { "limit": 60, "window_s": 60 }, "metadata": { "team": "north" },
                }),
            ),
        ])
        .answers::<IssuedBody>(201, "The key, with its secret.")
        .conflicts()
        .may_not_find();
    document
        .add("post /v1/keys/batch", "changeKeys", "Delete, disable or enable several keys")
        .about(
            "All of them in one transaction, or none: a refusal names the first key at fault in `key` and `detail`. Each \
             key is authorised, checked and recorded as in a separate request; the audit events have one `request_id`.",
        )
        .needs(&[KeysWrite])
        .body::<BatchBody>()
        .answers::<PageBody<KeyBody>>(200, "The keys as they are now, in the order of `ids`.")
        .may_not_find()
        .conflicts();
    document
        .add("get /v1/keys/{id}", "findKey", "Read a key")
        .needs(&[KeysRead])
        .answers::<KeyBody>(200, "The key.");
    document
        .add("patch /v1/keys/{id}", "editKey", "Edit a key")
        .about("Members that the policy does not open for edits are refused.")
        .needs(&[KeysWrite])
        .body::<KeyEditBody>()
        .answers::<KeyBody>(200, "The key as it is now.")
        .conflicts();
    document
        .add(
            "delete /v1/keys/{id}",
            "deleteKey",
            "Delete a key permanently",
        )
        .needs(&[KeysWrite])
        .optional_body::<DeletionBody>()
        .ends(204, "The key is deleted.")
        .conflicts();
    document
        .add("post /v1/keys/{id}/rotate", "rotateKey", "Give a key a new secret")
        .about(
            "The key keeps its id, its rights and its workspace. A caller who takes over a management key in this way must \
             have all rights of the key.",
        )
        .needs(&[KeysWrite])
        .optional_body::<RotationBody>()
        .answers::<IssuedBody>(200, "The key, with its new secret.")
        .conflicts();
    document
        .add("post /v1/keys/{id}/disable", "disableKey", "Disable a key")
        .needs(&[KeysWrite])
        .optional_body::<EmptyBody>()
        .answers::<KeyBody>(200, "The key as it is now.")
        .conflicts();
    document
        .add("post /v1/keys/{id}/enable", "enableKey", "Enable a key")
        .about(
            "A caller who takes over a management key in this way must have all rights of the key.",
        )
        .needs(&[KeysWrite])
        .optional_body::<EmptyBody>()
        .answers::<KeyBody>(200, "The key as it is now.")
        .conflicts();
    document
        .add("post /v1/keys/{id}/reveal", "revealKey", "Show a sealed secret again")
        .about(
            "For keys whose policy keeps a sealed copy. Each time is recorded in the audit log before the secret is sent.",
        )
        .needs(&[KeysReveal])
        .optional_body::<EmptyBody>()
        .answers::<IssuedBody>(200, "The key, with its secret.")
        .conflicts();
    document
        .add("get /v1/whoami", "whoami", "Read the caller's own key")
        .about("A caller with an access token, or on the Unix socket, has no key: 404.")
        .needs(&[])
        .answers::<KeyBody>(200, "The key.")
        .may_not_find();
    document
        .add("post /v1/whoami/rotate", "rotateOwnKey", "Give the caller's own key a new secret")
        .about(
            "Requires no other right than the secret itself, as far as `self_rotation` of the key's policy permits it, and \
             is never permitted for a read-only key: the old secret ends at once, or after at most 3600 seconds. Of two \
             requests at the same time, one succeeds.",
        )
        .needs(&[])
        .optional_body::<RotationBody>()
        .answers::<IssuedBody>(200, "The key, with its new secret.")
        .conflicts();
}
