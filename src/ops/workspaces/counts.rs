//! How many keys and users each workspace has.

use crate::authz::caller::Caller;
use crate::domain::uid::Uid;
use crate::domain::users::permissions::Permission;
use crate::error::Result;
use crate::ops::App;
use std::collections::HashMap;

/// The numbers of one workspace, without those below it. `None`: the caller may not see them, or not all keys
/// are loaded yet.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    pub keys: Option<u64>,
    pub users: Option<u64>,
}

/// The numbers of every workspace that the caller may see.
pub fn of_all(app: &App, caller: &Caller) -> Result<HashMap<Uid, Counts>> {
    caller.require_somewhere(Permission::WorkspacesRead)?;
    let mut keys: HashMap<Uid, u64> = HashMap::new();
    app.index
        .each_key(|_, key| *keys.entry(key.shared.workspace).or_default() += 1);
    let are_loaded = app.index.is_complete();
    let directory = app.index.directory();
    let mut users: HashMap<Uid, u64> = HashMap::new();
    for user in directory.users() {
        *users.entry(user.home).or_default() += 1;
    }
    let may = |permission, uid| caller.may(&directory, permission, uid, None);
    let uids = directory.places().map(|place| place.workspace.uid);
    let seen = uids.filter(|uid| may(Permission::WorkspacesRead, *uid));
    let counts = seen.map(|uid| {
        let of = |all: &HashMap<Uid, u64>| all.get(&uid).copied().unwrap_or(0);
        let counts = Counts {
            keys: (are_loaded && may(Permission::KeysRead, uid)).then(|| of(&keys)),
            users: may(Permission::UsersRead, uid).then(|| of(&users)),
        };
        (uid, counts)
    });
    Ok(counts.collect())
}
