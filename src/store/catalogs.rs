//! Rows of catalogs, their scopes and operations.

use super::{Read, Row, Write};
use crate::domain::catalogs::{Definition, Operation, Requirement, Scope};
use crate::error::Result;

/// Stores a catalog, and replaces an older one of the same name.
pub fn replace(tx: &Write<'_>, definition: &Definition) -> Result<()> {
    let name = &definition.name;
    tx.execute(
        "INSERT INTO catalogs (name, case_sensitive, source, resource_metadata)
         VALUES ($1, $2, $3, $4)
         ON CONFLICT (name) DO UPDATE
         SET case_sensitive = excluded.case_sensitive, source = excluded.source,
             resource_metadata = excluded.resource_metadata",
        &[
            name,
            &definition.case_sensitive,
            &definition.source,
            &definition.resource_metadata,
        ],
    )?;
    tx.execute("DELETE FROM catalog_scopes WHERE catalog = $1", &[name])?;
    tx.execute("DELETE FROM catalog_operations WHERE catalog = $1", &[name])?;
    for (position, scope) in definition.scopes.iter().enumerate() {
        tx.execute(
            "INSERT INTO catalog_scopes (catalog, position, name, label, implies, root_only)
             VALUES ($1, $2, $3, $4, $5, $6)",
            &[
                name,
                &(position as u64),
                &scope.name,
                &scope.label,
                &scope.implies.join(" "),
                &scope.root_only,
            ],
        )?;
    }
    for (position, operation) in definition.operations.iter().enumerate() {
        tx.execute(
            "INSERT INTO catalog_operations (catalog, position, id, method, path, host, writes, preflight, any_key,
                                             all_of, any_of)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
            &[
                name,
                &(position as u64),
                &operation.id,
                &operation.method,
                &operation.path,
                &operation.host,
                &operation.writes,
                &operation.preflight,
                &(operation.requirement == Requirement::AnyKey),
                &operation.requirement.all_of().join(" "),
                &operation.requirement.any_of().join(" "),
            ],
        )?;
    }
    Ok(())
}

/// The names of all catalogs, and the files that declare them.
pub fn list_sources(read: &Read) -> Result<Vec<(String, String)>> {
    read.query(
        "SELECT name, source FROM catalogs ORDER BY name",
        &[],
        |row| Ok((row.get("name")?, row.get("source")?)),
    )
}

/// Records where a catalog is declared.
pub fn update_source(tx: &Write<'_>, name: &str, source: &str) -> Result<()> {
    tx.execute(
        "UPDATE catalogs SET source = $1 WHERE name = $2",
        &[&source, &name],
    )?;
    Ok(())
}

/// Deletes a catalog that no key refers to; `false` if no catalog has the name.
pub fn delete(tx: &Write<'_>, name: &str) -> Result<bool> {
    let changed = tx.execute("DELETE FROM catalogs WHERE name = $1", &[&name])?;
    Ok(changed == 1)
}

/// The names of all catalogs.
pub fn names(read: &Read) -> Result<Vec<String>> {
    read.query("SELECT name FROM catalogs ORDER BY name", &[], |row| {
        row.get("name")
    })
}

pub fn find(read: &Read, name: &str) -> Result<Option<Definition>> {
    let found = read.query_one(
        "SELECT name, case_sensitive, source, resource_metadata FROM catalogs WHERE name = $1",
        &[&name],
        |row| {
            Ok(Definition {
                name: row.get("name")?,
                case_sensitive: row.get("case_sensitive")?,
                resource_metadata: row.get("resource_metadata")?,
                scopes: Vec::new(),
                operations: Vec::new(),
                source: row.get("source")?,
            })
        },
    )?;
    let Some(definition) = found else {
        return Ok(None);
    };
    let scopes = read.query(
        "SELECT name, label, implies, root_only FROM catalog_scopes WHERE catalog = $1 ORDER BY position",
        &[&name],
        |row| {
            Ok(Scope {
                name: row.get("name")?,
                label: row.get("label")?,
                implies: words(row, "implies")?,
                root_only: row.get("root_only")?,
            })
        },
    )?;
    let operations = read.query(
        "SELECT id, method, path, host, writes, preflight, any_key, all_of, any_of
         FROM catalog_operations
         WHERE catalog = $1
         ORDER BY position",
        &[&name],
        operation_from_row,
    )?;
    Ok(Some(Definition {
        scopes,
        operations,
        ..definition
    }))
}

fn operation_from_row(row: &Row<'_>) -> Result<Operation> {
    Ok(Operation {
        id: row.get("id")?,
        method: row.get("method")?,
        path: row.get("path")?,
        host: row.get("host")?,
        writes: row.get("writes")?,
        preflight: row.get("preflight")?,
        requirement: requirement_from_row(row)?,
    })
}

/// A row that was changed to contain a contradiction permits no key.
fn requirement_from_row(row: &Row<'_>) -> Result<Requirement> {
    let any_key: bool = row.get("any_key")?;
    let (all_of, any_of) = (words(row, "all_of")?, words(row, "any_of")?);
    Ok(match (any_key, all_of.is_empty() && any_of.is_empty()) {
        (true, true) => Requirement::AnyKey,
        (true, false) | (false, true) => Requirement::Nobody,
        (false, false) => Requirement::Scopes { all_of, any_of },
    })
}

fn words(row: &Row<'_>, name: &'static str) -> Result<Vec<String>> {
    let text: String = row.get(name)?;
    Ok(text
        .split(' ')
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect())
}
