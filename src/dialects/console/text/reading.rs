//! Reading the file of a language.
//!
//! Lines of `name = text` stand below headings of `[group]`. Below `[said]` and `[given]` stand words that come from
//! elsewhere: the English ones first, then ` = ` and those of the language; English has no need of the latter. `#`
//! begins a comment.

use super::sentences::{Sentences, places};
use super::{ENGLISH, Texts, english};
use std::collections::{HashMap, HashSet};

/// The groups of what is known by its English words.
const KNOWN_BY_WORDS: [&str; 2] = ["said", "given"];

/// One line that says something.
pub enum Line {
    Named(String, &'static str),
    /// English words, and those of the language.
    Said(&'static str, Option<&'static str>),
    /// Its number.
    Unreadable(usize),
}

/// Every line that says something.
pub fn lines(file: &'static str) -> impl Iterator<Item = Line> {
    let mut group = "";
    file.lines().enumerate().filter_map(move |(index, line)| {
        // Blanks of other kinds may be what a text is.
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
    /// Reads a file that is known to be good.
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

    /// Reads somebody's file; the error says what is wrong with it.
    pub fn strict(file: &'static str) -> Result<Texts, String> {
        let known: HashSet<&str> = said(&ENGLISH).collect();
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

    /// What English has and this language does not, by name or by its words.
    pub fn lacking(&self) -> Vec<String> {
        let lacks = |line| match line {
            Line::Named(name, _) => (!self.named.contains_key(&name)).then_some(name),
            Line::Said(words, _) => (!self.sentences.has(words)).then(|| words.to_owned()),
            Line::Unreadable(_) => None,
        };
        lines(&ENGLISH).filter_map(lacks).collect()
    }
}

/// The English words of all sentences in a file.
pub fn said(file: &'static str) -> impl Iterator<Item = &'static str> {
    lines(file).filter_map(|line| match line {
        Line::Said(words, _) => Some(words),
        _ => None,
    })
}
