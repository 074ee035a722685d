//! Finding at the start what a site has in force, and what is newer in its folder.

use super::apply::{self, Files};
use super::held::{read_pack, restore};
use super::{Site, content, put_state};
use crate::authz::caller::Caller;
use crate::domain::locks::read;
use crate::domain::packs::file;
use crate::domain::packs::head::Head;
use crate::domain::packs::rules::Way;
use crate::error::Result;
use crate::ops::App;
use crate::store::{self, Durability};

/// Puts into the index what is in force according to the state, and then what is newer in the folder: a process that ended between
/// writing a pack and storing its state has left it, or an older copy has replaced the database.
pub fn recover(app: &App, site: &Site, was_older_copy: bool) -> Result<()> {
    restore(app, site)?;
    take_newer(app, site);
    if was_older_copy {
        distrust(app, site)?;
    }
    site.sweep(&site.state());
    Ok(())
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
        let directory = app.index.directory();
        let caller = Caller::system(&directory);
        drop(directory);
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

/// An older copy has replaced the database, so it is not known which uses were spent since, and which secrets have ended by
/// the first use of a newer one, nor what else has ended here. The site keeps its pack, counts all that was lent as spent, ends
/// all those secrets, takes no pack that was made before now, and gives no verdict until it has one.
fn distrust(app: &App, site: &Site) -> Result<()> {
    let mut state = site.state();
    state.made = state.made.max(app.now().wall);
    state.distrusts = true;
    let lent: Vec<_> = read(&site.lent)
        .iter()
        .map(|(key, lent)| (*key, *lent))
        .collect();
    let older = content::until_first_use(app);
    let (sealing, stored) = (app.sealing.clone(), state.clone());
    app.store.write(Durability::Full, move |tx| {
        for (key, lent) in &lent {
            store::site::set_spent(tx, *key, *lent)?;
        }
        for (key, digest) in &older {
            store::site::end_digest(tx, digest, *key, true)?;
        }
        put_state(tx, &sealing, &stored)
    })?;
    log::warn!(
        "site: an older copy has replaced the database; uses that the server has lent count as spent, and every verdict is refused \
         until a pack is applied that was made after {}",
        state.made
    );
    restore(app, site)
}
