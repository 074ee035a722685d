//! `latchkey cluster forget`: a node that is lost is not waited for any more. What only it knew to have ended stays as it is in the copy.

use crate::authz::caller::{Caller, Identity};
use crate::domain::audit::{Changes, Target};
use crate::domain::nodes::NodeId;
use crate::error::{Error, Result};
use crate::ops::{App, Record, append_all, draft};
use crate::refusals;
use crate::store::older_copy;
use crate::store::{Durability, Urgency, Write};

/// The action of the event.
const ACTION: &str = "server.forget_node";

/// Waits no longer for a node with this id.
///
/// # Errors
/// `Forbidden` unless the caller is the administrator of the machine. `Conflict` if the node is not waited for.
pub fn forget(app: &App, caller: &Caller, node: &str) -> Result<()> {
    let permitted = match caller.identity {
        Identity::Local => Ok(()),
        _ => Err(Error::Forbidden(refusals::server::forget_node_is_local())),
    };
    app.decided(caller, ACTION, Target::server(), permitted)?;
    let unknown = || Error::Conflict(refusals::server::node_not_waited_for(node));
    let id = NodeId::parse(node).ok_or_else(unknown)?;
    let (seal_keys, draft) = (app.seal_keys.clone(), draft(caller, ACTION, app.now().wall));
    let work = move |tx: &Write<'_>| {
        if !older_copy::forget(tx, id)? {
            return Ok(false);
        }
        let mut changes = Changes::default();
        changes.note("node", &id.to_string(), &String::new());
        let record = Record {
            target: Target::server(),
            workspace: None,
            changes,
        };
        append_all(tx, &seal_keys, &draft, vec![(ACTION, record)])?;
        Ok(true)
    };
    if !app
        .store
        .write_in(Urgency::Closing, Durability::Full, work)?
    {
        return Err(unknown());
    }
    app.read(|read| app.applier.load_closing(read))
}
