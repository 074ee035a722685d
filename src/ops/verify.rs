//! Verification: one HMAC, one look-up, one verdict. It works in memory, except for three cases.
//!
//! Before uses of a key with a use limit are spent, one block of them is reserved in the store. When the new secret of a
//! rotation is used for the first time, the store ends the old one. And while the index is filled after a start, a key
//! that is not in it yet is loaded. All need the disk, so on an I/O thread the caller gets [`Outcome::MustWait`] and must
//! repeat the verification where waiting is allowed.
//!
//! A key whose policy has come to bound requests first gets counters, in memory.

use super::{App, index_updates};
use crate::authz::caller::roles_in;
use crate::domain::audit::{Event, Kind, Target};
use crate::domain::keys::KeyId;
use crate::domain::keys::live::{Live, StoredSecret};
use crate::domain::keys::pepper::Peppers;
use crate::domain::keys::quota::RateStatus;
use crate::domain::keys::secret::Presented;
use crate::domain::keys::verdict::{
    Allowed, Code, Detail, Judged, KeyContext, Question, Refusal, effective_scopes, judge, rules,
};
use crate::domain::locks::lock;
use crate::domain::policies::Policy;
use crate::domain::policies::roles::Roles;
use crate::domain::time::{Moment, Timestamp};
use crate::domain::uid::Uid;
use crate::error::{Error, Result};
use crate::index::directory::Directory;
use crate::refusals;
use crate::store::seals::keys::RemainingUses;
use crate::store::{Durability, audit, keys, seals};
use std::borrow::Cow;
use std::cell::Cell;
use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::sync::{Condvar, Mutex};
use std::time::Instant;

/// The largest block of uses that is reserved at once. A block is a sixteenth of the remaining uses, but at least
/// one, and more than the maximum only if the request itself costs more. A crash loses at most one block.
const RESERVE_MAX: u64 = 256;
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
    pub directory: &'a Directory,
    /// The time of the decision.
    pub now: Timestamp,
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
    /// Load the key, because the index is still being filled and does not have it.
    Load(KeyId),
    /// Reserve at least this number of uses.
    Reserve(KeyId, u64),
    /// End the old secret of a rotation.
    Retire(KeyId),
}

enum Step<R> {
    Done(R),
    StoreWork(StoreWork),
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
    let render = watched.over(&render);
    match step(app, secret, question, within, now, false, &render) {
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
/// `Unavailable` if the store cannot reserve uses. A failure never leads to acceptance.
pub fn verify_blocking<R>(
    app: &App,
    secret: &str,
    question: &Question<'_>,
    within: Option<Uid>,
    render: impl Fn(&Verdict<'_>) -> R,
) -> Result<R> {
    let watched = TimedVerification::begin();
    let mut loaded = false;
    for _ in 0..ROUNDS_MAX {
        match step(
            app,
            secret,
            question,
            within,
            app.now(),
            loaded,
            &watched.over(&render),
        ) {
            Step::Done(answer) => {
                watched.count(app);
                return Ok(answer);
            }
            Step::StoreWork(StoreWork::Count(id)) => app.index.give_counters(id),
            Step::StoreWork(StoreWork::Load(id)) => {
                app.read(|read| index_updates::fault_in(&app.index, &app.peppers, read, id))?;
                loaded = true;
            }
            Step::StoreWork(StoreWork::Reserve(id, cost)) => reserve(app, id, cost)?,
            Step::StoreWork(StoreWork::Retire(id)) => retire_in_any_case(app, id),
        }
    }
    Err(Error::Unavailable(refusals::keys::used_too_fast()))
}

/// A verification with a measured duration.
struct TimedVerification {
    began: Instant,
    code: Cell<Code>,
}

impl TimedVerification {
    fn begin() -> TimedVerification {
        TimedVerification {
            began: Instant::now(),
            code: Cell::new(Code::NotFound),
        }
    }

    /// Wraps `render` so that it also records the code.
    fn over<'a, R>(
        &'a self,
        render: &'a impl Fn(&Verdict<'_>) -> R,
    ) -> impl Fn(&Verdict<'_>) -> R + 'a {
        |verdict| {
            self.code.set(verdict.code);
            render(verdict)
        }
    }

    fn count(&self, app: &App) {
        app.figures()
            .count_verdict(self.code.get(), self.began.elapsed());
    }
}

/// Whether a text is a valid secret of the key whose id it contains. This does not count as a use and ends no
/// rotation.
pub fn is_secret_of_its_key(app: &App, presented: Presented<'_>) -> Result<bool> {
    if !app.index.is_complete() {
        app.read(|read| index_updates::fault_in(&app.index, &app.peppers, read, presented.id))?;
    }
    let now = app.now();
    let found = app.index.with_key(presented.id, |key| {
        matching(&app.peppers, key, presented, now).is_some()
    });
    Ok(found.unwrap_or(false))
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
    let found = app.index.with_key(presented.id, |key| {
        let valid = matching(&app.peppers, key, presented, now).is_some()
            && surroundings(&directory, key, question).is_some_and(|around| {
                matches!(judge(key, &around, question, now), Judged::Allowed(_))
            });
        valid.then(|| look(key))
    });
    found.flatten()
}

/// One attempt to reach a verdict. `loaded`: the key was already looked up in the store.
fn step<R>(
    app: &App,
    secret: &str,
    question: &Question<'_>,
    within: Option<Uid>,
    now: Moment,
    loaded: bool,
    render: &impl Fn(&Verdict<'_>) -> R,
) -> Step<R> {
    let directory = app.index.directory();
    let told = |refusal: Refusal, allowed: Allowed, key: Option<&Live>| {
        render(&Verdict {
            code: refusal.code,
            detail: refusal.detail,
            rate: refusal.rate.or(allowed.rate),
            uses_left: allowed.uses_left,
            key,
            directory: &directory,
            now: now.wall,
            workspace: question.workspace,
        })
    };
    let unknown = |code: Code| Step::Done(told(code.into(), Allowed::default(), None));
    let Some(presented) = Presented::parse(secret) else {
        return unknown(Code::Malformed);
    };
    // Read before the look-up: a key that is added in between must not be reported as not found.
    let complete = app.index.is_complete();
    let found = app.index.with_key(presented.id, |key| {
        let Some(newest) = matching(&app.peppers, key, presented, now) else {
            return unknown(Code::NotFound);
        };
        if within.is_some_and(|within| !directory.reaches(within, key.shared.workspace)) {
            return unknown(Code::NotFound);
        }
        let around = surroundings(&directory, key, question);
        let judged = match around {
            // The policy of every key exists (foreign key). If it does not, the key opens nothing.
            None => Judged::Refused(Code::Disabled.into()),
            Some(around) => {
                let used = newest && question.cost > 0 && is_first_use(key);
                if used && rules(key, &around, question, now.wall).is_ok() {
                    return Step::StoreWork(StoreWork::Retire(key.id));
                }
                judge(key, &around, question, now)
            }
        };
        let (refusal, allowed) = match judged {
            Judged::Allowed(allowed) => (Code::Valid.into(), allowed),
            Judged::MustCount => return Step::StoreWork(StoreWork::Count(key.id)),
            Judged::MustReserve => {
                return Step::StoreWork(StoreWork::Reserve(key.id, question.cost));
            }
            Judged::Refused(refusal) => (refusal, Allowed::default()),
        };
        // A question with cost 0 does not count as a use of the key.
        if question.cost > 0 {
            app.index
                .usage
                .record(key.id, refusal.code, question.address, now.wall);
        }
        Step::Done(told(refusal, allowed, Some(key)))
    });
    match found {
        Some(step) => step,
        None if !loaded && !complete => Step::StoreWork(StoreWork::Load(presented.id)),
        None => {
            // This takes the same time as for an existing key, so that the duration does not reveal which ids exist.
            app.peppers.current().matches(presented.text, &NO_DIGEST);
            unknown(Code::NotFound)
        }
    }
}

/// The digest with which the secret is compared if its id does not exist.
const NO_DIGEST: crate::domain::keys::pepper::Digest = crate::domain::keys::pepper::Digest([0; 32]);

/// Whether the secret is a secret of the key; `Some(true)` for the newest.
fn matching(peppers: &Peppers, key: &Live, presented: Presented<'_>, now: Moment) -> Option<bool> {
    let matches = |secret: &StoredSecret| {
        peppers
            .version(secret.pepper)
            .is_some_and(|pepper| pepper.matches(presented.text, &secret.digest))
    };
    if matches(&key.secret) {
        return Some(true);
    }
    let older = key.optional.as_ref()?.older.as_ref()?;
    (matches(&older.secret) && older.works(now.wall)).then_some(false)
}

/// The data that the verdict on the key depends on.
fn surroundings<'a>(
    directory: &'a Directory,
    key: &Live,
    question: &Question<'_>,
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

/// Subtracts a block of uses from the stored number, durably, and only then allows memory to spend it. If many
/// verifications need a reservation at the same time, one reserves, and the others wait for it and try again.
fn reserve(app: &App, id: KeyId, cost: u64) -> Result<()> {
    let Some(_turn) = app.reserving.begin(id) else {
        return Ok(());
    };
    let Some(counters) = app.index.counters(id) else {
        return Ok(());
    };
    let peppers = app.peppers.clone();
    app.store.write(Durability::Full, move |tx| {
        let reserved = lock(&counters).uses.map_or(0, |uses| uses.reserved);
        let stored = match seals::keys::find_uses(tx, &peppers, id)? {
            RemainingUses::Counted(stored) => stored,
            RemainingUses::Unlimited => 0,
            RemainingUses::Broken => {
                // The end of the transaction compares the key with its seal, and closes it.
                tx.touch(Target::new(Kind::Key, id));
                return Ok(());
            }
        };
        let wanted = (stored / 16)
            .clamp(1, RESERVE_MAX)
            .max(cost.saturating_sub(reserved));
        let taken = wanted.min(stored);
        keys::update_uses(tx, &peppers, id, Some(stored - taken))?;
        tx.after_commit(move || {
            if let Some(uses) = &mut lock(&counters).uses {
                uses.reserved += taken;
                uses.stored = stored - taken;
            }
        });
        Ok(())
    })
}

/// Ends the old secret of a rotation, only in memory if the store cannot be written. The new secret is valid in any
/// case, and the old one must not stay valid after the new one was used. If the process ends before the store can be
/// written, the next use of the new secret repeats this.
fn retire_in_any_case(app: &App, id: KeyId) {
    let Err(err) = retire(app, id) else {
        return;
    };
    app.figures().events_lost.fetch_add(1, Ordering::Relaxed);
    log::error!("verify: the old secret of key {id} is ended in memory only: {err}");
    app.index.with_key(id, |key| {
        if let Some(older) = key
            .optional
            .as_ref()
            .and_then(|optional| optional.older.as_ref())
        {
            older.retired.store(true, Ordering::Release);
        }
    });
}

/// Ends the old secret of a rotation in the store; the index is then updated.
fn retire(app: &App, id: KeyId) -> Result<()> {
    let now = app.now().wall;
    let peppers = app.peppers.clone();
    app.store.write(Durability::Full, move |tx| {
        if keys::delete_older_secret(tx, id)? {
            let target = Target::new(Kind::Key, id);
            audit::append(
                tx,
                &peppers,
                Event::of_system("key.rotation_complete", target, now),
            )?;
        }
        Ok(())
    })
}

/// The reservations in progress, at most one for each key.
#[derive(Default)]
pub struct Reserving {
    keys: Mutex<HashSet<KeyId>>,
    ended: Condvar,
}

/// The right to reserve uses for one key; it ends when dropped.
struct Turn<'a> {
    reserving: &'a Reserving,
    id: KeyId,
}

impl Reserving {
    /// Returns `None` after waiting for the reservation of another thread.
    fn begin(&self, id: KeyId) -> Option<Turn<'_>> {
        let mut keys = lock(&self.keys);
        if keys.insert(id) {
            return Some(Turn {
                reserving: self,
                id,
            });
        }
        drop(self.ended.wait_while(keys, |keys| keys.contains(&id)));
        None
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        lock(&self.reserving.keys).remove(&self.id);
        self.reserving.ended.notify_all();
    }
}
