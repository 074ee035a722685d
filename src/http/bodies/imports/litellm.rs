//! LiteLLM: rows of its table `LiteLLM_VerificationToken` as JSON or CSV.
//!
//! The columns are those of `litellm/proxy/schema.prisma` in the repository BerriAI/litellm. The column `token` is SHA-256
//! of the key in hexadecimal digits, or the key itself in databases of the first versions.

use super::digests;
use super::draft::Draft;
use super::values::Unit;
use super::{Collection, members_of, rows};
use crate::domain::keys::plain::Plain;
use crate::error::Result;
use crate::http::bodies::tree::{Data, Node};
use crate::refusals;

/// Columns without which a row is no row of this table.
const NEEDED: [&str; 3] = ["token", "expires", "models"];

/// Names in the list of models that stand for all of them.
const ALL_MODELS: &str = "all-proxy-models";

/// Members of the metadata by which LiteLLM itself restricts a key.
const RESTRICTING: [&str; 6] = [
    "guardrails",
    "model_max_budget",
    "model_rpm_limit",
    "model_tpm_limit",
    "rpm_limit_type",
    "tpm_limit_type",
];

/// Reads all rows.
pub fn read(text: &str, collection: &mut Collection) -> Result<()> {
    for row in &rows(text)? {
        self::row(row, collection)?;
    }
    Ok(())
}

fn row(row: &Node, collection: &mut Collection) -> Result<()> {
    let members = members_of(row, &NEEDED)?;
    let mut draft = Draft::new("litellm", row.line);
    let text = |column: &str| row.get(column).and_then(Node::text).unwrap_or_default();
    draft.name(row.line, text("key_alias"), text("key_name"));
    for (column, node) in members {
        match column.as_str() {
            "token" => token(&mut draft, node)?,
            "key_name" => {
                if let Some(shown) = draft.text(column, node) {
                    draft.hint(&shown.replace("...", "…"));
                }
            }
            "key_alias" => drop(draft.text(column, node)),
            "expires" => draft.key.expires_at = draft.time(column, node, Unit::Milliseconds),
            "blocked" => {
                let is_blocked = draft.flag(column, node).unwrap_or(false);
                draft.key.enabled = is_blocked.then_some(false);
            }
            "user_id" | "team_id" | "agent_id" | "project_id" | "organization_id" => {
                draft.metadata(column, node);
                if column != "user_id" {
                    draft.unused(column, node, refusals::imports::litellm_team);
                }
            }
            "rpm_limit" => {
                if let Some(limit) = draft.count(column, node) {
                    draft.rate_limit(node.line, column, limit, 60_000);
                }
            }
            "models" => {
                let models = draft.texts(column, node);
                if models.iter().any(|model| model != ALL_MODELS) {
                    draft.drop_key(node.line, column, refusals::imports::litellm_models());
                }
            }
            "max_budget" | "max_parallel_requests" | "tpm_limit" => {
                // A limit of 0 is a limit.
                if !matches!(node.data, Data::Null) && draft.text(column, node).is_some() {
                    draft.drop_key(node.line, column, refusals::imports::litellm_limit());
                }
            }
            "budget_id" | "budget_limits" | "model_max_budget" => {
                draft.restriction(column, node, refusals::imports::litellm_limit);
            }
            "object_permission_id" => {
                draft.restriction(column, node, refusals::imports::litellm_access);
            }
            "allowed_routes" | "access_group_ids" | "policies" => {
                if !draft.blank_list(column, node) {
                    draft.drop_key(node.line, column, refusals::imports::litellm_access());
                }
            }
            "permissions"
            | "aliases"
            | "config"
            | "router_settings"
            | "allowed_cache_controls"
            | "auto_rotate" => draft.unused(column, node, refusals::imports::litellm_proxy),
            "metadata" => metadata(&mut draft, node),
            "created_at" => draft.key.created_at = draft.time(column, node, Unit::Milliseconds),
            "spend"
            | "model_spend"
            | "soft_budget_cooldown"
            | "budget_duration"
            | "budget_reset_at"
            | "created_by"
            | "updated_at"
            | "updated_by"
            | "last_active"
            | "last_active_at"
            | "rotation_count"
            | "rotation_interval"
            | "last_rotation_at"
            | "key_rotation_at" => draft.unneeded(column, node),
            other => draft.unknown(other, node),
        }
    }
    draft.finish(collection)
}

/// The column `token`: a digest, or the key itself, which then begins with `sk-`.
fn token(draft: &mut Draft, node: &Node) -> Result<()> {
    let text = node.text().unwrap_or_default();
    if text.starts_with("sk-") {
        return draft.secret(node.line, "token", &Plain::new(text));
    }
    draft.digest(node.line, "token", digests::sha256_of_hex(text), text);
    Ok(())
}

fn metadata(draft: &mut Draft, node: &Node) {
    let object = draft.object("metadata", node);
    if let Some(object) = &object {
        for name in RESTRICTING {
            if let Some(limit) = object.get(name) {
                draft.restriction(
                    &format!("metadata.{name}"),
                    limit,
                    refusals::imports::litellm_limit,
                );
            }
        }
    }
    draft.own_metadata(object);
}
