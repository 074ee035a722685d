//! The page of one key.

use super::facts::{self, Fact};
use super::labels::Words;
use super::list::label;
use super::trial::{self, TrialForm};
use super::{Badge, End, address, badge, end, id};
use crate::dialects::console::MOUNT;
use crate::dialects::console::audit::{self as log, EventRow};
use crate::dialects::console::auth::{Visit, page};
use crate::dialects::console::chart::{self, Chart, Range, code_words};
use crate::dialects::console::layout::moment::DisplayTime;
use crate::dialects::console::layout::{Layout, Nav, html};
use crate::domain::audit::Kind;
use crate::domain::keys::State;
use crate::domain::keys::alarms::{Alarm, AlarmKind};
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::http::form::Form;
use crate::http::reply::Reply;
use crate::http::route::Call;
use crate::ops::audit;
use crate::ops::keys::offered::{self, KeyActions, offered};
use crate::ops::keys::refused::refusals;
use crate::ops::keys::{self, View};
use crate::ops::tripwires;
use askama::Template;

/// The maximum number of the key's events on the page.
const EVENTS: usize = 20;

#[derive(Template)]
#[template(path = "console/key.html")]
struct KeyPage {
    s: Layout,
    w: Words,
    id: String,
    name: String,
    badge: Badge,
    /// Why the key opens nothing now; empty for an active key.
    state_why: String,
    deleted: bool,
    enabled: bool,
    end: Option<End>,
    previous: Option<PreviousNote>,
    facts: Vec<Fact>,
    created: DisplayTime,
    rotated: Option<DisplayTime>,
    /// The client address from which the key last rotated itself, if it did.
    self_rotated_from: Option<String>,
    starts: Option<DisplayTime>,
    used: Option<DisplayTime>,
    used_from: String,
    used_count: String,
    scopes: Vec<(String, String)>,
    addresses: Vec<String>,
    metadata: String,
    chart: Option<Chart>,
    trial: Option<TrialForm>,
    refusals: Vec<RefusalRow>,
    events: Vec<EventRow>,
    /// The audit log of this key; empty if the caller may not read it.
    log: String,
    offered: KeyActions,
    /// What tripwires have found about the key, in words, and where.
    alarms: Vec<(String, String)>,
    /// The reason why Latchkey refuses the key, if its row was modified outside Latchkey.
    closed: Option<String>,
    /// The file and the line that declare the key, so that its fields are locked here.
    declared_in: Option<String>,
    back: String,
}

/// The secret before the newest, while it still works.
struct PreviousNote {
    /// Until when it works.
    until: String,
    /// Whether it is still in use.
    used: String,
    in_use: bool,
    /// Whether the caller may end it now.
    can_end: bool,
}

struct RefusalRow {
    at: DisplayTime,
    code: &'static str,
    words: &'static str,
    address: String,
    request: String,
}

/// `GET /console/keys/{id}`; `range` in the query chooses the time of the chart, all others are a request to test.
pub fn show(call: &Call<'_>) -> Result<Reply> {
    page(call, &|visit| {
        let view = keys::find(call.app, &visit.caller, id(call)?)?;
        let mut query = call.query()?;
        let range = Range::take(&mut query);
        let live = view.key.deleted_at.is_none();
        let by_path = view.key.catalog.is_some();
        let trial = trial::take(visit, &mut query, view.key.id, by_path)?;
        query.finish()?;
        let chart = match live {
            true => {
                let page = address(view.key.id);
                Some(chart::of_key(visit, view.key.id, range, &page)?)
            }
            false => None,
        };
        shown(visit, &view, chart, Some(trial).filter(|_| live))
    })
}

fn shown(
    visit: &Visit<'_>,
    view: &View,
    chart: Option<Chart>,
    trial: Option<TrialForm>,
) -> Result<Reply> {
    let (key, texts) = (&view.key, visit.texts);
    let policy = offered::policy(visit.call.app, view)?;
    let now = visit.call.app.now().wall;
    let when = |at: Timestamp| DisplayTime::new(texts, at, now);
    let words = Words::of(visit, Some(&key.policy));
    let nav = match words.section() {
        Some(section) => Nav::Section(section.policy),
        None => Nav::Keys,
    };
    let offered = offered(visit.call.app, &visit.caller, view)?;
    let (events, log_address) = events(visit, view)?;
    let key_page = KeyPage {
        s: visit.shell(key.name.clone(), nav),
        w: words,
        id: key.id.to_string(),
        name: key.name.clone(),
        badge: badge(texts, view.state),
        state_why: state_why(visit, view),
        deleted: key.deleted_at.is_some(),
        enabled: key.enabled,
        end: end(visit, view).filter(|_| !matches!(view.state, State::Deleted | State::Expired)),
        previous: previous(visit, view, offered.end_previous),
        facts: facts::of(visit, view, &policy, words)?,
        created: when(key.created_at),
        rotated: key.rotated_at.map(when),
        self_rotated_from: key.self_rotated_from.clone(),
        starts: key.not_before.map(when),
        used: view.usage.last_used_at.map(when),
        used_from: view.usage.last_used_ip.clone().unwrap_or_default(),
        used_count: visit.texts.number(view.usage.use_count),
        scopes: scopes(visit, view),
        addresses: key
            .allowed_ips
            .as_ref()
            .map(|list| list.blocks().iter().map(ToString::to_string).collect())
            .unwrap_or_default(),
        metadata: match key.metadata.as_str() {
            "{}" => String::new(),
            text => text.to_owned(),
        },
        chart,
        trial,
        refusals: refused(visit, view)?,
        events,
        log: log_address,
        alarms: alarms(visit, view, policy.decoy)?,
        closed: offered.closed.as_ref().map(|why| texts.sentence(why)),
        declared_in: offered.declared_in.clone(),
        offered,
        back: super::list_address(&key.policy),
    };
    html(200, &key_page)
}

fn scopes(visit: &Visit<'_>, view: &View) -> Vec<(String, String)> {
    let directory = visit.call.app.index.directory();
    let catalog = view.key.catalog.as_ref();
    let catalog = catalog.and_then(|name| directory.catalog(name));
    let scopes = view.key.scopes.iter().map(|scope| {
        let words = label(visit.texts, catalog.map(|catalog| &**catalog), scope);
        (words, scope.clone())
    });
    scopes.collect()
}

/// Why a key opens nothing now; empty for an active key.
fn state_why(visit: &Visit<'_>, view: &View) -> String {
    let (texts, key) = (visit.texts, &view.key);
    let now = visit.call.app.now().wall;
    let ago = |at: Option<Timestamp>| {
        at.map_or_else(String::new, |at| DisplayTime::new(texts, at, now).relative)
    };
    match view.state {
        State::Active => String::new(),
        State::Deleted => texts.with("key.why_deleted", &ago(key.deleted_at)),
        State::Disabled => texts.get("key.why_disabled").to_owned(),
        State::Expired => texts.with("key.why_expired", &ago(key.expires_at)),
        State::NotYetValid => texts.with("key.why_not_yet_valid", &ago(key.not_before)),
        State::OwnerDisabled => {
            let owner = view.owner.as_deref().unwrap_or_default();
            texts.with("key.why_owner_disabled", owner)
        }
        State::WorkspaceDisabled => texts.with("key.why_workspace_disabled", &view.workspace),
    }
}

fn previous(visit: &Visit<'_>, view: &View, can_end: bool) -> Option<PreviousNote> {
    let (texts, now) = (visit.texts, visit.call.app.now().wall);
    let previous = view.previous.as_ref()?;
    let name = match previous.until_first_use {
        true => "key.previous_first_use",
        false => "key.previous_until",
    };
    let end = format!(
        "{} ({})",
        texts.minute(previous.until),
        DisplayTime::new(texts, previous.until, now).relative
    );
    Some(PreviousNote {
        until: texts.fill(name, &[("hint", &previous.hint), ("end", &end)]),
        used: match previous.last_used_at {
            Some(at) => {
                let at = DisplayTime::new(texts, at, now).relative;
                texts.with("key.previous_used", &at)
            }
            None => texts.get("key.previous_unused").to_owned(),
        },
        in_use: previous.last_used_at.is_some(),
        can_end,
    })
}

/// What a decoy is, and what tripwires have found, each with the latest place.
fn alarms(visit: &Visit<'_>, view: &View, is_decoy: bool) -> Result<Vec<(String, String)>> {
    let (texts, now) = (visit.texts, visit.call.app.now().wall);
    let found = tripwires::of_key(visit.call.app, &visit.caller, view.key.id)?;
    let place = |alarm: &Alarm| {
        let parts = [alarm.address.as_deref().unwrap_or_default(), &alarm.place];
        let parts = parts.iter().filter(|part| !part.is_empty());
        parts.copied().collect::<Vec<_>>().join(" · ")
    };
    let words = |alarm: &Alarm| {
        let at = DisplayTime::new(texts, alarm.last_at, now).relative;
        let counted = |name: &str| texts.count(name, alarm.count).replacen("{}", &at, 1);
        match alarm.kind {
            AlarmKind::Leaked if alarm.place.is_empty() => {
                (texts.with("key.leaked", &at), String::new())
            }
            AlarmKind::Leaked => (
                texts.with("key.leaked", &at),
                texts.with("key.leaked_at", &alarm.place),
            ),
            AlarmKind::OldSecret => (counted("key.old_secret_tried"), place(alarm)),
            AlarmKind::Tripped => (counted("key.decoy_tripped"), place(alarm)),
        }
    };
    let tripped = found.iter().any(|alarm| alarm.kind == AlarmKind::Tripped);
    let mut all = Vec::new();
    if is_decoy {
        let unused = match tripped {
            true => String::new(),
            false => texts.get("key.decoy_unused").to_owned(),
        };
        all.push((texts.get("key.decoy").to_owned(), unused));
    }
    all.extend(found.iter().map(words));
    Ok(all)
}

fn refused(visit: &Visit<'_>, view: &View) -> Result<Vec<RefusalRow>> {
    let now = visit.call.app.now().wall;
    let found = refusals(visit.call.app, &visit.caller, view.key.id)?;
    let row = |one: &crate::index::refused::Refused| RefusalRow {
        at: DisplayTime::new(visit.texts, one.at, now),
        code: one.code.as_str(),
        words: code_words(visit.texts, one.code.as_str()),
        address: one.address.map(|it| it.to_string()).unwrap_or_default(),
        request: format!("{} {}", one.method, one.path).trim().to_owned(),
    };
    Ok(found.iter().map(row).collect())
}

/// The events of the key, as far as the caller may read them, and the address of the audit log with only these.
fn events(visit: &Visit<'_>, view: &View) -> Result<(Vec<EventRow>, String)> {
    let target = format!("{}:{}", Kind::Key.as_str(), view.key.id);
    let wanted = audit::EventFilter {
        target: Some(target.clone()),
        limit: EVENTS,
        ..audit::EventFilter::default()
    };
    let found = match audit::audit_events(visit.call.app, &visit.caller, &wanted) {
        Ok((found, _)) => found,
        Err(Error::Forbidden(_)) => return Ok((Vec::new(), String::new())),
        Err(err) => return Err(err),
    };
    let form = Form::default();
    let rows = found.iter().map(|event| log::row(visit, &form, event));
    Ok((
        rows.collect::<Result<_>>()?,
        format!("{MOUNT}/audit?target={target}"),
    ))
}
