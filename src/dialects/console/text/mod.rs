//! The texts of the console. Each language is one file; [`template`] is this file in English, and a file with the same
//! names in another language is a translation.

mod dates;
pub mod languages;
pub mod plural;
mod reading;
#[cfg(test)]
mod tests;

use crate::domain::locks::lock;
use crate::domain::text::{counted, sentence};
use crate::domain::time_zone::Zone;
use crate::error::{Error, Result};
use crate::http::request::Head;
use crate::refusals::{self, Refusal, verbatim};
use plural::PluralRule;
use std::collections::HashMap;
use std::sync::{Mutex, OnceLock};

const PAGES: &str = include_str!("../../../../assets/console/en.txt");

/// All texts of one language.
#[derive(Debug)]
pub struct Words {
    /// Texts by name, such as `keys.title` or `refusals.keys.expired`.
    named: HashMap<String, &'static str>,
    /// Translations of the names and labels that come with Latchkey, by the English text.
    labels: HashMap<&'static str, &'static str>,
    plurals: &'static PluralRule,
}

/// The texts of one language, and the time zone of the times between them.
#[derive(Debug)]
pub struct Texts {
    words: &'static Words,
    pub zone: Zone,
}

/// The file of all English texts: those of the pages, and the sentences of refusals by their codes.
pub fn template() -> &'static str {
    static FILE: OnceLock<String> = OnceLock::new();
    FILE.get_or_init(|| {
        let mut file = format!(
            "{}\n[refusals]\n# Why a request is refused, by the code of the sentence. {{policy}} and the like stand for what is filled in.\n\
             # {{count:line is|lines are}} are the words for 1 and for other numbers, or for the three forms of Polish; a text may do without.\n",
            PAGES
        );
        for sentence in refusals::all() {
            file.push_str(&format!("{} = {}\n", sentence.code, sentence.english));
        }
        file
    })
}

/// The file of a language that the console is shipped in; the error names those that there are.
pub fn file_of(tag: &str) -> Result<String> {
    if tag == "en" {
        return Ok(template().to_owned());
    }
    languages::file(tag).ok_or_else(|| {
        let tags: Vec<&str> = languages::tags().collect();
        let why = format!(
            "there is no language {tag:?}; there are en, {}",
            tags.join(", ")
        );
        Error::Malformed(verbatim(why))
    })
}

/// Everything that is wrong with a translation, with its line, and the names of the texts that it lacks.
pub fn examine(file: String) -> (Vec<String>, Vec<String>) {
    let file = file.leak();
    (reading::faults(file), Words::lenient(file).lacking())
}

fn english_words() -> &'static Words {
    static WORDS: OnceLock<Words> = OnceLock::new();
    WORDS.get_or_init(|| Words::lenient(template()))
}

/// The English texts, which are complete.
pub fn english() -> &'static Texts {
    english_words().in_zone(&Zone::utc())
}

/// The texts for a client that is not signed in, in the language that its browser asks for.
pub fn of_browser(head: &Head) -> &'static Texts {
    let accept = head.header("accept-language").ok().flatten();
    languages::of_browser(accept.unwrap_or_default()).in_zone(&Zone::utc())
}

/// Checks whether a file is a valid translation; the error names the line or the text.
pub fn check_texts(file: String) -> Result<()> {
    let file = file.leak();
    let words = Words::strict(file)?;
    if reading::has_sentences(file) {
        log::warn!(
            "console-texts: the group [said] is ignored, because refusals are translated by code, in the group [refusals]; \
             latchkey console-texts prints it in English"
        );
    }
    words.warn_of_gaps();
    Ok(())
}

/// Sets the configured language of this process from a file. It cannot be changed later.
pub fn speak(file: String) -> Result<()> {
    languages::configure(Box::leak(Box::new(Words::strict(file.leak())?)));
    Ok(())
}

impl Words {
    /// The tag of the language (BCP 47).
    pub fn tag(&self) -> &'static str {
        self.find("frame.language").unwrap_or("en")
    }

    /// The name of the language in this language.
    pub fn own_name(&self) -> &'static str {
        self.find("frame.language_name")
            .unwrap_or_else(|| self.tag())
    }

    /// The texts with times of this zone. There is one value for each language and zone, which is never freed: zones
    /// are those of a list.
    pub fn in_zone(&'static self, zone: &Zone) -> &'static Texts {
        static ALL: Mutex<Vec<&'static Texts>> = Mutex::new(Vec::new());
        let mut all = lock(&ALL);
        let known = all
            .iter()
            .find(|texts| std::ptr::eq(texts.words, self) && texts.zone.name() == zone.name());
        if let Some(known) = known {
            return known;
        }
        let new: &'static Texts = Box::leak(Box::new(Texts {
            words: self,
            zone: zone.clone(),
        }));
        all.push(new);
        new
    }

    fn find(&self, name: &str) -> Option<&'static str> {
        self.named.get(name).copied()
    }

    /// Logs how many texts are not translated.
    fn warn_of_gaps(&self) {
        let lacking = self.lacking();
        if let Some(first) = lacking.first() {
            log::warn!(
                "console-texts: {} not in the file, such as {first:?}; what is missing stays English",
                counted(lacking.len() as u64, "text")
            );
        }
    }
}

impl Texts {
    /// The texts of the same language, with times of another zone.
    pub fn in_zone(&self, zone: &Zone) -> &'static Texts {
        self.words.in_zone(zone)
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
        let own = self.words.find(name);
        own.or_else(|| english_words().find(name))
    }

    /// The text with this name, with `{}` replaced.
    pub fn with(&self, name: &str, value: &str) -> String {
        self.get(name).replacen("{}", value, 1)
    }

    /// The parts of the text with this name before and after its `{}`, for a value with markup of its own.
    pub fn around(&self, name: &str) -> (&'static str, &'static str) {
        let text = self.get(name);
        text.split_once("{}").unwrap_or((text, ""))
    }

    /// The text with this name, with each `{name}` replaced.
    pub fn fill(&self, name: &str, values: &[(&str, &str)]) -> String {
        let mut rest = self.get(name);
        let mut text = String::with_capacity(rest.len());
        while let Some((before, behind)) = rest.split_once('{') {
            text.push_str(before);
            let found = behind.split_once('}').and_then(|(place, behind)| {
                let value = values.iter().find(|(name, _)| *name == place)?;
                Some((value.1, behind))
            });
            let (value, behind) = found.unwrap_or(("{", behind));
            text.push_str(value);
            rest = behind;
        }
        text + rest
    }

    /// The form of the text for the number, such as `name.one` or `name.other`, with `{}` replaced by the number.
    pub fn count(&self, name: &str, number: u64) -> String {
        let own = |form: &str| self.words.find(&format!("{name}.{form}"));
        let plurals = self.words.plurals;
        let text = own(plurals.form(number)).or_else(|| own(plurals.usual()));
        let text = text.unwrap_or_else(|| {
            let form = plural::rule("en").form(number);
            english().get(&format!("{name}.{form}"))
        });
        text.replacen("{}", &self.number(number), 1)
    }

    /// What an audit event says was done. An action of another version is returned unchanged.
    pub fn action<'t>(&self, action: &'t str) -> &'t str {
        self.find(&format!("action.{action}")).unwrap_or(action)
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
        self.words.labels.get(english).copied().unwrap_or(english)
    }

    /// The reason of a refusal, in this language. Users of the console do not know scopes of this server, so a missing
    /// one is told as what the user may not do.
    pub fn refusal(&self, refusal: &Refusal) -> String {
        if let Some(scope) = lacking_scope(refusal)
            && let Some(text) = self.find(&format!("lacks.{}", scope.replace(':', "_")))
        {
            return text.to_owned();
        }
        refusal.render(&|sentence| {
            let own = self.words.find(&format!("refusals.{}", sentence.code));
            own.unwrap_or(sentence.english)
        })
    }

    /// What is wrong, as a sentence. A member of the API that an error names has the label that the console gives it.
    pub fn error(&self, err: &Error) -> String {
        let Error::Invalid { field, reason } = err else {
            return self.sentence(&err.refusal());
        };
        let bare = field.split(['[', '.']).next().unwrap_or(field);
        let mut labels = ["member", "field"].iter();
        let label = labels.find_map(|group| self.find(&format!("{group}.{bare}")));
        self.sentence(&refusals::requests::invalid(
            label.unwrap_or(field),
            reason.clone(),
        ))
    }

    /// As [`Texts::refusal`], with a capital letter and a full stop.
    pub fn sentence(&self, refusal: &Refusal) -> String {
        sentence(&self.refusal(refusal))
    }
}

/// The permission that a refused user lacks, as its scope.
pub fn lacking_scope(refusal: &Refusal) -> Option<&str> {
    match refusal.code() {
        "access.lacks" | "access.lacks_in_workspace" => refusal.argument("scope"),
        _ => None,
    }
}
