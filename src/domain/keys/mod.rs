//! Keys: the managed record, its id and its computed state.
//!
//! The part of a key that verification needs is [`live::Live`]; the rules for decisions are in [`verdict`].

pub mod address;
pub mod alarms;
pub mod changes;
pub mod finder;
pub mod imported;
pub mod keyfile;
pub mod live;
mod members;
pub mod metadata;
pub mod network;
pub mod passphrase;
pub mod pepper;
pub mod plain;
pub mod quota;
mod rate;
pub mod redaction;
pub mod rotation;
pub mod scheme;
pub mod seal_key;
pub mod sealing;
pub mod secret;
pub mod uses;
pub mod verdict;
mod versions;
mod window;

use crate::domain::time::Timestamp;
pub use members::{Key, Logged, Meaning, Member, NO_METADATA};
use secret::BASE62;

/// The number of scopes that one key may have.
pub const SCOPES_MAX: usize = 200;
/// The number of addresses and ranges that one key may be restricted to.
pub const ADDRESSES_MAX: usize = 100;

/// The number of characters in a key's id.
pub const ID_CHARS: usize = 10;
/// The form of a key's id, as a regular expression for descriptions.
pub const ID_PATTERN: &str = "^[0-9A-Za-z]{10}$";

/// The public id of a key: ten base62 characters, stored as a number.
///
/// An id may appear in lists and logs, and never suffices to authenticate. Ids are never reused.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct KeyId(pub u64);

impl KeyId {
    /// The last id in the order of the texts.
    pub const LAST: KeyId = KeyId(62_u64.pow(ID_CHARS as u32) - 1);

    /// Reads the ten characters; `None` if the text is not an id.
    pub fn parse(text: &str) -> Option<KeyId> {
        if text.len() != ID_CHARS {
            return None;
        }
        secret::base62_value(text.as_bytes()).map(KeyId)
    }
}

impl KeyId {
    /// The ten characters, without an allocation.
    pub fn digits(self) -> [u8; ID_CHARS] {
        let mut digits = [b'0'; ID_CHARS];
        let mut rest = self.0;
        for digit in digits.iter_mut().rev() {
            *digit = BASE62[(rest % 62) as usize];
            rest /= 62;
        }
        digits
    }
}

impl std::fmt::Display for KeyId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.digits()))
    }
}

/// The state of a key at a moment. If several states apply, [`Key::state`] returns the gravest.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum State {
    Active,
    Deleted,
    Disabled,
    Expired,
    NotYetValid,
    OwnerDisabled,
    WorkspaceDisabled,
}

impl State {
    /// Every state, for filters and help texts.
    pub const ALL: [State; 7] = [
        State::Active,
        State::Deleted,
        State::Disabled,
        State::Expired,
        State::NotYetValid,
        State::OwnerDisabled,
        State::WorkspaceDisabled,
    ];

    /// The word that the API uses.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Active => "active",
            State::Deleted => "deleted",
            State::Disabled => "disabled",
            State::Expired => "expired",
            State::NotYetValid => "not_yet_valid",
            State::OwnerDisabled => "owner_disabled",
            State::WorkspaceDisabled => "workspace_disabled",
        }
    }
}

impl Key {
    /// The state at `now`, depending on whether owner and workspace are in force.
    pub fn state(&self, owner_active: bool, workspace_active: bool, now: Timestamp) -> State {
        if self.deleted_at.is_some() {
            State::Deleted
        } else if !owner_active {
            State::OwnerDisabled
        } else if !workspace_active {
            State::WorkspaceDisabled
        } else if !self.enabled {
            State::Disabled
        } else if self.not_before.is_some_and(|start| now < start) {
            State::NotYetValid
        } else if self.expires_at.is_some_and(|end| end <= now) {
            State::Expired
        } else {
            State::Active
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_ten_base62_characters() {
        for text in ["0000000000", "k3J9aQ0xZb", "zzzzzzzzzz"] {
            assert_eq!(KeyId::parse(text).unwrap().to_string(), text);
        }
        for refused in [
            "",
            "k3J9aQ0xZ",
            "k3J9aQ0xZbb",
            "k3J9aQ0x-b",
            "k3J9aQ0x\u{e9}",
        ] {
            assert_eq!(KeyId::parse(refused), None, "{refused}");
        }
    }
}
