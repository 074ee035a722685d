//! Rows of notices, how far their readers are, and what users have seen of them.

pub mod keys;

use super::{Read, Row, Write};
use crate::domain::audit::{self, Target};
use crate::domain::keys::KeyId;
use crate::domain::notices::{Draft, Kind, Notice};
use crate::domain::uid::Uid;
use crate::error::{Error, Result};

/// Stores a notice with the workspace and the user of its subject. Returns its number.
pub fn insert(tx: &Write<'_>, draft: &Draft) -> Result<i64> {
    let (workspace, user) = find_place(tx, &draft.subject)?;
    let seq = newest(tx)? + 1;
    tx.execute(
        "INSERT INTO notices (seq, id, kind, subject_kind, subject_id, workspace_uid, user_uid, first_at, last_at, count, data)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        &[
            &seq,
            &Uid::generate()?,
            &draft.kind.as_str(),
            &draft.subject.kind.as_str(),
            &draft.subject.id,
            &workspace.map(|uid| uid.to_string()).unwrap_or_default(),
            &user,
            &draft.first_at,
            &draft.last_at,
            &draft.count,
            &draft.data.to_json(),
        ],
    )?;
    Ok(seq)
}

/// The workspace of a subject, and the user whom it concerns. A deleted key or user still has them.
pub fn find_place(read: &Read, subject: &Target) -> Result<(Option<Uid>, Option<Uid>)> {
    let found = match subject.kind {
        audit::Kind::Key => match KeyId::parse(&subject.id) {
            Some(id) => read.query_one(
                "SELECT workspace_uid, owner_uid FROM keys WHERE id = $1",
                &[&id],
                |row| Ok((Some(row.get("workspace_uid")?), row.get("owner_uid")?)),
            )?,
            None => None,
        },
        audit::Kind::User => read.query_one(
            "SELECT home_uid, uid FROM users WHERE uid = $1",
            &[&subject.id],
            |row| Ok((Some(row.get("home_uid")?), Some(row.get("uid")?))),
        )?,
        audit::Kind::Workspace => Some((Uid::parse(&subject.id), None)),
        _ => None,
    };
    Ok(found.unwrap_or_default())
}

/// The number of the newest notice; 0 if there is none.
pub fn newest(read: &Read) -> Result<i64> {
    let found = read.query_one(
        "SELECT coalesce(max(seq), 0) AS seq FROM notices",
        &[],
        |row| row.get("seq"),
    )?;
    Ok(found.unwrap_or(0))
}

/// The notices after a number, oldest first. Rows of a kind that this version does not know are passed over.
pub fn list_after(read: &Read, seq: i64, limit: u32) -> Result<Vec<(i64, Option<Notice>)>> {
    read.query(
        "SELECT seq, id, kind, subject_kind, subject_id, workspace_uid, user_uid, first_at, last_at, count, data
         FROM notices
         WHERE seq > $1
         ORDER BY seq
         LIMIT $2",
        &[&seq, &limit],
        |row| Ok((row.get("seq")?, from_row(row).ok())),
    )
}

/// The notices before a number, newest first, as [`list_after`].
pub fn list_before(read: &Read, seq: i64, limit: u32) -> Result<Vec<(i64, Option<Notice>)>> {
    read.query(
        "SELECT seq, id, kind, subject_kind, subject_id, workspace_uid, user_uid, first_at, last_at, count, data
         FROM notices
         WHERE seq < $1
         ORDER BY seq DESC
         LIMIT $2",
        &[&seq, &limit],
        |row| Ok((row.get("seq")?, from_row(row).ok())),
    )
}

/// The number of stored notices.
pub fn count(read: &Read) -> Result<u64> {
    let found = read.query_one("SELECT count(*) AS count FROM notices", &[], |row| {
        row.get("count")
    })?;
    Ok(found.unwrap_or(0))
}

/// Deletes the oldest notices up to and including a number. Returns how many there were.
pub fn delete_until(tx: &Write<'_>, seq: i64) -> Result<usize> {
    tx.execute("DELETE FROM notices WHERE seq <= $1", &[&seq])
}

/// How far a reader is; `None` if it has not begun.
pub fn find_cursor(read: &Read, reader: &str, series: &str) -> Result<Option<i64>> {
    read.query_one(
        "SELECT position FROM notice_cursors WHERE reader = $1 AND series = $2",
        &[&reader, &series],
        |row| row.get("position"),
    )
}

/// Stores how far a reader is.
pub fn put_cursor(tx: &Write<'_>, reader: &str, series: &str, position: i64) -> Result<()> {
    tx.execute(
        "INSERT INTO notice_cursors (reader, series, position)
         VALUES ($1, $2, $3)
         ON CONFLICT (reader, series) DO UPDATE SET position = excluded.position",
        &[&reader, &series, &position],
    )?;
    Ok(())
}

/// The newest notice that a user has seen; 0 if none.
pub fn find_read(read: &Read, user: Uid) -> Result<i64> {
    let found = read.query_one(
        "SELECT seq FROM notice_reads WHERE user_uid = $1",
        &[&user],
        |row| row.get("seq"),
    )?;
    Ok(found.unwrap_or(0))
}

/// Records that a user has seen the notices up to a number.
pub fn put_read(tx: &Write<'_>, user: Uid, seq: i64) -> Result<()> {
    tx.execute(
        "INSERT INTO notice_reads (user_uid, seq)
         VALUES ($1, $2)
         ON CONFLICT (user_uid) DO UPDATE SET seq = excluded.seq
         WHERE excluded.seq > notice_reads.seq",
        &[&user, &seq],
    )?;
    Ok(())
}

fn from_row(row: &Row<'_>) -> Result<Notice> {
    let unknown = || Error::internal("a notice has an unknown word");
    let kind: String = row.get("kind")?;
    let subject_kind: String = row.get("subject_kind")?;
    let workspace: String = row.get("workspace_uid")?;
    Ok(Notice {
        seq: row.get("seq")?,
        id: row.get("id")?,
        kind: Kind::parse(&kind).ok_or_else(unknown)?,
        subject: Target {
            kind: audit::Kind::parse(&subject_kind).ok_or_else(unknown)?,
            id: row.get("subject_id")?,
        },
        workspace: Uid::parse(&workspace),
        user: row.get("user_uid")?,
        first_at: row.get("first_at")?,
        last_at: row.get("last_at")?,
        count: row.get("count")?,
        data: row.get("data")?,
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;
    use crate::domain::notices::Data;
    use crate::domain::time::Timestamp;

    fn draft(kind: Kind) -> Draft {
        let data = Data::default().with("free_mib", 12);
        Draft::once(kind, Target::server(), Timestamp(5), data)
    }

    #[test]
    fn notices_are_numbered_and_come_back_as_they_were_stored() {
        for read in testing::stores() {
            for expected in 1..=3 {
                let seq = insert(&read.write(), &draft(Kind::DiskLow)).unwrap();
                assert_eq!(seq, expected);
            }
            read.batch("UPDATE notices SET kind = 'of.a.later.version' WHERE seq = 2")
                .unwrap();
            let found = list_after(&read, 1, 10).unwrap();
            assert_eq!(found.len(), 2);
            assert_eq!((found[0].0, found[0].1.is_none()), (2, true));
            let notice = found[1].1.clone().unwrap();
            assert_eq!((notice.kind, notice.count), (Kind::DiskLow, 1));
            assert_eq!(notice.data, r#"{"free_mib":"12"}"#);
            assert_eq!((notice.workspace, notice.user), (None, None));
            let newest_first = list_before(&read, 3, 10).unwrap();
            assert_eq!(
                newest_first.iter().map(|it| it.0).collect::<Vec<_>>(),
                [2, 1]
            );
            assert_eq!(delete_until(&read.write(), 2).unwrap(), 2);
            assert_eq!((count(&read).unwrap(), newest(&read).unwrap()), (1, 3));
        }
    }

    #[test]
    fn a_cursor_is_one_for_each_reader_and_series() {
        for read in testing::stores() {
            assert_eq!(find_cursor(&read, "file", "audit").unwrap(), None);
            put_cursor(&read.write(), "file", "audit", 7).unwrap();
            put_cursor(&read.write(), "file", "audit", 9).unwrap();
            put_cursor(&read.write(), "file", "notices", 1).unwrap();
            assert_eq!(find_cursor(&read, "file", "audit").unwrap(), Some(9));
        }
    }

    #[test]
    fn what_was_seen_stays_seen() {
        for read in testing::stores() {
            read.ignore_references();
            put_read(&read.write(), Uid(1), 5).unwrap();
            put_read(&read.write(), Uid(1), 3).unwrap();
            assert_eq!(find_read(&read, Uid(1)).unwrap(), 5);
            assert_eq!(find_read(&read, Uid(2)).unwrap(), 0);
        }
    }
}
