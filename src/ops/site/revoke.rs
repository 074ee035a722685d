//! Revocations that reach a site as a text, such as that of a QR code: keys that open nothing any more, before a pack has it.

use super::{change, content, require_local};
use crate::authz::caller::Caller;
use crate::domain::audit::Target;
use crate::domain::keys::KeyId;
use crate::domain::locks::lock;
use crate::domain::packs::revocations::Revocations;
use crate::domain::packs::state::Fork;
use crate::error::{Error, Result};
use crate::ops::App;
use crate::refusals;
use crate::store;
use crate::store::site::{EndedKey, Reason};

/// What a list of revocations has changed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Revoked {
    /// The keys of the list.
    pub listed: usize,
    /// Those that could still be used here.
    pub ended: usize,
    pub part: u64,
    pub parts: u64,
}

/// Ends the keys of a signed text, which can come in any order and any number of times. Only for the administrator of the
/// machine.
pub fn apply(app: &App, caller: &Caller, text: &str) -> Result<Revoked> {
    require_local(caller)?;
    let site = app.own_site()?;
    let _turn = lock(&site.turn);
    let state = site.state();
    let list = Revocations::open(text, &state.trusted).map_err(Error::Conflict)?;
    if list.server != state.server {
        return Err(Error::Conflict(refusals::site::other_server(list.server)));
    }
    if list.reign != state.reign {
        return Err(Error::Conflict(refusals::site::revocations_of_reign()));
    }
    let ended: Vec<KeyId> = list
        .ids
        .iter()
        .copied()
        .filter(|id| app.index.with_key(*id, |key| key.enabled) == Some(true))
        .collect();
    let revoked = Revoked {
        listed: list.ids.len(),
        ended: ended.len(),
        part: list.part,
        parts: list.parts,
    };
    // A pack that is as new as the list has all of it.
    if list.events <= state.events && state.pack > 0 {
        return Ok(Revoked {
            ended: 0,
            ..revoked
        });
    }
    let (ids, events, now) = (list.ids.clone(), list.events, app.now().wall);
    let reason = match state.fork {
        Fork::None => Reason::Revoked,
        // The numbers of events of the next pack are not those of this list.
        Fork::Seen | Fork::Accepted => Reason::Fork,
    };
    change(
        app,
        caller,
        "site.revoke",
        Target::server(),
        move |tx, _, changes| {
            changes.note_always("keys", Some(&ids.len().to_string()));
            for key in &ids {
                let ended = EndedKey {
                    key: *key,
                    reason,
                    at: now,
                    events,
                };
                store::site::end_key(tx, &ended)?;
            }
            Ok(())
        },
    )?;
    content::end_in_index(app, &list.ids);
    Ok(revoked)
}
