//! What a page of the console says where it is about the keys of one system: a dialect brings its own words, and
//! whoever knows that system's menus and buttons finds them again.

use crate::domain::policy::{Field, Policy};

/// The words of one policy's pages. All of them are shown as they stand here.
#[derive(Debug)]
pub struct Section {
    /// The policy whose keys the pages are about.
    pub policy: &'static str,
    /// That policy as it comes with Latchkey. `about` and `hints` hold for it, and are shown while its rules are still those.
    pub preset: fn() -> Policy,
    /// The system, as the setting `systems` names it, and its product's name.
    pub system: &'static str,
    pub product: &'static str,
    /// The menu, and the line in it that leads to the list.
    pub menu: &'static str,
    pub page: &'static str,
    /// The heading of the list, where the page has another one.
    pub heading: &'static str,
    /// What people should know before they create a key: who may, and what holds for all of them.
    pub about: &'static [&'static str],
    /// The button that leads to a new key.
    pub new: &'static str,
    /// A second button, where there is a choice of kinds with one that is recommended.
    pub new_kind: Option<&'static str>,
    /// The title of the form for a new key, and the button that sends it.
    pub create_title: &'static str,
    pub create: &'static str,
    /// The fields of the form in their order: the name of a field of the console, and what it is called here. What is
    /// not listed is not asked for.
    pub fields: &'static [(&'static str, &'static str)],
    /// What the system itself says below a field, instead of the console's own hint.
    pub hints: &'static [(&'static str, &'static str)],
    /// The catalog of the scopes, where the policy names none.
    pub catalog: Option<&'static str>,
    /// The scopes of which one is chosen; `None`: any number of those that the catalog has.
    pub scopes: Option<&'static [&'static str]>,
    /// What the two values of `read_only` are called, the reading one first.
    pub access: (&'static str, &'static str),
    /// A path to try a new key with, where the catalog's operations have none without parameters.
    pub sample: Option<&'static str>,
    /// The buttons below a new secret.
    pub copy: &'static str,
    pub close: &'static str,
    /// How a secret is to be kept.
    pub advice: &'static [&'static str],
    /// What a row's actions are behind, if they are.
    pub actions: Option<&'static str>,
    /// The action that ends a key, the title of the question, and the button that does it.
    pub delete: &'static str,
    pub delete_title: &'static str,
    pub delete_button: &'static str,
    /// The title of the question before a key is disabled, and its answer; `None`: nothing is asked.
    pub disable: Option<(&'static str, &'static str)>,
}

impl Section {
    /// Whether the form has a field of this name.
    pub fn has(&self, field: &str) -> bool {
        self.fields.iter().any(|(name, _)| *name == field)
    }

    /// Whether the policy has the rules that it came with, as far as `about` and `hints` speak of them.
    pub fn is_as_it_came(&self, policy: &Policy) -> bool {
        let spoken_of = |policy: &Policy| {
            (
                policy.issued_by,
                policy.scopes,
                policy.read_only_by,
                policy.expiry,
                policy.expiry_months_max,
                policy.addresses,
                policy.keys_per_workspace_max,
                policy.editable.allows(Field::Scopes),
            )
        };
        spoken_of(policy) == spoken_of(&(self.preset)())
    }

    /// Whether people name these keys by a description alone, so that the name follows from it
    /// ([`crate::domain::text::name_of_description`]).
    pub fn is_described(&self) -> bool {
        !self.has("name")
    }
}
