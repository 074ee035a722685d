//! What a site ends itself: keys that its operator disables, and the older secret of a rotation at the first use of the newer
//! one. Both lie above every pack and travel back in reports; nothing here can enable or widen.

use super::{change, content, require_local};
use crate::authz::caller::Caller;
use crate::domain::audit::{Changes, Event, Target};
use crate::domain::keys::KeyId;
use crate::domain::locks::lock;
use crate::domain::packs::site::DISABLE;
use crate::error::{Error, Result};
use crate::ops::App;
use crate::refusals;
use crate::store::site::{EndedKey, Reason};
use crate::store::{self, Durability, audit};

/// Disables a key here for good; `false` if it had ended here already. Only for the administrator of the machine.
pub fn disable(app: &App, caller: &Caller, id: KeyId) -> Result<bool> {
    require_local(caller)?;
    let site = app.own_site()?;
    let _turn = lock(&site.turn);
    if app.index.with_key(id, |_| ()).is_none() {
        return Err(Error::Conflict(refusals::site::no_key(id)));
    }
    let now = app.now().wall;
    let ended = EndedKey {
        key: id,
        reason: Reason::Site,
        at: now,
        events: 0,
    };
    let is_new = change(
        app,
        caller,
        DISABLE,
        Target::server(),
        move |tx, _, changes| {
            changes.note_always("key", Some(&id.to_string()));
            store::site::end_key(tx, &ended)
        },
    )?;
    content::end_in_index(app, &[id]);
    site.unreported.note_urgent(id);
    Ok(is_new)
}

/// Ends the older secret of a rotation. It stays ended, also if a later pack has it.
pub fn retire_older(app: &App, id: KeyId) -> Result<()> {
    let older = app.index.with_key(id, |key| {
        let older = key.optional.as_ref()?.older.as_ref()?;
        Some(older.secret.digest.0)
    });
    let Some(digest) = older.flatten() else {
        return Ok(());
    };
    let (seal_keys, now) = (app.seal_keys.clone(), app.now().wall);
    app.store.write(Durability::Full, move |tx| {
        store::site::end_digest(tx, &digest, id, true)?;
        let mut changes = Changes::default();
        changes.note_always("key", Some(&id.to_string()));
        let event = Event {
            changes: changes.into_json(),
            ..Event::of_system("site.rotation_complete", Target::server(), now)
        };
        audit::append(tx, &seal_keys, event)
    })?;
    // Another pack may have come meanwhile, with another older secret.
    content::end_older_in_index(app, id, &digest);
    if let Some(site) = &app.site {
        site.forget_ended_starts();
        site.unreported.note_urgent(id);
    }
    Ok(())
}
