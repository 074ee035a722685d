//! Walking folders on all processors: which files are met. What is read in them is `reader.rs`'s business.
//!
//! In a work tree git says which files count; what lies in no work tree, or in one of which git says nothing, is walked
//! plainly, and all of it counts.
//!
//! Threads share one stack of what was met and not yet dealt with. Folders are read in parts, and the last that was
//! met is dealt with first, so that the stack grows with the depth of a tree and not with its size. Nothing recurses.

use super::git::{Files, Git};
use crate::domain::locks::lock;
use std::ffi::OsString;
use std::fs::{self, FileType, ReadDir};
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;

/// Entries of a folder that are put on the stack together.
const PART_ENTRIES: usize = 1024;
/// Files that git has listed and that one thread looks into together.
const PART_LISTED: usize = 64;

/// What is handed over.
pub enum Met<'m> {
    File(&'m Path),
    /// What could not be looked at, with the reason.
    Trouble(String),
    /// A work tree of which git says nothing, with the reason: more is met than was meant.
    Unlisted(String),
}

/// Hands over each file below the paths, on many threads, each with a visitor of its own. Names with a dot count, .git
/// does not. Links that are met are not followed, what they lead to is met by itself; a path that was named is, and is
/// handed over whatever it is. Without `git` every file of a work tree is met too.
pub fn each_file<V: FnMut(Met<'_>)>(
    named: &[&Path],
    git: Option<&Git>,
    visitor: impl Fn() -> V + Sync,
) {
    let stack = Stack::of(named.iter().rev().map(|path| Work::Named(path)).collect());
    let worker = || {
        let mut walker = Walker {
            stack: &stack,
            git,
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

enum Work<'n> {
    File(Arc<PathBuf>, OsString),
    Folder(Arc<PathBuf>, OsString),
    /// Files of a work tree, from the folder on; a folder among them is a work tree of its own.
    Listed(Arc<PathBuf>, Vec<OsString>),
    Named(&'n Path),
    /// What has not been read of a folder.
    Rest(Arc<PathBuf>, ReadDir),
}

/// One thread's part in the walk.
struct Walker<'w, 'n, V> {
    stack: &'w Stack<'n>,
    git: Option<&'w Git>,
    visit: V,
}

impl<V: FnMut(Met<'_>)> Walker<'_, '_, V> {
    fn deal_with(&mut self, work: Work<'_>) {
        match work {
            Work::File(folder, name) => (self.visit)(Met::File(&folder.join(name))),
            Work::Folder(above, name) => self.enter(above.join(name)),
            Work::Listed(folder, names) => self.listed(&folder, names),
            Work::Named(path) => match fs::metadata(path) {
                Ok(metadata) if metadata.is_dir() => {
                    let real = path.canonicalize();
                    let above = real.iter().flat_map(|real| real.ancestors().skip(1));
                    if above.into_iter().any(is_top) && !is_top(path) {
                        self.list(path.to_owned());
                    } else {
                        self.enter(path.to_owned());
                    }
                }
                Ok(_) => (self.visit)(Met::File(path)),
                Err(err) => self.trouble(path, &err),
            },
            Work::Rest(folder, entries) => self.read(&folder, entries),
        }
    }

    /// A folder that may be the top of a work tree.
    fn enter(&mut self, path: PathBuf) {
        if self.git.is_some() && is_top(&path) {
            self.list(path);
        } else {
            self.open(path);
        }
    }

    /// A folder in a work tree.
    fn list(&mut self, path: PathBuf) {
        let Some(git) = self.git else {
            return self.open(path);
        };
        match git.files(&path) {
            Ok(Files::All) => self.open(path),
            Ok(Files::Listed(names)) => {
                let path = Arc::new(path);
                let parts = names.chunks(PART_LISTED);
                let work = |part: &[OsString]| Work::Listed(Arc::clone(&path), part.to_vec());
                self.stack.put(parts.map(work));
            }
            Err(why) => {
                let shown = path.display();
                (self.visit)(Met::Unlisted(format!(
                    "{shown}: git does not say which files count, so all are looked into: {why}"
                )));
                self.open(path);
            }
        }
    }

    fn listed(&mut self, folder: &Arc<PathBuf>, names: Vec<OsString>) {
        for name in names {
            let path = folder.join(&name);
            match path.symlink_metadata() {
                Ok(metadata) if metadata.is_file() => (self.visit)(Met::File(&path)),
                Ok(metadata) if metadata.is_dir() => {
                    // The listing has no slash for a submodule, and for a file in whose place a folder has come. What is
                    // in the latter is listed file by file, unless it is a work tree of its own.
                    if name.as_bytes().ends_with(b"/") || is_top(&path) {
                        self.stack
                            .put(std::iter::once(Work::Folder(Arc::clone(folder), name)));
                    }
                }
                Ok(_) => {}
                // Deleted, but not in the index.
                Err(err)
                    if matches!(err.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
                Err(err) => self.trouble(&path, &err),
            }
        }
    }

    /// A folder whose files all count.
    fn open(&mut self, path: PathBuf) {
        match fs::read_dir(&path) {
            Ok(entries) => self.read(&Arc::new(path), entries),
            Err(err) => self.trouble(&path, &err),
        }
    }

    fn read(&mut self, folder: &Arc<PathBuf>, mut entries: ReadDir) {
        let (mut part, mut count) = (Vec::new(), 0);
        for entry in entries.by_ref().take(PART_ENTRIES) {
            count += 1;
            match entry.and_then(|entry| Ok((entry.file_type()?, entry.file_name()))) {
                Ok((kind, name)) => part.extend(work(folder, kind, name)),
                Err(err) => self.trouble(folder, &err),
            }
        }
        // Below the others, so that these are dealt with before more is read.
        let rest = (count == PART_ENTRIES).then(|| Work::Rest(Arc::clone(folder), entries));
        self.stack.put(rest.into_iter().chain(part));
    }

    fn trouble(&mut self, path: &Path, err: &std::io::Error) {
        (self.visit)(Met::Trouble(format!("{}: {err}", path.display())));
    }
}

/// What is to be done about an entry of a folder.
fn work<'n>(folder: &Arc<PathBuf>, kind: FileType, name: OsString) -> Option<Work<'n>> {
    let folder = Arc::clone(folder);
    if kind.is_file() && name != ".git" {
        return Some(Work::File(folder, name));
    }
    (kind.is_dir() && name != ".git").then_some(Work::Folder(folder, name))
}

/// Whether a folder is the top of a work tree, or pretends to be.
fn is_top(folder: &Path) -> bool {
    folder.join(".git").symlink_metadata().is_ok()
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
