//! The changes of one batch: running them, committing them together, and answering their callers.

use super::Job;
use crate::domain::text::counted;
use crate::error::{Error, Result};
use crate::refusals::{self, Refusal};
use crate::store::connection::{Effects, Fault, FaultKind, Read};
use crate::store::tombstones::SharedTombstoneFile;
use crate::store::{Publish, audit};
use std::panic::{AssertUnwindSafe, catch_unwind};

pub(super) type Answer = (bool, Box<dyn FnOnce(Result<()>) + Send>);

/// Runs one change in a savepoint, so that its failure undoes nothing else. In debug builds, a change also fails if its events
/// do not name all that it has touched: an index that follows the log would not learn of it.
pub(super) fn run_alone(connection: &Read, job: Job) -> Option<Answer> {
    let tx = connection.write();
    // Some faults, such as a full disk, end the transaction. A savepoint would then begin a new one.
    if connection.is_idle() || connection.begin_part().is_err() {
        refuse(vec![job], &refusals::server::database_ended());
        return None;
    }
    let mark = tx.mark();
    let ran = catch_unwind(AssertUnwindSafe(|| {
        let newest = || audit::newest_number(connection).unwrap_or_default();
        let before = cfg!(debug_assertions).then(newest);
        let ran = (job.run)(Ok(&tx));
        if let Some(before) = before.filter(|_| ran.succeeded) {
            let touched = connection.touched_since(&mark);
            let unnamed = audit::named::find_unnamed(connection, before, &touched);
            assert!(
                !matches!(unnamed, Ok(Some(_))),
                "no event names what a change has touched: {unnamed:?}"
            );
        }
        ran
    }));
    let succeeded = ran.as_ref().is_ok_and(|ran| ran.succeeded);
    // One of its statements may have failed after the change had sent it.
    let kept = match succeeded {
        true => connection.end_part(true),
        false => Ok(()),
    };
    if !succeeded || kept.is_err() {
        tx.cut(&mark);
        if let Err(err) = connection.end_part(false) {
            // Half a change must not be committed with the others, so all of them fail.
            log::warn!("store: a change ended with its transaction: {err}");
            connection.end();
        }
    }
    match ran {
        Ok(ran) => Some(match kept {
            Ok(()) => (ran.succeeded, ran.answer),
            Err(err) => (false, Box::new(move |_| (ran.answer)(Err(err)))),
        }),
        Err(_) => {
            log::error!("store: a change panicked and was undone");
            None
        }
    }
}

/// Prepares the index, commits, puts the new content of the index in place, and writes the tombstones. What has come to pass is
/// taken out of `effects`.
pub(super) fn finish(
    connection: &Read,
    publish: &Publish,
    book: &SharedTombstoneFile,
    effects: &mut Effects,
) -> std::result::Result<(), Fault> {
    if connection.is_idle() {
        // SQLite ends a transaction automatically if the disk is full.
        let kind = match connection.is_file() {
            true => FaultKind::NoRoom,
            false => FaultKind::Refused,
        };
        let ended = Error::Unavailable(refusals::server::database_ended());
        return Err(Fault::new(kind, ended));
    }
    let refused = |err| Fault::new(FaultKind::Refused, err);
    let install = publish(connection, &effects.touched).map_err(refused)?;
    let no_room = |err| Fault::new(FaultKind::NoRoom, err);
    book.make_room(&effects.notes).map_err(no_room)?;
    connection.commit()?;
    // Before the index has it: what other nodes commit after it must not come before it in the file.
    book.note(std::mem::take(&mut effects.notes), connection.chain_end());
    install();
    run_steps(effects);
    book.flush_own().map_err(refused)
}

/// Runs the steps in memory that follow a commit. One that panics is not run again.
pub(super) fn run_steps(effects: &mut Effects) {
    while let Some(step) = effects.after.pop_front() {
        step();
    }
}

/// Answers the callers of changes that were not begun with the reason.
pub(super) fn refuse(batch: Vec<Job>, why: &Refusal) {
    let verb = if batch.len() == 1 { "was" } else { "were" };
    let refused = counted(batch.len() as u64, "change");
    log::warn!("store: {refused} {verb} refused: {why}");
    for job in batch {
        let ran = (job.run)(Err(Error::Unavailable(why.clone())));
        (ran.answer)(Ok(()));
    }
}

/// Answers the callers of changes that were committed together, or were not. A failed change reports its own error, regardless of
/// the other changes.
pub(super) fn answer_all(answers: Vec<Answer>, committed: &Result<()>) {
    for (succeeded, answer) in answers {
        match (committed, succeeded) {
            (_, false) | (Ok(()), true) => answer(Ok(())),
            (Err(err), true) => answer(Err(again(err))),
        }
    }
}

/// The same failure for each of the changes that were to be committed together.
fn again(err: &Error) -> Error {
    match err {
        Error::Unavailable(why) => Error::Unavailable(why.clone()),
        other => Error::internal(other.to_string()),
    }
}
