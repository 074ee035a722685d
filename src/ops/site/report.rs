//! Reports: what a site sends to its server, in a file that travels back, or in parts over the link.

use super::unreported::Taken;
use super::{Site, change, content, put_state, require_local, uses};
use crate::authz::caller::Caller;
use crate::domain::audit::Target;
use crate::domain::keys::KeyId;
use crate::domain::locks::lock;
use crate::domain::packs::question::REPORT_BYTES_MAX;
use crate::domain::packs::report::{KeyReport, OLDER_BYTES, Report};
use crate::domain::packs::site_key::SiteKey;
use crate::error::Result;
use crate::ops::{App, maintenance};
use crate::store::site::{EndedKey, Reason, UseRow};
use crate::store::{self, Durability, Read};
use std::collections::{BTreeMap, BTreeSet};

/// The number of keys in one report over the link: with the largest numbers, a question has room for so many.
const KEYS_MAX: usize = 250;
const _: () = assert!(KEYS_MAX * KEY_BYTES + REST_BYTES <= REPORT_BYTES_MAX);
/// The longest line of a key, and everything besides keys.
const KEY_BYTES: usize = 190;
const REST_BYTES: usize = 8 * 1024;

/// Makes the next report: the name of its file, and its content. Only for the administrator of the machine.
pub fn make(app: &App, caller: &Caller) -> Result<(String, String)> {
    require_local(caller)?;
    let site = app.own_site()?;
    maintenance::write_usage(app);
    uses::write_verdicts(app);
    let _turn = lock(&site.turn);
    let mut state = site.state();
    state.reports += 1;
    let stored = state.clone();
    change(
        app,
        caller,
        "site.report",
        Target::server(),
        move |tx, sealing, changes| {
            changes.note_always("number", Some(&stored.reports.to_string()));
            put_state(tx, sealing, &stored)
        },
    )?;
    *lock(&site.state) = state.clone();
    let (ended, spent, uses, codes) = app.read(|read| {
        Ok((
            store::site::list_ended(read)?,
            store::site::list_spent(read)?,
            store::site::list_uses(read)?,
            store::site::list_verdicts(read)?,
        ))
    })?;
    let held = site.held();
    let report = Report {
        origin: state.origin,
        site: state.site.clone(),
        server: state.server,
        life: state.life,
        number: state.reports,
        at: app.now().wall,
        pack: held.map_or(0, |held| held.head().pack),
        reign: state.reign,
        events: state.events,
        codes,
        keys: keys(&ended, &spent, &uses, &content::older_ended(app, None)),
    };
    // A later life of the site begins with number 1 again; its files must not replace those of an earlier one.
    let life = state.life.to_string();
    let name = format!(
        "{}-{}-{:06}.lkreport",
        state.site,
        &life[..8],
        state.reports
    );
    Ok((name, report.write(&SiteKey::of(state.key))))
}

/// A report over the link: only keys whose counts have changed, and at most so many at a time. As all numbers are sums, each
/// part is true alone.
pub struct Batch {
    pub number: u64,
    pub text: String,
    pub taken: Taken,
    /// The verdicts that it has.
    pub codes: Vec<(String, u64)>,
    /// Keys were left for the next one.
    pub has_more: bool,
}

/// The keys that a whole report has.
pub fn keys_with_counts(read: &Read) -> Result<BTreeSet<KeyId>> {
    let ended = store::site::list_ended(read)?;
    let ended = ended.iter().filter(|one| one.reason == Reason::Site);
    let spent = store::site::list_spent(read)?;
    let uses = store::site::list_uses(read)?;
    Ok(ended
        .map(|one| one.key)
        .chain(spent.iter().map(|(id, _)| *id))
        .chain(uses.iter().map(|row| row.key))
        .collect())
}

/// The next report over the link, if there is something new. `taken` is the newest number that the server has taken in, and
/// `codes` are the verdicts that it knows.
pub fn next_batch(
    app: &App,
    site: &Site,
    taken: u64,
    codes: &[(String, u64)],
) -> Result<Option<Batch>> {
    maintenance::write_usage(app);
    uses::write_verdicts(app);
    let now = app.read(store::site::list_verdicts)?;
    let keys = site.unreported.take(KEYS_MAX);
    if keys.keys.is_empty() && now == codes {
        return Ok(None);
    }
    let made = make_batch(app, site, taken, &keys, now);
    if made.is_err() {
        site.unreported.put_back(keys);
    }
    made.map(Some)
}

fn make_batch(
    app: &App,
    site: &Site,
    taken: u64,
    of: &Taken,
    codes: Vec<(String, u64)>,
) -> Result<Batch> {
    let _turn = lock(&site.turn);
    let mut state = site.state();
    // A crash can have lost the last numbers, and the server takes none of them twice.
    state.reports = state.reports.max(taken) + 1;
    let (stored, sealing) = (state.clone(), app.sealing.clone());
    app.store.write(Durability::Relaxed, move |tx| {
        put_state(tx, &sealing, &stored)
    })?;
    *lock(&site.state) = state.clone();
    let (ended, spent, uses) = app.read(|read| rows_of(read, &of.keys))?;
    let older = of
        .keys
        .iter()
        .flat_map(|id| content::older_ended(app, Some(*id)));
    let older: Vec<_> = older.collect();
    let report = Report {
        origin: state.origin,
        site: state.site,
        server: state.server,
        life: state.life,
        number: state.reports,
        at: app.now().wall,
        pack: site.held().map_or(0, |held| held.head().pack),
        reign: state.reign,
        events: site.position().map_or(0, |position| position.events.number),
        codes: codes.clone(),
        keys: keys(&ended, &spent, &uses, &older),
    };
    Ok(Batch {
        number: report.number,
        text: report.write(&SiteKey::of(state.key)),
        taken: of.clone(),
        codes,
        has_more: !site.unreported.is_empty(),
    })
}

/// The rows of some keys.
type Rows = (Vec<EndedKey>, Vec<(KeyId, u64)>, Vec<UseRow>);

fn rows_of(read: &Read, ids: &[KeyId]) -> Result<Rows> {
    let (mut ended, mut spent, mut uses) = Rows::default();
    for id in ids {
        ended.extend(store::site::find_ended(read, *id)?);
        uses.extend(store::site::find_use(read, *id)?);
        match store::site::find_spent(read, *id)? {
            0 => {}
            count => spent.push((*id, count)),
        }
    }
    Ok((ended, spent, uses))
}

/// One line for each key that there is something to report about.
fn keys(
    ended: &[EndedKey],
    spent: &[(KeyId, u64)],
    uses: &[UseRow],
    older: &[(KeyId, [u8; OLDER_BYTES])],
) -> Vec<KeyReport> {
    let mut keys: BTreeMap<KeyId, KeyReport> = BTreeMap::new();
    let blank = |id| KeyReport {
        id,
        uses: 0,
        refusals: 0,
        spent: 0,
        last_used_at: None,
        ended_at: None,
        older_ended: None,
    };
    for row in uses {
        let key = keys.entry(row.key).or_insert_with(|| blank(row.key));
        (key.uses, key.refusals) = (row.uses, row.refusals);
        key.last_used_at = row.last_used_at;
    }
    for (id, count) in spent {
        keys.entry(*id).or_insert_with(|| blank(*id)).spent = *count;
    }
    for one in ended.iter().filter(|one| one.reason == Reason::Site) {
        let key = keys.entry(one.key).or_insert_with(|| blank(one.key));
        key.ended_at = Some(one.at);
    }
    for (id, start) in older {
        keys.entry(*id).or_insert_with(|| blank(*id)).older_ended = Some(*start);
    }
    keys.into_values().collect()
}
