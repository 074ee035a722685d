//! The part of a key that verification needs, in a form that takes little memory, because a store may contain a
//! million keys.

use super::address::AddressList;
use super::pepper::{Digest, Peppers};
use super::quota::{Counters, RateLimit};
use super::scheme::{GivenDigest, Scheme};
use super::seal_key::same;
use super::secret::{Secret, prefix_of_hint};
use super::{Key, KeyId, State};
use crate::domain::audit::digest_of;
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
    /// The end of the hint, if [`hint_of`] builds the hint of the key from it; otherwise the hint is among the texts.
    pub tail: [u8; TAIL],
    /// When the key was issued, in seconds since 1970.
    pub created_s: u32,
    /// [`ALWAYS`] if the key has no start.
    pub not_before: Timestamp,
    /// `Timestamp(i64::MAX)` if the key never expires.
    pub expires_at: Timestamp,
    /// The optional part; most keys have none.
    pub optional: Option<Box<OptionalPart>>,
}

/// The properties that keys of one purpose share.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct SharedPart {
    pub workspace: Uid,
    pub owner: Option<Uid>,
    pub policy: Box<str>,
    pub catalog: Option<Box<str>>,
    pub scopes: Box<[Box<str>]>,
    pub read_only: bool,
    pub created_by: Box<str>,
    pub source: Box<str>,
    /// The start of the secrets, for [`hint_of`].
    pub prefix: Box<str>,
}

/// The stored form of a secret: its digest, and how it was made.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct StoredSecret {
    /// The first 32 bytes of a longer digest, which no text but the secret matches either. For a slow scheme a hash of the
    /// stored text, which only distinguishes it from others.
    pub digest: Digest,
    /// The version of the pepper; 0 for every other scheme. `u16`, because a million of these are in memory.
    pub pepper: u16,
    pub scheme: Scheme,
    /// Made by another system, so the secret does not contain the id of its key, and its strength is unknown.
    pub is_foreign: bool,
}

impl StoredSecret {
    /// The stored form of a secret of this server.
    pub fn of(peppers: &Peppers, secret: &Secret) -> StoredSecret {
        StoredSecret::under_newest(peppers, secret.expose(), false)
    }

    /// The stored form of a text under the newest pepper.
    pub fn under_newest(peppers: &Peppers, text: &str, is_foreign: bool) -> StoredSecret {
        let (version, digest) = peppers.digest(text);
        StoredSecret {
            is_foreign,
            ..StoredSecret::peppered(digest, version)
        }
    }

    /// A digest under a version of the pepper.
    pub fn peppered(digest: Digest, version: u32) -> StoredSecret {
        StoredSecret {
            digest,
            // Files with larger versions are refused (`keyfile::parse`). No pepper has this one, so it matches nothing.
            pepper: u16::try_from(version).unwrap_or(u16::MAX),
            scheme: Scheme::Pepper,
            is_foreign: false,
        }
    }

    /// The stored form of a digest that was made by another system.
    pub fn given(given: &GivenDigest, is_foreign: bool) -> StoredSecret {
        let bytes = match given.scheme.is_slow() {
            true => digest_of(&[&given.bytes]).to_vec(),
            false => given.bytes.clone(),
        };
        let mut digest = Digest([0; 32]);
        for (byte, given) in digest.0.iter_mut().zip(bytes) {
            *byte = given;
        }
        StoredSecret {
            digest,
            pepper: 0,
            scheme: given.scheme,
            is_foreign,
        }
    }

    /// Compares a text in constant time. A scheme that is slow, or that needs the key of another system, matches
    /// nothing here (`ops::verify`).
    pub fn matches(&self, peppers: &Peppers, text: &str) -> bool {
        match self.scheme {
            Scheme::Pepper => peppers.match_digest(u32::from(self.pepper), text, &self.digest),
            scheme => scheme.digest(text).is_some_and(|bytes| {
                let start = bytes.first_chunk::<32>();
                start.is_some_and(|start| same(start, &self.digest.0))
            }),
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
    /// What only searches need: the description, the contact, and a hint that [`hint_of`] does not build; one a line.
    pub texts: Box<str>,
    /// At a site, the starts of digests of secrets of the key that stay ended there. A pack can have such a secret again, with a
    /// digest under another version of the pepper.
    pub ended: Box<[[u8; 8]]>,
}

/// The number of characters at the end of a hint.
const TAIL: usize = 4;

/// The hint of a secret that this server has made for a key, from its parts.
fn hint_of(prefix: &str, id: KeyId, tail: &str) -> String {
    match prefix {
        "" => format!("{:016x}…{tail}", id.0),
        prefix => format!("{prefix}_{id}…{tail}"),
    }
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

impl OptionalPart {
    /// Adds a secret to those that stay ended.
    pub fn end(&mut self, start: [u8; 8]) {
        if !self.ended.contains(&start) {
            let mut all = std::mem::take(&mut self.ended).into_vec();
            all.push(start);
            self.ended = all.into();
        }
    }
}

impl Live {
    /// Whether a text is a secret of the key that stays ended, also if the key has it under a newer pepper again.
    pub fn has_ended(&self, peppers: &Peppers, text: &str) -> bool {
        let optional = self.optional.as_ref();
        let ended = optional.map_or(&[][..], |optional| &optional.ended);
        !ended.is_empty() && peppers.any_starts(text, ended)
    }

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
        let tail = tail_of(&shared.prefix, key);
        let foreign_hint = if tail.is_none() { &key.hint } else { "" };
        let texts = [&key.description, &key.contact, foreign_hint].map(|text| text.trim());
        let texts = texts.join("\n");
        let texts = texts.trim();
        let optional = OptionalPart {
            older,
            addresses: key.allowed_ips.clone(),
            rate_limit: key.rate_limit,
            counters,
            metadata: metadata.into(),
            texts: texts.into(),
            ended: Box::default(),
        };
        let plain = optional.older.is_none()
            && optional.addresses.is_none()
            && optional.rate_limit.is_none()
            && optional.counters.is_none()
            && optional.metadata.is_empty()
            && optional.texts.is_empty();
        Live {
            id: key.id,
            name: key.name.as_str().into(),
            shared,
            secret,
            enabled: key.enabled,
            tail: tail.unwrap_or_default(),
            created_s: u32::try_from(key.created_at.0 / 1000).unwrap_or(u32::MAX),
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

    /// The start of the key; `None` if it has none.
    pub fn starts_at(&self) -> Option<Timestamp> {
        (self.not_before != ALWAYS).then_some(self.not_before)
    }

    /// The expiry of the key; `None` if it never expires.
    pub fn ends_at(&self) -> Option<Timestamp> {
        (self.expires_at.0 != i64::MAX).then_some(self.expires_at)
    }

    /// The start and the end of the newest secret; empty if the hint is among the texts.
    pub fn hint(&self) -> String {
        match std::str::from_utf8(&self.tail) {
            Ok(tail) if self.tail != [0; TAIL] => hint_of(&self.shared.prefix, self.id, tail),
            _ => String::new(),
        }
    }

    /// The description, the contact, and a hint that [`Live::hint`] does not have; one a line.
    pub fn texts(&self) -> &str {
        self.optional
            .as_ref()
            .map_or("", |optional| &optional.texts)
    }

    /// Whether the secret before the newest one still works, so that two secrets open the same requests.
    pub fn has_previous(&self, now: Timestamp) -> bool {
        let older = self
            .optional
            .as_ref()
            .and_then(|optional| optional.older.as_ref());
        older.is_some_and(|older| older.works(now))
    }

    /// The metadata as compact JSON.
    pub fn metadata(&self) -> &str {
        match &self.optional {
            Some(optional) if !optional.metadata.is_empty() => &optional.metadata,
            _ => "{}",
        }
    }
}

/// The end of a key's hint, if [`hint_of`] builds the same hint from it.
pub fn tail_of(prefix: &str, key: &Key) -> Option<[u8; TAIL]> {
    let (_, tail) = key.hint.rsplit_once('…')?;
    let is_built = hint_of(prefix, key.id, tail) == key.hint;
    tail.as_bytes().try_into().ok().filter(|_| is_built)
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
            created_by: key.created_by.as_str().into(),
            source: key.source.as_str().into(),
            prefix: prefix_of_hint(&key.hint).into(),
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
        let secret = StoredSecret::peppered(Digest([0; 32]), 1);
        Live::new(key, Arc::new(SharedPart::of(key)), secret, None, None)
    }

    #[test]
    fn every_hint_is_in_memory_whole() {
        for prefix in ["lk", ""] {
            let secret = Secret::generate(prefix, KeyId(62)).unwrap();
            let key = Key {
                id: KeyId(62),
                hint: secret.hint(),
                ..Key::blank()
            };
            assert_eq!(live(&key).hint(), secret.hint());
            assert_eq!(live(&key).texts(), "");
        }
        for hint in ["", "sk_live…", "abcd", "lk_0000000002…abcd"] {
            let key = Key {
                id: KeyId(62),
                hint: hint.to_owned(),
                description: "d".to_owned(),
                ..Key::blank()
            };
            assert_eq!(live(&key).hint(), "");
            assert_eq!(live(&key).texts(), format!("d\n\n{hint}").trim());
        }
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
