//! Searching: a key is found if it has every word of the text, in any order and in any case.
//!
//! A word is found in what the list and the page of a key show: its name, id, hint, description, contact and metadata, and
//! what it shares with other keys: workspace, owner, policy, catalog, scopes, creator and source. `name=value` finds a
//! member of the metadata. Words within double quotes are one word. No other character has a special meaning
//! (attacks 187).

use crate::domain::keys::KeyId;
use crate::domain::keys::live::SharedPart;
use crate::domain::keys::metadata;
use crate::error::{Error, Result};
use crate::index::directory::Directory;
use crate::refusals;
use memchr::memmem::Finder;
use std::cell::{OnceCell, RefCell};

/// The greatest number of characters of a search text.
pub const QUERY_CHARS_MAX: usize = 100;

/// The words that a key must have, in lower case.
#[derive(Default)]
pub struct Search {
    words: Vec<Word>,
    /// The texts of the key that was compared last, in lower case. The next key uses its memory.
    lowered: RefCell<String>,
}

struct Word {
    text: String,
    finder: Finder<'static>,
}

/// Follows each text of a key. No word has it, so no word is found across two texts.
const END: char = '\0';

/// Which words are found: a bit for each.
pub type Hits = u64;

/// The texts of one key.
pub struct Texts<'a, H> {
    pub id: KeyId,
    pub name: &'a str,
    /// Builds the hint, which few searches need.
    pub hint: H,
    pub description: &'a str,
    pub contact: &'a str,
    pub metadata: &'a str,
}

impl Search {
    pub fn parse(text: &str) -> Result<Search> {
        if text.chars().count() > QUERY_CHARS_MAX {
            let why = refusals::values::characters_at_most(QUERY_CHARS_MAX);
            return Err(Error::invalid("q", why));
        }
        // Hints are often typed with three points.
        let text = text.to_lowercase().replace("...", "…").replace(END, " ");
        let mut words: Vec<String> = Vec::new();
        for (position, part) in text.split('"').enumerate() {
            match position % 2 {
                0 => words.extend(part.split_whitespace().map(str::to_owned)),
                _ => words.push(part.trim().to_owned()),
            }
        }
        words.retain(|word| !word.is_empty());
        words.truncate(Hits::BITS as usize);
        let words = words.into_iter().map(Word::new).collect();
        Ok(Search {
            words,
            lowered: RefCell::default(),
        })
    }

    /// The words that every key with this shared part has.
    pub fn shared(&self, directory: &Directory, shared: &SharedPart) -> Hits {
        if self.words.is_empty() {
            return 0;
        }
        let workspace = directory.place(shared.workspace);
        let owner = shared.owner.and_then(|owner| directory.user(owner));
        let mut texts = vec![
            workspace.map_or("", |place| &place.workspace.slug),
            owner.map_or("", |owner| &owner.user_name),
            &shared.policy,
            shared.catalog.as_deref().unwrap_or_default(),
            &shared.source,
        ];
        texts.extend(shared.scopes.iter().map(|scope| &**scope));
        let words = self.words.iter().enumerate();
        words
            .filter(|(_, Word { text: word, .. })| {
                texts.iter().any(|text| contains(text, word)) || is_maker(&shared.created_by, word)
            })
            .fold(0, |hits, (at, _)| hits | 1 << at)
    }

    /// Whether a key has every word that is not among the hits of its shared part.
    pub fn fits<H: Fn() -> String>(&self, hits: Hits, key: &Texts<'_, H>) -> bool {
        let words = self.words.iter().enumerate();
        let mut words = words
            .filter(|(at, _)| hits & (1 << at) == 0)
            .map(|(_, word)| word)
            .peekable();
        if words.peek().is_none() {
            return true;
        }
        let mut lowered = self.lowered.borrow_mut();
        key.lower(&mut lowered);
        let marks = OnceCell::new();
        words.all(|word| {
            word.is_in(&lowered)
                || key.has_member(&word.text)
                || word.is_in(marks.get_or_init(|| key.marks()))
        })
    }
}

impl Word {
    fn new(text: String) -> Word {
        Word {
            finder: Finder::new(&text).into_owned(),
            text,
        }
    }

    /// Whether a text in lower case has the word.
    fn is_in(&self, lowered: &str) -> bool {
        self.finder.find(lowered.as_bytes()).is_some()
    }
}

impl<H: Fn() -> String> Texts<'_, H> {
    /// Replaces `lowered` by the texts that a person has written, in lower case.
    fn lower(&self, lowered: &mut String) {
        lowered.clear();
        for text in [self.name, self.description, self.contact, self.metadata] {
            match text.is_ascii() {
                true => {
                    let from = lowered.len();
                    lowered.push_str(text);
                    lowered[from..].make_ascii_lowercase();
                }
                false => lowered.push_str(&text.to_lowercase()),
            }
            lowered.push(END);
        }
    }

    /// The id and the hint, in lower case.
    fn marks(&self) -> String {
        let mut marks = format!("{}{END}{}", self.id, (self.hint)());
        marks.make_ascii_lowercase();
        marks
    }

    /// Whether a word is `name=value` or `name:value` of the metadata.
    fn has_member(&self, word: &str) -> bool {
        let Some((name, value)) = word.split_once(['=', ':']) else {
            return false;
        };
        // Few keys have the value, so few metadata are read.
        contains(self.metadata, value)
            && metadata::members(self.metadata)
                .iter()
                .any(|(known, has)| known.to_lowercase() == name && contains(has, value))
    }
}

/// Whether a word is part of the name of an actor. A search for "key" does not mean all keys that other keys have issued.
fn is_maker(actor: &str, word: &str) -> bool {
    let name = actor.split_once(':').map_or(actor, |(_, name)| name);
    contains(if word.contains(':') { actor } else { name }, word)
}

/// Whether a word in lower case is part of a text.
fn contains(text: &str, word: &str) -> bool {
    // Most texts are ASCII, and are compared without an allocation.
    if !text.is_ascii() {
        return text.to_lowercase().contains(word);
    }
    let (text, word) = (text.as_bytes(), word.as_bytes());
    let Some(first) = word.first() else {
        return true;
    };
    text.len() >= word.len()
        && text
            .windows(word.len())
            .any(|part| part[0].to_ascii_lowercase() == *first && part.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: bool) {
        let key = Texts {
            id: KeyId(7),
            name: "Nightly export Münster",
            hint: || "lk_0000000007…Pvhc".to_owned(),
            description: "for the new invoicing",
            contact: "ops@example.com",
            metadata: "{\"team\":\"north\",\"customer\":42}",
        };
        let found = Search::parse(text).unwrap().fits(0, &key);
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn every_word_must_be_there_in_any_order_and_any_case() {
        for found in [
            "",
            "  ",
            "export nightly",
            "MÜNSTER invoicing ops@",
            "lk_0000000007...Pvhc",
            "lk_0000000007…",
            "pvhc",
            "0000000007 north",
            "team=north customer:42",
            "\"new invoicing\"",
            "\"\" export",
        ] {
            check(found, true);
        }
        for absent in [
            "export daily",
            "\"invoicing new\"",
            "\"münster for\"",
            "\"münster\0for\"",
            "team=south",
            "customer=north",
            "n_ghtly",
            "*",
            "%",
        ] {
            check(absent, false);
        }
    }

    #[test]
    fn a_search_text_has_a_greatest_length() {
        assert!(Search::parse(&"ü".repeat(QUERY_CHARS_MAX)).is_ok());
        assert!(Search::parse(&"ü".repeat(QUERY_CHARS_MAX + 1)).is_err());
    }
}
