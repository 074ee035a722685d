//! Seals of rows: what Latchkey last wrote of users, workspaces, policies and catalogs, under the pepper.
//!
//! The audit log proves itself; these rows do not, and they decide who may do what. The writer seals anew whatever a
//! transaction touched, in the same transaction. A row that somebody has changed past Latchkey does not fit its seal;
//! an older row that was put back together with its older seal does not fit the log, as far as that was not cut.
//! Keys have no seals: the log says what each of them is.

use super::audit::{self, sealed_text};
use super::{Read, Row, Write};
use crate::domain::audit::{Event, GENESIS, Kind, Outcome, Target, digest_of};
use crate::domain::key::pepper::Peppers;
use crate::domain::sorted;
use crate::domain::time::Timestamp;
use crate::error::Result;
use std::collections::BTreeSet;

/// What is sealed.
pub const KINDS: [Kind; 4] = [Kind::User, Kind::Workspace, Kind::Policy, Kind::Catalog];

/// What follows the noun in the action of an event that says so.
pub const TAMPERED: &str = "tampered";

/// How a thing stands to its seal.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Standing {
    /// There is neither.
    Absent,
    /// It is not what Latchkey last wrote.
    Broken,
    Sound,
}

/// What a thing of a kind consists of: queries by its id, the thing itself first.
pub type Columns = fn(Kind) -> &'static [&'static str];

/// What the current schema seals.
pub const COLUMNS: Columns = rows;

/// Compares a thing with its seal.
pub fn look(read: &Read, peppers: &Peppers, target: &Target) -> Result<Standing> {
    compare(read, peppers, target, COLUMNS)
}

/// As [`look`], with the columns that a version of the schema seals.
pub fn compare(
    read: &Read,
    peppers: &Peppers,
    target: &Target,
    columns: Columns,
) -> Result<Standing> {
    let kind = target.kind.as_str();
    let found = read.query_one(
        "SELECT seq, seal FROM row_seals WHERE kind = $1 AND id = $2",
        &[&kind, &target.id],
        |row| Ok((row.get::<i64>("seq")?, row.get::<[u8; 32]>("seal")?)),
    )?;
    Ok(match (state(read, target, columns)?, found) {
        (None, None) => Standing::Absent,
        (None, Some(_)) | (Some(_), None) => Standing::Broken,
        (Some(state), Some((seq, seal))) => {
            let text = text(target, seq, &state);
            let fits = |pepper: &crate::domain::key::pepper::Pepper| pepper.seal(&text).0 == seal;
            let is_newest = newest_event(read, target)?.is_none_or(|event| event.0 <= seq);
            match is_newest && peppers.all().iter().any(fits) {
                true => Standing::Sound,
                false => Standing::Broken,
            }
        }
    })
}

/// Seals what a transaction has touched, as it is now. What did not fit its seal before, as `before` still sees it, is
/// recorded first: a later change does not make it good.
pub fn renew(tx: &Write<'_>, before: &Read, peppers: &Peppers, touched: &[Target]) -> Result<()> {
    for target in touched {
        if look(before, peppers, target)? == Standing::Broken {
            let at = audit::newest(tx)?.map_or(Timestamp(0), |event| event.at);
            log::error!(
                "store: {} {} was changed past Latchkey; see latchkey doctor",
                target.kind.as_str(),
                target.id
            );
            audit::append(tx, peppers, tampered(target, at))?;
        }
    }
    touched
        .iter()
        .try_for_each(|target| put(tx, peppers, target))
}

/// Seals a thing as it is now, in place of an older seal; one that is gone loses its seal.
pub fn put(tx: &Write<'_>, peppers: &Peppers, target: &Target) -> Result<()> {
    let seq = audit::head(tx)?.map_or(0, |head| head.seq);
    let kind = target.kind.as_str();
    match state(tx, target, COLUMNS)? {
        None => tx.execute(
            "DELETE FROM row_seals WHERE kind = $1 AND id = $2",
            &[&kind, &target.id],
        )?,
        Some(state) => tx.execute(
            "INSERT INTO row_seals (kind, id, seq, seal)
             VALUES ($1, $2, $3, $4)
             ON CONFLICT (kind, id) DO UPDATE SET seq = excluded.seq, seal = excluded.seal",
            &[
                &kind,
                &target.id,
                &seq,
                &peppers.current().seal(&text(target, seq, &state)).0,
            ],
        )?,
    };
    Ok(())
}

/// Everything of a kind that has a row, a seal, or a place in the log, in the order of ids.
pub fn list(read: &Read, kind: Kind) -> Result<Vec<Target>> {
    let rows = match kind {
        Kind::Catalog => "SELECT name AS id FROM catalogs",
        Kind::Policy => "SELECT name AS id FROM policies",
        Kind::User => "SELECT uid AS id FROM users",
        Kind::Workspace => "SELECT uid AS id FROM workspaces",
        Kind::Key | Kind::Server | Kind::Session => return Ok(Vec::new()),
    };
    let id = |row: &Row<'_>| row.get::<String>("id");
    let known = read.query(
        "SELECT id FROM row_seals WHERE kind = $1
         UNION SELECT target_id FROM audit_events WHERE target_kind = $1 AND outcome = 'allowed'",
        &[&kind.as_str()],
        id,
    )?;
    let live = read.query(rows, &[], id)?;
    let all: BTreeSet<String> = sorted::gathered(live.into_iter().chain(known));
    Ok(all.into_iter().map(|id| Target::new(kind, id)).collect())
}

/// Who did what first to a thing, and the changes.
pub fn first_event(read: &Read, target: &Target) -> Result<Option<(String, String)>> {
    read.query_one(
        "SELECT actor, changes
         FROM audit_events
         WHERE target_kind = $1 AND target_id = $2 AND outcome = 'allowed'
         ORDER BY seq
         LIMIT 1",
        &[&target.kind.as_str(), &target.id],
        |row| Ok((row.get("actor")?, row.get("changes")?)),
    )
}

/// The number and the action of the newest event about a thing.
pub fn newest_event(read: &Read, target: &Target) -> Result<Option<(i64, String)>> {
    read.query_one(
        "SELECT seq, action
         FROM audit_events
         WHERE target_kind = $1 AND target_id = $2 AND outcome = 'allowed'
         ORDER BY seq DESC
         LIMIT 1",
        &[&target.kind.as_str(), &target.id],
        |row| Ok((row.get("seq")?, row.get("action")?)),
    )
}

/// What was found changed when it was changed again, with the number of the event that says so.
pub fn list_tampered(read: &Read, kind: Kind) -> Result<Vec<(i64, Target)>> {
    let action = format!("{}.{TAMPERED}", kind.as_str());
    read.query(
        "SELECT seq, target_id FROM audit_events WHERE action = $1 ORDER BY seq",
        &[&action],
        |row| {
            Ok((
                row.get("seq")?,
                Target::new(kind, row.get::<String>("target_id")?),
            ))
        },
    )
}

fn tampered(target: &Target, at: Timestamp) -> Event {
    Event {
        seq: 0,
        at,
        actor: "system".to_owned(),
        action: format!("{}.{TAMPERED}", target.kind.as_str()),
        target: target.clone(),
        workspace: String::new(),
        source: String::new(),
        request_id: String::new(),
        outcome: Outcome::Allowed,
        reason: "the database was changed past Latchkey".to_owned(),
        changes: String::new(),
        previous: GENESIS,
    }
}

fn text(target: &Target, seq: i64, state: &[u8; 32]) -> String {
    let what = format!("row {} {}", target.kind.as_str(), target.id);
    sealed_text(&what, seq, state)
}

/// A digest of all rows of a thing; `None` if it has none.
fn state(read: &Read, target: &Target, columns: Columns) -> Result<Option<[u8; 32]>> {
    let mut parts: Vec<Vec<u8>> = Vec::new();
    let mut exists = false;
    for (place, sql) in columns(target.kind).iter().enumerate() {
        read.each(sql, &[&target.id], &mut |row: &Row<'_>| {
            exists |= place == 0;
            parts.push(vec![place as u8]);
            parts.extend(row.bytes()?);
            Ok(())
        })?;
    }
    let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
    Ok(exists.then(|| digest_of(&parts)))
}

/// What a thing consists of, the thing itself first: every column but those that change without an event.
///
/// Whoever changes these queries together with the schema keeps the older ones beside the step of the migration
/// (`sealed_before`), which compares the old seals by them and then seals everything again.
fn rows(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Catalog => &[
            "SELECT name FROM catalogs WHERE name = $1",
            "SELECT position, name, label, implies, root_only FROM catalog_scopes WHERE catalog = $1 ORDER BY position",
            "SELECT position, id, method, path, host, writes, any_of
             FROM catalog_operations
             WHERE catalog = $1
             ORDER BY position",
        ],
        Kind::Policy => &[
            "SELECT name, description, issued_by, owner, catalog, scopes, headers, read_only_by, expiry, expiry_s_max,
                    expiry_months_max, addresses, keys_per_workspace_max, keys_per_owner_max, name_unique,
                    secret_shown, editable, can_disable, can_rotate, confirm_name, tied_to, rate_limit,
                    rate_window_s, prefix, acts_for_owner
             FROM policies
             WHERE name = $1",
            "SELECT role, scopes, read_only FROM policy_roles WHERE policy = $1 ORDER BY role",
        ],
        Kind::User => &[
            "SELECT uid, number, user_name, email, home_uid, password_digest, enabled, generation, created_at,
                    deleted_at
             FROM users
             WHERE uid = $1",
            "SELECT workspace_uid, role FROM role_bindings WHERE user_uid = $1 ORDER BY workspace_uid",
            "SELECT number, kind, description, scopes, read_only, enabled, created_at, deleted_at, public_key, sealed,
                    sealing_key
             FROM authenticators
             WHERE user_uid = $1
             ORDER BY number",
        ],
        Kind::Workspace => &[
            "SELECT uid, number, slug, name, parent_uid, enabled, created_at, updated_at, deleted_at
             FROM workspaces
             WHERE uid = $1",
        ],
        Kind::Key | Kind::Server | Kind::Session => &[],
    }
}
