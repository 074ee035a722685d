//! Unkey: rows of its table `keys` as JSON or CSV.
//!
//! The columns are those of `internal/db/src/schema/keys.ts` in the repository unkeyed/unkey, of the old and the current
//! versions (`go/pkg/db/schema.sql` has the same as SQL). The digest is SHA-256 in Base64. Permissions, rate limits and
//! allowed addresses are in other tables; a query can join them as the columns `permissions`, `ratelimits` and
//! `ip_whitelist` (docs/moving-here.md).

use super::digests;
use super::draft::Draft;
use super::values::Unit;
use super::{Collection, members_of, rows};
use crate::domain::keys::address::AddressList;
use crate::error::Result;
use crate::http::bodies::tree::Node;
use crate::refusals;

/// Columns without which a row is no row of this table.
const NEEDED: [&str; 3] = ["id", "hash", "enabled"];

/// Reads all rows.
pub fn read(text: &str, collection: &mut Collection) -> Result<()> {
    let rows = rows(text)?;
    for row in &rows {
        self::row(row, collection)?;
    }
    for (column, why) in [
        ("permissions", refusals::imports::unkey_permissions()),
        ("ratelimits", refusals::imports::unkey_ratelimits()),
        ("ip_whitelist", refusals::imports::unkey_addresses()),
    ] {
        if !rows.is_empty() && !rows.iter().any(|row| row.get(column).is_some()) {
            collection.note(1, column, why);
        }
    }
    Ok(())
}

fn row(row: &Node, collection: &mut Collection) -> Result<()> {
    let members = members_of(row, &NEEDED)?;
    let mut draft = Draft::new("unkey", row.line);
    let text = |column: &str| row.get(column).and_then(Node::text).unwrap_or_default();
    draft.name(row.line, text("name"), text("id"));
    let (mut limit, mut window_ms) = (None, None);
    for (column, node) in members {
        let line = node.line;
        match column.as_str() {
            "id" | "key_auth_id" | "workspace_id" | "owner_id" | "external_id" | "environment" => {
                draft.metadata(column, node);
            }
            "identity_id" => {
                draft.metadata(column, node);
                if row.get("ratelimits").is_none() {
                    draft.unused(column, node, refusals::imports::unkey_identity);
                }
            }
            "ip_whitelist" => addresses(&mut draft, node),
            "name" => drop(draft.text(column, node)),
            "hash" => {
                let hash = node.text().unwrap_or_default();
                let digest = digests::sha256_of_base64(hash).or(digests::sha256_of_hex(hash));
                draft.digest(line, column, digest, hash);
            }
            "start" => draft.start(node.text().unwrap_or_default()),
            "enabled" => draft.key.enabled = draft.flag(column, node),
            "expires" => draft.key.expires_at = draft.time(column, node, Unit::Milliseconds),
            "created_at" | "created_at_m" => {
                let at = draft.time(column, node, Unit::Milliseconds);
                draft.key.created_at = draft.key.created_at.or(at);
            }
            "remaining_requests" => draft.key.uses_left = draft.count(column, node),
            "refill_amount" => draft.unused(column, node, refusals::imports::refill),
            "ratelimit_limit" => limit = draft.count(column, node),
            "ratelimit_duration" => window_ms = draft.count(column, node),
            // A bucket that is refilled at a pace of its own, in versions before 2025.
            "ratelimit_refill_rate" | "ratelimit_refill_interval" => {
                draft.restriction(column, node, refusals::imports::token_bucket);
            }
            "ratelimits" => ratelimits(&mut draft, node),
            "permissions" => {
                for permission in draft.texts(column, node) {
                    draft.scope(line, column, &permission);
                }
            }
            "roles" => draft.unused(column, node, refusals::imports::unkey_roles),
            "meta" => {
                let object = draft.object(column, node);
                draft.own_metadata(object);
            }
            "deleted_at" | "deleted_at_m" => {
                draft.restriction(column, node, refusals::imports::deleted);
            }
            "for_workspace_id" => {
                draft.restriction(column, node, refusals::imports::unkey_root_key);
            }
            "pending_migration_id" => {
                draft.restriction(column, node, refusals::imports::unkey_migration);
            }
            "updated_at" | "updated_at_m" | "last_refill_at" | "last_used_at" | "total_uses"
            | "ratelimit_async" | "ratelimit_type" | "refill_day" | "refill_interval"
            | "encryptedMeta" | "encrypted_meta" => draft.unneeded(column, node),
            other => draft.unknown(other, node),
        }
    }
    if let (Some(limit), Some(window_ms)) = (limit, window_ms) {
        draft.rate_limit(row.line, "ratelimit_limit", limit, window_ms);
    } else if limit.is_some() {
        draft.drop_key(
            row.line,
            "ratelimit_limit",
            refusals::imports::token_bucket(),
        );
    }
    draft.finish(collection)
}

/// The addresses that the API of the key permits, separated by commas.
fn addresses(draft: &mut Draft, node: &Node) {
    const COLUMN: &str = "ip_whitelist";
    let Some(text) = draft.text(COLUMN, node) else {
        return;
    };
    let list: Vec<&str> = text.split(',').map(str::trim).collect();
    match AddressList::parse(COLUMN, list.iter().copied()) {
        Ok(_) => draft.key.allowed_ips = Some(list.into_iter().map(str::to_owned).collect()),
        Err(err) => draft.drop_key(node.line, "", err.refusal()),
    }
}

/// The rate limits that a query has joined: objects with `limit`, `duration` and `auto_apply`, and with `identity_id` for
/// one that all keys of an identity share.
fn ratelimits(draft: &mut Draft, node: &Node) {
    const COLUMN: &str = "ratelimits";
    for limit in draft.objects(COLUMN, node) {
        let part = |name: &str| limit.get(name).cloned();
        let (Some(count), Some(duration)) = (part("limit"), part("duration")) else {
            draft.drop_key(
                node.line,
                COLUMN,
                refusals::imports::missing("limit or duration"),
            );
            continue;
        };
        if part("identity_id").is_some_and(|it| !it.is_blank()) {
            draft.drop_key(node.line, COLUMN, refusals::imports::limit_of_several());
            continue;
        }
        let (count, duration) = (draft.count(COLUMN, &count), draft.count(COLUMN, &duration));
        let applies = match part("auto_apply") {
            Some(flag) => draft.flag(COLUMN, &flag).unwrap_or(false),
            None => false,
        };
        match (count, duration) {
            (Some(count), Some(duration)) if applies => {
                draft.rate_limit(node.line, COLUMN, count, duration);
            }
            _ => draft.note(node.line, COLUMN, refusals::imports::unkey_named_limit()),
        }
    }
}
