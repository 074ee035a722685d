//! The page of one key.

use super::fields::is_shown;
use super::labels::Words;
use super::list::label;
use super::{Badge, End, badge, end, id};
use crate::dialects::console::auth::{Visit, page};
use crate::dialects::console::chart::{Chart, Hour};
use crate::dialects::console::layout::moment::{DisplayTime, span};
use crate::dialects::console::layout::{Layout, Nav, html};
use crate::domain::keys::Member;
use crate::domain::keys::verdict::Code;
use crate::domain::policies::Policy;
use crate::domain::time::{HOUR_MS, Timestamp};
use crate::error::{Error, Result};
use crate::http::reply::Reply;
use crate::http::route::Call;
use crate::ops::audit;
use crate::ops::keys::offered::{self, KeyActions, offered};
use crate::ops::keys::{self, View};
use askama::Template;

/// The hours of the chart: two days.
const CHART_HOURS: i64 = 48;
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
    deleted: bool,
    enabled: bool,
    end: Option<End>,
    facts: Vec<(&'static str, String)>,
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
    events: Vec<Event>,
    offered: KeyActions,
    /// The reason why Latchkey refuses the key, if its row was modified outside Latchkey.
    closed: Option<String>,
    back: String,
}

struct Event {
    at: DisplayTime,
    actor: String,
    action: String,
    denied: bool,
    source: String,
}

/// `GET /console/keys/{id}`
pub fn show(call: &Call<'_>) -> Result<Reply> {
    page(call, &|visit| {
        let view = keys::find(call.app, &visit.caller, id(call)?)?;
        shown(visit, &view, &offered::policy(call.app, &view)?)
    })
}

fn shown(visit: &Visit<'_>, view: &View, policy: &Policy) -> Result<Reply> {
    let (key, texts) = (&view.key, visit.texts);
    let now = visit.call.app.now().wall;
    let when = |at: Timestamp| DisplayTime::new(texts, at, now);
    let words = Words::of(visit, Some(&key.policy));
    let nav = match words.section() {
        Some(section) => Nav::Section(section.policy),
        None => Nav::Keys,
    };
    let directory = visit.call.app.index.directory();
    let catalog = key
        .catalog
        .as_ref()
        .and_then(|name| directory.catalog(name));
    let scopes = key.scopes.iter().map(|scope| {
        let words = label(visit.texts, catalog.map(|catalog| &**catalog), scope);
        (words, scope.clone())
    });
    let scopes = scopes.collect();
    drop(directory);
    let live = key.deleted_at.is_none();
    let offered = offered(visit.call.app, &visit.caller, view)?;
    let key_page = KeyPage {
        s: visit.shell(key.name.clone(), nav),
        w: words,
        id: key.id.to_string(),
        name: key.name.clone(),
        badge: badge(texts, view.state),
        deleted: !live,
        enabled: key.enabled,
        end: end(visit, view),
        facts: facts(visit, view, policy, words),
        created: when(key.created_at),
        rotated: key.rotated_at.map(when),
        self_rotated_from: key.self_rotated_from.clone(),
        starts: key.not_before.map(when),
        used: view.usage.last_used_at.map(when),
        used_from: view.usage.last_used_ip.clone().unwrap_or_default(),
        used_count: visit.texts.number(view.usage.use_count),
        scopes,
        addresses: key
            .allowed_ips
            .as_ref()
            .map(|list| list.blocks().iter().map(ToString::to_string).collect())
            .unwrap_or_default(),
        metadata: match key.metadata.as_str() {
            "{}" => String::new(),
            text => text.to_owned(),
        },
        chart: chart(visit, view)?,
        events: events(visit, view)?,
        closed: offered.closed.as_ref().map(|why| texts.sentence(why)),
        offered,
        back: super::list_address(&key.policy),
    };
    html(200, &key_page)
}

/// The members of the key that have a label and a short value.
fn facts(
    visit: &Visit<'_>,
    view: &View,
    policy: &Policy,
    words: Words,
) -> Vec<(&'static str, String)> {
    let (key, texts) = (&view.key, visit.texts);
    let (read, write) = words.access();
    // A read-only key is always marked as such; that a key may write is displayed only if the pages of its policy have
    // this field.
    let access = match key.read_only {
        true => read,
        false if is_shown(policy, words, "read_only") => write,
        false => "",
    };
    let mut facts = Vec::new();
    for member in Member::ALL {
        let word = member.word();
        let fact = match member {
            Member::Catalog => (words.field(word), key.catalog.clone().unwrap_or_default()),
            Member::Contact => (words.field(word), key.contact.clone()),
            Member::CreatedBy => (texts.get("field.created_by"), key.created_by.clone()),
            Member::Description => (words.field(word), key.description.clone()),
            Member::Hint => (texts.get("field.hint"), key.hint.clone()),
            Member::Id => (texts.get("field.id"), key.id.to_string()),
            Member::Owner => (words.field(word), view.owner.clone().unwrap_or_default()),
            Member::Policy => (texts.get("field.policy"), key.policy.clone()),
            Member::RateLimit => match key.rate_limit {
                Some(rate) => {
                    let limit = texts.count("key.rate", rate.limit);
                    let window = span(texts, rate.window_s);
                    let limit = limit.replacen("{}", &window, 1);
                    (texts.get("field.rate_limit"), limit)
                }
                None => continue,
            },
            Member::ReadOnly => (words.field(word), access.to_owned()),
            Member::UsesLeft => match key.uses_left {
                Some(uses) => (texts.get("field.uses_left"), texts.number(uses)),
                None => continue,
            },
            Member::Workspace => (words.field(word), view.workspace.clone()),
            // The page shows these in places of their own.
            Member::AllowedIps
            | Member::CreatedAt
            | Member::Enabled
            | Member::ExpiresAt
            | Member::Metadata
            | Member::Name
            | Member::NotBefore
            | Member::RotatedAt
            | Member::Scopes
            | Member::SelfRotatedFrom => continue,
            // Numbers are for other dialects, and a deleted key has its state.
            Member::DeletedAt | Member::Number => continue,
        };
        facts.push(fact);
    }
    facts.retain(|(_, value)| !value.is_empty());
    facts
}

/// The verdicts of the last two days; `None` for a deleted key.
fn chart(visit: &Visit<'_>, view: &View) -> Result<Option<Chart>> {
    if view.key.deleted_at.is_some() {
        return Ok(None);
    }
    let now = visit.call.app.now().wall;
    let since = Timestamp(now.0 - (CHART_HOURS - 1) * HOUR_MS);
    let rows = audit::usage(visit.call.app, &visit.caller, view.key.id, since, now)?;
    let mut hours = vec![Hour::default(); CHART_HOURS as usize];
    for row in rows {
        let position = usize::try_from(row.hour - since.hour()).unwrap_or(usize::MAX);
        if let Some(hour) = hours.get_mut(position) {
            match row.code == Code::Valid.as_str() {
                true => hour.valid += row.count,
                false => hour.refused += row.count,
            }
        }
    }
    Ok(Some(Chart::new(visit.texts, &hours, now)))
}

/// The events of the key, as far as the caller may read them.
fn events(visit: &Visit<'_>, view: &View) -> Result<Vec<Event>> {
    let wanted = audit::EventFilter {
        target: Some(view.key.id.to_string()),
        limit: EVENTS,
        ..audit::EventFilter::default()
    };
    let found = match audit::audit_events(visit.call.app, &visit.caller, &wanted) {
        Ok((found, _)) => found,
        Err(Error::Forbidden(_)) => Vec::new(),
        Err(err) => return Err(err),
    };
    let now = visit.call.app.now().wall;
    let event = |event: crate::domain::audit::Event| Event {
        at: DisplayTime::new(visit.texts, event.at, now),
        actor: event.actor,
        denied: event.outcome == crate::domain::audit::Outcome::Denied,
        action: event.action,
        source: event.source,
    };
    Ok(found.into_iter().map(event).collect())
}
