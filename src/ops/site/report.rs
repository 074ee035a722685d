//! Reports: what a site sends to its server, in a file that travels back.

use super::{change, put_state, require_local, uses};
use crate::authz::caller::Caller;
use crate::domain::audit::Target;
use crate::domain::keys::KeyId;
use crate::domain::locks::lock;
use crate::domain::packs::report::{KeyReport, Report};
use crate::domain::packs::site_key::SiteKey;
use crate::error::Result;
use crate::ops::{App, maintenance};
use crate::store;
use crate::store::site::{EndedKey, Reason, UseRow};
use std::collections::BTreeMap;

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
        keys: keys(&ended, &spent, &uses),
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

/// One line for each key that there is something to report about.
fn keys(ended: &[EndedKey], spent: &[(KeyId, u64)], uses: &[UseRow]) -> Vec<KeyReport> {
    let mut keys: BTreeMap<KeyId, KeyReport> = BTreeMap::new();
    let blank = |id| KeyReport {
        id,
        uses: 0,
        refusals: 0,
        spent: 0,
        last_used_at: None,
        ended_at: None,
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
    keys.into_values().collect()
}
