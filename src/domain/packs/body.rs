//! The body of a pack: its tables, whole or as the difference from a whole body. A body that was read is well formed: every
//! entry is in its place, and every record can be decoded.

use super::record::{Reader, Writer};
use super::table::{
    Entries, Entry, Ids, Part, TABLES, Table, TableWriter, applied, difference, read_entries,
    read_ids,
};
use super::{Checked, directory, keys};
use crate::refusals;
use ring::digest::{SHA256, digest};

/// The number of bytes of a body.
pub const BODY_BYTES_MAX: usize = 1 << 30;

const WHOLE: u8 = 0;
const DELTA: u8 = 1;

/// The bytes of a body, and where its tables are.
pub struct Body {
    bytes: Vec<u8>,
    /// SHA-256 of the whole body that a difference has to be applied to.
    base: Option<[u8; 32]>,
    /// The version of the pepper of keys that name none.
    pepper: u16,
    put: [Part; TABLES],
    gone: [Part; TABLES],
}

/// SHA-256 of bytes.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, bytes).as_ref());
    hash
}

impl Body {
    /// Reads a body. The reason of a refusal names the table.
    pub fn read(bytes: Vec<u8>) -> Checked<Body> {
        if bytes.len() > BODY_BYTES_MAX {
            return Err(refusals::packs::body("length"));
        }
        let mut place = "beginning";
        match parts(&bytes, &mut place) {
            Some((base, pepper, put, gone)) => Ok(Body {
                base,
                pepper,
                put,
                gone,
                bytes,
            }),
            None => Err(refusals::packs::body(place)),
        }
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// SHA-256 of the body that this difference has to be applied to; `None` if this is a whole body.
    pub fn base(&self) -> Option<&[u8; 32]> {
        self.base.as_ref()
    }

    /// The version of the pepper of keys that name none.
    pub fn pepper(&self) -> u16 {
        self.pepper
    }

    /// The records of a table: all of them, or those that a difference puts.
    pub fn entries(&self, table: Table) -> Entries<'_> {
        let range = self.put[table as usize].range.clone();
        Entries::new(table, &self.bytes[range])
    }

    /// The number of [`Body::entries`].
    pub fn count(&self, table: Table) -> usize {
        self.put[table as usize].count
    }

    /// The ids that are gone according to a difference.
    pub fn gone(&self, table: Table) -> Ids<'_> {
        let range = self.gone[table as usize].range.clone();
        Ids::new(table, &self.bytes[range])
    }

    /// The number of [`Body::gone`].
    pub fn gone_count(&self, table: Table) -> usize {
        self.gone[table as usize].count
    }

    /// The entries with these ids, which are in ascending order; in one pass over the table, or with a look-up for each id if
    /// all entries of the table have the same length.
    pub fn find<'a>(&'a self, table: Table, ids: &[&[u8]]) -> Vec<Option<Entry<'a>>> {
        if let (Some(id_bytes), Some(record)) = (table.id_bytes(), table.record_bytes()) {
            let range = self.put[table as usize].range.clone();
            let rows: Vec<Option<Entry<'a>>> = ids
                .iter()
                .map(|id| find_row(&self.bytes[range.clone()], id_bytes, record, id))
                .collect();
            return rows;
        }
        let mut entries = self.entries(table).peekable();
        let one = |id: &&[u8]| {
            while entries.peek().is_some_and(|entry| entry.0 < *id) {
                entries.next();
            }
            entries.peek().filter(|entry| entry.0 == *id).copied()
        };
        ids.iter().map(one).collect()
    }

    /// The difference that makes `new` of this body; both are whole. The shared parts of `new` must be numbered in
    /// continuation of this body, or the difference is large.
    pub fn difference(&self, new: &Body) -> Vec<u8> {
        let mut body = Writer::default();
        body.u8(DELTA);
        body.raw(&sha256(&self.bytes));
        body.raw(&new.pepper.to_be_bytes());
        for table in Table::ALL {
            let (put, gone) = difference(table, self.entries(table), new.entries(table));
            put.append_to(&mut body);
            gone.append_to(&mut body);
        }
        body.0
    }

    /// The whole body that a difference makes of this one.
    ///
    /// # Errors
    /// It is the difference from another body.
    pub fn apply(&self, delta: &Body) -> Checked<Body> {
        let fits = delta.base == Some(sha256(&self.bytes)) && delta.pepper == self.pepper;
        if !fits || self.base.is_some() {
            return Err(refusals::packs::other_base());
        }
        let mut tables = Vec::new();
        for table in Table::ALL {
            let put = delta.entries(table);
            let result = applied(table, self.entries(table), put, delta.gone(table));
            tables.push(result.ok_or_else(refusals::packs::other_base)?);
        }
        Body::read(whole(self.pepper, &tables))
    }
}

/// The bytes of a whole body.
pub(super) fn whole(pepper: u16, tables: &[TableWriter]) -> Vec<u8> {
    let length: usize = tables.iter().map(|table| table.bytes.0.len() + 10).sum();
    let mut body = Writer(Vec::with_capacity(length + 3));
    body.u8(WHOLE);
    body.raw(&pepper.to_be_bytes());
    tables.iter().for_each(|table| table.append_to(&mut body));
    body.0
}

type Parts = (Option<[u8; 32]>, u16, [Part; TABLES], [Part; TABLES]);

/// Reads the bytes of a body; `place` names what was read last.
fn parts(bytes: &[u8], place: &mut &'static str) -> Option<Parts> {
    let mut reader = Reader::new(bytes);
    let base = match reader.u8()? {
        WHOLE => None,
        DELTA => Some(reader.array()?),
        _ => return None,
    };
    let pepper = reader.u16()?;
    let (mut put, mut gone): ([Part; TABLES], [Part; TABLES]) = Default::default();
    for table in Table::ALL {
        *place = table.as_str();
        let look = |(id, record)| check(table, id, record);
        put[table as usize] = read_entries(table, &mut reader, bytes.len(), look)?;
        if base.is_some() {
            gone[table as usize] = read_ids(table, &mut reader, bytes.len())?;
        }
    }
    *place = "end";
    reader.end()?;
    Some((base, pepper, put, gone))
}

/// Whether an entry can be decoded.
fn check(table: Table, id: &[u8], record: &[u8]) -> Option<()> {
    match table {
        Table::Peppers => Some(()),
        Table::Workspaces => directory::workspace(id, record).map(|_| ()),
        Table::Users => directory::user(id, record).map(|_| ()),
        Table::Policies => directory::policy(id, record).map(|_| ()),
        Table::Catalogs => directory::catalog(id, record).map(|_| ()),
        Table::Shared => keys::shared(record).map(|_| ()),
        Table::Keys => keys::row(id, record).map(|_| ()),
        Table::Extras => keys::extras(record).map(|_| ()),
    }
}

/// Finds a row in a table of rows of equal length.
fn find_row<'a>(rows: &'a [u8], id_bytes: usize, record: usize, id: &[u8]) -> Option<Entry<'a>> {
    let width = id_bytes + record;
    let (mut low, mut high) = (0, rows.len() / width);
    while low < high {
        let middle = (low + high) / 2;
        let (found, rest) = rows[middle * width..(middle + 1) * width].split_at(id_bytes);
        match found.cmp(id) {
            std::cmp::Ordering::Equal => return Some((found, rest)),
            std::cmp::Ordering::Less => low = middle + 1,
            std::cmp::Ordering::Greater => high = middle,
        }
    }
    None
}
