//! This server as its sites know it, and the keys that sign packs.

use super::require;
use crate::authz::caller::Caller;
use crate::domain::audit::{Changes, Target};
use crate::domain::keys::sealing::SealingKeys;
use crate::domain::packs::head::{Introduction, key_name};
use crate::domain::packs::note::{PublicKey, SIGNATURES_MAX, SigningKey};
use crate::domain::packs::site::signing_key_purpose;
use crate::domain::time::Timestamp;
use crate::domain::uid::Uid;
use crate::error::{Error, Result};
use crate::ops::{App, Record};
use crate::refusals;
use crate::store::packs::{self, Server, SigningKeyRow};
use crate::store::{Read, Write};

/// Who signs packs.
pub struct Signer {
    pub server: Server,
    /// The newest key.
    pub key: SigningKey,
    /// How the keys followed one another, the oldest first.
    pub introductions: Vec<Introduction>,
}

/// Reads who signs packs.
pub fn signer(read: &Read, sealing: &SealingKeys) -> Result<Signer> {
    let no_site = || Error::Conflict(refusals::packs::no_site());
    let server = packs::find_server(read)?.ok_or_else(no_site)?;
    let rows = packs::list_signing_keys(read)?;
    let newest = rows.last().ok_or_else(no_site)?;
    let key = open(&server, sealing, newest)?;
    let introductions = rows.iter().filter(|row| !row.introduction.is_empty());
    let introductions: Option<Vec<Introduction>> = introductions
        .map(|row| Introduction::parse(&format!("{} {}", row.public, row.introduction)))
        .collect();
    let mut introductions =
        introductions.ok_or_else(|| Error::internal("the introduction of a key is damaged"))?;
    let older = introductions.len().saturating_sub(SIGNATURES_MAX);
    introductions.drain(..older);
    Ok(Signer {
        server,
        key,
        introductions,
    })
}

/// The newest key that signs packs, and those before it that the next packs name: the newest first. A site that has no pack since a
/// rotation trusts an older one. One that cannot be opened any more is left out, but for the newest.
pub fn list_signing(read: &Read, sealing: &SealingKeys) -> Result<Vec<SigningKey>> {
    let signer = signer(read, sealing)?;
    let rows = packs::list_signing_keys(read)?;
    let older = rows.iter().rev().skip(1).take(SIGNATURES_MAX);
    let older = older.filter_map(|row| open(&signer.server, sealing, row).ok());
    Ok(std::iter::once(signer.key)
        .chain(older.collect::<Vec<_>>())
        .collect())
}

/// The name of this server in the heads of packs; `None` before the first site.
pub fn server_name(app: &App, caller: &Caller) -> Result<Option<String>> {
    require(app, caller)?;
    let server = app.read(packs::find_server)?;
    Ok(server.map(|server| server.name))
}

/// The newest key that signs packs, as the enrolment of a site has it.
pub fn public_key(read: &Read) -> Result<PublicKey> {
    let rows = packs::list_signing_keys(read)?;
    let newest = rows.last().and_then(|row| PublicKey::parse(&row.public));
    newest.ok_or_else(|| Error::internal("the key that signs packs is damaged"))
}

pub(super) fn open(
    server: &Server,
    sealing: &SealingKeys,
    row: &SigningKeyRow,
) -> Result<SigningKey> {
    let purpose = signing_key_purpose(row.version);
    let seed = sealing.open_bytes(&purpose, &row.sealed);
    let lost = || Error::Unavailable(refusals::packs::key_sealed(row.version));
    let key = SigningKey::of_seed(&key_name(&server.name), &seed.ok_or_else(lost)?)?;
    match key.public().to_text() == row.public {
        true => Ok(key),
        false => Err(lost()),
    }
}

/// Makes the identity of this server and its first signing key, if there is none yet.
pub(super) fn ensure(
    tx: &Write<'_>,
    sealing: &SealingKeys,
    name: &str,
    now: Timestamp,
) -> Result<Server> {
    if let Some(server) = packs::find_server(tx)? {
        return Ok(server);
    }
    let server = Server {
        uid: Uid::generate()?,
        name: name.to_owned(),
        reign: 1,
    };
    packs::insert_server(tx, &server)?;
    add_key(tx, sealing, &server, None, now)?;
    Ok(server)
}

/// Generates a key; the one before introduces it.
pub(super) fn add_key(
    tx: &Write<'_>,
    sealing: &SealingKeys,
    server: &Server,
    before: Option<&SigningKeyRow>,
    now: Timestamp,
) -> Result<SigningKeyRow> {
    let version = before.map_or(1, |before| before.version + 1);
    let (key, seed) = SigningKey::generate(&key_name(&server.name))?;
    let introduction = match before {
        None => String::new(),
        Some(before) => {
            let older = open(server, sealing, before)?;
            let made = Introduction::make(&older, &server.name, server.uid, key.public());
            made.signature.to_base64()
        }
    };
    let row = SigningKeyRow {
        version,
        public: key.public().to_text(),
        sealed: sealing.seal_bytes(&signing_key_purpose(version), &seed)?,
        introduction,
        added_at: now,
    };
    packs::insert_signing_key(tx, &row)?;
    Ok(row)
}

/// Every key that signs packs, the oldest first.
pub fn list(app: &App, caller: &Caller) -> Result<Vec<SigningKeyRow>> {
    require(app, caller)?;
    app.read(packs::list_signing_keys)
}

/// The action of a key that was added.
pub(super) const ROTATE: &str = "site.rotate_key";

/// What the log has of a key that signs packs from now on.
pub(super) fn rotation(row: &SigningKeyRow) -> Record {
    let mut changes = Changes::default();
    changes.note("version", &(row.version - 1), &row.version);
    changes.note("public_key", &"", &row.public.as_str());
    Record {
        target: Target::server(),
        workspace: None,
        changes,
    }
}
