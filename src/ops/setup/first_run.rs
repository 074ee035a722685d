//! The set-up of the first owner in a browser, with a code that the server prints on the machine.
//!
//! There is no default password: as long as no owner has one, each start generates a code that can be used once
//! (attacks 180). Where several nodes share the database, each of them shows a code, and any of them takes it, because a balancer in
//! front sends the browser to one of them.

use crate::authz::caller::{Caller, Identity, Origin, root};
use crate::domain::audit::{Changes, Kind, Target, digest_of};
use crate::domain::keys::secret::random_text;
use crate::domain::locks::lock;
use crate::domain::users::roles::Role;
use crate::domain::users::{User, normal_user_name, password};
use crate::error::{Error, Result};
use crate::ops::attempts;
use crate::ops::attempts::Attempt;
use crate::ops::authenticators::proof::{self, Proof};
use crate::ops::sessions::{SignedIn, console};
use crate::ops::{App, Record};
use crate::refusals;
use crate::store::{Durability, Write, console_pages, setup_codes, users};
use std::sync::{Arc, Mutex, MutexGuard};

/// The length of a code: 16 base62 characters have 95 bits.
const CODE_CHARS: usize = 16;

/// The current code, if there is one.
#[derive(Default)]
pub struct FirstRun(Mutex<Option<String>>);

impl FirstRun {
    fn code(&self) -> MutexGuard<'_, Option<String>> {
        lock(&self.0)
    }
}

/// Generates a code if no owner can sign in yet. It must be shown only on the machine itself.
pub fn begin(app: &App) -> Result<Option<String>> {
    let root = root(&app.index.directory())?;
    if app.read(|read| users::has_owner_with_password(read, root))? {
        return Ok(None);
    }
    let code = random_text(CODE_CHARS)?;
    if app.store.is_shared() {
        let (node, seal) = (app.node.id(), app.seal_keys.seal(&sealed(&code)));
        let replace = move |tx: &Write<'_>| setup_codes::replace(tx, node, &seal);
        app.store.write(Durability::Full, replace)?;
    }
    *app.first_run.code() = Some(code.clone());
    Ok(Some(code))
}

/// What is sealed of a code.
fn sealed(code: &str) -> String {
    ["setup-code:", code].concat()
}

/// Whether the server waits for the set-up.
pub fn is_open(app: &App) -> bool {
    if app.first_run.code().is_none() || !app.store.is_shared() {
        return app.first_run.code().is_some();
    }
    // It may have been completed at another node.
    let is_over = app.read(setup_codes::list).is_ok_and(|all| all.is_empty());
    if is_over {
        *app.first_run.code() = None;
    }
    !is_over
}

/// Whether a code is the one of this process, or one that another node shows.
fn is_right(app: &App, code: &str, own: &str) -> Result<bool> {
    let digest = |text: &str| digest_of(&[text.as_bytes()]);
    if digest(code) == digest(own) {
        return Ok(true);
    }
    if !app.store.is_shared() {
        return Ok(false);
    }
    let (all, text) = (app.read(setup_codes::list)?, sealed(code));
    Ok(all
        .iter()
        .any(|seal| app.seal_keys.have_sealed_text(&text, seal)))
}

/// Sets the first owner's user name and password, switches the pages of the policies `pages` in the console's navigation
/// on or off, and signs the owner in. If two browsers do this at the same time, one succeeds.
pub fn finish(
    app: &App,
    code: &str,
    user_name: &str,
    text: &str,
    pages: Vec<(&'static str, bool)>,
    origin: Origin,
    agent: &str,
) -> Result<SignedIn> {
    let (account, _) = attempts::account_of(app, None, "(set-up)");
    let attempt = Attempt::with_other(app, account, &origin)?;
    let done = || Error::Conflict(refusals::sessions::setup_done());
    let wanted = app.first_run.code().clone().ok_or_else(done)?;
    if !is_right(app, code.trim(), &wanted)? {
        attempt.failed_quietly();
        return Err(Error::invalid("code", refusals::sessions::setup_code()));
    }
    drop(attempt);
    let user_name = normal_user_name("user_name", user_name)?;
    password::check("password", text, &user_name)?;
    let stretched = app.passwords.stretch(text)?;
    let seal_keys = app.seal_keys.clone();
    let root = root(&app.index.directory())?;
    let caller = Caller {
        bound_by: None,
        found_by: None,
        actor: "system".to_owned(),
        identity: Identity::Password { generation: 0 },
        permissions: Default::default(),
        reach: root,
        user: None,
        source: origin.source.clone(),
        request_id: origin.request_id.clone(),
        takes_away: false,
    };
    let target = Target::new(Kind::Server, "");
    let saving = attempts::Saving::of(app);
    let made = app.change(&caller, "user.set_up", target, move |tx, _| {
        if users::has_owner_with_password(tx, root)? {
            return Err(Error::Conflict(refusals::sessions::setup_done()));
        }
        let owns = |user: &User| {
            let mut roles = user.roles.iter();
            roles.any(|binding| binding.workspace == root && binding.role == Role::Owner)
        };
        let users = users::list(tx)?;
        let before = users
            .iter()
            .find(|user| owns(user))
            .ok_or_else(|| Error::internal("the store has no owner"))?;
        if let Some(other) = users::find_by_name(tx, &user_name)?
            && other.uid != before.uid
        {
            return Err(Error::invalid(
                "user_name",
                refusals::sessions::setup_name_taken(),
            ));
        }
        // The session that begins below needs the second factor, which this form has no field for.
        if proof::require_current(tx, before.uid, Proof::PasswordAlone).is_err() {
            let why = refusals::sessions::setup_second_factor(&before.user_name);
            return Err(Error::invalid("user_name", why));
        }
        let after = User {
            user_name,
            enabled: true,
            ..before.clone()
        };
        users::update(tx, &after)?;
        let stored = stretched.bound(after.uid, &seal_keys);
        users::update_password(tx, after.uid, &stored, after.generation + 1)?;
        attempts::begin_again(tx, saving, after.uid)?;
        if tx.is_shared() {
            setup_codes::delete_all(tx)?;
        }
        let mut changes = Changes::default();
        changes.note("user_name", &before.user_name, &after.user_name);
        let (mut added, mut removed) = (Vec::new(), Vec::new());
        for (policy, on) in pages {
            match on {
                true if console_pages::insert(tx, policy)? => added.push(policy),
                false if console_pages::delete(tx, policy)? => removed.push(policy),
                _ => {}
            }
        }
        changes.note("pages", &removed.join(" "), &added.join(" "));
        let record = Record {
            target: Target::new(Kind::User, after.uid),
            workspace: Some(root),
            changes,
        };
        Ok((Some(record), after.uid))
    });
    // The code also ends if the set-up was completed meanwhile in another browser or on the command line.
    if matches!(made, Ok(_) | Err(Error::Conflict(_))) {
        *app.first_run.code() = None;
    }
    let uid = made?;
    let user = app.index.directory().user(uid).map(Arc::clone);
    let user = user.ok_or_else(|| Error::internal("the owner is not in the index"))?;
    console::begin(app, &user, Proof::PasswordAlone, origin, agent, None)
}
