//! Verification: one HMAC, one look-up, one verdict. It works in memory, except for five cases.
//!
//! Before uses of a key with a use limit are spent, one block of them is reserved in the store. When the new secret of a
//! rotation is used for the first time, the store ends the old one. While the index is filled after a start, a key that is
//! not in it yet is loaded. The first use of a secret with a slow digest takes up to a second. And nodes that share a database count
//! the requests of a key with an exact limit together, in the store ([`exact`]). All of this may wait, so
//! on an I/O thread the caller gets [`Outcome::MustWait`] and must repeat the verification where waiting is allowed.
//!
//! A key whose policy has come to bound requests first gets counters, in memory. Secrets of other systems ([`foreign`]) are
//! looked up by their digest if a text is no secret of this server.
//!
//! If the store fails, only one of the four cases goes on, in memory: the end of the old secret.

pub mod exact;
#[cfg(test)]
#[cfg(feature = "postgres")]
mod exact_tests;
mod fits;
mod foreign;
mod stored;
mod timed;
pub mod trial;
pub mod tripwires;

use fits::matched_foreign;
pub use fits::{Fit, fit, is_secret_of_its_key, key_of_foreign};
pub use stored::Reserving;

use super::keys::upgrade::Guess;
use super::{App, index_updates};
use crate::authz::caller::roles_in;
use crate::domain::keys::KeyId;
use crate::domain::keys::live::{Live, StoredSecret};
use crate::domain::keys::pepper::Peppers;
use crate::domain::keys::quota::{ExactCount, RateLimit, RateStatus};
use crate::domain::keys::secret::Presented;
use crate::domain::keys::verdict::{
    Allowed, Code, Detail, Judged, KeyContext, Question, Refusal, effective_scopes, judge, rules,
};
use crate::domain::policies::Policy;
use crate::domain::policies::roles::Roles;
use crate::domain::time::{Moment, Timestamp};
use crate::domain::uid::Uid;
use crate::error::{Error, Result};
use crate::index::directory::Directory;
use crate::refusals;
use std::borrow::Cow;
use std::sync::atomic::Ordering;
use timed::TimedVerification;

/// The number of store accesses of one verification after which there must be a defect.
const ROUNDS_MAX: u32 = 64;

/// The verdict on a presented secret, as the caller sees it.
pub struct Verdict<'a> {
    pub code: Code,
    pub detail: Option<Detail>,
    pub rate: Option<RateStatus>,
    pub uses_left: Option<u64>,
    /// The key, but only if the secret has matched and the caller may see the key.
    pub key: Option<&'a Live>,
    /// The secret of that key which has matched.
    pub secret: Option<StoredSecret>,
    pub directory: &'a Directory,
    /// The time of the decision.
    pub now: Timestamp,
    /// The age in seconds of what a stale node has decided by (`ops::fence`); `None` if it is fresh.
    pub stale_s: Option<u64>,
    /// The requested workspace.
    workspace: Option<Uid>,
}

/// Whether a verdict was reached without the disk.
pub enum Outcome<R> {
    Done(R),
    /// The caller must repeat the verification with [`verify_blocking`]; nothing was spent.
    MustWait,
}

/// The access to the store that must come before the verdict.
#[derive(Clone, Copy)]
enum StoreWork {
    /// Give the key counters, for the bound of its policy.
    Count(KeyId),
    /// Let the store count the request, by the exact limit of the key.
    CountExactly(KeyId, RateLimit),
    /// Look at the stored number of uses, because too few seem to be left of it, and other nodes change it.
    LookAtUses(KeyId),
    /// Load the key, because the index is still being filled and does not have it.
    Load(KeyId),
    /// Load the keys that may have this secret of another system, for the same reason.
    LoadForeign,
    /// Compare the secret with the slow digests that its start leads to.
    MatchSlowly,
    /// Reserve at least this number of uses.
    Reserve(KeyId, u64),
    /// End the old secret of a rotation.
    Retire(KeyId),
}

enum Step<R> {
    Done(R),
    StoreWork(StoreWork),
}

/// What was done for a verification, so that it is not done again.
#[derive(Clone, Copy, Default)]
struct Tried {
    loaded: bool,
    loaded_foreign: bool,
    looked_at_uses: bool,
    /// What the store has answered for an exact limit.
    exact: Option<exact::Answer>,
    matched_slowly: bool,
}

/// The secret of a key that a text has matched.
#[derive(Clone, Copy)]
struct Matched {
    secret: StoredSecret,
    /// Whether it is the newest secret of the key.
    is_newest: bool,
    /// Whether it works no longer: the grace period of its rotation is over, or it stays ended at this site.
    has_ended: bool,
}

/// A buffer for [`Verdict::subject`]. The longest user name has 100 bytes.
pub type SubjectRoom = [u8; 128];

impl Verdict<'_> {
    /// The effective scopes of the key. For a key that acts for its owner, these are the scopes that the owner's
    /// roles pass on.
    pub fn scopes<'k>(&'k self, key: &'k Live) -> Cow<'k, [Box<str>]> {
        let Some(policy) = self.directory.policy(&key.shared.policy) else {
            return Cow::Owned(Vec::new());
        };
        if !policy.acts_for_owner {
            return Cow::Borrowed(&key.shared.scopes);
        }
        let catalog = key.shared.catalog.as_deref();
        let catalog = catalog.and_then(|name| self.directory.catalog(name));
        effective_scopes(
            key,
            policy,
            catalog.map(AsRef::as_ref),
            self.directory.is_root(key.shared.workspace),
            owner_roles(self.directory, key, policy, self.workspace),
        )
    }

    /// The subject of the key: `user:NAME` for a key with an owner, otherwise `key:ID`; empty without a key. No user
    /// name contains a colon, so no key can have a name that looks like a user. The text is written into `room`,
    /// because every answer to a proxy contains it.
    pub fn subject<'r>(&self, room: &'r mut SubjectRoom) -> &'r str {
        let Some(key) = self.key else {
            return "";
        };
        let owner = key
            .shared
            .owner
            .and_then(|owner| self.directory.user(owner));
        let digits = key.id.digits();
        let (kind, name) = match owner {
            Some(owner) => ("user:", owner.user_name.as_bytes()),
            None => ("key:", &digits[..]),
        };
        let length = kind.len() + name.len();
        let Some(text) = room.get_mut(..length) else {
            return "";
        };
        text[..kind.len()].copy_from_slice(kind.as_bytes());
        text[kind.len()..].copy_from_slice(name);
        std::str::from_utf8(text).unwrap_or("")
    }

    /// Seconds after which a rate-limited request may be repeated; 0 if waiting does not help.
    pub fn retry_after_s(&self) -> u64 {
        self.rate.map_or(0, |rate| rate.reset_s)
    }
}

/// Decides on a presented secret without waiting for the store.
///
/// `within` is the subtree to which the caller is restricted; keys outside it are reported as not found. `render`
/// turns the verdict into an answer while the key can still be read.
pub fn verify<R>(
    app: &App,
    secret: &str,
    question: &Question<'_>,
    within: Option<Uid>,
    render: impl Fn(&Verdict<'_>) -> R,
) -> Outcome<R> {
    let watched = TimedVerification::begin();
    let now = app.now_at(watched.began);
    let directory = app.index.directory();
    let Ok(stale_s) = app.require_fresh(now) else {
        // The reason is an error, which only [`verify_blocking`] can answer with.
        return Outcome::MustWait;
    };
    let render = watched.over(&render);
    match step(
        app,
        &directory,
        secret,
        question,
        within,
        (now, stale_s, Tried::default()),
        &render,
    ) {
        Step::Done(answer) => {
            watched.count(app);
            Outcome::Done(answer)
        }
        Step::StoreWork(_) => Outcome::MustWait,
    }
}

/// Decides on a presented secret, with the necessary accesses to the store.
///
/// # Errors
/// `Unavailable` if the store cannot reserve uses or count a request of an exact limit, if this is a site whose pack no longer counts, or if
/// the node may be too far behind the database that it shares. A failure never leads to acceptance.
pub fn verify_blocking<R>(
    app: &App,
    secret: &str,
    question: &Question<'_>,
    within: Option<Uid>,
    render: impl Fn(&Verdict<'_>) -> R,
) -> Result<R> {
    let watched = TimedVerification::begin();
    let mut tried = Tried::default();
    let mut turn: Option<exact::Turn<'_>> = None;
    for _ in 0..ROUNDS_MAX {
        let (step, is_fresh) = {
            let directory = app.index.directory();
            let now = app.now();
            let stale_s = app.require_fresh(now)?;
            if tried.exact.is_some() {
                exact::require_fresh(stale_s.is_none())?;
            }
            let step = step(
                app,
                &directory,
                secret,
                question,
                within,
                (now, stale_s, tried),
                &watched.over(&render),
            );
            (step, stale_s.is_none())
        };
        match step {
            Step::Done(answer) => {
                watched.count(app);
                return Ok(answer);
            }
            Step::StoreWork(StoreWork::Count(id)) => app.index.give_counters(id),
            Step::StoreWork(StoreWork::CountExactly(id, rate)) => match &turn {
                Some(turn) if turn.id == id => {
                    tried.exact = Some(exact::count(app, id, rate, question.cost, is_fresh)?);
                }
                _ => {
                    drop(turn.take());
                    turn = Some(app.counting.begin(id)?);
                }
            },
            Step::StoreWork(StoreWork::LookAtUses(id)) => {
                stored::look_at_uses(app, id);
                tried.looked_at_uses = true;
            }
            Step::StoreWork(StoreWork::Load(id)) => {
                app.read(|read| index_updates::fault_in(&app.index, &app.seal_keys, read, id))?;
                tried.loaded = true;
            }
            Step::StoreWork(StoreWork::LoadForeign) => {
                foreign::texts(secret, question).try_for_each(|text| foreign::load(app, text))?;
                tried.loaded_foreign = true;
            }
            Step::StoreWork(StoreWork::MatchSlowly) => {
                foreign::texts(secret, question)
                    .try_for_each(|text| foreign::match_slowly(app, text, Guess::Use))?;
                tried.matched_slowly = true;
            }
            Step::StoreWork(StoreWork::Reserve(id, cost)) => stored::reserve(app, id, cost)?,
            Step::StoreWork(StoreWork::Retire(id)) => stored::retire_in_any_case(app, id),
        }
    }
    Err(Error::Unavailable(refusals::keys::used_too_fast()))
}

/// Calls `look` with the key if the verdict would be VALID according to the index. The verdict is not counted, and a
/// question with cost 0 spends nothing.
pub fn would_authenticate<R>(
    app: &App,
    presented: Presented<'_>,
    question: &Question<'_>,
    look: impl FnOnce(&Live) -> R,
) -> Option<R> {
    let now = app.now();
    let directory = app.index.directory();
    app.require_fresh(now).ok()?;
    let found = app.index.with_key(presented.id, |key| {
        let works = |matched: Matched| !matched.has_ended;
        let valid = matching(&app.peppers, key, presented, now).is_some_and(works)
            && surroundings(
                &directory,
                key,
                question,
                (app.live_nodes(), ExactCount::Here),
            )
            .is_some_and(|around| {
                !around.policy.decoy
                    && matches!(judge(key, &around, question, now), Judged::Allowed(_))
            });
        valid.then(|| look(key))
    });
    found.flatten()
}

/// One attempt to reach a verdict. The caller has looked at the age of what a site has while it held the directory: what is older
/// is not put in its place before that ends.
fn step<R>(
    app: &App,
    directory: &Directory,
    secret: &str,
    question: &Question<'_>,
    within: Option<Uid>,
    (now, stale_s, tried): (Moment, Option<u64>, Tried),
    render: &impl Fn(&Verdict<'_>) -> R,
) -> Step<R> {
    let told = |refusal: Refusal, allowed: Allowed, found: Option<(&Live, Matched)>| {
        render(&Verdict {
            code: refusal.code,
            detail: refusal.detail,
            rate: refusal.rate.or(allowed.rate),
            uses_left: allowed.uses_left,
            key: found.map(|(key, _)| key),
            secret: found.map(|(_, matched)| matched.secret),
            directory,
            now: now.wall,
            stale_s,
            workspace: question.workspace,
        })
    };
    let unknown = |code: Code| Step::Done(told(code.into(), Allowed::default(), None));
    let decide = |key: &Live, matched: Option<Matched>, text: &str| {
        let Some(matched) = matched else {
            tripwires::look_for_retired(app, text, question, now.wall);
            return unknown(Code::NotFound);
        };
        let counted = (app.live_nodes(), exact::place(app, key.id, tried.exact));
        let around = surroundings(directory, key, question, counted);
        let is_decoy = around.as_ref().is_some_and(|around| around.policy.decoy);
        if is_decoy || matched.has_ended {
            // The same work as for a secret that matches nothing.
            foreign::spend(app, text, question);
            tripwires::look_for_retired(app, text, question, now.wall);
            tripwires::record(app, key, is_decoy, question, text, now.wall);
            return unknown(Code::NotFound);
        }
        if within.is_some_and(|within| !directory.reaches(within, key.shared.workspace)) {
            return unknown(Code::NotFound);
        }
        let judged = match around {
            // The policy of every key exists (foreign key). If it does not, the key opens nothing.
            None => Judged::Refused(Code::Disabled.into()),
            Some(around) => {
                let used = matched.is_newest && question.cost > 0 && is_first_use(key);
                if used && rules(key, &around, question, now.wall).is_ok() {
                    return Step::StoreWork(StoreWork::Retire(key.id));
                }
                judge(key, &around, question, now)
            }
        };
        let (refusal, allowed) = match judged {
            Judged::Allowed(allowed) => (Code::Valid.into(), allowed),
            Judged::MustAskStore(rate) => {
                return Step::StoreWork(StoreWork::CountExactly(key.id, rate));
            }
            Judged::MustCount => return Step::StoreWork(StoreWork::Count(key.id)),
            Judged::MustReserve => {
                return Step::StoreWork(StoreWork::Reserve(key.id, question.cost));
            }
            Judged::Refused(refusal)
                if refusal.code == Code::UsageExceeded
                    && !tried.looked_at_uses
                    && stored::may_look_at_uses(app, key, now) =>
            {
                return Step::StoreWork(StoreWork::LookAtUses(key.id));
            }
            Judged::Refused(refusal) => (refusal, Allowed::default()),
        };
        // A question with cost 0 does not count as a use of the key.
        if question.cost > 0 {
            app.index.usage.record(
                key.id,
                refusal.code,
                matched.is_newest,
                question.address,
                now.wall,
            );
            if refusal.code != Code::Valid {
                let (code, detail) = (refusal.code, refusal.detail);
                app.index
                    .refused
                    .record(key.id, code, detail, question, text, now.wall);
            } else if app.site.is_none() {
                app.upgrades
                    .note_use(&app.peppers, key.id, &matched.secret, text);
            }
        }
        Step::Done(told(refusal, allowed, Some((key, matched))))
    };
    // Read before the look-up: a key that is added in between must not be reported as not found.
    let complete = app.index.is_complete();
    let presented = Presented::parse(secret);
    if let Some(presented) = presented {
        let look = |key: &Live| {
            let matched = matching(&app.peppers, key, presented, now);
            if matched.is_none() {
                foreign::spend(app, secret, question);
            }
            decide(key, matched, secret)
        };
        match app.index.with_key(presented.id, look) {
            Some(step) => return step,
            None if !tried.loaded && !complete => {
                return Step::StoreWork(StoreWork::Load(presented.id));
            }
            // This takes the same time as for an existing key, so that the duration does not reveal which ids exist.
            None => app.peppers.match_nothing(presented.text),
        }
    }
    if app.index.foreign.has_any() && !question.own_secrets_only {
        let mut maybe_slow = false;
        for text in foreign::texts(secret, question) {
            match foreign::find(app, text, now, decide) {
                foreign::Found::Step(step) => return step,
                foreign::Found::MaybeSlow => maybe_slow = true,
                foreign::Found::Nothing => {}
            }
        }
        if !tried.loaded_foreign && !complete {
            return Step::StoreWork(StoreWork::LoadForeign);
        }
        if maybe_slow && !tried.matched_slowly {
            return Step::StoreWork(StoreWork::MatchSlowly);
        }
    } else if presented.is_none() {
        return unknown(Code::Malformed);
    }
    tripwires::look_for_retired(app, secret, question, now.wall);
    unknown(Code::NotFound)
}

/// The secret of the key that a presented secret is.
fn matching(
    peppers: &Peppers,
    key: &Live,
    presented: Presented<'_>,
    now: Moment,
) -> Option<Matched> {
    let mut matched = matching_by(key, now, |secret| {
        !secret.is_foreign && secret.matches(peppers, presented.text)
    })?;
    matched.has_ended |= key.has_ended(peppers, presented.text);
    Some(matched)
}

/// The first secret of the key, newest first, that `matches` accepts, and whether it works at `now`.
fn matching_by(
    key: &Live,
    now: Moment,
    matches: impl Fn(&StoredSecret) -> bool,
) -> Option<Matched> {
    if matches(&key.secret) {
        return Some(Matched {
            secret: key.secret,
            is_newest: true,
            has_ended: false,
        });
    }
    let older = key.optional.as_ref()?.older.as_ref()?;
    matches(&older.secret).then(|| Matched {
        secret: older.secret,
        is_newest: false,
        has_ended: !older.works(now.wall),
    })
}

/// The data that the verdict on the key depends on.
fn surroundings<'a>(
    directory: &'a Directory,
    key: &Live,
    question: &Question<'_>,
    (nodes, exact): (u64, ExactCount),
) -> Option<KeyContext<'a>> {
    let shared = &key.shared;
    let place = directory.place(shared.workspace);
    let policy = directory.policy(&shared.policy)?;
    Some(KeyContext {
        owner: shared
            .owner
            .and_then(|owner| directory.user(owner))
            .map(AsRef::as_ref),
        workspace_active: place.is_some_and(|place| place.active),
        in_root: place.is_some_and(|place| place.workspace.parent.is_none()),
        policy,
        catalog: shared
            .catalog
            .as_deref()
            .and_then(|name| directory.catalog(name))
            .map(AsRef::as_ref),
        reaches_workspace: question.workspace.is_some_and(|wanted| {
            // The reach of a key that acts for its owner is the reach of the owner's roles, which are checked
            // separately.
            policy.acts_for_owner || directory.reaches(shared.workspace, wanted)
        }),
        owner_roles: owner_roles(directory, key, policy, question.workspace),
        nodes,
        exact,
    })
}

/// For a key that acts for its owner: the owner's roles in force in the requested workspace, or in the key's own if
/// none is requested.
fn owner_roles(
    directory: &Directory,
    key: &Live,
    policy: &Policy,
    workspace: Option<Uid>,
) -> Option<Roles> {
    if !policy.acts_for_owner {
        return None;
    }
    let owner = key.shared.owner.and_then(|owner| directory.user(owner));
    let workspace = workspace.unwrap_or(key.shared.workspace);
    Some(owner.map_or(Roles::default(), |owner| {
        roles_in(directory, owner, workspace)
    }))
}

/// Whether this is the first use of the newest secret after a rotation whose grace period ends at the first use.
fn is_first_use(key: &Live) -> bool {
    let older = key
        .optional
        .as_ref()
        .and_then(|optional| optional.older.as_ref());
    older.is_some_and(|older| older.until_first_use && !older.retired.load(Ordering::Acquire))
}
