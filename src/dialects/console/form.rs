//! The fields of a form: what each looks like, what stands in it, and reading what was typed.

use super::shell::Shell;
use super::text::Texts;
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::http::form::Form;
use askama::Template;

/// One field.
pub struct Input {
    pub name: &'static str,
    pub label: &'static str,
    pub hint: String,
    /// A page that explains more, and what the link to it says.
    pub link: Option<(String, &'static str)>,
    pub kind: Kind,
    pub value: String,
    pub required: bool,
    /// Empty if nothing is wrong.
    pub refusal: String,
}

/// A field as it is shown.
#[derive(Template)]
#[template(path = "console/input.html")]
pub struct Shown<'a> {
    s: &'a Shell,
    i: &'a Input,
}

/// What a field looks like.
pub enum Kind {
    /// Of these, any number.
    Boxes(Vec<Choice>),
    Date {
        least: String,
        most: String,
    },
    /// So many lines at first.
    Lines(u8),
    Number,
    /// Of these, one; all of them are seen.
    Radios(Vec<Choice>),
    /// Of these, one.
    Select(Vec<Choice>),
    Text,
}

impl Input {
    /// The field as pages show it, compiled once for all of them.
    pub fn shown<'a>(&'a self, s: &'a Shell) -> Shown<'a> {
        Shown { s, i: self }
    }

    /// Whether there is room for another one beside it.
    pub fn is_short(&self) -> bool {
        matches!(self.kind, Kind::Number) || self.name == "life_unit"
    }
}

/// Something to choose.
pub struct Choice {
    pub value: String,
    pub label: String,
    pub hint: String,
    pub chosen: bool,
}

/// Boxes that are shown as they come; of more, those behind that are not ticked are folded.
pub const FEW: usize = 40;

/// How many boxes are folded.
pub fn folded(choices: &[Choice]) -> usize {
    let behind = choices.iter().skip(FEW);
    behind.filter(|choice| !choice.chosen).count()
}

impl Choice {
    pub fn of(value: impl Into<String>, label: impl Into<String>, chosen: &str) -> Choice {
        let value = value.into();
        Choice {
            chosen: value == chosen,
            value,
            label: label.into(),
            hint: String::new(),
        }
    }
}

/// What an error says of a form: the member it is about, without its place in a list, and why; `None` for errors
/// that have a page of their own. The status goes with it.
pub struct Refusal {
    pub status: u16,
    /// The whole name, such as `rate_limit.window_s`; empty if it is about the whole form.
    pub member: String,
    /// A sentence.
    pub why: String,
}

impl Refusal {
    pub fn of(texts: &Texts, err: &Error) -> Option<Refusal> {
        let (status, member, why) = match err {
            Error::Invalid { field, reason } => (422, field.as_str(), reason),
            Error::Conflict(why) => (409, "", why),
            Error::Forbidden(why) => (403, "", why),
            _ => return None,
        };
        Some(Refusal {
            status,
            member: member.to_owned(),
            why: texts.sentence(why),
        })
    }

    /// The member without what is behind a bracket or a dot.
    pub fn bare(&self) -> &str {
        self.member.split(['[', '.']).next().unwrap_or(&self.member)
    }
}

/// The beginning of a day as browsers send it, in UTC.
pub fn day(texts: &Texts, form: &Form, name: &str) -> Result<Option<Timestamp>> {
    let Some(text) = form.some(name) else {
        return Ok(None);
    };
    Timestamp::parse(name, &format!("{text}T00:00:00Z"))
        .map(Some)
        .map_err(|_| Error::invalid(name, texts.get("refusal.day")))
}

/// A whole number.
pub fn number(texts: &Texts, form: &Form, name: &str) -> Result<Option<u64>> {
    let Some(text) = form.some(name) else {
        return Ok(None);
    };
    let read = text.trim().parse().map(Some);
    read.map_err(|_| Error::invalid(name, texts.get("refusal.number")))
}
