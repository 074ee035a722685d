//! Walking folders on all processors: which files are met. What is read in them is `reader.rs`'s business.
//!
//! Threads share one stack of what was met and not yet dealt with. Folders are read in parts, and the last that was
//! met is dealt with first, so that the stack grows with the depth of a tree and not with its size. Nothing recurses.

use super::rules::{Rules, Unapplied, User};
use crate::domain::locks::lock;
use std::ffi::OsString;
use std::fs::{self, FileType, ReadDir};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;

/// Entries of a folder that are put on the stack together.
const PART_ENTRIES: usize = 1024;

/// What is handed over.
pub enum Met<'m> {
    File(&'m Path),
    /// What could not be looked at, with the reason.
    Trouble(String),
    /// A pattern that leaves nothing out, or a file of them, with the reason: more is met than was meant.
    Unapplied(String),
}

/// Hands over each file below the paths, on many threads, each with a visitor of its own. Names with a dot count, .git
/// does not. Links that are met are not followed, what they lead to is met by itself; a path that was named is, and is
/// handed over whatever it is. Rules leave things out if there is a `user` whose own they are beside those of folders.
pub fn each_file<V: FnMut(Met<'_>)>(
    named: &[&Path],
    user: Option<&User>,
    visitor: impl Fn() -> V + Sync,
) {
    let stack = Stack::of(named.iter().rev().map(|path| Work::Named(path)).collect());
    let worker = || {
        let mut walker = Walker {
            stack: &stack,
            user,
            visit: visitor(),
        };
        while let Some((work, _busy)) = stack.take() {
            walker.deal_with(work);
        }
    };
    let threads = thread::available_parallelism().map_or(2, usize::from);
    thread::scope(|scope| {
        for _ in 1..threads {
            // With fewer threads it takes longer.
            if thread::Builder::new().spawn_scoped(scope, worker).is_err() {
                break;
            }
        }
        worker();
    });
}

/// A folder whose entries are dealt with.
struct Folder {
    path: PathBuf,
    /// None if nothing is left out.
    rules: Option<Rules>,
}

impl Folder {
    /// What is to be done about an entry.
    fn work<'n>(self: &Arc<Folder>, kind: FileType, name: OsString) -> Option<Work<'n>> {
        let is_looked_at = (kind.is_file() || kind.is_dir()) && name != ".git";
        let is_left_out = |rules: &Rules| rules.leaves_out(&name, kind.is_dir());
        if !is_looked_at || self.rules.as_ref().is_some_and(is_left_out) {
            return None;
        }
        let folder = Arc::clone(self);
        Some(if kind.is_dir() {
            Work::Folder(folder, name)
        } else {
            Work::File(folder, name)
        })
    }
}

enum Work<'n> {
    File(Arc<Folder>, OsString),
    Folder(Arc<Folder>, OsString),
    Named(&'n Path),
    /// What has not been read of a folder.
    Rest(Arc<Folder>, ReadDir),
}

/// One thread's part in the walk.
struct Walker<'w, 'n, V> {
    stack: &'w Stack<'n>,
    user: Option<&'w User>,
    visit: V,
}

impl<V: FnMut(Met<'_>)> Walker<'_, '_, V> {
    fn deal_with(&mut self, work: Work<'_>) {
        match work {
            Work::File(folder, name) => (self.visit)(Met::File(&folder.path.join(name))),
            Work::Folder(above, name) => {
                let path = above.path.join(&name);
                let rules = above.rules.as_ref().map(|rules| rules.inside(&name));
                self.open(path, rules);
            }
            Work::Named(path) => match fs::metadata(path) {
                Ok(metadata) if metadata.is_dir() => {
                    let mut unapplied = Unapplied::new();
                    let rules = self
                        .user
                        .map(|user| Rules::above(path, user, &mut unapplied));
                    self.tell(unapplied);
                    self.open(path.to_owned(), rules);
                }
                Ok(_) => (self.visit)(Met::File(path)),
                Err(err) => self.trouble(path, &err),
            },
            Work::Rest(folder, entries) => self.read(&folder, entries),
        }
    }

    fn open(&mut self, path: PathBuf, rules: Option<Rules>) {
        let entries = match fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(err) => return self.trouble(&path, &err),
        };
        let mut unapplied = Unapplied::new();
        let rules = rules.map(|rules| rules.with_files(&path, &mut unapplied));
        self.tell(unapplied);
        self.read(&Arc::new(Folder { path, rules }), entries);
    }

    fn read(&mut self, folder: &Arc<Folder>, mut entries: ReadDir) {
        let (mut part, mut count) = (Vec::new(), 0);
        for entry in entries.by_ref().take(PART_ENTRIES) {
            count += 1;
            match entry.and_then(|entry| Ok((entry.file_type()?, entry.file_name()))) {
                Ok((kind, name)) => part.extend(folder.work(kind, name)),
                Err(err) => self.trouble(&folder.path, &err),
            }
        }
        // Below the others, so that these are dealt with before more is read.
        let rest = (count == PART_ENTRIES).then(|| Work::Rest(Arc::clone(folder), entries));
        self.stack.put(rest.into_iter().chain(part));
    }

    fn tell(&mut self, unapplied: Unapplied) {
        for pattern in unapplied {
            (self.visit)(Met::Unapplied(pattern));
        }
    }

    fn trouble(&mut self, path: &Path, err: &std::io::Error) {
        (self.visit)(Met::Trouble(format!("{}: {err}", path.display())));
    }
}

/// What was met and is not yet dealt with, and how many threads may still meet more.
struct Stack<'n> {
    state: Mutex<State<'n>>,
    changed: Condvar,
}

struct State<'n> {
    waiting: Vec<Work<'n>>,
    busy: usize,
}

/// One of those that may meet more, until it is dropped; also by a panic, so that the others do not wait for ever.
struct Busy<'s, 'n>(&'s Stack<'n>);

impl<'n> Stack<'n> {
    fn of(waiting: Vec<Work<'n>>) -> Stack<'n> {
        Stack {
            state: Mutex::new(State { waiting, busy: 0 }),
            changed: Condvar::new(),
        }
    }

    fn put(&self, met: impl Iterator<Item = Work<'n>>) {
        let mut met = met.peekable();
        if met.peek().is_some() {
            lock(&self.state).waiting.extend(met);
            self.changed.notify_all();
        }
    }

    /// Waits until there is something; `None` when nothing is left and nobody can meet more.
    fn take(&self) -> Option<(Work<'n>, Busy<'_, 'n>)> {
        let mut state = lock(&self.state);
        loop {
            if let Some(work) = state.waiting.pop() {
                state.busy += 1;
                return Some((work, Busy(self)));
            }
            if state.busy == 0 {
                return None;
            }
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Drop for Busy<'_, '_> {
    fn drop(&mut self) {
        let mut state = lock(&self.0.state);
        state.busy -= 1;
        if state.busy == 0 && state.waiting.is_empty() {
            self.0.changed.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn each_named_path_is_met_once() {
        let named: Vec<String> = (0..100).map(|it| format!("/nowhere/{it}")).collect();
        let named: Vec<&Path> = named.iter().map(Path::new).collect();
        for count in [0, 1, 2, 100] {
            let met = AtomicUsize::new(0);
            each_file(&named[..count], None, || {
                |_: Met<'_>| {
                    met.fetch_add(1, Ordering::Relaxed);
                }
            });
            assert_eq!(met.into_inner(), count);
        }
    }

    #[test]
    fn a_thread_that_panics_leaves_nobody_waiting() {
        let ended = catch_unwind(AssertUnwindSafe(|| {
            each_file(&[Path::new("/nowhere")], None, || {
                |_: Met<'_>| panic!("seen by nobody else")
            });
        }));
        assert!(ended.is_err());
    }
}
