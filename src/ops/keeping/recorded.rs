//! Whether users, workspaces, policies and catalogs are what Latchkey last wrote of them, and sessions of whom the audit
//! log says; keys, of which the log says all, are compared by [`super::rows`].

use super::doctor::Check;
use super::rows::NAMED_MAX;
use crate::domain::audit::{Changes, Kind, Target};
use crate::domain::key::pepper::Peppers;
use crate::domain::uid::Uid;
use crate::error::{Error, Result};
use crate::ops::App;
use crate::store::seals::{self, Standing};
use crate::store::{Read, audit, people, tokens, workspaces};
use std::collections::BTreeSet;

/// What is compared, each with a line of its own; in the order of [`seals::KINDS`].
const NAMES: [&str; 4] = [
    "users as recorded",
    "workspaces as recorded",
    "policies as recorded",
    "catalogs as recorded",
];

/// One finding each.
pub fn checks(app: &App) -> Vec<Check> {
    let one = |(name, kind): (&'static str, Kind)| {
        let found = app.read(|read| {
            let wrong = against_the_seals(read, &app.peppers, kind)?;
            Ok((wrong, earlier(read, kind)?))
        });
        match found {
            Err(err) => Check::failed(name, err.to_string(), "look into the log of the server"),
            Ok((wrong, _)) if !wrong.is_empty() => Check::failed(
                name,
                format!("not what Latchkey last wrote: {}", wrong.join("; ")),
                "somebody has changed the database past the server: compare with the audit log, set it right with latchkey, \
                 and find out who could write to the data folder",
            )
            .with_names(),
            Ok((_, earlier)) if !earlier.is_empty() => Check::warning(
                name,
                format!(
                    "as Latchkey last wrote them, but some had been changed past it before that: {}",
                    earlier.join("; ")
                ),
                "look whether what they are now is meant; the event stays in the audit log",
            )
            .with_names(),
            Ok(_) => Check::ok(name, "as Latchkey last wrote them"),
        }
    };
    let mut found: Vec<Check> = NAMES.into_iter().zip(seals::KINDS).map(one).collect();
    found.push(sessions(app));
    found
}

fn sessions(app: &App) -> Check {
    let name = "sessions and audit log";
    match app.read(sessions_against_the_log) {
        Err(err) => Check::failed(name, err.to_string(), "look into the log of the server"),
        Ok(found) if found.is_empty() => Check::ok(name, "everybody's are his own"),
        Ok(found) => Check::failed(
            name,
            format!("not of the user who began them: {}", found.join(", ")),
            "somebody has changed the database past the server: end the sessions of all users (a new password does), and \
             find out who could write to the data folder",
        ),
    }
}

/// Sessions, and refresh tokens of sessions, that belong to somebody else than the log says.
fn sessions_against_the_log(read: &Read) -> Result<Vec<String>> {
    let is_whole = audit::ends(read)?.is_none_or(|(first, _)| first == 1);
    let mut found = BTreeSet::new();
    for (session, user, acting) in tokens::list_bearers(read)? {
        let target = Target::new(Kind::Session, session);
        let is_right = match seals::first_event(read, &target)? {
            None => !is_whole,
            Some((actor, changes)) => {
                let name = |uid| people::find(read, uid).map(|user| user.map(|it| it.user_name));
                let who = name(acting.unwrap_or(user))?;
                let mut told = Changes::default();
                if let (Some(_), Some(seen)) = (acting, name(user)?) {
                    told.note("acts_as", &String::new(), &seen);
                }
                who.is_some_and(|who| actor == format!("user:{who}")) && changes == told.into_json()
            }
        };
        if !is_right && found.len() < NAMED_MAX {
            found.insert(session.to_string());
        }
    }
    Ok(found.into_iter().collect())
}

/// Says in the log what a start finds changed. Whoever changed it need not wait for somebody to ask.
pub fn warn(app: &App) {
    let told = |err: Error| {
        if !app.is_closed() {
            log::warn!("rows could not be compared with what is recorded: {err}");
        }
    };
    for kind in seals::KINDS {
        match app.read(|read| against_the_seals(read, &app.peppers, kind)) {
            Ok(found) => found.iter().for_each(|sentence| {
                log::error!("{sentence}: changed past Latchkey; see latchkey doctor");
            }),
            Err(err) => return told(err),
        }
    }
    match app.read(sessions_against_the_log) {
        Ok(found) => found.iter().for_each(|id| {
            log::error!("session {id}: changed past Latchkey; see latchkey doctor");
        }),
        Err(err) => told(err),
    }
}

/// Things that are not what Latchkey last wrote, as sentences.
fn against_the_seals(read: &Read, peppers: &Peppers, kind: Kind) -> Result<Vec<String>> {
    let mut found = broken(read, peppers, kind)?;
    found.truncate(NAMED_MAX);
    let sentence = |target: Target| {
        let name = name(read, &target)?;
        Ok(match seals::newest_event(read, &target)? {
            Some((seq, action)) => format!("{name} (last recorded: event {seq}, {action})"),
            None => name,
        })
    };
    found.into_iter().map(sentence).collect()
}

/// Things of a kind that are not what Latchkey last wrote.
pub(super) fn broken(read: &Read, peppers: &Peppers, kind: Kind) -> Result<Vec<Target>> {
    let mut found = Vec::new();
    for target in seals::list(read, kind)? {
        let is_wrong = match seals::look(read, peppers, &target)? {
            Standing::Sound => false,
            Standing::Broken => true,
            // Policies and catalogs leave no row when they are deleted.
            Standing::Absent => seals::newest_event(read, &target)?
                .is_some_and(|(_, action)| !action.ends_with(".delete")),
        };
        if is_wrong {
            found.push(target);
        }
    }
    Ok(found)
}

/// What was changed past Latchkey and then changed again.
fn earlier(read: &Read, kind: Kind) -> Result<Vec<String>> {
    let mut found = seals::list_tampered(read, kind)?;
    found.truncate(NAMED_MAX);
    let sentence =
        |(seq, target): (i64, Target)| Ok(format!("{} (event {seq})", name(read, &target)?));
    found.into_iter().map(sentence).collect()
}

/// As people call it.
pub(super) fn name(read: &Read, target: &Target) -> Result<String> {
    let uid = Uid::parse(&target.id);
    let known = match (target.kind, uid) {
        (Kind::User, Some(uid)) => people::find(read, uid)?.map(|user| user.user_name),
        (Kind::Workspace, Some(uid)) => workspaces::find(read, uid)?.map(|found| found.slug),
        _ => None,
    };
    Ok(format!(
        "{} {}",
        target.kind.as_str(),
        known.unwrap_or_else(|| target.id.clone())
    ))
}
