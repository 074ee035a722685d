//! Lending uses of counted keys: what a site may spend is taken off the stored number before the site learns of it.

use super::given::Given;
use super::{EDIT, find, record};
use crate::domain::audit::{Changes, Event, Kind, Target};
use crate::domain::keys::KeyId;
use crate::domain::keys::quota::USES_MAX;
use crate::domain::keys::seal_key::SealKeys;
use crate::domain::locks::lock;
use crate::domain::packs::site::Site;
use crate::domain::time::Timestamp;
use crate::domain::uid::Uid;
use crate::error::Result;
use crate::index::Index;
use crate::ops::{App, append_all};
use crate::store::seals::keys::RemainingUses;
use crate::store::sites::{self, Lent, LentRow};
use crate::store::{Durability, Write, seals, uses};
use std::sync::Arc;

/// The number of keys of which one transaction lends uses.
const BATCH: usize = 200;

/// Gives each site as many uses of its counted keys as it lacks to have [`Site::lend`] of each.
pub fn lend(app: &App, wanted: &[(Site, Given)]) -> Result<()> {
    let counted = app.read(sites::list_counted)?;
    for (site, given) in wanted.iter().filter(|(site, _)| site.lend > 0) {
        let lent = app.read(|read| sites::list_lent(read, &app.seal_keys, &site.name))?;
        let lacks = |id: KeyId| match lent.get(&id) {
            None => true,
            Some(LentRow::Altered) => false,
            Some(LentRow::Sound(known)) => known.lent.saturating_sub(known.spent) < site.lend,
        };
        let own = counted
            .iter()
            .filter(|key| given.has(key.workspace, key.catalog.as_deref()) && lacks(key.id));
        let ids: Vec<KeyId> = own.map(|key| key.id).collect();
        for batch in ids.chunks(BATCH) {
            let (batch, name, most) = (batch.to_vec(), site.name.clone(), site.lend);
            let (index, seal_keys) = (app.index.clone(), app.seal_keys.clone());
            app.store.write(Durability::Full, move |tx| {
                batch
                    .into_iter()
                    .try_for_each(|id| lend_one(tx, &index, &seal_keys, &name, id, most))
            })?;
        }
    }
    Ok(())
}

/// Lends uses to another life of a site from now on: its state began again. What the life before was lent counts as spent.
pub fn lend_to_life(app: &App, site: &str, life: Uid) -> Result<()> {
    let (seal_keys, name, now) = (app.seal_keys.clone(), site.to_owned(), app.now().wall);
    app.store.write(Durability::Full, move |tx| {
        let before = find(tx, &name)?.lent_life;
        if !sites::lend_to(tx, &name, life)? {
            return Ok(());
        }
        let mut changes = Changes::default();
        changes.note_option("life", &before, &Some(life));
        let draft = Event::of_system(EDIT, Target::server(), now);
        append_all(tx, &seal_keys, &draft, vec![(EDIT, record(&name, changes))])
    })
}

/// Names the life to which the uses of an enrolment are lent: the first one that asks over the link. What was lent stays lent. Of several
/// machines that were made of one enrolment file, each has a first life, so from here on none of the others has these uses. Does nothing
/// if a life is named already, or if this is no first one.
pub fn name_first_life(
    tx: &Write<'_>,
    seal_keys: &SealKeys,
    site: &Site,
    (life, is_first): (Uid, bool),
    now: Timestamp,
) -> Result<()> {
    if site.lent_life.is_some() || !is_first {
        return Ok(());
    }
    sites::name_life(tx, seal_keys, &site.name, life)?;
    let mut changes = Changes::default();
    changes.note_option("life", &None, &Some(life));
    let draft = Event::of_system(EDIT, Target::server(), now);
    append_all(
        tx,
        seal_keys,
        &draft,
        vec![(EDIT, record(&site.name, changes))],
    )
}

/// What becomes of the uses that a site was lent and has not reported as spent, when it is removed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Unspent {
    /// They may have been spent since the last report, or were taken from a number that an edit has replaced since, so they stay
    /// spent.
    pub kept: u64,
    pub returned: u64,
}

/// Gives the keys back what a site has not reported as spent, or counts it. What a changed row has counts as spent.
pub fn take_back(
    tx: &Write<'_>,
    index: &Arc<Index>,
    seal_keys: &SealKeys,
    site: &str,
    returns: bool,
) -> Result<Unspent> {
    let mut unspent = Unspent::default();
    for (id, row) in sites::list_lent(tx, seal_keys, site)? {
        let LentRow::Sound(lent) = row else {
            continue;
        };
        let left = lent.lent.saturating_sub(lent.spent);
        let counted = match seals::keys::find_uses(tx, seal_keys, id)? {
            RemainingUses::Counted(counted) if returns && counted.epoch == lent.epoch => counted,
            _ => {
                unspent.kept += left;
                continue;
            }
        };
        let back = left.min(USES_MAX.saturating_sub(counted.left));
        match uses::give_back(tx, seal_keys, id, counted.epoch, back)? {
            Some(stored) => {
                unspent.returned += back;
                follow(tx, index, id, counted.epoch, stored);
            }
            // Another process has set the number at this moment.
            None => unspent.kept += left,
        }
    }
    Ok(unspent)
}

/// Lets the counters of a key follow the stored number, when the transaction is committed.
fn follow(tx: &Write<'_>, index: &Index, id: KeyId, epoch: u64, stored: u64) {
    if let Some(counters) = index.counters(id) {
        tx.after_commit(move || {
            if let Some(uses) = &mut lock(&counters).uses {
                uses.follow(epoch, stored, 0);
            }
        });
    }
}

/// Gives a site as many uses of these keys as it lacks. Returns the keys of which it got some.
pub fn lend_some(app: &App, site: &Site, given: &Given, ids: &[KeyId]) -> Result<Vec<KeyId>> {
    if site.lend == 0 {
        return Ok(Vec::new());
    }
    let is_given = |id: &&KeyId| app.index.with_key(**id, |key| given.has_key(key)) == Some(true);
    let ids: Vec<KeyId> = ids.iter().filter(is_given).copied().collect();
    let mut got = Vec::new();
    for batch in ids.chunks(BATCH) {
        let (batch, name, most) = (batch.to_vec(), site.name.clone(), site.lend);
        let (index, seal_keys) = (app.index.clone(), app.seal_keys.clone());
        got.extend(app.store.write(Durability::Full, move |tx| {
            let mut got = Vec::new();
            for id in batch {
                let before = sites::find_lent(tx, &seal_keys, &name, id)?;
                lend_one(tx, &index, &seal_keys, &name, id, most)?;
                if sites::find_lent(tx, &seal_keys, &name, id)? != before {
                    got.push(id);
                }
            }
            Ok(got)
        })?);
    }
    Ok(got)
}

fn lend_one(
    tx: &Write<'_>,
    index: &Arc<Index>,
    seal_keys: &SealKeys,
    site: &str,
    id: KeyId,
    most: u64,
) -> Result<()> {
    let counted = match seals::keys::find_uses(tx, seal_keys, id)? {
        RemainingUses::Counted(counted) => counted,
        RemainingUses::Unlimited | RemainingUses::Broken => {
            // The end of the transaction compares the key with its seal, and closes it.
            tx.touch_lightly(Target::new(Kind::Key, id));
            return Ok(());
        }
    };
    let LentRow::Sound(known) = sites::find_lent(tx, seal_keys, site, id)? else {
        return Ok(());
    };
    let left = known.lent.saturating_sub(known.spent);
    let taken = most.saturating_sub(left).min(counted.left);
    if taken == 0 {
        return Ok(());
    }
    // If another process has just taken them, the site gets some the next time.
    let Some(stored) = uses::take(tx, seal_keys, id, counted.epoch, taken)? else {
        return Ok(());
    };
    // As long as something is left of an earlier number, the row cannot distinguish it from what is added.
    let lent = Lent {
        lent: known.lent.saturating_add(taken),
        epoch: if left == 0 {
            counted.epoch
        } else {
            known.epoch
        },
        ..known
    };
    sites::put_lent(tx, seal_keys, site, id, lent)?;
    follow(tx, index, id, counted.epoch, stored);
    Ok(())
}
