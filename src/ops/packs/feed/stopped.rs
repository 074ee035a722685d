//! The process of each site that had the newest word when this server stopped, in a file of its own next to the database.
//!
//! A server that starts does not know who has the words of the one before, so what one process of a site has applied does not count for
//! others, until their leases are over. After an orderly stop it does know. The file counts once, and only with the rows of links that
//! were in the database then: a copy of the database, or another node that has linked the site since, has other rows.

use super::link::{Link, Said};
use crate::domain::hex::{hex, unhex};
use crate::domain::locks::lock;
use crate::domain::packs::question::{Events, Nonce};
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::files::{private, read_regular};
use crate::ops::App;
use crate::refusals;
use crate::store::site_links::{self, LinkRow};
use std::path::{Path, PathBuf};

/// The file in the data folder: a line for each site.
const FILE: &str = "links-at-stop";

/// What the server knew of the link to one site when it stopped.
#[derive(Debug, Eq, PartialEq)]
pub struct Kept {
    pub row: LinkRow,
    said: Said,
    /// For so long other processes of the site may have words too.
    others_ms: u64,
}

impl Kept {
    fn to_line(&self) -> String {
        let (row, said) = (&self.row, &self.said);
        format!(
            "{} {} {} {} {} {} {} {} {}\n",
            row.site,
            row.lease_s,
            row.asked_at.0,
            row.events,
            said.nonce.to_text(),
            said.to.number,
            hex(&said.to.hash),
            u8::from(said.is_first),
            self.others_ms,
        )
    }

    fn parse(line: &str) -> Option<Kept> {
        let words: Vec<&str> = line.split(' ').collect();
        let [
            site,
            lease_s,
            asked_at,
            events,
            nonce,
            number,
            hash,
            is_first,
            others_ms,
        ] = words.as_slice()
        else {
            return None;
        };
        Some(Kept {
            row: LinkRow {
                site: (*site).to_owned(),
                lease_s: lease_s.parse().ok()?,
                asked_at: Timestamp(asked_at.parse().ok()?),
                events: events.parse().ok()?,
            },
            said: Said {
                nonce: Nonce::parse(nonce)?,
                to: Events {
                    number: number.parse().ok()?,
                    hash: unhex(hash)?.try_into().ok()?,
                },
                is_first: *is_first == "1",
            },
            others_ms: others_ms.parse().ok()?,
        })
    }

    /// Lets the link of the process before go on.
    pub fn put_back(&self, link: &mut Link, now_ms: u64) {
        link.chain = Some(self.said);
        link.others_end_ms = now_ms.saturating_add(self.others_ms);
    }
}

/// Reads the file of a database, and removes it: what is in it counts for one start.
pub fn take(database: &Path) -> Vec<Kept> {
    let path = path(database);
    let Ok(bytes) = read_regular(&path) else {
        return Vec::new();
    };
    if let Err(err) = private::remove(&path) {
        log::warn!("sites: {} cannot be removed: {err}", path.display());
        return Vec::new();
    }
    let text = String::from_utf8(bytes).unwrap_or_default();
    text.lines().filter_map(Kept::parse).collect()
}

/// Writes the file, at the end of the process, after the rows of the links.
pub fn record(app: &App) -> Result<()> {
    let rows = app.read(site_links::list)?;
    let now_ms = app.now().steady_ms;
    let hub = lock(&app.feed.hub);
    let kept = rows.into_iter().filter_map(|row| {
        let link = hub.links.get(&row.site).filter(|link| !link.is_dropped)?;
        Some(Kept {
            said: link.chain?,
            others_ms: link.others_end_ms.saturating_sub(now_ms),
            row,
        })
    });
    let text: String = kept.map(|kept| kept.to_line()).collect();
    drop(hub);
    if text.is_empty() {
        return Ok(());
    }
    let path = path(app.store.path());
    private::replace(&path, text.as_bytes())
        .map_err(|err| Error::Unavailable(refusals::server::file_unwritable(path.display(), err)))
}

fn path(database: &Path) -> PathBuf {
    database.with_file_name(FILE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_kept_is_read_once() {
        let folder = private::tests::folder("links-at-stop");
        let database = folder.join("db");
        let kept = Kept {
            row: LinkRow {
                site: "plant-7".to_owned(),
                lease_s: 10,
                asked_at: Timestamp(1_800_000_000_123),
                events: 7,
            },
            said: Said {
                nonce: Nonce([3; 16]),
                to: Events {
                    number: 9,
                    hash: [8; 32],
                },
                is_first: true,
            },
            others_ms: 4_000,
        };
        assert!(take(&database).is_empty());
        let text = format!("{}strange\nplant-8 1 2 3\n", kept.to_line());
        private::replace(&path(&database), text.as_bytes()).unwrap();
        assert_eq!(take(&database), [kept]);
        assert!(take(&database).is_empty());
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
