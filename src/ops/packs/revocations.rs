//! Revocations for sites that nothing but a few texts reaches: QR codes on paper or on a screen.

use super::ended::{self, Asked, Ended};
use super::identity::{list_signing, signer};
use super::{find, require};
use crate::authz::caller::Caller;
use crate::domain::audit::{Changes, Target};
use crate::domain::keys::KeyId;
use crate::domain::packs::revocations::{EndedSecret, Revocations, ids_max};
use crate::domain::packs::site::Site;
use crate::error::{Error, Result};
use crate::ops::{App, Record};
use crate::refusals;
use crate::store::audit;
use std::collections::BTreeSet;

const REVOCATIONS: &str = "site.revocations";
/// The number of codes that are made at once.
const CODES_MAX: usize = 100;

/// Signed texts, each for one QR code.
#[derive(Clone, Debug)]
pub struct Codes {
    pub texts: Vec<String>,
    /// Keys, and secrets of keys that go on.
    pub keys: u64,
    /// Of these, keys that go on and are named as a whole: until the site has a pack, their newer secrets open nothing there either.
    pub whole: u64,
}

/// What fits each code of so many ids: keys first, then secrets of keys that go on, which take the room of two.
fn divide(ended: &Ended, most: usize) -> Vec<(Vec<KeyId>, Vec<EndedSecret>)> {
    let mut contents: Vec<(Vec<KeyId>, Vec<EndedSecret>)> = Vec::new();
    let ids: BTreeSet<KeyId> = ended.keys.union(&ended.whole).copied().collect();
    let ids: Vec<KeyId> = ids.into_iter().collect();
    contents.extend(ids.chunks(most).map(|ids| (ids.to_vec(), Vec::new())));
    for secret in &ended.secrets {
        let has_room = |(ids, secrets): &(Vec<KeyId>, Vec<EndedSecret>)| {
            ids.len() + 2 * (secrets.len() + 1) <= most
        };
        if !contents.last().is_some_and(has_room) {
            contents.push(Default::default());
        }
        if let Some((_, secrets)) = contents.last_mut() {
            secrets.push(*secret);
        }
    }
    contents
}

/// The keys and the secrets that have ended since the event `since`, or, for one site, since the event that it is known to have applied; if
/// it has never reported, all of them. A key whose newest secret goes on is named as a whole where the digests that the site has are
/// not known.
///
/// # Errors
/// `Conflict` if no key has ended since, if there are too many for codes, or if the audit log does not reach back to that event.
pub fn codes(app: &App, caller: &Caller, site: Option<&str>, since: Option<u64>) -> Result<Codes> {
    app.decided(caller, REVOCATIONS, Target::server(), require(app, caller))?;
    let now = app.now().wall.whole_second();
    let (texts, keys, whole) = app.read(|read| {
        let site = site.map(|name| find(read, name)).transpose()?;
        let known = |site: &Site| site.reported.as_ref().map(|reported| reported.events);
        let since = since.or_else(|| site.as_ref().and_then(known)).unwrap_or(0);
        let asked = Asked {
            site: site.as_ref(),
            after: since,
            with_new: true,
        };
        let mut found = ended::ended(app, read, &[asked])?;
        let too_short = || Error::Conflict(refusals::packs::log_too_short(since));
        let ended = found.pop().flatten().ok_or_else(too_short)?;
        let count = ended.keys.len() + ended.whole.len() + ended.secrets.len();
        if count == 0 {
            return Err(Error::Conflict(refusals::packs::none_ended()));
        }
        let keys = list_signing(read, &app.sealing)?;
        let contents = divide(&ended, ids_max(keys.len()));
        let parts = contents.len();
        if parts > CODES_MAX {
            return Err(Error::Conflict(refusals::packs::too_many_ended(count)));
        }
        let signer = signer(read, &app.sealing)?;
        let events = audit::newest_number(read)?.unsigned_abs();
        let code = |(place, (ids, secrets)): (usize, (Vec<KeyId>, Vec<EndedSecret>))| {
            let revocations = Revocations {
                server: signer.server.uid,
                reign: signer.server.reign,
                events,
                made: now,
                part: place as u64 + 1,
                parts: parts as u64,
                ids,
                secrets,
            };
            revocations.sign(&keys)
        };
        let texts: Vec<String> = contents.into_iter().enumerate().map(code).collect();
        Ok((texts, count as u64, ended.whole.len() as u64))
    })?;
    app.change(caller, REVOCATIONS, Target::server(), move |_, _| {
        let mut changes = Changes::default();
        changes.note("keys", &0, &keys);
        let record = Record {
            target: Target::server(),
            workspace: None,
            changes,
        };
        Ok((Some(record), ()))
    })?;
    Ok(Codes { texts, keys, whole })
}
