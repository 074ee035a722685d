//! The forms of a text that depend on a number, by language: the cardinal rules of Unicode CLDR 48 for whole numbers.

/// The forms that a language has, and which of them a number takes.
#[derive(Debug)]
pub struct PluralRule {
    languages: &'static [&'static str],
    /// The endings of the names of texts. The last one is for most numbers.
    pub forms: &'static [&'static str],
    /// A form that a language may leave out; the last one of `forms` takes its place.
    pub optional: Option<&'static str>,
    choose: fn(u64) -> &'static str,
}

/// English, and all languages that are not listed.
static OTHERS: PluralRule = PluralRule {
    languages: &["en", "de"],
    forms: &["one", "other"],
    optional: None,
    choose: |number| if number == 1 { "one" } else { "other" },
};

#[rustfmt::skip] // One rule is one line, where it fits.
static RULES: &[PluralRule] = &[
    PluralRule {
        languages: &["fr"], forms: &["one", "other"], optional: Some("many"),
        choose: |number| match number {
            0 | 1 => "one",
            number if number.is_multiple_of(1_000_000) => "many",
            _ => "other",
        },
    },
    PluralRule {
        languages: &["es", "it"], forms: &["one", "other"], optional: Some("many"),
        choose: |number| match number {
            1 => "one",
            number if number != 0 && number.is_multiple_of(1_000_000) => "many",
            _ => "other",
        },
    },
    PluralRule {
        languages: &["ja"], forms: &["other"], optional: None,
        choose: |_| "other",
    },
    PluralRule {
        languages: &["pl"], forms: &["one", "few", "many"], optional: None,
        choose: |number| match (number, number % 10, number % 100) {
            (1, _, _) => "one",
            (_, 2..=4, 12..=14) => "many",
            (_, 2..=4, _) => "few",
            _ => "many",
        },
    },
];

/// The rule of a language, by its tag.
pub fn rule(tag: &str) -> &'static PluralRule {
    let primary = tag.split('-').next().unwrap_or(tag);
    let mut rules = RULES.iter();
    let found = rules.find(|rule| rule.languages.contains(&primary));
    found.unwrap_or(&OTHERS)
}

impl PluralRule {
    pub fn form(&self, number: u64) -> &'static str {
        (self.choose)(number)
    }

    /// The form for most numbers.
    pub fn usual(&self) -> &'static str {
        self.forms.last().copied().unwrap_or("other")
    }

    pub fn has(&self, form: &str) -> bool {
        self.forms.contains(&form) || self.optional == Some(form)
    }

    /// Whether all texts of this form are for one number, which they need not repeat.
    pub fn is_single(&self, form: &str) -> bool {
        form == "one" && self.form(0) != "one"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A form, and numbers that take it.
    type Sample = (&'static str, &'static [u64]);

    // The samples of CLDR's chart "Language Plural Rules".
    #[test]
    fn numbers_take_the_forms_of_cldr() {
        #[rustfmt::skip]
        let samples: &[(&str, &[Sample])] = &[
            ("en", &[("one", &[1]), ("other", &[0, 2, 11, 21, 1_000_000])]),
            ("de", &[("one", &[1]), ("other", &[0, 2, 21, 101, 1_000_000])]),
            ("es", &[("one", &[1]), ("many", &[1_000_000, 2_000_000]), ("other", &[0, 2, 21, 1_000_001])]),
            ("it", &[("one", &[1]), ("many", &[1_000_000]), ("other", &[0, 2, 101])]),
            ("fr", &[("one", &[0, 1]), ("many", &[1_000_000]), ("other", &[2, 21, 101])]),
            ("ja", &[("other", &[0, 1, 2, 1_000_000])]),
            ("pl", &[("one", &[1]), ("few", &[2, 3, 4, 22, 24, 102, 1_002]), ("many", &[0, 5, 11, 12, 14, 21, 25, 112, 1_000_000])]),
            ("pl-PL", &[("few", &[3])]),
            ("nl", &[("one", &[1]), ("other", &[0, 3])]),
        ];
        for (tag, forms) in samples {
            for (form, numbers) in *forms {
                for number in *numbers {
                    assert_eq!(rule(tag).form(*number), *form, "{tag} {number}");
                    assert!(rule(tag).has(form));
                }
            }
        }
    }
}
