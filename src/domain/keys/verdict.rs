//! The verdict: whether a key opens a request at a moment. A refusal is an answer, not an error.
//!
//! The order of the checks is guaranteed (docs/api.md): the answer reports the first check that fails, it
//! reports the state of a key only after the secret has matched, and a refused request spends no quota.

use super::live::Live;
use super::quota::{ExactCount, RateLimit, RateStatus, SpendResult};
use crate::domain::catalogs::{Catalog, Demand};
use crate::domain::locks::lock;
use crate::domain::policies::roles::{RoleRule, Roles};
use crate::domain::policies::{CredentialHeader, Policy, ReadOnlyBy, TiedTo};
use crate::domain::time::{Moment, Timestamp};
use crate::domain::uid::Uid;
use crate::domain::users::User;
use std::borrow::Cow;
use std::net::IpAddr;

/// The codes of `POST /v1/verify` in the order of the checks, with `Valid` last.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[rustfmt::skip]
pub enum Code {
    Malformed, NotFound, OwnerDisabled, WorkspaceDisabled, Disabled, NotYetValid, Expired, WrongHeader,
    IpNotAllowed, InsufficientScope, ReadOnly, OutsideWorkspace, RateLimited, UsageExceeded, Valid,
}

impl Code {
    /// Whether the code means that the key itself cannot be used here, for any request.
    pub fn is_about_the_key(self) -> bool {
        match self {
            Code::Disabled
            | Code::Expired
            | Code::Malformed
            | Code::NotFound
            | Code::NotYetValid
            | Code::OwnerDisabled
            | Code::WorkspaceDisabled
            | Code::WrongHeader => true,
            Code::InsufficientScope
            | Code::IpNotAllowed
            | Code::OutsideWorkspace
            | Code::RateLimited
            | Code::ReadOnly
            | Code::UsageExceeded
            | Code::Valid => false,
        }
    }

    /// The word for the code in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Code::Disabled => "DISABLED",
            Code::Expired => "EXPIRED",
            Code::InsufficientScope => "INSUFFICIENT_SCOPE",
            Code::IpNotAllowed => "IP_NOT_ALLOWED",
            Code::Malformed => "MALFORMED",
            Code::NotFound => "NOT_FOUND",
            Code::NotYetValid => "NOT_YET_VALID",
            Code::OutsideWorkspace => "OUTSIDE_WORKSPACE",
            Code::OwnerDisabled => "OWNER_DISABLED",
            Code::RateLimited => "RATE_LIMITED",
            Code::ReadOnly => "READ_ONLY",
            Code::UsageExceeded => "USAGE_EXCEEDED",
            Code::Valid => "VALID",
            Code::WorkspaceDisabled => "WORKSPACE_DISABLED",
            Code::WrongHeader => "WRONG_HEADER",
        }
    }
}

/// The request that a key is to open.
#[derive(Clone, Debug, Default)]
pub struct Question<'a> {
    /// All of these scopes must be granted.
    pub scopes: Vec<&'a str>,
    /// The key must be of this catalog.
    pub catalog: Option<&'a str>,
    /// Together with `path`: the operation in the catalog decides which scopes are needed and whether the request
    /// writes.
    pub method: Option<&'a str>,
    pub path: Option<&'a str>,
    /// The path for records only, if it decides nothing.
    pub told_path: Option<&'a str>,
    pub host: Option<&'a str>,
    /// The address of the end client. A key with an address list is refused without an address.
    pub address: Option<IpAddr>,
    /// The key must reach this workspace.
    pub workspace: Option<Uid>,
    /// The header that contained the secret, if the server received it directly.
    pub header: Option<CredentialHeader>,
    /// User name, colon and password of `Authorization: Basic`, if the secret came with it: a secret of another system may
    /// consist of both.
    pub basic: Option<&'a str>,
    /// Who asked, for the events of tripwires: the kind of proxy, or the part of this server.
    pub via: &'static str,
    /// A secret that another system made is not accepted, because its strength is unknown.
    pub own_secrets_only: bool,
    /// The amount that the request takes from the rate limit and the remaining uses; 0 spends nothing.
    pub cost: u64,
}

impl<'a> Question<'a> {
    /// The path, whether or not it decides anything; empty if it is not known.
    pub fn path_for_records(&self) -> &'a str {
        self.path.or(self.told_path).unwrap_or_default()
    }
}

/// The data that a verdict depends on, apart from the key itself. The index looks it up.
pub struct KeyContext<'a> {
    pub owner: Option<&'a User>,
    /// The key's workspace and all above it are enabled.
    pub workspace_active: bool,
    /// The key's workspace is the root.
    pub in_root: bool,
    pub policy: &'a Policy,
    /// The key's catalog, if it has one.
    pub catalog: Option<&'a Catalog>,
    /// The requested workspace is the key's workspace or below it.
    pub reaches_workspace: bool,
    /// For a key that acts for its owner: the owner's roles in the requested workspace, or in the key's own if none
    /// is requested.
    pub owner_roles: Option<Roles>,
    /// The number of nodes that share the limits of requests.
    pub nodes: u64,
    /// Where an exact limit is counted.
    pub exact: ExactCount,
}

/// Why a request is refused. `detail` distinguishes the cases of one code.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Refusal {
    pub code: Code,
    pub detail: Option<Detail>,
    /// For `RateLimited`: when to try again.
    pub rate: Option<RateStatus>,
}

/// Why the needed scopes of a request could not be determined.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Detail {
    /// No operation of the catalog has this method and path.
    UnknownOperation,
    /// The path cannot be evaluated safely, or a necessary part of the request is missing.
    UnsafeRequest,
}

impl Detail {
    /// The word for the detail in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Detail::UnknownOperation => "UNKNOWN_OPERATION",
            Detail::UnsafeRequest => "UNSAFE_REQUEST",
        }
    }
}

/// The counters after a request that is allowed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Allowed {
    pub rate: Option<RateStatus>,
    pub uses_left: Option<u64>,
}

/// The result of judging a request.
#[derive(Debug)]
pub enum Judged {
    Allowed(Allowed),
    /// The key has an exact limit, and the store must count the request before a decision is possible; nothing was spent.
    MustAskStore(RateLimit),
    /// The key has no counters yet, and its policy bounds requests: give it some and ask again. Nothing was spent.
    MustCount,
    /// Uses must be reserved in the store before a decision is possible; nothing was spent.
    MustReserve,
    Refused(Refusal),
}

impl From<Code> for Refusal {
    fn from(code: Code) -> Refusal {
        Refusal {
            code,
            detail: None,
            rate: None,
        }
    }
}

impl From<SpendResult> for Judged {
    fn from(spent: SpendResult) -> Judged {
        match spent {
            SpendResult::Accepted { rate, uses_left } => {
                Judged::Allowed(Allowed { rate, uses_left })
            }
            SpendResult::MustAskStore(rate) => Judged::MustAskStore(rate),
            SpendResult::MustReserve => Judged::MustReserve,
            SpendResult::RateLimited(status) => Judged::Refused(Refusal {
                rate: Some(status),
                ..Code::RateLimited.into()
            }),
            SpendResult::UsageExceeded => Judged::Refused(Code::UsageExceeded.into()),
        }
    }
}

impl KeyContext<'_> {
    /// The shares of this node in the key's own limit and in the bound of its policy.
    fn limits(&self, own: Option<RateLimit>) -> (Option<RateLimit>, Option<RateLimit>) {
        let share = |limit: RateLimit| limit.share(self.nodes);
        (own.map(share), self.policy.rate_limit_max.map(share))
    }

    /// An exact limit that is counted in the store, and the answer of the store if it was asked.
    fn exactly(
        &self,
        own: Option<RateLimit>,
    ) -> Option<(RateLimit, Option<Result<RateStatus, RateStatus>>)> {
        let own = own.filter(|own| own.exact)?;
        match self.exact {
            ExactCount::Answered(answer) => Some((own, Some(answer))),
            ExactCount::Ask => Some((own, None)),
            ExactCount::Here => None,
        }
    }
}

/// Decides whether a key whose secret has matched opens a request, and spends its quota if it does.
pub fn judge(key: &Live, around: &KeyContext<'_>, question: &Question<'_>, now: Moment) -> Judged {
    match rules(key, around, question, now.wall) {
        Err(refusal) => Judged::Refused(refusal),
        Ok(()) => spend(key, around, question.cost, now.steady_ms),
    }
}

/// As [`judge`], but nothing is spent: whether the request would be allowed now. [`Judged::MustCount`] and
/// [`Judged::MustReserve`] mean that it would, and [`Judged::MustAskStore`] that the store decides.
pub fn foresee(
    key: &Live,
    around: &KeyContext<'_>,
    question: &Question<'_>,
    now: Moment,
) -> Judged {
    if let Err(refusal) = rules(key, around, question, now.wall) {
        return Judged::Refused(refusal);
    }
    let counted = key.optional.as_ref().and_then(|optional| {
        let counters = optional.counters.as_ref()?;
        Some((optional, counters))
    });
    let Some((optional, counters)) = counted else {
        return Judged::Allowed(Allowed::default());
    };
    let (own, most) = around.limits(optional.rate_limit);
    let (mut counters, cost) = (lock(counters), question.cost);
    match around.exactly(own) {
        Some((own, answer)) => {
            counters.spend_exactly(own, most, (cost, false), answer, now.steady_ms)
        }
        None => counters.foresee(own, most, cost, now.steady_ms),
    }
    .into()
}

/// All checks except the quota. A request that is refused here would be refused for any quota.
pub fn rules(
    key: &Live,
    around: &KeyContext<'_>,
    question: &Question<'_>,
    now: Timestamp,
) -> Result<(), Refusal> {
    state(key, around, now)?;
    credential(key, around, question)?;
    request(key, around, question)
}

/// Whether the key is in force.
pub fn state(key: &Live, around: &KeyContext<'_>, now: Timestamp) -> Result<(), Refusal> {
    let tied = around.policy.tied_to;
    let owner_in_force = match (key.shared.owner, around.owner) {
        (None, _) => true,
        (Some(_), Some(owner)) => owner.is_active(),
        (Some(_), None) => false,
    };
    if !owner_in_force && tied != TiedTo::Workspace {
        return Err(Code::OwnerDisabled.into());
    }
    if !around.workspace_active {
        return Err(Code::WorkspaceDisabled.into());
    }
    if !key.enabled {
        return Err(Code::Disabled.into());
    }
    if now < key.not_before {
        return Err(Code::NotYetValid.into());
    }
    if key.expires_at <= now {
        return Err(Code::Expired.into());
    }
    Ok(())
}

/// Whether the secret was presented in a permitted header and from a permitted address.
fn credential(key: &Live, around: &KeyContext<'_>, question: &Question<'_>) -> Result<(), Refusal> {
    if let Some(header) = &question.header
        && !around.policy.headers.contains(header)
    {
        return Err(Code::WrongHeader.into());
    }
    if let Some(list) = key
        .optional
        .as_ref()
        .and_then(|optional| optional.addresses.as_ref())
        && !question.address.is_some_and(|address| list.holds(address))
    {
        return Err(Code::IpNotAllowed.into());
    }
    Ok(())
}

/// Whether the key opens this particular request.
fn request(key: &Live, around: &KeyContext<'_>, question: &Question<'_>) -> Result<(), Refusal> {
    let other_catalog = question
        .catalog
        .is_some_and(|wanted| key.shared.catalog.as_deref() != Some(wanted));
    if other_catalog {
        // The key's own catalog has no operations of another catalog.
        return Err(Code::InsufficientScope.into());
    }
    let demand = demand(around, question).map_err(|detail| Refusal {
        code: Code::InsufficientScope,
        detail: Some(detail),
        rate: None,
    })?;
    let held = |scope: &str| match around.catalog {
        Some(catalog) => catalog.grants(&key.shared.scopes, around.in_root, scope),
        None => {
            key.shared.catalog.is_none() && key.shared.scopes.iter().any(|held| **held == *scope)
        }
    };
    let grants = |scope: &str| match around.owner_roles {
        None => held(scope),
        Some(roles) => {
            held(scope) && owner_passes_on(around, roles, demand.as_ref(), question, scope)
        }
    };
    if let Some(roles) = around.owner_roles
        && owner_rules(around, roles, demand.as_ref(), question)
            .next()
            .is_none()
    {
        // The owner has no role here that permits such a request, so the scopes of the key do not matter.
        return Err(Code::InsufficientScope.into());
    }
    let is_met = |demand: &Demand<'_>| demand.requirement.is_met(grants);
    if !question.scopes.iter().all(|scope| grants(scope)) || !demand.as_ref().is_none_or(is_met) {
        return Err(Code::InsufficientScope.into());
    }
    if key.shared.read_only && writes(around.policy.read_only_by, demand.as_ref(), question.method)
    {
        return Err(Code::ReadOnly.into());
    }
    if question.workspace.is_some() && !around.reaches_workspace {
        return Err(Code::OutsideWorkspace.into());
    }
    Ok(())
}

/// The rules of the owner's roles that apply to the request.
fn owner_rules<'a>(
    around: &KeyContext<'a>,
    roles: Roles,
    demand: Option<&Demand<'_>>,
    question: &Question<'_>,
) -> impl Iterator<Item = &'a RoleRule> {
    // Even where only scopes decide whether the key may write, the operation still decides what a read-only role
    // passes on.
    let meaning = match around.policy.read_only_by {
        ReadOnlyBy::Method => ReadOnlyBy::Method,
        ReadOnlyBy::Operation | ReadOnlyBy::Scope => ReadOnlyBy::Operation,
    };
    let writes = writes(meaning, demand, question.method);
    around.policy.rules_of(roles, writes)
}

/// Whether the owner's roles pass a scope on for the request.
fn owner_passes_on(
    around: &KeyContext<'_>,
    roles: Roles,
    demand: Option<&Demand<'_>>,
    question: &Question<'_>,
    scope: &str,
) -> bool {
    owner_rules(around, roles, demand, question)
        .any(|rule| rule.grants(around.catalog, around.in_root, scope))
}

/// The effective scopes of a key, for clients that receive them: the scopes of the key, or, for a key that acts for
/// its owner, the scopes that both the key and the owner's current roles grant.
pub fn effective_scopes<'a>(
    key: &'a Live,
    policy: &'a Policy,
    catalog: Option<&Catalog>,
    in_root: bool,
    owner_roles: Option<Roles>,
) -> Cow<'a, [Box<str>]> {
    let held = &key.shared.scopes;
    let Some(roles) = owner_roles else {
        return Cow::Borrowed(held);
    };
    let rules: Vec<&RoleRule> = policy.rules_of(roles, false).collect();
    let key_grants = |scope: &str| match catalog {
        Some(catalog) => catalog.grants(held, in_root, scope),
        None => held.iter().any(|held| **held == *scope),
    };
    let passed_on = |scope: &str| {
        rules
            .iter()
            .any(|rule| rule.grants(catalog, in_root, scope))
    };
    let mut scopes: Vec<Box<str>> = Vec::new();
    let named = held
        .iter()
        .chain(rules.iter().flat_map(|rule| &rule.scopes));
    for scope in named {
        if key_grants(scope) && passed_on(scope) && !scopes.contains(scope) {
            scopes.push(scope.clone());
        }
    }
    Cow::Owned(scopes)
}

/// The operation for the request, if the request has a path.
pub fn demand<'a>(
    around: &KeyContext<'a>,
    question: &Question<'_>,
) -> Result<Option<Demand<'a>>, Detail> {
    let Some(path) = question.path else {
        return Ok(None);
    };
    let method = question.method.ok_or(Detail::UnsafeRequest)?;
    // Without a catalog it is unknown which scopes the path needs, and guessing could allow the request.
    let catalog = around.catalog.ok_or(Detail::UnknownOperation)?;
    catalog.demand(method, path, question.host).map(Some)
}

/// Whether the request changes something, according to the meaning of "read-only" in the key's policy.
fn writes(meaning: ReadOnlyBy, demand: Option<&Demand<'_>>, method: Option<&str>) -> bool {
    let by_method = || method.is_some_and(|method| !matches!(method, "GET" | "HEAD" | "OPTIONS"));
    match meaning {
        ReadOnlyBy::Method => by_method(),
        ReadOnlyBy::Operation => demand.map_or_else(by_method, |demand| demand.writes),
        ReadOnlyBy::Scope => false,
    }
}

fn spend(key: &Live, around: &KeyContext<'_>, cost: u64, steady_ms: u64) -> Judged {
    let counted = key.optional.as_ref().and_then(|optional| {
        let counters = optional.counters.as_ref()?;
        Some((optional, counters))
    });
    let Some((optional, counters)) = counted else {
        return match around.policy.rate_limit_max {
            None => Judged::Allowed(Allowed::default()),
            Some(_) => Judged::MustCount,
        };
    };
    // If a thread panicked while it held the lock, quota may have been spent without need, but never restored.
    let mut counters = lock(counters);
    let (own, most) = around.limits(optional.rate_limit);
    match around.exactly(own) {
        Some((own, answer)) => counters.spend_exactly(own, most, (cost, true), answer, steady_ms),
        None => counters.spend(own, most, cost, steady_ms),
    }
    .into()
}
