//! Reads the folders of files that declare keys, policies and catalogs.
//!
//! Every error names the file and the line. Files are read completely or not at all: one error anywhere, and the set is
//! refused with all errors that were found.

mod file;
#[cfg(test)]
mod fuzz;
mod json;
mod parts;
mod stanza;
#[cfg(test)]
mod tests;

use crate::domain::declared::{Complaint, File, Merged, Stanza, merge, twins};
pub use crate::ops::declared::Settings;
use crate::ops::declared::{Declared, Found, Sources};
use crate::refusals::declared as refusals;
use file::{Bytes, Content};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The folder of whoever makes the image or the package.
pub const MAKER: &str = "/usr/lib/latchkey/keys.d";
/// The folder of the site.
pub const SITE: &str = "/etc/latchkey/keys.d";
/// The word that stands in the place of a folder and means no folder at all.
pub const NONE: &str = "none";

/// The largest number of keys, policies and catalogs together.
const STANZAS_MAX: usize = 100_000;

/// A folder of files. Its files count after those of the folders before it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Folder {
    pub path: PathBuf,
    /// Whether it is an error if the folder does not exist.
    pub is_named: bool,
}

/// The folders for the setting `keys`, in their order: that of the maker, that of the site, and those of the setting.
pub fn folders(setting: &[PathBuf]) -> Vec<Folder> {
    if setting.iter().any(|path| path == Path::new(NONE)) {
        return Vec::new();
    }
    let known = [MAKER, SITE].map(|path| (PathBuf::from(path), false));
    let named = setting.iter().map(|path| {
        let absolute = std::path::absolute(path).unwrap_or_else(|_| path.clone());
        (absolute, true)
    });
    let folders = known.into_iter().chain(named);
    folders
        .map(|(path, is_named)| Folder { path, is_named })
        .collect()
}

/// The settings of a server that reads these folders.
pub fn settings(setting: &[PathBuf], strict: bool, allow_management: bool) -> Settings {
    let folders = folders(setting);
    Settings {
        folders: folders.iter().map(|folder| folder.path.clone()).collect(),
        allow_management,
        strict,
        read: Box::new(move || load(&folders)),
    }
}

/// Reads all files of the folders, which are parsed only if they have changed.
pub fn load(folders: &[Folder]) -> Found<Sources> {
    let (mut complaints, mut missing, mut found) = (Vec::new(), Vec::new(), Vec::new());
    for folder in folders {
        match file::read_folder(folder) {
            Ok(Some(files)) => found.push(files),
            Ok(None) => missing.push(folder.path.clone()),
            Err(faults) => complaints.extend(faults),
        }
    }
    if !complaints.is_empty() {
        return Err(complaints);
    }
    let all = found.iter().flatten();
    Ok(Sources {
        files: all.map(|file| (file.path.clone(), file.sha256)).collect(),
        missing,
        parse: Box::new(|| parsed(found)),
    })
}

/// Parses and merges the files of all folders.
fn parsed(folders: Vec<Vec<Bytes>>) -> Found<Declared> {
    let (mut complaints, mut contents) = (Vec::new(), Vec::new());
    for folder in folders {
        let mut own = Vec::new();
        for file in folder {
            match file::parse(&file) {
                Ok(content) => own.push(content),
                Err(faults) => complaints.extend(faults),
            }
        }
        contents.push(own);
    }
    match complaints.is_empty() {
        true => merged(contents),
        false => Err(complaints),
    }
}

/// The set of the contents of all files, folder by folder.
fn merged(folders: Vec<Vec<Content>>) -> Found<Declared> {
    let files: Vec<Arc<File>> = folders
        .iter()
        .flatten()
        .map(|content| content.file.clone())
        .collect();
    let count: usize = folders.iter().flatten().map(Content::count).sum();
    if let (true, Some(last)) = (count > STANZAS_MAX, files.last()) {
        return Err(vec![Complaint {
            path: last.path.clone(),
            line: None,
            why: refusals::stanzas_many(STANZAS_MAX),
        }]);
    }
    let (mut keys, mut policies, mut catalogs) = (Vec::new(), Vec::new(), Vec::new());
    for folder in folders {
        let mut own = Content::default();
        folder.into_iter().for_each(|content| own.append(content));
        keys.push(own.keys);
        policies.push(own.policies);
        catalogs.push(own.catalogs);
    }
    let mut complaints = Vec::new();
    let declared = Declared {
        files,
        keys: of_kind(keys, "key", &mut complaints),
        policies: of_kind(policies, "policy", &mut complaints),
        catalogs: of_kind(catalogs, "catalog", &mut complaints),
    };
    let keys = &declared.keys;
    complaints.extend(twins(keys, |key| key.id, |other| refusals::id_twice(other)));
    complaints.extend(twins(
        keys,
        |key| Some((&key.digest_text, &key.digest.found_by)),
        |other| refusals::digest_twice(other),
    ));
    match complaints.is_empty() {
        true => Ok(declared),
        false => Err(complaints),
    }
}

fn of_kind<T>(
    folders: Vec<Vec<Stanza<T>>>,
    what: &str,
    complaints: &mut Vec<Complaint>,
) -> Merged<T> {
    merge(folders, what).unwrap_or_else(|faults| {
        complaints.extend(faults);
        Default::default()
    })
}
