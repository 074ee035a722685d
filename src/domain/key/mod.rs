//! Keys: the managed record, its id and its computed state.
//!
//! What verification needs of a key is [`live::Live`]; the rules that decide are in [`verdict`].

pub mod address;
pub mod changes;
pub mod keyfile;
pub mod live;
pub mod metadata;
pub mod pepper;
pub mod quota;
pub mod sealing;
pub mod secret;
pub mod verdict;

use crate::domain::time::Timestamp;
use crate::domain::uid::Uid;
use address::AddressList;
use quota::RateLimit;
use secret::BASE62;

/// Scopes that one key may hold.
pub const SCOPES_MAX: usize = 200;
/// Addresses or ranges that one key may be restricted to.
pub const ADDRESSES_MAX: usize = 100;
/// The longest time that a rotated secret may go on working: 30 days.
pub const GRACE_S_MAX: u64 = 30 * 86_400;

/// Characters of a key's id.
pub const ID_CHARS: usize = 10;

/// The public id of a key: ten base62 characters, kept as a number.
///
/// Safe in lists and logs, never enough to authenticate. Ids are never used again.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct KeyId(pub u64);

impl KeyId {
    /// Reads the ten characters; `None` if they are not an id.
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

/// A key as the store has it.
#[derive(Clone, Debug)]
pub struct Key {
    pub id: KeyId,
    /// A small number for clients that want one.
    pub number: i64,
    pub name: String,
    pub description: String,
    pub workspace: Uid,
    /// The user whose rights bound the key's, if it has one.
    pub owner: Option<Uid>,
    pub policy: String,
    /// The list that the scopes are from; without one, scopes are free words compared exactly.
    pub catalog: Option<String>,
    pub scopes: Vec<String>,
    pub read_only: bool,
    pub enabled: bool,
    pub not_before: Option<Timestamp>,
    /// The first instant at which the key no longer works.
    pub expires_at: Option<Timestamp>,
    pub allowed_ips: Option<AddressList>,
    pub rate_limit: Option<RateLimit>,
    /// Uses that the store still holds; what is reserved in memory has been taken off.
    pub uses_left: Option<u64>,
    /// A JSON object, compact.
    pub metadata: String,
    pub created_by: String,
    pub created_at: Timestamp,
    pub rotated_at: Option<Timestamp>,
    pub deleted_at: Option<Timestamp>,
    /// Start and end of the newest secret, safe to show.
    pub hint: String,
    /// The address that the newest rotation came from, if the key rotated itself.
    pub self_rotated_from: Option<String>,
}

/// What a key is at a moment, gravest reason first.
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
    /// The state at `now`, given whether owner and workspace are in force.
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
impl Key {
    /// A plain key for the tests of other modules.
    pub fn sample() -> Key {
        Key {
            id: KeyId(1),
            number: 1,
            name: "sample".to_owned(),
            description: String::new(),
            workspace: Uid(1),
            owner: None,
            policy: "standard".to_owned(),
            catalog: None,
            scopes: Vec::new(),
            read_only: false,
            enabled: true,
            not_before: None,
            expires_at: None,
            allowed_ips: None,
            rate_limit: None,
            uses_left: None,
            metadata: "{}".to_owned(),
            created_by: "system".to_owned(),
            created_at: Timestamp(0),
            rotated_at: None,
            deleted_at: None,
            hint: String::new(),
            self_rotated_from: None,
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
