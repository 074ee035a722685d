//! The texts of the console in one language, which are all in one file. [`template`] is this file in English; a file
//! with the same names in another language is a translation.

mod reading;
#[cfg(test)]
mod tests;

use crate::domain::text::sentence;
use crate::error::Result;
use crate::refusals::{self, Refusal};
use std::collections::HashMap;
use std::sync::OnceLock;

const PAGES: &str = include_str!("../../../../assets/console/en.txt");

static SPOKEN: OnceLock<Texts> = OnceLock::new();

/// The texts of one language.
#[derive(Debug)]
pub struct Texts {
    /// Texts by name, such as `keys.title` or `refusals.keys.expired`.
    named: HashMap<String, &'static str>,
    /// Translations of the names and labels that come with Latchkey, by the English text.
    labels: HashMap<&'static str, &'static str>,
}

/// The file of all English texts: those of the pages, and the sentences of refusals by their codes.
pub fn template() -> &'static str {
    static FILE: OnceLock<String> = OnceLock::new();
    FILE.get_or_init(|| {
        let mut file = format!(
            "{}\n[refusals]\n# Why a request is refused, by the code of the sentence. {{policy}} and the like stand for what is filled in.\n",
            PAGES
        );
        for sentence in refusals::all() {
            file.push_str(&format!("{} = {}\n", sentence.code, sentence.english));
        }
        file
    })
}

/// The English texts, which are complete.
pub fn english() -> &'static Texts {
    static TEXTS: OnceLock<Texts> = OnceLock::new();
    TEXTS.get_or_init(|| Texts::lenient(template()))
}

/// The language of this server, by default English.
pub fn spoken() -> &'static Texts {
    SPOKEN.get().unwrap_or_else(english)
}

/// Checks whether a file is a valid translation; the error names the line or the text.
pub fn check_texts(file: String) -> Result<()> {
    let file = file.leak();
    let texts = Texts::strict(file)?;
    if reading::has_sentences(file) {
        log::warn!(
            "console-texts: the group [said] is ignored, because refusals are translated by code, in the group [refusals]; \
             latchkey console-texts prints it in English"
        );
    }
    texts.warn_of_gaps();
    Ok(())
}

/// Sets the language of this process from a file. It cannot be changed later.
pub fn speak(file: String) -> Result<()> {
    let texts = Texts::strict(file.leak())?;
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

    /// Translates a name or a label that comes with Latchkey. Other texts are returned unchanged.
    pub fn word<'t>(&self, english: &'t str) -> &'t str {
        self.labels.get(english).copied().unwrap_or(english)
    }

    /// The reason of a refusal, in this language.
    pub fn refusal(&self, refusal: &Refusal) -> String {
        refusal.render(&|sentence| {
            let own = self.named.get(&format!("refusals.{}", sentence.code));
            own.copied().unwrap_or(sentence.english)
        })
    }

    /// As [`Texts::refusal`], with a capital letter and a full stop.
    pub fn sentence(&self, refusal: &Refusal) -> String {
        sentence(&self.refusal(refusal))
    }
}
