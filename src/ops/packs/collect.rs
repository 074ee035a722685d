//! Taking in what sites report.

use super::{find, record, require, require_sound, sites::site_key};
use crate::authz::caller::Caller;
use crate::domain::audit::{Changes, Target};
use crate::domain::keys::seal_key::SealKeys;
use crate::domain::packs::report::{KeyReport, Report};
use crate::domain::packs::site::{Reported, Site};
use crate::error::{Error, Result};
use crate::ops::App;
use crate::refusals;
use crate::store::sites::{self, Lent, LentRow};
use crate::store::usage::{self, UsageDelta};
use crate::store::{Write, packs};

const REPORT: &str = "site.report";
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
    let (site, server) = app.read(|read| Ok((find(read, name)?, packs::find_server(read)?)))?;
    app.read(|read| require_sound(app, read, &site))?;
    let report = Report::open(text, &site_key(app, &site)?).map_err(refused)?;
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
    let is_new = app.change(caller, REPORT, Target::server(), move |tx, _| {
        let site = find(tx, &taken.site)?;
        if !is_newer(&taken, site.reported.as_ref()) {
            return Ok((None, false));
        }
        take(tx, &seal_keys, &taken, &site)?;
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
        Ok((Some(record(&taken.site, changes)), true))
    })?;
    Ok(collected(is_new))
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

fn take(tx: &Write<'_>, seal_keys: &SealKeys, report: &Report, site: &Site) -> Result<()> {
    let known = site.reported.as_ref();
    if known.is_some_and(|known| known.life != report.life) {
        sites::forget_usage(tx, &report.site)?;
    }
    match site.lent_life {
        // The first life of which the server learns is that to which it has lent until now.
        None => sites::name_life(tx, seal_keys, &report.site, report.life)?,
        Some(_) => drop(sites::lend_to(tx, &report.site, report.life)?),
    }
    for key in &report.keys {
        take_key(tx, seal_keys, report, key)?;
    }
    sites::put_report(tx, report)
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
    usage::add_usage(tx, &delta)?;
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
