//! The first page: the state of the server, and what needs attention.

use super::MOUNT;
use super::auth::{Visit, page};
use super::chart::{Chart, Hour};
use super::keys::list::new_address;
use super::keys::{End, SOON_S, address, badge, end};
use super::layout::{Layout, Nav, html};
use crate::domain::keys::State;
use crate::domain::time::{HOUR_MS, Timestamp};
use crate::error::{Error, Result};
use crate::http::reply::Reply;
use crate::http::route::Call;
use crate::ops::audit;
use crate::ops::keys::list::Filter;
use crate::ops::keys::list::order::Sort;
use crate::ops::keys::list::sorted;
use askama::Template;

/// The hours of the chart: two days.
const CHART_HOURS: i64 = 48;
/// The number of keys that the page lists because they end soon.
const EXPIRING_SHOWN: usize = 5;

#[derive(Template)]
#[template(path = "console/overview.html")]
struct OverviewPage {
    s: Layout,
    warnings: Vec<String>,
    tiles: Vec<Tile>,
    expiring: Vec<Expiring>,
    expiring_more: String,
    chart: Option<Chart>,
    version: &'static str,
    empty: bool,
    /// The address for creating a key; empty if the caller may not create any.
    new: String,
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

fn shown(visit: &Visit<'_>) -> Result<Reply> {
    let (app, caller) = (visit.call.app, &visit.caller);
    let mut warnings = warnings(visit);
    let summary = match sorted::summary(app, caller, SOON_S) {
        Ok(summary) => summary,
        Err(Error::Unavailable(why)) => {
            warnings.push(visit.texts.sentence(&why));
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
    let shown = |(state, count): &&(State, usize)| *state == State::Active || *count > 0;
    let tiles = summary.states.iter().filter(shown).map(tile).collect();
    let overview = OverviewPage {
        s: visit.shell(visit.texts.get("overview.title"), Nav::Overview),
        tiles,
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
        new: new_address(visit, None)?,
        empty: summary.states.iter().all(|(_, count)| *count == 0),
        chart: chart(visit)?,
        version: env!("CARGO_PKG_VERSION"),
        warnings,
    };
    html(200, &overview)
}

/// Problems that an administrator should know about first.
fn warnings(visit: &Visit<'_>) -> Vec<String> {
    let app = visit.call.app;
    let mut warnings = Vec::new();
    if let Err(err) = app.check_writable() {
        warnings.push(format!(
            "{} {}",
            visit.texts.get("overview.unwritable"),
            visit.texts.sentence(&err.refusal())
        ));
    }
    if let Some(free) = app.short_of_room() {
        warnings.push(
            visit
                .texts
                .with("overview.room", &visit.texts.number(free >> 20)),
        );
    }
    warnings
}

fn expiring(visit: &Visit<'_>) -> Result<Vec<Expiring>> {
    let filter = Filter {
        expiring_within_s: Some(SOON_S),
        state: Some(State::Active),
        ..Filter::default()
    };
    let (app, caller) = (visit.call.app, &visit.caller);
    let found = sorted::list(app, caller, &filter, Sort::Expiry, 0..EXPIRING_SHOWN)?;
    let row = |view: &crate::ops::keys::View| {
        Some(Expiring {
            name: view.key.name.clone(),
            href: address(view.key.id),
            end: end(visit, view)?,
        })
    };
    Ok(found.items.iter().filter_map(row).collect())
}

/// The verdicts on all keys; `None` unless the caller may read all of them.
fn chart(visit: &Visit<'_>) -> Result<Option<Chart>> {
    let now = visit.call.app.now().wall;
    let since = Timestamp(now.0 - (CHART_HOURS - 1) * HOUR_MS);
    let rows = match audit::totals(visit.call.app, &visit.caller, since) {
        Ok(rows) => rows,
        Err(Error::Forbidden(_)) => return Ok(None),
        Err(err) => return Err(err),
    };
    let mut hours = vec![Hour::default(); CHART_HOURS as usize];
    for row in rows {
        let position = usize::try_from(row.hour - since.hour()).unwrap_or(usize::MAX);
        if let Some(hour) = hours.get_mut(position) {
            *hour = Hour {
                valid: row.valid,
                refused: row.refused,
            };
        }
    }
    Ok(Some(Chart::new(visit.texts, &hours, now)))
}
