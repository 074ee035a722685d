//! Every sentence that a client can read as the reason of a refusal: its code, its arguments, and its English text. One
//! file for each noun.
//!
//! The console translates a sentence by its code; everything else renders the English text.

/// Defines the sentences of a noun: a function for each, which takes the arguments, and the list of all.
macro_rules! sentences {
    ($noun:literal: $($name:ident($($argument:ident $(: $nested:ident)?),*) = $english:literal;)*) => {
        pub const ALL: &[$crate::refusals::Sentence] = &[$($crate::refusals::Sentence {
            code: concat!($noun, ".", stringify!($name)),
            english: $english,
            arguments: &[$(stringify!($argument)),*],
        }),*];
        $(#[cfg_attr(not(feature = "postgres"), allow(dead_code, reason = "a file is no server"))]
        pub fn $name($($argument: sentences!(@type $($nested)?)),*) -> $crate::refusals::Refusal {
            $crate::refusals::Refusal {
                sentence: &$crate::refusals::Sentence {
                    code: concat!($noun, ".", stringify!($name)),
                    english: $english,
                    arguments: &[$(stringify!($argument)),*],
                },
                arguments: vec![$(sentences!(@argument $argument $($nested)?)),*],
            }
        })*
    };
    (@type) => { impl std::fmt::Display };
    (@type Refusal) => { $crate::refusals::Refusal };
    (@argument $argument:ident) => { $crate::refusals::Argument::Text($crate::refusals::visible(&$argument.to_string())) };
    (@argument $argument:ident Refusal) => { $crate::refusals::Argument::Refusal($argument) };
}
pub mod access;
pub mod audit;
pub mod authenticators;
pub mod backups;
pub mod catalogs;
pub mod connect;
pub mod declared;
pub mod findings;
pub mod imports;
pub mod keys;
pub mod notices;
pub mod nouns;
pub mod openapi;
pub mod packs;
mod plural;
pub mod policies;
pub mod requests;
pub mod secrets;
pub mod server;
pub mod sessions;
pub mod site;
pub mod trial;
pub mod users;
pub mod values;
mod visible;
pub mod workspaces;

pub use visible::{misleads, quoted, visible};

use std::fmt::{Display, Formatter, Result};

/// A sentence with places for arguments.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Sentence {
    /// `keys.expired`: names the sentence in files of other languages.
    pub code: &'static str,
    /// `{policy}` stands for the argument of this name, and `{count:line is|lines are}` for the words that fit the number that it is.
    pub english: &'static str,
    pub arguments: &'static [&'static str],
}

/// A sentence with its arguments.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Refusal {
    sentence: &'static Sentence,
    /// In the order of [`Sentence::arguments`].
    arguments: Vec<Argument>,
}

#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
enum Argument {
    Refusal(Refusal),
    Text(String),
}

/// All sentences, by noun.
pub fn all() -> impl Iterator<Item = &'static Sentence> {
    [
        access::ALL,
        audit::ALL,
        authenticators::ALL,
        backups::ALL,
        catalogs::ALL,
        connect::ALL,
        imports::ALL,
        declared::ALL,
        findings::ALL,
        keys::ALL,
        notices::ALL,
        nouns::ALL,
        openapi::ALL,
        packs::ALL,
        policies::ALL,
        requests::ALL,
        secrets::ALL,
        server::ALL,
        sessions::ALL,
        site::ALL,
        trial::ALL,
        users::ALL,
        values::ALL,
        workspaces::ALL,
    ]
    .into_iter()
    .flatten()
}

/// A text without a code, which is shown as it is: one for the command line or the log, of a dialect whose clients read
/// English, or one that the console has translated already.
pub fn verbatim(text: impl Into<String>) -> Refusal {
    Refusal {
        sentence: &Sentence {
            code: "",
            english: "{text}",
            arguments: &["text"],
        },
        arguments: vec![Argument::Text(text.into())],
    }
}

impl Refusal {
    /// Whether both have the same sentence, whatever their arguments are.
    pub fn is_like(&self, other: &Refusal) -> bool {
        self.sentence == other.sentence
    }

    /// The code of the sentence, such as `keys.expired`.
    pub fn code(&self) -> &'static str {
        self.sentence.code
    }

    /// The argument of this name, if it is a text.
    pub fn argument(&self, name: &str) -> Option<&str> {
        let mut named = self.sentence.arguments.iter().zip(&self.arguments);
        match named.find(|(known, _)| **known == name)?.1 {
            Argument::Text(text) => Some(text),
            Argument::Refusal(_) => None,
        }
    }

    /// The text, in the language for which `translate` returns the template of a sentence.
    pub fn render<'t>(&self, translate: &dyn Fn(&'static Sentence) -> &'t str) -> String {
        let mut rest = translate(self.sentence);
        let mut text = String::with_capacity(rest.len());
        while let Some((before, behind)) = rest.split_once('{') {
            text.push_str(before);
            let mut arguments = self.sentence.arguments.iter().zip(&self.arguments);
            let found = arguments.find_map(|(name, argument)| {
                let (place, behind) = behind.strip_prefix(name)?.split_once('}')?;
                let is_place = place.is_empty() || place.starts_with(':');
                is_place.then_some((argument, place.strip_prefix(':'), behind))
            });
            rest = match found {
                Some((argument, forms, behind)) => {
                    match (argument, forms) {
                        (Argument::Refusal(refusal), _) => {
                            text.push_str(&refusal.render(translate))
                        }
                        (Argument::Text(number), Some(forms)) => {
                            text.push_str(plural::form(number, forms));
                        }
                        (Argument::Text(argument), None) => text.push_str(argument),
                    }
                    behind
                }
                None => {
                    text.push('{');
                    behind
                }
            };
        }
        text + rest
    }
}

/// The English text.
impl Display for Refusal {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.write_str(&self.render(&|sentence| sentence.english))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_sentence_is_rendered_with_its_arguments_in_any_language() {
        let refusal = keys::shown_once("{policy}", keys::issue_another());
        assert_eq!(
            refusal.to_string(),
            "policy {policy} shows a secret once; issue another key and delete this one"
        );
        let own = |sentence: &'static Sentence| match sentence.code {
            "keys.shown_once" => "{next} ({policy}, {x}",
            _ => "neu",
        };
        assert_eq!(refusal.render(&own), "neu ({policy}, {x}");
        assert_eq!(verbatim("{text} {}").to_string(), "{text} {}");
        assert_eq!(
            findings::files_changes(1).to_string(),
            "1 change waits to be applied"
        );
        assert_eq!(
            findings::files_changes(21).to_string(),
            "21 changes wait to be applied"
        );
        assert_eq!(
            requests::parameter_unknown("\0\n").to_string(),
            "there is no parameter \\u{0}\\u{a}"
        );
        assert!(refusal.is_like(&keys::shown_once(7, values::twice())));
        assert!(!refusal.is_like(&keys::issue_another()));
    }

    /// Sentences whose number is never 1, or where the word is a verb.
    const MANY: [&str; 4] = [
        "imports.rate_limit",
        "openapi.scopes_declared",
        "packs.too_many_ended",
        "trial.read_only",
    ];

    #[test]
    fn words_fit_the_number_before_them() {
        let plurals = [
            "cells",
            "changes",
            "columns",
            "days",
            "events",
            "hours",
            "keys",
            "lines",
            "minutes",
            "months",
            "operations",
            "requests",
            "scopes",
            "seconds",
            "things",
            "times",
            "users",
        ];
        // Bounds that are constants above 1.
        let bounds = ["least", "most"];
        for sentence in all().filter(|sentence| !MANY.contains(&sentence.code)) {
            for part in sentence.english.split('{').skip(1) {
                let (place, behind) = part.split_once('}').unwrap_or((part, ""));
                let word = behind
                    .trim_start()
                    .split(|c: char| !c.is_alphabetic())
                    .next();
                let is_plural = word.is_some_and(|word| plurals.contains(&word));
                assert!(
                    !is_plural || bounds.contains(&place),
                    "{sentence:?} has no singular"
                );
            }
        }
    }

    #[test]
    fn every_sentence_has_a_code_of_its_own_and_names_each_argument() {
        let mut codes = BTreeSet::new();
        for sentence in all() {
            assert!(codes.insert(sentence.code), "{} is twice", sentence.code);
            for name in sentence.arguments {
                let place = format!("{{{name}}}");
                assert!(sentence.english.contains(&place), "{sentence:?}");
            }
            for part in sentence.english.split('{').skip(1) {
                let name = part.split(['}', ':']).next().unwrap();
                let is_name = name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
                assert!(
                    !is_name || sentence.arguments.contains(&name),
                    "{sentence:?}"
                );
            }
        }
    }
}
