//! The labels on a page: those of the console, or those of the system to which the keys on the page belong.

use crate::dialects::console::auth::Visit;
use crate::dialects::console::sections::{self, Section};
use crate::dialects::console::text::Texts;
use crate::domain::policies::Policy;
use crate::ops::policies::presets;

/// The labels for one page.
#[derive(Clone, Copy)]
pub struct Words {
    texts: &'static Texts,
    section: Option<&'static Section>,
    /// The policy of the section, as it comes with Latchkey.
    preset: Option<fn() -> Policy>,
}

impl Words {
    pub fn of(visit: &Visit<'_>, policy: Option<&str>) -> Words {
        let section = policy.and_then(sections::of);
        Words {
            texts: visit.texts,
            section,
            preset: section.and_then(|section| presets::of(visit.call.app, section.policy)),
        }
    }

    pub fn section(&self) -> Option<&'static Section> {
        self.section
    }

    fn or(&self, own: impl Fn(&'static Section) -> &'static str, name: &str) -> &'static str {
        match self.section {
            Some(section) => self.texts.word(own(section)),
            None => self.texts.get(name),
        }
    }

    pub fn page(&self) -> &'static str {
        self.or(|section| section.page, "keys.title")
    }

    pub fn make(&self) -> &'static str {
        self.or(|section| section.new, "keys.new")
    }

    pub fn create_title(&self) -> &'static str {
        self.or(|section| section.create_title, "create.title")
    }

    pub fn create(&self) -> &'static str {
        self.or(|section| section.create, "create.button")
    }

    pub fn copy(&self) -> &'static str {
        self.or(|section| section.copy, "secret.copy")
    }

    pub fn close(&self) -> &'static str {
        self.or(|section| section.close, "secret.close")
    }

    pub fn delete(&self) -> &'static str {
        self.or(|section| section.delete, "delete.action")
    }

    pub fn delete_title(&self) -> &'static str {
        self.or(|section| section.delete_title, "delete.title")
    }

    pub fn delete_button(&self) -> &'static str {
        self.or(|section| section.delete_button, "delete.button")
    }

    /// The title of the question before a key is disabled, and the label of its button.
    pub fn disable(&self) -> Option<(&'static str, &'static str)> {
        let (title, button) = self.section.and_then(|section| section.disable)?;
        Some((self.texts.word(title), self.texts.word(button)))
    }

    /// The labels of both values of `read_only`, the reading one first.
    pub fn access(&self) -> (&'static str, &'static str) {
        match self.section {
            Some(section) => {
                let (read, write) = section.access;
                (self.texts.word(read), self.texts.word(write))
            }
            None => (
                self.texts.get("access.read"),
                self.texts.get("access.write"),
            ),
        }
    }

    /// The label of a field.
    pub fn field(&self, name: &str) -> &'static str {
        let own = self.section.and_then(|section| {
            let mut fields = section.fields.iter();
            fields.find(|(known, _)| *known == name)
        });
        match own {
            Some((_, label)) => self.texts.word(label),
            None => self.texts.get(&format!("field.{name}")),
        }
    }

    /// The section, if its policy is unchanged: the system's statements about its keys do not hold for a changed
    /// policy.
    fn unedited(&self, policy: &Policy) -> Option<&'static Section> {
        let preset = (self.preset?)();
        self.section
            .filter(|_| sections::are_alike(policy, &preset))
    }

    /// The system's own hint for a field.
    pub fn hint(&self, policy: &Policy, name: &str) -> Option<&'static str> {
        let mut hints = self.unedited(policy)?.hints.iter();
        let (_, hint) = hints.find(|(known, _)| *known == name)?;
        Some(self.texts.word(hint))
    }

    /// Advice to read before the user creates a key.
    pub fn about(&self, policy: &Policy) -> Vec<&'static str> {
        let about = self
            .unedited(policy)
            .map_or(&[][..], |section| section.about);
        about.iter().map(|line| self.texts.word(line)).collect()
    }

    /// Whether these keys have a description instead of a name.
    pub fn is_described(&self) -> bool {
        self.section.is_some_and(Section::is_described)
    }

    /// The heading of the name column: the label of the field that users fill in.
    pub fn name_column(&self) -> &'static str {
        self.field(if self.is_described() {
            "description"
        } else {
            "name"
        })
    }

    /// The catalog of the scopes, for a policy without a catalog.
    pub fn catalog(&self) -> Option<String> {
        let named = self.section.and_then(|section| section.catalog);
        named.map(str::to_owned)
    }

    /// How the user should store a secret.
    pub fn advice(&self, can_rotate: bool) -> Vec<&'static str> {
        match self.section {
            Some(section) if !section.advice.is_empty() => {
                let advice = section.advice.iter();
                advice.map(|advice| self.texts.word(advice)).collect()
            }
            _ => [
                "secret.advice_1",
                "secret.advice_2",
                if can_rotate {
                    "secret.advice_3"
                } else {
                    "secret.advice_4"
                },
            ]
            .map(|name| self.texts.get(name))
            .to_vec(),
        }
    }
}
