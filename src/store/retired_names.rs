//! Retired names: user names and slugs of workspaces that were in use before. Other programs may still use such a
//! name for its former holder (a proxy that sends `?workspace=SLUG`, an application that stores user names), so a
//! retired name is not simply assigned again.

use super::{Read, Write};
use crate::domain::audit::Kind;
use crate::domain::uid::Uid;
use crate::error::Result;

/// A retired name and its last holder; `None` if the holder is not known.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Retired {
    pub holder: Option<Uid>,
}

/// Retires a name when its user or workspace is deleted or renamed.
pub fn retire(tx: &Write<'_>, kind: Kind, name: &str, holder: Uid) -> Result<()> {
    tx.execute(
        "INSERT INTO retired_names (kind, name, holder_uid)
         VALUES ($1, $2, $3)
         ON CONFLICT (kind, name) DO UPDATE SET holder_uid = excluded.holder_uid",
        &[&kind.as_str(), &name, &holder],
    )?;
    Ok(())
}

/// Retires a name whose former holder is not known.
pub fn retire_unknown(tx: &Write<'_>, kind: Kind, name: &str) -> Result<()> {
    tx.execute(
        "INSERT INTO retired_names (kind, name, holder_uid) VALUES ($1, $2, NULL) ON CONFLICT DO NOTHING",
        &[&kind.as_str(), &name],
    )?;
    Ok(())
}

/// The retired entry of a name, if the name was in use before.
pub fn find(read: &Read, kind: Kind, name: &str) -> Result<Option<Retired>> {
    read.query_one(
        "SELECT holder_uid FROM retired_names WHERE kind = $1 AND name = $2",
        &[&kind.as_str(), &name],
        |row| {
            Ok(Retired {
                holder: row.get("holder_uid")?,
            })
        },
    )
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    #[test]
    fn the_last_holder_of_a_name_is_known_and_kinds_are_apart() {
        for read in testing::stores() {
            let tx = read.write();
            assert_eq!(find(&read, Kind::User, "emea").unwrap(), None);
            retire_unknown(&tx, Kind::Workspace, "emea").unwrap();
            assert_eq!(find(&read, Kind::User, "emea").unwrap(), None);
            let holder = |uid| Some(Retired { holder: uid });
            assert_eq!(find(&read, Kind::Workspace, "emea").unwrap(), holder(None));
            for uid in [Uid(1), Uid(2)] {
                retire(&tx, Kind::Workspace, "emea", uid).unwrap();
                retire_unknown(&tx, Kind::Workspace, "emea").unwrap();
                let found = find(&read, Kind::Workspace, "emea").unwrap();
                assert_eq!(found, holder(Some(uid)));
            }
        }
    }
}
