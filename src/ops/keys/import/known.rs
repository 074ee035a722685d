//! Whether a secret is known already: in the same file, or to the store.
//!
//! A key that an earlier import brought is passed over. Every other key that has a digest, or had it and was deleted or
//! rotated since, is a reason to refuse the record: a secret opens one key, and one that has ended does not come back.

use super::{Readable, Record};
use crate::domain::keys::imported::{ImportedDigest, SOURCE};
use crate::domain::keys::scheme::Scheme;
use crate::domain::keys::seal_key::SealKeys;
use crate::domain::keys::{Key, KeyId};
use crate::error::{Error, Result};
use crate::refusals::Refusal;
use crate::refusals::imports as refusals;
use crate::store::{Read, declared, foreign, imported, keys};
use std::collections::HashMap;
use std::collections::hash_map::Entry;

/// What only one record of a file may have.
#[derive(Eq, Hash, PartialEq)]
enum Identity<'a> {
    Digest(Scheme, Option<&'a str>, &'a [u8]),
    Id(KeyId),
    Start(&'a str),
}

/// The records, by their position, that have the digest, the id or the start of another one, and the reason. Both of a
/// pair are refused, because it is unknown which of them is right.
pub fn twins(records: &[Readable]) -> HashMap<usize, Refusal> {
    let mut seen: HashMap<Identity<'_>, usize> = HashMap::with_capacity(records.len());
    let mut twins = HashMap::new();
    for (position, one) in records.iter().enumerate() {
        for identity in identities(one) {
            let why: fn(usize) -> Refusal = match identity {
                Identity::Digest(..) => |line| refusals::digest_twice(line),
                Identity::Id(_) => |line| refusals::id_twice(line),
                Identity::Start(_) => |line| refusals::start_twice(line),
            };
            match seen.entry(identity) {
                Entry::Vacant(new) => drop(new.insert(position)),
                Entry::Occupied(first) => {
                    let first = *first.get();
                    let line = |position: usize| records[position].record.line;
                    twins.entry(first).or_insert_with(|| why(line(position)));
                    twins.entry(position).or_insert_with(|| why(line(first)));
                }
            }
        }
    }
    twins
}

fn identities(one: &Readable) -> impl Iterator<Item = Identity<'_>> {
    let (digest, start) = match &one.digest {
        ImportedDigest::Given(given) => (
            Identity::Digest(given.scheme, given.hmac_key.as_deref(), &given.bytes),
            given.found_by.as_deref(),
        ),
        ImportedDigest::Peppered(digest, _) => {
            (Identity::Digest(Scheme::Pepper, None, &digest.0), None)
        }
    };
    let (id, start) = (one.record.id.map(Identity::Id), start.map(Identity::Start));
    [Some(digest), id, start].into_iter().flatten()
}

/// Whether the key of a record is there since an earlier import. `key` is what the record would become.
///
/// # Errors
/// `Conflict` if another key has the digest, the id or the start, or a key had the digest and lost it.
pub fn find(
    read: &Read,
    seal_keys: &SealKeys,
    record: &Record,
    digest: &ImportedDigest,
    key: &Key,
) -> Result<bool> {
    let is_foreign = record.is_foreign();
    let mut holders = declared::list_with(read, &digest.to_text())?;
    for mark in digest.marks(seal_keys) {
        holders.extend(imported::find(read, &mark)?);
    }
    let is_marked = holders.len();
    if is_foreign && let Some(method) = digest.method() {
        let stored = digest.stored(true).digest;
        holders.extend(foreign::list(read, &method, &stored)?);
    }
    holders.extend(record.id);
    if let ImportedDigest::Given(given) = digest
        && let Some(start) = &given.found_by
    {
        holders.extend(foreign::list_by_start(read, start)?);
    }
    let mut is_present = false;
    for (position, id) in holders.into_iter().enumerate() {
        let Some(known) = keys::find(read, id)? else {
            continue;
        };
        let is_marked = position < is_marked;
        compare(read, digest, &known, is_marked, is_foreign)?;
        if !is_same(&known, key) {
            return Err(Error::Conflict(refusals::digest_of_another(id)));
        }
        is_present = true;
    }
    Ok(is_present)
}

/// Refuses a key that has the id or the start of a record with another digest, or that has lost the digest.
fn compare(
    read: &Read,
    digest: &ImportedDigest,
    known: &Key,
    is_marked: bool,
    is_foreign: bool,
) -> Result<()> {
    let id = known.id;
    if known.deleted_at.is_some() {
        return Err(Error::Conflict(refusals::digest_deleted(id)));
    }
    let stored = digest.stored(is_foreign);
    let rows = keys::list_secrets(read, id)?;
    let has_it = rows
        .iter()
        .any(|row| row.expires_at.is_none() && row.secret == stored);
    match (has_it, is_marked) {
        (true, _) => Ok(()),
        // The digest was replaced at the first use.
        (false, true) if known.rotated_at.is_none() => Ok(()),
        (false, true) => Err(Error::Conflict(refusals::digest_rotated(id))),
        (false, false) if known.rotated_at.is_some() => {
            Err(Error::Conflict(refusals::digest_rotated(id)))
        }
        (false, false) => Err(Error::Conflict(refusals::other_digest(id))),
    }
}

/// Whether a stored key is what a record would become, as far as no edit changes it. Otherwise a caller who knows a digest
/// could bring it in first, as a key of their own, and the later import would pass over it.
fn is_same(known: &Key, key: &Key) -> bool {
    (known.source.starts_with(SOURCE) || known.id == key.id)
        && known.workspace == key.workspace
        && known.owner == key.owner
        && known.policy == key.policy
        && known.catalog == key.catalog
}
