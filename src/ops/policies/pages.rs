//! Which policies have a separate page in the console's navigation.

use super::record;
use crate::authz::caller::Caller;
use crate::domain::audit::{Changes, Kind, Target};
use crate::domain::users::permissions::Permission;
use crate::error::{Error, Result};
use crate::index::directory::Directory;
use crate::ops::App;
use crate::refusals;
use crate::store::{console_pages, policies};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

/// Whether the server's settings determine which pages there are; if so, no caller can switch a page.
#[derive(Default)]
pub struct Settled(AtomicBool);

/// Whether the server's settings determine which pages there are.
pub fn are_settled(app: &App) -> bool {
    app.pages.0.load(Relaxed)
}

/// Shows the pages of `on` in the navigation, and none of the others of `all`, as long as the server runs.
pub fn settle(app: &App, all: &[&'static str], on: &[&'static str]) -> Result<()> {
    put(app, all, on)?;
    app.pages.0.store(true, Relaxed);
    Ok(())
}

/// Switches the pages of `on` on, and all others of `all` off. A page that is as it should be leaves no event.
pub fn put(app: &App, all: &[&'static str], on: &[&'static str]) -> Result<()> {
    let system = Caller::system(&app.index.directory())?;
    for policy in all {
        match write(app, &system, policy, on.contains(policy), |_| Ok(())) {
            // An owner may have deleted a policy that came with the server.
            Ok(()) | Err(Error::NotFound(_)) => {}
            Err(err) => return Err(err),
        }
    }
    Ok(())
}

/// Whether the navigation shows the page: it was switched on, or the policy has keys.
pub fn is_shown(app: &App, policy: &str) -> Result<bool> {
    app.read(|read| console_pages::is_shown(read, policy))
}

/// Whether the page was switched on.
pub fn is_on(app: &App, policy: &str) -> Result<bool> {
    app.read(|read| console_pages::is_on(read, policy))
}

/// Switches the page on or off. If the policy has keys, the page stays in the navigation even when it is off.
pub fn switch(app: &App, caller: &Caller, policy: &str, on: bool) -> Result<()> {
    if are_settled(app) {
        return Err(Error::Conflict(refusals::policies::pages_by_setting()));
    }
    let who = caller.clone();
    let may = move |directory: &Directory| who.require_global(directory, Permission::PoliciesWrite);
    write(app, caller, policy, on, may)
}

fn write(
    app: &App,
    caller: &Caller,
    policy: &str,
    on: bool,
    may: impl Fn(&Directory) -> Result<()> + Send + 'static,
) -> Result<()> {
    let (index, name) = (app.index.clone(), policy.to_owned());
    let target = Target::new(Kind::Policy, policy);
    app.change(caller, "policy.page", target, move |tx, _| {
        may(&index.directory())?;
        if policies::find(tx, &name)?.is_none() {
            return Err(Error::NotFound("policy"));
        }
        let changed = match on {
            true => console_pages::insert(tx, &name)?,
            false => console_pages::delete(tx, &name)?,
        };
        let mut changes = Changes::default();
        changes.note("page", &!on, &on);
        Ok((changed.then(|| record(&name, changes)), ()))
    })
}
