//! Parses the file of a language.
//!
//! Lines of `name = text` follow a heading `[group]`. The groups `[said]` and `[given]` translate sentences from other
//! modules: each line is the English sentence, ` = `, and the translation, which the English file omits. `#` starts a
//! comment.

use super::sentences::{Sentences, places};
use super::{ENGLISH, Texts, english};
use std::collections::{HashMap, HashSet};

/// The groups whose lines start with English sentences instead of names.
const KNOWN_BY_WORDS: [&str; 2] = ["said", "given"];

/// A line that is neither empty nor a comment nor a heading.
pub enum Line {
    Named(String, &'static str),
    /// An English sentence, and its translation.
    Said(&'static str, Option<&'static str>),
    /// The number of the line.
    Unreadable(usize),
}

/// All lines except empty lines, comments and headings.
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
        let trimmed = |text: &'static str| text.trim_matches([' ', '\t']);
        let by_words = KNOWN_BY_WORDS.contains(&group);
        Some(match line.split_once(" =") {
            Some((words, own)) if by_words => Line::Said(trimmed(words), Some(trimmed(own))),
            None if by_words => Line::Said(line, None),
            Some((name, text)) => Line::Named(format!("{group}.{name}"), trimmed(text)),
            None => Line::Unreadable(index + 1),
        })
    })
}

impl Texts {
    /// Parses a file that is known to be valid.
    pub fn lenient(file: &'static str) -> Texts {
        let mut texts = Texts {
            named: HashMap::new(),
            sentences: Sentences::default(),
        };
        for line in lines(file) {
            match line {
                Line::Named(name, text) => {
                    texts.named.insert(name, text);
                }
                Line::Said(words, Some(own)) => texts.sentences.add(words, own),
                Line::Said(_, None) | Line::Unreadable(_) => {}
            }
        }
        texts
    }

    /// Checks and parses a file from the administrator; the error describes the fault.
    pub fn strict(file: &'static str) -> Result<Texts, String> {
        let known: HashSet<&str> = said(ENGLISH).collect();
        let mut seen = HashSet::new();
        for line in lines(file) {
            let (name, text, original) = match line {
                Line::Unreadable(number) => {
                    return Err(format!("line {number} is none of [group] and name = text"));
                }
                Line::Said(words, own) => {
                    let original = known.get(words).copied();
                    (words.to_owned(), own.unwrap_or(words), original)
                }
                Line::Named(name, text) => {
                    let original = english().named.get(&name).copied();
                    (name, text, original)
                }
            };
            let original = original.ok_or_else(|| format!("the console has no text {name:?}"))?;
            if !seen.insert(name.clone()) {
                return Err(format!("{name:?} is there twice"));
            }
            let room = places(original);
            if places(text).iter().any(|place| !room.contains(place)) {
                return Err(format!("{name:?} has more places than are filled in"));
            }
        }
        Ok(Texts::lenient(file))
    }

    /// The names and sentences that the English file has and this language lacks.
    pub fn lacking(&self) -> Vec<String> {
        let lacks = |line| match line {
            Line::Named(name, _) => (!self.named.contains_key(&name)).then_some(name),
            Line::Said(words, _) => (!self.sentences.has(words)).then(|| words.to_owned()),
            Line::Unreadable(_) => None,
        };
        lines(ENGLISH).filter_map(lacks).collect()
    }
}

/// The English sentences in a file.
pub fn said(file: &'static str) -> impl Iterator<Item = &'static str> {
    lines(file).filter_map(|line| match line {
        Line::Said(words, _) => Some(words),
        _ => None,
    })
}
