//! Export of all keys with the digests of their secrets, for another server or for files. There are no secrets in it.

use super::{View, with_names};
use crate::authz::caller::Caller;
use crate::domain::audit::{Changes, Target};
use crate::domain::keys::KeyId;
use crate::domain::keys::imported::ImportedDigest;
use crate::error::{Error, Result};
use crate::index::PARTS;
use crate::ops::{App, Record};
use crate::refusals;
use crate::store::keys::{self, SecretRow, Source};
use crate::store::seals::keys::each;
use crate::store::usage::Usage;
use std::collections::HashSet;

/// The greatest number of keys in one answer.
pub const KEYS_MAX: usize = 10_000;

/// A key with the digest of its newest secret.
#[derive(Debug)]
pub struct ExportedKey {
    pub view: View,
    /// The text form.
    pub digest: String,
    /// The start of the secret by which a slow digest is found.
    pub found_by: Option<String>,
    /// For a digest under the pepper: the version, and the fingerprint if this server has it.
    pub pepper: Option<(u32, Option<[u8; 32]>)>,
    /// Whether the secret contains the id, so that the key must keep it.
    pub keeps_id: bool,
    /// Whether another live key has the same name.
    pub has_namesake: bool,
}

/// The live keys with a secret, in the order of their ids, and the position of the next page. Each page is an event.
///
/// # Errors
/// `Conflict` if a key was changed without Latchkey: an export would give it out as if Latchkey had written it.
pub fn export(
    app: &App,
    caller: &Caller,
    format: &'static str,
    after: Option<KeyId>,
    limit: usize,
) -> Result<(Vec<ExportedKey>, Option<KeyId>)> {
    let (index, who) = (app.index.clone(), caller.clone());
    app.change(caller, "key.export", Target::server(), move |_, _| {
        who.require_root_administrator(&index.directory())?;
        let mut changes = Changes::default();
        changes.note("format", &"", &format);
        changes.note_option("after", &None, &after);
        let record = Record {
            target: Target::server(),
            workspace: None,
            changes,
        };
        Ok((Some(record), ()))
    })?;
    app.read(|read| {
        let limit = u32::try_from(limit.min(KEYS_MAX)).unwrap_or(u32::MAX);
        let ids = keys::list_ids(read, &Source::All, after, limit)?;
        let (Some(first), Some(last)) = (ids.first(), ids.last()) else {
            return Ok((Vec::new(), None));
        };
        let namesakes = namesakes(app);
        let mut page = Vec::new();
        each(
            read,
            Some(&app.seal_keys),
            (*first, *last),
            false,
            |found| {
                let id = found.key.id;
                if !found.fits() {
                    let kind = refusals::nouns::key();
                    return Err(Error::Conflict(refusals::server::changed_outside(kind, id)));
                }
                let mut secrets = found.secrets.into_iter();
                let Some(newest) = secrets.find(|row| row.expires_at.is_none()) else {
                    return Ok(());
                };
                let has_namesake = namesakes.contains(found.key.name.as_str());
                let view = with_names(app, found.key, Usage::default());
                page.push(exported(app, view, newest, has_namesake));
                Ok(())
            },
        )?;
        let is_last = ids.len() < limit as usize;
        Ok((page, (!is_last).then_some(*last)))
    })
}

/// The names that several live keys have.
fn namesakes(app: &App) -> HashSet<String> {
    let (mut seen, mut twice) = (HashSet::new(), HashSet::new());
    for part in 0..PARTS {
        app.index.each_of_part(part, |key| {
            if !seen.insert(key.name.clone()) {
                twice.insert(key.name.to_string());
            }
        });
    }
    twice
}

fn exported(app: &App, view: View, newest: SecretRow, has_namesake: bool) -> ExportedKey {
    let secret = newest.secret;
    let version = u32::from(secret.pepper);
    let (digest, found_by, pepper) = match newest.given {
        Some(given) => (given.to_text(), given.found_by, None),
        None => {
            let mut known = app.peppers.fingerprints().into_iter();
            let fingerprint = known.find(|(number, _)| *number == version);
            let fingerprint = fingerprint.map(|(_, fingerprint)| fingerprint);
            let text = ImportedDigest::peppered_text(&secret.digest);
            (text, None, Some((version, fingerprint)))
        }
    };
    ExportedKey {
        view,
        digest,
        found_by,
        pepper,
        keeps_id: !secret.is_foreign,
        has_namesake,
    }
}
