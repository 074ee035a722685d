//! The records of keys: a row of fixed length, the properties that many keys share, and extras that some keys have.

use super::directory::{NAME_BYTES_MAX, WORD_BYTES_MAX, rate_limit, uid_bytes, write_rate_limit};
use super::record::{Reader, Writer};
use crate::domain::keys::address::AddressList;
use crate::domain::keys::live::{Live, OlderSecret, OptionalPart, SharedPart, StoredSecret};
use crate::domain::keys::pepper::Digest;
use crate::domain::keys::quota::{Counters, RateLimit, Uses};
use crate::domain::keys::{ADDRESSES_MAX, KeyId, SCOPES_MAX};
use crate::domain::time::Timestamp;
use crate::domain::uid::Uid;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

/// The end of a key that has none, or whose end is among the extras.
const NO_END: u32 = u32::MAX;
/// The number of the shared part is among the extras.
const IN_EXTRAS: u16 = u16::MAX;
/// The key is enabled.
const ENABLED: u8 = 1;
/// The key has extras.
const HAS_EXTRAS: u8 = 2;
/// The number of bytes of metadata: 4,096 characters.
const METADATA_BYTES_MAX: usize = 16 * 1024;

/// What extras a record has, in the order in which they follow.
mod extra {
    pub const PEPPER: u16 = 1;
    pub const SHARED: u16 = 1 << 1;
    pub const END: u16 = 1 << 2;
    pub const NOT_BEFORE: u16 = 1 << 3;
    pub const ADDRESSES: u16 = 1 << 4;
    pub const RATE_LIMIT: u16 = 1 << 5;
    pub const LENT: u16 = 1 << 6;
    pub const OLDER: u16 = 1 << 7;
    pub const NAME: u16 = 1 << 8;
    pub const METADATA: u16 = 1 << 9;
    pub const TAIL: u16 = 1 << 10;
    pub const ALL: u16 = (1 << 11) - 1;
}

/// A key of a pack.
#[derive(Clone, Debug, PartialEq)]
pub struct PackedKey<'a> {
    pub id: KeyId,
    pub digest: [u8; 32],
    /// The version of the pepper.
    pub pepper: u16,
    /// The number of the shared part.
    pub shared: u32,
    pub enabled: bool,
    pub expires_at: Option<Timestamp>,
    pub not_before: Option<Timestamp>,
    pub addresses: Option<AddressList>,
    pub rate_limit: Option<RateLimit>,
    /// For a counted key: the uses that this site was lent in all, those that it has spent included.
    pub lent: Option<u64>,
    pub older: Option<PackedOlder>,
    /// Empty in a minimal pack.
    pub name: &'a str,
    /// Compact JSON; empty for `{}`, and in a minimal pack.
    pub metadata: &'a str,
    /// The end of the hint; zeros if there is none.
    pub tail: [u8; 4],
}

/// The secret before the last rotation, in its grace period.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PackedOlder {
    pub digest: [u8; 32],
    pub pepper: u16,
    pub expires_at: Timestamp,
    pub until_first_use: bool,
}

/// The row of a key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub id: KeyId,
    pub digest: [u8; 32],
    pub end: u32,
    pub shared: u16,
    pub enabled: bool,
    pub has_extras: bool,
}

/// What the extras of a key change.
#[derive(Clone, Debug, Default)]
pub(super) struct Extras<'a> {
    pub pepper: Option<u16>,
    pub shared: Option<u32>,
    pub end: Option<Timestamp>,
    pub not_before: Option<Timestamp>,
    pub addresses: Option<AddressList>,
    pub rate_limit: Option<RateLimit>,
    pub lent: Option<u64>,
    pub older: Option<PackedOlder>,
    pub name: &'a str,
    pub metadata: &'a str,
    pub tail: [u8; 4],
}

/// Reads the row of a key.
pub(super) fn row(id: &[u8], record: &[u8]) -> Option<Row> {
    let mut reader = Reader::new(record);
    let (digest, end, shared) = (reader.array()?, reader.u32()?, reader.u16()?);
    let flags = reader.u8()?;
    reader.end()?;
    (flags & !(ENABLED | HAS_EXTRAS) == 0).then_some(Row {
        id: key_id(id)?,
        digest,
        end,
        shared,
        enabled: flags & ENABLED != 0,
        has_extras: flags & HAS_EXTRAS != 0,
    })
}

/// An id in its bytes.
pub(super) fn key_id(id: &[u8]) -> Option<KeyId> {
    Some(KeyId(u64::from_be_bytes(id.try_into().ok()?)))
}

/// Reads the extras of a key. An extra that has the value of keys without it is refused, as it would be a second encoding.
pub(super) fn extras(record: &[u8]) -> Option<Extras<'_>> {
    let mut reader = Reader::new(record);
    let fields = reader.u16()?;
    if fields == 0 || fields & !extra::ALL != 0 {
        return None;
    }
    let mut extras = Extras::default();
    let has = |extra: u16| fields & extra != 0;
    if has(extra::PEPPER) {
        extras.pepper = Some(reader.u16()?);
    }
    if has(extra::SHARED) {
        let number = Some(reader.u32()?);
        extras.shared = number.filter(|number| *number >= u32::from(IN_EXTRAS));
        extras.shared?;
    }
    if has(extra::END) {
        extras.end = Some(Timestamp(reader.i64()?)).filter(|end| row_end(*end) == NO_END);
        extras.end?;
    }
    if has(extra::NOT_BEFORE) {
        extras.not_before = Some(Timestamp(reader.i64()?));
    }
    if has(extra::ADDRESSES) {
        let texts = reader.texts(ADDRESSES_MAX, WORD_BYTES_MAX)?;
        let list = AddressList::parse("addresses", texts.iter().copied()).ok()?;
        let same = list.blocks().iter().map(ToString::to_string).eq(texts);
        extras.addresses = Some(list).filter(|_| same);
        extras.addresses.as_ref()?;
    }
    if has(extra::RATE_LIMIT) {
        extras.rate_limit = Some(rate_limit(&mut reader)?);
    }
    if has(extra::LENT) {
        extras.lent = Some(reader.number()?);
    }
    if has(extra::OLDER) {
        extras.older = Some(PackedOlder {
            digest: reader.array()?,
            pepper: reader.u16()?,
            expires_at: Timestamp(reader.i64()?),
            until_first_use: reader.flag()?,
        });
    }
    if has(extra::NAME) {
        extras.name = reader
            .text(NAME_BYTES_MAX)
            .filter(|name| !name.is_empty())?;
    }
    if has(extra::METADATA) {
        let text = reader.text(METADATA_BYTES_MAX);
        extras.metadata = text.filter(|text| !text.is_empty())?;
    }
    if has(extra::TAIL) {
        extras.tail = reader.array().filter(|tail| *tail != [0; 4])?;
    }
    reader.end()?;
    Some(extras)
}

/// The end of a key in its row; [`NO_END`] if the row cannot hold it.
fn row_end(at: Timestamp) -> u32 {
    let seconds = (at.0 % 1000 == 0).then_some(at.0 / 1000);
    seconds
        .and_then(|s| u32::try_from(s).ok())
        .unwrap_or(NO_END)
}

impl<'a> PackedKey<'a> {
    /// A key from its row and its extras; `None` if one names what only the other has.
    pub(super) fn of(row: Row, extras: Extras<'a>, pepper: u16) -> Option<PackedKey<'a>> {
        let shared = match (row.shared, extras.shared) {
            (IN_EXTRAS, Some(number)) => number,
            (IN_EXTRAS, None) | (_, Some(_)) => return None,
            (number, None) => u32::from(number),
        };
        let expires_at = match (row.end, extras.end) {
            (NO_END, end) => end,
            (_, Some(_)) => return None,
            (seconds, None) => Some(Timestamp(i64::from(seconds) * 1000)),
        };
        // A version that every key has would be a second encoding.
        let own = extras.pepper.filter(|own| *own != pepper);
        if own != extras.pepper {
            return None;
        }
        Some(PackedKey {
            id: row.id,
            digest: row.digest,
            pepper: own.unwrap_or(pepper),
            shared,
            enabled: row.enabled,
            expires_at,
            not_before: extras.not_before,
            addresses: extras.addresses,
            rate_limit: extras.rate_limit,
            lent: extras.lent,
            older: extras.older,
            name: extras.name,
            metadata: extras.metadata,
            tail: extras.tail,
        })
    }

    /// The record of the row and the record of the extras, if there are any. `pepper` is the version of keys without one.
    pub(super) fn write(&self, pepper: u16) -> ([u8; 39], Option<Vec<u8>>) {
        let (mut fields, mut writer) = (0, Writer::default());
        let end = self.expires_at.map_or(NO_END, row_end);
        let shared = u16::try_from(self.shared).unwrap_or(IN_EXTRAS);
        if self.pepper != pepper {
            fields |= extra::PEPPER;
            writer.raw(&self.pepper.to_be_bytes());
        }
        if shared == IN_EXTRAS {
            fields |= extra::SHARED;
            writer.raw(&self.shared.to_be_bytes());
        }
        if let Some(at) = self.expires_at.filter(|_| end == NO_END) {
            fields |= extra::END;
            writer.raw(&at.0.to_be_bytes());
        }
        if let Some(at) = self.not_before {
            fields |= extra::NOT_BEFORE;
            writer.raw(&at.0.to_be_bytes());
        }
        if let Some(list) = &self.addresses {
            fields |= extra::ADDRESSES;
            let blocks = list.blocks().iter();
            writer.list(blocks, |writer, block| writer.text(&block.to_string()));
        }
        if let Some(rate) = self.rate_limit {
            fields |= extra::RATE_LIMIT;
            write_rate_limit(&mut writer, rate);
        }
        if let Some(lent) = self.lent {
            fields |= extra::LENT;
            writer.number(lent);
        }
        if let Some(older) = &self.older {
            fields |= extra::OLDER;
            writer.raw(&older.digest);
            writer.raw(&older.pepper.to_be_bytes());
            writer.raw(&older.expires_at.0.to_be_bytes());
            writer.flag(older.until_first_use);
        }
        if !self.name.is_empty() {
            fields |= extra::NAME;
            writer.text(self.name);
        }
        if !self.metadata.is_empty() {
            fields |= extra::METADATA;
            writer.text(self.metadata);
        }
        if self.tail != [0; 4] {
            fields |= extra::TAIL;
            writer.raw(&self.tail);
        }
        let flags = u8::from(self.enabled) * ENABLED + u8::from(fields != 0) * HAS_EXTRAS;
        let mut row = [0; 39];
        row[..32].copy_from_slice(&self.digest);
        row[32..36].copy_from_slice(&end.to_be_bytes());
        row[36..38].copy_from_slice(&shared.to_be_bytes());
        row[38] = flags;
        let extras = [&fields.to_be_bytes(), &writer.0[..]].concat();
        (row, (fields != 0).then_some(extras))
    }

    /// The key as verification needs it. A counted key has what it was lent less what this site has `spent`.
    pub fn live(&self, shared: Arc<SharedPart>, spent: u64) -> Live {
        let older = self.older.map(|older| OlderSecret {
            secret: StoredSecret::peppered(Digest(older.digest), u32::from(older.pepper)),
            expires_at: older.expires_at,
            until_first_use: older.until_first_use,
            retired: AtomicBool::new(false),
        });
        // A site counts from what it has spent, so that there is one epoch.
        let uses = self
            .lent
            .map(|lent| Uses::stored(0, lent.saturating_sub(spent)));
        let is_counted = uses.is_some() || self.rate_limit.is_some();
        let counters = is_counted.then(|| {
            Arc::new(Mutex::new(Counters {
                uses,
                ..Counters::default()
            }))
        });
        let optional = OptionalPart {
            older,
            addresses: self.addresses.clone(),
            rate_limit: self.rate_limit,
            counters,
            metadata: self.metadata.into(),
            texts: "".into(),
            ended: Box::default(),
        };
        let plain = optional.older.is_none()
            && optional.addresses.is_none()
            && optional.counters.is_none()
            && optional.metadata.is_empty();
        Live {
            id: self.id,
            name: self.name.into(),
            shared,
            secret: StoredSecret::peppered(Digest(self.digest), u32::from(self.pepper)),
            enabled: self.enabled,
            tail: self.tail,
            created_s: 0,
            not_before: self.not_before.unwrap_or(Timestamp(i64::MIN)),
            expires_at: self.expires_at.unwrap_or(Timestamp(i64::MAX)),
            optional: (!plain).then(|| Box::new(optional)),
        }
    }
}

/// Reads a shared part.
pub(super) fn shared(record: &[u8]) -> Option<SharedPart> {
    let mut reader = Reader::new(record);
    let part = SharedPart {
        workspace: Uid(reader.u128()?),
        owner: reader.option(Reader::u128)?.map(Uid),
        policy: reader.text(WORD_BYTES_MAX)?.into(),
        catalog: reader
            .option(|reader| reader.text(WORD_BYTES_MAX))?
            .map(Into::into),
        scopes: (reader.texts(SCOPES_MAX, WORD_BYTES_MAX)?)
            .into_iter()
            .map(Box::from)
            .collect(),
        read_only: reader.flag()?,
        prefix: reader.text(WORD_BYTES_MAX)?.into(),
        created_by: "".into(),
        source: "".into(),
    };
    reader.end()?;
    Some(part)
}

/// Writes a shared part. Who created a key, and where it came from, stay at the server.
pub(super) fn write_shared(part: &SharedPart) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.raw(&uid_bytes(part.workspace));
    writer.option(part.owner, |writer, owner| writer.raw(&uid_bytes(owner)));
    writer.text(&part.policy);
    let catalog = part.catalog.as_deref();
    writer.option(catalog, |writer, catalog| writer.text(catalog));
    writer.texts(&part.scopes);
    writer.flag(part.read_only);
    writer.text(&part.prefix);
    writer.0
}
