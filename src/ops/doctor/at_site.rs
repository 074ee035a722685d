//! The checks of a site itself: its state, its packs, their age, and what has ended there.

use super::finding::Check;
use crate::domain::packs::state::Fork;
use crate::error::Result;
use crate::ops::App;
use crate::ops::site::fresh::Age;
use crate::ops::site::link::{self, lease::Left};
use crate::ops::site::view;
use crate::refusals::{self, Refusal, findings};

/// Whether the server continues from what the site knows.
pub fn state(app: &App) -> Result<Check> {
    let name = "site";
    let view = view(app)?;
    let (site, server) = (&view.site, &view.origin);
    if let Some(made) = view.needs_made.filter(|_| view.fork == Fork::None) {
        let advice = match view.link.is_some() {
            true => findings::here_link_brings(),
            false => findings::here_distrusts_advice(),
        };
        return Ok(Check::failed(name, findings::here_distrusts(made), advice));
    }
    Ok(match view.fork {
        Fork::Seen => Check::failed(
            name,
            findings::here_fork(server),
            findings::here_fork_advice(),
        ),
        Fork::Accepted if view.link.is_some() => Check::warning(
            name,
            findings::here_link_accepted(server),
            findings::here_link_brings(),
        ),
        Fork::Accepted => Check::warning(
            name,
            findings::here_accepted(server),
            findings::here_apply_advice(),
        ),
        Fork::None if view.is_date_open => Check::warning(
            name,
            findings::here_date_open(),
            match view.link.is_some() {
                true => findings::here_link_brings(),
                false => findings::here_apply_advice(),
            },
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
    let is_linked = view.link.is_some();
    let advice = |without: Refusal| match is_linked {
        true => findings::here_link_brings(),
        false => without,
    };
    Ok(match (view.pack, view.is_loaded) {
        (0, _) => Check::failed(
            name,
            findings::here_no_pack(),
            advice(findings::here_no_pack_advice()),
        ),
        (pack, false) => Check::failed(
            name,
            findings::here_lost(pack),
            advice(findings::here_lost_advice()),
        ),
        (pack, true) => Check::ok(name, findings::here_in_force(pack, view.keys)),
    })
}

/// How old the pack is; with a link, how long its last word counts.
pub fn age(app: &App) -> Result<Check> {
    let name = "age of the pack";
    let view = view(app)?;
    if let Some(link) = view.link {
        return Ok(followed(view.age, link, &view.origin));
    }
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

/// Whether the server, which is named `origin`, is heard over the link.
fn followed(age: Age, link: link::View, origin: &str) -> Check {
    let name = "link";
    let (server, advice) = (link.server, findings::here_link_advice());
    let why = link.fault.unwrap_or_else(|| "no answer yet".to_owned());
    let left_s = match link.left {
        Left::Running { left_ms, .. } => left_ms / 1000,
        Left::None | Left::Over { .. } => 0,
    };
    // The check of the site has the cause, and what to do about it.
    if why.contains(&refusals::site::fork(origin).to_string()) {
        let advice = findings::here_link_undecided_advice();
        return match age {
            Age::Fresh | Age::Aging => {
                let found = findings::here_link_undecided_left(server, left_s);
                Check::warning(name, found, advice)
            }
            Age::Over | Age::None => {
                Check::failed(name, findings::here_link_undecided(server), advice)
            }
        };
    }
    match age {
        Age::Fresh | Age::Aging if link.is_up => Check::ok(name, findings::here_link_up(server)),
        Age::Fresh | Age::Aging => {
            Check::warning(name, findings::here_link_left(server, left_s, why), advice)
        }
        Age::Over | Age::None => Check::failed(name, findings::here_link_over(server, why), advice),
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::doctor::finding::Finding;

    #[test]
    fn a_link_is_as_good_as_its_last_word() {
        let check = |age, is_up: bool, expected: Finding| {
            let fault = (!is_up).then(|| "cut".to_owned());
            let found = followed(age, link(fault), "keys.example");
            assert_eq!(found.finding, expected);
        };
        check(Age::Fresh, true, Finding::Ok);
        check(Age::Aging, false, Finding::Warning);
        check(Age::Over, false, Finding::Failed);
        check(Age::None, true, Finding::Failed);
    }

    fn link(fault: Option<String>) -> link::View {
        link::View {
            server: "https://keys.example:443".to_owned(),
            is_up: fault.is_none(),
            left: Left::None,
            events: None,
            server_events: 0,
            word_at: None,
            steps: 0,
            fault,
        }
    }

    #[test]
    fn that_the_server_was_restored_is_not_said_again() {
        let cause = refusals::site::fork("keys.example").to_string();
        for (age, finding) in [(Age::Fresh, Finding::Warning), (Age::Over, Finding::Failed)] {
            let fault = Some(format!("https://keys.example:443 has sent: {cause}"));
            let found = followed(age, link(fault), "keys.example");
            assert_eq!(found.finding, finding);
            let text = found.found.to_string();
            assert!(!text.contains("restored"), "{text}");
            assert!(text.contains("decided"), "{text}");
        }
    }
}
