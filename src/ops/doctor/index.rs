//! Consistency checks of the index against the database rows, for everything except keys, which [`super::keys`]
//! compares.

use super::check::Check;
use super::check::NAMED_MAX;
use crate::domain::sessions::Session;
use crate::domain::sorted;
use crate::domain::users::User;
use crate::error::Result;
use crate::index::directory::Directory;
use crate::ops::App;
use crate::ops::index_updates;
use crate::store::sessions;
use std::collections::{BTreeMap, BTreeSet};

/// The compared kinds, each with a finding of its own.
const NAMES: [&str; 5] = [
    "users in memory",
    "workspaces in memory",
    "policies in memory",
    "catalogs in memory",
    "sessions in memory",
];

/// The names of things whose index entry and row differ, in the order of [`NAMES`].
type Differences = [BTreeSet<String>; NAMES.len()];

/// One finding for each kind.
pub fn checks(app: &App) -> Vec<Check> {
    let differences = match found(app) {
        Ok(differences) => differences,
        Err(err) => {
            let advice = "look into the log of the server";
            let failed = |name| Check::failed(name, err.to_string(), advice);
            return NAMES.into_iter().map(failed).collect();
        }
    };
    let one = |(name, named): (&'static str, BTreeSet<String>)| match named.is_empty() {
        true => Check::ok(name, "memory and database agree"),
        false => {
            let named: Vec<String> = named.into_iter().take(NAMED_MAX).collect();
            Check::failed(
                name,
                format!("memory and database disagree on {}", named.join(", ")),
                "somebody has changed the database while the server ran, or this is a defect: keep a support bundle, look \
                 these up, then start the server anew, which goes by the database",
            )
            .with_names()
        }
    };
    NAMES.into_iter().zip(differences).map(one).collect()
}

/// Compares a second time if there are differences, because a commit may have come between reading the rows and
/// reading the index.
fn found(app: &App) -> Result<Differences> {
    let first = look(app)?;
    if first.iter().all(BTreeSet::is_empty) {
        return Ok(first);
    }
    let mut second = look(app)?.into_iter();
    Ok(first.map(|named| {
        let again = second.next().unwrap_or_default();
        sorted::gathered(named.intersection(&again).cloned())
    }))
}

fn look(app: &App) -> Result<Differences> {
    let now = app.now().wall;
    let (rows, sessions) = app.read(|read| {
        let directory = index_updates::load_directory_closed(read, &app.peppers)?;
        Ok((directory, sessions::list(read, &app.peppers, now)?))
    })?;
    let memory = app.index.directory();
    let users = differences(
        rows.users().map(|user| (user.user_name.clone(), user)),
        |name| memory.find_user(name),
        memory.users().map(|user| user.user_name.clone()),
        |row, held| same_user(row, held),
    );
    let workspaces = differences(
        rows.places()
            .map(|place| (place.workspace.slug.clone(), place)),
        |slug| memory.find_place(slug),
        memory.places().map(|place| place.workspace.slug.clone()),
        |row, held| row.workspace == held.workspace && row.active == held.active,
    );
    let policies = differences(
        rows.policies().map(|policy| (policy.name.clone(), policy)),
        |name| memory.policy(name),
        memory.policies().map(|policy| policy.name.clone()),
        |row, held| row == held,
    );
    let catalogs = differences(
        rows.catalogs()
            .map(|catalog| (catalog.name().to_owned(), catalog)),
        |name| memory.catalog(name),
        memory.catalogs().map(|catalog| catalog.name().to_owned()),
        |row, held| row.definition() == held.definition(),
    );
    let held = held_sessions(app, &memory);
    let held = held.iter().filter(|session| !session.is_over(now));
    let held = held.map(|held| (held.id.to_string(), held));
    let held: BTreeMap<String, &Session> = sorted::gathered(held);
    // A row may be a minute behind the last use of a session. It may also still exist when the session is over or its
    // user is deleted.
    let lasts = |row: &Session| !row.is_over(now) && rows.user(row.user).is_some();
    let rows = sessions.iter().map(|row| (row.id.to_string(), row));
    let sessions = differences(
        rows.filter(|(id, row)| lasts(row) || held.contains_key(id)),
        |id| held.get(id).copied(),
        held.keys().cloned(),
        same_session,
    );
    Ok([users, workspaces, policies, catalogs, sessions])
}

/// The names that only one side has, or whose values differ.
fn differences<R, H>(
    rows: impl Iterator<Item = (String, R)>,
    find: impl Fn(&str) -> Option<H>,
    held: impl Iterator<Item = String>,
    is_same: impl Fn(R, H) -> bool,
) -> BTreeSet<String> {
    let mut named: BTreeSet<String> = sorted::gathered(held);
    for (name, row) in rows {
        match find(&name).is_some_and(|found| is_same(row, found)) {
            true => named.remove(&name),
            false => named.insert(name),
        };
    }
    named
}

/// Whether a user has the same rights on both sides.
fn same_user(row: &User, held: &User) -> bool {
    let roles = |user: &User| -> BTreeSet<(u128, &'static str)> {
        let roles = user.roles.iter();
        sorted::gathered(roles.map(|binding| (binding.workspace.0, binding.role.as_str())))
    };
    let plain = |user: &User| {
        let words = (user.user_name.clone(), user.email.clone());
        let states = (user.home, user.enabled, user.generation, user.number);
        (user.uid, words, states)
    };
    plain(row) == plain(held) && roles(row) == roles(held)
}

fn same_session(row: &Session, held: &Session) -> bool {
    let plain = |session: &Session| {
        let whose = (session.user, session.generation, session.read_only);
        let times = (session.issued_at, session.expires_at);
        (
            session.secret,
            whose,
            times,
            session.acting,
            session.console.is_some(),
        )
    };
    plain(row) == plain(held)
}

fn held_sessions(app: &App, directory: &Directory) -> Vec<Session> {
    let users = directory.users();
    users
        .flat_map(|user| app.index.sessions_of(user.uid))
        .collect()
}
