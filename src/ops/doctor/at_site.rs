//! The checks of a site itself: its state, its packs, their age, and what has ended there.

use super::finding::Check;
use crate::domain::packs::state::Fork;
use crate::domain::text::counted;
use crate::error::Result;
use crate::ops::App;
use crate::ops::site::fresh::Age;
use crate::ops::site::view;
use crate::refusals::verbatim;

/// Whether the server continues from what the site knows.
pub fn state(app: &App) -> Result<Check> {
    let name = "site";
    let view = view(app)?;
    let (site, server) = (&view.site, &view.origin);
    Ok(match view.fork {
        Fork::Seen => Check::failed(
            name,
            verbatim(format!(
                "what {server} signs does not follow what this site knows: it was restored from a backup, or an older copy of its \
                 folder was put back; its packs are not taken"
            )),
            verbatim("look at the server; if its state is the right one: latchkey site reset"),
        ),
        Fork::Accepted => Check::warning(
            name,
            verbatim(format!(
                "the next pack of {server} is taken with any number, because its restore was accepted"
            )),
            verbatim("apply it: latchkey pack apply FILE"),
        ),
        Fork::None if view.is_date_open => Check::warning(
            name,
            verbatim(
                "the date of the newest pack was wrong; every verdict is refused until the next one is applied",
            ),
            verbatim("apply it: latchkey pack apply FILE"),
        ),
        Fork::None if !view.may_spend => Check::warning(
            name,
            verbatim(format!(
                "{site} of {server}; the uses of counted keys are lent to a state that this site had before, so such keys have none here"
            )),
            verbatim(format!(
                "bring a report to the server, or name this state there: latchkey site edit {site} --life {}",
                view.life
            )),
        ),
        Fork::None => Check::ok(
            name,
            verbatim(format!(
                "{site} of {server}, {} so far",
                counted(view.reports, "report")
            )),
        ),
    })
}

/// Whether what was applied is in force.
pub fn packs(app: &App) -> Result<Check> {
    let name = "packs";
    let view = view(app)?;
    Ok(match (view.pack, view.is_loaded) {
        (0, _) => Check::failed(
            name,
            verbatim("there is no pack yet, so every verdict is refused"),
            verbatim("apply one: latchkey pack apply FILE"),
        ),
        (pack, false) => Check::failed(
            name,
            verbatim(format!(
                "pack {pack} was applied, and is not in the folder any more or is damaged; every verdict is refused"
            )),
            verbatim(
                "apply it again, with the whole one before it, or a newer one: latchkey pack apply FILE",
            ),
        ),
        (pack, true) => Check::ok(
            name,
            verbatim(format!(
                "pack {pack} is in force, with {}",
                counted(view.keys, "key")
            )),
        ),
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
    let advice = "bring a newer one: latchkey pack apply FILE";
    Ok(match view.age {
        Age::Fresh => Check::ok(name, verbatim(format!("it counts until {until}"))),
        Age::Aging => Check::warning(
            name,
            verbatim(format!(
                "more than half of its time is over; it counts until {until}"
            )),
            verbatim(advice),
        ),
        Age::Over => Check::failed(
            name,
            verbatim(format!("it counted until {until}")),
            verbatim(advice),
        ),
        Age::None => Check::failed(
            name,
            verbatim("there is none that counts"),
            verbatim(advice),
        ),
    })
}

/// Keys that have ended here, also if the pack has them.
pub fn ended(app: &App) -> Result<Check> {
    let view = view(app)?;
    let count = view.ended.len() as u64;
    Ok(Check::ok(
        "ended here",
        verbatim(match count {
            0 => "nothing besides what the packs say".to_owned(),
            _ => format!(
                "{} stay ended, also if a pack has them",
                counted(count, "key")
            ),
        }),
    ))
}
