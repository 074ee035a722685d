//! Appending events to the chain.

use super::{HEAD, sealed_text, time_of};
use crate::domain::audit::{Event, Outcome, actions};
use crate::domain::keys::seal_key::SealKeys;
use crate::domain::tombstones;
use crate::error::Result;
use crate::store::connection::{ChainEnd, Head};
use crate::store::{Write, heads};

/// The content of a new event. [`append`] sets its number and the hash of the previous event.
type Draft = Event;

/// Appends an event: assigns its number, links it to the previous event, seals the new head of the chain, and notes
/// the event's target for the index.
pub fn append(tx: &Write<'_>, seal_keys: &SealKeys, draft: Draft) -> Result<()> {
    append_all(tx, seal_keys, [draft])
}

/// Does the same as [`append`] for several events in their order. The head is read and sealed once.
pub fn append_all(
    tx: &Write<'_>,
    seal_keys: &SealKeys,
    drafts: impl IntoIterator<Item = Draft>,
) -> Result<()> {
    let begun = end_of_chain(tx)?;
    let Head {
        mut seq,
        hash: mut previous,
    } = begun.head;
    let mut before = begun.at;
    for draft in drafts {
        // Filters and translations are made from the list, so each test shows an action that it lacks.
        debug_assert!(
            actions::ALL.contains(&draft.action.as_str()),
            "{} is not in domain/audit/actions.rs",
            draft.action
        );
        seq += 1;
        let event = Event {
            seq,
            previous,
            ..draft
        };
        insert(tx, &event)?;
        previous = event.hash();
        tx.entomb(tombstones::following(&event, before.replace(event.at)));
        if event.outcome == Outcome::Allowed {
            tx.touch(event.target);
        }
    }
    if seq == begun.head.seq {
        return Ok(());
    }
    let seal = seal_keys.seal(&sealed_text(HEAD, seq, &previous));
    tx.send(
        "INSERT INTO audit_head (one, seq, hash, seal)
         VALUES (1, $1, $2, $3)
         ON CONFLICT (one) DO UPDATE SET seq = excluded.seq, hash = excluded.hash, seal = excluded.seal",
        &[&seq, &previous, &seal],
    )?;
    tx.set_chain_end(Some(ChainEnd {
        head: Head {
            seq,
            hash: previous,
        },
        at: before,
        ..begun
    }));
    Ok(())
}

/// The end of the chain, to which events are about to be added. A transaction with the lock on the newest event has read it with
/// that lock, and reads at most the time of that event; any other transaction reads it each time.
fn end_of_chain(tx: &Write<'_>) -> Result<ChainEnd> {
    let known = tx.chain_end();
    if let Some(end) = known.filter(|end| end.is_locked) {
        let at = match end.at {
            None => time_of(tx, end.head.seq)?,
            known => known,
        };
        return Ok(ChainEnd { at, ..end });
    }
    let head = heads::newest(tx)?;
    Ok(ChainEnd {
        head,
        at: time_of(tx, head.seq)?,
        before: known.map_or(head.seq, |end| end.before),
        is_locked: false,
    })
}

fn insert(tx: &Write<'_>, event: &Event) -> Result<()> {
    tx.send(
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
    )
}
