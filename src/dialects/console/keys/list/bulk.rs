//! Changes of several keys: which keys, a page that lists what will happen, and a page with the outcome.
//!
//! The confirmation carries the ids of the keys and not the filter, so that a key which fits the filter only later is not
//! changed with the others.

use super::export;
use super::query::ListQuery;
use crate::dialects::console::auth::{Visit, confirm, own_path, submit};
use crate::dialects::console::form::{Input, number};
use crate::dialects::console::keys::fields::expiry;
use crate::dialects::console::keys::labels::Words;
use crate::dialects::console::keys::{address, opens_this_server};
use crate::dialects::console::layout::{Layout, Nav, html};
use crate::dialects::console::sections;
use crate::domain::keys::{KeyId, Member};
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::http::form::Form;
use crate::http::reply::Reply;
use crate::http::request::Request;
use crate::http::route::Call;
use crate::ops::App;
use crate::ops::keys::list::sorted;
use crate::ops::keys::many::{BatchAction, BatchOutcome, change_each};
use crate::ops::keys::offered::{self, offered};
use crate::ops::keys::{View, find};
use crate::refusals::verbatim;
use askama::Template;

/// The most keys that one form changes.
pub const KEYS_MAX: usize = 1_000;
/// The maximum number of keys that a page names; it only counts the others.
const NAMED: usize = 100;

/// What happens to each key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Deed {
    Delete,
    Disable,
    Enable,
    Extend,
}

#[derive(Template)]
#[template(path = "console/key_bulk.html")]
struct ConfirmPage {
    s: Layout,
    title: String,
    lead: &'static str,
    deed: &'static str,
    button: String,
    danger: bool,
    /// Names and addresses.
    keys: Vec<(String, String)>,
    more: usize,
    refused: Vec<RefusedKey>,
    refused_more: usize,
    refused_title: String,
    /// The number that confirms a deletion.
    number: Option<String>,
    typed: String,
    expiry: Option<Input>,
    ids: String,
    query: String,
    back: String,
    refusal: Option<String>,
}

#[derive(Template)]
#[template(path = "console/key_bulk_done.html")]
struct DonePage {
    s: Layout,
    good: bool,
    done: String,
    refused: Vec<RefusedKey>,
    refused_title: String,
    /// Why the rest was not tried.
    stopped: Option<String>,
    rest: String,
    deed: &'static str,
    /// The ids of the keys that were disabled, to enable them again.
    undo: String,
    query: String,
    back: String,
}

/// A key that stays as it is.
struct RefusedKey {
    name: String,
    href: String,
    why: String,
}

impl Deed {
    const ALL: [Deed; 4] = [Deed::Delete, Deed::Disable, Deed::Enable, Deed::Extend];

    fn word(self) -> &'static str {
        match self {
            Deed::Delete => "delete",
            Deed::Disable => "disable",
            Deed::Enable => "enable",
            Deed::Extend => "extend",
        }
    }

    fn of(form: &Form) -> Option<Deed> {
        let word = form.text("do");
        Deed::ALL.into_iter().find(|deed| deed.word() == word)
    }

    fn takes_away(self) -> bool {
        matches!(self, Deed::Delete | Deed::Disable)
    }

    /// Why a key would be refused; `None` if it would be changed.
    fn fault(self, visit: &Visit<'_>, view: &View) -> Result<Option<String>> {
        let texts = visit.texts;
        let offered = offered(visit.call.app, &visit.caller, view)?;
        let policy = offered::policy(visit.call.app, view)?;
        if let Some(place) = offered
            .declared_in
            .as_ref()
            .filter(|_| !matches!(self, Deed::Disable | Deed::Enable))
        {
            return Ok(Some(texts.with("bulk.declared", place)));
        }
        if let Some(why) = offered.closed.as_ref().filter(|_| self != Deed::Delete) {
            return Ok(Some(texts.sentence(why)));
        }
        let (may, ruled) = match self {
            Deed::Delete if policy.confirm_name && offered.delete => {
                return Ok(Some(texts.get("bulk.name_needed").to_owned()));
            }
            Deed::Delete => (offered.delete, false),
            Deed::Disable if !view.key.enabled => {
                return Ok(Some(texts.get("bulk.disabled_already").to_owned()));
            }
            Deed::Enable if view.key.enabled => {
                return Ok(Some(texts.get("bulk.enabled_already").to_owned()));
            }
            Deed::Disable | Deed::Enable => (offered.switch, policy.check_disable().is_err()),
            Deed::Extend => (
                offered.fields.contains(&Member::ExpiresAt),
                policy.check_editable(Member::ExpiresAt).is_err(),
            ),
        };
        Ok((!may).then(|| match ruled {
            true => texts.with("bulk.policy", &view.key.policy),
            false => texts.get("bulk.role").to_owned(),
        }))
    }
}

/// `POST /console/keys/bulk`: asks for confirmation, or sends the file of the ticked keys.
pub fn ask(call: &Call<'_>) -> Result<Reply> {
    submit(call, &|visit, form| {
        let asked = match form.has("all") {
            true => ListQuery::exactly(form.text("query"))
                .ok_or_else(|| Error::invalid_text("query", visit.texts.get("refusal.choice")))?,
            false => ListQuery::parse(form.text("query")),
        };
        let ids = ids_of(visit, form, &asked)?;
        if ids.is_empty() {
            return Ok(visit.done("none_ticked", &asked.address()));
        }
        if form.text("do") == "export" {
            return export::file(
                visit,
                Words::of(visit, asked.some("policy").as_deref()),
                &ids,
            );
        }
        let deed = deed(visit, form)?;
        confirmed(visit, 200, deed, &ids, form, None)
    })
}

/// `POST /console/keys/bulk/confirmed`
pub fn act(call: &Call<'_>) -> Result<Reply> {
    submit(call, &|visit, form| {
        let deed = deed(visit, form)?;
        let ids = listed(form.text("ids"))?;
        let views = views(visit, &ids)?;
        let (open, _) = parted(visit, deed, &views)?;
        let refuse = |why: String| confirmed(visit, 422, deed, &ids, form, Some(why));
        if deed == Deed::Delete
            && number(visit.texts, form, "number").ok().flatten() != Some(open.len() as u64)
        {
            return refuse(visit.texts.get("bulk.other_number").to_owned());
        }
        let action = match deed {
            Deed::Delete => BatchAction::Delete,
            Deed::Disable => BatchAction::Disable,
            Deed::Enable => BatchAction::Enable,
            Deed::Extend => match end(visit, form) {
                // A period means the same as in the form of a new key.
                Ok(Some(end)) if form.text("life").parse::<u32>().is_ok() => {
                    BatchAction::ExpiryWithin(end)
                }
                Ok(end) => BatchAction::Expiry(end),
                Err(err) => return refuse(visit.texts.error(&err)),
            },
        };
        let opens = |view: &&View| opens_this_server(view);
        let is_fresh = visit.session.is_fresh(call.app.now().wall);
        if deed == Deed::Extend && !is_fresh && open.iter().any(opens) {
            return confirm::ask(visit, &own_path(call), form, None);
        }
        let outcome = change_each(call.app, &visit.caller, action, ids);
        done(visit, deed, &views, outcome, form.text("query"))
    })
}

/// Whether the form only takes something away.
pub fn takes_away(_: &App, request: &Request, _: &str) -> bool {
    Form::of(request).is_ok_and(|form| Deed::of(&form).is_some_and(Deed::takes_away))
}

fn deed(visit: &Visit<'_>, form: &Form) -> Result<Deed> {
    let choice = || Error::invalid_text("do", visit.texts.get("refusal.choice"));
    Deed::of(form).ok_or_else(choice)
}

fn end(visit: &Visit<'_>, form: &Form) -> Result<Option<Timestamp>> {
    let now = visit.call.app.now().wall;
    match expiry::read(visit.texts, form, None, now)? {
        Some(end) => Ok(end),
        None => Err(Error::invalid_text(
            "expires_on",
            visit.texts.get("expiry.which"),
        )),
    }
}

/// The ticked keys, or the first ones of the whole list.
fn ids_of(visit: &Visit<'_>, form: &Form, asked: &ListQuery) -> Result<Vec<KeyId>> {
    if form.has("all") {
        let (app, caller) = (visit.call.app, &visit.caller);
        let (ids, _) = sorted::list_ids(app, caller, &asked.filter(), asked.sort(), 0..KEYS_MAX)?;
        return Ok(ids);
    }
    match form.has("ids") {
        true => listed(form.text("ids")),
        false => listed(&form.all("ids[]").join(" ")),
    }
}

/// The ids in a text, each once.
fn listed(text: &str) -> Result<Vec<KeyId>> {
    let mut ids = Vec::new();
    for word in text.split_whitespace().take(KEYS_MAX + 1) {
        let id = KeyId::parse(word).ok_or(Error::NotFound("key"))?;
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    match ids.len() > KEYS_MAX {
        true => Err(Error::Malformed(verbatim(format!(
            "one form changes at most {KEYS_MAX} keys"
        )))),
        false => Ok(ids),
    }
}

/// The keys as they are now. A key that is gone, or that the user may no longer see, is left out.
fn views(visit: &Visit<'_>, ids: &[KeyId]) -> Result<Vec<View>> {
    sorted::views(visit.call.app, &visit.caller, ids)
}

/// The keys that would be changed, and those that would be refused.
fn parted<'v>(
    visit: &Visit<'_>,
    deed: Deed,
    views: &'v [View],
) -> Result<(Vec<&'v View>, Vec<RefusedKey>)> {
    let (mut open, mut refused) = (Vec::new(), Vec::new());
    for view in views {
        match deed.fault(visit, view)? {
            None => open.push(view),
            Some(why) => refused.push(RefusedKey {
                name: view.key.name.clone(),
                href: address(view.key.id),
                why,
            }),
        }
    }
    Ok((open, refused))
}

fn spaced(ids: impl Iterator<Item = KeyId>) -> String {
    ids.map(|id| id.to_string()).collect::<Vec<_>>().join(" ")
}

/// The entry of the navigation that the list belongs to: that of a system if the list has its keys.
fn nav(query: &str) -> Nav {
    let policy = ListQuery::parse(query).some("policy");
    let section = policy.as_deref().and_then(sections::of);
    section.map_or(Nav::Keys, |section| Nav::Section(section.policy))
}

fn confirmed(
    visit: &Visit<'_>,
    status: u16,
    deed: Deed,
    ids: &[KeyId],
    form: &Form,
    refusal: Option<String>,
) -> Result<Reply> {
    let (texts, word) = (visit.texts, deed.word());
    let views = views(visit, ids)?;
    let (open, mut refused) = parted(visit, deed, &views)?;
    let count = open.len() as u64;
    let title = texts.count(&format!("bulk.{word}_title"), count);
    let keys = open.iter().take(NAMED);
    let refused_more = refused.len().saturating_sub(NAMED);
    let refused_title = texts.count("bulk.refused", refused.len() as u64);
    refused.truncate(NAMED);
    let page = ConfirmPage {
        s: visit.shell(title.as_str(), nav(form.text("query"))),
        title,
        lead: texts.get(&format!("bulk.{word}_lead")),
        deed: word,
        button: texts.count(&format!("bulk.{word}_button"), count),
        danger: deed == Deed::Delete,
        keys: keys
            .map(|view| (view.key.name.clone(), address(view.key.id)))
            .collect(),
        more: open.len().saturating_sub(NAMED),
        refused,
        refused_more,
        refused_title,
        number: (deed == Deed::Delete).then(|| count.to_string()),
        typed: form.text("number").to_owned(),
        expiry: (deed == Deed::Extend)
            .then(|| expiry::input(visit, None, form, expiry::DEFAULT_DAYS)),
        // What would be refused now is not tried.
        ids: spaced(open.iter().map(|view| view.key.id)),
        query: form.text("query").to_owned(),
        back: ListQuery::parse(form.text("query")).address(),
        refusal,
    };
    html(status, &page)
}

fn done(
    visit: &Visit<'_>,
    deed: Deed,
    views: &[View],
    outcome: BatchOutcome,
    query: &str,
) -> Result<Reply> {
    let (texts, word) = (visit.texts, deed.word());
    let name = |id: KeyId| {
        let view = views.iter().find(|view| view.key.id == id);
        view.map_or_else(|| id.to_string(), |view| view.key.name.clone())
    };
    let refused = outcome.refused.iter().map(|(id, err)| RefusedKey {
        name: name(*id),
        href: match find(visit.call.app, &visit.caller, *id) {
            Ok(_) => address(*id),
            Err(_) => String::new(),
        },
        why: texts.error(err),
    });
    let refused: Vec<RefusedKey> = refused.collect();
    let (stopped, rest) = match &outcome.stopped {
        None => (None, String::new()),
        Some((err, rest)) => {
            let why = match err {
                Error::TooMany { retry_after_s } => texts.count("bulk.wait", *retry_after_s),
                err => texts.error(err),
            };
            let left = texts.count("bulk.left", rest.len() as u64);
            (Some(format!("{left} {why}")), spaced(rest.iter().copied()))
        }
    };
    let page = DonePage {
        s: visit.shell(texts.get("bulk.done_title"), nav(query)),
        good: !outcome.done.is_empty(),
        done: texts.count(&format!("bulk.{word}_done"), outcome.done.len() as u64),
        refused_title: texts.count("bulk.refused", refused.len() as u64),
        refused,
        stopped,
        rest,
        deed: word,
        undo: match deed {
            Deed::Disable => {
                let (app, caller) = (visit.call.app, &visit.caller);
                let may_enable = |id: &KeyId| {
                    let view = find(app, caller, *id);
                    view.is_ok_and(|view| offered::may_enable(app, caller, &view).unwrap_or(false))
                };
                spaced(outcome.done.iter().copied().filter(may_enable))
            }
            _ => String::new(),
        },
        query: query.to_owned(),
        back: ListQuery::parse(query).address(),
    };
    html(200, &page)
}
