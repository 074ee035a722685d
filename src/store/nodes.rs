//! The nodes that have opened the database, and the file with the id of the one in this data folder.

use super::{Row, Write};
use crate::domain::nodes::{self, Node, NodeId};
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::files::{self, private};
use crate::refusals;
use std::io;
use std::path::Path;

/// The largest size of the file that is read.
const FILE_BYTES_MAX: u64 = 64;

/// The id in a file, which is created if it does not exist.
///
/// # Errors
/// `Unavailable` if the file has something else, because a new id would make another node of this one.
pub fn open_file(path: &Path) -> Result<NodeId> {
    if let Some(id) = read_file(path)? {
        return Ok(id);
    }
    let id = NodeId::generate()?;
    match private::replace(path, format!("{id}\n").as_bytes()) {
        // This process is a node of its own then, and the next start tries again.
        Err(err) if err.kind() == io::ErrorKind::StorageFull => {
            log::warn!("nodes: there is no room for {}", path.display());
        }
        Err(err) => return Err(unusable(path, &err)),
        Ok(()) => {}
    }
    Ok(id)
}

/// The id in a file; `None` if there is no such file.
///
/// # Errors
/// As [`open_file`].
pub fn read_file(path: &Path) -> Result<Option<NodeId>> {
    if std::fs::symlink_metadata(path).is_ok_and(|found| found.is_symlink()) {
        return Err(unusable(path, &"it is a link"));
    }
    match files::read_regular_up_to(path, FILE_BYTES_MAX) {
        Ok(bytes) => {
            let id = std::str::from_utf8(&bytes).ok().and_then(NodeId::parse);
            let why =
                "it must have exactly 32 hexadecimal digits in lower case, and not only zeros";
            id.map(Some).ok_or_else(|| unusable(path, &why))
        }
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(err) => Err(unusable(path, &err)),
    }
}

fn unusable(path: &Path, why: &dyn std::fmt::Display) -> Error {
    Error::Unavailable(refusals::server::node_id_unusable(path.display(), why))
}

/// The name of the machine.
pub fn name_of_machine() -> String {
    nodes::name_of(&rustix::system::uname().nodename().to_string_lossy())
}

/// Records that a node opens the database, and returns which process of the node this is.
pub fn begin(tx: &Write<'_>, id: NodeId, name: &str, now: Timestamp) -> Result<Node> {
    let boot = tx.query_one(
        "INSERT INTO nodes (id, name, boot, started_at)
         VALUES ($1, $2, 1, $3)
         ON CONFLICT (id) DO UPDATE SET name = excluded.name, boot = nodes.boot + 1, started_at = excluded.started_at
         RETURNING boot",
        &[&id.to_string(), &name, &now],
        |row: &Row<'_>| row.get("boot"),
    )?;
    let boot = boot.ok_or_else(|| Error::internal("a node was not recorded"))?;
    Ok(Node { id, boot })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_file_has_the_same_id_for_good_and_nothing_replaces_a_damaged_one() {
        let folder = private::tests::folder("node-id");
        let path = folder.join("node-id");
        let id = open_file(&path).unwrap();
        assert_eq!(open_file(&path).unwrap(), id);
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{id}\n"));
        for damaged in ["", "zz", &id.to_string()[1..], &"a".repeat(500)] {
            std::fs::write(&path, damaged).unwrap();
            assert!(matches!(open_file(&path), Err(Error::Unavailable(_))));
            assert_eq!(std::fs::read_to_string(&path).unwrap(), damaged);
        }
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/etc/hostname", &path).unwrap();
        assert!(open_file(&path).is_err());
        std::fs::remove_file(&path).unwrap();
        assert_ne!(open_file(&path).unwrap(), id);
        let _ = std::fs::remove_dir_all(folder);
    }

    #[test]
    fn starts_are_counted_for_each_node() {
        for read in testing::stores() {
            let (one, other) = (NodeId([1; 16]), NodeId([2; 16]));
            let boot = |id, name| begin(&read.write(), id, name, Timestamp(7)).unwrap().boot;
            assert_eq!(
                (boot(one, "a"), boot(one, "b"), boot(other, "b")),
                (1, 2, 1)
            );
            assert_eq!(boot(one, "b"), 3);
            let sql = "SELECT name FROM nodes ORDER BY id";
            let names: Vec<String> = read.query(sql, &[], |row| row.get("name")).unwrap();
            assert_eq!(names, ["b", "b"]);
        }
    }
}
