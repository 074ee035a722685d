//! Reads one table of an SQLite file of another program, for the import of keys. Nothing is written to the file.

use super::settled;
use crate::error::{Error, Result};
use crate::refusals;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};
use std::path::Path;

/// The bytes with which every SQLite file begins.
const HEADER: &[u8] = b"SQLite format 3\0";

/// Whether the first bytes of a file are those of SQLite.
pub fn is_sqlite(start: &[u8]) -> bool {
    start.starts_with(HEADER)
}

/// The rows of a table as a list of JSON objects, each on a line of its own: the first row is on line 1. The result has
/// at most `bytes_max` bytes.
///
/// # Errors
/// The file is no SQLite file or cannot be read, it has no such table, or a value has no form in JSON.
pub fn rows(path: &Path, table: &str, bytes_max: usize) -> Result<String> {
    let unreadable = |err: rusqlite::Error| refused(&err);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(unreadable)?;
    let sqlite = settled(connection)?;
    let sql = format!("SELECT * FROM \"{}\"", table.replace('"', "\"\""));
    let mut statement = sqlite.connection.prepare(&sql).map_err(unreadable)?;
    let names: Vec<String> = statement.column_names().map(quoted).collect();
    let mut rows = statement.query([]).map_err(unreadable)?;
    let mut text = "[".to_owned();
    let mut line = 0;
    while let Some(row) = rows.next().map_err(unreadable)? {
        line += 1;
        text.push_str(if line == 1 { "{" } else { ",\n{" });
        for (place, name) in names.iter().enumerate() {
            let value = row.get_ref(place).map_err(unreadable)?;
            let Some(json) = json(value) else {
                let why = refusals::imports::sqlite_value(name);
                return Err(Error::Malformed(refusals::imports::at_line(line, why)));
            };
            if place > 0 {
                text.push(',');
            }
            text.push_str(name);
            text.push(':');
            text.push_str(&json);
        }
        text.push('}');
        if text.len() >= bytes_max {
            return Err(Error::TooLarge {
                limit_bytes: bytes_max,
            });
        }
    }
    text.push(']');
    Ok(text)
}

fn refused(err: &rusqlite::Error) -> Error {
    Error::Malformed(refusals::imports::sqlite(err))
}

/// A value as JSON; `None` for one that JSON does not have.
fn json(value: ValueRef<'_>) -> Option<String> {
    match value {
        ValueRef::Null => Some("null".to_owned()),
        ValueRef::Integer(number) => Some(number.to_string()),
        ValueRef::Real(number) if number.is_finite() => Some(format!("{number:?}")),
        ValueRef::Text(bytes) => std::str::from_utf8(bytes).ok().map(quoted),
        ValueRef::Real(_) | ValueRef::Blob(_) => None,
    }
}

/// A JSON string (RFC 8259, section 7).
fn quoted(value: &str) -> String {
    let mut text = String::with_capacity(value.len() + 2);
    text.push('"');
    for c in value.chars() {
        match c {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            c if c < ' ' => text.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => text.push(c),
        }
    }
    text.push('"');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file with one table, in a folder that is removed at the end.
    struct File(std::path::PathBuf);

    impl File {
        fn with(name: &str, statements: &str) -> File {
            let folder =
                std::env::temp_dir().join(format!("latchkey-{}-{name}", std::process::id()));
            std::fs::create_dir_all(&folder).unwrap();
            let file = File(folder);
            let connection = Connection::open(file.path()).unwrap();
            connection.execute_batch(statements).unwrap();
            file
        }

        fn path(&self) -> std::path::PathBuf {
            self.0.join("other.db")
        }
    }

    impl Drop for File {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn rows_are_objects_on_lines_of_their_own() {
        let file = File::with(
            "rows",
            "CREATE TABLE \"a\"\"b\" (id INTEGER, \"na\"\"me\" TEXT, x REAL);
             INSERT INTO \"a\"\"b\" VALUES (1, 'ü \"\\' || char(10), 1.5), (-2, NULL, 1e300)",
        );
        let text = rows(&file.path(), "a\"b", 1_000).unwrap();
        let expected = "[{\"id\":1,\"na\\\"me\":\"ü \\\"\\\\\\u000a\",\"x\":1.5},\n{\"id\":-2,\"na\\\"me\":null,\"x\":1e300}]";
        assert_eq!(text, expected);
        let start = std::fs::read(file.path()).unwrap();
        assert!(is_sqlite(&start));
        assert!(!is_sqlite(b"[]"));
        assert!(matches!(
            rows(&file.path(), "a\"b", 20),
            Err(Error::TooLarge { .. })
        ));
    }

    #[test]
    fn what_cannot_be_read_is_refused_and_the_file_stays_as_it_is() {
        let file = File::with(
            "refused",
            "CREATE TABLE a (x); INSERT INTO a VALUES (1), (x'00')",
        );
        let before = std::fs::read(file.path()).unwrap();
        for (path, table, why) in [
            (file.path(), "a", "line 2: the column \"x\""),
            (file.path(), "b", "no such table: b"),
            (file.0.join("absent.db"), "a", "unable to open"),
        ] {
            let err = rows(&path, table, 1_000).unwrap_err().to_string();
            assert!(err.contains(why), "{err}");
        }
        assert!(!file.0.join("absent.db").exists());
        assert_eq!(std::fs::read(file.path()).unwrap(), before);
        std::fs::write(file.path(), "no database, but long enough to be one").unwrap();
        let err = rows(&file.path(), "a", 1_000).unwrap_err().to_string();
        assert!(err.contains("not a database"), "{err}");
    }
}
