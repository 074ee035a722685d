//! Policies: the rules that keys of a kind must follow, at issue and afterwards. A new kind of key is a row.
//!
//! [`definition`] decides whether a policy is consistent, [`stricter`] which of two policies permits less, and
//! [`rules`] what a policy demands of a key.
//!
//! While live keys follow a policy, an edit can only make it stricter. An edit affects those keys as follows:
//!
//! - From the next request on: `headers`, `read_only_by`, `tied_to`, `acts_for_owner`, `roles`, `can_disable`,
//!   `can_rotate`, `self_rotation`, `confirm_name`, `editable`, `on_reuse`, `on_leak`, `expiry_notice_days` and
//!   `secret_shown`. A policy that no longer shows secrets again loses its sealed copies at once.
//! - `rate_limit_max` also applies from the next request on: it bounds a key whose own limit is looser.
//! - Only when a key is issued, and when an edit of a key changes that member: `expiry` with its bounds, `addresses`,
//!   `scopes`, `name_unique` and `rate_limit`. So a key that lives longer than a new key may keeps its end until then.
//! - For new keys only: `issued_by`, `owner`, `catalog`, `prefix`, the greatest numbers of keys and `at_owner_max`. But
//!   `root_administrator` in `issued_by` also decides who may rotate such a key, so it can neither be set nor removed
//!   while the policy has keys. The same holds for `decoy`.

pub mod definition;
pub mod roles;
pub mod rules;
pub mod stricter;

use super::keys::Member;
use super::keys::quota::RateLimit;

/// The policy of keys whose issuer named no policy.
pub const STANDARD: &str = "standard";

/// Keys of the policy [`STANDARD`] that one user may own.
pub const KEYS_PER_OWNER_MAX: u32 = 1_000;

/// One policy, as stored.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Policy {
    pub name: String,
    pub description: String,
    pub issued_by: IssuedBy,
    /// Whether a key belongs to a user. If it must and the request names no owner, the issuer owns it.
    pub owner: Presence,
    /// The catalog of the keys' scopes, also if the issuer names none; `None` for any catalog.
    pub catalog: Option<String>,
    pub scopes: Presence,
    /// The headers that may carry a secret of such a key.
    pub headers: Vec<CredentialHeader>,
    pub read_only_by: ReadOnlyBy,
    pub expiry: Expiry,
    /// The longest life, counted from the time of the issue or of the edit.
    pub expiry_s_max: Option<u64>,
    /// The longest life in calendar months: it ends at the end of the same day of the month, in UTC.
    pub expiry_months_max: Option<u32>,
    pub addresses: AddressRule,
    /// The greatest number of keys of this policy in one workspace.
    pub keys_per_workspace_max: Option<u32>,
    /// The greatest number of keys of this policy that one user may own.
    pub keys_per_owner_max: Option<u32>,
    /// What happens to a new key of a user who owns [`Policy::keys_per_owner_max`] keys already.
    pub at_owner_max: AtMax,
    /// No two live keys of this policy in one workspace have the same name, without regard to case.
    pub name_unique: bool,
    pub secret_shown: SecretShown,
    pub editable: Editable,
    pub can_disable: bool,
    pub can_rotate: bool,
    /// Whether a key may replace its own secret without another credential.
    pub self_rotation: SelfRotation,
    /// A delete request must repeat the key's name.
    pub confirm_name: bool,
    /// Only users who signed in with a second factor, and the administrator of the machine, may issue, edit, enable, rotate
    /// and reveal keys.
    pub second_factor: bool,
    /// Its keys are decoys: each is answered as an unknown one, and its use is an alarm.
    pub decoy: bool,
    /// What follows when the old secret of a key is tried after the new one was used, which had ended it.
    pub on_reuse: OnReuse,
    /// What follows when a secret that works is reported as leaked.
    pub on_leak: OnLeak,
    /// How many days before its end a key is reported as a notice, the most first; empty for no notice.
    pub expiry_notice_days: Vec<u32>,
    pub tied_to: TiedTo,
    /// A key of this policy may do at most what its owner may: `roles` bounds it, in verdicts and on this server's own
    /// routes. A dialect for such keys accepts the key as its owner (`authz::authenticate::as_owner`).
    pub acts_for_owner: bool,
    /// What each role of the owner passes on to a key that acts for the owner; empty for other keys.
    pub roles: Vec<roles::RoleRule>,
    /// The limit of keys whose issuer named none.
    pub rate_limit: Option<RateLimit>,
    /// The bound of all keys: no key makes more requests than this, even if its own limit is looser. If `rate_limit` is
    /// `None`, it is also the limit of keys whose issuer named none.
    pub rate_limit_max: Option<RateLimit>,
    /// The start of the secrets; empty for secrets that consist only of letters and digits (`domain::keys::secret`).
    pub prefix: String,
    /// `file:PATH:LINE` of the file that declares the policy, or empty.
    pub source: String,
}

/// A place for a credential in a request.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum CredentialHeader {
    /// `Authorization: Basic …` (RFC 7617): the key is the password, or the user name with an empty password. Only the
    /// requests that proxies ask about may carry it there.
    Basic,
    /// `Authorization: Bearer …` (RFC 6750, section 2.1).
    Bearer,
    /// A separate header, in lower case, such as `x-api-key`.
    Named(String),
    /// `Authorization: Token …`.
    Token,
}

/// Whether keys have a member.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Presence {
    Forbidden,
    Optional,
    Required,
}

/// Who may issue keys of a policy.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum IssuedBy {
    /// A caller who manages keys in the workspace, for any user.
    Manager,
    /// A caller who manages keys in the workspace, for any user; and every user for themselves.
    ManagerOrOwner,
    /// Every user, only for themselves.
    Owner,
    /// A client that proves a user's name and password, for that user. A change of the password ends the keys.
    Password,
    /// An administrator of the root workspace, for any user. No other caller may take over such a key by rotating it.
    RootAdministrator,
}

/// What happens to a new key that would exceed the greatest number.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AtMax {
    /// Refuses it until another key is deleted. This is for keys that people issue: a person can delete one.
    Refuse,
    /// Deletes the key that has not been used for the longest time, and issues the new one. This is for keys that
    /// programs issue and never delete: such a program could never get a key again after a refusal.
    Replace,
}

/// What makes a request a write, for keys that only read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ReadOnlyBy {
    /// Any method but GET, HEAD and OPTIONS.
    Method,
    /// The catalog's operation decides; the method decides for a request without an operation.
    Operation,
    /// Nothing: the scopes alone decide.
    Scope,
}

/// Whether keys expire.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Expiry {
    Forbidden,
    Optional,
    Required,
}

/// What an address list may contain.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AddressRule {
    /// Addresses and ranges.
    Cidr,
    /// Single addresses only.
    Exact,
    /// No list at all.
    Off,
}

/// Whether a key may replace its own secret, without the right to manage keys. A key that can only read never may.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SelfRotation {
    /// The old secret ends with the rotation, so that its holder notices.
    AtOnce,
    /// The old secret may go on working for a time, at most [`SELF_GRACE_S_MAX`].
    Grace,
    No,
}

/// The longest time that the old secret of a key that has rotated itself may go on working: an hour.
pub const SELF_GRACE_S_MAX: u64 = 3_600;

/// How often a secret can be seen.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SecretShown {
    /// At issue and rotation only.
    Once,
    /// Again later, from a sealed copy.
    Sealed,
}

/// Whose disabling also stops a key, in addition to the key's own.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TiedTo {
    /// Its owner's and its workspace's.
    OwnerAndWorkspace,
    /// Its workspace's only.
    Workspace,
}

/// What follows when an old secret is tried that the first use of the new one had ended. Either the old secret has been
/// stolen, or the new one has.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OnReuse {
    /// Disables the key.
    Disable,
    /// Only an event and a notice.
    Note,
}

/// What follows when a secret that works is reported as leaked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OnLeak {
    /// Disables the key.
    Disable,
    /// Only an event and a notice.
    Note,
    /// Gives the key a new secret, which the policy shows again, and ends the leaked one at once.
    Rotate,
}

/// Which members of a key an edit may change.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Editable {
    /// Every member, also one that a later version adds.
    All,
    /// These members, and none that a later version adds.
    Only(Vec<Member>),
}

/// An enum whose values have names in requests and in the database, in one table.
pub trait Words: Sized + Copy + PartialEq + 'static {
    const TABLE: &'static [(Self, &'static str)];
}

impl Words for IssuedBy {
    const TABLE: &'static [(Self, &'static str)] = &[
        (IssuedBy::Manager, "manager"),
        (IssuedBy::ManagerOrOwner, "manager_or_owner"),
        (IssuedBy::Owner, "owner"),
        (IssuedBy::Password, "password"),
        (IssuedBy::RootAdministrator, "root_administrator"),
    ];
}

impl Words for Presence {
    const TABLE: &'static [(Self, &'static str)] = &[
        (Presence::Forbidden, "forbidden"),
        (Presence::Optional, "optional"),
        (Presence::Required, "required"),
    ];
}

impl Words for AtMax {
    const TABLE: &'static [(Self, &'static str)] =
        &[(AtMax::Refuse, "refuse"), (AtMax::Replace, "replace")];
}

impl Words for ReadOnlyBy {
    const TABLE: &'static [(Self, &'static str)] = &[
        (ReadOnlyBy::Method, "method"),
        (ReadOnlyBy::Operation, "operation"),
        (ReadOnlyBy::Scope, "scope"),
    ];
}

impl Words for Expiry {
    const TABLE: &'static [(Self, &'static str)] = &[
        (Expiry::Forbidden, "forbidden"),
        (Expiry::Optional, "optional"),
        (Expiry::Required, "required"),
    ];
}

impl Words for AddressRule {
    const TABLE: &'static [(Self, &'static str)] = &[
        (AddressRule::Cidr, "cidr"),
        (AddressRule::Exact, "exact"),
        (AddressRule::Off, "off"),
    ];
}

impl Words for SecretShown {
    const TABLE: &'static [(Self, &'static str)] =
        &[(SecretShown::Once, "once"), (SecretShown::Sealed, "sealed")];
}

impl Words for SelfRotation {
    const TABLE: &'static [(Self, &'static str)] = &[
        (SelfRotation::AtOnce, "at_once"),
        (SelfRotation::Grace, "grace"),
        (SelfRotation::No, "no"),
    ];
}

impl Words for OnReuse {
    const TABLE: &'static [(Self, &'static str)] =
        &[(OnReuse::Disable, "disable"), (OnReuse::Note, "note")];
}

impl Words for OnLeak {
    const TABLE: &'static [(Self, &'static str)] = &[
        (OnLeak::Disable, "disable"),
        (OnLeak::Note, "note"),
        (OnLeak::Rotate, "rotate"),
    ];
}

impl Words for TiedTo {
    const TABLE: &'static [(Self, &'static str)] = &[
        (TiedTo::OwnerAndWorkspace, "owner_and_workspace"),
        (TiedTo::Workspace, "workspace"),
    ];
}

/// The word of a value.
pub fn word<T: Words>(value: T) -> &'static str {
    T::TABLE
        .iter()
        .find(|(known, _)| *known == value)
        .map_or("", |(_, word)| word)
}

/// The names of all values, for error messages.
pub fn words<T: Words>() -> Vec<&'static str> {
    T::TABLE.iter().map(|(_, word)| *word).collect()
}

/// The value of a word.
pub fn from_word<T: Words>(text: &str) -> Option<T> {
    T::TABLE
        .iter()
        .find(|(_, word)| *word == text)
        .map(|(value, _)| *value)
}

impl Editable {
    /// The word that stands for [`Editable::All`], alone in a list of members.
    pub const ALL: &'static str = "*";

    /// Whether an edit may change a member.
    pub fn allows(&self, member: Member) -> bool {
        match self {
            Editable::All => true,
            Editable::Only(members) => members.contains(&member),
        }
    }

    /// Whether no member may be changed.
    pub fn is_nothing(&self) -> bool {
        matches!(self, Editable::Only(members) if members.is_empty())
    }

    /// Whether another setting permits every edit that this one permits, in later versions as well.
    pub fn is_within(&self, other: &Editable) -> bool {
        match (self, other) {
            (_, Editable::All) => true,
            (Editable::All, Editable::Only(_)) => false,
            (Editable::Only(members), Editable::Only(_)) => {
                members.iter().all(|member| other.allows(*member))
            }
        }
    }

    /// The words of the members, or [`Editable::ALL`] alone.
    pub fn words(&self) -> Vec<&'static str> {
        match self {
            Editable::All => vec![Editable::ALL],
            Editable::Only(members) => members.iter().map(|member| member.word()).collect(),
        }
    }

    /// The inverse of [`Editable::words`]; `Err` is the position of the first word that is not one of them.
    pub fn parse<'a>(
        words: impl IntoIterator<Item = &'a str>,
    ) -> std::result::Result<Editable, usize> {
        let words: Vec<&str> = words.into_iter().collect();
        if words == [Editable::ALL] {
            return Ok(Editable::All);
        }
        let open = Member::editable();
        let member = |(position, text): (usize, &&str)| {
            let found = open.iter().find(|member| member.word() == *text);
            found.copied().ok_or(position)
        };
        let members = words.iter().enumerate().map(member);
        members
            .collect::<std::result::Result<_, usize>>()
            .map(Editable::Only)
    }

    /// Every word that [`Editable::parse`] takes.
    pub fn all_words() -> Vec<&'static str> {
        let members = Member::editable();
        let words = members.iter().map(|member| member.word());
        [Editable::ALL].into_iter().chain(words).collect()
    }
}

impl CredentialHeader {
    /// `basic`, `bearer`, `token`, or the header's name in lower case.
    pub fn as_str(&self) -> &str {
        match self {
            CredentialHeader::Basic => "basic",
            CredentialHeader::Bearer => "bearer",
            CredentialHeader::Named(name) => name,
            CredentialHeader::Token => "token",
        }
    }

    /// The inverse of `as_str`; does not check that a name is a legal header.
    pub fn parse(text: &str) -> CredentialHeader {
        match text {
            "basic" => CredentialHeader::Basic,
            "bearer" => CredentialHeader::Bearer,
            "token" => CredentialHeader::Token,
            name => CredentialHeader::Named(name.to_owned()),
        }
    }
}

impl Policy {
    /// The limit of a key whose issuer named none.
    pub fn rate_limit_default(&self) -> Option<RateLimit> {
        self.rate_limit.or(self.rate_limit_max)
    }

    /// The policy for decoys that a site places where a thief looks, made from `standard`. Only their alarm matters, so they
    /// have no owner and are never rotated.
    pub fn decoys(standard: Policy) -> Policy {
        Policy {
            decoy: true,
            owner: Presence::Forbidden,
            tied_to: TiedTo::Workspace,
            can_rotate: false,
            self_rotation: SelfRotation::No,
            ..standard
        }
    }

    /// When keys are reported whose policy does not say otherwise.
    pub const EXPIRY_NOTICE_DAYS: [u32; 3] = [30, 7, 1];

    /// The policy that exists from the first start: it permits every member and requires none. The number of its keys
    /// that one user may own is bounded, because a user with few rights can issue them.
    pub fn standard() -> Policy {
        Policy {
            name: STANDARD.to_owned(),
            description: "Keys with every option, none of them required.".to_owned(),
            issued_by: IssuedBy::ManagerOrOwner,
            owner: Presence::Optional,
            catalog: None,
            scopes: Presence::Optional,
            headers: vec![
                CredentialHeader::Bearer,
                CredentialHeader::Token,
                CredentialHeader::Named("x-api-key".to_owned()),
            ],
            read_only_by: ReadOnlyBy::Operation,
            expiry: Expiry::Optional,
            expiry_s_max: None,
            expiry_months_max: None,
            addresses: AddressRule::Cidr,
            keys_per_workspace_max: None,
            keys_per_owner_max: Some(KEYS_PER_OWNER_MAX),
            at_owner_max: AtMax::Refuse,
            name_unique: false,
            secret_shown: SecretShown::Once,
            editable: Editable::All,
            can_disable: true,
            can_rotate: true,
            self_rotation: SelfRotation::AtOnce,
            confirm_name: false,
            second_factor: false,
            decoy: false,
            on_reuse: OnReuse::Note,
            on_leak: OnLeak::Note,
            expiry_notice_days: Policy::EXPIRY_NOTICE_DAYS.to_vec(),
            tied_to: TiedTo::OwnerAndWorkspace,
            acts_for_owner: false,
            roles: Vec::new(),
            rate_limit: None,
            rate_limit_max: None,
            prefix: crate::domain::keys::secret::PREFIX_DEFAULT.to_owned(),
            source: String::new(),
        }
    }
}
