//! The page that runs the checks of `latchkey doctor`, and shows what they find in the user's language.

use super::auth::{Visit, page, submit};
use super::layout::{Layout, Nav, html};
use crate::error::Result;
use crate::http::reply::Reply;
use crate::http::route::Call;
use crate::ops::backups;
use crate::ops::doctor::{self, Check, Finding};
use askama::Template;

#[derive(Template)]
#[template(path = "console/doctor.html")]
struct DoctorPage {
    s: Layout,
    /// `None` before the checks were run.
    checks: Option<Vec<CheckRow>>,
    /// How many checks have found something, in words.
    summary: String,
    is_good: bool,
}

struct CheckRow {
    name: &'static str,
    /// Whether the name is in English, because it has no translation.
    is_english: bool,
    badge: &'static str,
    class: &'static str,
    /// What was found, a sentence each.
    found: Vec<String>,
    advice: String,
}

/// `GET /console/doctor`
pub fn show(call: &Call<'_>) -> Result<Reply> {
    page(call, &|visit| {
        backups::require(call.app, &visit.caller)?;
        shown(visit, None)
    })
}

/// `POST /console/doctor`: a form, because the checks read the whole database.
pub fn run(call: &Call<'_>) -> Result<Reply> {
    submit(call, &|visit, _| {
        let checks = visit.noting(doctor::examine(call.app, &visit.caller))?;
        shown(visit, Some(checks))
    })
}

fn shown(visit: &Visit<'_>, checks: Option<Vec<Check>>) -> Result<Reply> {
    let texts = visit.texts;
    let row = |check: Check| {
        let (badge, class) = match check.finding {
            Finding::Failed => ("doctor.failed", "badge-bad"),
            Finding::Ok => ("doctor.ok", "badge-good"),
            Finding::Warning => ("doctor.warning", "badge-warn"),
        };
        let slug = check.name.to_ascii_lowercase().replace([' ', '-'], "_");
        let name = texts.find(&format!("check.{slug}"));
        CheckRow {
            name: name.unwrap_or(check.name),
            is_english: name.is_none(),
            badge: texts.get(badge),
            class,
            found: check
                .found
                .0
                .iter()
                .map(|one| texts.sentence(one))
                .collect(),
            advice: match &check.advice {
                Some(advice) => texts.sentence(advice),
                None => String::new(),
            },
        }
    };
    let mut checks = checks;
    if let Some(checks) = &mut checks {
        let weight = |check: &Check| match check.finding {
            Finding::Failed => 0,
            Finding::Warning => 1,
            Finding::Ok => 2,
        };
        checks.sort_by_key(weight);
    }
    let found = checks.iter().flatten();
    let found = found.filter(|check| check.finding != Finding::Ok).count() as u64;
    let doctor = DoctorPage {
        s: visit.shell(texts.get("doctor.title"), Nav::None),
        summary: match found {
            0 => texts.get("doctor.nothing").to_owned(),
            some => texts.count("doctor.found", some),
        },
        is_good: found == 0,
        checks: checks.map(|checks| checks.into_iter().map(row).collect()),
    };
    html(200, &doctor)
}
