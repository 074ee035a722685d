//! The two formats of this server: CSV with named columns, and JSON lines. The columns and members are those of
//! [`ImportedKey`], and `secret` in the place of `digest` for a table that has the secrets as plain text.
//!
//! Such a file was made for this server, so everything wrong in it is an error: nothing is left out.

use super::digests;
use super::key::ImportedKey;
use super::values::{self, Unit};
use super::{Collection, at_line, of_fault};
use crate::domain::keys::KeyId;
use crate::domain::keys::plain::Plain;
use crate::domain::keys::quota::RateLimit;
use crate::domain::keys::secret::Presented;
use crate::error::{Error, Result};
use crate::http::bodies::tree::{self, Data, Node};
use crate::http::fields::Fields;
use crate::http::numbers;
use crate::refusals::{self, Refusal};

/// The columns that a file can have.
const COLUMNS: [&str; 22] = [
    "allowed_ips",
    "catalog",
    "contact",
    "created_at",
    "description",
    "digest",
    "enabled",
    "expires_at",
    "found_by",
    "hint",
    "id",
    "metadata",
    "name",
    "not_before",
    "owner",
    "policy",
    "rate_limit",
    "read_only",
    "scopes",
    "secret",
    "uses_left",
    "workspace",
];

/// Reads JSON lines; blank ones are skipped.
pub fn read_jsonl(text: &str, collection: &mut Collection) -> Result<()> {
    for (place, line) in text.lines().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        let key = of_line(place + 1, line).map_err(|err| at_line(place + 1, err.refusal()))?;
        add(key, collection)?;
    }
    Ok(())
}

fn of_line(line: usize, text: &str) -> Result<ImportedKey> {
    let mut fields = Fields::parse(text.as_bytes())?;
    numbers::check_member(text.as_bytes(), "metadata")?;
    // The line that another file had is of no use here.
    fields.number("line")?;
    let digest = match fields.text("secret")?.map(Plain::new) {
        None => None,
        Some(secret) => Some(digest_of(&secret).map_err(|why| Error::invalid("secret", why))?),
    };
    ImportedKey::of(line, fields, digest)
}

/// Reads CSV.
pub fn read_csv(text: &str, collection: &mut Collection) -> Result<()> {
    let rows = tree::csv(text).map_err(of_fault)?;
    if let Some(Data::Object(members)) = rows.first().map(|row| &row.data) {
        let stranger = members
            .iter()
            .find(|(name, _)| !COLUMNS.contains(&name.as_str()));
        if let Some((name, _)) = stranger {
            let shown: String = name.chars().take(100).collect();
            let why = refusals::imports::csv_column_unknown(shown, COLUMNS.join(", "));
            return Err(at_line(1, why));
        }
    }
    for row in &rows {
        let key = of_row(row)
            .map_err(|(column, why)| at_line(row.line, refusals::requests::invalid(column, why)))?;
        add(key, collection)?;
    }
    Ok(())
}

/// A key of a row; or the column that is wrong, and the reason.
fn of_row(row: &Node) -> std::result::Result<ImportedKey, (String, Refusal)> {
    let Data::Object(columns) = &row.data else {
        return Err((String::new(), refusals::imports::not_object()));
    };
    let mut key = ImportedKey {
        line: row.line,
        ..ImportedKey::default()
    };
    let mut digests = 0;
    for (column, node) in columns {
        let at = |why| (column.clone(), why);
        let text = || values::text(node).map_err(at);
        let time = || values::time(node, Unit::Seconds).map_err(at);
        match column.as_str() {
            "name" => key.name = text()?.unwrap_or_default(),
            "digest" => {
                let digest = text()?;
                digests += usize::from(digest.is_some());
                key.digest = digest.unwrap_or(key.digest);
            }
            "secret" => {
                if let Data::Text(secret) = &node.data {
                    key.digest = digest_of(secret).map_err(at)?;
                    digests += 1;
                }
            }
            "found_by" => key.found_by = text()?,
            "id" => {
                let id = text()?;
                key.id = id.as_deref().and_then(KeyId::parse);
                if id.is_some() && key.id.is_none() {
                    return Err(at(refusals::imports::key_id()));
                }
            }
            "hint" => key.hint = text()?,
            "description" => key.description = text()?,
            "contact" => key.contact = text()?,
            "workspace" => key.workspace = text()?,
            "owner" => key.owner = text()?,
            "policy" => key.policy = text()?,
            "catalog" => key.catalog = text()?,
            "scopes" => key.scopes = words(node).map_err(at)?,
            "read_only" => key.read_only = values::flag(node).map_err(at)?.unwrap_or(false),
            "enabled" => key.enabled = values::flag(node).map_err(at)?,
            "not_before" => key.not_before = time()?,
            "expires_at" => key.expires_at = time()?,
            "allowed_ips" => {
                let list = words(node).map_err(at)?;
                key.allowed_ips = (!list.is_empty()).then_some(list);
            }
            "rate_limit" => {
                key.rate_limit = text()?
                    .map(|it| {
                        RateLimit::parse(&it).ok_or_else(|| at(refusals::imports::rate_form()))
                    })
                    .transpose()?
            }
            "uses_left" => key.uses_left = values::count(node).map_err(at)?,
            "metadata" => {
                let object = values::object(node).map_err(at)?;
                key.metadata = object.map(|node| node.to_json());
            }
            "created_at" => key.created_at = time()?,
            _ => {}
        }
    }
    match digests {
        0 => Err(("digest".to_owned(), refusals::imports::secret_missing())),
        1 => Ok(key),
        _ => Err(("digest".to_owned(), refusals::imports::digest_and_secret())),
    }
}

/// Words that are separated by blanks, or a list in JSON.
fn words(node: &Node) -> std::result::Result<Vec<String>, Refusal> {
    match node.text() {
        Some(text) if !text.starts_with('[') => {
            Ok(text.split_whitespace().map(str::to_owned).collect())
        }
        _ => values::texts(node),
    }
}

fn digest_of(secret: &Plain) -> std::result::Result<String, Refusal> {
    match Presented::parse(secret.as_str()) {
        Some(_) => Err(refusals::imports::own_secret()),
        None => digests::of_plain(secret),
    }
}

fn add(mut key: ImportedKey, collection: &mut Collection) -> Result<()> {
    key.check()
        .map_err(|err| at_line(key.line, err.refusal()))?;
    collection.add(key)
}
