//! The description of the operations on the audit log and usage.

use super::export::EVENTS_MAX;
use super::{ChainBody, HourBody, PruneBody, PrunedBody};
use crate::domain::audit::Outcome;
use crate::domain::keys::ID_PATTERN;
use crate::domain::users::permissions::Permission::{AuditRead, KeysRead, ServerAdmin};
use crate::http::bodies::audit::{COLUMNS, EventBody};
use crate::http::describe::Document;
use crate::http::describe::bodies::{ListBody, PageBody};
use crate::http::describe::schema::Schema;
use serde_json::json;

/// Adds the operations on the audit log and usage to the description of the server.
pub fn describe(document: &mut Document) {
    document.group("oversight", "The audit log and usage.");
    let text = || json!({ "type": "string" });
    let time = || json!({ "type": "string", "format": "date-time" });
    document
        .add("get /v1/audit-events", "listAuditEvents", "Read or export the audit log")
        .about(
            "The newest events first. As `jsonl` and `csv` one answer has up to 10,000 events, a `Link` header names the next \
             answer, and the export is itself an event. Cells that a spreadsheet would execute are made harmless.",
        )
        .needs(&[AuditRead])
        .query(
            "format",
            "The format of the events.",
            json!({ "type": "string", "enum": ["json", "jsonl", "csv"], "default": "json" }),
            json!("json"),
        )
        .query(
            "actor",
            "Events by this actor: as in the log, by its kind (`user`, `key`, `local`, `system`), or by what follows the kind.",
            text(),
            json!("user:alice"),
        )
        .query(
            "action",
            "Events of this kind, or of all kinds with this noun (`key`).",
            text(),
            json!("key.edit"),
        )
        .query(
            "target",
            "Events about the thing with this id, also as `kind:id`. The name of a user, a workspace or a key counts as well.",
            text(),
            json!("k3J9aQ0xZb"),
        )
        .query(
            "outcome",
            "Events with this outcome.",
            json!({ "type": "string", "enum": Outcome::ALL.map(Outcome::as_str) }),
            json!("denied"),
        )
        .query("workspace", "Events of the workspace with this slug or uid.", text(), json!("europe"))
        .query("since", "Events at or after this time.", time(), json!("2026-11-21T00:00:00Z"))
        .query("until", "Events before this time.", time(), json!("2026-11-22T00:00:00Z"))
        .query(
            "cursor",
            "The `next_cursor` of the page before.",
            json!({ "type": "integer", "minimum": 0 }),
            json!(43),
        )
        .query(
            "limit",
            "The number of rows on a page: up to 500 as `json` (by default 100), up to 10,000 otherwise.",
            json!({ "type": "integer", "minimum": 1, "maximum": EVENTS_MAX }),
            json!(100),
        )
        .answers::<PageBody<EventBody>>(200, "A page.")
        .answers_text(200, "A page.", "application/jsonl", &format!("{}\n", EventBody::example()))
        .answers_text(200, "A page.", "text/csv", COLUMNS)
        .header(200, "Link", "The next answer of an export (RFC 8288).", text());
    document
        .add(
            "get /v1/audit-events/chain",
            "verifyChain",
            "Verify the chain of the audit log",
        )
        .needs(&[AuditRead])
        .answers::<ChainBody>(200, "The result.")
        .examples(&[
            (
                "intact",
                "As it was written",
                json!({ "intact": true, "events": 42 }),
            ),
            (
                "broken",
                "Tampered with",
                json!({ "intact": false, "first_bad": "event 17 does not follow from event 16" }),
            ),
        ]);
    document
        .add("post /v1/audit-events/prune", "pruneAudit", "Remove the oldest events from the audit log")
        .about(
            "The rest can still be verified: the last event that is removed stays as a sealed checkpoint. The removal is \
             itself an event. Removing events of the last days (setting `audit_keep_min`, 90 by default) is refused with 403, \
             and the attempt is recorded; only the administrator of the machine, on the Unix socket, may remove them.",
        )
        .needs(&[ServerAdmin])
        .body::<PruneBody>()
        .examples(&[
            ("age", "By age", json!({ "before": "2026-01-01T00:00:00Z" })),
            ("size", "By size", json!({ "keep": 100_000 })),
        ])
        .answers::<PrunedBody>(200, "What was removed.");
    document
        .add(
            "get /v1/usage",
            "usage",
            "Hourly totals of a key by verdict",
        )
        .about("At most 92 days.")
        .needs(&[KeysRead])
        .query(
            "key",
            "The key's id.",
            json!({ "type": "string", "pattern": ID_PATTERN }),
            json!("k3J9aQ0xZb"),
        )
        .needed()
        .query(
            "since",
            "By default 24 hours before `until`.",
            time(),
            json!("2026-11-21T00:00:00Z"),
        )
        .query(
            "until",
            "By default now.",
            time(),
            json!("2026-11-21T12:00:00Z"),
        )
        .answers::<ListBody<HourBody>>(200, "The hours, in order.")
        .may_not_find();
}
