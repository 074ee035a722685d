//! Revocations that reach a site as a text, such as that of a QR code: keys and secrets that open nothing any more, before a pack has
//! it.

use super::{REVOKE, change, content, require_local};
use crate::authz::caller::Caller;
use crate::domain::audit::Target;
use crate::domain::keys::KeyId;
use crate::domain::keys::live::Live;
use crate::domain::locks::lock;
use crate::domain::packs::revocations::{EndedSecret, Revocations};
use crate::domain::packs::state::Fork;
use crate::error::{Error, Result};
use crate::ops::App;
use crate::refusals;
use crate::store;
use crate::store::site::{EndedKey, Reason};

/// What a list of revocations has changed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Revoked {
    /// The keys and the secrets of the list.
    pub listed: usize,
    /// Those that could still be used here.
    pub ended: usize,
    /// What the site has is as new as the list, so nothing was changed. What the list names may work again since.
    pub is_superseded: bool,
    pub part: u64,
    pub parts: u64,
}

/// Ends the keys and the secrets of a signed text, which can come in any order and any number of times. Only for the administrator of the
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
    if list.reign < state.reign {
        return Err(Error::Conflict(refusals::site::revocations_of_reign()));
    }
    let ended: Vec<KeyId> = list
        .ids
        .iter()
        .copied()
        .filter(|id| app.index.with_key(*id, |key| key.enabled) == Some(true))
        .collect();
    let lives = |secret: &&EndedSecret| {
        let is_it = |key: &Live| content::has_live_secret(key, secret);
        app.index.with_key(secret.key, is_it) == Some(true)
    };
    let secrets_ended = list.secrets.iter().filter(lives).count();
    let revoked = Revoked {
        listed: list.ids.len() + list.secrets.len(),
        ended: ended.len() + secrets_ended,
        is_superseded: false,
        part: list.part,
        parts: list.parts,
    };
    // After a restore the events of the server have other numbers, so that they tell nothing about what the site has.
    let is_other_history = list.reign > state.reign || state.fork != Fork::None;
    // A pack that is as new as the list has all of it.
    if list.events <= state.events && state.pack > 0 && !is_other_history {
        return Ok(Revoked {
            ended: 0,
            is_superseded: true,
            ..revoked
        });
    }
    let (ids, secrets) = (list.ids.clone(), list.secrets.clone());
    let (events, now) = (list.events, app.now().wall);
    let reason = match is_other_history {
        false => Reason::Revoked,
        // The numbers of events of the next pack are not those of this list.
        true => Reason::Fork,
    };
    change(
        app,
        caller,
        REVOKE,
        Target::server(),
        move |tx, _, changes| {
            changes.note_always("keys", Some(&ids.len().to_string()));
            changes.note_always("secrets", Some(&secrets.len().to_string()));
            for key in &ids {
                let ended = EndedKey {
                    key: *key,
                    reason,
                    at: now,
                    events,
                };
                store::site::end_key(tx, &ended)?;
            }
            for secret in &secrets {
                store::site::end_secret(tx, secret, events)?;
            }
            match reason {
                Reason::Fork => store::site::keep_revoked(tx),
                Reason::Revoked | Reason::Site => Ok(()),
            }
        },
    )?;
    content::end_in_index(app, &list.ids);
    content::end_secrets_in_index(app, &list.secrets);
    Ok(revoked)
}
