//! The longest lease that words of this server have ever granted, in a file of its own, because an older copy of the database does not have it.
//!
//! A database that was replaced by an older copy does not know which sites have words since, for how long these count, and not
//! even which sites there are. So for the time of the longest lease each site counts as linked, and so does one that is not known.
//!
//! An older copy of the whole folder has an older copy of this file as well. The file has the time at which it was made, which a copy of
//! the file does not share; where the file system knows no such time, and after a snapshot was put back, only a site shows what this
//! server does not know ([`super::ahead`]).

use super::word;
use crate::domain::locks::lock;
use crate::domain::packs::site::MAX_STALE_S_MAX;
use crate::error::{Error, Result};
use crate::files::{private, read_regular};
use crate::ops::App;
use crate::ops::packs::feed::link::lease_end_ms;
use crate::refusals;
use crate::store::{packs, sites};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// The name of a site that is not known. No site has it.
pub const UNKNOWN: &str = "(unknown)";
/// The file in the data folder: seconds, and when the file was made.
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
    /// When the file was made of which this one is a copy; `None` if it is none.
    copy_of: Option<u128>,
    /// Whether the database knows of no site: it is older than the first one.
    is_left_over: bool,
}

/// What an older copy does not say.
pub struct Replaced {
    /// For how long sites may have words that it does not know.
    pub left_ms: u64,
    /// The sites of which it knows.
    pub sites: Vec<String>,
}

impl Kept {
    fn read(path: PathBuf) -> Kept {
        let text = match read_regular(&path) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(err) if err.kind() == ErrorKind::NotFound => {
                return Kept {
                    path,
                    longest_s: None,
                    copy_of: None,
                    is_left_over: false,
                };
            }
            Err(err) => format!("? {err}"),
        };
        let mut words = text.split_whitespace();
        let longest_s = words.next().and_then(|word| word.parse::<u64>().ok());
        if longest_s.is_none() {
            // It is left as it is: what it said may have been longer than what is granted from now on.
            log::warn!(
                "sites: {} does not say for how long sites may go on without the server, so it counts as {MAX_STALE_S_MAX} s; remove it \
                 when no site can have a lease of the time before",
                path.display()
            );
        }
        let longest_s = longest_s.map_or(MAX_STALE_S_MAX, |it| it.min(MAX_STALE_S_MAX));
        let named = words.next().and_then(|word| word.parse::<u128>().ok());
        let found = std::fs::metadata(&path).ok();
        let made_at = found.and_then(|found| private::made_at(&found));
        let kept = Kept {
            copy_of: named.filter(|named| made_at.is_some_and(|made_at| made_at != *named)),
            path,
            longest_s: Some(longest_s),
            is_left_over: false,
        };
        // It was written by a version that did not write the time.
        if text.trim_end() == longest_s.to_string()
            && made_at.is_some()
            && let Err(err) = kept.write(longest_s)
        {
            log::warn!("sites: {err}");
        }
        kept
    }

    /// Writes the file. A copy stays recognisable as one.
    fn write(&self, longest_s: u64) -> Result<()> {
        let content = |made_at| match self.copy_of.or(made_at) {
            Some(made_at) => format!("{longest_s} {made_at}\n").into_bytes(),
            None => format!("{longest_s}\n").into_bytes(),
        };
        private::replace_with(&self.path, content).map_err(|err| {
            let why = refusals::server::file_unwritable(self.path.display(), err);
            Error::Unavailable(why)
        })
    }
}

impl Leases {
    /// Reads what is recorded in the folder of a database.
    pub fn begin(&self, database: &Path) {
        *lock(&self.0) = Some(Kept::read(database.with_file_name(FILE)));
    }

    /// Records that a word may grant so long a lease, before one does.
    pub fn raise(&self, lease_s: u64) -> Result<()> {
        let mut kept = lock(&self.0);
        let Some(kept) = kept.as_mut() else {
            return Ok(());
        };
        // From now on the database knows of a site, so the file is its own.
        kept.is_left_over = false;
        if kept.longest_s.is_some_and(|longest| longest >= lease_s) {
            return Ok(());
        }
        kept.write(lease_s)?;
        kept.longest_s = Some(lease_s);
        Ok(())
    }

    /// The longest lease that was ever granted, as far as is known.
    pub fn longest_s(&self) -> u64 {
        let kept = lock(&self.0);
        let known = kept.as_ref().and_then(|kept| kept.longest_s);
        known.unwrap_or(MAX_STALE_S_MAX)
    }

    /// Whether the file is a copy, so that the folder was put back from one.
    fn is_copy(&self) -> bool {
        lock(&self.0)
            .as_ref()
            .is_some_and(|kept| kept.copy_of.is_some())
    }

    /// Whether the file is there although the database knows of no site. It is noted, for [`Leases::settle`].
    fn is_left_over(&self) -> bool {
        let mut kept = lock(&self.0);
        let Some(kept) = kept.as_mut().filter(|kept| kept.longest_s.is_some()) else {
            return false;
        };
        kept.is_left_over = true;
        true
    }

    /// Lets a copy count as the file of this folder, and removes one that an older database has left over, when no lease of the time
    /// before can count any more.
    pub fn settle(&self, since_start_ms: u64) -> Result<()> {
        let mut kept = lock(&self.0);
        let is_due = |kept: &&mut Kept| kept.copy_of.is_some() || kept.is_left_over;
        let Some(kept) = kept.as_mut().filter(is_due) else {
            return Ok(());
        };
        let longest_s = kept.longest_s.unwrap_or(MAX_STALE_S_MAX);
        if since_start_ms < lease_end_ms(0, longest_s) {
            return Ok(());
        }
        if kept.is_left_over {
            private::remove(&kept.path).map_err(|err| {
                let why = refusals::server::file_unwritable(kept.path.display(), err);
                Error::Unavailable(why)
            })?;
            (kept.is_left_over, kept.copy_of, kept.longest_s) = (false, None, None);
            return Ok(());
        }
        let before = kept.copy_of.take();
        kept.write(longest_s).inspect_err(|_| kept.copy_of = before)
    }
}

/// What the database does not say if an older copy has replaced it lately; `None` if there is nothing that it would have to.
pub fn since_replaced(app: &App) -> Result<Option<Replaced>> {
    let (server, sites) =
        app.read(|read| Ok((packs::find_server(read)?, sites::list_names(read)?)))?;
    let leases = &app.feed.leases;
    let Some(server) = server else {
        // Sites that were added since have words of which this database knows nothing at all.
        let left_ms = lease_end_ms(0, leases.longest_s());
        return Ok(leases.is_left_over().then_some(Replaced { left_ms, sites }));
    };
    let (is_replaced, is_copy) = (server.reign >= REPLACED, leases.is_copy());
    let longest_s = leases.longest_s();
    let now_s = u64::try_from(word::time(app).unix_s()).unwrap_or(0);
    let gone_s = match is_copy {
        // The process before, which is not known, may have ended just now.
        true => 0,
        false => now_s.saturating_sub(server.reign),
    };
    let left_ms = lease_end_ms(0, longest_s).saturating_sub(gone_s.saturating_mul(1000));
    if left_ms == 0 || !(is_replaced || is_copy) {
        return Ok(None);
    }
    if is_copy {
        log::warn!(
            "sites: the data folder is a copy that was put in its place, so for {longest_s} s a change that waits for the sites waits \
             for words that this server does not know"
        );
    }
    // Otherwise the first lease that is granted from here on would count as the longest.
    leases.raise(longest_s)?;
    Ok(Some(Replaced { left_ms, sites }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::setup::fixture::Fixture;

    #[test]
    fn the_longest_lease_stays() {
        let folder = private::tests::folder("longest-lease");
        let database = folder.join("db");
        let leases = Leases::default();
        leases.begin(&database);
        assert_eq!(leases.longest_s(), MAX_STALE_S_MAX);
        for (lease_s, longest_s) in [(10, 10), (60, 60), (2, 60)] {
            leases.raise(lease_s).unwrap();
            let again = Leases::default();
            again.begin(&database);
            assert_eq!((again.longest_s(), again.is_copy()), (longest_s, false));
        }
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_file_that_says_nothing_counts_as_the_longest_lease_and_stays() {
        let folder = private::tests::folder("longest-lease-damaged");
        let (database, file) = (folder.join("db"), folder.join(FILE));
        for content in [
            &b"nonsense\n"[..],
            b"\xff",
            b"",
            b"99999999999999999999 1\n",
        ] {
            std::fs::write(&file, content).unwrap();
            let leases = Leases::default();
            leases.begin(&database);
            assert_eq!(leases.longest_s(), MAX_STALE_S_MAX);
            leases.raise(10).unwrap();
            assert_eq!(std::fs::read(&file).unwrap(), content);
        }
        std::fs::write(&file, "9007199254740992\n").unwrap();
        let leases = Leases::default();
        leases.begin(&database);
        assert_eq!(leases.longest_s(), MAX_STALE_S_MAX);
        std::fs::remove_dir_all(&folder).unwrap();
    }

    /// A backup of before the first site was restored.
    #[test]
    fn a_database_that_knows_no_site_waits_for_the_longest_lease_once() {
        let fixture = Fixture::new();
        let app = &fixture.app;
        assert!(since_replaced(app).unwrap().is_none());
        let file = app.store.path().with_file_name(FILE);
        std::fs::write(&file, "3600\n").unwrap();
        let leases = &app.feed.leases;
        leases.begin(app.store.path());
        let replaced = since_replaced(app).unwrap().unwrap();
        assert_eq!(replaced.left_ms, lease_end_ms(0, 3_600));
        leases.settle(replaced.left_ms - 1).unwrap();
        assert!(file.exists());
        // A site that is added and linked meanwhile needs it.
        leases.raise(10).unwrap();
        leases.settle(replaced.left_ms).unwrap();
        assert!(file.exists() && leases.longest_s() == 3_600);
        assert!(since_replaced(app).unwrap().is_some());
        leases.settle(replaced.left_ms).unwrap();
        assert!(!file.exists() && since_replaced(app).unwrap().is_none());
    }

    #[test]
    fn a_copy_of_the_file_is_noticed_until_no_lease_of_the_time_before_counts() {
        let folder = private::tests::folder("longest-lease-copied");
        let (database, file) = (folder.join("db"), folder.join(FILE));
        let leases = Leases::default();
        leases.begin(&database);
        leases.raise(10).unwrap();
        if private::made_at(&std::fs::metadata(&file).unwrap()).is_none() {
            return;
        }
        let other = folder.join("other");
        std::fs::copy(&file, &other).unwrap();
        std::fs::rename(&other, &file).unwrap();
        let begin = || {
            let leases = Leases::default();
            leases.begin(&database);
            leases
        };
        assert!(begin().is_copy());
        // Also after a longer lease was granted, and a further start.
        begin().raise(20).unwrap();
        let copied = begin();
        assert_eq!((copied.is_copy(), copied.longest_s()), (true, 20));
        copied.settle(20_399).unwrap();
        assert!(copied.is_copy() && begin().is_copy());
        copied.settle(20_400).unwrap();
        assert!(!copied.is_copy() && !begin().is_copy());
        // What an older version has written gets its time at the start.
        std::fs::write(&file, "30\n").unwrap();
        assert!(!begin().is_copy());
        std::fs::copy(&file, &other).unwrap();
        std::fs::rename(&other, &file).unwrap();
        assert_eq!((begin().is_copy(), begin().longest_s()), (true, 30));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
