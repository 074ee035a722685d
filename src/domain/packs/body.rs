//! The body of a pack: its tables, whole or as the difference from a whole body. A body that was read is well formed: every
//! entry is in its place, and every record can be decoded.

use super::record::{Reader, Writer};
use super::table::{
    Entries, Entry, Ids, Part, TABLES, Table, TableWriter, applied, difference, find_entry,
    read_entries, read_ids,
};
use super::{Checked, directory, keys};
use crate::refusals;
use ring::digest::{SHA256, digest};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

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
    /// Of the bytes, once it is known.
    sha256: OnceLock<[u8; 32]>,
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
                sha256: OnceLock::new(),
            }),
            None => Err(refusals::packs::body(place)),
        }
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Reads a body whose hash was compared already.
    pub(super) fn read_known(bytes: Vec<u8>, sha256: [u8; 32]) -> Checked<Body> {
        let body = Body::read(bytes)?;
        body.sha256.get_or_init(|| sha256);
        Ok(body)
    }

    /// SHA-256 of the bytes.
    pub fn sha256(&self) -> &[u8; 32] {
        self.sha256.get_or_init(|| sha256(&self.bytes))
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

    /// The entries with these ids.
    pub fn find<'a>(&'a self, table: Table, ids: &[&[u8]]) -> Vec<Option<Entry<'a>>> {
        let part = &self.put[table as usize];
        let bytes = &self.bytes[part.range.clone()];
        let one = |id: &&[u8]| match (table.id_bytes(), table.record_bytes()) {
            (Some(id_bytes), Some(record)) => find_row(bytes, id_bytes, record, id),
            _ => find_entry(table, bytes, &part.marks, id),
        };
        ids.iter().map(one).collect()
    }

    /// The difference that makes `new` of this body; both are whole. The shared parts of `new` must be numbered in
    /// continuation of this body, or the difference is large.
    pub fn difference(&self, new: &Body) -> Vec<u8> {
        let mut body = Writer::default();
        body.u8(DELTA);
        body.raw(self.sha256());
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
        self.require_base_of(delta)?;
        let mut tables = Vec::new();
        for table in Table::ALL {
            let put = delta.entries(table);
            let result = applied(table, self.entries(table), put, delta.gone(table));
            tables.push(result.ok_or_else(refusals::packs::other_base)?);
        }
        Body::read(whole(self.pepper, &tables))
    }
}

/// What a difference makes of a whole body, without the keys that it leaves as they are.
pub(super) struct Changed {
    /// A whole body with all small tables.
    pub body: Body,
    /// The ids of keys that the difference puts or takes away, or whose extras it does, in ascending order.
    pub ids: Vec<[u8; 8]>,
    /// The number of keys of the whole result.
    pub keys: usize,
}

impl Body {
    fn require_base_of(&self, delta: &Body) -> Checked<()> {
        let fits = delta.base.as_ref() == Some(self.sha256()) && delta.pepper == self.pepper;
        match fits && self.base.is_none() {
            true => Ok(()),
            false => Err(refusals::packs::other_base()),
        }
    }

    /// The same as [`Body::apply`] in a time that does not depend on the number of keys. `None` if the difference takes away
    /// what other keys may name, so that all of them have to be looked at.
    ///
    /// # Errors
    /// As for [`Body::apply`].
    pub(super) fn changed_by(&self, delta: &Body) -> Checked<Option<Changed>> {
        self.require_base_of(delta)?;
        let is_named = [
            Table::Peppers,
            Table::Workspaces,
            Table::Policies,
            Table::Catalogs,
            Table::Shared,
        ];
        let takes_away = is_named.iter().any(|table| delta.gone_count(*table) > 0);
        if takes_away || self.bytes.len() + delta.bytes.len() > BODY_BYTES_MAX {
            return Ok(None);
        }
        let changed = self.change(delta);
        let (tables, ids, keys) = changed.ok_or_else(refusals::packs::other_base)?;
        Ok(Some(Changed {
            body: Body::read(whole(self.pepper, &tables))?,
            ids,
            keys,
        }))
    }

    fn change(&self, delta: &Body) -> Option<(Vec<TableWriter>, Vec<[u8; 8]>, usize)> {
        let mut ids: BTreeSet<[u8; 8]> = BTreeSet::new();
        for table in [Table::Keys, Table::Extras] {
            let put = delta.entries(table).map(|(id, _)| id);
            for id in put.chain(delta.gone(table)) {
                ids.insert(id.try_into().ok()?);
            }
        }
        let ids: Vec<[u8; 8]> = ids.into_iter().collect();
        let refs: Vec<&[u8]> = ids.iter().map(|id| &id[..]).collect();
        let (mut tables, mut keys) = (Vec::new(), self.count(Table::Keys));
        for table in Table::ALL {
            if !matches!(table, Table::Keys | Table::Extras) {
                let put = delta.entries(table);
                tables.push(applied(table, self.entries(table), put, delta.gone(table))?);
                continue;
            }
            let old = refs.iter().zip(self.find(table, &refs));
            let old: BTreeMap<&[u8], Entry<'_>> =
                old.filter_map(|(id, entry)| Some((*id, entry?))).collect();
            let mut rows = TableWriter::default();
            for (id, record) in &old {
                rows.put(table, (id, record.1));
            }
            let before = rows.count;
            let old = Entries::new(table, &rows.bytes.0);
            let new = applied(table, old, delta.entries(table), delta.gone(table))?;
            if table == Table::Keys {
                keys = keys + new.count - before;
            }
            tables.push(new);
        }
        Some((tables, ids, keys))
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
