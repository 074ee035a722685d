//! Rows of packs that were made, of the keys that sign them, and of this server as its sites know it.

use super::{Read, Row, Write};
use crate::domain::audit::{Kind, Target};
use crate::domain::keys::sealing::Sealed;
use crate::domain::packs::past::{POINTS_MAX, Point};
use crate::domain::packs::site::MadePack;
use crate::domain::time::Timestamp;
use crate::domain::uid::Uid;
use crate::error::Result;

/// This server as its sites know it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Server {
    pub uid: Uid,
    pub name: String,
    pub reign: u64,
}

/// A key that signs packs.
#[derive(Clone, Debug)]
pub struct SigningKeyRow {
    pub version: u32,
    pub public: String,
    pub sealed: Sealed,
    /// The signature by which the key before has introduced this one; empty for the first.
    pub introduction: String,
    pub added_at: Timestamp,
}

pub fn find_server(read: &Read) -> Result<Option<Server>> {
    read.query_one("SELECT uid, name, reign FROM pack_server", &[], |row| {
        Ok(Server {
            uid: row.get("uid")?,
            name: row.get("name")?,
            reign: row.get("reign")?,
        })
    })
}

pub fn insert_server(tx: &Write<'_>, server: &Server) -> Result<()> {
    tx.execute(
        "INSERT INTO pack_server (one, uid, name, reign) VALUES (1, $1, $2, $3)",
        &[&server.uid, &server.name, &server.reign],
    )?;
    Ok(())
}

/// Begins a new reign after a restore: a number that no earlier one can have, even if the same backup was restored before.
pub fn begin_reign(tx: &Write<'_>, now: Timestamp) -> Result<()> {
    tx.execute(
        "UPDATE pack_server SET reign = CASE WHEN reign >= $1 THEN reign + 1 ELSE $1 END",
        &[&now.unix_s()],
    )?;
    Ok(())
}

pub fn insert_signing_key(tx: &Write<'_>, key: &SigningKeyRow) -> Result<()> {
    tx.execute(
        "INSERT INTO pack_signing_keys (version, public, sealed, sealing_key, introduction, added_at)
         VALUES ($1, $2, $3, $4, $5, $6)",
        &[
            &key.version,
            &key.public,
            &key.sealed.bytes,
            &key.sealed.version,
            &key.introduction,
            &key.added_at,
        ],
    )?;
    Ok(())
}

/// Every key that signs packs, the oldest first.
pub fn list_signing_keys(read: &Read) -> Result<Vec<SigningKeyRow>> {
    read.query(
        "SELECT version, public, sealed, sealing_key, introduction, added_at FROM pack_signing_keys ORDER BY version",
        &[],
        |row| {
            Ok(SigningKeyRow {
                version: row.get("version")?,
                public: row.get("public")?,
                sealed: sealed_from_row(row)?,
                introduction: row.get("introduction")?,
                added_at: row.get("added_at")?,
            })
        },
    )
}

/// What has a copy of a secret that is not under the newest version of the sealing key: sites by name, signing keys by
/// version.
pub fn list_older_copies(read: &Read, newest: u32) -> Result<Vec<(Holder, Sealed)>> {
    let mut found = read.query(
        "SELECT name, sealed, sealing_key FROM sites WHERE sealed IS NOT NULL AND sealing_key <> $1",
        &[&newest],
        |row| Ok((Holder::Site(row.get("name")?), sealed_from_row(row)?)),
    )?;
    found.extend(read.query(
        "SELECT version, sealed, sealing_key FROM pack_signing_keys WHERE sealing_key <> $1",
        &[&newest],
        |row| {
            Ok((
                Holder::SigningKey(row.get("version")?),
                sealed_from_row(row)?,
            ))
        },
    )?);
    Ok(found)
}

/// What has a sealed copy of a secret.
#[derive(Clone, Debug)]
pub enum Holder {
    Site(String),
    SigningKey(u32),
}

/// Replaces the copy of a secret.
pub fn update_copy(tx: &Write<'_>, holder: &Holder, sealed: &Sealed) -> Result<()> {
    if let Holder::Site(name) = holder {
        tx.touch_lightly(Target::new(Kind::Site, name));
    }
    match holder {
        Holder::Site(name) => tx.execute(
            "UPDATE sites SET sealed = $1, sealing_key = $2 WHERE name = $3 AND sealed IS NOT NULL",
            &[&sealed.bytes, &sealed.version, name],
        )?,
        Holder::SigningKey(version) => tx.execute(
            "UPDATE pack_signing_keys SET sealed = $1, sealing_key = $2 WHERE version = $3",
            &[&sealed.bytes, &sealed.version, version],
        )?,
    };
    Ok(())
}

fn sealed_from_row(row: &Row<'_>) -> Result<Sealed> {
    Ok(Sealed {
        bytes: row.get("sealed")?,
        version: row.get("sealing_key")?,
    })
}

/// The number of packs of a site that are remembered, so that what is known about a site has the times of its pack.
const REMEMBERED_MAX: u64 = 100;

/// Records a pack under the next number of its site; `false` if another pack has taken that number. Packs that no later
/// pack needs and that are older than the one which the site is known to have are forgotten.
pub fn insert(tx: &Write<'_>, pack: &MadePack) -> Result<bool> {
    let base = if pack.base == 0 {
        pack.number
    } else {
        pack.base
    };
    let changed = tx.execute(
        "UPDATE sites SET pack = $1, base = $2 WHERE name = $3 AND pack < $1 AND removed_at IS NULL",
        &[&pack.number, &base, &pack.site],
    )?;
    if changed == 0 {
        return Ok(false);
    }
    tx.execute(
        "DELETE FROM packs
         WHERE site = $1 AND number <> $2
               AND (number < $3 OR number < (SELECT coalesce(applied, 0) FROM sites WHERE name = $1))",
        &[
            &pack.site,
            &base,
            &pack.number.saturating_sub(REMEMBERED_MAX),
        ],
    )?;
    tx.execute(
        "INSERT INTO packs (site, number, base, made_at, until, events, keys, bytes, sha256)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        &[
            &pack.site,
            &pack.number,
            &pack.base,
            &pack.made_at,
            &pack.until,
            &pack.events,
            &pack.keys,
            &pack.bytes,
            &pack.sha256,
        ],
    )?;
    Ok(true)
}

/// The first instant at which no pack counts any more of those that are remembered of a site; `None` if there are none.
pub fn find_last_until(read: &Read, site: &str) -> Result<Option<Timestamp>> {
    let found = read.query_one(
        "SELECT max(until) AS until FROM packs WHERE site = $1",
        &[&site],
        |row| row.get("until"),
    )?;
    Ok(found.flatten())
}

/// Remembers the newest event that a pack of a site includes. The oldest ones are forgotten.
pub fn insert_point(tx: &Write<'_>, site: &str, point: Point) -> Result<()> {
    tx.execute(
        "INSERT INTO site_points (site, events, start) VALUES ($1, $2, $3)
         ON CONFLICT (site, events) DO UPDATE SET start = excluded.start",
        &[&site, &point.events, &point.start],
    )?;
    tx.execute(
        "DELETE FROM site_points
         WHERE site = $1
               AND events < (SELECT min(events)
                             FROM (SELECT events FROM site_points WHERE site = $1 ORDER BY events DESC LIMIT $2) AS newest)",
        &[&site, &(POINTS_MAX as u64)],
    )?;
    Ok(())
}

/// The newest events that the packs of a site have included, the newest first.
pub fn list_points(read: &Read, site: &str) -> Result<Vec<Point>> {
    read.query(
        "SELECT events, start FROM site_points WHERE site = $1 ORDER BY events DESC LIMIT $2",
        &[&site, &(POINTS_MAX as u64)],
        |row| {
            Ok(Point {
                events: row.get("events")?,
                start: row.get("start")?,
            })
        },
    )
}

/// A pack of a site that is remembered. Only the files of the whole one and of the newest one are kept.
pub fn find(read: &Read, site: &str, number: u64) -> Result<Option<MadePack>> {
    read.query_one(
        "SELECT site, number, base, made_at, until, events, keys, bytes, sha256
         FROM packs
         WHERE site = $1 AND number = $2",
        &[&site, &number],
        |row| {
            Ok(MadePack {
                site: row.get("site")?,
                number: row.get("number")?,
                base: row.get("base")?,
                made_at: row.get("made_at")?,
                until: row.get("until")?,
                events: row.get("events")?,
                keys: row.get("keys")?,
                bytes: row.get("bytes")?,
                sha256: row.get("sha256")?,
            })
        },
    )
}
