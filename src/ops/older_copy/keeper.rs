//! The thread of a node on a server that closes an older copy when it is found, and remembers which nodes are in use.

use super::known;
use crate::error::{Error, Result};
use crate::ops::App;
use crate::store::heads;
use crate::store::leases::{self, NamedNode};
use std::sync::Arc;
use std::time::Duration;

/// How often the thread looks whether there is an older copy.
const EVERY: Duration = Duration::from_millis(100);
/// The number of looks after which it asks which nodes are in use: five seconds.
const LOOKS_A_LIST: u32 = 50;
/// Nodes that have renewed their leases so long ago are not in use.
const LIVE_MS: i64 = 60_000;

/// Begins to look, until the store is closed.
pub fn begin(app: &Arc<App>) -> Result<()> {
    if !app.store.is_shared() || app.site.is_some() {
        return Ok(());
    }
    let app = Arc::downgrade(app);
    let started = std::thread::Builder::new()
        .name("older copies".to_owned())
        .spawn(move || {
            let mut keeper = Keeper::default();
            while let Some(app) = app.upgrade().filter(|app| !app.is_closed()) {
                keeper.look(&app);
                drop(app);
                std::thread::sleep(EVERY);
            }
        });
    started.map(drop).map_err(Error::internal)
}

/// What the thread remembers.
#[derive(Default)]
pub(super) struct Keeper {
    looks: u32,
    /// The nodes that were written; `None` before.
    written: Option<Vec<NamedNode>>,
    /// Whether it was logged that something fails.
    has_failed: bool,
}

impl Keeper {
    pub(super) fn look(&mut self, app: &App) {
        let done = match app.must_close() {
            true => app.close_older_copy(),
            false if self.looks.is_multiple_of(LOOKS_A_LIST) => self.remember(app),
            false => Ok(()),
        };
        self.looks = self.looks.wrapping_add(1);
        match done {
            Ok(()) => self.has_failed = false,
            Err(_) if app.is_closed() => {}
            Err(err) => {
                if !std::mem::replace(&mut self.has_failed, true) {
                    log::error!("older copies: it is tried again: {err}");
                }
            }
        }
    }

    /// Writes down which nodes are in use, if these are others than before.
    fn remember(&mut self, app: &App) -> Result<()> {
        // The leases of a copy that is not closed yet are older.
        if app.applier.fork().is_some() {
            return Ok(());
        }
        let own = app.node.id();
        let (live, head) = app.read(|read| {
            let mut live = leases::live(read, own, LIVE_MS)?;
            live.retain(|(id, _)| *id != own);
            let head = match self.written.as_ref() == Some(&live) {
                true => None,
                false => Some(heads::newest(read)?),
            };
            Ok((live, head))
        })?;
        // A node that has gone is forgotten only by a node that has everything that it had acknowledged.
        if head.is_none_or(|head| !app.applier.has(head)) {
            return Ok(());
        }
        // So is a node that still has to close a copy: another copy may not know of that.
        if app.applier.is_waiting() {
            return Ok(());
        }
        known::write(app.store.path(), &live)?;
        self.written = Some(live);
        Ok(())
    }
}
