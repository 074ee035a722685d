//! Taking in what sites report.

use super::{EDIT, find, record, require, require_sound, sites::site_key};
use crate::authz::caller::Caller;
use crate::domain::audit::{Changes, Event, Kind, Target};
use crate::domain::keys::KeyId;
use crate::domain::keys::seal_key::SealKeys;
use crate::domain::packs::report::{KeyReport, Report};
use crate::domain::packs::site::{Reported, Site};
use crate::domain::packs::site_key::SiteKey;
use crate::domain::time::Timestamp;
use crate::domain::uid::Uid;
use crate::error::{Error, Result};
use crate::ops::{App, Record, append_all};
use crate::refusals;
use crate::store::keys::SecretRow;
use crate::store::packs::Server;
use crate::store::sites::{self, Lent, LentRow};
use crate::store::usage::{self, UsageDelta};
use crate::store::{Durability, Write, keys, packs};

const REPORT: &str = "site.report";
const COMPLETE: &str = "key.rotation_complete";
/// The code of good uses.
const VALID: &str = "VALID";

/// What became of a report.
#[derive(Clone, Debug)]
pub struct Collected {
    pub site: String,
    pub number: u64,
    /// Whether it has more than what was known. An older one, or one that was taken in before, changes nothing.
    pub is_new: bool,
    /// The pack in force at the site.
    pub applied: u64,
    /// The keys that it is about.
    pub keys: u64,
}

/// Takes a report in. The same report again changes nothing.
///
/// # Errors
/// `NotFound` for an unknown site. `Malformed` if the report was not made with the key of its site.
pub fn collect(app: &App, caller: &Caller, text: &str) -> Result<Collected> {
    app.decided(caller, REPORT, Target::server(), require(app, caller))?;
    let refused = Error::Malformed;
    let name = Report::site_of(text).ok_or_else(|| refused(refusals::packs::no_report()))?;
    let (site, server) = app.read(|read| {
        let site = find(read, name)?;
        require_sound(app, read, &site)?;
        Ok((site, packs::find_server(read)?))
    })?;
    let key = site_key(app, &site)?;
    let report = Report::open(text, &key).map_err(refused)?;
    let is_ours = server.is_some_and(|server| server.uid == report.server);
    if !is_ours || report.site != site.name {
        return Err(refused(refusals::packs::strange_report()));
    }
    let collected = |is_new| Collected {
        site: report.site.clone(),
        number: report.number,
        is_new,
        applied: report.pack,
        keys: report.keys.len() as u64,
    };
    let (taken, seal_keys) = (report.clone(), app.seal_keys.clone());
    let is_first = key.is_first(taken.life);
    let is_new = app.change_all(caller, REPORT, Target::server(), move |tx, now| {
        let site = find(tx, &taken.site)?;
        if !is_newer(&taken, site.reported.as_ref()) {
            return Ok((Vec::new(), false));
        }
        let named = settle_life(tx, &seal_keys, &taken, &site, is_first)?;
        let ended = take(tx, &seal_keys, &taken, &site, now)?;
        let mut changes = Changes::default();
        let before = site.reported.as_ref();
        changes.note(
            "report",
            &before.map_or(0, |known| known.number),
            &taken.number,
        );
        changes.note(
            "applied",
            &before.map_or(0, |known| known.applied),
            &taken.pack,
        );
        let mut records = vec![(REPORT, record(&taken.site, changes))];
        records.extend(named.into_iter().map(|record| (EDIT, record)));
        records.extend(ended.into_iter().map(|record| (COMPLETE, record)));
        Ok((records, true))
    })?;
    Ok(collected(is_new))
}

/// What a report in a question brought.
#[derive(Clone, Debug)]
pub struct LinkedReport {
    pub life: Uid,
    /// The number of the newest report of this life, which may be another one.
    pub number: u64,
    /// Counted keys of which the site has spent more.
    pub spent: Vec<KeyId>,
}

/// Takes in the report in a question, which may have only some of the keys. There are many such reports, so most have no event. One
/// is written for what a report ends here, for a key that the site proposes to end, and for the first report of each life.
///
/// # Errors
/// `Malformed` if the report was not made with the key of the site.
pub fn take_linked(
    app: &App,
    site: &Site,
    server: &Server,
    key: &SiteKey,
    text: &str,
) -> Result<LinkedReport> {
    let report = Report::open(text, key).map_err(Error::Malformed)?;
    if server.uid != report.server || report.site != site.name {
        return Err(Error::Malformed(refusals::packs::strange_report()));
    }
    let (seal_keys, now, life) = (app.seal_keys.clone(), app.now().wall, report.life);
    let is_first = key.is_first(life);
    let (number, spent) = app.store.write(Durability::Full, move |tx| {
        let site = find(tx, &report.site)?;
        let known = site.reported.as_ref();
        if !is_newer(&report, known) {
            // A report of a former life has no number that the site would look for.
            let number = known.filter(|known| known.life == report.life);
            return Ok((number.map_or(0, |known| known.number), Vec::new()));
        }
        let proposed = proposals(tx, &report)?;
        let lent = |report: &Report| {
            let ids = report.keys.iter().map(|key| key.id);
            let found = ids.map(|id| Ok((id, sites::find_lent(tx, &seal_keys, &site.name, id)?)));
            found.collect::<Result<Vec<(KeyId, LentRow)>>>()
        };
        let before = lent(&report)?;
        let is_first_of_life = known.is_none_or(|known| known.life != report.life);
        let named = settle_life(tx, &seal_keys, &report, &site, is_first)?;
        let ended = take(tx, &seal_keys, &report, &site, now)?;
        let mut records: Vec<(&str, Record)> =
            ended.into_iter().map(|record| (COMPLETE, record)).collect();
        records.extend(named.into_iter().map(|record| (EDIT, record)));
        if proposed > 0 || is_first_of_life {
            let mut changes = Changes::default();
            changes.note(
                "report",
                &known.map_or(0, |known| known.number),
                &report.number,
            );
            changes.note("proposed", &0, &proposed);
            records.push((REPORT, record(&report.site, changes)));
        }
        let draft = Event::of_system(REPORT, Target::server(), now);
        append_all(tx, &seal_keys, &draft, records)?;
        let after = lent(&report)?;
        let both = before.into_iter().zip(after);
        let spent = both.filter(|(before, after)| before != after);
        let spent = spent.map(|(_, (id, _))| id).collect();
        Ok((report.number, spent))
    })?;
    Ok(LinkedReport {
        life,
        number,
        spent,
    })
}

/// The number of keys that a report proposes to end, and that no report proposed before.
fn proposals(tx: &Write<'_>, report: &Report) -> Result<u64> {
    let mut known = sites::list_ended(tx, &report.site)?;
    known.sort_unstable_by_key(|one| one.id);
    let is_known = |id: &KeyId| known.binary_search_by_key(id, |one| one.id).is_ok();
    let proposed = report.keys.iter().filter(|key| key.ended_at.is_some());
    let mut count = 0;
    for key in proposed.filter(|key| !is_known(&key.id)) {
        let live = keys::find(tx, key.id)?;
        count += u64::from(live.is_some_and(|key| key.enabled && key.deleted_at.is_none()));
    }
    Ok(count)
}

/// Whether a report has more than the one before. A site whose state has begun again counts from zero, so its first reports
/// have small numbers; only a later time distinguishes them from old ones.
fn is_newer(report: &Report, known: Option<&Reported>) -> bool {
    match known {
        None => true,
        Some(known) if known.life == report.life => report.number > known.number,
        Some(known) => report.at > known.at,
    }
}

/// Lends uses to the life of a report from now on. The first life of an enrolment has what was lent to that; any other one has nothing
/// of it, and needs a pack that names it, so its record is that of an edit.
fn settle_life(
    tx: &Write<'_>,
    seal_keys: &SealKeys,
    report: &Report,
    site: &Site,
    is_first: bool,
) -> Result<Option<Record>> {
    if site.lent_life.is_none() && is_first {
        sites::name_life(tx, seal_keys, &report.site, report.life)?;
        return Ok(None);
    }
    if !sites::lend_to(tx, &report.site, report.life)? {
        return Ok(None);
    }
    let mut changes = Changes::default();
    changes.note_option("life", &site.lent_life, &Some(report.life));
    Ok(Some(record(&report.site, changes)))
}

/// Takes all of a report in. Returns the rotations that it has completed.
fn take(
    tx: &Write<'_>,
    seal_keys: &SealKeys,
    report: &Report,
    site: &Site,
    now: Timestamp,
) -> Result<Vec<Record>> {
    let known = site.reported.as_ref();
    if known.is_some_and(|known| known.life != report.life) {
        sites::forget_usage(tx, &report.site)?;
    }
    let mut ended = Vec::new();
    for key in &report.keys {
        take_key(tx, seal_keys, report, key)?;
        ended.extend(end_older(tx, key, now)?);
    }
    sites::put_report(tx, report)?;
    Ok(ended)
}

/// Ends the secret before the newest, if the first use of the newest at the site has ended it there.
fn end_older(tx: &Write<'_>, report: &KeyReport, now: Timestamp) -> Result<Option<Record>> {
    let Some(start) = report.older_ended else {
        return Ok(None);
    };
    let ends = |row: &SecretRow| {
        row.until_first_use && row.expires_at.is_some() && row.secret.digest.0.starts_with(&start)
    };
    let Some(key) = keys::find(tx, report.id)?.filter(|key| key.deleted_at.is_none()) else {
        return Ok(None);
    };
    if !keys::list_secrets(tx, key.id)?.iter().any(ends) {
        return Ok(None);
    }
    let changed = keys::delete_older_secret(tx, key.id, true, now)?;
    Ok(changed.then(|| Record {
        target: Target::new(Kind::Key, key.id),
        workspace: Some(key.workspace),
        changes: Changes::default(),
    }))
}

/// Adds what is more than in the report before.
fn take_key(tx: &Write<'_>, seal_keys: &SealKeys, report: &Report, key: &KeyReport) -> Result<()> {
    let (uses, _) = sites::find_usage(tx, &report.site, key.id)?;
    if !sites::put_usage(tx, &report.site, key)? {
        return Ok(());
    }
    let more = key.uses.saturating_sub(uses);
    let recorded = usage::find_usage(tx, key.id)?.last_used_at;
    let at = key.last_used_at.map(|at| at.min(report.at));
    let delta = UsageDelta {
        key: key.id,
        is_management: false,
        uses: more,
        last_used: at.filter(|at| recorded < Some(*at)).map(|at| (at, None)),
        previous_used: None,
        networks: Vec::new(),
        verdicts: match (more, at) {
            (1.., Some(at)) => vec![(at.hour(), VALID, more)],
            _ => Vec::new(),
        },
    };
    usage::add_usage(tx, std::slice::from_ref(&delta))?;
    usage::add_totals(tx, std::slice::from_ref(&delta))?;
    let LentRow::Sound(lent) = sites::find_lent(tx, seal_keys, &report.site, key.id)? else {
        return Ok(());
    };
    // A site never spends more than it was lent, and what was spent stays spent.
    let spent = key.spent.min(lent.lent).max(lent.spent);
    match lent.spent == spent {
        true => Ok(()),
        false => sites::put_lent(tx, seal_keys, &report.site, key.id, Lent { spent, ..lent }),
    }
}
