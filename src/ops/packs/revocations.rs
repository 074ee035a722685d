//! Revocations for sites that nothing but a few texts reaches: QR codes on paper or on a screen.

use super::given::Given;
use super::identity::signer;
use super::{find, require};
use crate::authz::caller::Caller;
use crate::domain::audit::{Changes, Target};
use crate::domain::keys::KeyId;
use crate::domain::packs::revocations::{IDS_MAX, Revocations};
use crate::domain::packs::site::Site;
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::ops::{App, Record};
use crate::refusals;
use crate::store::{audit, sites};

const REVOCATIONS: &str = "site.revocations";
/// The number of codes that are made at once.
const CODES_MAX: usize = 100;

/// Signed texts, each for one QR code.
#[derive(Clone, Debug)]
pub struct Codes {
    pub texts: Vec<String>,
    pub keys: u64,
}

/// The keys that have ended since the event `since`, or, for one site, since the event that it is known to have applied; if
/// it has never reported, since the pack from which its differences are made.
///
/// # Errors
/// `Conflict` if no key has ended since, or if there are too many for codes.
pub fn codes(app: &App, caller: &Caller, site: Option<&str>, since: Option<u64>) -> Result<Codes> {
    app.decided(caller, REVOCATIONS, Target::server(), require(app, caller))?;
    let now = Timestamp(app.now().wall.0.div_euclid(1000) * 1000);
    let (texts, keys) = app.read(|read| {
        let site = site.map(|name| find(read, name)).transpose()?;
        let known = |site: &Site| site.reported.as_ref().map(|reported| reported.events);
        let since = since.or_else(|| site.as_ref().and_then(known)).unwrap_or(0);
        let ended = sites::list_ended_since(read, since)?;
        let given = site.map(|site| Given::of(&site, &app.index.directory()));
        let own = ended.into_iter().filter(|(_, uid)| {
            let has = |given: &Given| given.workspaces.contains(uid);
            given.as_ref().is_none_or(has)
        });
        let mut ids: Vec<KeyId> = own.map(|(id, _)| id).collect();
        ids.sort_unstable();
        ids.dedup();
        if ids.is_empty() {
            return Err(Error::Conflict(refusals::packs::none_ended()));
        }
        let parts = ids.len().div_ceil(IDS_MAX);
        if parts > CODES_MAX {
            return Err(Error::Conflict(refusals::packs::too_many_ended(ids.len())));
        }
        let signer = signer(read, &app.sealing)?;
        let events = audit::head(read)?.map_or(0, |head| head.seq.unsigned_abs());
        let code = |(place, ids): (usize, &[KeyId])| {
            let revocations = Revocations {
                server: signer.server.uid,
                reign: signer.server.reign,
                events,
                made: now,
                part: place as u64 + 1,
                parts: parts as u64,
                ids: ids.to_vec(),
            };
            revocations.sign(&signer.key)
        };
        let texts: Vec<String> = ids.chunks(IDS_MAX).enumerate().map(code).collect();
        Ok((texts, ids.len() as u64))
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
    Ok(Codes { texts, keys })
}
