//! The bodies of requests and answers about keys.

use crate::domain::catalogs::SCOPE_PATTERN;
use crate::domain::keys::quota::{RATE_LIMIT_MAX, RateLimit, USES_MAX, WINDOW_S_MAX};
use crate::domain::keys::rotation::GRACE_S_MAX;
use crate::domain::keys::secret::PREFIX_PATTERN;
use crate::domain::keys::{ADDRESSES_MAX, ID_PATTERN, Key, SCOPES_MAX, State};
use crate::domain::policies::STANDARD;
use crate::domain::text::{CONTACT_CHARS_MAX, DESCRIPTION_CHARS_MAX, NAME_CHARS_MAX};
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::http::describe::bodies::{NotNull, answer, request};
use crate::http::describe::schema::{Flat, FreeObject, Time};
use crate::ops::keys::many::{BatchAction, KEYS_MAX};
use crate::ops::keys::{Previous, View};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::json;
use serde_json::value::RawValue;

/// The id of the key in all examples.
pub const EXAMPLE_ID: &str = "k3J9aQ0xZb";
/// The secret of the key in all examples.
pub const EXAMPLE_SECRET: &str =
    "lk_k3J9aQ0xZbv7Qm2XoT5cYw8RkLp1Ns4Hd6Gf9Jb3Va0Ue7Iy2Wq5Zx8CkE1A9fQ2";

answer! {
    pub struct KeyBody<'a> as "Key" {
        id: String [pattern = ID_PATTERN] = EXAMPLE_ID,
        /// The start and the end of the newest secret.
        hint: &'a str = "lk_k3J9aQ0xZb…9fQ2",
        name: &'a str = "billing",
        description: &'a str,
        /// Who to call about the key.
        contact: &'a str,
        /// The slug of the workspace.
        workspace: &'a str = "emea",
        /// The name of the user who owns the key.
        owner: Option<&'a str>,
        policy: &'a str = STANDARD,
        catalog: Option<&'a str> = "billing",
        scopes: &'a [String] = ["invoices:read"],
        read_only: bool,
        enabled: bool = true,
        /// Computed at the time of the answer.
        state: &'static str [enum = State::ALL.map(State::as_str)] = "active",
        not_before: Option<Time>,
        expires_at: Option<Time>,
        allowed_ips: Option<Vec<String>>,
        rate_limit: Option<RateBody>,
        uses_left: Option<u64>,
        metadata: &'a RawValue,
        /// `key:<id>`, `user:<name>` or `local:<uid>`.
        created_by: &'a str = "user:alice",
        created_at: Time,
        rotated_at: Option<Time>,
        /// The secret that the newest rotation has replaced, while it still works.
        previous: Option<PreviousBody<'a>>,
        /// Present if the newest rotation was made with the key's own secret: the address that it came from.
        #[serde(skip_serializing_if = "Option::is_none")]
        self_rotated_from: Option<&'a str>,
        /// Present if the key was not issued here: `import:SYSTEM`, or `file:PATH:LINE` of the file that declares it.
        #[serde(skip_serializing_if = "Option::is_none")]
        source: Option<&'a str>,
        /// Present and true if another system made the secret, so that its strength is unknown. It ends with the rotation.
        #[serde(skip_serializing_if = "Option::is_none")]
        weak: Option<bool>,
        last_used_at: Option<Time>,
        last_used_ip: Option<&'a str>,
        use_count: u64,
    }
}

answer! {
    pub struct PreviousBody<'a> as "PreviousSecret" {
        /// The start and the end of the secret; empty if a version without this member has replaced it.
        hint: &'a str = "lk_k3J9aQ0xZb…AmPd",
        /// The first instant at which it no longer works.
        until: Time,
        /// It also ends at the first use of the newest secret.
        until_first_use: bool,
        /// Null if it was not used since the rotation.
        last_used_at: Option<Time>,
    }
}

request! {
    /// At most `limit` requests in any `window_s` seconds.
    pub struct RateBody as "RateLimit" {
        /// Requests in any window; 0 refuses every request.
        limit: u64 [maximum = RATE_LIMIT_MAX] = 60,
        /// Seconds.
        window_s: u64 [minimum = 1, maximum = WINDOW_S_MAX] = 60,
        /// Whether several nodes on PostgreSQL count all requests together, instead of each its share: for limits of at most 1,000
        /// requests. Each request of the key waits for the database, and is answered 503 if that cannot be asked. False if it is
        /// left out, and answers leave it out then. A single node counts exactly in any case. `rate_limit_max` of a policy cannot be exact.
        exact: Option<bool> = false,
    }
}

answer! {
    /// The only body of this API that carries a key's secret.
    pub struct IssuedBody<'a> as "IssuedKey" {
        key: KeyBody<'a>,
        /// Shown now and never again, unless the policy keeps a sealed copy. Null in the answer to a repeated request.
        secret: Option<&'a str> = EXAMPLE_SECRET,
    }
}

request! {
    /// Absent members and null mean the policy's default. Nobody can issue a key that may do more than they may.
    pub struct NewKeyBody as "NewKey" {
        name: String [minLength = 1, maxLength = NAME_CHARS_MAX] = "billing",
        /// Slug or uid; by default the caller's own workspace.
        workspace: Option<String>,
        /// User name or uid. A management key belongs to the user who issues it if this is left out; null, which needs
        /// `server:admin`, means a management key without an owner. Such a key that was issued by a key without an owner
        /// ends with that key, unless it has `server:admin`.
        owner: Option<Option<String>>,
        /// The rules that the key is issued under and must follow.
        policy: Option<String> [default = STANDARD],
        catalog: Option<String>,
        /// The start of the secret; by default the policy's.
        prefix: Option<String> [pattern = PREFIX_PATTERN],
        members: Flat<KeyMembersBody>,
    }
}

request! {
    /// Absent members stay as they are; null restores the default.
    pub struct KeyEditBody as "KeyEdit" {
        name: NotNull<String> [minLength = 1, maxLength = NAME_CHARS_MAX],
        /// User name or uid of the new owner; null for a key of the workspace. The caller must be one who may issue such
        /// a key for the new owner. The secret stays. Refused for keys that act for their owner.
        owner: Option<Option<String>>,
        members: Flat<KeyMembersBody>,
    }
}

request! {
    /// The members that a new key and an edit have in common.
    pub struct KeyMembersBody as "" {
        description: Option<Option<String>> [maxLength = DESCRIPTION_CHARS_MAX] = "for the new invoicing",
        /// Who to call about the key: a name, an email address or a telephone number.
        contact: Option<Option<String>> [maxLength = CONTACT_CHARS_MAX],
        /// Scopes of the key's catalog, if it has one.
        scopes: Option<Option<Vec<String>>> [maxItems = SCOPES_MAX, items = json!({ "pattern": SCOPE_PATTERN })],
        read_only: Option<Option<bool>>,
        enabled: Option<Option<bool>>,
        /// The key is not valid before.
        not_before: Option<Option<Timestamp>>,
        /// In the future.
        expires_at: Option<Option<Timestamp>>,
        /// Instead of `expires_at`: seconds from now.
        expires_in_s: Option<u64> [minimum = 1] = 7_776_000,
        /// IPv4 and IPv6 addresses and ranges that the key may be used from; absent or null for any.
        allowed_ips: Option<Option<Vec<String>>> [minItems = 1, maxItems = ADDRESSES_MAX],
        /// Absent at issue, or null: the policy's `rate_limit`, else its `rate_limit_max`. A limit that could allow more
        /// than `rate_limit_max` in any of its windows is refused.
        rate_limit: Option<Option<RateBody>>,
        /// The number of verifications that are left; null for any number.
        uses_left: Option<Option<u64>> [maximum = USES_MAX],
        /// Up to 4 KiB of JSON. Services receive it with every verdict, so only a caller who may issue the key can set it:
        /// a user who only owns the key cannot edit it, and no key edits its own. Whole numbers beyond 2^53, decimals of
        /// more than 15 digits that a double does not hold, and a negative zero are refused.
        metadata: Option<Option<FreeObject>>,
    }
}

request! {
    pub struct RotationBody as "Rotation" {
        /// The number of seconds for which the old secret stays valid; by default it ends at once.
        grace_s: Option<u64> [maximum = GRACE_S_MAX] = 3_600,
        /// The old secret ends at the first use of the new one, after `grace_s` (by default 30 days) at the latest.
        until_first_use: Option<bool>,
    }
}

request! {
    pub struct DeletionBody as "" {
        /// The key's name, where its policy requires it.
        confirm_name: Option<String> = "billing",
    }
}

request! {
    pub struct BatchBody as "" {
        action: String [enum = BatchAction::WORDS] = "disable",
        ids: Vec<String>
            [minItems = 1, maxItems = KEYS_MAX, uniqueItems = true, items = json!({ "pattern": ID_PATTERN })]
            = [EXAMPLE_ID],
        /// For `delete`: the name of each key, in the order of `ids`, where a policy requires it.
        confirm_names: Option<Vec<String>> [maxItems = KEYS_MAX],
        /// For `extend`: another end of each key, in the future, which may be earlier than the present one; null for no end.
        expires_at: Option<Option<Timestamp>>,
        /// For `extend`, instead of `expires_at`: seconds from now.
        expires_in_s: Option<u64> [minimum = 1] = 7_776_000,
        /// For `extend`: a key whose policy does not permit this end gets the last moment that its policy permits, instead
        /// of being refused.
        within_policy: Option<bool>,
    }
}

impl<'a> KeyBody<'a> {
    /// The representation of the key in every answer of this dialect.
    pub fn of(view: &'a View) -> Result<KeyBody<'a>> {
        // Without `..`, so that a new member is not left out unnoticed.
        let Key {
            id,
            hint,
            name,
            description,
            contact,
            workspace: _,
            owner: _,
            policy,
            catalog,
            scopes,
            read_only,
            enabled,
            not_before,
            expires_at,
            allowed_ips,
            rate_limit,
            uses_left,
            metadata,
            created_by,
            created_at,
            rotated_at,
            self_rotated_from,
            source,
            weak,
            // Only the reconciliation with files needs these.
            declared_name: _,
            declared_digest: _,
            declared_state: _,
            held: _,
            deleted_at: _,
            number: _,
        } = &view.key;
        Ok(KeyBody {
            id: id.to_string(),
            hint,
            name,
            description,
            contact,
            workspace: &view.workspace,
            owner: view.owner.as_deref(),
            policy,
            catalog: catalog.as_deref(),
            scopes,
            read_only: *read_only,
            enabled: *enabled,
            state: view.state.as_str(),
            not_before: not_before.map(Time),
            expires_at: expires_at.map(Time),
            allowed_ips: allowed_ips
                .as_ref()
                .map(|list| list.blocks().iter().map(ToString::to_string).collect()),
            rate_limit: rate_limit.map(RateBody::from),
            uses_left: *uses_left,
            metadata: serde_json::from_str(metadata).map_err(Error::internal)?,
            created_by,
            created_at: Time(*created_at),
            rotated_at: rotated_at.map(Time),
            previous: view.previous.as_ref().map(PreviousBody::of),
            self_rotated_from: self_rotated_from.as_deref(),
            source: Some(source.as_str()).filter(|source| !source.is_empty()),
            weak: weak.then_some(true),
            last_used_at: view.usage.last_used_at.map(Time),
            last_used_ip: view.usage.last_used_ip.as_deref(),
            use_count: view.usage.use_count,
        })
    }
}

impl<'a> PreviousBody<'a> {
    fn of(previous: &'a Previous) -> PreviousBody<'a> {
        PreviousBody {
            hint: &previous.hint,
            until: Time(previous.until),
            until_first_use: previous.until_first_use,
            last_used_at: previous.last_used_at.map(Time),
        }
    }
}

/// Without `exact` unless it is true.
impl Serialize for RateBody {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let exact = self.exact.filter(|exact| *exact);
        let mut map = serializer.serialize_map(Some(2 + usize::from(exact.is_some())))?;
        map.serialize_entry("limit", &self.limit)?;
        map.serialize_entry("window_s", &self.window_s)?;
        if let Some(exact) = exact {
            map.serialize_entry("exact", &exact)?;
        }
        map.end()
    }
}

impl From<RateLimit> for RateBody {
    fn from(rate: RateLimit) -> RateBody {
        RateBody {
            limit: rate.limit,
            window_s: rate.window_s,
            exact: rate.exact.then_some(true),
        }
    }
}

impl From<RateBody> for RateLimit {
    fn from(body: RateBody) -> RateLimit {
        RateLimit {
            limit: body.limit,
            window_s: body.window_s,
            exact: body.exact.unwrap_or(false),
        }
    }
}
