//! The words of the pages: all of one language stand in one file. English is `assets/console/en.txt`; another file of
//! the same names is another language.

mod reading;
mod sentences;
#[cfg(test)]
mod tests;

use crate::error::{Error, Result};
use include_flate::flate;
use sentences::Sentences;
use std::collections::HashMap;
use std::sync::OnceLock;

flate!(static ENGLISH: str from "assets/console/en.txt");

static SPOKEN: OnceLock<Texts> = OnceLock::new();

/// The words of one language.
#[derive(Debug)]
pub struct Texts {
    /// By their names, such as `keys.title`.
    named: HashMap<String, &'static str>,
    /// What is said below the console, by its English words.
    sentences: Sentences,
}

/// What every name has a text in.
pub fn english() -> &'static Texts {
    static TEXTS: OnceLock<Texts> = OnceLock::new();
    TEXTS.get_or_init(|| Texts::lenient(&ENGLISH))
}

/// The language of this server: English if none was chosen.
pub fn spoken() -> &'static Texts {
    SPOKEN.get().unwrap_or_else(english)
}

/// Whether a file is one of a language; the error names the line.
pub fn check_texts(file: String) -> Result<()> {
    let texts = Texts::strict(file.leak()).map_err(Error::Malformed)?;
    texts.warn_of_gaps();
    Ok(())
}

/// Makes the language of a file the one of this server, for good.
pub fn speak(file: String) -> Result<()> {
    let texts = Texts::strict(file.leak()).map_err(Error::Malformed)?;
    // A process has one language; the first one chosen is it.
    let _ = SPOKEN.set(texts);
    Ok(())
}

impl Texts {
    /// Tells how much of it stays English.
    fn warn_of_gaps(&self) {
        let lacking = self.lacking();
        if let Some(first) = lacking.first() {
            log::warn!(
                "console-texts: {} texts are not in the file, such as {first:?}; they stay English",
                lacking.len()
            );
        }
    }

    /// The text of a name; a name without one shows as a mark that is hard to overlook.
    pub fn get(&self, name: &str) -> &'static str {
        self.find(name).unwrap_or_else(|| {
            log::error!("the console has no text {name}");
            "⟦?⟧"
        })
    }

    /// The text of a name that need not have one.
    pub fn find(&self, name: &str) -> Option<&'static str> {
        let own = self.named.get(name).copied();
        own.or_else(|| english().named.get(name).copied())
    }

    /// The text with `{}` replaced.
    pub fn with(&self, name: &str, value: &str) -> String {
        self.get(name).replacen("{}", value, 1)
    }

    /// `name.one` or `name.other` by number, with `{}` replaced by it.
    pub fn count(&self, name: &str, number: u64) -> String {
        let form = if number == 1 { "one" } else { "other" };
        self.with(&format!("{name}.{form}"), &self.number(number))
    }

    /// `1234567` as `1,234,567`.
    pub fn number(&self, number: u64) -> String {
        let between = self.get("number.thousands");
        let digits = number.to_string();
        let mut text = String::with_capacity(digits.len() + digits.len() / 3);
        for (position, digit) in digits.chars().enumerate() {
            if position > 0 && (digits.len() - position).is_multiple_of(3) {
                text.push_str(between);
            }
            text.push(digit);
        }
        text
    }

    /// What the rules say in English, in this language: why something is refused, mostly. What is none of their
    /// sentences comes back as it is.
    pub fn said(&self, english: &str) -> String {
        self.sentences.render(english)
    }

    /// As [`Texts::said`], for words without anything filled in.
    pub fn word(&self, english: &'static str) -> &'static str {
        self.sentences.find(english).unwrap_or(english)
    }

    /// [`Texts::said`], with a capital and a full stop.
    pub fn sentence(&self, english: &str) -> String {
        capitalised(&self.said(english))
    }

    /// An error as a sentence, the member that it is about first.
    pub fn error(&self, err: &Error) -> String {
        match err {
            Error::Invalid { field, reason } => {
                capitalised(&format!("{field}: {}", self.said(reason)))
            }
            other => self.sentence(&other.to_string()),
        }
    }
}

/// A text with a capital and a full stop.
fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(char::to_uppercase).into_iter().flatten();
    let mut sentence: String = first.chain(chars).collect();
    if !sentence.ends_with(['.', '!', '?', '。']) {
        sentence.push('.');
    }
    sentence
}
