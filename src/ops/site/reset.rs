//! What the administrator of a site decides when the rules refuse what its server signs: that the state of the server is the right
//! one although it does not follow what the site knows, that the date of the newest pack was wrong, or that the server has
//! another key. None of it gives anything back that has ended.

use super::{Site, change, content, put_state, require_local};
use crate::authz::caller::Caller;
use crate::domain::audit::{Changes, Target};
use crate::domain::locks::lock;
use crate::domain::packs::head::key_name;
use crate::domain::packs::note::PublicKey;
use crate::domain::packs::state::{Fork, State};
use crate::error::{Error, Result};
use crate::ops::App;
use crate::ops::clock::accept::{self, Request};
use crate::refusals;
use crate::store::site::{self, EndedKey, Reason};

/// Accepts that the server does not continue from what this site knows: its next pack is taken with any numbers. What this site
/// knows to have ended stays ended.
pub fn accept_fork(app: &App, caller: &Caller) -> Result<()> {
    require_local(caller)?;
    let own = app.own_site()?;
    let _turn = lock(&own.turn);
    let mut state = own.state();
    if state.fork == Fork::None {
        return Err(Error::Conflict(refusals::site::no_fork()));
    }
    state.fork = Fork::Accepted;
    let now = app.now().wall;
    let over = content::over(app, now);
    let stored = state.clone();
    let work = move |tx: &crate::store::Write<'_>, sealing: &_, changes: &mut Changes| {
        changes.note_always("pack", Some(&stored.pack.to_string()));
        site::keep_digests_ended(tx)?;
        site::keep_revoked(tx)?;
        for key in &over {
            let ended = EndedKey {
                key: *key,
                reason: Reason::Fork,
                at: now,
                events: 0,
            };
            site::end_key(tx, &ended)?;
        }
        put_state(tx, sealing, &stored)
    };
    change(app, caller, "site.reset", Target::server(), work)?;
    *lock(&own.state) = state;
    own.link.wake();
    Ok(())
}

/// Accepts that the newest pack was made under a date that was wrong: the next one is taken although it was made earlier. It still has
/// to be newer by its number, and to continue the history of the server, so nothing that has ended comes back. Until then every verdict
/// is refused, because by a wrong date the age of a pack is not known. The recorded time goes back to the date of this machine.
///
/// # Errors
/// `Conflict` if the newest pack was not made after the date of this machine, or if that date is not plausible.
pub fn accept_date(app: &App, caller: &Caller) -> Result<()> {
    require_local(caller)?;
    let own = app.own_site()?;
    let _turn = lock(&own.turn);
    let mut state = own.state();
    let date = app.clock.reading().wall;
    if state.made <= date {
        return Err(Error::Conflict(refusals::site::no_wrong_date(
            state.made, date,
        )));
    }
    let request = Request {
        dry_run: false,
        implausible: false,
    };
    accept::accept(app, caller, request)?;
    state.is_date_open = true;
    let stored = state.clone();
    let work = move |tx: &crate::store::Write<'_>, sealing: &_, changes: &mut Changes| {
        changes.note_always("made", Some(&stored.made.to_string()));
        put_state(tx, sealing, &stored)
    };
    change(app, caller, "site.reset_date", Target::server(), work)?;
    set(own, state);
    Ok(())
}

/// Trusts another key that signs packs, besides those before. The server signs with it although none of these has introduced it: its
/// backup was older than the key that this site trusts. The next pack or word shows whether the server continues what this site knows.
///
/// # Errors
/// `Invalid` if it is not a key of this site's server. `Conflict` if the site trusts it already.
pub fn trust_key(app: &App, caller: &Caller, text: &str) -> Result<()> {
    require_local(caller)?;
    let own = app.own_site()?;
    let _turn = lock(&own.turn);
    let mut state = own.state();
    let key = PublicKey::parse(text).filter(|key| key.name == key_name(&state.origin));
    let strange = || Error::invalid("key", refusals::site::no_signing_key(&state.origin));
    let key = key.ok_or_else(strange)?;
    if state.trusted.contains(&key) {
        return Err(Error::Conflict(refusals::site::trusted(key.to_text())));
    }
    state.trusted.push(key);
    let (stored, shown) = (state.clone(), text.to_owned());
    let work = move |tx: &crate::store::Write<'_>, sealing: &_, changes: &mut Changes| {
        changes.note_always("public_key", Some(&shown));
        put_state(tx, sealing, &stored)
    };
    change(app, caller, "site.trust_key", Target::server(), work)?;
    *lock(&own.state) = state;
    own.link.wake();
    Ok(())
}

/// From now on there are no verdicts.
fn set(own: &Site, state: State) {
    *lock(&own.state) = state;
    own.fresh.clear(None);
}
