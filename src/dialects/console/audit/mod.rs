//! The page of the audit log: lists events and verifies the chain.

mod events;
pub mod export;
mod filters;

use crate::dialects::console::auth::{Visit, page, submit};
use crate::dialects::console::layout::{Layout, Nav, html};
use crate::domain::audit::Event;
use crate::error::{Error, Result};
use crate::http::form::Form;
use crate::http::reply::Reply;
use crate::http::route::Call;
use crate::ops::audit;
use crate::ops::audit::EventFilter;
use askama::Template;
use filters::{FILTERS, Fields, address, wanted};

pub use events::{EventRow, Thing, actor_name, actor_page, row, target};

/// The number of events on a page.
const PAGE_EVENTS: usize = 50;
/// How many times the page looks further back while it has found nothing.
const LOOKS_MAX: usize = 10;

#[derive(Template)]
#[template(path = "console/audit.html")]
struct AuditPage {
    s: Layout,
    rows: Vec<EventRow>,
    fields: Fields,
    /// The filters, which the export repeats.
    kept: Vec<(&'static str, String)>,
    older: String,
    newest: String,
    refusal: Option<String>,
    /// Whether the caller may verify the chain.
    verifies: bool,
    /// The result of verifying the chain, and whether the chain is intact.
    chain: Option<(String, bool)>,
}

/// `GET /console/audit`
pub fn show(call: &Call<'_>) -> Result<Reply> {
    page(call, &|visit| {
        audit::require_read(call.app, &visit.caller)?;
        let mut query = call.query()?;
        let mut form = Form::default();
        for name in FILTERS {
            form.put(name, query.take(name).unwrap_or_default());
        }
        let before = query.take_number("before")?;
        query.finish()?;
        shown(visit, &form, before, None)
    })
}

/// `POST /console/audit/chain`: verifies the whole chain.
pub fn prove(call: &Call<'_>) -> Result<Reply> {
    submit(call, &|visit, _| {
        let chain = match visit.noting(audit::verify_chain(call.app, &visit.caller))? {
            Ok(count) => {
                let count = u64::try_from(count).unwrap_or(0);
                (visit.texts.count("audit.intact", count), true)
            }
            Err(why) => {
                let (broken, why) = (visit.texts.get("audit.broken"), visit.texts.sentence(&why));
                (format!("{broken} {why}"), false)
            }
        };
        shown(visit, &Form::default(), None, Some(chain))
    })
}

fn shown(
    visit: &Visit<'_>,
    form: &Form,
    before: Option<u64>,
    chain: Option<(String, bool)>,
) -> Result<Reply> {
    let found = wanted(visit.texts, form, before, PAGE_EVENTS);
    let (events, next, refusal) = match found.and_then(|asked| listed(visit, &asked)) {
        Ok((events, next)) => (events, next, None),
        Err(err @ Error::Invalid { .. }) => (Vec::new(), None, Some(visit.texts.error(&err))),
        Err(err) => return Err(err),
    };
    let status = if refusal.is_some() { 422 } else { 200 };
    let rows = events.iter().map(|event| row(visit, form, event));
    let log = AuditPage {
        s: visit.shell(visit.texts.get("audit.title"), Nav::Audit),
        rows: rows.collect::<Result<_>>()?,
        fields: Fields::new(visit, form)?,
        kept: FILTERS
            .iter()
            .map(|name| (*name, form.text(name).to_owned()))
            .collect(),
        older: next.map_or_else(String::new, |seq| {
            address(form, &[("before", &seq.to_string())])
        }),
        newest: match before {
            None => String::new(),
            Some(_) => address(form, &[]),
        },
        refusal,
        verifies: audit::require_verify_chain(visit.call.app, &visit.caller).is_ok(),
        chain,
    };
    html(status, &log)
}

/// A page of events. One request to `ops` examines a limited number of events, so a filter that rarely fits needs
/// several.
fn listed(visit: &Visit<'_>, asked: &EventFilter) -> Result<(Vec<Event>, Option<i64>)> {
    let mut asked = asked.clone();
    let mut found = (Vec::new(), None);
    for _ in 0..LOOKS_MAX {
        found = audit::audit_events(visit.call.app, &visit.caller, &asked)?;
        asked.before = found.1;
        if !found.0.is_empty() || found.1.is_none() {
            break;
        }
    }
    Ok(found)
}
