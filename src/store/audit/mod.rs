//! The audit log: appending, reading and pruning events, and verifying the hash chain.

mod append;
mod cut;
pub mod events;
pub(super) mod named;

pub use append::{append, append_all};
pub use cut::{Cut, count, last, prune};

use super::{Read, Row, Write};
use crate::domain::audit::{Event, GENESIS, Kind, Outcome, Target};
use crate::domain::hex::hex;
use crate::domain::keys::seal_key::SealKeys;
use crate::domain::time::Timestamp;
use crate::domain::uid::Uid;
use crate::error::{Error, Result};
use crate::refusals::{self, Refusal};

/// The numbers of events before the event `before`, newest first: those of one workspace, or of all workspaces.
pub fn list_numbers(
    read: &Read,
    workspace: Option<Uid>,
    before: Option<i64>,
    limit: u32,
) -> Result<Vec<i64>> {
    let before = before.unwrap_or(i64::MAX);
    let seq = |row: &Row<'_>| row.get("seq");
    match workspace {
        None => read.query(NUMBERS, &[&before, &limit], seq),
        Some(uid) => read.query(NUMBERS_OF_WORKSPACE, &[&uid, &before, &limit], seq),
    }
}

const NUMBERS: &str = "SELECT seq FROM audit_events WHERE seq < $1 ORDER BY seq DESC LIMIT $2";
const NUMBERS_OF_WORKSPACE: &str =
    "SELECT seq FROM audit_events WHERE workspace_uid = $1 AND seq < $2 ORDER BY seq DESC LIMIT $3";

/// The numbers of the events about a thing with one outcome, as [`list_numbers`].
pub fn list_numbers_of(
    read: &Read,
    target: &Target,
    outcome: Outcome,
    before: Option<i64>,
    limit: u32,
) -> Result<Vec<i64>> {
    read.query(
        "SELECT seq FROM audit_events
         WHERE target_kind = $1 AND target_id = $2 AND outcome = $3 AND seq < $4
         ORDER BY seq DESC
         LIMIT $5",
        &[
            &target.kind.as_str(),
            &target.id,
            &outcome.as_str(),
            &before.unwrap_or(i64::MAX),
            &limit,
        ],
        |row| row.get("seq"),
    )
}

/// The numbers of the oldest and of the newest event.
pub fn ends(read: &Read) -> Result<Option<(i64, i64)>> {
    let sql = "SELECT (SELECT min(seq) FROM audit_events) AS first, (SELECT max(seq) FROM audit_events) AS last";
    let ends: Option<(Option<i64>, Option<i64>)> =
        read.query_one(sql, &[], |row| Ok((row.get("first")?, row.get("last")?)))?;
    Ok(ends.and_then(|(first, last)| first.zip(last)))
}

/// Seals the head and the checkpoint of the chain with the newest version of `after`, each if it fits its seal under
/// `before`.
pub fn seal_again(tx: &Write<'_>, before: &SealKeys, after: &SealKeys) -> Result<()> {
    for (what, mark, sql) in [
        (
            HEAD,
            head(tx)?,
            "UPDATE audit_head SET seal = $1 WHERE one = 1",
        ),
        (
            CHECKPOINT,
            checkpoint(tx)?,
            "UPDATE audit_checkpoint SET seal = $1 WHERE one = 1",
        ),
    ] {
        match mark {
            Some(mark) if sealed(before, what, &mark) => {
                let seal = after.seal(&sealed_text(what, mark.seq, &mark.hash));
                tx.execute(sql, &[&seal])?;
            }
            Some(_) => log::error!(
                "store: the mark {what:?} of the audit log was changed without Latchkey and is not sealed again"
            ),
            None => {}
        }
    }
    Ok(())
}

/// Verifies the whole chain, from the checkpoint of the last cut if there is one. `Ok` is the number of events; `Err`
/// names the first row that was changed or is missing.
pub fn verify(read: &Read, seal_keys: &SealKeys) -> Result<std::result::Result<i64, Refusal>> {
    let start = match checkpoint(read)? {
        None => (0, GENESIS),
        Some(mark) if sealed(seal_keys, CHECKPOINT, &mark) => (mark.seq, mark.hash),
        Some(_) => return Ok(Err(refusals::audit::checkpoint_changed())),
    };
    let mut last = start;
    let mut broken = None;
    read.each(
        "SELECT seq, at, actor, action, target_kind, target_id, workspace_uid, source, request_id, outcome,
                reason, changes, previous
         FROM audit_events
         ORDER BY seq",
        &[],
        &mut |row| {
            if broken.is_none() {
                match follow(row, start.0, last) {
                    Ok(next) => last = next,
                    Err(why) => broken = Some(why),
                }
            }
            Ok(())
        },
    )?;
    if let Some(why) = broken {
        return Ok(Err(why));
    }
    let (seq, hash) = last;
    Ok(match head(read)? {
        None if seq == 0 => Ok(0),
        None => Err(refusals::audit::head_missing()),
        Some(head) if !sealed(seal_keys, HEAD, &head) => Err(refusals::audit::head_changed()),
        Some(head) if head.seq > seq => Err(refusals::audit::event_missing(seq + 1)),
        Some(head) if (head.seq, head.hash) != (seq, hash) => {
            Err(refusals::audit::event_changed(seq))
        }
        Some(_) => Ok(seq - start.0),
    })
}

/// Verifies the row that follows the link `last`, in a chain that begins after event `start`. Returns the new link,
/// or what is wrong with the row.
fn follow(
    row: &Row<'_>,
    start: i64,
    last: (i64, [u8; 32]),
) -> std::result::Result<(i64, [u8; 32]), Refusal> {
    let expected = last.0 + 1;
    let event = from_row(row).map_err(|_| refusals::audit::event_unreadable(expected))?;
    if event.seq <= start {
        return Err(refusals::audit::event_uncut(event.seq));
    }
    if event.seq != expected {
        return Err(refusals::audit::event_missing(expected));
    }
    if event.previous != last.1 {
        // This row still has the number that it should have, so it is the previous row that was changed.
        return Err(refusals::audit::event_changed(last.0.max(start + 1)));
    }
    Ok((event.seq, event.hash()))
}

/// The start or the end of the chain: the number and the hash of an event, sealed with the seal key.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    pub seq: i64,
    pub hash: [u8; 32],
    seal: [u8; 32],
}

/// What a mark seals. The two purposes differ, so a mark of one kind is not accepted in the place of the other.
const HEAD: &str = "audit";
/// See [`HEAD`].
const CHECKPOINT: &str = "audit checkpoint";

/// The newest event as the chain has it: its number and its hash.
pub fn head(read: &Read) -> Result<Option<Mark>> {
    read.query_one(
        "SELECT seq, hash, seal FROM audit_head WHERE one = 1",
        &[],
        mark_from_row,
    )
}

/// The event at which the last cut ended.
pub(super) fn checkpoint(read: &Read) -> Result<Option<Mark>> {
    read.query_one(
        "SELECT seq, hash, seal FROM audit_checkpoint WHERE one = 1",
        &[],
        mark_from_row,
    )
}

/// The number of the newest event; 0 if there is none.
pub fn newest_number(read: &Read) -> Result<i64> {
    Ok(head(read)?.map_or(0, |head| head.seq))
}

/// The newest event.
pub fn newest(read: &Read) -> Result<Option<Event>> {
    match head(read)? {
        Some(head) => find(read, head.seq),
        None => Ok(None),
    }
}

/// The time of an event; `None` if there is no such event.
pub fn time_of(read: &Read, seq: i64) -> Result<Option<Timestamp>> {
    let at = |row: &Row<'_>| row.get("at");
    read.query_one("SELECT at FROM audit_events WHERE seq = $1", &[&seq], at)
}

/// The event with this number.
pub fn find(read: &Read, seq: i64) -> Result<Option<Event>> {
    read.query_one(
        "SELECT seq, at, actor, action, target_kind, target_id, workspace_uid, source, request_id, outcome,
                reason, changes, previous
         FROM audit_events
         WHERE seq = $1",
        &[&seq],
        from_row,
    )
}

/// The newest event of an action on a target.
pub fn newest_of(read: &Read, target: &Target, action: &str) -> Result<Option<Event>> {
    read.query_one(
        "SELECT seq, at, actor, action, target_kind, target_id, workspace_uid, source, request_id, outcome,
                reason, changes, previous
         FROM audit_events
         WHERE target_kind = $1 AND target_id = $2 AND outcome = 'allowed' AND action = $3
         ORDER BY seq DESC
         LIMIT 1",
        &[&target.kind.as_str(), &target.id, &action],
        from_row,
    )
}

/// The versions under which the head and the checkpoint of the chain are sealed, as far as they exist; `None` for one
/// that was changed.
pub fn sealers(read: &Read, seal_keys: &SealKeys) -> Result<Vec<Option<u32>>> {
    let marks = [(HEAD, head(read)?), (CHECKPOINT, checkpoint(read)?)];
    let sealer = |(what, mark): (&str, Option<Mark>)| {
        mark.map(|mark| {
            let text = sealed_text(what, mark.seq, &mark.hash);
            seal_keys.sealer_of_text(&text, &mark.seal)
        })
    };
    Ok(marks.into_iter().filter_map(sealer).collect())
}

/// Accepts a seal under any version of the seal key, because the mark can be older than the newest version.
fn sealed(seal_keys: &SealKeys, what: &str, mark: &Mark) -> bool {
    let text = sealed_text(what, mark.seq, &mark.hash);
    seal_keys.have_sealed_text(&text, &mark.seal)
}

pub(super) fn sealed_text(what: &str, seq: i64, hash: &[u8; 32]) -> String {
    format!("{what} {seq} {}", hex(hash))
}

fn mark_from_row(row: &Row<'_>) -> Result<Mark> {
    Ok(Mark {
        seq: row.get("seq")?,
        hash: row.get("hash")?,
        seal: row.get("seal")?,
    })
}

pub(super) fn from_row(row: &Row<'_>) -> Result<Event> {
    let kind: String = row.get("target_kind")?;
    let outcome: String = row.get("outcome")?;
    let unknown = || Error::internal("an audit event has an unknown word");
    Ok(Event {
        seq: row.get("seq")?,
        at: row.get("at")?,
        actor: row.get("actor")?,
        action: row.get("action")?,
        target: Target {
            kind: Kind::parse(&kind).ok_or_else(unknown)?,
            id: row.get("target_id")?,
        },
        workspace: row.get("workspace_uid")?,
        source: row.get("source")?,
        request_id: row.get("request_id")?,
        outcome: Outcome::parse(&outcome).ok_or_else(unknown)?,
        reason: row.get("reason")?,
        changes: row.get("changes")?,
        previous: row.get("previous")?,
    })
}

#[cfg(test)]
mod tests {
    use super::super::{sqlite, testing};
    use super::*;
    use crate::domain::time::Timestamp;

    fn sample() -> Event {
        let key = Target::new(Kind::Key, "0000000000");
        Event::of_system("key.issue", key, Timestamp(2000))
    }

    fn with_events(read: Read, count: i64) -> (Read, SealKeys) {
        let (seal_keys, _) = SealKeys::generate().unwrap();
        for number in 1..=count {
            let draft = Event {
                at: Timestamp(1000 - number), // attacks 207: the number decides the order, not the time
                target: Target::new(Kind::Key, format!("{number:010}")),
                ..sample()
            };
            append(&read.write(), &seal_keys, draft).unwrap();
        }
        (read, seal_keys)
    }

    #[track_caller]
    fn check(tampering: &str, expected: std::result::Result<i64, &str>) {
        check_after(|_, _| {}, tampering, expected);
    }

    /// Tampers with a log of five events of which the first three were cut.
    #[track_caller]
    fn check_cut(tampering: &str, expected: std::result::Result<i64, &str>) {
        let cut = |read: &Read, seal_keys: &SealKeys| {
            prune(&read.write(), seal_keys, Cut::Keep(2), i64::MAX)
                .unwrap()
                .unwrap();
        };
        check_after(cut, tampering, expected);
    }

    #[track_caller]
    fn check_after(
        before: fn(&Read, &SealKeys),
        tampering: &str,
        expected: std::result::Result<i64, &str>,
    ) {
        for read in testing::stores() {
            let (read, seal_keys) = with_events(read, 5);
            before(&read, &seal_keys);
            read.tamper(tampering);
            assert_eq!(
                verify(&read, &seal_keys)
                    .unwrap()
                    .map_err(|why| why.to_string()),
                expected.map_err(str::to_owned),
                "{tampering}"
            );
        }
    }

    // attacks 206
    #[test]
    fn the_first_bad_row_is_named() {
        check("", Ok(5));
        check(
            "UPDATE audit_events SET actor = 'x' WHERE seq = 3",
            Err("event 3 was changed"),
        );
        check(
            "UPDATE audit_events SET at = 1 WHERE seq = 5",
            Err("event 5 was changed"),
        );
        check(
            "UPDATE audit_events SET previous = zeroblob(32) WHERE seq = 4",
            Err("event 3 was changed"),
        );
        check(
            "DELETE FROM audit_events WHERE seq = 2",
            Err("event 2 is missing"),
        );
        check(
            "DELETE FROM audit_events WHERE seq = 5",
            Err("event 5 is missing"),
        );
        check("DELETE FROM audit_events", Err("event 1 is missing"));
        check(
            "DELETE FROM audit_head",
            Err("the head of the chain is missing"),
        );
        check(
            "DELETE FROM audit_events WHERE seq = 5; UPDATE audit_head SET seq = 4",
            Err("the head of the chain was changed"),
        );
        check(
            "UPDATE audit_events SET seq = 9 WHERE seq = 2; UPDATE audit_events SET seq = 2 WHERE seq = 3; UPDATE audit_events SET seq = 3 WHERE seq = 9",
            Err("event 1 was changed"),
        );
    }

    // attacks 206
    #[test]
    fn a_cut_chain_is_proven_from_where_it_was_cut() {
        check_cut("", Ok(2));
        check_cut(
            "DELETE FROM audit_events WHERE seq = 4",
            Err("event 4 is missing"),
        );
        check_cut(
            "UPDATE audit_events SET previous = zeroblob(32) WHERE seq = 4",
            Err("event 4 was changed"),
        );
        check_cut(
            "UPDATE audit_events SET actor = 'x' WHERE seq = 4",
            Err("event 4 was changed"),
        );
        check_cut("DELETE FROM audit_events", Err("event 4 is missing"));
        check_cut("DELETE FROM audit_checkpoint", Err("event 1 is missing"));
        // An attacker without the seal key cuts further, or replaces one mark with the other.
        check_cut(
            "UPDATE audit_checkpoint SET seq = 4, hash = (SELECT previous FROM audit_events WHERE seq = 5);
             DELETE FROM audit_events WHERE seq = 4",
            Err("the checkpoint of the last cut was changed"),
        );
        check_cut(
            "UPDATE audit_checkpoint SET (seq, hash, seal) = (SELECT seq, hash, seal FROM audit_head);
             DELETE FROM audit_events",
            Err("the checkpoint of the last cut was changed"),
        );
        check_cut(
            "UPDATE audit_head SET (seq, hash, seal) = (SELECT seq, hash, seal FROM audit_checkpoint);
             DELETE FROM audit_events",
            Err("the head of the chain was changed"),
        );
        check_cut(
            "INSERT INTO audit_events
             SELECT 3, at, actor, action, target_kind, target_id, workspace_uid, source, request_id, outcome, reason,
                    changes, previous
             FROM audit_events WHERE seq = 4",
            Err("event 3 is there although it was cut"),
        );
    }

    #[test]
    fn a_cut_ends_before_the_first_event_that_is_young_enough() {
        // The times of the events are 999, 998 … 995, because the clock went back.
        for (cut, left) in [
            (Cut::Before(Timestamp(995)), 5),
            (Cut::Before(Timestamp(999)), 5),
            (Cut::Before(Timestamp(1000)), 0),
            (Cut::Keep(9), 5),
            (Cut::Keep(5), 5),
            (Cut::Keep(2), 2),
            (Cut::Keep(0), 0),
        ] {
            for read in testing::stores() {
                let (read, seal_keys) = with_events(read, 5);
                let cut_off = prune(&read.write(), &seal_keys, cut, i64::MAX).unwrap();
                assert_eq!(
                    cut_off.map_or(0, |(_, count)| count),
                    5 - left as usize,
                    "{cut:?}"
                );
                assert_eq!(verify(&read, &seal_keys).unwrap(), Ok(left), "{cut:?}");
            }
        }
    }

    #[test]
    fn a_cut_deletes_events_in_steps_and_no_later_ones() {
        for read in testing::stores() {
            let (read, _) = with_events(read, 7);
            let tx = read.write();
            assert_eq!(cut::delete(&tx, 1, 5, 2).unwrap(), 5);
            assert_eq!(cut::delete(&tx, 6, 6, 2).unwrap(), 1);
            assert_eq!(cut::delete(&tx, 7, 6, 2).unwrap(), 0);
            assert!(find(&read, 6).unwrap().is_none());
            assert!(find(&read, 7).unwrap().is_some());
        }
    }

    #[test]
    fn a_chain_goes_on_after_a_cut_and_can_be_cut_again() {
        for read in testing::stores() {
            let (read, seal_keys) = with_events(read, 5);
            let cut = |keep| prune(&read.write(), &seal_keys, Cut::Keep(keep), i64::MAX).unwrap();
            assert_eq!(cut(0).map(|(mark, _)| mark.seq), Some(5));
            for _ in 0..3 {
                append(&read.write(), &seal_keys, sample()).unwrap();
            }
            assert_eq!(verify(&read, &seal_keys).unwrap(), Ok(3));
            assert_eq!(cut(1).map(|(mark, count)| (mark.seq, count)), Some((7, 2)));
            assert_eq!(verify(&read, &seal_keys).unwrap(), Ok(1));
            assert!(cut(1).is_none());
        }
    }

    #[test]
    fn pages_are_found_by_an_index_and_never_sorted() {
        let (read, _) = with_events(sqlite::in_memory().unwrap(), 5);
        for (sql, found) in [
            (
                NUMBERS,
                "SEARCH audit_events USING INTEGER PRIMARY KEY (rowid<?)",
            ),
            (
                NUMBERS_OF_WORKSPACE,
                "SEARCH audit_events USING COVERING INDEX audit_events_workspace (workspace_uid=? AND seq<?)",
            ),
        ] {
            assert_eq!(sqlite::plan(&read, sql), [found], "{sql}");
        }
    }

    #[test]
    fn pages_begin_after_the_one_before() {
        for read in testing::stores() {
            let (read, _) = with_events(read, 5);
            assert_eq!(list_numbers(&read, None, None, 2).unwrap(), [5, 4]);
            assert_eq!(list_numbers(&read, None, Some(3), 9).unwrap(), [2, 1]);
            let nobody = Some(Uid(7));
            assert!(list_numbers(&read, nobody, None, 9).unwrap().is_empty());
        }
    }
}
