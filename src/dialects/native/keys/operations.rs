//! The description of the operations on keys.

use super::bodies::{
    BatchBody, DeletionBody, IssuedBody, KeyBody, KeyEditBody, NewKeyBody, RotationBody,
};
use super::import::{FORMATS, JSON_LINES, ReportBody};
use super::{LIMIT_DEFAULT, LIMIT_MAX};
use crate::domain::keys::{ID_PATTERN, State};
use crate::domain::users::permissions::Permission::{
    KeysRead, KeysReveal, KeysWrite, WorkspacesWrite,
};
use crate::http::bodies::imports::export::FILE_START;
use crate::http::describe::Document;
use crate::http::describe::bodies::{EmptyBody, PageBody};
use crate::ops::keys::export::KEYS_MAX as EXPORTED_MAX;
use crate::ops::keys::list::QUERY_CHARS_MAX;
use serde_json::json;

/// Adds the operations on keys to the description of the server.
pub fn describe(document: &mut Document) {
    document.group("keys", "The life of a key.");
    let text = || json!({ "type": "string" });
    let flag = || json!({ "type": "boolean" });
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
            "Words that a key must have, in any order and in any case: in its name, id, hint, description, contact or metadata, \
             or in its workspace, owner, policy, catalog, scopes, creator or source. `team=north` finds a member of the \
             metadata; words in double quotes are one.",
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
            "source",
            "Keys from there: `issued` for those that were issued here, `file` for those that files declare, `import`, or \
             more of the member `source`, such as `import:kong`.",
            json!({ "type": "string", "pattern": "^(issued|(file|import)(:.*)?)$" }),
            json!("file"),
        )
        .query("scope", "Keys that have this scope, letter by letter.", text(), json!("invoices:read"))
        .query(
            "unused_for_s",
            "Keys that have not been used for this number of seconds, and are at least this old.",
            json!({ "type": "integer", "minimum": 0 }),
            json!(7_776_000),
        )
        .query("never_expires", "Keys without an end, or only those with one.", flag(), json!(true))
        .query(
            "has_previous",
            "Keys whose secret before the newest one still works after a rotation, or only the others.",
            flag(),
            json!(true),
        )
        .query(
            "weak",
            "Keys whose secret another system has made, or only the others.",
            flag(),
            json!(true),
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
        .add("post /v1/keys/batch", "changeKeys", "Delete, disable, enable or extend several keys")
        .about(
            "All of them in one transaction, or none: a refusal names the first key at fault in `key` and `detail`. Each \
             key is authorised, checked and recorded as in a separate request; the audit events have one `request_id`. `extend` \
             sets another end, which may be earlier.",
        )
        .needs(&[KeysWrite])
        .body::<BatchBody>()
        .answers::<PageBody<KeyBody>>(200, "The keys as they are now, in the order of `ids`.")
        .may_not_find()
        .conflicts()
        .waits_for_sites(200);
    describe_import(document);
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
        .conflicts()
        .waits_for_sites(200);
    document
        .add(
            "delete /v1/keys/{id}",
            "deleteKey",
            "Delete a key permanently",
        )
        .needs(&[KeysWrite])
        .optional_body::<DeletionBody>()
        .ends(204, "The key is deleted.")
        .conflicts()
        .waits_for_sites(204);
    document
        .add("post /v1/keys/{id}/rotate", "rotateKey", "Give a key a new secret")
        .about(
            "The key keeps its id, its rights and its workspace. A caller who takes over a management key in this way must \
             have all rights of the key.",
        )
        .needs(&[KeysWrite])
        .optional_body::<RotationBody>()
        .answers::<IssuedBody>(200, "The key, with its new secret.")
        .conflicts()
        .waits_for_sites(200);
    document
        .add("delete /v1/keys/{id}/previous", "endPreviousSecret", "End the secret before the newest one at once")
        .about(
            "After a rotation with a grace period. If that secret has ended, nothing happens. The caller need not have the \
             rights of the key, and a key that a file declares is not exempt.",
        )
        .needs(&[KeysWrite])
        .ends(204, "Only the newest secret works.")
        .conflicts()
        .waits_for_sites(204);
    document
        .add("post /v1/keys/{id}/disable", "disableKey", "Disable a key")
        .needs(&[KeysWrite])
        .optional_body::<EmptyBody>()
        .answers::<KeyBody>(200, "The key as it is now.")
        .conflicts()
        .waits_for_sites(200);
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
    super::trial::describe(document);
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
        .conflicts()
        .waits_for_sites(200);
}

/// A line of an import, and of an export.
const LINE: &str = r#"{"line":14,"name":"billing","digest":"sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"}
"#;

fn describe_import(document: &mut Document) {
    let text = || json!({ "type": "string" });
    document
        .add("post /v1/keys/import", "importKeys", "Import keys that another system has issued")
        .about(
            "One JSON object on each line, with the members of a new key and: `digest` (`sha256:`, `sha512:` or `talos:` and \
             hexadecimal digits; `hmac-sha256:NAME:` or `hmac-sha512:NAME:` and hexadecimal digits, for an HMAC key in the file \
             `hmac-keys/NAME` of the data folder; a text of Django's PBKDF2, bcrypt or Argon2; `latchkey:` and hexadecimal digits \
             from the export of a server with the same pepper), `found_by` (for a slow digest: the start of its secret, or the \
             user name and a colon), `id` (only for a secret of Latchkey), `hint`, `line`, `created_at` and \
             `pepper_fingerprint`. Every line is checked, as a new key is, before the first key is written. A key that is refused \
             is left out and listed. Then each thousand keys are one transaction, one audit event and one change of the caller's \
             budget. The same import again passes over the keys that are there; so an import that was interrupted, or answered \
             with 429 or 503, is sent again. At most 100,000 lines and 64 MiB; above 64 KiB only from callers with `keys:write` \
             in the root workspace.",
        )
        .needs(&[KeysWrite])
        .query(
            "source",
            "The system that has issued the keys.",
            json!({ "type": "string", "pattern": "^[a-z0-9-]{1,40}$" }),
            json!("kong"),
        )
        .needed()
        .query(
            "file_sha256",
            "SHA-256 of the file that the lines were made from, for the audit log.",
            json!({ "type": "string", "pattern": "^[0-9A-Fa-f]{64}$" }),
            json!(null),
        )
        .query(
            "dry_run",
            "Check everything and write nothing.",
            json!({ "type": "string", "enum": ["false", "true"], "default": "false" }),
            json!("true"),
        )
        .query("workspace", "Slug or uid, for keys that name none.", text(), json!("emea"))
        .query("policy", "The policy of keys that name none.", text(), json!("standard"))
        .text(JSON_LINES, LINE)
        .answers::<ReportBody>(200, "What was imported and what was not, or would be.")
        .may_not_find()
        .conflicts();
    document
        .add("get /v1/keys/export", "exportKeys", "Export all keys with the digests of their secrets")
        .about(
            "Live keys in the order of their ids; there are no secrets in it. `jsonl` is what `POST /v1/keys/import` reads, and \
             `keys.d` is a file with keys. A digest under the pepper can be used by a server that has the same pepper. Only for \
             administrators of the root workspace; each answer is an event. One answer has up to 10,000 keys, and a `Link` header \
             names the next answer.",
        )
        .needs(&[KeysWrite, WorkspacesWrite])
        .query(
            "format",
            "The format of the keys.",
            json!({ "type": "string", "enum": FORMATS, "default": "jsonl" }),
            json!("jsonl"),
        )
        .query(
            "limit",
            "The number of keys that one answer examines.",
            json!({ "type": "integer", "minimum": 1, "maximum": EXPORTED_MAX }),
            json!(EXPORTED_MAX),
        )
        .query(
            "cursor",
            "From the `Link` header of the answer before.",
            json!({ "type": "string", "pattern": ID_PATTERN }),
            json!(null),
        )
        .answers_text(200, "The keys.", JSON_LINES, LINE)
        .answers_text(200, "The keys.", "application/toml", FILE_START)
        .header(200, "Link", "The next answer of an export (RFC 8288).", text())
        .conflicts();
}
