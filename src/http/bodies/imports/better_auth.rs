//! better-auth: its table `apikey` as JSON; the command line reads an SQLite file and passes on its rows as JSON.
//!
//! The columns are those of the plugin `@better-auth/api-key` 1.7.5, and of the plugin that came with better-auth before.
//! The digest is SHA-256 in Base64 for URLs without padding, unless the option `disableKeyHashing` was set.

use super::digests;
use super::draft::Draft;
use super::values::Unit;
use super::{Collection, members_of, rows};
use crate::domain::keys::plain::Plain;
use crate::error::Result;
use crate::http::bodies::tree::{Data, Node};
use crate::refusals;

/// Columns without which a row is no row of this table.
const NEEDED: [&str; 4] = ["id", "key", "enabled", "expiresAt"];

/// Reads all rows.
pub fn read(text: &str, collection: &mut Collection) -> Result<()> {
    for row in &rows(text)? {
        self::row(row, collection)?;
    }
    Ok(())
}

fn row(row: &Node, collection: &mut Collection) -> Result<()> {
    let members = members_of(row, &NEEDED)?;
    let mut draft = Draft::new("better_auth", row.line);
    let text = |column: &str| row.get(column).and_then(Node::text).unwrap_or_default();
    draft.name(row.line, text("name"), text("id"));
    let (mut limit, mut window_ms, mut is_limited) = (None, None, true);
    for (column, node) in members {
        match column.as_str() {
            "id" | "referenceId" | "userId" => draft.metadata(column, node),
            "configId" if node.text() == Some("default") => {}
            "configId" => draft.metadata(column, node),
            "name" => drop(draft.text(column, node)),
            "start" => draft.start(node.text().unwrap_or_default()),
            "key" => key(&mut draft, node, text("start"))?,
            "enabled" => draft.key.enabled = draft.flag(column, node),
            "expiresAt" => draft.key.expires_at = draft.time(column, node, Unit::Milliseconds),
            "createdAt" => draft.key.created_at = draft.time(column, node, Unit::Milliseconds),
            "remaining" => draft.key.uses_left = draft.count(column, node),
            "refillAmount" => draft.unused(column, node, refusals::imports::refill),
            "rateLimitEnabled" => is_limited = draft.flag(column, node).unwrap_or(true),
            "rateLimitMax" => limit = draft.count(column, node),
            "rateLimitTimeWindow" => window_ms = draft.count(column, node),
            "permissions" => permissions(&mut draft, node),
            "metadata" => {
                let object = draft.object(column, node);
                draft.own_metadata(object);
            }
            "prefix" | "refillInterval" | "lastRefillAt" | "requestCount" | "lastRequest"
            | "updatedAt" => draft.unneeded(column, node),
            other => draft.unknown(other, node),
        }
    }
    if let (true, Some(limit), Some(window_ms)) = (is_limited, limit, window_ms) {
        draft.rate_limit(row.line, "rateLimitMax", limit, window_ms);
    }
    draft.finish(collection)
}

/// The column `key`: a digest, or the secret itself, which begins as the column `start` says.
fn key(draft: &mut Draft, node: &Node, start: &str) -> Result<()> {
    let text = node.text().unwrap_or_default();
    let digest = digests::sha256_of_base64url(text);
    if digest.is_none() && !start.is_empty() && text.starts_with(start) {
        return draft.secret(node.line, "key", &Plain::new(text));
    }
    draft.digest(node.line, "key", digest, text);
    Ok(())
}

/// Permissions such as `{"files":["read"]}`: scopes such as `files:read`.
fn permissions(draft: &mut Draft, node: &Node) {
    const COLUMN: &str = "permissions";
    let Some(object) = draft.object(COLUMN, node) else {
        return;
    };
    let Data::Object(members) = &object.data else {
        return;
    };
    for (resource, actions) in members {
        for action in draft.texts(COLUMN, actions) {
            draft.scope(node.line, COLUMN, &format!("{resource}:{action}"));
        }
    }
}
