//! Copying every row of a database into another one with the same schema and no rows, of the same or the other engine. A database on
//! a server may have an older schema than that of this build; a file that it is copied into has the same one then.
//!
//! This is the one place whose statements are not literals: they are made of the schema of this build, and of nothing
//! else. Values keep their types. What was read and what was written are compared by the number of rows and a digest of
//! each table.

use super::{Read, Row, schema_upgrade, sqlite};
use crate::domain::declared::sha256;
use crate::domain::locks::lock;
use crate::error::{Error, Result};
use crate::refusals;
use crate::store::connection::{Additions, ToValue, Value};
use std::path::Path;
use std::sync::Mutex;

/// The number of rows that one statement inserts. SQLite takes 32,766 parameters in one.
const ROWS_AT_A_TIME: usize = 64;

/// A table, and the statements that read and write it.
struct Table {
    name: String,
    columns: usize,
    /// All rows in the order of the primary key, which is that of bytes with either engine.
    select: String,
    count: String,
    insert: String,
    insert_many: String,
}

/// What a table has: its number of rows, and a digest of them in their order.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TableSum {
    pub table: &'static str,
    pub rows: u64,
    digest: [u8; 32],
}

impl TableSum {
    fn of(table: &'static Table) -> TableSum {
        TableSum {
            table: &table.name,
            rows: 0,
            digest: [0; 32],
        }
    }

    /// Adds the next row.
    fn add(&mut self, row: &Row<'_>, columns: usize) -> Result<()> {
        let mut bytes = self.digest.to_vec();
        row.encode(0..columns, &mut bytes)?;
        self.digest = sha256(&bytes);
        self.rows += 1;
        Ok(())
    }
}

impl Table {
    /// A table without the columns that a database lacks.
    fn new(names: sqlite::TableNames, lacking: &Additions) -> Table {
        let key = names.key();
        let sqlite::TableNames {
            name, mut columns, ..
        } = names;
        columns.retain(|column| !lacking.has_column(&name, column));
        let list = columns.join(", ");
        let row = |first: usize| {
            let places: Vec<String> = (first..first + columns.len())
                .map(|place| format!("${place}"))
                .collect();
            format!("({})", places.join(", "))
        };
        let rows: Vec<String> = (0..ROWS_AT_A_TIME)
            .map(|position| row(position * columns.len() + 1))
            .collect();
        Table {
            select: format!("SELECT {list} FROM {name} ORDER BY {}", key.join(", ")),
            count: format!("SELECT count(*) AS count FROM {name}"),
            insert: format!("INSERT INTO {name} ({list}) VALUES {}", row(1)),
            insert_many: format!("INSERT INTO {name} ({list}) VALUES {}", rows.join(", ")),
            columns: columns.len(),
            name,
        }
    }

    /// Inserts one row or [`ROWS_AT_A_TIME`], each as many values as there are columns.
    fn insert(&'static self, to: &Read, values: &[Value]) -> Result<()> {
        let params: Vec<&dyn ToValue> = values.iter().map(|value| value as &dyn ToValue).collect();
        match values.len() == ROWS_AT_A_TIME * self.columns {
            true => to.write().execute(&self.insert_many, &params).map(drop),
            false => to.write().send(&self.insert, &params),
        }
    }
}

/// The tables of the schema in the order of their creation, without what a database lacks.
fn tables(lacking: &Additions) -> Result<&'static [Table]> {
    /// Each with what it leaves out. There are few: one for each schema that this process has met.
    static TABLES: Mutex<Vec<(Additions, &'static [Table])>> = Mutex::new(Vec::new());
    let mut known = lock(&TABLES);
    if let Some((_, tables)) = known.iter().find(|(lacked, _)| lacked == lacking) {
        return Ok(tables);
    }
    let found = sqlite::tables()?.into_iter();
    let found = found.filter(|table| !lacking.has_table(&table.name));
    let tables: Vec<Table> = found.map(|names| Table::new(names, lacking)).collect();
    let tables: &'static [Table] = tables.leak();
    known.push((lacking.clone(), tables));
    Ok(tables)
}

/// What each table has, for tests.
#[cfg(test)]
fn sums(read: &Read) -> Result<Vec<TableSum>> {
    sums_of(read, tables(&read.lacking()?)?)
}

/// What each of these tables has.
fn sums_of(read: &Read, tables: &'static [Table]) -> Result<Vec<TableSum>> {
    let sum = |table: &'static Table| {
        let mut sum = TableSum::of(table);
        read.each(&table.select, &[], &mut |row| sum.add(row, table.columns))?;
        Ok(sum)
    };
    tables.iter().map(sum).collect()
}

/// The number of all rows.
pub fn rows(read: &Read) -> Result<u64> {
    let count = |table: &'static Table| {
        let count = read.query_one(&table.count, &[], |row| row.get::<u64>("count"))?;
        Ok(count.unwrap_or(0))
    };
    tables(&read.lacking()?)?.iter().map(count).sum()
}

/// Copies all rows, and compares both sides at the end. Each side is in a transaction, and references are not checked in the
/// second one meanwhile. `progress` is called with the number of rows that were copied, and of all rows.
pub(in crate::store) fn copy(
    from: &Read,
    to: &Read,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Vec<TableSum>> {
    let (tables, all) = (tables(&from.lacking()?)?, rows(from)?);
    let mut copied = Vec::new();
    let mut done: u64 = 0;
    for table in tables {
        let sum = copy_table(from, to, table, &mut |rows| progress(done + rows, all))?;
        done += sum.rows;
        copied.push(sum);
    }
    check_equal(&copied, &sums_of(to, tables)?)?;
    progress(all, all);
    Ok(copied)
}

fn copy_table(
    from: &Read,
    to: &Read,
    table: &'static Table,
    progress: &mut dyn FnMut(u64),
) -> Result<TableSum> {
    let mut sum = TableSum::of(table);
    let full = ROWS_AT_A_TIME * table.columns;
    let mut waiting: Vec<Value> = Vec::with_capacity(full);
    from.each(&table.select, &[], &mut |row| {
        sum.add(row, table.columns)?;
        waiting.extend(row.values()?);
        if waiting.len() == full {
            table.insert(to, &waiting)?;
            waiting.clear();
            progress(sum.rows);
        }
        Ok(())
    })?;
    for row in waiting.chunks(table.columns) {
        table.insert(to, row)?;
    }
    Ok(sum)
}

/// Refuses a copy with other rows than its source.
fn check_equal(source: &[TableSum], copy: &[TableSum]) -> Result<()> {
    let different = source.iter().zip(copy).find(|(from, to)| from != to);
    match different {
        None if source.len() == copy.len() => Ok(()),
        None => Err(Error::internal("the copy has other tables than its source")),
        Some((from, to)) => Err(Error::Unavailable(refusals::backups::copy_differs(
            from.table, from.rows, to.rows,
        ))),
    }
}

/// Writes one state of a database into an empty file, which becomes an SQLite database of the same schema. The reader has no open
/// transaction.
pub fn to_file(
    from: &Read,
    path: &Path,
    mut progress: impl FnMut(u64, u64),
) -> Result<Vec<TableSum>> {
    let file = sqlite::fill(path)?;
    let copied = from.in_snapshot(|from| {
        let (version, known) = schema_upgrade::versions(from)?;
        if version > known {
            return Err(Error::Unavailable(refusals::backups::newer_schema(
                version, known,
            )));
        }
        if version < known {
            file.batch(&from.lacking()?.undo())?;
            file.batch(&format!("PRAGMA user_version = {version}"))?;
        }
        copy(from, &file, &mut progress)
    })?;
    file.commit().map_err(|fault| fault.error)?;
    sqlite::close_filled(&file)?;
    Ok(copied)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::audit::{Event, Target};
    use crate::domain::keys::seal_key::SealKeys;
    use crate::domain::time::Timestamp;
    use crate::store::sqlite::in_memory;
    use crate::store::{audit, testing};

    #[test]
    fn every_table_and_column_of_the_schema_is_copied() {
        let tables = tables(&Additions::default()).unwrap();
        let created = sqlite::SCHEMA.matches("CREATE TABLE ").count();
        assert_eq!(tables.len(), created);
        let keys = tables.iter().find(|table| table.name == "keys").unwrap();
        assert!(keys.select.starts_with("SELECT id, number, name, "));
        assert!(keys.select.ends_with(" FROM keys ORDER BY id"));
        let lent = tables.iter().find(|it| it.name == "site_lent").unwrap();
        assert!(lent.select.ends_with(" ORDER BY site, key_id"));
    }

    /// A few events, and rows with each type and with NULL.
    fn fill(read: &Read) {
        let seal_keys = SealKeys::generate().unwrap().0;
        let tx = read.write();
        for number in 0..200 {
            let event = Event::of_system("server.init", Target::server(), Timestamp(number));
            audit::append(&tx, &seal_keys, event).unwrap();
        }
        tx.execute(
            "INSERT INTO peppers (version, fingerprint, added_at) VALUES ($1, $2, NULL)",
            &[&7_i64, &[1_u8; 32]],
        )
        .unwrap();
        drop(read.take_effects());
    }

    #[test]
    fn a_copy_has_the_same_rows_on_each_engine() {
        for (from, to) in testing::stores().zip(testing::stores()) {
            fill(&from);
            let back = in_memory().unwrap();
            let mut last = (0, 0);
            let copied = copy(&from, &to, &mut |done, all| last = (done, all)).unwrap();
            assert_eq!(copy(&to, &back, &mut |_, _| {}).unwrap(), copied);
            assert_eq!(last, (202, 202));
            let events = copied.iter().find(|sum| sum.table == "audit_events");
            assert_eq!(events.unwrap().rows, 200);
        }
    }

    #[test]
    fn a_difference_of_one_value_is_noticed() {
        for read in testing::stores() {
            fill(&read);
            let before = sums(&read).unwrap();
            check_equal(&before, &sums(&read).unwrap()).unwrap();
            read.batch("UPDATE audit_events SET source = 'x' WHERE seq = 3")
                .unwrap();
            assert!(check_equal(&before, &sums(&read).unwrap()).is_err());
            read.batch("UPDATE audit_events SET source = '' WHERE seq = 3")
                .unwrap();
            check_equal(&before, &sums(&read).unwrap()).unwrap();
            read.batch("UPDATE peppers SET added_at = 0").unwrap();
            assert!(check_equal(&before, &sums(&read).unwrap()).is_err());
        }
    }
}
