//! Which kinds of key have a page of their own in the console's navigation.

use super::record;
use crate::domain::audit::{Changes, Kind, Target};
use crate::domain::people::permission::Permission;
use crate::error::{Error, Result};
use crate::ops::App;
use crate::ops::access::Caller;
use crate::store::{browse, policies};

/// Whether there is a page: somebody has switched it on, or there are keys of this policy.
pub fn is_shown(app: &App, policy: &str) -> Result<bool> {
    app.read(|read| browse::has_page(read, policy))
}

/// Whether somebody has switched the page on.
pub fn is_on(app: &App, policy: &str) -> Result<bool> {
    app.read(|read| browse::is_page_on(read, policy))
}

/// Switches the page on or off. With keys there, it stays in the navigation all the same.
pub fn switch(app: &App, caller: &Caller, policy: &str, on: bool) -> Result<()> {
    let (index, who, name) = (app.index.clone(), caller.clone(), policy.to_owned());
    let target = Target::new(Kind::Policy, policy);
    app.change(caller, "policy.page", target, move |tx, _| {
        who.require_global(&index.directory(), Permission::PoliciesWrite)?;
        if policies::find(tx, &name)?.is_none() {
            return Err(Error::NotFound("policy"));
        }
        let changed = match on {
            true => browse::insert_page(tx, &name)?,
            false => browse::delete_page(tx, &name)?,
        };
        let mut changes = Changes::default();
        changes.note("page", &!on, &on);
        Ok((changed.then(|| record(&name, changes)), ()))
    })
}
