//! Checks of the data folder: whether it is one, who can read its files, and whether the key files are whole.

use super::Check;
use crate::config::folder::{CERTIFICATE, is_ours};
use crate::config::key_files;
use crate::domain::keys::keyfile::KeyKind;
use crate::files::users;
use crate::ops::nodes::FILE;
use crate::store::nodes;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

/// What is wrong with the folder itself; then no other check runs, because its result would be misleading.
pub fn fault(data: &Path) -> Option<Check> {
    let shown = data.display();
    let failed = |text: String, advice: &str| Some(Check::failed("data folder", &text, advice));
    let named = "is --data right? Without it LATCHKEY_DATA counts, then `data` in the file of LATCHKEY_CONFIG, then \
                 ./latchkey-data, and then, without LATCHKEY_CONFIG, `data` in /etc/latchkey/latchkey.toml";
    let found = match fs::metadata(data) {
        Ok(found) => found,
        Err(err) if err.kind() == ErrorKind::NotFound => {
            return failed(format!("{shown} is not there"), named);
        }
        Err(err) => return failed(format!("{shown} cannot be looked into: {err}"), named),
    };
    if !found.is_dir() {
        return failed(format!("{shown} is not a folder"), named);
    }
    if let Err(err) = fs::read_dir(data) {
        let advice = format!(
            "it belongs to user {}; run this as that user or as root: sudo latchkey doctor --data {shown}",
            users::shown(found.uid())
        );
        return failed(format!("{shown} cannot be looked into: {err}"), &advice);
    }
    if !is_ours(data) {
        let advice =
            format!("{named}; a new data folder is made with: latchkey init --data {shown}");
        return failed(
            format!("{shown} holds no data of Latchkey: neither a database nor a pepper"),
            &advice,
        );
    }
    None
}

/// Checks of the files in it.
pub fn checks(data: &Path) -> Vec<Check> {
    vec![modes(data), node_id(data), keys_in_files(data)]
}

/// Whether the next start can read the id of the node.
fn node_id(data: &Path) -> Check {
    let name = "node id";
    match nodes::read_file(&data.join(FILE)) {
        Ok(Some(_)) => Check::ok(name, "the folder has its own"),
        Ok(None) => Check::ok(name, "there is none; the next start makes one"),
        Err(err) => Check::failed(
            name,
            &err.to_string(),
            "a server that runs goes on with what it has read, and the next start refuses the file",
        ),
    }
}

/// Whether other users could read or change the files.
fn modes(data: &Path) -> Check {
    let name = "file modes";
    let mut open = Vec::new();
    let mut foreign = Vec::new();
    let own = rustix::process::geteuid().as_raw();
    let mut look = |path: &Path| {
        // The mode of the socket is checked, but a symbolic link is not followed.
        if let Ok(found) = fs::symlink_metadata(path) {
            let mode = found.permissions().mode() & 0o777;
            // All users may read a certificate, but not change it.
            let is_public = path.ends_with(CERTIFICATE);
            let closed = if is_public { 0o022 } else { 0o077 };
            if mode & closed != 0 && !found.is_symlink() {
                open.push(format!("{} ({mode:03o})", path.display()));
            }
            if found.uid() != own && own != 0 {
                foreign.push(path.display().to_string());
            }
        }
    };
    look(data);
    let folders = [data.to_owned(), data.join("backups")];
    for entry in folders
        .iter()
        .filter_map(|folder| fs::read_dir(folder).ok())
        .flatten()
        .flatten()
    {
        look(&entry.path());
    }
    if !open.is_empty() {
        let text = format!("others can read {}", open.join(", "));
        return Check::failed(name, &text, "close them with: chmod go= FILE");
    }
    if !foreign.is_empty() {
        let text = format!("{} belong to another user", foreign.join(", "));
        return Check::failed(
            name,
            &text,
            "run latchkey, and this command, as the user whom the data folder belongs to",
        );
    }
    Check::ok(name, "only the owner can read the data folder")
}

/// Whether the key files exist and are valid; the server checks at its start whether they match the
/// database.
fn keys_in_files(data: &Path) -> Check {
    let name = "key files";
    for kind in KeyKind::ALL {
        if let Err(why) = key_files::check(data, kind) {
            return Check::failed(
                name,
                &why,
                "put the file back: latchkey secrets restore FILE; a server that runs goes on with what it has read. If systemd hands \
                 it over, set CREDENTIALS_DIRECTORY to its folder and ask again",
            );
        }
    }
    Check::ok(name, "all can be read")
}
