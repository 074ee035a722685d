//! The longest lease that words of this server have ever granted, in a file of its own, because an older copy of the database does not have it.
//!
//! A database that was replaced by an older copy does not know which sites have words since, for how long these count, and not
//! even which sites there are. So for the time of the longest lease each site counts as linked, and so does one that is not known.

use super::word;
use crate::domain::locks::lock;
use crate::domain::packs::site::MAX_STALE_S_MAX;
use crate::error::{Error, Result};
use crate::files::{private, read_regular};
use crate::ops::App;
use crate::ops::packs::feed::link::lease_end_ms;
use crate::store::{packs, sites};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// The name of a site that is not known. No site has it.
pub const UNKNOWN: &str = "(unknown)";
/// The file in the data folder: seconds.
const FILE: &str = "longest-lease";
/// A reign of this number or a larger one began when an older copy replaced the database, at this second.
const REPLACED: u64 = 1_000_000_000;

/// See the heading.
#[derive(Default)]
pub struct Leases(Mutex<Option<Kept>>);

struct Kept {
    path: PathBuf,
    /// `None` if it is not known.
    longest_s: Option<u64>,
}

/// What an older copy does not say.
pub struct Replaced {
    /// For how long sites may have words that it does not know.
    pub left_ms: u64,
    /// The sites of which it knows.
    pub sites: Vec<String>,
}

impl Leases {
    /// Reads what is recorded in the folder of a database.
    pub fn begin(&self, database: &Path) {
        let path = database.with_file_name(FILE);
        let text = read_regular(&path)
            .ok()
            .and_then(|bytes| String::from_utf8(bytes).ok());
        let longest_s = text.and_then(|text| text.trim_end().parse().ok());
        *lock(&self.0) = Some(Kept { path, longest_s });
    }

    /// Records that a word may grant so long a lease, before one does.
    pub fn raise(&self, lease_s: u64) -> Result<()> {
        let mut kept = lock(&self.0);
        let Some(kept) = kept.as_mut() else {
            return Ok(());
        };
        if kept.longest_s.is_some_and(|longest| longest >= lease_s) {
            return Ok(());
        }
        private::replace(&kept.path, format!("{lease_s}\n").as_bytes())
            .map_err(|err| Error::internal(format!("{}: {err}", kept.path.display())))?;
        kept.longest_s = Some(lease_s);
        Ok(())
    }

    fn longest_s(&self) -> Option<u64> {
        lock(&self.0).as_ref()?.longest_s
    }
}

/// What the database does not say if an older copy has replaced it lately; `None` if there is nothing that it would have to.
pub fn since_replaced(app: &App) -> Result<Option<Replaced>> {
    let (server, sites) =
        app.read(|read| Ok((packs::find_server(read)?, sites::list_names(read)?)))?;
    let Some(server) = server.filter(|server| server.reign >= REPLACED) else {
        return Ok(None);
    };
    let leases = &app.feed.leases;
    let longest_s = leases.longest_s().unwrap_or(MAX_STALE_S_MAX);
    let now_s = u64::try_from(word::time(app).unix_s()).unwrap_or(0);
    let gone_ms = now_s.saturating_sub(server.reign).saturating_mul(1000);
    let left_ms = lease_end_ms(0, longest_s).saturating_sub(gone_ms);
    if left_ms == 0 {
        return Ok(None);
    }
    // Otherwise the first lease that is granted from here on would count as the longest.
    leases.raise(longest_s)?;
    Ok(Some(Replaced { left_ms, sites }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_lease_stays() {
        let folder = private::tests::folder("longest-lease");
        let database = folder.join("db");
        let leases = Leases::default();
        leases.begin(&database);
        assert_eq!(leases.longest_s(), None);
        for (lease_s, longest_s) in [(10, 10), (60, 60), (2, 60)] {
            leases.raise(lease_s).unwrap();
            let again = Leases::default();
            again.begin(&database);
            assert_eq!(again.longest_s(), Some(longest_s));
        }
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
