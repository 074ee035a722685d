//! Reports of leaked secrets: whose secret it is, an event, and what the policy of the key demands.
//!
//! The answer contains nothing about the secret. A reporter has the secret, and can try it like any other client.

use super::App;
use super::keys::{edit, rotate};
use super::tripwires::record_of;
use super::verify::tripwires::{Standing, whose};
use crate::authz::caller::{Caller, Identity, Origin};
use crate::domain::attempts::throttle::{Throttle, network};
use crate::domain::audit::{Changes, Kind, Target};
use crate::domain::keys::KeyId;
use crate::domain::keys::alarms::{AlarmKind, is_due};
use crate::domain::keys::live::StoredSecret;
use crate::domain::keys::quota::RateLimit;
use crate::domain::keys::redaction::{place_without_secrets, without_secrets};
use crate::domain::leak_keys::LeakKeys;
use crate::domain::locks::{lock, read, write};
use crate::domain::policies::OnLeak;
use crate::domain::text::{self, harmless_line};
use crate::domain::users::permissions::Permission;
use crate::error::{Error, Result};
use crate::refusals;
use crate::store::alarms::{self, Found};
use crate::store::keys as rows;
use std::sync::{Arc, Mutex};

/// The rate of reports of one caller, and of deliveries of one address.
const REPORTS: RateLimit = RateLimit {
    limit: 600,
    window_s: 60,
    exact: false,
};
/// The greatest number of callers that are remembered at the same time.
const REMEMBERED_MAX: usize = 10_000;
/// The number of characters of a place.
pub const URL_CHARS_MAX: usize = 1_000;
/// The number of characters of the name of a finder.
pub const SOURCE_CHARS_MAX: usize = 100;
/// The number of bytes of a text that is looked up.
pub const SECRET_BYTES_MAX: usize = 4_096;

/// A secret that was found where it should not be.
pub struct Report {
    pub secret: String,
    /// Where it was found; may be empty. Neither a query nor a fragment is kept, nor a secret: not the one that is reported
    /// either, which may still work.
    pub url: String,
    /// Who found it, such as `latchkey scan`; may be empty.
    pub source: String,
}

/// The recent reports of each caller.
pub struct LeakReports(Mutex<Throttle>);

impl Default for LeakReports {
    fn default() -> LeakReports {
        LeakReports(Mutex::new(Throttle::new(REPORTS, REMEMBERED_MAX)))
    }
}

impl LeakReports {
    fn admit(&self, subject: &str, steady_ms: u64) -> Result<()> {
        let counted = lock(&self.0).count(subject, steady_ms);
        counted.map_err(|status| Error::TooMany {
            retry_after_s: status.reset_s,
        })
    }
}

/// Takes the report of a caller. A key that the caller may not report about is treated as unknown, and so is a text that is
/// no secret of a key.
pub fn report(app: &App, caller: &Caller, report: &Report) -> Result<()> {
    caller.require_somewhere(Permission::LeaksReport)?;
    check(report)?;
    if caller.identity != Identity::Local {
        app.leak_reports.admit(&caller.actor, app.now().steady_ms)?;
    }
    take(app, caller, report).map(|_| ())
}

impl App {
    /// Pins the public keys of services that may deliver reports without a credential.
    pub fn pin_leak_keys(&self, keys: LeakKeys) {
        *write(&self.leak_keys) = Arc::new(keys);
    }
}

/// A delivery of reports, as it arrived.
pub struct Delivery<'a> {
    /// Which key has signed it.
    pub identifier: &'a str,
    pub signature: &'a str,
    pub body: &'a [u8],
}

/// Checks who sent a delivery, before anything in it is read.
///
/// # Errors
/// `NotFound` if no key is pinned, `Unauthenticated` if none of the pinned keys has signed it, and `TooMany` for the
/// 601st delivery of an address in a minute.
pub fn admit(app: &App, origin: &Origin, delivery: &Delivery<'_>) -> Result<()> {
    let keys = read(&app.leak_keys).clone();
    if keys.is_empty() {
        return Err(Error::NotFound("route"));
    }
    if let Some(address) = origin.counted {
        let subject = network(address).to_string();
        app.leak_reports.admit(&subject, app.now().steady_ms)?;
    }
    match keys.verify(delivery.identifier, delivery.signature, delivery.body) {
        true => Ok(()),
        false => Err(Error::Unauthenticated),
    }
}

/// Takes the reports of an admitted delivery. Returns for each whether it is or was a secret of a key. A report that cannot
/// be taken does not stop the others.
pub fn delivered(app: &App, origin: &Origin, reports: &[Report]) -> Result<Vec<bool>> {
    let caller = Caller {
        source: origin.source.clone(),
        request_id: origin.request_id.clone(),
        ..Caller::system(&app.index.directory())?
    };
    let taken: Vec<Result<bool>> = reports
        .iter()
        .map(|report| take(app, &caller, report))
        .collect();
    taken.into_iter().collect()
}

fn check(report: &Report) -> Result<()> {
    if report.secret.len() > SECRET_BYTES_MAX {
        return Err(Error::invalid(
            "secret",
            refusals::values::characters_at_most(SECRET_BYTES_MAX),
        ));
    }
    text::check_line("url", &report.url, URL_CHARS_MAX)?;
    text::check_line("source", &report.source, SOURCE_CHARS_MAX)
}

fn take(app: &App, caller: &Caller, report: &Report) -> Result<bool> {
    let Some((id, standing)) = whose(app, &report.secret)? else {
        return Ok(false);
    };
    let Some(key) = app.read(|read| rows::find(read, id))? else {
        return Ok(false);
    };
    let may = {
        let directory = app.index.directory();
        let (workspace, owner) = (key.workspace, key.owner);
        caller.may(&directory, Permission::LeaksReport, workspace, owner)
    };
    if !may {
        return Ok(false);
    }
    record(app, caller, id, standing, report)?;
    if let Standing::Works(stored) = standing {
        match react(app, id, &report.secret, stored) {
            // The key was deleted in between.
            Ok(()) | Err(Error::NotFound(_)) => {}
            Err(err) => return Err(err),
        }
    }
    Ok(true)
}

fn record(
    app: &App,
    caller: &Caller,
    id: KeyId,
    standing: Standing,
    report: &Report,
) -> Result<()> {
    // Characters that are not shown could divide a secret, and the end of a text could cut one.
    let place = harmless_line(&report.url, usize::MAX);
    let place = harmless_line(
        &place_without_secrets(&place, &report.secret),
        URL_CHARS_MAX,
    );
    let source = harmless_line(&report.source, usize::MAX);
    let source = harmless_line(&without_secrets(&source, &report.secret), SOURCE_CHARS_MAX);
    let target = Target::new(Kind::Key, id);
    app.change(
        caller,
        AlarmKind::Leaked.action(),
        target,
        move |tx, now| {
            let found = Found {
                count: 1,
                at: now,
                address: None,
                place: &place,
            };
            let recorded_at = alarms::add(tx, id, AlarmKind::Leaked, &found)?;
            let key = rows::find(tx, id)?.ok_or(Error::NotFound("key"))?;
            if !recorded_at.is_some_and(|at| is_due(at, now)) {
                return Ok((None, ()));
            }
            alarms::set_recorded(tx, id, AlarmKind::Leaked, now)?;
            let mut changes = Changes::default();
            for (member, value) in [("url", &place), ("found_by", &source)] {
                if !value.is_empty() {
                    changes.note_always(member, Some(value));
                }
            }
            let works = matches!(standing, Standing::Works(_));
            changes.note_always("still_works", Some(&works.to_string()));
            Ok((Some(record_of(&key, changes)), ()))
        },
    )
}

/// Does what the policy of the key demands about a secret that works: a change of its own, by the server.
fn react(app: &App, id: KeyId, secret: &str, stored: StoredSecret) -> Result<()> {
    let directory = app.index.directory();
    let demanded = app.index.with_key(id, |key| {
        let policy = directory.policy(&key.shared.policy);
        let policy = policy.filter(|policy| !policy.decoy && key.enabled);
        policy.map(|policy| policy.on_leak)
    });
    let caller = Caller::system(&directory)?;
    drop(directory);
    let disable = || edit::switch(app, &caller, id, false).map(|_| ());
    match demanded.flatten() {
        None | Some(OnLeak::Note) => Ok(()),
        Some(OnLeak::Disable) => disable(),
        Some(OnLeak::Rotate) => {
            match rotate::end_leaked(app, &caller, id, secret.to_owned(), stored) {
                // An expired key, or one of a file, is not rotated. What cannot be replaced is closed.
                Err(Error::Conflict(_)) => disable(),
                done => done,
            }
        }
    }
}
