//! Seals of rows: what Latchkey last wrote about users, workspaces, policies, catalogs and sites, under the seal key.
//!
//! The audit log proves itself. These rows do not, and they decide which caller may do what. The writer seals every row
//! that a transaction touched, in the same transaction. A row that was changed without Latchkey does not fit its seal.
//! An older row that was put back together with its older seal does not fit the log, unless that part of the log was
//! cut. Keys ([`keys`]), sessions and refresh tokens ([`bearers`]) and lent uses ([`super::sites`]) have their seals in their
//! own rows.
//!
//! A thing that does not fit its seal opens nothing. [`close`] is the one function that closes it: at a start, at a
//! restore, and when a change finds it. Keys, users and workspaces are disabled and then sealed in that state. Policies,
//! catalogs and sites keep their rows and the seals that do not fit: the index leaves out such a policy, and treats such a
//! catalog as empty, and such a site gets nothing, until the administrator of the machine accepts them
//! (`ops::changed_outside::accept`).

pub mod again;
pub mod bearers;
pub mod key_rows;
pub mod keys;
pub mod recorded;

use super::audit::{self, sealed_text};
use super::connection::ChainEnd;
use super::key_columns::EXACT_SINCE;
use super::{Read, Row, Write, restore, users, workspaces};
use crate::domain::audit::{Changes, Event, Kind, Target, digest_of};
use crate::domain::keys::seal_key::SealKeys;
use crate::domain::time::Timestamp;
use crate::domain::uid::Uid;
use crate::error::Result;
use std::collections::{BTreeSet, HashMap};

/// The number of things that are read from a server at once.
pub const ANNOUNCED_MAX: usize = 256;

/// The kinds of things that have seals.
pub const KINDS: [Kind; 5] = [
    Kind::User,
    Kind::Workspace,
    Kind::Policy,
    Kind::Catalog,
    Kind::Site,
];

/// Follows the noun in the action of an event: the thing was found changed, and was closed.
pub const TAMPERED: &str = "tampered";
/// Follows the noun in the action of an event: the administrator accepted the thing in its present state.
pub const ACCEPT: &str = "accept";

/// Whether a thing fits its seal.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Standing {
    /// There is neither a row nor a seal.
    Absent,
    /// The row is not what Latchkey last wrote.
    Broken,
    Sound,
}

/// For each kind, the queries that read a thing by its id; the first query reads the thing itself.
pub type Columns = fn(Kind) -> &'static [&'static str];

/// The queries for the current schema.
pub const COLUMNS: Columns = rows;

/// Compares a thing with its seal.
pub fn look(read: &Read, seal_keys: &SealKeys, target: &Target) -> Result<Standing> {
    compare(read, seal_keys, target, COLUMNS)
}

/// As [`look`], with the queries of one version of the schema.
pub fn compare(
    read: &Read,
    seal_keys: &SealKeys,
    target: &Target,
    columns: Columns,
) -> Result<Standing> {
    Ok(match sealer(read, seal_keys, target, columns)? {
        None => Standing::Absent,
        Some(None) => Standing::Broken,
        Some(Some(_)) => Standing::Sound,
    })
}

/// The version under which a thing is sealed: `None` if there is neither a row nor a seal, `Some(None)` if the row is not
/// what Latchkey last wrote.
fn sealer(
    read: &Read,
    seal_keys: &SealKeys,
    target: &Target,
    columns: Columns,
) -> Result<Option<Option<u32>>> {
    let kind = target.kind.as_str();
    let found = read.query_one(
        "SELECT seq, seal FROM row_seals WHERE kind = $1 AND id = $2",
        &[&kind, &target.id],
        |row| Ok((row.get::<i64>("seq")?, row.get::<[u8; 32]>("seal")?)),
    )?;
    Ok(match (state(read, target, columns)?, found) {
        (None, None) => None,
        (None, Some(_)) | (Some(_), None) => Some(None),
        (Some(state), Some((seq, seal))) => {
            let text = text(target, seq, &state);
            let is_newest = newest_event(read, target)?.is_none_or(|event| event.0 <= seq);
            let sealer = seal_keys.sealer_of_text(&text, &seal);
            Some(sealer.filter(|_| is_newest))
        }
    })
}

/// Whether a thing has rows besides its seal.
pub fn has_row(read: &Read, target: &Target) -> Result<bool> {
    Ok(state(read, target, COLUMNS)?.is_some())
}

/// Compares a key with its seal.
pub fn look_at_key(read: &Read, seal_keys: &SealKeys, target: &Target) -> Result<Standing> {
    let found = match recorded::id_of(target) {
        Some(id) => keys::find(read, seal_keys, id)?,
        None => None,
    };
    Ok(match found {
        None => Standing::Absent,
        Some(found) if found.fits() => Standing::Sound,
        Some(_) => Standing::Broken,
    })
}

/// Whether a user fits their seal, so that the stored password and authenticators can be trusted.
pub fn is_sound_user(read: &Read, seal_keys: &SealKeys, user: Uid) -> Result<bool> {
    let standing = look(read, seal_keys, &Target::new(Kind::User, user))?;
    Ok(standing == Standing::Sound)
}

/// Seals the present state of everything that a transaction has touched. A thing that did not fit its seal before the
/// transaction, which `before` still sees, is closed first: a later change does not make it valid.
pub fn renew(
    tx: &Write<'_>,
    before: &Read,
    seal_keys: &SealKeys,
    touched: &[Target],
) -> Result<()> {
    let at = match tx.chain_end().and_then(|end| end.at) {
        Some(at) => at,
        None => audit::newest(tx)?.map_or(Timestamp(0), |event| event.at),
    };
    for some in touched.chunks(ANNOUNCED_MAX) {
        close_broken(tx, before, seal_keys, some, at)?;
    }
    let judged = judged(tx);
    let seq = match tx.chain_end().filter(ChainEnd::has_new) {
        Some(end) => end.head.seq,
        None => audit::newest_number(tx)?,
    };
    for some in touched.chunks(ANNOUNCED_MAX) {
        let _announced = keys::announce(tx, some)?;
        for target in some {
            if judged.get(target) == Some(&false) {
                continue;
            }
            match (target.kind, recorded::id_of(target)) {
                (Kind::Key, Some(id)) => keys::put(tx, seal_keys, id, seq)?,
                (Kind::Key, None) => {}
                _ => put(tx, seal_keys, target)?,
            }
        }
    }
    Ok(())
}

/// Closes those of the targets that did not fit their seals before this transaction.
fn close_broken(
    tx: &Write<'_>,
    before: &Read,
    seal_keys: &SealKeys,
    targets: &[Target],
    at: Timestamp,
) -> Result<()> {
    let mut judged = judged(tx);
    let is_open = |target: &&Target| !judged.contains_key(target);
    let open = targets.iter().filter(is_open);
    let _announced = keys::announce(before, open)?;
    for target in targets {
        if judged.contains_key(target) {
            continue;
        }
        let standing = match target.kind {
            Kind::Key => look_at_key(before, seal_keys, target)?,
            _ => look(before, seal_keys, target)?,
        };
        if standing == Standing::Broken {
            log::error!(
                "store: {} {} was changed past Latchkey and is closed; see latchkey doctor",
                target.kind.as_str(),
                target.id
            );
            close(tx, seal_keys, target, at)?;
            judged = self::judged(tx);
        }
    }
    Ok(())
}

/// What the transaction has compared with its seal itself, and whether it is to be sealed.
fn judged(tx: &Write<'_>) -> HashMap<Target, bool> {
    let mut judged = HashMap::new();
    for (target, is_good) in tx.judged() {
        *judged.entry(target).or_insert(true) &= is_good;
    }
    judged
}

/// Closes a thing that does not fit its seal, and records this in the audit log. Keys, users and workspaces are
/// disabled; what was deleted according to the log is deleted again; the transaction seals them in that state. Policies,
/// catalogs and sites are not sealed, which keeps them closed.
pub fn close(tx: &Write<'_>, seal_keys: &SealKeys, target: &Target, at: Timestamp) -> Result<()> {
    let newest = newest_event(tx, target)?.map_or(String::new(), |(_, action)| action);
    let was_deleted = newest.ends_with(".delete") || newest.ends_with(".revoke");
    let mut changes = Changes::default();
    let was_on = match (target.kind, Uid::parse(&target.id)) {
        (Kind::Key, _) => close_key(tx, target, at, &mut changes)?,
        (Kind::User, Some(uid)) if was_deleted => users::delete(tx, uid, at)?,
        (Kind::User, Some(uid)) => restore::disable_user(tx, uid)?,
        (Kind::Workspace, Some(uid)) if was_deleted => workspaces::delete(tx, uid, at)?,
        (Kind::Workspace, Some(uid)) => close_workspace(tx, seal_keys, target, uid)?,
        _ => false,
    };
    let stays_open = matches!(target.kind, Kind::Catalog | Kind::Policy | Kind::Site);
    tx.judge(target.clone(), !stays_open);
    let known = format!("{}.{TAMPERED}", target.kind.as_str());
    if stays_open && newest == known {
        return Ok(());
    }
    changes.note("enabled", &was_on, &false);
    let event = Event {
        changes: changes.into_json(),
        ..tampered(target, at)
    };
    audit::append(tx, seal_keys, event)
}

/// Disables a key, and returns whether it was enabled.
fn close_key(
    tx: &Write<'_>,
    target: &Target,
    at: Timestamp,
    changes: &mut Changes,
) -> Result<bool> {
    let Some(id) = recorded::id_of(target) else {
        return Ok(false);
    };
    let differences = match super::keys::find(tx, id) {
        Ok(Some(key)) => recorded::differences(tx, &key)?,
        // A key that cannot be read opens nothing.
        Ok(None) | Err(_) => Vec::new(),
    };
    let is_known = newest_event(tx, target)?.is_some();
    let named = match differences.is_empty() {
        true if !is_known && recorded::is_gapless(tx)? => recorded::NEVER_ISSUED.to_owned(),
        true => recorded::UNTOLD.to_owned(),
        false => differences.join(", "),
    };
    changes.note("differs", &String::new(), &named);
    let was_on = restore::disable_key(tx, id)?;
    if differences.contains(&"deleted") {
        super::keys::delete(tx, id, at)?;
    }
    Ok(was_on)
}

/// Disables a workspace, and moves it back below the parent that it has according to the log, so that callers who
/// manage another workspace do not reach it. Returns whether it was enabled.
fn close_workspace(
    tx: &Write<'_>,
    seal_keys: &SealKeys,
    target: &Target,
    uid: Uid,
) -> Result<bool> {
    let mut parent = None;
    for changes in list_changes(tx, target)? {
        let members = crate::domain::audit::changes::parse(&changes).unwrap_or_default();
        let told = members.into_iter().find(|(member, _)| member == "parent");
        parent = told.map(|(_, value)| value).or(parent);
    }
    let mut parent = parent.flatten().and_then(|text| Uid::parse(&text));
    if parent.is_none() {
        // The log was cut, or this is the root. A second root is moved below the root that fits its seal.
        for other in restore::list_other_roots(tx, uid)? {
            let target = Target::new(Kind::Workspace, other);
            if look(tx, seal_keys, &target)? == Standing::Sound {
                parent = Some(other);
            }
        }
    }
    if let Some(parent) = parent {
        restore::move_workspace(tx, uid, parent)?;
    }
    restore::disable_workspace(tx, uid)
}

/// The changes in the events about a thing, oldest first.
fn list_changes(read: &Read, target: &Target) -> Result<Vec<String>> {
    read.query(
        "SELECT changes
         FROM audit_events
         WHERE target_kind = $1 AND target_id = $2 AND outcome = 'allowed'
         ORDER BY seq",
        &[&target.kind.as_str(), &target.id],
        |row| row.get("changes"),
    )
}

/// Whether a thing was found changed and closed, and was not accepted since.
pub fn awaits_acceptance(read: &Read, target: &Target) -> Result<bool> {
    let kind = target.kind.as_str();
    let tampered = format!("{kind}.{TAMPERED}");
    let newest = read.query_one(
        "SELECT action
         FROM audit_events
         WHERE target_kind = $1 AND target_id = $2 AND outcome = 'allowed' AND action IN ($3, $4)
         ORDER BY seq DESC
         LIMIT 1",
        &[&kind, &target.id, &tampered, &format!("{kind}.{ACCEPT}")],
        |row| row.get::<String>("action"),
    )?;
    Ok(newest == Some(tampered))
}

/// Seals the present state of a thing and replaces an older seal. A deleted thing loses its seal.
pub fn put(tx: &Write<'_>, seal_keys: &SealKeys, target: &Target) -> Result<()> {
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
                &seal_keys.seal(&text(target, seq, &state)),
            ],
        )?,
    };
    Ok(())
}

/// Everything of a kind that has a row, a seal, or an event in the log, in the order of ids.
pub fn list(read: &Read, kind: Kind) -> Result<Vec<Target>> {
    let rows = match kind {
        Kind::Catalog => "SELECT name AS id FROM catalogs",
        Kind::Policy => "SELECT name AS id FROM policies",
        Kind::Site => "SELECT name AS id FROM sites",
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
    let all: BTreeSet<String> = live.into_iter().chain(known).collect();
    Ok(all.into_iter().map(|id| Target::new(kind, id)).collect())
}

/// The actor and the changes of the first event about a thing.
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

/// The events in which things of a kind were found changed (`TAMPERED`) or were accepted (`ACCEPT`), by number.
pub fn list_events(read: &Read, kind: Kind, verb: &str) -> Result<Vec<(i64, Target)>> {
    let action = format!("{}.{verb}", kind.as_str());
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

/// The event for a thing that was found changed.
pub fn tampered(target: &Target, at: Timestamp) -> Event {
    let action = format!("{}.{TAMPERED}", target.kind.as_str());
    Event {
        reason: "the database was changed past Latchkey".to_owned(),
        ..Event::of_system(action, target.clone(), at)
    }
}

fn text(target: &Target, seq: i64, state: &[u8; 32]) -> String {
    let what = format!("row {} {}", target.kind.as_str(), target.id);
    sealed_text(&what, seq, state)
}

/// A digest of all rows of a thing; `None` if it has no row.
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
    if target.kind == Kind::Policy && read.has_schema(EXACT_SINCE)? {
        read.each(EXACT, &[&target.id], &mut |row: &Row<'_>| {
            parts.push(vec![u8::MAX]);
            parts.extend(row.bytes()?);
            Ok(())
        })?;
    }
    let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
    Ok(exists.then(|| digest_of(&parts)))
}

/// Whether the default limit of a policy is exact. There is no row if it is not, so such a policy is sealed as before schema
/// [`EXACT_SINCE`].
const EXACT: &str = "SELECT rate_exact FROM policies WHERE name = $1 AND rate_exact <> 0";

/// What a thing consists of, the thing itself first: every column but that of [`EXACT`].
///
/// If you change these queries together with the schema, keep the older ones in the step of the migration
/// (`sealed_before`). The migration compares the old seals by the older queries and then seals everything again.
fn rows(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Catalog => &[
            "SELECT name, case_sensitive, source, resource_metadata FROM catalogs WHERE name = $1",
            "SELECT position, name, label, implies, root_only FROM catalog_scopes WHERE catalog = $1 ORDER BY position",
            "SELECT position, id, method, path, host, writes, preflight, any_key, all_of, any_of
             FROM catalog_operations
             WHERE catalog = $1
             ORDER BY position",
        ],
        Kind::Policy => &[
            "SELECT name, description, issued_by, owner, catalog, scopes, headers, read_only_by, expiry, expiry_s_max,
                    expiry_months_max, addresses, keys_per_workspace_max, keys_per_owner_max, name_unique,
                    secret_shown, editable, can_disable, can_rotate, confirm_name, tied_to, rate_limit,
                    rate_window_s, prefix, acts_for_owner, self_rotation, at_owner_max, rate_limit_max,
                    rate_limit_max_window_s, source, second_factor, decoy, on_reuse, on_leak,
                    expiry_notice_days
             FROM policies
             WHERE name = $1",
            "SELECT role, scopes, read_only FROM policy_roles WHERE policy = $1 ORDER BY role",
        ],
        // What is known of packs and reports decides nothing that a site is given.
        Kind::Site => &[
            "SELECT name, minimal, until_s, lend, max_stale_s, created_at, removed_at, sealed, sealing_key, lent_life
             FROM sites
             WHERE name = $1",
            "SELECT kind, id FROM site_parts WHERE site = $1 ORDER BY kind, id",
        ],
        Kind::User => &[
            "SELECT uid, number, user_name, email, home_uid, password_digest, password_pepper, password_seal_key, enabled,
                    generation, created_at, deleted_at
             FROM users
             WHERE uid = $1",
            "SELECT workspace_uid, role FROM role_bindings WHERE user_uid = $1 ORDER BY workspace_uid",
            "SELECT number, description, scopes, enabled, created_at, deleted_at, sealed, sealing_key, used_step
             FROM authenticators
             WHERE user_uid = $1
             ORDER BY number",
            "SELECT digest, seal_key, used_at FROM recovery_codes WHERE user_uid = $1 ORDER BY digest",
        ],
        Kind::Workspace => &[
            "SELECT uid, number, slug, name, parent_uid, enabled, created_at, updated_at, deleted_at
             FROM workspaces
             WHERE uid = $1",
        ],
        Kind::Key | Kind::Server | Kind::Session => &[],
    }
}
