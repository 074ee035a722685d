//! The check of sites: whether their packs still count, and whether they have heard of what ended.

use super::finding::{Check, NAMED_MAX};
use crate::domain::packs::standing::Unconfirmed;
use crate::domain::time::{HOUR_MS, Timestamp};
use crate::error::Result;
use crate::ops::App;
use crate::ops::packs::far::{FarSite, LEADS_MAX, far_sites};
use crate::ops::packs::kept_keys;
use crate::ops::packs::sites::{LinkView, SiteView, all};
use crate::refusals::findings;
use crate::store::packs;

const DAY_MS: i64 = 24 * HOUR_MS;

/// Whether a site that asked within the last day asks no more. One that asked before has been given other ways.
fn lost(link: &LinkView, now: Timestamp) -> bool {
    !link.is_linked && now.0.saturating_sub(link.asked_at.0) < DAY_MS
}

/// Names the sites whose packs have ended or are about to end, those that are not known to have a revocation, and those that do not
/// follow because this server was restored.
pub fn sites(app: &App) -> Result<Check> {
    let name = "sites";
    let sites = all(app)?;
    let now = app.now().wall;
    let (mut found, mut has_forked) = (Vec::new(), false);
    for view in &sites {
        let site = &view.site.name;
        match &view.newest {
            None => found.push(findings::site_no_pack(site)),
            Some(made) if made.until <= now => {
                found.push(findings::site_ended(site, made.until));
            }
            // From half of its time on a site reports it too.
            Some(made) if now.0 - made.made_at.0 > (made.until.0 - made.made_at.0) / 2 => {
                found.push(findings::site_ends(site, made.until));
            }
            Some(_) => {}
        }
        match view.link {
            Some(link) if app.feed.forks.has(site) => {
                has_forked = true;
                found.push(findings::site_forked(site, link.asked_at));
            }
            Some(link) if lost(&link, now) => found.push(findings::site_cut(site, link.asked_at)),
            _ => {}
        }
        if let Some(event) = view.link.and_then(|link| link.unread) {
            found.push(findings::site_unread(site, event));
        }
        match view.unconfirmed {
            Unconfirmed::Count(count @ 1..) => found.push(findings::site_behind(site, count)),
            Unconfirmed::LogTooShort => found.push(findings::site_log_short(site)),
            Unconfirmed::Count(_) | Unconfirmed::NeverReported => {}
        }
    }
    if let Err(err) = kept_keys::check(app) {
        found.insert(0, err.refusal());
    }
    let keys = app.read(packs::list_signing_keys)?;
    for FarSite { name, followed_by } in far_sites(&sites, &keys) {
        found.push(findings::site_key_old(name, followed_by, LEADS_MAX));
    }
    let silent = sites
        .iter()
        .filter(|view| view.unconfirmed == Unconfirmed::NeverReported);
    let silent: Vec<&str> = silent
        .map(|view: &SiteView| view.site.name.as_str())
        .collect();
    if found.is_empty() {
        let mut text = match sites.len() {
            0 => return Ok(Check::ok(name, findings::sites_none())),
            count => vec![findings::sites_good(count)],
        };
        if !silent.is_empty() {
            let some: Vec<&str> = silent.iter().take(NAMED_MAX).copied().collect();
            text.push(findings::sites_silent(some.join(", ")));
        }
        return Ok(Check::ok(name, text));
    }
    found.truncate(NAMED_MAX);
    let advice = match has_forked {
        true => findings::site_forked_advice(),
        false => findings::sites_advice(),
    };
    Ok(Check::warning(name, found, advice))
}
