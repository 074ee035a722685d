//! The roles that users lose with a deleted workspace. Each user has an event, because no other index learns of it otherwise.

use super::record;
use crate::domain::audit::Changes;
use crate::domain::users::Binding;
use crate::domain::workspaces::Workspace;
use crate::error::Result;
use crate::ops::Record;
use crate::store::{Read, Write, users, workspaces};

/// The action of the events.
pub const ACTION: &str = "user.roles";

/// Deletes every role in a workspace that is being deleted. Returns a record for each user who had one, with the slug of the
/// workspace, by which the event is distinguished from a change of roles: a restore need not close the user because of it.
pub fn delete(tx: &Write<'_>, ended: &Workspace) -> Result<Vec<Record>> {
    let mut records = Vec::new();
    for uid in users::list_with_role_in(tx, ended.uid)? {
        let Some(user) = users::find(tx, uid)? else {
            continue;
        };
        let is_left = |binding: &&Binding| binding.workspace != ended.uid;
        let left: Vec<Binding> = user.roles.iter().filter(is_left).copied().collect();
        let mut changes = Changes::default();
        changes.note(
            "roles",
            &text(tx, ended, &user.roles)?,
            &text(tx, ended, &left)?,
        );
        changes.note("workspace", &ended.slug, &String::new());
        records.push(record(&user, changes));
    }
    users::delete_roles_in(tx, ended.uid)?;
    Ok(records)
}

/// The roles as the event of a change of roles has them. The index does not know what the transaction has changed.
fn text(read: &Read, ended: &Workspace, roles: &[Binding]) -> Result<String> {
    let slug = |binding: &Binding| match binding.workspace == ended.uid {
        true => Ok(ended.slug.clone()),
        false => {
            let found = workspaces::find(read, binding.workspace)?;
            Ok(found.map_or("?".to_owned(), |workspace| workspace.slug))
        }
    };
    let one = |binding: &Binding| Ok(format!("{}@{}", binding.role.as_str(), slug(binding)?));
    let words: Result<Vec<String>> = roles.iter().map(one).collect();
    Ok(words?.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::audit::{Event, Kind, Target};
    use crate::domain::time::Timestamp;
    use crate::domain::tombstones;

    /// A restore deletes the workspace again, and the roles with it; it does not close the users.
    #[test]
    fn a_role_that_was_lost_with_its_workspace_closes_nobody_at_a_restore() {
        let event = |workspace: bool| {
            let mut changes = Changes::default();
            changes.note("roles", &"auditor@emea", &"");
            if workspace {
                changes.note("workspace", &"emea", &"");
            }
            Event {
                changes: changes.into_json(),
                ..Event::of_system(ACTION, Target::new(Kind::User, "u"), Timestamp(1))
            }
        };
        assert!(tombstones::of(&event(true)).is_empty());
        assert_eq!(tombstones::of(&event(false)).len(), 1);
    }
}
