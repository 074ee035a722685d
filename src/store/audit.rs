//! The audit log: appending, reading, and walking the chain.

use super::{Read, Row, Write};
use crate::domain::audit::{Event, GENESIS, Kind, Outcome, Target};
use crate::domain::key::pepper::Peppers;
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};

/// What a new event says; number and previous hash are given when it is appended.
pub type Draft = Event;

/// Appends an event: numbers it, binds it to the one before, seals the new head, and notes its target for
/// the index.
pub fn append(tx: &Write<'_>, peppers: &Peppers, draft: Draft) -> Result<()> {
    let (seq, previous) = head(tx)?.map_or((0, GENESIS), |head| (head.seq, head.hash));
    let event = Event {
        seq: seq + 1,
        previous,
        ..draft
    };
    insert(tx, &event)?;
    let hash = event.hash();
    let seal = seal(peppers, event.seq, &hash);
    tx.execute(
        "INSERT INTO audit_head (one, seq, hash, seal)
         VALUES (1, $1, $2, $3)
         ON CONFLICT (one) DO UPDATE SET seq = excluded.seq, hash = excluded.hash, seal = excluded.seal",
        &[&event.seq, &hash, &seal],
    )?;
    if event.outcome == Outcome::Allowed {
        tx.touch(event.target);
    }
    Ok(())
}

/// What a list of events is restricted to.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub actor: Option<String>,
    pub action: Option<String>,
    pub target: Option<String>,
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
    /// Only events with a smaller number: the cursor.
    pub before: Option<i64>,
}

/// Events, the newest first.
pub fn list(read: &Read, filter: &Filter, limit: u32) -> Result<Vec<Event>> {
    read.query(
        "SELECT seq, at, actor, action, target_kind, target_id, workspace_uid, source, request_id, outcome,
                reason, changes, previous
         FROM audit_events
         WHERE ($1 IS NULL OR actor = $1)
           AND ($2 IS NULL OR action = $2)
           AND ($3 IS NULL OR target_id = $3)
           AND ($4 IS NULL OR at >= $4)
           AND ($5 IS NULL OR at < $5)
           AND ($6 IS NULL OR seq < $6)
         ORDER BY seq DESC
         LIMIT $7",
        &[
            &filter.actor,
            &filter.action,
            &filter.target,
            &filter.since,
            &filter.until,
            &filter.before,
            &limit,
        ],
        from_row,
    )
}

/// Walks the whole chain. `Err` names the first row that is not what it was, or a missing end.
pub fn verify(read: &Read, peppers: &Peppers) -> Result<std::result::Result<i64, String>> {
    let mut expected = (1, GENESIS);
    let mut broken = None;
    read.each(
        "SELECT seq, at, actor, action, target_kind, target_id, workspace_uid, source, request_id, outcome,
                reason, changes, previous
         FROM audit_events
         ORDER BY seq",
        &[],
        |row| {
            if broken.is_some() {
                return Ok(());
            }
            match from_row(row) {
                Ok(event) if event.seq != expected.0 => broken = Some(format!("event {} is missing", expected.0)),
                // The row itself still fits its own number, so what changed is the one it refers to.
                Ok(event) if event.previous != expected.1 => {
                    broken = Some(format!("event {} was changed", (event.seq - 1).max(1)));
                }
                Ok(event) => expected = (event.seq + 1, event.hash()),
                Err(_) => broken = Some(format!("event {} cannot be read", expected.0)),
            }
            Ok(())
        },
    )?;
    if let Some(why) = broken {
        return Ok(Err(why));
    }
    let count = expected.0 - 1;
    match head(read)? {
        None if count == 0 => Ok(Ok(0)),
        None => Ok(Err("the head of the chain is missing".to_owned())),
        Some(head) if !sealed(peppers, &head) => {
            Ok(Err("the head of the chain was changed".to_owned()))
        }
        Some(head) if head.seq > count => Ok(Err(format!("event {} is missing", count + 1))),
        Some(head) if (head.seq, head.hash) != (count, expected.1) => {
            Ok(Err(format!("event {count} was changed")))
        }
        Some(_) => Ok(Ok(count)),
    }
}

struct Head {
    seq: i64,
    hash: [u8; 32],
    seal: [u8; 32],
}

fn head(read: &Read) -> Result<Option<Head>> {
    read.query_one(
        "SELECT seq, hash, seal FROM audit_head WHERE one = 1",
        &[],
        |row| {
            Ok(Head {
                seq: row.get("seq")?,
                hash: row.get("hash")?,
                seal: row.get("seal")?,
            })
        },
    )
}

fn seal(peppers: &Peppers, seq: i64, hash: &[u8; 32]) -> [u8; 32] {
    peppers.current().seal(&sealed_text(seq, hash)).0
}

/// Any version of the pepper will do: the head may be older than the newest.
fn sealed(peppers: &Peppers, head: &Head) -> bool {
    let text = sealed_text(head.seq, &head.hash);
    peppers
        .all()
        .iter()
        .any(|pepper| pepper.seal(&text).0 == head.seal)
}

fn sealed_text(seq: i64, hash: &[u8; 32]) -> String {
    let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("audit {seq} {hex}")
}

fn insert(tx: &Write<'_>, event: &Event) -> Result<()> {
    tx.execute(
        "INSERT INTO audit_events (seq, at, actor, action, target_kind, target_id, workspace_uid, source,
                                   request_id, outcome, reason, changes, previous)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
        &[
            &event.seq,
            &event.at,
            &event.actor,
            &event.action,
            &event.target.kind.as_str(),
            &event.target.id,
            &event.workspace,
            &event.source,
            &event.request_id,
            &event.outcome.as_str(),
            &event.reason,
            &event.changes,
            &event.previous,
        ],
    )?;
    Ok(())
}

fn from_row(row: &Row<'_>) -> Result<Event> {
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
    use super::super::sqlite;
    use super::*;

    fn store_with_events(count: i64) -> (Read, Peppers) {
        let read = sqlite::in_memory().unwrap();
        let (peppers, _) = Peppers::generate().unwrap();
        for number in 1..=count {
            let draft = Event {
                seq: 0,
                at: Timestamp(1000 - number), // attacks 207: the number decides the order, not the time
                actor: "system".to_owned(),
                action: "key.issue".to_owned(),
                target: Target::new(Kind::Key, format!("{number:010}")),
                workspace: String::new(),
                source: String::new(),
                request_id: String::new(),
                outcome: Outcome::Allowed,
                reason: String::new(),
                changes: String::new(),
                previous: GENESIS,
            };
            append(&read.write(), &peppers, draft).unwrap();
        }
        (read, peppers)
    }

    #[track_caller]
    fn check(tampering: &str, expected: std::result::Result<i64, &str>) {
        let (read, peppers) = store_with_events(5);
        read.batch(tampering).unwrap();
        assert_eq!(
            verify(&read, &peppers).unwrap(),
            expected.map_err(str::to_owned),
            "{tampering}"
        );
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
}
