//! The checks of a site itself: its state, its packs, their age, and what has ended there.

use super::finding::Check;
use crate::domain::packs::state::Fork;
use crate::error::Result;
use crate::ops::App;
use crate::ops::site::fresh::Age;
use crate::ops::site::view;
use crate::refusals::findings;

/// Whether the server continues from what the site knows.
pub fn state(app: &App) -> Result<Check> {
    let name = "site";
    let view = view(app)?;
    let (site, server) = (&view.site, &view.origin);
    Ok(match view.fork {
        Fork::Seen => Check::failed(
            name,
            findings::here_fork(server),
            findings::here_fork_advice(),
        ),
        Fork::Accepted => Check::warning(
            name,
            findings::here_accepted(server),
            findings::here_apply_advice(),
        ),
        Fork::None if view.is_date_open => Check::warning(
            name,
            findings::here_date_open(),
            findings::here_apply_advice(),
        ),
        Fork::None if !view.may_spend => Check::warning(
            name,
            findings::here_spends_none(site, server),
            findings::here_spends_none_advice(site, &view.life),
        ),
        Fork::None => Check::ok(name, findings::here_state(site, server, view.reports)),
    })
}

/// Whether what was applied is in force.
pub fn packs(app: &App) -> Result<Check> {
    let name = "packs";
    let view = view(app)?;
    Ok(match (view.pack, view.is_loaded) {
        (0, _) => Check::failed(
            name,
            findings::here_no_pack(),
            findings::here_no_pack_advice(),
        ),
        (pack, false) => Check::failed(
            name,
            findings::here_lost(pack),
            findings::here_lost_advice(),
        ),
        (pack, true) => Check::ok(name, findings::here_in_force(pack, view.keys)),
    })
}

/// How old the pack is.
pub fn age(app: &App) -> Result<Check> {
    let name = "age of the pack";
    let view = view(app)?;
    let until = view
        .until
        .map(|until| until.to_string())
        .unwrap_or_default();
    let advice = findings::here_age_advice();
    Ok(match view.age {
        Age::Fresh => Check::ok(name, findings::here_fresh(until)),
        Age::Aging => Check::warning(name, findings::here_aging(until), advice),
        Age::Over => Check::failed(name, findings::here_over(until), advice),
        Age::None => Check::failed(name, findings::here_none_counts(), advice),
    })
}

/// Keys that have ended here, also if the pack has them.
pub fn ended(app: &App) -> Result<Check> {
    let view = view(app)?;
    Ok(Check::ok(
        "ended here",
        match view.ended.len() {
            0 => findings::here_ended_none(),
            count => findings::here_ended(count),
        },
    ))
}
