//! Notices of keys that end soon, have ended, or are not used. Each lead time has a position in time, stored with its
//! notices, so that each key is noticed once, and a server that was off catches up.

use super::{SINGLE_MAX, write_found};
use crate::domain::audit::{self, Target};
use crate::domain::clock::State;
use crate::domain::notices::{Data, Draft, Kind};
use crate::domain::time::Timestamp;
use crate::domain::uid::Uid;
use crate::error::Result;
use crate::ops::App;
use crate::store::notices;
use crate::store::notices::keys::{NoticedKey, list_ending, list_unused};
use std::collections::{BTreeMap, HashMap};

/// The name under which the positions are stored.
const READER: &str = "keys";
const DAY_MS: i64 = 86_400_000;
/// Keys with a shorter life end without a notice: they are renewed by programs.
const LIFE_MS_MIN: i64 = DAY_MS;
/// How long a key is not used until it is noticed.
const UNUSED_MS: i64 = 90 * DAY_MS;
/// The keys of one kind that are read at once.
const KEYS_MAX: u32 = 10_000;

/// Looks for keys whose time has come since the last call.
pub fn look(app: &App) -> Result<()> {
    // While the clock shows a time that is not trusted, nothing is concluded from it: the keys of the time until then
    // would be passed over, and never be noticed by the right time.
    if app.clock.reading().state == State::Ahead {
        return Ok(());
    }
    let now = app.now().wall;
    for (days, shorter) in leads(app).into_iter().rev() {
        let (word, lead_ms) = (format!("{days}d"), i64::from(days) * DAY_MS);
        let until = Timestamp(now.0 + lead_ms);
        let known = position(app, &word, until)?;
        let after = Timestamp(known.max(now.0));
        let found = app.read(|read| list_ending(read, after, until, lead_ms, KEYS_MAX))?;
        let is_due = |key: &NoticedKey| {
            let next = shorter.get(&key.policy);
            next.is_some_and(|shorter| key.at.0 > now.0 + i64::from(*shorter) * DAY_MS)
        };
        let data = |key: &NoticedKey| about(app).with("expires_at", key.at).with("within", &word);
        let reader = Reader {
            series: &word,
            known,
            until,
        };
        finish(app, reader, Kind::KeyExpiring, found, is_due, data)?;
    }
    let known = position(app, "ended", now)?;
    let after = Timestamp(match known {
        // What had ended before the first look is not reported.
        0 => now.0,
        from => from,
    });
    let found = app.read(|read| list_ending(read, after, now, LIFE_MS_MIN, KEYS_MAX))?;
    let data = |key: &NoticedKey| about(app).with("expires_at", key.at);
    let reader = Reader {
        series: "ended",
        known,
        until: now,
    };
    finish(app, reader, Kind::KeyExpired, found, |_| true, data)?;
    let until = Timestamp(now.0 - UNUSED_MS);
    let known = position(app, "unused", until)?;
    if until.0 - known < DAY_MS {
        return Ok(());
    }
    let found = app.read(|read| list_unused(read, now, Timestamp(known), until))?;
    let data = |key: &NoticedKey| about(app).with("unused_since", key.at);
    let reader = Reader {
        series: "unused",
        known,
        until,
    };
    finish(app, reader, Kind::KeyUnused, found, |_| true, data)
}

/// The lead times of all policies in days, and for each the policies that have it, with the next shorter one of the policy,
/// or 0. A key for which a shorter lead time counts already is noticed for that one only, and a key whose whole life is not
/// longer than a lead time is not noticed then.
fn leads(app: &App) -> BTreeMap<u32, HashMap<String, u32>> {
    let mut leads: BTreeMap<u32, HashMap<String, u32>> = BTreeMap::new();
    for policy in app.index.directory().policies() {
        let shorter = policy.expiry_notice_days.iter().skip(1).copied();
        let shorter = shorter.chain(std::iter::once(0));
        for (days, shorter) in policy.expiry_notice_days.iter().zip(shorter) {
            let policies = leads.entry(*days).or_default();
            policies.insert(policy.name.clone(), shorter);
        }
    }
    leads
}

/// The facts that every notice about a time has: whether the clock is in doubt.
fn about(app: &App) -> Data {
    match app.clock.reading().state {
        State::InStep => Data::default(),
        _ => Data::default().with("clock", "doubtful"),
    }
}

/// How far a series is. A position after `until` was stored while the clock was wrong; it is taken back.
fn position(app: &App, series: &str, until: Timestamp) -> Result<i64> {
    let found = app.read(|read| notices::find_cursor(read, READER, series))?;
    let found = found.unwrap_or(0);
    if found > until.0 {
        write_found(app, READER, series, until.0, Vec::new())?;
    }
    Ok(found.min(until.0))
}

/// How far a series is, and how far it was looked at now.
struct Reader<'a> {
    series: &'a str,
    known: i64,
    until: Timestamp,
}

/// Stores the notices of those found keys that are due, and how far the found ones reach.
fn finish(
    app: &App,
    reader: Reader<'_>,
    kind: Kind,
    mut found: Vec<NoticedKey>,
    is_due: impl Fn(&NoticedKey) -> bool,
    data: impl Fn(&NoticedKey) -> Data,
) -> Result<()> {
    // If there are more, the next look goes on after the last of these.
    let is_cut = found.len() == KEYS_MAX as usize && kind != Kind::KeyUnused;
    let reached = match found.last() {
        Some(last) if is_cut => last.at,
        _ => reader.until,
    };
    found.retain(is_due);
    let known = reader.known;
    if found.is_empty() && !is_cut && reached.0 - known < DAY_MS {
        // An idle server does not write every minute. Nothing ends between the two times, so nothing is missed.
        return Ok(());
    }
    let mut by_workspace: BTreeMap<Uid, Vec<&NoticedKey>> = BTreeMap::new();
    for key in &found {
        by_workspace.entry(key.workspace).or_default().push(key);
    }
    let now = app.now().wall;
    let mut drafts = Vec::new();
    for (workspace, keys) in by_workspace {
        if keys.len() <= SINGLE_MAX {
            drafts.extend(keys.into_iter().map(|key| {
                let subject = Target::new(audit::Kind::Key, key.id);
                Draft::once(kind, subject, now, data(key))
            }));
            continue;
        }
        let subject = Target::new(audit::Kind::Workspace, workspace);
        let data = data(keys[0])
            .with("keys", keys.len())
            .with("first", keys[0].id);
        drafts.push(Draft::once(kind, subject, now, data));
    }
    write_found(app, READER, reader.series, reached.0.max(known), drafts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::keys::issue::{NewKey, issue};
    use crate::ops::keys::members::KeyMembers;
    use crate::ops::notices::tests::stored;
    use crate::ops::policies::{self, PolicyEdit};
    use crate::ops::setup::fixture::{Fixture, NOW};
    use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

    /// Issues a key that ends after so many days, and has lived for `lived` days.
    fn key(fixture: &Fixture, name: &str, days: i64, lived: i64) {
        key_of(fixture, name, None, days, lived);
    }

    fn key_of(fixture: &Fixture, name: &str, policy: Option<&str>, days: i64, lived: i64) {
        let app = &fixture.app;
        let new = NewKey {
            members: KeyMembers {
                expires_at: Some(Some(Timestamp(NOW.0 + days * DAY_MS))),
                ..KeyMembers::named(name)
            },
            policy: policy.map(str::to_owned),
            ..NewKey::default()
        };
        issue(app, &fixture.local(), new, None).unwrap();
        let (created, ends) = (NOW.0 - lived * DAY_MS, NOW.0 + days * DAY_MS);
        let name = name.to_owned();
        app.store
            .write(crate::store::Durability::Relaxed, move |tx| {
                tx.execute(
                    "UPDATE keys SET created_at = $1, expires_at = $2 WHERE name = $3",
                    &[&created, &ends, &name],
                )
            })
            .unwrap();
    }

    fn kinds(fixture: &Fixture) -> Vec<(Kind, String)> {
        let found = stored(&fixture.app).into_iter();
        found.map(|it| (it.kind, it.data)).collect()
    }

    #[test]
    fn a_key_is_noticed_once_by_the_nearest_lead_time() {
        let fixture = Fixture::new();
        key(&fixture, "in a year", 365, 1);
        key(&fixture, "in 20 days", 20, 60);
        key(&fixture, "in 5 days", 5, 60);
        key(&fixture, "of a week, in 5 days", 5, 2);
        look(&fixture.app).unwrap();
        look(&fixture.app).unwrap();
        let found = kinds(&fixture);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found.iter().all(|(kind, _)| *kind == Kind::KeyExpiring));
        assert!(found[0].1.contains(r#""within":"30d""#), "{found:?}");
        assert!(found[1].1.contains(r#""within":"7d""#), "{found:?}");
    }

    #[test]
    fn the_policy_of_a_key_decides_when_it_is_noticed() {
        let fixture = Fixture::new();
        let (app, local) = (&fixture.app, fixture.local());
        for (name, days) in [("early", vec![90, 2]), ("quiet", Vec::new())] {
            let edit = PolicyEdit {
                expiry_notice_days: Some(days),
                ..PolicyEdit::default()
            };
            policies::create(app, &local, name.to_owned(), edit, None).unwrap();
        }
        key_of(&fixture, "standard, in 60 days", None, 60, 80);
        for name in ["early", "quiet"] {
            key_of(&fixture, name, Some(name), 60, 80);
        }
        key_of(&fixture, "early, in 20 days", Some("early"), 20, 80);
        key_of(&fixture, "early, in a day", Some("early"), 1, 80);
        key_of(&fixture, "quiet, in a day", Some("quiet"), 1, 80);
        look(app).unwrap();
        look(app).unwrap();
        let found = kinds(&fixture);
        let within = |word: &str| {
            let text = format!(r#""within":"{word}""#);
            found
                .iter()
                .filter(|(_, data)| data.contains(&text))
                .count()
        };
        assert_eq!((within("90d"), within("2d")), (2, 1), "{found:?}");
        assert_eq!(found.len(), 3, "{found:?}");
    }

    #[test]
    fn a_clock_that_was_ahead_hides_no_key() {
        static WALL: AtomicI64 = AtomicI64::new(NOW.0);
        let fixture = Fixture::with_clock(&[], || Timestamp(WALL.load(Relaxed)));
        key(&fixture, "in 20 days", 20, 60);
        WALL.store(NOW.0 + 400 * DAY_MS, Relaxed);
        look(&fixture.app).unwrap();
        assert_eq!(kinds(&fixture), []);
        WALL.store(NOW.0, Relaxed);
        look(&fixture.app).unwrap();
        let found = kinds(&fixture);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].0, Kind::KeyExpiring);
        // What an earlier version has stored under a wrong clock is taken back.
        let (app, ahead) = (&fixture.app, NOW.0 + 400 * DAY_MS);
        for series in ["30d", "ended", "unused"] {
            write_found(app, READER, series, ahead, Vec::new()).unwrap();
        }
        look(app).unwrap();
        for (series, expected) in [("30d", 30), ("ended", 0), ("unused", -90)] {
            let find = |read: &crate::store::Read| notices::find_cursor(read, READER, series);
            let found = app.read(find).unwrap().unwrap();
            assert_eq!((found - NOW.0) / DAY_MS, expected, "{series}");
        }
    }

    #[test]
    fn many_keys_at_once_are_one_notice() {
        let fixture = Fixture::new();
        for number in 0..=SINGLE_MAX {
            key(&fixture, &format!("key {number}"), 20, 60);
        }
        look(&fixture.app).unwrap();
        let found = kinds(&fixture);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].1.contains(r#""keys":"21""#), "{found:?}");
    }

    #[test]
    fn a_key_that_nobody_uses_is_noticed_once() {
        let fixture = Fixture::new();
        key(&fixture, "unused", 365, 91);
        key(&fixture, "young", 365, 10);
        look(&fixture.app).unwrap();
        look(&fixture.app).unwrap();
        let found = kinds(&fixture);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].0, Kind::KeyUnused);
    }
}
