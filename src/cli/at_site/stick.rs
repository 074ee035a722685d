//! Packs in files and folders, such as those of a stick: which of them a site can use, the newest first.

use super::State;
use crate::cli::failure::{Failure, Result};
use crate::config::owner::as_caller;
use crate::domain::packs::file::{self, FILE_BYTES_MAX, MAGIC};
use crate::domain::packs::head::{HEAD_BYTES_MAX, Head};
use crate::domain::time::Timestamp;
use crate::files::{open_foreign, read_regular_up_to};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The end of a pack's name.
const SUFFIX: &str = "lkpack";
/// The number of files of one folder that are looked at.
const FILES_MAX: usize = 100_000;

/// A pack whose head was read and not checked.
#[derive(Clone, Debug)]
pub struct Found {
    pub path: PathBuf,
    pub head: Head,
    /// Whether the file itself was named, and not only its folder.
    pub is_named: bool,
}

/// What was found.
#[derive(Default)]
pub struct Stick {
    /// The newest first.
    pub packs: Vec<Found>,
    /// What cannot be read, or is not a pack.
    pub bad: Vec<(PathBuf, String)>,
}

/// The files of a path: itself, or the packs in it and in its folder of the site.
fn files_of(path: &Path, site: &str) -> Result<Vec<(PathBuf, bool)>> {
    let unreadable = |path: &Path, err: std::io::Error| {
        Failure::refused(format!("{} cannot be read: {err}", path.display()))
    };
    if !as_caller(|| path.is_dir()) {
        return Ok(vec![(path.to_owned(), true)]);
    }
    let mut files = Vec::new();
    for folder in [path.to_owned(), path.join(site)] {
        if !as_caller(|| folder.is_dir()) {
            continue;
        }
        let entries =
            as_caller(|| fs::read_dir(&folder)).map_err(|err| unreadable(&folder, err))?;
        for entry in entries.take(FILES_MAX) {
            let path = entry.map_err(|err| unreadable(&folder, err))?.path();
            if path.extension().is_some_and(|end| end == SUFFIX) {
                files.push((path, false));
            }
        }
    }
    Ok(files)
}

/// Reads the head of a file.
fn head_of(path: &Path) -> std::result::Result<Head, String> {
    let mut start = Vec::new();
    let length = (MAGIC.len() + 4 + HEAD_BYTES_MAX) as u64;
    let read = as_caller(|| {
        let file = open_foreign(path)?;
        if !file.metadata()?.is_file() {
            return Err(std::io::Error::other("it is not a regular file"));
        }
        file.take(length).read_to_end(&mut start)
    });
    read.map_err(|err| format!("it cannot be read: {err}"))?;
    file::head_of(&start).map_err(|why| why.to_string())
}

/// Looks at files and folders.
pub fn look(paths: &[PathBuf], site: &str) -> Result<Stick> {
    let mut stick = Stick::default();
    let mut files = BTreeMap::new();
    for path in paths {
        for (file, is_named) in files_of(path, site)? {
            *files.entry(file).or_insert(false) |= is_named;
        }
    }
    for (path, is_named) in files {
        match head_of(&path) {
            Ok(head) => stick.packs.push(Found {
                path,
                head,
                is_named,
            }),
            Err(why) => stick.bad.push((path, why)),
        }
    }
    let order = |found: &Found| Reverse((found.head.reign, found.head.pack));
    stick.packs.sort_by_key(order);
    Ok(stick)
}

impl Stick {
    /// The whole pack that a pack follows, if it is here.
    fn base_of(&self, head: &Head) -> Option<&Found> {
        self.packs.iter().find(|other| {
            let (other, same) = (&other.head, (&head.site, head.server, head.reign));
            other.is_whole()
                && other.pack == head.base
                && (&other.site, other.server, other.reign) == same
        })
    }

    /// Whether the site has to be given a pack: it is newer than what the site has. One that has an earlier number and was made
    /// later is given too, because it shows the site that its server was restored.
    pub fn is_newer(found: &Found, state: &State) -> bool {
        let (head, known) = (&found.head, (state.reign, state.pack));
        let made = state.made.as_deref();
        let made = made.and_then(|text| Timestamp::parse("made", text).ok());
        if made.is_some_and(|made| made < head.made) && !state.date_open {
            return true;
        }
        match state.loaded {
            true => (head.reign, head.pack) > known,
            false => (head.reign, head.pack) >= known,
        }
    }

    /// The bytes with which the site can apply a pack: with the whole one before it, unless the site holds that.
    pub fn bytes_of(&self, found: &Found, state: &State) -> Result<Vec<u8>> {
        let held = state.loaded && found.head.reign == state.reign;
        let has_base = held && state.base == Some(found.head.base);
        let needs_base = !found.head.is_whole() && !has_base;
        let mut bytes = Vec::new();
        if let Some(base) = self.base_of(&found.head).filter(|_| needs_base) {
            bytes = read(&base.path)?;
        }
        bytes.extend(read(&found.path)?);
        Ok(bytes)
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    as_caller(|| read_regular_up_to(path, FILE_BYTES_MAX as u64))
        .map_err(|err| Failure::refused(format!("{} cannot be read: {err}", path.display())))
}
