//! Finding at the start what a site has in force, and what is newer in its folder.

use super::apply::{self, Files};
use super::content::{self, Distrusted};
use super::held::{read_pack, restore};
use super::{Site, put_state};
use crate::authz::caller::Caller;
use crate::domain::audit::Kind;
use crate::domain::keys::KeyId;
use crate::domain::locks::read;
use crate::domain::packs::file;
use crate::domain::packs::head::Head;
use crate::domain::packs::rules::Way;
use crate::domain::text::counted;
use crate::domain::time::Timestamp;
use crate::error::Result;
use crate::ops::App;
use crate::store::site::{EndedKey, Reason};
use crate::store::{self, Durability};
use std::path::PathBuf;

/// Puts into the index what is in force according to the state, and then what is newer in the folder: a process that ended between
/// writing a pack and storing its state has left it, or an older copy has replaced the database.
pub fn recover(app: &App, site: &Site, was_older_copy: bool) -> Result<()> {
    end_again(app)?;
    restore(app, site)?;
    let made = was_older_copy.then(|| newest_made(site));
    take_newer(app, site);
    if let Some(made) = made {
        distrust(app, site, made)?;
    }
    site.sweep(&site.state());
    Ok(())
}

/// Ends the keys again that were ended at this site according to the file of tombstones. An older copy of the database does not
/// have them all.
fn end_again(app: &App) -> Result<()> {
    let Some(known) = app.store.tombstones()? else {
        return Ok(());
    };
    let ended = app.read(store::site::list_ended)?;
    let has = |id: KeyId| {
        let mut ended = ended.iter();
        ended.any(|one| one.key == id && one.reason == Reason::Site)
    };
    let mut missing = Vec::new();
    for ((kind, id), fate) in &known.fates {
        let id = KeyId::parse(id).filter(|_| Kind::parse(kind) == Some(Kind::Key));
        if let (Some(key), Some((at, false))) = (id, fate.switched)
            && !has(key)
        {
            let (reason, events) = (Reason::Site, 0);
            missing.push(EndedKey {
                key,
                reason,
                at,
                events,
            });
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    log::warn!(
        "site: {} that was ended here is not in the database any more; it is ended again",
        counted(missing.len() as u64, "key")
    );
    app.store.write(Durability::Full, move |tx| {
        for ended in &missing {
            store::site::end_key(tx, ended)?;
        }
        Ok(())
    })
}

/// Applies what is newer in the folder of the site than its state.
fn take_newer(app: &App, site: &Site) {
    let state = site.state();
    if site.held().is_some() && site.others(&state).is_empty() {
        // What is held was read a moment ago, and can be large.
        return;
    }
    let entries = std::fs::read_dir(&site.folder).into_iter().flatten();
    let mut found = Vec::new();
    for entry in entries.flatten() {
        let bytes = read_pack(&entry.path()).ok();
        let head = bytes.as_deref().and_then(|bytes| file::head_of(bytes).ok());
        found.extend(head.zip(bytes));
    }
    found.sort_by_key(|(head, _)| std::cmp::Reverse((head.reign, head.pack)));
    for (head, bytes) in &found {
        if (head.reign, head.pack) <= (state.reign, state.pack) && site.held().is_some() {
            return;
        }
        let is_base = |other: &&(Head, Vec<u8>)| {
            (other.0.reign, other.0.pack) == (head.reign, head.base) && !head.is_whole()
        };
        let base = found
            .iter()
            .find(is_base)
            .map(|(_, bytes)| bytes.as_slice());
        let held = state.base.is_some_and(|base| base.pack == head.base);
        let files = Files {
            newest: bytes,
            base: base.filter(|_| !held || site.held().is_none()),
        };
        let caller = Caller::system(&app.index.directory());
        match caller.and_then(|caller| apply::take(app, site, &caller, files, Way::File)) {
            Ok(_) => {
                log::warn!(
                    "site: pack {} was found in the folder and is newer than the state; it was applied",
                    head.pack
                );
                return;
            }
            Err(err) => log::warn!("site: pack {} in the folder is not taken: {err}", head.pack),
        }
    }
}

/// When the newest pack in the folder was made, of those that the server has signed for this site.
fn newest_made(site: &Site) -> Timestamp {
    let state = site.state();
    let entries = std::fs::read_dir(&site.folder).into_iter().flatten();
    let made = |path: PathBuf| {
        let bytes = read_pack(&path).ok()?;
        let head = Head::open(file::split(&bytes).ok()?.head, &state.trusted)
            .ok()?
            .head;
        let is_own = (head.server, &head.site) == (state.server, &state.site);
        is_own.then_some(head.made)
    };
    let made = entries.flatten().filter_map(|entry| made(entry.path()));
    made.max().unwrap_or(state.made)
}

/// An older copy has replaced the database, so it is not known which uses were spent since, and which secrets have ended by
/// the first use of a newer one, nor what else has ended here. The site keeps its pack, counts all that was lent as spent, ends
/// all those secrets, takes no pack that was made before now, and gives no verdict until it has one.
///
/// The folder may have a pack that the copy does not know, of the time `made`. The clock may be behind.
fn distrust(app: &App, site: &Site, made: Timestamp) -> Result<()> {
    let mut state = site.state();
    // Heads have whole seconds, and a pack of this second may have been made before now.
    let after_now = app.now().wall.plus_s(1).whole_second();
    state.made = state.made.max(after_now).max(made);
    state.distrusts = true;
    let lent = read(&site.lent).clone();
    let possible = Distrusted {
        lent: lent.into_iter().collect(),
        older: content::until_first_use(app),
    };
    let (sealing, stored) = (app.sealing.clone(), state.clone());
    app.store.write(Durability::Full, move |tx| {
        possible.store(tx)?;
        put_state(tx, &sealing, &stored)
    })?;
    log::warn!(
        "site: an older copy has replaced the database; uses that the server has lent count as spent, and every verdict is refused \
         until a pack is applied that was made at {} or later",
        state.made
    );
    restore(app, site)
}
