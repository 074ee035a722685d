//! The first page: what to do next, what is wrong, and the figures that people look for first.

use super::MOUNT;
use super::auth::cookie::Cookie;
use super::auth::{Visit, channel, page, redirect, submit};
use super::chart::{self, Chart, Range};
use super::keys::list::new_address;
use super::keys::{End, SOON_S, address, badge, end};
use super::layout::moment::DisplayTime;
use super::layout::{Layout, Nav, html};
use crate::domain::keys::State;
use crate::domain::keys::verdict::Code;
use crate::domain::time::{HOUR_MS, Timestamp};
use crate::error::{Error, Result};
use crate::http::reply::Reply;
use crate::http::route::Call;
use crate::ops::backups;
use crate::ops::doctor::glance::{self, Trouble};
use crate::ops::keys::list::Filter;
use crate::ops::keys::list::order::{Column, Sort};
use crate::ops::keys::list::sorted;
use crate::ops::usage;
use askama::Template;

/// The number of keys that the page lists because they end soon.
const EXPIRING_SHOWN: usize = 5;

#[derive(Template)]
#[template(path = "console/overview.html")]
struct OverviewPage {
    s: Layout,
    troubles: Vec<Advice>,
    steps: Vec<Step>,
    /// How many steps are done, in words.
    progress: String,
    /// Whether the user has hidden the steps, although some are not done.
    is_hidden: bool,
    cards: Vec<Card>,
    /// Keys in other states than active.
    states: Vec<Tile>,
    expiring: Vec<Expiring>,
    expiring_more: String,
    chart: Option<Chart>,
    version: &'static str,
    /// Whether the user may run the checks of the server.
    can_check: bool,
    /// The address for creating a key; empty if the caller may not create any.
    new: String,
}

/// Something that is wrong, and what to do about it.
struct Advice {
    what: String,
    todo: &'static str,
    /// A page that helps, and the label of the link to it.
    link: Option<(String, &'static str)>,
    is_bad: bool,
}

/// A first step.
struct Step {
    label: &'static str,
    why: &'static str,
    href: String,
    done: bool,
}

struct Card {
    figure: String,
    label: String,
    href: String,
    /// Whether the figure asks for attention.
    is_warning: bool,
}

struct Tile {
    label: &'static str,
    class: &'static str,
    count: String,
    href: String,
}

struct Expiring {
    name: String,
    href: String,
    end: End,
}

/// `GET /console`
pub fn show(call: &Call<'_>) -> Result<Reply> {
    page(call, &shown)
}

/// `POST /console/steps`: hides the first steps in this browser, or shows them again.
pub fn switch_steps(call: &Call<'_>) -> Result<Reply> {
    submit(call, &|visit, form| {
        let channel = channel(visit.call);
        let cookie = match form.text("show") {
            "yes" => Cookie::Steps.clear(channel),
            _ => Cookie::Steps.keep(channel, "hidden"),
        };
        Ok(redirect(MOUNT).also("set-cookie", cookie))
    })
}

fn shown(visit: &Visit<'_>) -> Result<Reply> {
    let mut query = visit.call.query()?;
    let range = Range::take(&mut query);
    query.finish()?;
    let (app, caller) = (visit.call.app, &visit.caller);
    let mut troubles: Vec<Advice> = glance::troubles(app, caller)
        .iter()
        .map(|trouble| advice(visit, trouble))
        .collect();
    let summary = match sorted::summary(app, caller, SOON_S) {
        Ok(summary) => summary,
        Err(Error::Unavailable(why)) => {
            troubles.push(Advice {
                what: visit.texts.sentence(&why),
                todo: "",
                link: None,
                is_bad: true,
            });
            sorted::Summary::default()
        }
        Err(err) => return Err(err),
    };
    let tile = |(state, count): &(State, usize)| {
        let badge = badge(visit.texts, *state);
        Tile {
            label: badge.label,
            class: badge.class,
            count: visit.texts.number(*count as u64),
            href: format!("{MOUNT}/keys?state={}", state.as_str()),
        }
    };
    let others = summary.states.iter();
    let others = others.filter(|(state, count)| *state != State::Active && *count > 0);
    let new = new_address(visit, None)?;
    let is_hidden = Cookie::Steps
        .read(visit.call.request, channel(visit.call))
        .is_some();
    let steps = steps(visit, &new)?;
    let left = steps.iter().any(|step| !step.done);
    let done = steps.iter().filter(|step| step.done).count() as u64;
    let progress = visit
        .texts
        .with("overview.progress", &visit.texts.number(done))
        .replacen("{}", &visit.texts.number(steps.len() as u64), 1);
    let overview = OverviewPage {
        s: visit.shell(visit.texts.get("overview.title"), Nav::Overview),
        cards: cards(visit, &summary)?,
        states: others.map(tile).collect(),
        expiring: match summary.expiring {
            0 => Vec::new(),
            _ => expiring(visit)?,
        },
        expiring_more: match summary.expiring > EXPIRING_SHOWN {
            true => visit
                .texts
                .count("overview.all_expiring", summary.expiring as u64),
            false => String::new(),
        },
        new,
        progress,
        is_hidden: is_hidden && left,
        steps: match left && !is_hidden {
            true => steps,
            false => Vec::new(),
        },
        chart: chart::of_server(visit, range, MOUNT)?,
        version: env!("CARGO_PKG_VERSION"),
        can_check: backups::require(app, caller).is_ok(),
        troubles,
    };
    html(200, &overview)
}

fn advice(visit: &Visit<'_>, trouble: &Trouble) -> Advice {
    let (texts, now) = (visit.texts, visit.call.app.now().wall);
    let when = |at: Timestamp| DisplayTime::new(texts, at, now).relative;
    let to = |page: &str, label: &str| Some((format!("{MOUNT}/{page}"), texts.get(label)));
    let (name, value, link) = match trouble {
        Trouble::BackupFailed(at) => ("backup_failed", when(*at), to("backups", "nav.backups")),
        Trouble::BackupOld(at) => ("backup_old", when(*at), to("backups", "nav.backups")),
        Trouble::Certificate(at) if *at <= now => ("certificate_ended", when(*at), None),
        Trouble::Certificate(at) => ("certificate", when(*at), None),
        Trouble::Files(count) => ("files", texts.number(*count as u64), None),
        Trouble::Locked(users) => ("locked", users.join(", "), to("users", "nav.users")),
        Trouble::Ownerless(count) => {
            let count = texts.number(*count as u64);
            ("ownerless", count, to("doctor", "doctor.run"))
        }
        Trouble::Room(free) => ("room", texts.number(free >> 20), None),
        Trouble::Unwritable(why) => ("unwritable", texts.sentence(why), None),
    };
    let is_bad = matches!(
        trouble,
        Trouble::BackupFailed(_) | Trouble::Files(_) | Trouble::Unwritable(_)
    );
    Advice {
        what: texts.with(&format!("trouble.{name}"), &value),
        todo: texts.get(&format!("trouble_do.{name}")),
        link,
        is_bad: is_bad || name == "certificate_ended",
    }
}

fn steps(visit: &Visit<'_>, new: &str) -> Result<Vec<Step>> {
    let Some(found) = glance::steps(visit.call.app, &visit.caller)? else {
        return Ok(Vec::new());
    };
    let to = |page: &str| format!("{MOUNT}/{page}");
    let all = [
        ("first_key", found.first_key, new.to_owned()),
        ("protected", found.protected, to("catalogs")),
        ("key_files", found.key_files, to("backups#key-files")),
        ("backup", found.backup, to("backups")),
        ("second_factor", found.second_factor, to("account/two-step")),
        ("second_owner", found.second_owner, to("users/new")),
    ];
    let step = |(name, done, href): (&str, bool, String)| Step {
        label: visit.texts.get(&format!("step.{name}")),
        why: visit.texts.get(&format!("step_why.{name}")),
        href,
        done,
    };
    Ok(all.into_iter().map(step).collect())
}

/// The figures on top. Each leads to the list that it counts.
fn cards(visit: &Visit<'_>, summary: &sorted::Summary) -> Result<Vec<Card>> {
    let texts = visit.texts;
    let app = visit.call.app;
    let now = app.now().wall;
    let mut active = summary.states.iter();
    let active = active.find(|(state, _)| *state == State::Active);
    let active = active.map_or(0, |(_, count)| *count as u64);
    let expiring = summary.expiring as u64;
    let mut cards = vec![
        Card {
            figure: texts.number(active),
            label: texts.count("overview.active", active),
            href: format!("{MOUNT}/keys?state=active"),
            is_warning: false,
        },
        Card {
            figure: texts.number(expiring),
            label: texts.count("overview.ending", expiring),
            href: format!("{MOUNT}/keys?expiring=yes&sort=expiry"),
            is_warning: expiring > 0,
        },
    ];
    // The hours of the chart of 24 hours: the last of them has begun.
    let since = Timestamp(now.0 - 23 * HOUR_MS);
    match usage::of_all(app, &visit.caller, usage::Step::Hour, since) {
        Ok(rows) => {
            let refused = rows.iter().filter(|row| row.code != Code::Valid.as_str());
            let refused = refused.map(|row| row.count).sum();
            cards.push(Card {
                figure: texts.number(refused),
                label: texts.count("overview.refused", refused),
                href: format!("{MOUNT}?range=24h#usage"),
                is_warning: false,
            });
        }
        Err(Error::Forbidden(_)) => {}
        Err(err) => return Err(err),
    }
    if let Some(at) = glance::backup_at(app, &visit.caller) {
        cards.push(Card {
            figure: match at {
                Some(at) => DisplayTime::new(texts, at, now).relative,
                None => texts.number(0),
            },
            label: match at {
                Some(_) => texts.get("overview.backup").to_owned(),
                None => texts.get("overview.no_backups").to_owned(),
            },
            href: format!("{MOUNT}/backups"),
            is_warning: at.is_none_or(|at| at > now),
        });
    }
    Ok(cards)
}

fn expiring(visit: &Visit<'_>) -> Result<Vec<Expiring>> {
    let filter = Filter {
        expiring_within_s: Some(SOON_S),
        state: Some(State::Active),
        ..Filter::default()
    };
    let (app, caller) = (visit.call.app, &visit.caller);
    let found = sorted::list(
        app,
        caller,
        &filter,
        Sort::by(Column::Expiry),
        0..EXPIRING_SHOWN,
    )?;
    let row = |view: &crate::ops::keys::View| {
        Some(Expiring {
            name: view.key.name.clone(),
            href: address(view.key.id),
            end: end(visit, view)?,
        })
    };
    Ok(found.items.iter().filter_map(row).collect())
}
