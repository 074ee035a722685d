//! The tables of a body: sorted lists of ids with their records. Nothing here knows what a record means, so comparing two
//! states and applying a difference are the same for all tables.

use super::record::{Reader, Writer};
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::ops::Range;

/// The greatest length of a record that is preceded by its length, in bytes.
pub const RECORD_BYTES_MAX: usize = 64 * 1024 * 1024;
/// The greatest length of an id that is preceded by its length: a name.
const ID_BYTES_MAX: usize = 100;

/// The tables, in the order of the body.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(usize)]
pub enum Table {
    Peppers,
    Workspaces,
    Users,
    Policies,
    Catalogs,
    Shared,
    Keys,
    Extras,
}

/// The number of tables.
pub const TABLES: usize = 8;

impl Table {
    pub const ALL: [Table; TABLES] = [
        Table::Peppers,
        Table::Workspaces,
        Table::Users,
        Table::Policies,
        Table::Catalogs,
        Table::Shared,
        Table::Keys,
        Table::Extras,
    ];

    /// The number of bytes of an id; `None` if each is preceded by its length.
    pub fn id_bytes(self) -> Option<usize> {
        match self {
            Table::Peppers => Some(2),
            Table::Workspaces | Table::Users => Some(16),
            Table::Policies | Table::Catalogs => None,
            Table::Shared => Some(4),
            Table::Keys | Table::Extras => Some(8),
        }
    }

    /// The number of bytes of a record; `None` if each is preceded by its length.
    pub fn record_bytes(self) -> Option<usize> {
        match self {
            Table::Peppers => Some(60),
            Table::Keys => Some(39),
            _ => None,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Table::Peppers => "peppers",
            Table::Workspaces => "workspaces",
            Table::Users => "users",
            Table::Policies => "policies",
            Table::Catalogs => "catalogs",
            Table::Shared => "shared",
            Table::Keys => "keys",
            Table::Extras => "extras",
        }
    }

    fn id<'a>(self, reader: &mut Reader<'a>) -> Option<&'a [u8]> {
        match self.id_bytes() {
            Some(bytes) => reader.take(bytes),
            None => reader.bytes(ID_BYTES_MAX),
        }
    }

    fn entry<'a>(self, reader: &mut Reader<'a>) -> Option<Entry<'a>> {
        let id = self.id(reader)?;
        let record = match self.record_bytes() {
            Some(bytes) => reader.take(bytes),
            None => reader.bytes(RECORD_BYTES_MAX),
        };
        Some((id, record?))
    }

    /// The least number of bytes of an entry, so that a count can be compared with the bytes that are left.
    fn entry_bytes(self) -> usize {
        self.id_bytes().unwrap_or(1) + self.record_bytes().unwrap_or(1)
    }

    /// Writes an id, with its length before it if ids of this table have different lengths.
    pub(super) fn write_id(self, writer: &mut Writer, id: &[u8]) {
        match self.id_bytes() {
            Some(_) => writer.raw(id),
            None => writer.bytes(id),
        }
    }

    pub(super) fn write_entry(self, writer: &mut Writer, (id, record): Entry<'_>) {
        self.write_id(writer, id);
        match self.record_bytes() {
            Some(_) => writer.raw(record),
            None => writer.bytes(record),
        }
    }
}

/// An id and its record.
pub type Entry<'a> = (&'a [u8], &'a [u8]);

/// Where the entries, or the ids, of a table are in the bytes of a body.
#[derive(Clone, Debug, Default)]
pub struct Part {
    pub count: usize,
    pub range: Range<usize>,
    /// Where every [`STEP`]th entry begins, counted from the start of the range, if entries have different lengths.
    pub marks: Vec<usize>,
}

/// The number of entries from one mark to the next.
const STEP: usize = 64;

/// Reads a count and that many entries in strictly ascending order of ids; `look` can refuse one. `start` is where the
/// bytes of the reader begin in the body.
pub(super) fn read_entries<'a>(
    table: Table,
    reader: &mut Reader<'a>,
    whole: usize,
    mut look: impl FnMut(Entry<'a>) -> Option<()>,
) -> Option<Part> {
    let count = reader.count(table.entry_bytes())?;
    let start = whole - reader.left();
    let is_marked = table.id_bytes().is_none() || table.record_bytes().is_none();
    let mut marks = Vec::new();
    let mut before: Option<&[u8]> = None;
    for place in 0..count {
        if is_marked && place % STEP == 0 {
            marks.push(whole - reader.left() - start);
        }
        let entry = table.entry(reader)?;
        if before.is_some_and(|before| before >= entry.0) {
            return None;
        }
        before = Some(entry.0);
        look(entry)?;
    }
    let range = start..whole - reader.left();
    Some(Part {
        count,
        range,
        marks,
    })
}

/// Finds an entry by its id.
pub(super) fn find_entry<'a>(
    table: Table,
    bytes: &'a [u8],
    marks: &[usize],
    id: &[u8],
) -> Option<Entry<'a>> {
    let from = |mark: usize| Entries::new(table, bytes.get(mark..).unwrap_or_default());
    let begins_before = |mark: &usize| from(*mark).next().is_some_and(|entry| entry.0 <= id);
    let place = marks.partition_point(begins_before).checked_sub(1)?;
    let mut entries = from(*marks.get(place)?).take(STEP);
    entries.find(|entry| entry.0 == id)
}

/// Reads a count and that many ids in strictly ascending order.
pub(super) fn read_ids(table: Table, reader: &mut Reader<'_>, whole: usize) -> Option<Part> {
    let count = reader.count(table.id_bytes().unwrap_or(1))?;
    let start = whole - reader.left();
    let mut before: Option<&[u8]> = None;
    for _ in 0..count {
        let id = table.id(reader)?;
        if before.is_some_and(|before| before >= id) {
            return None;
        }
        before = Some(id);
    }
    Some(Part {
        count,
        range: start..whole - reader.left(),
        marks: Vec::new(),
    })
}

/// The entries of a table that was read before.
#[derive(Clone)]
pub struct Entries<'a> {
    table: Table,
    reader: Reader<'a>,
}

/// The ids of a table that was read before.
#[derive(Clone)]
pub struct Ids<'a> {
    table: Table,
    reader: Reader<'a>,
}

impl<'a> Entries<'a> {
    pub(super) fn new(table: Table, bytes: &'a [u8]) -> Entries<'a> {
        let reader = Reader::new(bytes);
        Entries { table, reader }
    }
}

impl<'a> Ids<'a> {
    pub(super) fn new(table: Table, bytes: &'a [u8]) -> Ids<'a> {
        let reader = Reader::new(bytes);
        Ids { table, reader }
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        self.table.entry(&mut self.reader)
    }
}

impl<'a> Iterator for Ids<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        self.table.id(&mut self.reader)
    }
}

/// A table that is being written: a count, and entries in ascending order.
#[derive(Default)]
pub struct TableWriter {
    pub count: usize,
    pub bytes: Writer,
}

impl TableWriter {
    pub(super) fn put(&mut self, table: Table, entry: Entry<'_>) {
        self.count += 1;
        table.write_entry(&mut self.bytes, entry);
    }

    pub(super) fn put_id(&mut self, table: Table, id: &[u8]) {
        self.count += 1;
        table.write_id(&mut self.bytes, id);
    }

    pub(super) fn of(table: Table, entries: &BTreeMap<Vec<u8>, Vec<u8>>) -> TableWriter {
        let mut writer = TableWriter::default();
        for (id, record) in entries {
            writer.put(table, (id, record));
        }
        writer
    }

    /// Appends the count and the entries to a body.
    pub(super) fn append_to(&self, body: &mut Writer) {
        body.number(self.count as u64);
        body.raw(&self.bytes.0);
    }
}

/// The difference between two states of a table: what to put, and the ids that are gone.
pub(super) fn difference(
    table: Table,
    old: Entries<'_>,
    new: Entries<'_>,
) -> (TableWriter, TableWriter) {
    let (mut put, mut gone) = (TableWriter::default(), TableWriter::default());
    let (mut old, mut new) = (old.peekable(), new.peekable());
    loop {
        let order = match (old.peek(), new.peek()) {
            (None, None) => return (put, gone),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(old), Some(new)) => old.0.cmp(new.0),
        };
        let before = if order.is_le() { old.next() } else { None };
        let after = if order.is_ge() { new.next() } else { None };
        match (before, after) {
            (Some((id, _)), None) => gone.put_id(table, id),
            (before, Some(after)) if before != Some(after) => put.put(table, after),
            _ => {}
        }
    }
}

/// A state of a table with a difference applied to it; `None` if an id is gone that was not there or is put as well.
pub(super) fn applied(
    table: Table,
    base: Entries<'_>,
    put: Entries<'_>,
    gone: Ids<'_>,
) -> Option<TableWriter> {
    let mut result = TableWriter::default();
    let (mut base, mut put, mut gone) = (base.peekable(), put.peekable(), gone.peekable());
    loop {
        let order = match (base.peek(), put.peek()) {
            (None, None) => break,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(base), Some(put)) => base.0.cmp(put.0),
        };
        let before = if order.is_le() { base.next() } else { None };
        let after = if order.is_ge() { put.next() } else { None };
        let id = after.or(before)?.0;
        let is_gone = gone.peek() == Some(&id);
        match (before, after) {
            (Some(_), None) if is_gone => {
                gone.next();
            }
            (_, Some(_)) if is_gone => return None,
            (before, after) => result.put(table, after.or(before)?),
        }
    }
    // What is left was not there.
    gone.next().is_none().then_some(result)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(entries: &[(u8, &str)]) -> Vec<u8> {
        let mut writer = TableWriter::default();
        for (id, record) in entries {
            writer.put(Table::Policies, (&[*id], record.as_bytes()));
        }
        writer.bytes.0
    }

    #[track_caller]
    fn check(old: &[(u8, &str)], new: &[(u8, &str)], changes: (usize, usize)) {
        let (old, new) = (table(old), table(new));
        let entries = |bytes| Entries::new(Table::Policies, bytes);
        let (put, gone) = difference(Table::Policies, entries(&old), entries(&new));
        assert_eq!((put.count, gone.count), changes);
        let ids = Ids::new(Table::Policies, &gone.bytes.0);
        let result = applied(Table::Policies, entries(&old), entries(&put.bytes.0), ids);
        assert_eq!(result.unwrap().bytes.0, new);
    }

    #[test]
    fn a_difference_makes_the_new_state_of_the_old_one() {
        check(&[], &[], (0, 0));
        check(&[], &[(1, "a"), (2, "b")], (2, 0));
        check(&[(1, "a"), (2, "b")], &[], (0, 2));
        check(
            &[(1, "a"), (3, "c")],
            &[(1, "a"), (2, "b"), (3, "x")],
            (2, 0),
        );
        check(
            &[(1, "a"), (2, "b"), (9, "z")],
            &[(0, "o"), (2, "b")],
            (1, 2),
        );
    }

    #[test]
    fn a_difference_of_another_state_is_refused() {
        let base = table(&[(1, "a"), (3, "c")]);
        let entries = |bytes| Entries::new(Table::Policies, bytes);
        let gone = |ids: &[u8]| {
            let mut writer = TableWriter::default();
            ids.iter()
                .for_each(|id| writer.put_id(Table::Policies, &[*id]));
            writer.bytes.0
        };
        let put = table(&[(3, "x")]);
        for (put, ids) in [
            (&[][..], &[2][..]),
            (&[], &[0]),
            (&[], &[1, 4]),
            (&put, &[3]),
        ] {
            let ids = gone(ids);
            let result = applied(
                Table::Policies,
                entries(&base),
                entries(put),
                Ids::new(Table::Policies, &ids),
            );
            assert!(result.is_none());
        }
    }
}
