//! The fields of a form: their kinds, their values, and the parsing of what the user typed.

use super::layout::Layout;
use super::text::Texts;
use crate::domain::time::Timestamp;
use crate::domain::time_zone::Zone;
use crate::error::{Error, Result};
use crate::http::form::Form;
use askama::Template;

/// One field.
pub struct Input {
    pub name: &'static str,
    pub label: &'static str,
    pub hint: String,
    /// A page that explains more, and the text of the link to it.
    pub link: Option<(String, &'static str)>,
    pub kind: Kind,
    pub value: String,
    pub required: bool,
    /// Empty if nothing is wrong.
    pub refusal: String,
}

/// The template of a field.
#[derive(Template)]
#[template(path = "console/input.html")]
pub struct InputTemplate<'a> {
    s: &'a Layout,
    i: &'a Input,
}

/// The kind of control that a field is.
pub enum Kind {
    /// Any number of these choices.
    Boxes(Vec<Choice>),
    Date {
        least: String,
        most: String,
    },
    /// The end of a key: one of these choices, and a day for one of them.
    Life {
        choices: Vec<Choice>,
        least: String,
        most: String,
    },
    /// A text of several lines; the number is the initial height.
    Lines(u8),
    Number,
    /// A sentence around one or two numbers: its parts, and the name and the value of the second number.
    Phrase {
        parts: Vec<&'static str>,
        second: Option<(&'static str, String)>,
    },
    /// One of these choices, all of which are visible.
    Radios(Vec<Choice>),
    /// One of these choices.
    Select(Vec<Choice>),
    Text,
}

impl Input {
    /// The rendered field. All pages share this template, so that it is compiled once.
    pub fn shown<'a>(&'a self, s: &'a Layout) -> InputTemplate<'a> {
        InputTemplate { s, i: self }
    }

    /// Whether the field is a day, which begins and ends in the time zone of the user.
    pub fn is_day(&self) -> bool {
        matches!(self.kind, Kind::Date { .. })
    }

    /// Whether the field leaves room for another one in the same row.
    pub fn is_short(&self) -> bool {
        matches!(self.kind, Kind::Number) || matches!(self.name, "life_unit" | "until_unit")
    }
}

/// One choice of a field.
pub struct Choice {
    pub value: String,
    pub label: String,
    pub hint: String,
    pub chosen: bool,
    /// The requests that a scope opens.
    pub opens: Vec<String>,
}

/// The units of a span in seconds, the largest first. Their labels are `unit.NAME`.
pub const UNITS: [(&str, u64); 4] = [
    ("days", 86_400),
    ("hours", 3_600),
    ("minutes", 60),
    ("seconds", 1),
];

/// A span in the largest unit in which it is a whole number, and the unit.
pub fn in_units(seconds: u64) -> (u64, &'static str) {
    let fitting = UNITS.iter().find(|(_, size)| seconds.is_multiple_of(*size));
    let (unit, size) = fitting.unwrap_or(&UNITS[UNITS.len() - 1]);
    (seconds / size, unit)
}

/// The number of boxes that are always visible; further boxes are folded unless they are ticked.
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
            opens: Vec::new(),
        }
    }
}

/// An error as the refusal of a form: the status, the member at fault and the reason. `None` for errors that have a
/// page of their own.
pub struct Refusal {
    pub status: u16,
    /// The full name, such as `rate_limit.window_s`; empty if the refusal concerns the whole form.
    pub member: String,
    /// The reason as a sentence.
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

    /// The name of the member up to the first bracket or dot.
    pub fn bare(&self) -> &str {
        self.member.split(['[', '.']).next().unwrap_or(&self.member)
    }
}

/// The first instant of a day as browsers send it, in the time zone of the user.
pub fn day(texts: &Texts, form: &Form, name: &str) -> Result<Option<Timestamp>> {
    read_day(texts, form, name, Zone::start_of_day)
}

/// The instant at which a day ends that browsers send, in the time zone of the user.
pub fn end_of_day(texts: &Texts, form: &Form, name: &str) -> Result<Option<Timestamp>> {
    read_day(texts, form, name, Zone::end_of_day)
}

fn read_day(
    texts: &Texts,
    form: &Form,
    name: &str,
    read: fn(&Zone, &str) -> Option<Timestamp>,
) -> Result<Option<Timestamp>> {
    let Some(text) = form.some(name) else {
        return Ok(None);
    };
    read(&texts.zone, &text)
        .map(Some)
        .ok_or_else(|| Error::invalid_text(name, texts.get("refusal.day")))
}

pub fn number(texts: &Texts, form: &Form, name: &str) -> Result<Option<u64>> {
    let Some(text) = form.some(name) else {
        return Ok(None);
    };
    let read = text.trim().parse().map(Some);
    read.map_err(|_| Error::invalid_text(name, texts.get("refusal.number")))
}
