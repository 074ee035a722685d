//! Rows of sites: what each is given, what it reports, and the uses that it was lent.

use super::{Read, Row, Write};
use crate::domain::audit::{Kind, Target};
use crate::domain::keys::KeyId;
use crate::domain::keys::seal_key::SealKeys;
use crate::domain::keys::sealing::Sealed;
use crate::domain::packs::report::{KeyReport, Report};
use crate::domain::packs::site::{Reported, Site};
use crate::domain::time::Timestamp;
use crate::domain::uid::Uid;
use crate::error::Result;
use std::collections::HashMap;

/// Uses of a counted key that a site was lent, and those that it has spent.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Lent {
    pub lent: u64,
    pub spent: u64,
    /// The epoch of the remaining uses from which all were taken that are not spent; one that is over if they were taken from several.
    pub epoch: u64,
}

/// What a site was lent of a key, according to a row that may have been changed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LentRow {
    /// The row is not what Latchkey last wrote. The site has nothing of the key, and is lent nothing.
    Altered,
    Sound(Lent),
}

impl LentRow {
    /// What was read, and who sealed it, if its seal fits.
    fn of(lent: Lent, sealer: Option<u32>) -> LentRow {
        match sealer {
            Some(_) => LentRow::Sound(lent),
            None => LentRow::Altered,
        }
    }

    /// What the site may spend of the key in all.
    pub fn lent(self) -> u64 {
        match self {
            LentRow::Altered => 0,
            LentRow::Sound(lent) => lent.lent,
        }
    }
}

/// A counted key with uses that can be lent.
#[derive(Clone, Debug)]
pub struct CountedKey {
    pub id: KeyId,
    pub workspace: Uid,
    pub catalog: Option<String>,
}

/// A key that a site has ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct EndedAtSite {
    pub id: KeyId,
    pub ended_at: Timestamp,
}

pub fn insert(tx: &Write<'_>, site: &Site) -> Result<()> {
    let sealed = site.sealed.as_ref();
    tx.execute(
        "INSERT INTO sites (name, minimal, until_s, lend, max_stale_s, created_at, sealed, sealing_key, pack, base, lent_life)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        &[
            &site.name,
            &site.minimal,
            &site.until_s,
            &site.lend,
            &site.max_stale_s,
            &site.created_at,
            &sealed.map(|sealed| sealed.bytes.clone()),
            &sealed.map(|sealed| sealed.version),
            &site.pack,
            &site.base,
            &site.lent_life,
        ],
    )?;
    insert_parts(tx, site)
}

/// Has the transaction seal a site again.
pub fn touch(tx: &Write<'_>, name: &str) {
    tx.touch(Target::new(Kind::Site, name));
}

/// Writes what an edit may change.
pub fn update(tx: &Write<'_>, site: &Site) -> Result<()> {
    tx.execute(
        "UPDATE sites SET minimal = $1, until_s = $2, lend = $3, max_stale_s = $4 WHERE name = $5",
        &[
            &site.minimal,
            &site.until_s,
            &site.lend,
            &site.max_stale_s,
            &site.name,
        ],
    )?;
    tx.execute("DELETE FROM site_parts WHERE site = $1", &[&site.name])?;
    insert_parts(tx, site)
}

fn insert_parts(tx: &Write<'_>, site: &Site) -> Result<()> {
    touch(tx, &site.name);
    let workspaces = site
        .workspaces
        .iter()
        .map(|uid| ("workspace", uid.to_string()));
    let catalogs = site.catalogs.iter().map(|name| ("catalog", name.clone()));
    for (kind, id) in workspaces.chain(catalogs) {
        tx.execute(
            "INSERT INTO site_parts (site, kind, id) VALUES ($1, $2, $3)
             ON CONFLICT (site, kind, id) DO NOTHING",
            &[&site.name, &kind, &id],
        )?;
    }
    Ok(())
}

/// Leaves nothing of a site but its name. `false` if there is no such site.
pub fn remove(tx: &Write<'_>, name: &str, now: Timestamp) -> Result<bool> {
    let changed = tx.execute(
        "UPDATE sites SET removed_at = $1, sealed = NULL, sealing_key = NULL
         WHERE name = $2 AND removed_at IS NULL",
        &[&now, &name],
    )?;
    for sql in [
        "DELETE FROM site_parts WHERE site = $1",
        "DELETE FROM packs WHERE site = $1",
        "DELETE FROM site_lent WHERE site = $1",
        "DELETE FROM site_points WHERE site = $1",
        "DELETE FROM site_usage WHERE site = $1",
    ] {
        tx.execute(sql, &[&name])?;
    }
    touch(tx, name);
    Ok(changed == 1)
}

/// A site, also one that was removed.
pub fn find(read: &Read, name: &str) -> Result<Option<Site>> {
    let found = read.query_one(
        "SELECT name, minimal, until_s, lend, max_stale_s, created_at, removed_at, sealed, sealing_key, pack, base, life, report,
                reported_at, applied, applied_events, lent_life
         FROM sites
         WHERE name = $1",
        &[&name],
        from_row,
    )?;
    let Some(mut site) = found else {
        return Ok(None);
    };
    let parts = read.query(
        "SELECT kind, id FROM site_parts WHERE site = $1 ORDER BY kind, id",
        &[&name],
        |row| Ok((row.get::<String>("kind")?, row.get::<String>("id")?)),
    )?;
    for (kind, id) in parts {
        match kind.as_str() {
            "workspace" => site.workspaces.extend(Uid::parse(&id)),
            _ => site.catalogs.push(id),
        }
    }
    Ok(Some(site))
}

/// Every site that was not removed, by name.
pub fn list(read: &Read) -> Result<Vec<Site>> {
    let names = read.query(
        "SELECT name FROM sites WHERE removed_at IS NULL ORDER BY name",
        &[],
        |row| row.get::<String>("name"),
    )?;
    let found = names.iter().filter_map(|name| find(read, name).transpose());
    found.collect()
}

/// The names of all sites, also of those that were removed.
pub fn list_names(read: &Read) -> Result<Vec<String>> {
    read.query("SELECT name FROM sites ORDER BY name", &[], |row| {
        row.get("name")
    })
}

/// The names of the sites that were not removed.
pub fn list_names_in_use(read: &Read) -> Result<Vec<String>> {
    read.query(
        "SELECT name FROM sites WHERE removed_at IS NULL ORDER BY name",
        &[],
        |row| row.get("name"),
    )
}

/// Whether there is a site that was not removed.
pub fn is_any(read: &Read) -> Result<bool> {
    let found = read.query_one(
        "SELECT name FROM sites WHERE removed_at IS NULL LIMIT 1",
        &[],
        |row| row.get::<String>("name"),
    )?;
    Ok(found.is_some())
}

/// The number of sites, with those that were removed.
pub fn count(read: &Read) -> Result<u64> {
    let count = read.query_one("SELECT count(*) AS count FROM sites", &[], |row| {
        row.get("count")
    })?;
    Ok(count.unwrap_or(0))
}

/// The life of no site.
const NOBODY: Uid = Uid(0);

/// The life of a site in a column. One that was changed to something else is that of no site.
fn life(row: &Row<'_>, column: &'static str) -> Result<Option<Uid>> {
    let text: Option<String> = row.get(column)?;
    Ok(text.map(|text| Uid::parse(&text).unwrap_or(NOBODY)))
}

fn from_row(row: &Row<'_>) -> Result<Site> {
    let sealed: Option<Vec<u8>> = row.get("sealed")?;
    let version: Option<u32> = row.get("sealing_key")?;
    let report: Option<u64> = row.get("report")?;
    let reported = match report {
        None => None,
        Some(number) => Some(Reported {
            life: life(row, "life")?.unwrap_or(NOBODY),
            number,
            at: row.get("reported_at")?,
            applied: row.get("applied")?,
            events: row.get("applied_events")?,
        }),
    };
    Ok(Site {
        name: row.get("name")?,
        minimal: row.get("minimal")?,
        until_s: row.get("until_s")?,
        lend: row.get("lend")?,
        max_stale_s: row.get("max_stale_s")?,
        created_at: row.get("created_at")?,
        removed_at: row.get("removed_at")?,
        sealed: sealed
            .zip(version)
            .map(|(bytes, version)| Sealed { version, bytes }),
        pack: row.get("pack")?,
        base: row.get("base")?,
        lent_life: life(row, "lent_life")?,
        reported,
        workspaces: Vec::new(),
        catalogs: Vec::new(),
    })
}

/// Every counted key that has uses to lend. There are few.
pub fn list_counted(read: &Read) -> Result<Vec<CountedKey>> {
    read.query(
        "SELECT id, workspace_uid, catalog
         FROM key_uses JOIN keys ON keys.id = key_id
         WHERE deleted_at IS NULL AND uses_left > 0
         ORDER BY id",
        &[],
        |row| {
            Ok(CountedKey {
                id: row.get("id")?,
                workspace: row.get("workspace_uid")?,
                catalog: row.get("catalog")?,
            })
        },
    )
}

/// The text whose seal a row has. `life` is as it is stored.
fn lent_text(site: &str, key: KeyId, life: Option<&str>, lent: Lent) -> String {
    let life = life.unwrap_or("-");
    format!(
        "lent {site} {key} {life} {} {} {}",
        lent.lent, lent.spent, lent.epoch
    )
}

/// A row, and the version under which it is sealed; `None` if it is not what Latchkey last wrote.
fn lent_row(row: &Row<'_>, seal_keys: &SealKeys) -> Result<(String, KeyId, Lent, Option<u32>)> {
    let (site, key): (String, KeyId) = (row.get("site")?, row.get("key_id")?);
    let lent = Lent {
        lent: row.get("lent")?,
        spent: row.get("spent")?,
        epoch: row.get("epoch")?,
    };
    let life: Option<String> = row.get("lent_life")?;
    let text = lent_text(&site, key, life.as_deref(), lent);
    let sealer = seal_keys.sealer_of_text(&text, &row.get::<[u8; 32]>("seal")?);
    Ok((site, key, lent, sealer))
}

/// What a site was lent, by key.
pub fn list_lent(read: &Read, seal_keys: &SealKeys, site: &str) -> Result<HashMap<KeyId, LentRow>> {
    let rows = read.query(
        "SELECT site, key_id, lent, spent, epoch, site_lent.seal AS seal, lent_life
         FROM site_lent JOIN sites ON name = site
         WHERE site = $1",
        &[&site],
        |row| lent_row(row, seal_keys),
    )?;
    let found = rows.into_iter();
    let found = found.map(|(_, key, lent, sealer)| (key, LentRow::of(lent, sealer)));
    Ok(found.collect())
}

/// What a site was lent of one key.
pub fn find_lent(read: &Read, seal_keys: &SealKeys, site: &str, key: KeyId) -> Result<LentRow> {
    let found = read.query_one(
        "SELECT site, key_id, lent, spent, epoch, site_lent.seal AS seal, lent_life
         FROM site_lent JOIN sites ON name = site
         WHERE site = $1 AND key_id = $2",
        &[&site, &key],
        |row| lent_row(row, seal_keys),
    )?;
    let of = |(_, _, lent, sealer)| LentRow::of(lent, sealer);
    Ok(found.map_or(LentRow::Sound(Lent::default()), of))
}

/// The keys of which a site was lent uses that it has not spent, or all of which it was lent some; at most `limit`.
pub fn list_open_lent(read: &Read, site: &str, all: bool, limit: u32) -> Result<Vec<KeyId>> {
    read.query(
        "SELECT key_id FROM site_lent
         WHERE site = $1 AND lent > CASE WHEN CAST($2 AS BIGINT) = 1 THEN 0 ELSE spent END
         LIMIT $3",
        &[&site, &all, &limit],
        |row| row.get("key_id"),
    )
}

/// Whether a row about what a site was lent is not what Latchkey last wrote.
pub fn has_altered_lent(read: &Read, seal_keys: &SealKeys, site: &str) -> Result<bool> {
    let all = list_lent(read, seal_keys, site)?;
    Ok(all.values().any(|row| *row == LentRow::Altered))
}

/// Records what a site was lent of one key.
pub fn put_lent(
    tx: &Write<'_>,
    seal_keys: &SealKeys,
    site: &str,
    key: KeyId,
    lent: Lent,
) -> Result<()> {
    let life = tx.query_one(
        "SELECT lent_life FROM sites WHERE name = $1",
        &[&site],
        |row| row.get::<Option<String>>("lent_life"),
    )?;
    let seal = seal_keys.seal(&lent_text(site, key, life.flatten().as_deref(), lent));
    tx.execute(
        "INSERT INTO site_lent (site, key_id, lent, spent, epoch, seal)
         VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (site, key_id) DO UPDATE
         SET lent = excluded.lent, spent = excluded.spent, epoch = excluded.epoch, seal = excluded.seal",
        &[&site, &key, &lent.lent, &lent.spent, &lent.epoch, &seal],
    )?;
    Ok(())
}

/// Seals what a site was lent as the rows have it, also those that do not fit their seals.
pub fn seal_lent(tx: &Write<'_>, seal_keys: &SealKeys, site: &str) -> Result<()> {
    let rows = tx.query(
        "SELECT key_id, lent, spent, epoch FROM site_lent WHERE site = $1",
        &[&site],
        |row| {
            let lent = Lent {
                lent: row.get("lent")?,
                spent: row.get("spent")?,
                epoch: row.get("epoch")?,
            };
            Ok((row.get::<KeyId>("key_id")?, lent))
        },
    )?;
    for (key, lent) in rows {
        put_lent(tx, seal_keys, site, key, lent)?;
    }
    Ok(())
}

/// Where keys of a user are, and by what rules they live.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OwnedPart {
    pub workspace: Uid,
    pub policy: String,
    pub catalog: Option<String>,
}

/// See [`OwnedPart`]; each once.
pub fn list_parts_of_owner(read: &Read, owner: Uid) -> Result<Vec<OwnedPart>> {
    read.query(
        "SELECT DISTINCT workspace_uid, policy, catalog FROM keys WHERE owner_uid = $1 AND deleted_at IS NULL",
        &[&owner],
        |row| {
            Ok(OwnedPart {
                workspace: row.get("workspace_uid")?,
                policy: row.get("policy")?,
                catalog: row.get("catalog")?,
            })
        },
    )
}

/// The keys with these numbers, from and to, at most `limit`.
pub fn list_numbered(read: &Read, (first, last): (i64, i64), limit: u32) -> Result<Vec<KeyId>> {
    read.query(
        "SELECT id FROM keys WHERE number BETWEEN $1 AND $2 ORDER BY number LIMIT $3",
        &[&first, &last, &limit],
        |row| row.get("id"),
    )
}

/// The keys of a workspace that were not deleted, without those below it; at most `limit`.
pub fn list_in_workspace(read: &Read, workspace: Uid, limit: u32) -> Result<Vec<KeyId>> {
    read.query(
        "SELECT id FROM keys WHERE workspace_uid = $1 AND deleted_at IS NULL ORDER BY id LIMIT $2",
        &[&workspace, &limit],
        |row| row.get("id"),
    )
}

/// Does what [`seal_lent`] does, for every site.
pub fn seal_all_lent(tx: &Write<'_>, seal_keys: &SealKeys) -> Result<()> {
    let sites = tx.query("SELECT DISTINCT site FROM site_lent", &[], |row| {
        row.get::<String>("site")
    })?;
    sites
        .iter()
        .try_for_each(|site| seal_lent(tx, seal_keys, site))
}

/// Seals some rows after a site and a key again, as far as they fit their seals, and returns the last one.
pub fn seal_some_lent_again(
    tx: &Write<'_>,
    seal_keys: &SealKeys,
    after: (&str, &str),
    most: usize,
) -> Result<Option<(String, String)>> {
    let rows = tx.query(
        "SELECT site, key_id, lent, spent, epoch, site_lent.seal AS seal, lent_life
         FROM site_lent JOIN sites ON name = site
         WHERE (site, key_id) > ($1, $2)
         ORDER BY site, key_id
         LIMIT $3",
        &[&after.0, &after.1, &(most as u64)],
        |row| lent_row(row, seal_keys),
    )?;
    let newest = seal_keys.newest();
    for (site, key, lent, sealer) in &rows {
        if sealer.is_some_and(|sealer| sealer != newest) {
            put_lent(tx, seal_keys, site, *key, *lent)?;
        }
    }
    let last = rows.into_iter().next_back();
    Ok(last.map(|(site, key, ..)| (site, key.to_string())))
}

/// Calls `take` with the version under which each row is sealed.
pub fn each_lent_sealer(
    read: &Read,
    seal_keys: &SealKeys,
    mut take: impl FnMut(Option<u32>),
) -> Result<()> {
    let rows = read.query(
        "SELECT site, key_id, lent, spent, epoch, site_lent.seal AS seal, lent_life
         FROM site_lent JOIN sites ON name = site",
        &[],
        |row| lent_row(row, seal_keys),
    )?;
    rows.into_iter().for_each(|(.., sealer)| take(sealer));
    Ok(())
}

/// Lends uses to this life of a site from now on. What another one was lent counts as spent: it was taken off the keys
/// before, and its counts are forgotten. `false` if they are lent to this life already.
pub fn lend_to(tx: &Write<'_>, site: &str, life: Uid) -> Result<bool> {
    let changed = tx.execute(
        "UPDATE sites SET lent_life = $1 WHERE name = $2 AND (lent_life IS NULL OR lent_life <> $1)",
        &[&life, &site],
    )?;
    if changed == 0 {
        return Ok(false);
    }
    tx.execute("DELETE FROM site_lent WHERE site = $1", &[&site])?;
    touch(tx, site);
    Ok(true)
}

/// Names the life of a site to which uses are lent, which until now were lent to its enrolment. What was lent stays lent.
pub fn name_life(tx: &Write<'_>, seal_keys: &SealKeys, site: &str, life: Uid) -> Result<()> {
    tx.execute(
        "UPDATE sites SET lent_life = $1 WHERE name = $2",
        &[&life, &site],
    )?;
    touch(tx, site);
    seal_lent(tx, seal_keys, site)
}

/// Records the content of a report about the site itself.
pub fn put_report(tx: &Write<'_>, report: &Report) -> Result<()> {
    tx.execute(
        "UPDATE sites SET life = $1, report = $2, reported_at = $3, applied = $4, applied_events = $5 WHERE name = $6",
        &[
            &report.life,
            &report.number,
            &report.at,
            &report.pack,
            &report.events,
            &report.site,
        ],
    )?;
    Ok(())
}

/// Forgets the content of former reports about keys: the state of the site has begun again.
pub fn forget_usage(tx: &Write<'_>, site: &str) -> Result<()> {
    tx.execute("DELETE FROM site_usage WHERE site = $1", &[&site])?;
    Ok(())
}

/// Uses and refusals of one key according to the report before.
pub fn find_usage(read: &Read, site: &str, key: KeyId) -> Result<(u64, u64)> {
    let found = read.query_one(
        "SELECT uses, refusals FROM site_usage WHERE site = $1 AND key_id = $2",
        &[&site, &key],
        |row| Ok((row.get("uses")?, row.get("refusals")?)),
    )?;
    Ok(found.unwrap_or_default())
}

/// Records the content of a report about a key, if the key still is there.
pub fn put_usage(tx: &Write<'_>, site: &str, key: &KeyReport) -> Result<bool> {
    let changed = tx.execute(
        "INSERT INTO site_usage (site, key_id, uses, refusals, ended_at)
         SELECT $1, id, $2, $3, $4 FROM keys WHERE id = $5
         ON CONFLICT (site, key_id) DO UPDATE
         SET uses = excluded.uses, refusals = excluded.refusals, ended_at = excluded.ended_at",
        &[&site, &key.uses, &key.refusals, &key.ended_at, &key.id],
    )?;
    Ok(changed == 1)
}

/// The keys that a site has ended and that are still enabled here.
pub fn list_ended(read: &Read, site: &str) -> Result<Vec<EndedAtSite>> {
    read.query(
        "SELECT key_id, ended_at
         FROM site_usage JOIN keys ON keys.id = key_id
         WHERE site = $1 AND ended_at IS NOT NULL AND enabled = 1 AND deleted_at IS NULL
         ORDER BY key_id",
        &[&site],
        |row| {
            Ok(EndedAtSite {
                id: row.get("key_id")?,
                ended_at: row.get("ended_at")?,
            })
        },
    )
}

/// Keys that were made or changed in events after `after`, and that are still there.
pub fn list_changed_since(read: &Read, after: u64) -> Result<Vec<KeyId>> {
    read.query(
        "SELECT DISTINCT target_id
         FROM audit_events JOIN keys ON keys.id = target_id
         WHERE seq > $1 AND target_kind = 'key' AND outcome = 'allowed'
               AND action IN ('key.accept', 'key.edit', 'key.enable', 'key.import', 'key.issue', 'key.release', 'key.rotate',
                              'key.rotation_complete')
               AND enabled = 1 AND deleted_at IS NULL
         ORDER BY target_id",
        &[&after],
        |row| row.get("target_id"),
    )
}
