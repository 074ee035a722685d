//! The texts of the console in one language, which are all in one file. English is `assets/console/en.txt`; a file with
//! the same names in another language is a translation.

mod reading;
mod sentences;
#[cfg(test)]
mod tests;

use crate::domain::text::sentence;
use crate::error::{Error, Result};
use sentences::Sentences;
use std::collections::HashMap;
use std::sync::OnceLock;

const ENGLISH: &str = include_str!("../../../../assets/console/en.txt");

static SPOKEN: OnceLock<Texts> = OnceLock::new();

/// The texts of one language.
#[derive(Debug)]
pub struct Texts {
    /// Texts by name, such as `keys.title`.
    named: HashMap<String, &'static str>,
    /// Translations of sentences from below the console, by the English sentence.
    sentences: Sentences,
}

/// The English texts, which are complete.
pub fn english() -> &'static Texts {
    static TEXTS: OnceLock<Texts> = OnceLock::new();
    TEXTS.get_or_init(|| Texts::lenient(ENGLISH))
}

/// The language of this server, by default English.
pub fn spoken() -> &'static Texts {
    SPOKEN.get().unwrap_or_else(english)
}

/// Checks whether a file is a valid translation; the error names the line or the text.
pub fn check_texts(file: String) -> Result<()> {
    let texts = Texts::strict(file.leak()).map_err(Error::Malformed)?;
    texts.warn_of_gaps();
    Ok(())
}

/// Sets the language of this process from a file. It cannot be changed later.
pub fn speak(file: String) -> Result<()> {
    let texts = Texts::strict(file.leak()).map_err(Error::Malformed)?;
    // If a language is already set, it stays.
    let _ = SPOKEN.set(texts);
    Ok(())
}

impl Texts {
    /// Logs how many texts are not translated.
    fn warn_of_gaps(&self) {
        let lacking = self.lacking();
        if let Some(first) = lacking.first() {
            log::warn!(
                "console-texts: {} texts are not in the file, such as {first:?}; they stay English",
                lacking.len()
            );
        }
    }

    /// The text with this name. If there is none, the result is a conspicuous mark.
    pub fn get(&self, name: &str) -> &'static str {
        self.find(name).unwrap_or_else(|| {
            log::error!("the console has no text {name}");
            "⟦?⟧"
        })
    }

    /// The text with this name, if there is one.
    pub fn find(&self, name: &str) -> Option<&'static str> {
        let own = self.named.get(name).copied();
        own.or_else(|| english().named.get(name).copied())
    }

    /// The text with this name, with `{}` replaced.
    pub fn with(&self, name: &str, value: &str) -> String {
        self.get(name).replacen("{}", value, 1)
    }

    /// The text `name.one` or `name.other`, depending on the number, with `{}` replaced by the number.
    pub fn count(&self, name: &str, number: u64) -> String {
        let form = if number == 1 { "one" } else { "other" };
        self.with(&format!("{name}.{form}"), &self.number(number))
    }

    /// Formats `1234567` as `1,234,567`.
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

    /// Translates a sentence from below the console, such as the reason of a refusal. An unknown sentence is returned
    /// unchanged.
    pub fn said(&self, english: &str) -> String {
        self.sentences.render(english)
    }

    /// Translates a text without placeholders.
    pub fn word(&self, english: &'static str) -> &'static str {
        self.sentences.find(english).unwrap_or(english)
    }

    /// Translates a sentence and adds a capital letter and a full stop.
    pub fn sentence(&self, english: &str) -> String {
        sentence(&self.said(english))
    }

    /// An error as a sentence that starts with the member at fault.
    pub fn error(&self, err: &Error) -> String {
        match err {
            Error::Invalid { field, reason } => {
                sentence(&format!("{field}: {}", self.said(reason)))
            }
            other => self.sentence(&other.to_string()),
        }
    }
}
