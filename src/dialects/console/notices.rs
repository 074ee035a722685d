//! The page of notices: what an administrator or the owner of a key should hear of, and what of it the user has seen.

use super::MOUNT;
use super::audit::{Thing, actor_name, target};
use super::auth::{Visit, page, redirect, submit};
use super::layout::moment::DisplayTime;
use super::layout::{Layout, Nav, html};
use crate::domain::notices::Notice;
use crate::error::Result;
use crate::http::form::Form;
use crate::http::reply::Reply;
use crate::http::route::Call;
use crate::ops::notices::list::{self, NoticeFilter};
use askama::Template;
use serde_json::{Map, Value};

/// The number of notices on a page.
const PAGE_NOTICES: usize = 50;

#[derive(Template)]
#[template(path = "console/notices.html")]
struct NoticesPage {
    s: Layout,
    rows: Vec<NoticeRow>,
    /// The number of the newest notice, if the user has not seen it.
    newest: Option<i64>,
    older: String,
}

struct NoticeRow {
    at: DisplayTime,
    kind: &'static str,
    is_new: bool,
    subject: Option<Thing>,
    /// How often it happened, if more than once.
    count: String,
    /// The facts, by name as the API has them.
    facts: Vec<(String, String)>,
}

/// `GET /console/notices`
pub fn show(call: &Call<'_>) -> Result<Reply> {
    page(call, &|visit| {
        let mut query = call.query()?;
        let before = query.take_number("before")?;
        query.finish()?;
        let wanted = NoticeFilter {
            kind: None,
            before: before.map(|seq| i64::try_from(seq).unwrap_or(i64::MAX)),
            limit: PAGE_NOTICES,
        };
        let (notices, next) = list::list(call.app, &visit.caller, &wanted)?;
        let seen = match visit.caller.user {
            Some(user) => list::seen(call.app, user)?,
            None => 0,
        };
        let newest = notices.first().map(|notice| notice.seq);
        let rows = notices.iter().map(|notice| row(visit, notice, seen));
        let notices = NoticesPage {
            s: visit.shell(visit.texts.get("notices.title"), Nav::Notices),
            rows: rows.collect::<Result<_>>()?,
            newest: newest.filter(|newest| before.is_none() && *newest > seen),
            older: next.map_or_else(String::new, |seq| format!("{MOUNT}/notices?before={seq}")),
        };
        html(200, &notices)
    })
}

/// `POST /console/notices`: marks the notices up to the newest one on the page as seen.
pub fn mark(call: &Call<'_>) -> Result<Reply> {
    submit(call, &|visit, form| {
        if let (Some(user), Ok(seq)) = (visit.caller.user, form.text("newest").parse()) {
            list::note_seen(visit.call.app, user, seq)?;
        }
        Ok(redirect(&format!("{MOUNT}/notices")))
    })
}

fn row(visit: &Visit<'_>, notice: &Notice, seen: i64) -> Result<NoticeRow> {
    let texts = visit.texts;
    let facts: Map<String, Value> = serde_json::from_str(&notice.data).unwrap_or_default();
    let fact = |(name, value): (String, Value)| {
        let text = value.as_str().unwrap_or_default();
        let is_time = crate::domain::time::Timestamp::parse("", text).ok();
        let shown = match (name.as_str(), is_time) {
            ("action", _) => texts.action(text).to_owned(),
            ("actor", _) => actor_name(visit, text)?,
            (_, Some(at)) => texts.minute(at),
            _ => text.to_owned(),
        };
        let mut groups = ["notice_fact", "member"].iter();
        let label = groups.find_map(|group| texts.find(&format!("{group}.{name}")));
        Ok((label.map_or(name, str::to_owned), shown))
    };
    Ok(NoticeRow {
        at: DisplayTime::new(texts, notice.last_at, visit.call.app.now().wall),
        kind: texts
            .find(&format!("notice.{}", notice.kind.as_str()))
            .unwrap_or(notice.kind.as_str()),
        is_new: notice.seq > seen,
        subject: target(visit, &Form::default(), &notice.subject)?,
        count: match notice.count {
            1 => String::new(),
            count => texts.count("notices.times", count),
        },
        facts: facts.into_iter().map(fact).collect::<Result<_>>()?,
    })
}
