//! Reports: what a site tells its server, in a file that travels back.

use super::{change, put_state, require_local};
use crate::authz::caller::Caller;
use crate::domain::audit::Target;
use crate::domain::locks::lock;
use crate::domain::packs::report::{Report, ReportedUse};
use crate::domain::packs::site_key::SiteKey;
use crate::error::Result;
use crate::ops::{App, maintenance};
use crate::store;
use crate::store::site::Reason;

/// Makes the next report: the name of its file, and its content. Only for the administrator of the machine.
pub fn make(app: &App, caller: &Caller) -> Result<(String, String)> {
    require_local(caller)?;
    let site = app.own_site()?;
    maintenance::write_usage(app);
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
    let (ended, spent, uses) = app.read(|read| {
        Ok((
            store::site::list_ended(read)?,
            store::site::list_spent(read)?,
            store::site::list_uses(read)?,
        ))
    })?;
    let held = site.held();
    let proposed = ended.iter().filter(|one| one.reason == Reason::Site);
    let mut report = Report {
        origin: state.origin,
        server: state.server,
        site: state.site,
        number: state.reports,
        made: app.now().wall,
        reign: state.reign,
        pack: held.map_or(0, |held| held.head().pack),
        events: state.events,
        ended: proposed.map(|one| (one.key, one.at)).collect(),
        spent,
        uses: uses.into_iter().map(reported).collect(),
    };
    // The order of ids is that of their numbers.
    report.ended.sort_unstable_by_key(|one| one.0);
    report.spent.sort_unstable_by_key(|one| one.0);
    report
        .uses
        .sort_unstable_by(|a, b| (a.key, &a.code).cmp(&(b.key, &b.code)));
    let file = report.to_file(&SiteKey::of(state.key));
    Ok((report.file_name(), file))
}

fn reported(row: store::site::UseRow) -> ReportedUse {
    ReportedUse {
        key: row.key,
        code: row.code,
        count: row.count,
        last_at: row.last_at,
    }
}
