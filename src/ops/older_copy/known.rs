//! The nodes that were in use together with this one, in a file of its data folder. If the database is replaced by an older copy, they
//! may know what that copy lacks.

use crate::domain::nodes::{NAME_CHARS_MAX, NodeId, name_of};
use crate::error::{Error, Result};
use crate::files::{self, private};
use crate::refusals;
use crate::store::leases::NamedNode;
use std::io;
use std::path::{Path, PathBuf};

/// The name of the file.
const FILE: &str = "known-nodes";
/// The largest size of the file that is read: more than a thousand nodes.
const FILE_BYTES_MAX: u64 = 1_000 * (32 + 2 + NAME_CHARS_MAX as u64);

fn file(database: &Path) -> PathBuf {
    database.with_file_name(FILE)
}

/// The nodes in the file of the folder that a database is in, or would be. Of a file that cannot be read, nothing is remembered.
pub fn read(database: &Path) -> Vec<NamedNode> {
    let path = file(database);
    let bytes = match files::read_regular_up_to(&path, FILE_BYTES_MAX) {
        Ok(bytes) => bytes,
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Vec::new(),
        Err(err) => {
            log::error!("nodes: {} cannot be read: {err}", path.display());
            return Vec::new();
        }
    };
    let text = String::from_utf8_lossy(&bytes);
    let named = |line: &str| {
        let (id, name) = line.split_once(' ')?;
        Some((NodeId::parse(id)?, name_of(name)))
    };
    let mut found = Vec::new();
    for line in text.lines() {
        match named(line) {
            Some(node) => found.push(node),
            None => log::error!("nodes: {} has a damaged line", path.display()),
        }
    }
    found
}

/// Writes the file.
///
/// # Errors
/// `Unavailable` if it cannot be written; the file is as it was then.
pub fn write(database: &Path, nodes: &[NamedNode]) -> Result<()> {
    let path = file(database);
    let text: String = nodes
        .iter()
        .map(|(id, name)| format!("{id} {name}\n"))
        .collect();
    private::replace(&path, text.as_bytes())
        .map_err(|err| Error::Unavailable(refusals::server::file_unwritable(path.display(), err)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn nodes_are_read_as_they_were_written_and_a_damaged_line_spoils_no_other() {
        let folder = private::tests::folder("known-nodes");
        let database = folder.join("db");
        assert!(read(&database).is_empty());
        let nodes = vec![
            (NodeId([1; 16]), "a".to_owned()),
            (NodeId([2; 16]), "b-2".to_owned()),
        ];
        write(&database, &nodes).unwrap();
        assert_eq!(read(&database), nodes);
        let mode = std::fs::metadata(file(&database)).unwrap().permissions();
        assert_eq!(mode.mode() & 0o777, 0o600);
        let damaged = format!("{} a\nstrange\n{} b-2\n", nodes[0].0, nodes[1].0);
        std::fs::write(file(&database), damaged).unwrap();
        assert_eq!(read(&database), nodes);
        let _ = std::fs::remove_dir_all(folder);
    }
}
