//! Parses the file of a language.
//!
//! Lines of `name = text` follow a heading `[group]`. The group `[given]` translates names and labels: each line is the
//! English text, ` = `, and the translation, which the English file omits. `#` starts a comment.

use super::{Texts, english, template};
use crate::error::{Error, Result};
use crate::refusals::verbatim;
use std::collections::{HashMap, HashSet};

/// The group whose lines begin with English texts instead of names.
const LABELS: &str = "given";
/// A group of older versions, with the English sentences of refusals. It is ignored.
const SENTENCES: &str = "said";

/// A line that is neither empty nor a comment nor a heading.
pub enum Line {
    Named(String, &'static str),
    /// An English text, and its translation.
    Label(&'static str, Option<&'static str>),
    /// The number of the line.
    Unreadable(usize),
}

/// All lines except empty lines, comments, headings and the lines of the ignored group.
pub fn lines(file: &'static str) -> impl Iterator<Item = Line> {
    let mut group = "";
    file.lines().enumerate().filter_map(move |(index, line)| {
        // Other kinds of white space may be part of a text.
        let line = line.trim_matches([' ', '\t', '\r', '\u{feff}']);
        if line.is_empty() || line.starts_with('#') {
            return None;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            group = name;
            return None;
        }
        if group == SENTENCES {
            return None;
        }
        let trimmed = |text: &'static str| text.trim_matches([' ', '\t']);
        Some(match line.split_once(" =") {
            Some((label, own)) if group == LABELS => {
                Line::Label(trimmed(label), Some(trimmed(own)))
            }
            None if group == LABELS => Line::Label(line, None),
            Some((name, text)) => Line::Named(format!("{group}.{name}"), trimmed(text)),
            None => Line::Unreadable(index + 1),
        })
    })
}

/// Whether the file has the group that is ignored.
pub fn has_sentences(file: &str) -> bool {
    let heading = format!("[{SENTENCES}]");
    file.lines().any(|line| line.trim() == heading)
}

impl Texts {
    /// Parses a file that is known to be valid.
    pub fn lenient(file: &'static str) -> Texts {
        let mut texts = Texts {
            named: HashMap::new(),
            labels: HashMap::new(),
        };
        for line in lines(file) {
            match line {
                Line::Named(name, text) => {
                    texts.named.insert(name, text);
                }
                Line::Label(label, Some(own)) => {
                    texts.labels.insert(label, own);
                }
                Line::Label(_, None) | Line::Unreadable(_) => {}
            }
        }
        texts
    }

    /// Checks and parses a file from the administrator; the error describes the fault.
    pub fn strict(file: &'static str) -> Result<Texts> {
        let refused = |why: String| Err(Error::Malformed(verbatim(why)));
        let known: HashSet<&str> = labels().collect();
        let mut seen = HashSet::new();
        for line in lines(file) {
            let (name, text, original) = match line {
                Line::Unreadable(number) => {
                    return refused(format!("line {number} is none of [group] and name = text"));
                }
                Line::Label(label, own) => {
                    let original = known.get(label).copied();
                    (label.to_owned(), own.unwrap_or(label), original)
                }
                Line::Named(name, text) => {
                    let original = english().named.get(&name).copied();
                    (name, text, original)
                }
            };
            let Some(original) = original else {
                return refused(format!("the console has no text {name:?}"));
            };
            if !seen.insert(name.clone()) {
                return refused(format!("{name:?} is there twice"));
            }
            // A number may have no separator of thousands.
            if text.is_empty() && !original.is_empty() && !name.starts_with("number.") {
                return refused(format!("{name:?} has no text"));
            }
            let mut places: Vec<&str> = places(original).collect();
            for place in self::places(text) {
                match places.iter().position(|known| *known == place) {
                    // What has no name is filled in once.
                    Some(at) if place.is_empty() => drop(places.swap_remove(at)),
                    Some(_) => {}
                    None => {
                        let why = format!("{name:?} has a place {{{place}}} that is not filled in");
                        return refused(why);
                    }
                }
            }
        }
        Ok(Texts::lenient(file))
    }

    /// The names and labels that the English file has and this language lacks.
    pub fn lacking(&self) -> Vec<String> {
        let lacks = |line| match line {
            Line::Named(name, _) => (!self.named.contains_key(&name)).then_some(name),
            Line::Label(label, _) => (!self.labels.contains_key(label)).then(|| label.to_owned()),
            Line::Unreadable(_) => None,
        };
        lines(template()).filter_map(lacks).collect()
    }
}

/// The English names and labels that can be translated.
pub fn labels() -> impl Iterator<Item = &'static str> {
    lines(template()).filter_map(|line| match line {
        Line::Label(label, _) => Some(label),
        _ => None,
    })
}

/// The places of a text for what is filled in: what stands between braces.
fn places(text: &str) -> impl Iterator<Item = &str> {
    text.split('{')
        .skip(1)
        .filter_map(|rest| Some(rest.split_once('}')?.0))
}
