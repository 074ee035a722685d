//! Comparing keys, users, workspaces, policies, catalogs and sessions with what Latchkey last wrote, and closing
//! those that differ. The start and a restore do this in the same way.

pub mod accept;

use super::doctor::finding::{Check, NAMED_MAX};
use crate::domain::audit::{Changes, Event, Kind, Target};
use crate::domain::keys::KeyId;
use crate::domain::keys::seal_key::SealKeys;
use crate::domain::text::counted;
use crate::domain::time::Timestamp;
use crate::domain::uid::Uid;
use crate::error::Result;
use crate::ops::App;
use crate::refusals::{Refusal, findings};
use crate::store::seals::recorded::NEVER_ISSUED;
use crate::store::seals::{self, ACCEPT, Standing, TAMPERED};
use crate::store::{Durability, Read, Write, audit, refresh_tokens, sites, users, workspaces};
use std::collections::BTreeSet;

/// The compared kinds, each with a finding of its own, in the order of [`seals::KINDS`].
const NAMES: [&str; 5] = [
    "users as recorded",
    "workspaces as recorded",
    "policies as recorded",
    "catalogs as recorded",
    "sites as recorded",
];

/// The number of keys that are closed in one transaction, so that other changes need not wait long.
const KEYS_A_BATCH: usize = 500;

/// A thing that was not what Latchkey last wrote, and was closed.
#[derive(Clone, Debug)]
pub struct ClosedThing {
    /// The name for display.
    pub name: String,
    /// The name with the newest event about the thing before it was closed.
    pub sentence: String,
}

/// Closes users, workspaces, policies, catalogs and sessions that are not what Latchkey last wrote.
pub fn close_altered(
    tx: &Write<'_>,
    seal_keys: &SealKeys,
    now: Timestamp,
) -> Result<Vec<ClosedThing>> {
    let mut found = Vec::new();
    for kind in seals::KINDS {
        for target in broken(tx, seal_keys, kind)? {
            found.push(ClosedThing {
                name: name(tx, &target)?,
                sentence: sentence(tx, &target)?,
            });
            // A thing without a row opens nothing, so there is nothing to close.
            if seals::has_row(tx, &target)? {
                seals::close(tx, seal_keys, &target, now)?;
            }
        }
    }
    for target in seals::bearers::end_broken(tx, seal_keys)? {
        found.push(ClosedThing {
            name: name(tx, &target)?,
            sentence: sentence(tx, &target)?,
        });
        // A text that is not an id cannot be that of a session.
        if seals::recorded::id_of(&target).is_some() {
            audit::append(tx, seal_keys, seals::tampered(&target, now))?;
        }
    }
    Ok(found)
}

/// Closes keys that are not what Latchkey last wrote.
pub fn close_keys(
    tx: &Write<'_>,
    seal_keys: &SealKeys,
    ids: &[KeyId],
    now: Timestamp,
) -> Result<Vec<ClosedThing>> {
    let mut found = Vec::new();
    for id in ids {
        let target = Target::new(Kind::Key, id);
        found.push(ClosedThing {
            name: name(tx, &target)?,
            sentence: sentence(tx, &target)?,
        });
        seals::close(tx, seal_keys, &target, now)?;
    }
    Ok(found)
}

/// Closes keys in the store that were found not to be what Latchkey last wrote. In the index they are already
/// disabled.
pub fn close_keys_of(app: &App, ids: &[KeyId]) {
    for batch in ids.chunks(KEYS_A_BATCH) {
        let (seal_keys, ids, now) = (app.seal_keys.clone(), batch.to_vec(), app.now().wall);
        let closed = app.store.write(Durability::Full, move |tx| {
            // A change may have come in between and closed some of them.
            let mut broken = Vec::new();
            for id in ids {
                let standing = seals::look_at_key(tx, &seal_keys, &Target::new(Kind::Key, id))?;
                if standing == Standing::Broken {
                    broken.push(id);
                }
            }
            close_keys(tx, &seal_keys, &broken, now)
        });
        match closed {
            Ok(closed) => tell(&closed),
            Err(err) => log::error!(
                "what was changed past Latchkey opens nothing, but could not be disabled in the database ({}): {err}",
                counted(batch.len() as u64, "key")
            ),
        }
    }
}

/// Logs what was closed, so that an administrator learns of it without running `latchkey doctor`.
pub fn tell(closed: &[ClosedThing]) {
    for one in closed {
        log::error!(
            "{}: changed past Latchkey and closed; see latchkey doctor",
            one.sentence
        );
    }
}

/// One finding for each kind.
pub fn checks(app: &App) -> Vec<Check> {
    let one = |(name, kind): (&'static str, Kind)| {
        let found = app.read(|read| {
            let wrong = against_the_seals(read, &app.seal_keys, kind)?;
            Ok((wrong, earlier(read, kind)?))
        });
        let check = match found {
            Err(err) => {
                return Check::failed(name, err.refusal(), findings::look_into_log());
            }
            Ok((wrong, earlier)) => {
                let mut closed: Vec<String> = wrong;
                closed.extend(earlier.closed);
                match (closed.is_empty(), earlier.changed_since.is_empty()) {
                    (false, _) => {
                        closed.truncate(NAMED_MAX);
                        Check::failed(
                            name,
                            findings::rows_changed(closed.join("; ")),
                            accept_advice(kind),
                        )
                    }
                    (true, false) => Check::warning(
                        name,
                        findings::changed_before(earlier.changed_since.join("; ")),
                        accept_advice(kind),
                    ),
                    (true, true) => return Check::ok(name, findings::rows_fit()),
                }
            }
        };
        check.with_names()
    };
    let mut found: Vec<Check> = NAMES.into_iter().zip(seals::KINDS).map(one).collect();
    found.push(sessions(app));
    found
}

/// The advice about a thing that was changed and is closed.
pub fn accept_advice(kind: Kind) -> Refusal {
    let word = kind.as_str();
    let id = match kind {
        Kind::Key | Kind::Session => "ID",
        _ => "NAME",
    };
    match kind {
        Kind::Key | Kind::User | Kind::Workspace => findings::accept_and_enable(word, id),
        _ => findings::accept(word, id),
    }
}

fn sessions(app: &App) -> Check {
    let name = "sessions and audit log";
    let found = app.read(|read| {
        let mut found = sessions_against_the_log(read)?;
        let broken = seals::bearers::list_broken(read, &app.seal_keys)?;
        found.extend(broken.into_iter().map(|target| target.id));
        let mut found: Vec<String> = found.into_iter().collect();
        let earlier = earlier(read, Kind::Session)?;
        found.extend(earlier.closed.into_iter().chain(earlier.changed_since));
        found.truncate(NAMED_MAX);
        Ok(found)
    });
    match found {
        Err(err) => Check::failed(name, err.refusal(), findings::look_into_log()),
        Ok(found) if found.is_empty() => Check::ok(name, findings::sessions_fit()),
        Ok(found) => Check::failed(
            name,
            findings::sessions_changed(found.join(", ")),
            findings::accept_sessions(),
        ),
    }
}

/// Sessions for which the row of the session or of a refresh token names a different user than the audit log.
fn sessions_against_the_log(read: &Read) -> Result<BTreeSet<String>> {
    let is_whole = audit::ends(read)?.is_none_or(|(first, _)| first == 1);
    let mut found = BTreeSet::new();
    for (session, user, acting) in refresh_tokens::list_bearers(read)? {
        let target = Target::new(Kind::Session, session);
        let is_right = match seals::first_event(read, &target)? {
            None => !is_whole,
            Some((actor, changes)) => {
                let name = |uid| users::find(read, uid).map(|user| user.map(|it| it.user_name));
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
    Ok(found)
}

/// Things that are not what Latchkey last wrote, as sentences.
fn against_the_seals(read: &Read, seal_keys: &SealKeys, kind: Kind) -> Result<Vec<String>> {
    let mut found = broken(read, seal_keys, kind)?;
    found.truncate(NAMED_MAX);
    let sentence = |target: Target| sentence(read, &target);
    found.into_iter().map(sentence).collect()
}

/// The name of a thing, with the newest event about it.
fn sentence(read: &Read, target: &Target) -> Result<String> {
    let name = name(read, target)?;
    Ok(match seals::newest_event(read, target)? {
        Some((seq, action)) => format!("{name} (last recorded: event {seq}, {action})"),
        None => name,
    })
}

/// Things of a kind that are not what Latchkey last wrote.
fn broken(read: &Read, seal_keys: &SealKeys, kind: Kind) -> Result<Vec<Target>> {
    let mut found = Vec::new();
    for target in seals::list(read, kind)? {
        let standing = seals::look(read, seal_keys, &target)?;
        let has_altered =
            kind == Kind::Site && sites::has_altered_lent(read, seal_keys, &target.id)?;
        if standing == Standing::Broken || has_altered || is_missing(read, &target, standing)? {
            found.push(target);
        }
    }
    Ok(found)
}

/// Whether the log records a thing that has neither a row nor a seal. Policies and catalogs leave no row when they
/// are deleted.
pub(super) fn is_missing(read: &Read, target: &Target, standing: Standing) -> Result<bool> {
    if standing != Standing::Absent || !seals::KINDS.contains(&target.kind) {
        return Ok(false);
    }
    let newest = seals::newest_event(read, target)?;
    Ok(newest
        .is_some_and(|(_, action)| !action.ends_with(".delete") && !action.ends_with(".accept")))
}

/// Things that were changed outside Latchkey and have not been accepted, as sentences.
#[derive(Default)]
pub(super) struct EarlierChanges {
    /// Latchkey has not changed the thing since it was closed.
    pub closed: Vec<String>,
    /// Latchkey has changed the thing since it was closed.
    pub changed_since: Vec<String>,
}

/// Things that were changed outside Latchkey, were closed and sealed again, and have not been accepted since.
pub(super) fn earlier(read: &Read, kind: Kind) -> Result<EarlierChanges> {
    let accepted = seals::list_events(read, kind, ACCEPT)?;
    let mut found = EarlierChanges::default();
    let tampered = seals::list_events(read, kind, TAMPERED)?;
    for (seq, target) in tampered.iter().rev() {
        let known = |list: &[(i64, Target)]| list.iter().any(|(at, of)| at > seq && of == target);
        if known(&accepted) || known(&tampered) {
            continue;
        }
        let newest = seals::newest_event(read, target)?.map_or(0, |(seq, _)| seq);
        let list = match newest == *seq {
            true => &mut found.closed,
            false => &mut found.changed_since,
        };
        if list.len() < NAMED_MAX {
            let members = differing(read, *seq)?;
            list.push(format!("{}{members} (event {seq})", name(read, target)?));
        }
    }
    Ok(found)
}

/// The changed members that an event names.
fn differing(read: &Read, seq: i64) -> Result<String> {
    let changes = audit::find(read, seq)?.map_or(String::new(), |event: Event| event.changes);
    let members = crate::domain::audit::changes::parse(&changes).unwrap_or_default();
    let differs = members.into_iter().find(|(member, _)| member == "differs");
    let named = differs.and_then(|(_, value)| value);
    Ok(match named {
        None => String::new(),
        Some(named) if named == NEVER_ISSUED => format!(" {named}"),
        Some(named) => format!(": {named}"),
    })
}

/// The name of a thing for display.
pub(super) fn name(read: &Read, target: &Target) -> Result<String> {
    let uid = Uid::parse(&target.id);
    let known = match (target.kind, uid) {
        (Kind::User, Some(uid)) => users::find(read, uid)?.map(|user| user.user_name),
        (Kind::Workspace, Some(uid)) => workspaces::find(read, uid)?.map(|found| found.slug),
        _ => None,
    };
    Ok(format!(
        "{} {}",
        target.kind.as_str(),
        known.unwrap_or_else(|| target.id.clone())
    ))
}
