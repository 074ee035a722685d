//! Files that commands write in folders of other users, and data folders of another user.

mod owner;
mod planted;
mod strange;

use std::fs;
use std::os::unix::fs::lchown;
use std::path::{Path, PathBuf};

/// A user id that no test machine uses.
const OTHER: u32 = 4_711_600;

/// Makes the other user the owner of a folder and its content; `false` if that needs root.
fn give_away(folder: &Path) -> bool {
    if lchown(folder, Some(OTHER), Some(OTHER)).is_err() {
        return false;
    }
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() && !path.is_symlink() {
            true => assert!(give_away(&path)),
            false => lchown(&path, Some(OTHER), Some(OTHER)).unwrap(),
        }
    }
    true
}

/// The names in a folder, sorted.
fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn joined(folder: &Path, name: &str) -> PathBuf {
    folder.join(name)
}
