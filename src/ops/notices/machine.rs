//! Notices about the machine: its clock, its disk, its backups, its certificate. Each is noted when it begins, and once a
//! day while it lasts.

use crate::domain::audit::Target;
use crate::domain::clock::State;
use crate::domain::locks::lock;
use crate::domain::notices::{Data, Kind};
use crate::domain::time::Timestamp;
use crate::ops::App;
use std::collections::HashMap;

const DAY_MS: i64 = 86_400_000;
/// How long before its end a certificate is noticed.
const CERTIFICATE_MS: i64 = 14 * DAY_MS;
/// While something lasts, it is noted again after this time on the steady clock.
const AGAIN_MS: u64 = 86_400_000;
/// How long the audit log is trusted after it was verified: a day.
const VERIFIED_MS: u64 = 86_400_000;
/// The first verification waits until the start is over.
const VERIFY_AFTER_MS: u64 = 600_000;

/// What was noted, and when on the steady clock.
#[derive(Default)]
pub struct Reported {
    since: HashMap<Kind, u64>,
    verified_ms: Option<u64>,
}

/// Looks at the machine.
pub fn look(app: &App) {
    let now = app.now();
    let reading = app.clock.reading();
    let clock = (reading.state != State::InStep).then(|| {
        Data::default()
            .with("state", reading.state.as_str())
            .with("wall", reading.wall)
            .with("recorded", reading.mark)
    });
    report(app, Kind::ClockDoubtful, clock);
    let room = app.short_of_room();
    let room = room.map(|free| Data::default().with("free_mib", free >> 20));
    report(app, Kind::DiskLow, room);
    let failed = app.scheduled_backup_failed();
    report(
        app,
        Kind::BackupFailed,
        failed.map(|at| Data::default().with("failed_at", at)),
    );
    report(app, Kind::BackupOverdue, overdue(app, now.wall));
    let end = app.figures().certificate_end();
    let end = end.filter(|end| end.0 - now.wall.0 < CERTIFICATE_MS);
    report(
        app,
        Kind::CertificateEnding,
        end.map(|end| Data::default().with("ends_at", end)),
    );
    verify_daily(app);
}

/// Notes that something is wrong (`Some`) or in order again (`None`).
pub fn report(app: &App, kind: Kind, wrong: Option<Data>) {
    let now = app.now();
    let mut reported = lock(&app.notices.machine);
    let Some(data) = wrong else {
        reported.since.remove(&kind);
        return;
    };
    let noted = reported.since.get(&kind);
    if noted.is_some_and(|at| now.steady_ms.saturating_sub(*at) < AGAIN_MS) {
        return;
    }
    reported.since.insert(kind, now.steady_ms);
    drop(reported);
    app.notices.note(now, kind, Target::server(), || data);
}

/// A scheduled backup that is late by as long as a whole interval. Without a schedule, nothing is overdue.
fn overdue(app: &App, now: Timestamp) -> Option<Data> {
    let schedule = app.backup_schedule()?;
    let latest = app.latest_backup()?.at;
    let every_ms = i64::try_from(schedule.every_s).ok()?.saturating_mul(1_000);
    // The age of a backup from the future is not known.
    let late = latest > now || now.0.saturating_sub(latest.0) > every_ms.saturating_mul(2);
    late.then(|| Data::default().with("latest", latest))
}

/// Verifies the chain of the audit log once a day.
fn verify_daily(app: &App) {
    let steady_ms = app.now().steady_ms;
    let due = match lock(&app.notices.machine).verified_ms {
        None => steady_ms >= VERIFY_AFTER_MS,
        Some(at) => steady_ms.saturating_sub(at) >= VERIFIED_MS,
    };
    if due {
        lock(&app.notices.machine).verified_ms = Some(steady_ms);
        verify(app);
    }
}

/// Verifies the chain of the audit log, and notes if it is broken.
pub fn verify(app: &App) {
    match app.read(|read| crate::store::audit::verify(read, &app.seal_keys)) {
        Ok(Ok(_)) => report(app, Kind::AuditBroken, None),
        Ok(Err(why)) => report(
            app,
            Kind::AuditBroken,
            Some(Data::default().with("reason", why)),
        ),
        Err(err) => log::warn!("notices: the audit log was not verified: {err}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::notices::{round, tests::stored};
    use crate::ops::setup::fixture::Fixture;
    use crate::store::Durability;

    #[test]
    fn what_lasts_is_noted_when_it_begins() {
        let fixture = Fixture::new();
        let app = &fixture.app;
        let wrong = || Some(Data::default().with("free_mib", 7));
        report(app, Kind::DiskLow, wrong());
        report(app, Kind::DiskLow, wrong());
        round(app).unwrap();
        assert_eq!(stored(app).iter().map(|it| it.count).sum::<u64>(), 1);
        report(app, Kind::DiskLow, None);
        report(app, Kind::DiskLow, wrong());
        assert!(
            lock(&app.notices.machine)
                .since
                .contains_key(&Kind::DiskLow)
        );
    }

    #[test]
    fn a_broken_audit_log_is_noted() {
        let fixture = Fixture::new();
        let app = &fixture.app;
        verify(app);
        round(app).unwrap();
        assert_eq!(stored(app), []);
        app.store
            .write(Durability::Relaxed, |tx| {
                tx.execute("UPDATE audit_events SET actor = 'x' WHERE seq = 1", &[])
            })
            .unwrap();
        verify(app);
        round(app).unwrap();
        let found = stored(app);
        assert_eq!((found.len(), found[0].kind), (1, Kind::AuditBroken));
    }
}
