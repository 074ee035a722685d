//! Rows of links to sites: how long each may have been granted to answer, and what it had when it asked.

use super::{Read, Row, Write};
use crate::domain::time::Timestamp;
use crate::error::Result;

/// The link to a site, which may be removed meanwhile.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LinkRow {
    pub site: String,
    /// From the time of the row on, what words have granted ends within so many seconds, and no word grants more.
    pub lease_s: u64,
    /// When the site asked.
    pub asked_at: Timestamp,
    /// The newest event that was in force there then.
    pub events: u64,
}

pub fn list(read: &Read) -> Result<Vec<LinkRow>> {
    read.query(
        "SELECT site, lease_s, asked_at, events FROM site_links ORDER BY site",
        &[],
        from_row,
    )
}

pub fn find(read: &Read, site: &str) -> Result<Option<LinkRow>> {
    read.query_one(
        "SELECT site, lease_s, asked_at, events FROM site_links WHERE site = $1",
        &[&site],
        from_row,
    )
}

fn from_row(row: &Row<'_>) -> Result<LinkRow> {
    Ok(LinkRow {
        site: row.get("site")?,
        lease_s: row.get("lease_s")?,
        asked_at: row.get("asked_at")?,
        events: row.get("events")?,
    })
}

/// Records the link to a site that begins. A longer lease that is recorded already stays.
pub fn raise(tx: &Write<'_>, row: &LinkRow) -> Result<()> {
    tx.execute(
        "INSERT INTO site_links (site, lease_s, asked_at, events)
         VALUES ($1, $2, $3, $4)
         ON CONFLICT (site) DO UPDATE
         SET lease_s = CASE WHEN excluded.lease_s > site_links.lease_s THEN excluded.lease_s ELSE site_links.lease_s END,
             asked_at = excluded.asked_at",
        &[&row.site, &row.lease_s, &row.asked_at, &row.events],
    )?;
    Ok(())
}

pub fn put(tx: &Write<'_>, row: &LinkRow) -> Result<()> {
    tx.execute(
        "INSERT INTO site_links (site, lease_s, asked_at, events)
         VALUES ($1, $2, $3, $4)
         ON CONFLICT (site) DO UPDATE
         SET lease_s = excluded.lease_s, asked_at = excluded.asked_at, events = excluded.events",
        &[&row.site, &row.lease_s, &row.asked_at, &row.events],
    )?;
    Ok(())
}

/// Removes the link to a site. `false` if there is none.
pub fn delete(tx: &Write<'_>, site: &str) -> Result<bool> {
    let changed = tx.execute("DELETE FROM site_links WHERE site = $1", &[&site])?;
    Ok(changed == 1)
}
