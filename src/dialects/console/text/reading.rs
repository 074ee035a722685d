//! Parses the file of a language.
//!
//! Lines of `name = text` follow a heading `[group]`. The group `[given]` translates names and labels: each line is the
//! English text, ` = `, and the translation, which the English file omits. `#` starts a comment.

use super::plural::{PluralRule, rule};
use super::{Words, english_words, template};
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
    Unreadable,
}

/// All lines with their numbers, except empty lines, comments, headings and the lines of the ignored group.
pub fn lines(file: &'static str) -> impl Iterator<Item = (usize, Line)> {
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
        let line = match line.split_once(" =") {
            Some((label, own)) if group == LABELS => {
                Line::Label(trimmed(label), Some(trimmed(own)))
            }
            None if group == LABELS => Line::Label(line, None),
            Some((name, text)) => Line::Named(format!("{group}.{name}"), trimmed(text)),
            None => Line::Unreadable,
        };
        Some((index + 1, line))
    })
}

/// Whether the file has the group that is ignored.
pub fn has_sentences(file: &str) -> bool {
    let heading = format!("[{SENTENCES}]");
    file.lines().any(|line| line.trim() == heading)
}

impl Words {
    /// Parses a file that is known to be valid.
    pub fn lenient(file: &'static str) -> Words {
        let mut words = Words {
            named: HashMap::new(),
            labels: HashMap::new(),
            plurals: plurals_of(file),
        };
        for (_, line) in lines(file) {
            match line {
                Line::Named(name, text) => {
                    words.named.insert(name, text);
                }
                Line::Label(label, Some(own)) => {
                    words.labels.insert(label, own);
                }
                Line::Label(_, None) | Line::Unreadable => {}
            }
        }
        words
    }

    /// Checks and parses a file from the administrator; the error describes the first fault.
    pub fn strict(file: &'static str) -> Result<Words> {
        match faults(file).into_iter().next() {
            Some(fault) => Err(Error::Malformed(verbatim(fault))),
            None => Ok(Words::lenient(file)),
        }
    }

    /// The names and labels that this language should have and lacks.
    pub fn lacking(&self) -> Vec<String> {
        let mut lacking: Vec<String> = Vec::new();
        for (_, line) in lines(template()) {
            match line {
                Line::Named(name, _) => match plural_of(&name) {
                    Some((base, "other")) => {
                        let names = self
                            .plurals
                            .forms
                            .iter()
                            .map(|form| format!("{base}.{form}"));
                        lacking.extend(names.filter(|name| !self.named.contains_key(name)));
                    }
                    Some(_) => {}
                    None if self.named.contains_key(&name) => {}
                    None => lacking.push(name),
                },
                Line::Label(label, _) if !self.labels.contains_key(label) => {
                    lacking.push(label.to_owned());
                }
                Line::Label(..) | Line::Unreadable => {}
            }
        }
        lacking
    }
}

/// Everything that is wrong in a file, each with the number of its line.
pub fn faults(file: &'static str) -> Vec<String> {
    let plurals = plurals_of(file);
    let known: HashSet<&str> = labels().collect();
    let mut seen = HashSet::new();
    let mut faults = Vec::new();
    for (number, line) in lines(file) {
        let fault = match line {
            Line::Unreadable => Some("this is neither [group] nor name = text".to_owned()),
            Line::Label(label, own) => {
                let text = own.unwrap_or(label);
                let original = known.get(label).copied();
                fault_of(label, text, original, plurals)
                    .or_else(|| (!seen.insert(label.to_owned())).then(|| twice(label)))
            }
            Line::Named(name, text) => {
                let original = original_of(&name);
                fault_of(&name, text, original, plurals)
                    .or_else(|| (!seen.insert(name.clone())).then(|| twice(&name)))
            }
        };
        faults.extend(fault.map(|fault| format!("line {number}: {fault}")));
    }
    faults
}

/// The English names and labels that can be translated.
pub fn labels() -> impl Iterator<Item = &'static str> {
    lines(template()).filter_map(|(_, line)| match line {
        Line::Label(label, _) => Some(label),
        _ => None,
    })
}

fn twice(name: &str) -> String {
    format!("{name:?} is there twice")
}

/// What is wrong with one text.
fn fault_of(
    name: &str,
    text: &str,
    original: Option<&str>,
    plurals: &PluralRule,
) -> Option<String> {
    let Some(original) = original else {
        return Some(format!("the console has no text {name:?}"));
    };
    let form = plural_of(name).map(|(_, form)| form);
    if let Some(form) = form.filter(|form| !plurals.has(form)) {
        let forms = plurals.forms.join(", ");
        return Some(format!(
            "{name:?}: this language has no form {form:?}; its forms are {forms}"
        ));
    }
    // A number may have no separator of thousands.
    if text.is_empty() && !original.is_empty() && !name.starts_with("number.") {
        return Some(format!("{name:?} has no text"));
    }
    let mut left: Vec<&str> = places(original).collect();
    let wanted = left.clone();
    for place in places(text) {
        match left.iter().position(|known| *known == place) {
            Some(at) => drop(left.swap_remove(at)),
            // What has a name can be repeated, and what has none is filled in once.
            None if !place.is_empty() && wanted.contains(&place) => {}
            None => {
                return Some(format!(
                    "{name:?} has a place {{{place}}} that is not filled in"
                ));
            }
        }
    }
    let is_known = |place: &&str| {
        let number = place.split(':').next().unwrap_or_default();
        name.starts_with("refusals.") && wanted.contains(&number)
    };
    if let Some(place) = choices(text).find(|place| !is_known(place)) {
        return Some(format!(
            "{name:?} has a place {{{place}}} that is not filled in"
        ));
    }
    let may_lack = form.is_some_and(|form| plurals.is_single(form));
    let lost = left.first().filter(|_| !may_lack)?;
    Some(format!("{name:?} lacks the place {{{lost}}}"))
}

/// The English text that a name stands for. The forms of a plural, whichever a language has, stand for the form `other`.
fn original_of(name: &str) -> Option<&'static str> {
    match plural_of(name) {
        Some((base, _)) => english_words().find(&format!("{base}.other")),
        None => english_words().find(name),
    }
}

/// The name without its form, and the form, if English has forms of this text.
fn plural_of(name: &str) -> Option<(&str, &str)> {
    let (base, form) = name.rsplit_once('.')?;
    let is_form = matches!(form, "few" | "many" | "one" | "other" | "two" | "zero");
    let english = |form: &str| english_words().find(&format!("{base}.{form}")).is_some();
    (is_form && english("one") && english("other")).then_some((base, form))
}

/// The plural rule of the language that a file names.
fn plurals_of(file: &'static str) -> &'static PluralRule {
    let tag = lines(file).find_map(|(_, line)| match line {
        Line::Named(name, text) if name == "frame.language" => Some(text),
        _ => None,
    });
    rule(tag.unwrap_or("en"))
}

/// The places of a text for what is filled in: what stands between braces.
fn places(text: &str) -> impl Iterator<Item = &str> {
    braced(text).filter(|place| !is_choice(place))
}

/// The places of a refusal for words that fit a number in it, such as `count:line is|lines are`. Each language has its own.
fn choices(text: &str) -> impl Iterator<Item = &str> {
    braced(text).filter(is_choice)
}

fn is_choice(place: &&str) -> bool {
    let number = place.split_once(':').map(|(number, _)| number);
    number.is_some_and(|name| name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'))
}

fn braced(text: &str) -> impl Iterator<Item = &str> {
    text.split('{')
        .skip(1)
        .filter_map(|rest| Some(rest.split_once('}')?.0))
}
