//! The checks of `latchkey doctor`: each check has one finding, with advice.

mod at_site;
pub mod cluster;
pub mod finding;
pub mod glance;
mod key_files;
mod nodes;
mod notices;
mod sites;

use super::backups;
use super::backups::elsewhere::is_elsewhere;
use crate::authz::caller::Caller;
use crate::domain::audit::{Changes, Kind, Target};
use crate::domain::clock::State;
use crate::domain::keys::Key;
use crate::domain::users::permissions::Permission;
use crate::error::Result;
use crate::ops::attempts;
use crate::ops::authenticators::demand::owners_without;
use crate::ops::clock::Reading;
use crate::ops::clock::future::Plan;
use crate::ops::declared;
use crate::ops::keys::ownerless;
use crate::ops::{App, Record};
use crate::refusals::{Refusal, findings};
use crate::store::seals::recorded::each_changed;
use crate::store::{Foreign, Read, audit, schema_upgrade};
use finding::NAMED_MAX;
pub use finding::{Check, Finding};
use std::cmp::Ordering;

/// Attacks and faults that these checks cannot detect.
pub const UNSEEN: &[&str] = &[
    "an older row together with its older seal looks sound where its later audit events were cut off; so does an earlier number of \
     uses of a counted key, from after its last change, and a session or refresh token as it was before it was used or ended",
    "counters of use, and the times of the last use, are not sealed: no decision depends on them",
    "the lists of digests of imported keys, and of digests that files have replaced, are not sealed: if a row was removed, who may \
     import keys, or write the files, can bring back a digest that has ended",
    "an attacker who also has the seal key can seal anything",
    "pepper, sealing key and seal key are known to fit the database, not to be secret: who has read them cannot be seen",
];

/// With less free space than this, a fault is to be expected soon.
const FREE_BYTES_MIN: u64 = 200 * 1024 * 1024;
/// A certificate that expires within this number of days gets a warning, as in the log.
const CERTIFICATE_DAYS: i64 = 30;
const DAY_MS: i64 = 86_400_000;
/// A backup that is older than this number of days gets a warning.
const BACKUP_DAYS: i64 = 8;

/// The name of a check, and the function that runs it.
type Question = (&'static str, fn(&App) -> Result<Check>);

/// Runs all checks. This reads the whole database.
pub fn examine(app: &App, caller: &Caller) -> Result<Vec<Check>> {
    caller.require_global(&app.index.directory(), Permission::ServerAdmin)?;
    if app.site().is_some() {
        let mut found: Vec<Check> = OF_SITE.iter().map(|check| looked(app, *check)).collect();
        found.push(room(app));
        return Ok(found);
    }
    let checks: [Question; 13] = [
        ("writing", writing),
        ("tombstones", tombstones),
        ("clock", clock),
        ("backups", backups),
        ("backup of key files", key_files::saved),
        ("HMAC keys", key_files::hmac_keys),
        ("certificate", certificate),
        ("second factors", second_factors),
        ("management keys", management_keys),
        ("sign-in", sign_in),
        ("files of keys", declared::check),
        ("sinks", notices::sinks),
        ("sites", sites::sites),
    ];
    let mut found = of_content(app);
    found.splice(2..2, cluster::checks(app));
    let [writing, others @ ..] = checks;
    found.push(looked(app, writing));
    found.push(room(app));
    found.extend(others.map(|check| looked(app, check)));
    found.extend(nodes::check(app));
    Ok(found)
}

/// The checks of the content of the database alone.
pub fn of_content(app: &App) -> Vec<Check> {
    let mut found: Vec<Check> = OF_CONTENT.map(|check| looked(app, check)).into();
    found.extend(super::changed_outside::checks(app));
    found
}

/// The first checks of a database: of what it has.
const OF_CONTENT: [Question; 4] = [
    ("database", database),
    ("schema", schema),
    ("audit log", audit_log),
    ("keys and audit log", keys_and_log),
];

/// The checks of a site. It has neither users nor sealed rows, and needs no backup.
const OF_SITE: [Question; 11] = [
    ("site", at_site::state),
    ("packs", at_site::packs),
    ("age of the pack", at_site::age),
    ("ended here", at_site::ended),
    ("database", database),
    ("schema", schema),
    ("audit log", audit_log),
    ("writing", writing),
    ("tombstones", tombstones),
    ("clock", clock),
    ("certificate", certificate),
];

fn looked(app: &App, (name, check): Question) -> Check {
    check(app).unwrap_or_else(|err| Check::failed(name, err.refusal(), findings::look_into_log()))
}

/// Records that the caller takes a support bundle.
pub fn note_bundle(app: &App, caller: &Caller) -> Result<()> {
    let who = caller.clone();
    let index = app.index.clone();
    app.change(
        caller,
        "server.support_bundle",
        Target::server(),
        move |_, _| {
            // The bundle contains events of the audit log.
            let directory = index.directory();
            who.require_global(&directory, Permission::ServerAdmin)?;
            who.require_global(&directory, Permission::AuditRead)?;
            let record = Record {
                target: Target::server(),
                workspace: None,
                changes: Changes::default(),
            };
            Ok((Some(record), ()))
        },
    )
}

fn database(app: &App) -> Result<Check> {
    let faults = app.read(|read| read.faults())?;
    Ok(match faults.is_empty() {
        true if app.store.is_shared() => Check::ok("database", findings::postgres_whole()),
        true => Check::ok("database", findings::database_whole()),
        false => Check::failed(
            "database",
            findings::faults(faults.join("; ")),
            findings::restore(),
        ),
    })
}

fn schema(app: &App) -> Result<Check> {
    app.read(|read| schema_of(read, app.live_ms()))
}

/// Whether a database has the schema of this build, and nothing else. Nodes count as in use if they were seen within so many
/// milliseconds.
pub fn schema_of(read: &Read, live_ms: i64) -> Result<Check> {
    let name = "schema";
    let difference = read.difference()?;
    let (harmless, refused) = (difference.harmless(), difference.refused());
    if !difference.faults.is_empty() {
        return Ok(Check::failed(
            name,
            findings::faults(refused.join("; ")),
            findings::restore(),
        ));
    }
    if !refused.is_empty() {
        let active: Vec<Foreign> = difference.foreign;
        let active: Vec<Foreign> = active.into_iter().filter(|it| !it.is_harmless).collect();
        return Ok(Check::failed(
            name,
            findings::foreign_blocks(refused.join("; ")),
            removal(read, &active),
        ));
    }
    if !harmless.is_empty() {
        let found = findings::foreign_harmless(backups::names(&harmless));
        return Ok(Check::warning(name, found, removal(read, &harmless)));
    }
    let (version, own) = schema_upgrade::versions(read)?;
    Ok(match version.cmp(&own) {
        Ordering::Equal => Check::ok(name, findings::schema_fits()),
        Ordering::Greater => Check::warning(
            name,
            findings::schema_newer(version, own),
            findings::schema_newer_advice(),
        ),
        Ordering::Less => {
            let older = schema_upgrade::older_nodes(read, live_ms, own)?;
            let advice = match older.is_empty() {
                true => findings::schema_older_advice(),
                false => findings::schema_older_wait(older.join(", ")),
            };
            Check::warning(name, findings::schema_older(version, own), advice)
        }
    })
}

/// Instructions for removing foreign objects from the database.
fn removal(read: &Read, foreign: &[Foreign]) -> Refusal {
    let statements: Vec<&str> = foreign.iter().map(Foreign::statement).collect();
    let statements = statements.join(" ");
    match read.is_shared() {
        true => findings::postgres_removal(statements),
        false => findings::foreign_removal(statements),
    }
}

fn audit_log(app: &App) -> Result<Check> {
    let walked = app.read(|read| audit::verify(read, &app.seal_keys))?;
    Ok(match walked {
        Ok(events) => Check::ok("audit log", findings::log_intact(events)),
        Err(why) => Check::failed(
            "audit log",
            findings::log_tampered(why),
            findings::log_advice(),
        ),
    })
}

fn keys_and_log(app: &App) -> Result<Check> {
    let name = "keys and audit log";
    let (mut found, changed_since) = app.read(|read| {
        let earlier = super::changed_outside::earlier(read, Kind::Key)?;
        let mut found = earlier.closed;
        let known = |found: &[String], id: &str| found.iter().any(|one| one.contains(id));
        each_changed(read, &app.seal_keys, |changed| {
            if !known(&found, &changed.id.to_string()) {
                found.push(changed.sentence);
            }
        })?;
        Ok((found, earlier.changed_since))
    })?;
    found.truncate(NAMED_MAX);
    Ok(match found.is_empty() {
        true if !changed_since.is_empty() => Check::warning(
            name,
            findings::changed_before(changed_since.join("; ")),
            super::changed_outside::accept_advice(Kind::Key),
        ),
        true => Check::ok(name, findings::keys_fit()),
        false => Check::failed(
            name,
            findings::keys_changed(found.join("; ")),
            super::changed_outside::accept_advice(Kind::Key),
        ),
    })
}

fn second_factors(app: &App) -> Result<Check> {
    let name = "second factors";
    let without = owners_without(app)?;
    Ok(match without.as_slice() {
        [] => Check::ok(name, findings::second_factors_all()),
        [user] => Check::ok(name, findings::second_factors_one(user)).with_names(),
        users => Check::ok(name, findings::second_factors_some(users.join(", "))).with_names(),
    })
}

fn writing(app: &App) -> Result<Check> {
    Ok(
        match app.store.check_place().and_then(|()| app.check_writable()) {
            Ok(()) => Check::ok("writing", findings::writable()),
            Err(err) => Check::failed("writing", err.refusal(), findings::writable_advice()),
        },
    )
}

impl App {
    /// The free bytes on the disk of the database, if there are so few that a fault is to be expected soon.
    pub fn short_of_room(&self) -> Option<u64> {
        self.disk_free().filter(|free| *free < FREE_BYTES_MIN)
    }
}

fn room(app: &App) -> Check {
    let name = "free space";
    match app.disk_free() {
        None => Check::warning(
            name,
            findings::room_unknown(),
            findings::room_unknown_advice(),
        ),
        Some(free) if free < FREE_BYTES_MIN => {
            Check::warning(name, findings::room(free >> 20), findings::room_advice())
        }
        Some(free) => Check::ok(name, findings::room(free >> 20)),
    }
}

fn tombstones(app: &App) -> Result<Check> {
    let name = "tombstones";
    Ok(match app.store.tombstones()? {
        Some(known) if known.damaged == 0 => {
            Check::ok(name, findings::tombstones(known.fates.len()))
        }
        Some(known) => Check::warning(
            name,
            findings::tombstones_damaged(known.damaged, known.lines),
            findings::tombstones_damaged_advice(),
        ),
        None => Check::failed(
            name,
            findings::tombstones_gone(),
            findings::tombstones_gone_advice(),
        ),
    })
}

fn clock(app: &App) -> Result<Check> {
    let reading = app.clock.reading();
    let Reading { wall, mark, .. } = reading;
    let text = match reading.state {
        State::InStep => return untimely(app, &reading),
        State::Ahead => findings::clock_ahead(wall, mark),
        State::Behind => findings::clock_behind(wall, mark),
    };
    let advice = reading.advice();
    Ok(Check {
        advice,
        ..Check::failed("clock", text, findings::look_into_log())
    })
}

/// The effects of a wrong time that was never trusted.
fn untimely(app: &App, reading: &Reading) -> Result<Check> {
    let now = reading.now;
    let plan = app.read(|read| Plan::of(read, now, now))?;
    let keys = plan
        .issued
        .iter()
        .filter(|one| one.ends_at.is_some())
        .count();
    Ok(match keys {
        0 => Check::ok("clock", findings::clock_is(reading.wall)),
        _ => Check::warning(
            "clock",
            findings::clock_future(reading.wall, keys),
            findings::clock_future_advice(),
        ),
    })
}

fn sign_in(app: &App) -> Result<Check> {
    let locked = attempts::locked(app);
    Ok(match locked.is_empty() {
        true => Check::ok("sign-in", findings::locked_none()),
        false => Check::warning(
            "sign-in",
            findings::locked(locked.join(", ")),
            findings::locked_advice(),
        )
        .with_names(),
    })
}

fn backups(app: &App) -> Result<Check> {
    let name = "backups";
    let advice = findings::backup_advice();
    if let Some(at) = app.scheduled_backup_failed() {
        return Ok(Check::failed(
            name,
            findings::backup_failed(at),
            findings::backup_failed_advice(),
        ));
    }
    let Some(latest) = app.latest_backup() else {
        return Ok(Check::warning(name, findings::backup_none(), advice));
    };
    let now = app.now().wall;
    let days = (now.0 - latest.at.0) / DAY_MS;
    let text = match is_elsewhere(app, &latest) {
        true => findings::backup_elsewhere(latest.path.display(), latest.at),
        false => findings::backup_latest(latest.path.display(), latest.at),
    };
    Ok(match latest.is_from_future(now) {
        true => Check::warning(name, findings::backup_of_wrong_clock(text), advice),
        false if days > BACKUP_DAYS => Check::warning(name, text, advice),
        false => Check::ok(name, text),
    })
}

/// Management keys without an owner whose issuer is deleted or disabled.
fn management_keys(app: &App) -> Result<Check> {
    let name = "management keys";
    let found = app.read(ownerless::orphans)?;
    if found.is_empty() {
        return Ok(Check::ok(name, findings::management_keys_none()));
    }
    let sentence = |(key, user): &(Key, String)| format!("key {} (made by {user})", key.id);
    let named: Vec<String> = found.iter().take(NAMED_MAX).map(sentence).collect();
    Ok(Check::warning(
        name,
        findings::management_keys_ownerless(found.len(), named.join(", ")),
        findings::management_keys_advice(),
    )
    .with_names())
}

fn certificate(app: &App) -> Result<Check> {
    let name = "certificate";
    let Some(end) = app.figures().certificate_end() else {
        return Ok(Check::ok(name, findings::certificate_none()));
    };
    let days = (end.0 - app.now().wall.0).div_euclid(DAY_MS);
    let advice = findings::certificate_advice();
    Ok(match days {
        ..0 => Check::failed(name, findings::certificate_ended(end), advice),
        0..CERTIFICATE_DAYS => Check::warning(name, findings::certificate_ends(end), advice),
        _ => Check::ok(name, findings::certificate_ends(end)),
    })
}
