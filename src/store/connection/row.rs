//! One row of a result, of whichever engine.

use super::values::{FromValue, Value, ValueRef, bytes, encode};
use crate::error::{Error, Result};
#[cfg(feature = "postgres")]
use crate::store::postgres;
use crate::store::sqlite;
use std::cell::Cell;
use std::ops::Range;

/// One row of a result; columns are read by name.
pub struct Row<'a> {
    cells: Cells<'a>,
    /// The position after the column that was read last, because columns are mostly read in order.
    next: Cell<usize>,
}

/// The columns of a row as an engine has them.
pub enum Cells<'a> {
    #[cfg(feature = "postgres")]
    Postgres(postgres::Cells<'a>),
    Sqlite(sqlite::Cells<'a>),
}

impl<'a> Row<'a> {
    pub fn new(cells: Cells<'a>) -> Row<'a> {
        Row {
            cells,
            next: Cell::new(0),
        }
    }

    /// The column with this name. A missing column or another type is a defect of the program or of the file.
    pub fn get<T: FromValue>(&self, name: &'static str) -> Result<T> {
        let expected = self.next.get();
        let columns = self.count();
        let position = match expected < columns && self.is_called(expected, name) {
            true => Some(expected),
            false => (0..columns).find(|position| self.is_called(*position, name)),
        };
        self.next.set(position.map_or(0, |position| position + 1));
        position
            .and_then(|position| self.value(position).ok())
            .and_then(T::from_value)
            .ok_or_else(|| Error::internal(format!("column {name} cannot be read")))
    }

    /// All columns in their order, each in an unambiguous byte encoding: a letter for the type, then the value.
    pub fn bytes(&self) -> Result<Vec<Vec<u8>>> {
        (0..self.count())
            .map(|position| Ok(bytes(self.value(position)?)))
            .collect()
    }

    /// Appends the columns of a range of positions in an unambiguous encoding: a letter for the type, the length for
    /// texts and blobs, then the value.
    pub fn encode(&self, columns: Range<usize>, out: &mut Vec<u8>) -> Result<()> {
        for position in columns {
            encode(self.value(position)?, out);
        }
        Ok(())
    }

    /// All columns in their order. A value of a type that no column of ours has, or a text that is not UTF-8, is an error.
    pub fn values(&self) -> Result<Vec<Value>> {
        let owned = |position| {
            let value = self.value(position)?;
            Value::of(value)
                .ok_or_else(|| Error::internal(format!("column {position} cannot be copied")))
        };
        (0..self.count()).map(owned).collect()
    }

    fn count(&self) -> usize {
        match &self.cells {
            #[cfg(feature = "postgres")]
            Cells::Postgres(cells) => cells.count(),
            Cells::Sqlite(cells) => cells.count(),
        }
    }

    fn is_called(&self, position: usize, name: &str) -> bool {
        match &self.cells {
            #[cfg(feature = "postgres")]
            Cells::Postgres(cells) => cells.is_called(position, name),
            Cells::Sqlite(cells) => cells.is_called(position, name),
        }
    }

    fn value(&self, position: usize) -> Result<ValueRef<'_>> {
        match &self.cells {
            #[cfg(feature = "postgres")]
            Cells::Postgres(cells) => cells.value(position),
            Cells::Sqlite(cells) => cells.value(position),
        }
    }
}
