//! The part of a key that verification needs, in a form that takes little memory, because a store may contain a
//! million keys.

use super::address::AddressList;
use super::pepper::{Digest, Peppers};
use super::quota::{Counters, RateLimit};
use super::secret::Secret;
use super::{Key, KeyId, State};
use crate::domain::time::Timestamp;
use crate::domain::uid::Uid;
use smol_str::SmolStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// The start of a key that has none.
const ALWAYS: Timestamp = Timestamp(i64::MIN);

/// A live key. Deleted keys have no such form.
#[derive(Debug)]
pub struct Live {
    pub id: KeyId,
    pub name: SmolStr,
    /// The part that many keys have in common; they share one instance.
    pub shared: Arc<SharedPart>,
    /// The newest secret.
    pub secret: StoredSecret,
    pub enabled: bool,
    /// [`ALWAYS`] if the key has no start.
    pub not_before: Timestamp,
    /// `Timestamp(i64::MAX)` if the key never expires.
    pub expires_at: Timestamp,
    /// The optional part; most keys have none.
    pub optional: Option<Box<OptionalPart>>,
}

/// The properties that keys of one purpose share.
#[derive(Debug, Eq, Hash, PartialEq)]
pub struct SharedPart {
    pub workspace: Uid,
    pub owner: Option<Uid>,
    pub policy: Box<str>,
    pub catalog: Option<Box<str>>,
    pub scopes: Box<[Box<str>]>,
    pub read_only: bool,
}

/// A digest, and the version of the pepper with which it was made.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct StoredSecret {
    pub digest: Digest,
    pub pepper: u32,
}

impl StoredSecret {
    /// The stored form of a secret.
    pub fn of(peppers: &Peppers, secret: &Secret) -> StoredSecret {
        let pepper = peppers.current();
        StoredSecret {
            digest: pepper.digest(secret.expose()),
            pepper: pepper.version,
        }
    }
}

/// The optional part of a live key.
#[derive(Debug, Default)]
pub struct OptionalPart {
    pub older: Option<OlderSecret>,
    pub addresses: Option<AddressList>,
    pub rate_limit: Option<RateLimit>,
    /// Shared with the entry that replaces this one, so that an edit does not restore quota.
    pub counters: Option<Arc<Mutex<Counters>>>,
    /// Compact JSON; empty for `{}`.
    pub metadata: Box<str>,
}

/// The secret before the last rotation, in its grace period.
#[derive(Debug)]
pub struct OlderSecret {
    pub secret: StoredSecret,
    /// The first instant at which the secret no longer works.
    pub expires_at: Timestamp,
    /// Whether the secret also ends when the new secret is used for the first time.
    pub until_first_use: bool,
    /// Set at that first use, before the store records it.
    pub retired: AtomicBool,
}

impl OlderSecret {
    /// Whether this secret still opens anything at `now`.
    pub fn works(&self, now: Timestamp) -> bool {
        now < self.expires_at && !self.retired.load(Ordering::Acquire)
    }
}

impl Live {
    /// Builds the live form of a stored key with its newest and, in a grace period, its older secret.
    pub fn new(
        key: &Key,
        shared: Arc<SharedPart>,
        secret: StoredSecret,
        older: Option<OlderSecret>,
        counters: Option<Arc<Mutex<Counters>>>,
    ) -> Live {
        let metadata: &str = if key.metadata == "{}" {
            ""
        } else {
            &key.metadata
        };
        let optional = OptionalPart {
            older,
            addresses: key.allowed_ips.clone(),
            rate_limit: key.rate_limit,
            counters,
            metadata: metadata.into(),
        };
        let plain = optional.older.is_none()
            && optional.addresses.is_none()
            && optional.rate_limit.is_none()
            && optional.counters.is_none()
            && optional.metadata.is_empty();
        Live {
            id: key.id,
            name: key.name.as_str().into(),
            shared,
            secret,
            enabled: key.enabled,
            not_before: key.not_before.unwrap_or(ALWAYS),
            expires_at: key.expires_at.unwrap_or(Timestamp(i64::MAX)),
            optional: (!plain).then(|| Box::new(optional)),
        }
    }

    /// Does the same as [`Key::state`]: the state at `now`, depending on whether owner and workspace are in force.
    pub fn state(&self, owner_active: bool, workspace_active: bool, now: Timestamp) -> State {
        if !owner_active {
            State::OwnerDisabled
        } else if !workspace_active {
            State::WorkspaceDisabled
        } else if !self.enabled {
            State::Disabled
        } else if now < self.not_before {
            State::NotYetValid
        } else if self.expires_at <= now {
            State::Expired
        } else {
            State::Active
        }
    }

    /// The expiry of the key; `None` if it never expires.
    pub fn ends_at(&self) -> Option<Timestamp> {
        (self.expires_at.0 != i64::MAX).then_some(self.expires_at)
    }

    /// The metadata as compact JSON.
    pub fn metadata(&self) -> &str {
        match &self.optional {
            Some(optional) if !optional.metadata.is_empty() => &optional.metadata,
            _ => "{}",
        }
    }
}

impl SharedPart {
    /// The shared part of a stored key.
    pub fn of(key: &Key) -> SharedPart {
        SharedPart {
            workspace: key.workspace,
            owner: key.owner,
            policy: key.policy.as_str().into(),
            catalog: key.catalog.as_deref().map(Into::into),
            scopes: key
                .scopes
                .iter()
                .map(|scope| scope.as_str().into())
                .collect(),
            read_only: key.read_only,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::keys::{Meaning, Member};

    impl Live {
        /// Whether this entry has the value of a member that a stored key has. A limit that is not listed here never agrees,
        /// so that it is not left out of memory unnoticed.
        fn agrees(&self, member: Member, key: &Key) -> bool {
            let (shared, optional) = (&self.shared, self.optional.as_ref());
            match member {
                Member::AllowedIps => {
                    optional.and_then(|optional| optional.addresses.as_ref())
                        == key.allowed_ips.as_ref()
                }
                Member::Catalog => shared.catalog.as_deref() == key.catalog.as_deref(),
                Member::ExpiresAt => self.ends_at() == key.expires_at,
                Member::Id => self.id == key.id,
                Member::Metadata => self.metadata() == key.metadata,
                Member::Name => self.name == key.name,
                Member::NotBefore => self.not_before == key.not_before.unwrap_or(ALWAYS),
                Member::Owner => shared.owner == key.owner,
                Member::Policy => *shared.policy == *key.policy,
                Member::RateLimit => {
                    optional.and_then(|optional| optional.rate_limit) == key.rate_limit
                }
                Member::ReadOnly => shared.read_only == key.read_only,
                Member::Scopes => shared
                    .scopes
                    .iter()
                    .map(|scope| &**scope)
                    .eq(key.scopes.iter().map(String::as_str)),
                Member::Workspace => shared.workspace == key.workspace,
                // The caller knows whether the key also has to be closed; uses are counted in memory before the row is
                // written.
                Member::Enabled | Member::UsesLeft => true,
                other => match other.meaning() {
                    Meaning::Identity | Meaning::Label | Meaning::State => true,
                    Meaning::ForServices | Meaning::Limit | Meaning::Switch => false,
                },
            }
        }
    }

    fn live(key: &Key) -> Live {
        let secret = StoredSecret {
            digest: Digest([0; 32]),
            pepper: 1,
        };
        Live::new(key, Arc::new(SharedPart::of(key)), secret, None, None)
    }

    /// A limit that is not in memory would restrict nothing.
    #[test]
    fn every_limit_and_whatever_services_receive_is_in_memory() {
        let (blank, full) = (Key::blank(), Key::full());
        for member in Member::ALL {
            let mut key = blank.clone();
            member.copy(&full, &mut key);
            assert!(live(&key).agrees(*member, &key), "{}", member.word());
            let is_needed = matches!(member.meaning(), Meaning::ForServices | Meaning::Limit);
            if is_needed && *member != Member::UsesLeft {
                assert!(!live(&blank).agrees(*member, &key), "{}", member.word());
            }
        }
    }
}
