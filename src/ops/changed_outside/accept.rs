//! Accepting a thing that was changed outside Latchkey, after the administrator of the machine has checked that the
//! change is intended.

use crate::authz::caller::{Caller, Identity};
use crate::domain::audit::{Changes, Kind, Target};
use crate::domain::uid::Uid;
use crate::error::{Error, Result};
use crate::ops::{App, Record, changed_outside};
use crate::refusals;
use crate::store::seals::{self, Standing};
use crate::store::{Read, sites, users, workspaces};

/// The result of accepting a thing.
#[derive(Debug)]
pub struct Accepted {
    pub kind: Kind,
    /// The name for display.
    pub name: String,
    /// The command that enables it now; empty if it is in force.
    pub next: String,
}

/// The kinds of things that can be accepted, with the action of the event.
pub const KINDS: [(Kind, &str); 7] = [
    (Kind::Catalog, "catalog.accept"),
    (Kind::Key, "key.accept"),
    (Kind::Policy, "policy.accept"),
    (Kind::Session, "session.accept"),
    (Kind::Site, "site.accept"),
    (Kind::User, "user.accept"),
    (Kind::Workspace, "workspace.accept"),
];

/// Seals the current state of a thing, and records this in the audit log. This does not enable the thing.
pub fn accept(app: &App, caller: &Caller, kind: &str, id: &str) -> Result<Accepted> {
    let found = KINDS.iter().find(|(known, _)| known.as_str() == kind);
    let permitted = match caller.identity {
        Identity::Local => Ok(()),
        _ => Err(Error::Forbidden(
            refusals::server::changed_outside_is_local(),
        )),
    };
    let action = found.map_or("server.accept", |(_, action)| action);
    app.decided(caller, action, Target::server(), permitted)?;
    let (kind, action) =
        *found.ok_or_else(|| Error::invalid("kind", refusals::server::changed_outside_kind()))?;
    let (id, seal_keys) = (id.to_owned(), app.seal_keys.clone());
    app.change(caller, action, Target::new(kind, ""), move |tx, _| {
        let target = target(tx, kind, &id)?;
        let standing = match kind {
            Kind::Key => seals::look_at_key(tx, &seal_keys, &target)?,
            Kind::Session => Standing::Absent,
            Kind::Site if sites::has_altered_lent(tx, &seal_keys, &target.id)? => Standing::Broken,
            _ => seals::look(tx, &seal_keys, &target)?,
        };
        if standing == Standing::Absent && seals::newest_event(tx, &target)?.is_none() {
            return Err(Error::NotFound(kind.as_str()));
        }
        let awaits = seals::awaits_acceptance(tx, &target)?;
        if standing != Standing::Broken
            && !awaits
            && !changed_outside::is_missing(tx, &target, standing)?
        {
            return Err(Error::Conflict(refusals::server::changed_outside_not(
                refusals::nouns::of(kind.as_str()),
                id,
            )));
        }
        let mut changes = Changes::default();
        let mut workspace = None;
        let mut is_off = false;
        match (
            kind,
            seals::recorded::id_of(&target),
            Uid::parse(&target.id),
        ) {
            (Kind::Key, Some(id), _) => {
                if let Some(key) = crate::store::keys::find(tx, id)? {
                    changes = seals::recorded::differing(tx, &key)?;
                    workspace = Some(key.workspace);
                    is_off = !key.enabled;
                }
            }
            (Kind::Site, _, _) => sites::seal_lent(tx, &seal_keys, &target.id)?,
            (Kind::User, _, Some(uid)) => {
                is_off = users::find(tx, uid)?.is_some_and(|user| !user.enabled);
            }
            (Kind::Workspace, _, Some(uid)) => {
                is_off = workspaces::find(tx, uid)?.is_some_and(|found| !found.enabled);
            }
            _ => {}
        }
        let next = match is_off {
            true => format!("latchkey {} enable {id}", kind.as_str()),
            false => String::new(),
        };
        tx.judge(target.clone(), true);
        let name = changed_outside::name(tx, &target)?;
        let record = Record {
            target,
            workspace,
            changes,
        };
        Ok((Some(record), Accepted { kind, name, next }))
    })
}

/// Finds a thing by its name, slug, uid or id; a deleted thing only by its uid or id.
fn target(read: &Read, kind: Kind, id: &str) -> Result<Target> {
    let uid = match kind {
        Kind::User => users::find_by_name(read, id)?.map(|user| user.uid),
        Kind::Workspace => workspaces::list(read)?
            .into_iter()
            .find(|workspace| workspace.slug == id)
            .map(|workspace| workspace.uid),
        _ => None,
    };
    Ok(match uid {
        Some(uid) => Target::new(kind, uid),
        None => Target::new(kind, id),
    })
}

/// Refuses to enable a thing again that was found changed outside Latchkey. The administrator of the machine must
/// accept it first, or enable it on the machine.
pub fn require_accepted(read: &Read, caller: &Caller, target: &Target) -> Result<()> {
    if caller.identity == Identity::Local || !seals::awaits_acceptance(read, target)? {
        return Ok(());
    }
    Err(Error::Conflict(refusals::server::changed_outside(
        refusals::nouns::of(target.kind.as_str()),
        &target.id,
    )))
}
