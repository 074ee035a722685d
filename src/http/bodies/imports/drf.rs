//! djangorestframework-api-key: its table `rest_framework_api_key_apikey` as CSV or JSON, or what `manage.py dumpdata`
//! writes.
//!
//! The columns are those of `rest_framework_api_key/models.py` of version 3.1.0, and the digests those of its
//! `crypto.py`: SHA-512 since version 3, before that whatever Django's password hashers made, of the whole key.

use super::digests;
use super::draft::Draft;
use super::values::Unit;
use super::{Collection, members_of, rows};
use crate::error::Result;
use crate::http::bodies::tree::Node;
use crate::refusals;

/// Columns without which a row is no row of this table.
const NEEDED: [&str; 4] = ["prefix", "hashed_key", "revoked", "expiry_date"];

/// Reads all rows.
pub fn read(text: &str, collection: &mut Collection) -> Result<()> {
    for row in &rows(text)? {
        // `dumpdata` puts the columns into an object of their own.
        self::row(row.get("fields").unwrap_or(row), collection)?;
    }
    Ok(())
}

fn row(row: &Node, collection: &mut Collection) -> Result<()> {
    let members = members_of(row, &NEEDED)?;
    let mut draft = Draft::new("drf", row.line);
    let text = |column: &str| row.get(column).and_then(Node::text).unwrap_or_default();
    let prefix = text("prefix");
    draft.name(row.line, text("name"), prefix);
    for (column, node) in members {
        match column.as_str() {
            // The id of the table is the prefix and the digest once more.
            "id" => {}
            "name" => drop(draft.text(column, node)),
            "prefix" => {
                draft.metadata(column, node);
                draft.start(&format!("{prefix}."));
            }
            "hashed_key" => digest(&mut draft, prefix, node),
            "created" => draft.key.created_at = draft.time(column, node, Unit::Milliseconds),
            "expiry_date" => draft.key.expires_at = draft.time(column, node, Unit::Milliseconds),
            "revoked" if draft.flag(column, node) != Some(false) => {
                draft.drop_key(node.line, column, refusals::imports::revoked());
            }
            "revoked" => {}
            other => draft.unknown(other, node),
        }
    }
    draft.finish(collection)
}

fn digest(draft: &mut Draft, prefix: &str, node: &Node) {
    let text = node.text().unwrap_or_default();
    if let Some(hex) = text.strip_prefix("sha512$$") {
        return draft.digest(node.line, "hashed_key", digests::sha512_of_hex(hex), text);
    }
    // Django writes the name of its hasher before the text of the algorithm.
    let own = ["argon2$argon2id$", "bcrypt$$2b$"]
        .iter()
        .any(|it| text.starts_with(it));
    let slow = match text.split_once('$') {
        Some(("argon2", rest)) if own => format!("${rest}"),
        Some(("bcrypt", rest)) if own => rest.to_owned(),
        _ => text.to_owned(),
    };
    let found_by = format!("{prefix}.");
    match digests::check(&slow, Some(&found_by)) {
        Ok(_) => {
            draft.key.digest = slow;
            draft.key.found_by = Some(found_by);
        }
        Err(why) => draft.drop_key(node.line, "hashed_key", why),
    }
}
