//! Keys that files declare, under the rules of new keys: many of them, one after the other, in one transaction. What they
//! have in common is read once.

use super::issue::{self, NewKey};
use super::room::{Room, check_workspace};
use crate::authz::caller::Caller;
use crate::domain::keys::Key;
use crate::domain::policies::{Policy, STANDARD};
use crate::domain::time::Timestamp;
use crate::domain::uid::Uid;
use crate::error::Result;
use crate::index::directory::Directory;
use crate::store::Read;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// What was read so far.
#[derive(Default)]
pub struct Planning {
    policies: HashMap<String, Arc<Policy>>,
    workspaces: HashSet<Uid>,
    room: Room,
}

impl Planning {
    /// The key that a stanza describes, with every value checked on its own, and its policy.
    pub fn planned(
        &mut self,
        read: &Read,
        directory: &Directory,
        system: &Caller,
        new: &NewKey,
        now: Timestamp,
    ) -> Result<(Key, Arc<Policy>)> {
        let workspace = issue::workspace(directory, system, new.workspace.as_deref())?;
        let name = new.policy.as_deref().unwrap_or(STANDARD);
        let policy = match self.policies.get(name) {
            Some(known) => known.clone(),
            None => {
                let found = Arc::new(issue::policy(read, directory, Some(name))?);
                self.policies.insert(name.to_owned(), found.clone());
                found
            }
        };
        let key = issue::plan(read, directory, system, &policy, workspace, new, now)?;
        Ok((key, policy))
    }

    /// As [`Planning::planned`], for a new key, which is checked as a whole. It never takes the place of another one.
    pub fn admitted(
        &mut self,
        read: &Read,
        directory: &Directory,
        system: &Caller,
        new: &NewKey,
        now: Timestamp,
    ) -> Result<(Key, Arc<Policy>)> {
        let (mut key, policy) = self.planned(read, directory, system, new, now)?;
        issue::permit(read, directory, system, &policy, &mut key, now)?;
        if self.workspaces.insert(key.workspace) {
            check_workspace(read, directory, &key)?;
        }
        self.room.check(read, &policy, &key, now)?;
        self.room.add(&policy, &key);
        Ok((key, policy))
    }
}
