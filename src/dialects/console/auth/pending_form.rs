//! A form that its sender must sign in for first. Its fields pass through the sign-in page, which offers them to be
//! sent again afterwards. Passwords are not included.

use super::{TOKEN, Visit, local_path};
use crate::dialects::console::layout::{Layout, Nav, html};
use crate::error::Result;
use crate::http::form::Form;
use crate::http::query::encode;
use crate::http::reply::Reply;
use askama::Template;

/// The field with the path to which the form was sent.
pub const TO: &str = "carried_to";
/// The field with the fields of the form.
pub const FIELDS: &str = "carried_form";

/// A form that waits for a sign-in.
#[derive(Clone, Debug)]
pub struct PendingForm {
    pub to: String,
    pub fields: String,
}

#[derive(Template)]
#[template(path = "console/resume.html")]
struct ResumePage {
    s: Layout,
    to: String,
    fields: Vec<(String, String)>,
    /// The fields that the page displays, each with its label and value.
    shown: Vec<(String, String)>,
}

impl PendingForm {
    /// Packs a form that was sent to `path`.
    pub fn new(path: &str, form: &Form) -> PendingForm {
        let kept = form.fields().iter().filter(|(name, _)| travels(name));
        let pairs: Vec<String> = kept
            .map(|(name, value)| format!("{}={}", encode(name), encode(value)))
            .collect();
        PendingForm {
            to: local_path(path).to_owned(),
            fields: pairs.join("&"),
        }
    }

    /// Reads the form that a sign-in page sent back.
    pub fn take(form: &Form) -> Option<PendingForm> {
        let to = form.some(TO)?;
        Some(PendingForm {
            to: local_path(&to).to_owned(),
            fields: form.text(FIELDS).to_owned(),
        })
    }
}

/// Offers to send a form that was made for an earlier session of the same browser.
pub fn offer(visit: &Visit<'_>, path: &str, form: &Form) -> Result<Reply> {
    let shell = visit.shell(visit.texts.get("resume.title"), Nav::None);
    shown(shell, 403, &PendingForm::new(path, form))
}

/// Offers to send a form whose sender has just signed in.
pub fn shown(s: Layout, status: u16, carried: &PendingForm) -> Result<Reply> {
    let form = Form::parse(&carried.fields)?;
    let fields = form.fields().to_vec();
    let shown = fields
        .iter()
        .filter(|(name, value)| !value.is_empty() && name != "nonce")
        .map(|(name, value)| {
            let bare = name.trim_end_matches("[]");
            let label = s.find(&format!("field.{bare}"));
            (label.unwrap_or(bare).to_owned(), value.clone())
        })
        .collect();
    html(
        status,
        &ResumePage {
            s,
            to: carried.to.clone(),
            fields,
            shown,
        },
    )
}

fn travels(name: &str) -> bool {
    name != TOKEN && !name.contains("password")
}
