//! Attempts to sign in, as the operations count them. Every operation that takes a password, a code or a key begins
//! here.
//!
//! An attempt is counted before anything is digested. It ends with [`Attempt::failed`], or it is dropped, which
//! releases its reservation. A complete sign-in calls [`succeeded`].

use super::users::{manageable, record};
use crate::authz::caller::{Caller, Origin};
use crate::domain::attempts::shared::{self, Announcement};
use crate::domain::attempts::throttle::network;
use crate::domain::attempts::{Account, Attempts, LOCKED_AT, Refusal, Standing, Ticket};
use crate::domain::audit::{Changes, Event, Kind, Outcome, Target};
use crate::domain::keys::KeyId;
use crate::domain::locks::lock;
use crate::domain::uid::Uid;
use crate::domain::users::User;
use crate::error::{Error, Result};
use crate::ops::App;
use crate::ops::shared_attempts::{self, Sharing};
use crate::refusals;
use crate::store::shared_attempts as shared_rows;
use crate::store::{Durability, Read, Write, attempts as rows, audit};
use std::sync::{Arc, Mutex};

/// The number of accounts that one transaction saves.
const ACCOUNTS_A_BATCH: usize = 500;
/// An attempt that has begun.
pub(in crate::ops) struct Attempt<'a> {
    app: &'a App,
    /// `None` for a local caller, who has no need to guess: the administrator of the machine may set any password.
    ticket: Option<Ticket>,
    /// Under which other nodes that share the database know of the attempt.
    number: Option<i64>,
    /// The account whose failures over all networks count this attempt.
    account: Option<Account>,
}

impl<'a> Attempt<'a> {
    /// Begins an attempt with a password, and a one-time code if there is one.
    pub fn with_password(
        app: &'a App,
        account: Account,
        origin: &Origin,
        has_code: bool,
    ) -> Result<Attempt<'a>> {
        let place = origin.counted.map(network);
        Attempt::begin(app, origin.is_local, move |attempts, now| {
            attempts.begin_password(account, place, has_code, now)
        })
    }

    /// Begins an attempt with a one-time code, after the password.
    pub fn with_code(app: &'a App, account: Account, origin: &Origin) -> Result<Attempt<'a>> {
        let place = origin.counted.map(network);
        Attempt::begin(app, origin.is_local, move |attempts, now| {
            attempts.begin_code(account, place, now)
        })
    }

    /// Begins an attempt with a credential that cannot be guessed in practice.
    pub fn with_other(app: &'a App, account: Account, origin: &Origin) -> Result<Attempt<'a>> {
        let place = origin.counted.map(network);
        Attempt::begin(app, origin.is_local, move |attempts, now| {
            attempts.begin_other(account, place, now)
        })
    }

    /// Begins an attempt with a password that confirms a session; `session` is the sign-in that the session belongs to.
    pub fn in_session(app: &'a App, session: KeyId) -> Result<Attempt<'a>> {
        Attempt::begin(app, false, move |attempts, now| {
            attempts.begin_session(session, now)
        })
    }

    fn begin(
        app: &'a App,
        is_local: bool,
        begin: impl Fn(&mut Attempts, u64) -> std::result::Result<Ticket, Refusal> + Send + 'static,
    ) -> Result<Attempt<'a>> {
        if is_local {
            return Ok(Attempt {
                app,
                ticket: None,
                number: None,
                account: None,
            });
        }
        let begun = match Sharing::of(app) {
            None => {
                let ticket = begin(&mut app.passwords.attempts(), app.now().steady_ms);
                ticket.map(|ticket| (ticket, None))
            }
            Some(sharing) => {
                let begun = shared_attempts::begin(app, &sharing, begin)?;
                begun.map(|(ticket, number)| (ticket, Some(number)))
            }
        };
        let (ticket, number) = begun.map_err(|refusal| match refusal {
            Refusal::Locked => Error::Forbidden(refusals::sessions::account_locked()),
            Refusal::Wait(retry_after_s) => Error::TooMany { retry_after_s },
        })?;
        let account = match ticket {
            Ticket::Password { account, .. } => Some(account),
            Ticket::Code { .. } | Ticket::Other { .. } | Ticket::Session(_) => None,
        };
        Ok(Attempt {
            app,
            ticket: Some(ticket),
            number,
            account,
        })
    }

    /// Whether the account is locked, so that only password and code together are accepted.
    pub fn needs_code(&self) -> bool {
        matches!(
            self.ticket,
            Some(Ticket::Password {
                with_code: true,
                ..
            })
        )
    }

    /// Whether the attempt comes from the machine itself, from a session, or from a network that the user has used
    /// before.
    pub fn is_known(&self) -> bool {
        match self.ticket {
            None | Some(Ticket::Session(_)) => true,
            Some(Ticket::Password { is_known, .. }) => is_known,
            Some(Ticket::Code { .. } | Ticket::Other { .. }) => false,
        }
    }

    /// Counts the failure, and records it under the action that was tried. `shown` names the account.
    pub fn failed(
        mut self,
        action: &'static str,
        shown: &str,
        why: &str,
        origin: &Origin,
    ) -> Result<()> {
        let locked = self.end(true);
        let app = self.app;
        let event = Event {
            outcome: Outcome::Denied,
            reason: why.to_owned(),
            source: origin.source.clone(),
            request_id: origin.request_id.clone(),
            ..Event::of_system(action, Target::new(Kind::User, shown), app.now().wall)
        };
        let (saving, account) = (Saving::of(app), self.account);
        let recorded = app.record_failed_proof(event, move |tx| {
            saving.announce(tx)?;
            account.map_or(Ok(()), |account| saving.save_one(tx, account))
        });
        match locked {
            None => recorded,
            Some(user) => recorded.and(note_locked(app, user, origin)),
        }
    }

    /// Counts a failure whose event the operation writes.
    pub fn failed_quietly(mut self) {
        self.end(true);
    }

    /// Ends the attempt, and returns the account if this failure has locked it.
    fn end(&mut self, failed: bool) -> Option<Account> {
        let ticket = self.ticket.take()?;
        let now = self.app.now();
        let mut attempts = self.app.passwords.attempts();
        let locks = attempts.end(ticket, failed, now.steady_ms, now.wall);
        if let Some(number) = self.number {
            let outcome = match failed {
                true => shared::Outcome::Failed,
                false => shared::Outcome::NoFailure,
            };
            attempts.note_outcome(number, outcome);
        }
        self.account.filter(|_| locks)
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        self.end(false);
    }
}

/// The account that a name stands for, and its name in logs. A name without a user may be a password that was typed
/// into the wrong field, so only a keyed digest of it is kept, which is enough to recognise repeats.
pub(in crate::ops) fn account_of(app: &App, user: Option<&User>, typed: &str) -> (Account, String) {
    if let Some(user) = user {
        return (Account::User(user.uid), user.user_name.clone());
    }
    let typed = typed.trim().to_lowercase();
    let labelled = ["sign-in-name:", &typed].concat();
    let seal = app.seal_keys.seal(&labelled);
    let (start, _) = seal.split_at(8);
    let digest = start
        .iter()
        .fold(0, |sum, byte| sum << 8 | u64::from(*byte));
    // Zero stands for no account.
    let account = Account::Unknown(digest.max(1));
    (account, account.to_string())
}

/// Records that a user has signed in. `unlocks`: the sign-in needed more than the password.
pub(super) fn succeeded(app: &App, user: Uid, origin: &Origin, unlocks: bool) {
    let place = origin.counted.map(network);
    let now = app.now().wall;
    let unlocks = unlocks || origin.is_local;
    let news = {
        let mut attempts = app.passwords.attempts();
        if app.store.is_shared() {
            attempts.note(Announcement::Succeeded {
                user,
                place,
                unlocks,
            });
        }
        attempts.succeeded(user, place, unlocks, now)
    };
    if news {
        save(app, vec![Account::User(user)]);
    }
}

/// Saves all changes that the store does not have yet, in batches, because a flood of attempts makes many. Where several nodes share
/// the database, they hear of one another's attempts first.
pub fn save_all(app: &App) {
    shared_attempts::exchange(app);
    let unsaved = app.passwords.attempts().take_unsaved();
    for batch in unsaved.chunks(ACCOUNTS_A_BATCH) {
        save(app, batch.to_vec());
    }
}

fn save(app: &App, accounts: Vec<Account>) {
    let (saving, batch) = (Saving::of(app), accounts.clone());
    let written = app.store.write(Durability::Relaxed, move |tx| {
        saving.announce(tx)?;
        let mut batch = batch.iter();
        batch.try_for_each(|account| saving.save_one(tx, *account))
    });
    // A failed write must not prevent users from signing in. The attempts are still in memory and are saved later.
    if let Err(err) = written {
        app.passwords.attempts().put_back_unsaved(&accounts);
        log::warn!("attempts to sign in were not saved: {err}");
    }
}

/// What a transaction needs to save accounts.
pub(in crate::ops) struct Saving {
    attempts: Arc<Mutex<Attempts>>,
    /// Where several nodes share the database.
    sharing: Option<Sharing>,
}

impl Saving {
    pub(in crate::ops) fn of(app: &App) -> Saving {
        Saving {
            attempts: app.passwords.shared_attempts(),
            sharing: Sharing::of(app),
        }
    }

    /// Follows the other nodes, so that what is saved has their failures too, and announces what has ended here.
    fn announce(&self, tx: &Write<'_>) -> Result<()> {
        let Some(sharing) = &self.sharing else {
            return Ok(());
        };
        sharing.follow(tx)?;
        sharing.announce(tx)
    }

    /// Saves the state that the account has when the writer runs this, which may be newer than that at the request.
    fn save_one(&self, tx: &Write<'_>, account: Account) -> Result<()> {
        let (standing, networks) = lock(&self.attempts).saved(account);
        rows::replace(tx, account, standing, &networks)
    }
}

/// Writes a lock immediately, with its event.
fn note_locked(app: &App, account: Account, origin: &Origin) -> Result<()> {
    let user = match account {
        Account::Unknown(_) => None,
        Account::User(uid) => app.index.directory().user(uid).cloned(),
    };
    let event = user.map(|user| {
        log::warn!(
            "{} failed attempts in a row: user {} is locked where nobody has signed in before (latchkey user unlock {})",
            LOCKED_AT,
            user.user_name,
            user.user_name
        );
        Event {
            workspace: user.home.to_string(),
            reason: format!("{LOCKED_AT} failed attempts in a row"),
            source: origin.source.clone(),
            request_id: origin.request_id.clone(),
            ..Event::of_system("user.lock", Target::new(Kind::User, user.uid), app.now().wall)
        }
    });
    let (saving, seal_keys) = (Saving::of(app), app.seal_keys.clone());
    app.store.write(Durability::Full, move |tx| {
        saving.save_one(tx, account)?;
        event.map_or(Ok(()), |event| audit::append(tx, &seal_keys, event))
    })
}

/// Loads the stored state at a start.
pub fn load(read: &Read) -> Result<Attempts> {
    let mut attempts = Attempts::default();
    attempts.load(rows::list(read)?, rows::list_networks(read)?);
    // What was announced before is in these rows, as far as it is kept.
    attempts.others.seen = shared_rows::newest(read)?;
    Ok(attempts)
}

/// The failures of a user's account.
pub fn standing(app: &App, user: Uid) -> Standing {
    app.passwords.attempts().standing(Account::User(user))
}

/// The names of locked users, sorted.
pub fn locked(app: &App) -> Vec<String> {
    let locked = app.passwords.attempts().locked();
    let directory = app.index.directory();
    let names = locked.iter().filter_map(|uid| directory.user(*uid));
    let mut names: Vec<String> = names.map(|user| user.user_name.clone()).collect();
    names.sort_unstable();
    names
}

/// Lets a user sign in again at once: forgets failed attempts, and ends the waits. The caller must be able to change
/// the user.
pub fn unlock(app: &App, caller: &Caller, text: &str) -> Result<Arc<User>> {
    let (index, who, text) = (app.index.clone(), caller.clone(), text.to_owned());
    let (shared, sharing) = (app.passwords.shared_attempts(), Sharing::of(app));
    let uid = app.change(
        caller,
        "user.unlock",
        Target::new(Kind::User, &text),
        move |tx, _| {
            let user = manageable(tx, &index.directory(), &who, &text)?;
            let account = Account::User(user.uid);
            if let Some(sharing) = &sharing {
                sharing.follow(tx)?;
            }
            let before = lock(&shared).standing(account);
            if !lock(&shared).has_failures(account) {
                return Ok((None, user.uid));
            }
            rows::delete(tx, account)?;
            rows::delete_network_failures(tx, user.uid)?;
            if let Some(sharing) = &sharing {
                sharing.announce_one(tx, &Announcement::Forgotten(account))?;
            }
            tx.after_commit(move || lock(&shared).forget(account));
            let mut changes = Changes::default();
            changes.note(
                "failed_attempts",
                &before.failures.to_string(),
                &"0".to_owned(),
            );
            changes.note("locked", &before.is_locked(), &false);
            Ok((Some(record(&user, changes)), user.uid))
        },
    )?;
    super::users::found(&app.index.directory(), uid)
}

/// Forgets the failures and the known networks of a user in the transaction of a new password, because both belong to
/// the old password.
pub(in crate::ops) fn begin_again(tx: &Write<'_>, saving: Saving, user: Uid) -> Result<()> {
    rows::delete_of_user(tx, user)?;
    if let Some(sharing) = &saving.sharing {
        sharing.announce_one(tx, &Announcement::NewPassword(user))?;
    }
    tx.after_commit(move || lock(&saving.attempts).forget_networks(user));
    Ok(())
}
