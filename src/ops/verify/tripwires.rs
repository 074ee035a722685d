//! What a verification notes about a decoy or a secret that has ended. The verdict is NOT_FOUND in any case, and reached
//! with the same work as for an unknown secret: `ops::tripwires` acts on the notes later, on a thread of its own.

use super::{Matched, foreign, matched_foreign, matching};
use crate::domain::keys::KeyId;
use crate::domain::keys::live::{Live, StoredSecret};
use crate::domain::keys::secret::Presented;
use crate::domain::keys::verdict::Question;
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::index::trips::Wire;
use crate::ops::keys::upgrade::Guess;
use crate::ops::{App, index_updates};
use std::sync::atomic::Ordering;

/// How a text belongs to a key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Standing {
    /// It has ended, as the secret of this key or together with it.
    Ended,
    /// It works, as one of the two secrets of the key.
    Works(StoredSecret),
}

impl From<Matched> for Standing {
    fn from(matched: Matched) -> Standing {
        match matched.has_ended {
            true => Standing::Ended,
            false => Standing::Works(matched.secret),
        }
    }
}

/// The key whose secret a text is or was, decoys included. This counts as no use, and
/// slow comparisons are charged to the budget of reports.
pub fn whose(app: &App, text: &str) -> Result<Option<(KeyId, Standing)>> {
    if let Some(presented) = Presented::parse(text) {
        if !app.index.is_complete() {
            app.read(|read| {
                index_updates::fault_in(&app.index, &app.seal_keys, read, presented.id)
            })?;
        }
        let now = app.now();
        let look = |key: &Live| matching(&app.peppers, key, presented, now).map(Standing::from);
        if let Some(standing) = app.index.with_key(presented.id, look).flatten() {
            return Ok(Some((presented.id, standing)));
        }
    }
    match matched_foreign(app, text, Guess::Report) {
        Ok(Some((id, matched))) => return Ok(Some((id, matched.into()))),
        // What cannot be compared now is unknown. An error would tell that the start of the text belongs to a key.
        Ok(None) | Err(Error::TooMany { .. }) => {}
        Err(err) => return Err(err),
    }
    let retired = app.index.retired.find(&app.peppers, text);
    Ok(retired.map(|retired| (retired.key, Standing::Ended)))
}

/// Notes the use of a decoy, or of the older secret of a key after its end.
pub fn record(
    app: &App,
    key: &Live,
    is_decoy: bool,
    question: &Question<'_>,
    text: &str,
    now: Timestamp,
) {
    let wire = match is_decoy {
        true => Wire::Decoy,
        false => Wire::Retired,
    };
    let older = key.optional.as_ref();
    let older = older.and_then(|optional| optional.older.as_ref());
    let after_use = !is_decoy
        && older
            .is_some_and(|older| older.until_first_use && older.retired.load(Ordering::Acquire));
    app.index
        .trips
        .record(key.id, wire, after_use, question, text, now);
}

/// Notes that a text which matches no secret is one that has ended. Every text that is not found is hashed under each
/// pepper that such secrets were stored with, so that the duration is the same for every text.
pub fn look_for_retired(app: &App, secret: &str, question: &Question<'_>, now: Timestamp) {
    match app.index.foreign.has_any() && !question.own_secrets_only {
        false => look(app, secret, question, now),
        true => foreign::texts(secret, question).for_each(|text| look(app, text, question, now)),
    }
}

fn look(app: &App, text: &str, question: &Question<'_>, now: Timestamp) {
    if let Some(found) = app.index.retired.find(&app.peppers, text) {
        let (id, after_use) = (found.key, found.after_use);
        app.index
            .trips
            .record(id, Wire::Retired, after_use, question, text, now);
    }
}
