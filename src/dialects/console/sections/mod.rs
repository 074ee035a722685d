//! The terms of the pages about the keys of one system, so that its users find the menus and buttons that they know.

mod adverity;
mod aware;
mod awaretrain;
mod vspc;

use crate::domain::keys::Member;
use crate::domain::policies::Policy;

/// The systems whose keys have pages of their own.
pub const SECTIONS: &[&Section] = &[
    &adverity::SECTION,
    &aware::SECTION,
    &awaretrain::SECTION,
    &vspc::SECTION,
];

/// The terms on the pages of one policy.
#[derive(Debug)]
pub struct Section {
    /// The policy whose keys the pages are about. `about` and `hints` hold for it as it comes with Latchkey, and are
    /// shown while its rules are still those.
    pub policy: &'static str,
    /// The system, as the setting `systems` names it, and its product's name.
    pub system: &'static str,
    pub product: &'static str,
    /// The name in the navigation, where the product's name is long.
    pub short: &'static str,
    /// The menu, and the menu item that opens the list.
    pub menu: &'static str,
    pub page: &'static str,
    /// The heading of the list, if it differs from the menu item.
    pub heading: &'static str,
    /// What people should know before they create a key: who may, and what holds for all of them.
    pub about: &'static [&'static str],
    /// The button that opens the form for a new key.
    pub new: &'static str,
    /// A second button, for systems that offer a choice of key types and recommend one.
    pub new_kind: Option<&'static str>,
    /// The title of the form for a new key, and its submit button.
    pub create_title: &'static str,
    pub create: &'static str,
    /// The fields of the form in their order: the console's name of the field, and its label here. The form has no
    /// other fields.
    pub fields: &'static [(&'static str, &'static str)],
    /// The hints that the system itself shows below its fields, instead of the console's own hints.
    pub hints: &'static [(&'static str, &'static str)],
    /// The catalog of the scopes, if the policy names none.
    pub catalog: Option<&'static str>,
    /// The scopes of which the user chooses one; `None`: the user chooses any number of the catalog's scopes.
    pub scopes: Option<&'static [&'static str]>,
    /// The labels of the two values of `read_only`, the read-only one first.
    pub access: (&'static str, &'static str),
    /// A path to try a new key with, where the catalog's operations have none without parameters.
    pub sample: Option<&'static str>,
    /// The buttons below a new secret.
    pub copy: &'static str,
    pub close: &'static str,
    /// Advice on how to store a secret.
    pub advice: &'static [&'static str],
    /// The label of the menu that contains the actions of a row, if there is such a menu.
    pub actions: Option<&'static str>,
    /// The action that deletes a key, the title of the confirmation, and its button.
    pub delete: &'static str,
    pub delete_title: &'static str,
    pub delete_button: &'static str,
    /// The title of the confirmation before a key is disabled, and its button; `None`: there is no confirmation.
    pub disable: Option<(&'static str, &'static str)>,
}

/// The terms of the pages about the keys of a policy.
pub fn of(policy: &str) -> Option<&'static Section> {
    let mut sections = SECTIONS.iter().copied();
    sections.find(|section| section.policy == policy)
}

impl Section {
    /// Whether the form has a field of this name.
    pub fn has(&self, field: &str) -> bool {
        self.fields.iter().any(|(name, _)| *name == field)
    }

    /// Whether people name these keys by a description alone, so that the name follows from it
    /// ([`crate::domain::text::name_of_description`]).
    pub fn is_described(&self) -> bool {
        !self.has("name")
    }
}

/// Whether two policies have the same rules, as far as `about` and `hints` speak of them.
pub fn are_alike(one: &Policy, other: &Policy) -> bool {
    let spoken_of = |policy: &Policy| {
        (
            policy.issued_by,
            policy.scopes,
            policy.read_only_by,
            policy.expiry,
            policy.expiry_months_max,
            policy.addresses,
            policy.keys_per_workspace_max,
            policy.editable.allows(Member::Scopes),
        )
    };
    spoken_of(one) == spoken_of(other)
}
