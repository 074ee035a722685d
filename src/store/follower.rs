//! The thread through which an index follows what other nodes commit, over a connection of its own.
//!
//! A notification means that there are new events. It is only a hint. The answer to the lease of the node, which is written once a
//! second, names the newest event; if that is not the one of the index, the thread is woken ([`Store::follow_soon`]). Where nodes do not notify,
//! it looks after [`POLL`]. After a fault it opens another connection, with longer and longer pauses.

use super::connection::{Database, Read};
use super::tombstones::SharedTombstoneFile;
use super::{Follow, Store, Within};
use crate::domain::locks::lock;
use crate::error::{Error, Result};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long the thread waits before it looks, where nodes do not notify.
const POLL: Duration = Duration::from_millis(250);
/// The same where they do.
const LISTENS: Duration = Duration::from_secs(10);
/// The pauses after faults: the first one, and the longest one.
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// The running thread.
pub struct Follower {
    database: Database,
    stopping: Arc<Stopping>,
    thread: JoinHandle<()>,
}

#[derive(Default)]
struct Stopping {
    is_set: Mutex<bool>,
    changed: Condvar,
}

impl Stopping {
    fn is_set(&self) -> bool {
        *lock(&self.is_set)
    }

    /// Waits for a time, or for the end.
    fn wait(&self, limit: Duration) {
        let is_set = lock(&self.is_set);
        drop(
            self.changed
                .wait_timeout_while(is_set, limit, |is_set| !*is_set),
        );
    }
}

impl Follower {
    pub fn start(
        database: Database,
        follow: Follow,
        book: Arc<SharedTombstoneFile>,
    ) -> Result<Follower> {
        let stopping = Arc::<Stopping>::default();
        let (stops, followed) = (stopping.clone(), database.clone());
        let thread = std::thread::Builder::new()
            .name("store follower".to_owned())
            .spawn(move || run(&followed, &follow, &book, &stops))
            .map_err(Error::internal)?;
        Ok(Follower {
            database,
            stopping,
            thread,
        })
    }

    /// Ends the thread, and waits for that.
    pub fn stop(self) {
        *lock(&self.stopping.is_set) = true;
        self.stopping.changed.notify_all();
        self.database.wake_listener();
        if self.thread.join().is_err() {
            log::error!("store: the follower did not end in order");
        }
    }
}

impl Store {
    /// Follows what other nodes have committed, once.
    #[cfg(feature = "postgres")]
    pub fn follow_now(&self) -> Result<()> {
        self.read_from_now(|read| {
            while !(self.follow)(read, &self.book, Within::Snapshot)? {}
            Ok(())
        })
    }

    /// Lets the thread that follows other nodes look at once.
    #[cfg(feature = "postgres")]
    pub fn follow_soon(&self) -> impl Fn() + Send + 'static {
        let database = self.database.clone();
        move || database.wake_listener()
    }

    /// Runs work on a connection that has no transaction yet.
    pub fn read_from_now<T>(&self, work: impl FnOnce(&Read) -> Result<T>) -> Result<T> {
        let (_, _running) = self.begin_reading()?;
        work(&self.database.open_reader()?)
    }
}

fn run(database: &Database, follow: &Follow, book: &SharedTombstoneFile, stopping: &Stopping) {
    let mut connection = None;
    let mut pause = PAUSE_MIN;
    let mut was_failing = false;
    while !stopping.is_set() {
        let round = || round(&mut connection, database, follow, book, stopping);
        let done = catch_unwind(AssertUnwindSafe(round))
            .unwrap_or_else(|_| Err(Error::internal("the index could not follow other nodes")));
        match done {
            Ok(()) => {
                if std::mem::take(&mut was_failing) {
                    log::info!("store: the changes of other nodes are followed again");
                }
                pause = PAUSE_MIN;
            }
            Err(err) => {
                if !std::mem::replace(&mut was_failing, true) {
                    log::error!(
                        "store: the changes of other nodes are not followed for now: {err}"
                    );
                }
                connection = None;
                stopping.wait(pause);
                pause = (pause * 2).min(PAUSE_MAX);
            }
        }
    }
}

/// Follows everything that is committed, and waits for more.
fn round(
    connection: &mut Option<Read>,
    database: &Database,
    follow: &Follow,
    book: &SharedTombstoneFile,
    stopping: &Stopping,
) -> Result<()> {
    let connection = match connection {
        Some(connection) if !connection.is_over() => connection,
        other => other.insert(database.open_listener()?),
    };
    while !follow(connection, book, Within::Snapshot)? {
        if stopping.is_set() || connection.is_over() {
            return Ok(());
        }
    }
    book.flush(connection)?;
    connection.wait_for_commit(match database.notifies() {
        true => LISTENS,
        false => POLL,
    });
    Ok(())
}
