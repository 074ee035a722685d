//! Walks folders on all processors and reports the files in them; `reader.rs` reads the files.
//!
//! In a work tree git decides which files are relevant. Outside of work trees, and in those for which git gives no
//! answer, all files are relevant. The `.git` of a repository is never searched.
//!
//! The threads share one stack of work. Folders are read in parts, and the newest entry is processed first, so that the
//! stack grows with the depth of a tree and not with its size. There is no recursion.

use super::git::{Files, Git};
use crate::domain::locks::lock;
use std::ffi::{OsStr, OsString};
use std::fs::{self, FileType, ReadDir};
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;

/// The maximum number of entries of a folder that are pushed at once.
const PART_ENTRIES: usize = 1024;
/// The number of listed files that one thread processes at once.
const PART_LISTED: usize = 64;

/// What a visitor receives.
pub enum Visited<'m> {
    File(&'m Path),
    /// A file or folder that could not be read, with the reason.
    Trouble(String),
    /// A work tree for which git gave no answer, with the reason: all files in it are reported.
    Unlisted(String),
}

/// Reports each file below the paths, on many threads, each of which has its own visitor. It includes names that start
/// with a dot, except .git. It does not follow symbolic links that it finds, because their targets are reported
/// separately if they are below the paths. It follows the specified paths themselves, and reports them even if they are
/// no regular files. Without `git` it reports all files of a work tree.
pub fn each_file<V: FnMut(Visited<'_>)>(
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
            // Fewer threads only need more time.
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
    /// Files of a work tree, relative to the folder; a folder among them is another work tree.
    Listed(Arc<PathBuf>, Vec<OsString>),
    Named(&'n Path),
    /// A folder of which some entries are still unread.
    Rest(Arc<PathBuf>, ReadDir),
}

/// One thread of the walk.
struct Walker<'w, 'n, V> {
    stack: &'w Stack<'n>,
    git: Option<&'w Git>,
    visit: V,
}

impl<V: FnMut(Visited<'_>)> Walker<'_, '_, V> {
    fn deal_with(&mut self, work: Work<'_>) {
        match work {
            Work::File(folder, name) => (self.visit)(Visited::File(&folder.join(name))),
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
                Ok(_) => (self.visit)(Visited::File(path)),
                Err(err) => self.trouble(path, &err),
            },
            Work::Rest(folder, entries) => self.read(&folder, entries),
        }
    }

    /// Processes a folder that may be the top of a work tree.
    fn enter(&mut self, path: PathBuf) {
        if self.git.is_some() && is_top(&path) {
            self.list(path);
        } else {
            self.open(path);
        }
    }

    /// Processes a folder in a work tree.
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
                let but = match is_repository(&path.join(".git")) {
                    true => " but those in .git",
                    false => "",
                };
                (self.visit)(Visited::Unlisted(format!(
                    "{shown}: git does not say which files count, so all{but} are looked into: {why}"
                )));
                self.open(path);
            }
        }
    }

    fn listed(&mut self, folder: &Arc<PathBuf>, names: Vec<OsString>) {
        let mut parent = (PathBuf::new(), false);
        for name in names {
            // With a final slash, the target of a link would be looked at.
            let bytes = name.as_bytes();
            let is_folder = bytes.ends_with(b"/");
            let bytes = bytes.strip_suffix(b"/").unwrap_or(bytes);
            let name = OsStr::from_bytes(bytes).to_owned();
            let above = Path::new(&name).parent().unwrap_or(Path::new(""));
            if above != parent.0 {
                parent = (above.to_owned(), is_behind_link(folder, above));
            }
            // For git, a file behind a link is deleted. The target may be outside of the tree.
            if parent.1 {
                continue;
            }
            let path = folder.join(&name);
            match path.symlink_metadata() {
                Ok(metadata) if metadata.is_file() => (self.visit)(Visited::File(&path)),
                Ok(metadata) if metadata.is_dir() => {
                    // git lists nothing below a submodule or another repository, even if that has lost its `.git`. A
                    // tracked file may have been replaced by a folder; git lists the files in it one by one, unless it
                    // is a work tree itself.
                    if is_folder || is_top(&path) {
                        self.stack
                            .put(std::iter::once(Work::Folder(Arc::clone(folder), name)));
                    }
                }
                Ok(_) => {}
                // The file is deleted, but still in the index.
                Err(err)
                    if matches!(err.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
                Err(err) => self.trouble(&path, &err),
            }
        }
    }

    /// Processes a folder in which all files are relevant.
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
        // The rest of the folder goes below the new entries, so that these are processed first.
        let rest = (count == PART_ENTRIES).then(|| Work::Rest(Arc::clone(folder), entries));
        self.stack.put(rest.into_iter().chain(part));
    }

    fn trouble(&mut self, path: &Path, err: &std::io::Error) {
        (self.visit)(Visited::Trouble(format!("{}: {err}", path.display())));
    }
}

/// The work for an entry of a folder.
fn work<'n>(folder: &Arc<PathBuf>, kind: FileType, name: OsString) -> Option<Work<'n>> {
    if name == ".git" && is_repository(&folder.join(&name)) {
        return None;
    }
    let folder = Arc::clone(folder);
    if kind.is_file() {
        return Some(Work::File(folder, name));
    }
    kind.is_dir().then_some(Work::Folder(folder, name))
}

/// Whether a `.git` is the folder of a repository. By their names alone, other files could be hidden.
fn is_repository(folder: &Path) -> bool {
    let is_dir = |path: &Path| path.symlink_metadata().is_ok_and(|it| it.is_dir());
    let has_head = folder.join("HEAD").symlink_metadata().is_ok();
    is_dir(folder) && has_head && is_dir(&folder.join("objects")) && is_dir(&folder.join("refs"))
}

/// Whether one of the folders in a relative path is a symbolic link.
fn is_behind_link(top: &Path, above: &Path) -> bool {
    let mut parts = above.ancestors().filter(|it| !it.as_os_str().is_empty());
    parts.any(|part| {
        let metadata = top.join(part).symlink_metadata();
        metadata.is_ok_and(|it| it.is_symlink())
    })
}

/// Whether the folder is, or appears to be, the top of a work tree.
fn is_top(folder: &Path) -> bool {
    folder.join(".git").symlink_metadata().is_ok()
}

/// The work that is not yet done, and the number of threads that may still add more.
struct Stack<'n> {
    state: Mutex<State<'n>>,
    changed: Condvar,
}

struct State<'n> {
    waiting: Vec<Work<'n>>,
    busy: usize,
}

/// Counts a thread as busy until it is dropped. A panic drops it too, so that the other threads do not wait forever.
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

    /// Waits for work; `None` if there is none left and no thread can add more.
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
                |_: Visited<'_>| {
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
                |_: Visited<'_>| panic!("seen by nobody else")
            });
        }));
        assert!(ended.is_err());
    }
}
