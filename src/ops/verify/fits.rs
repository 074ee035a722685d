//! Whether a text is a secret of a key. None of this counts as a use of the key.

use super::{Matched, Step, foreign, matching};
use crate::domain::keys::KeyId;
use crate::domain::keys::secret::Presented;
use crate::error::Result;
use crate::index::foreign::TEXT_BYTES_MAX;
use crate::ops::keys::upgrade::Guess;
use crate::ops::{App, index_updates};

/// Which secret of the key a text is whose id it contains.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fit {
    /// The one before the newest; its time is over.
    Ended,
    Newest,
    /// None that is known.
    None,
    /// The one before the newest, which still works.
    Older,
}

/// Which secret of its key a text is, if the index has the key. This does not count as a use either.
pub fn fit(app: &App, presented: Presented<'_>) -> Option<Fit> {
    let now = app.now();
    app.index.with_key(presented.id, |key| {
        match matching(&app.peppers, key, presented, now) {
            None => Fit::None,
            Some(matched) if matched.is_newest => Fit::Newest,
            Some(matched) if matched.has_ended => Fit::Ended,
            Some(_) => Fit::Older,
        }
    })
}

/// Whether a text is a valid secret of the key whose id it contains. This does not count as a use and ends no
/// rotation.
pub fn is_secret_of_its_key(app: &App, presented: Presented<'_>) -> Result<bool> {
    if !app.index.is_complete() {
        app.read(|read| index_updates::fault_in(&app.index, &app.seal_keys, read, presented.id))?;
    }
    let now = app.now();
    let found = app.index.with_key(presented.id, |key| {
        matching(&app.peppers, key, presented, now).is_some_and(|matched| !matched.has_ended)
    });
    Ok(found.unwrap_or(false))
}

/// The key whose secret a text is, if another system has made that secret. This does not count as a use either.
pub fn key_of_foreign(app: &App, text: &str) -> Result<Option<KeyId>> {
    let found = matched_foreign(app, text, Guess::Use)?;
    Ok(found.map(|(id, _)| id))
}

/// Does the same, and returns which secret of the key the text is.
pub(super) fn matched_foreign(
    app: &App,
    text: &str,
    guess: Guess,
) -> Result<Option<(KeyId, Matched)>> {
    if text.len() > TEXT_BYTES_MAX || !app.index.foreign.has_any() {
        return Ok(None);
    }
    if !app.index.is_complete() {
        foreign::load(app, text)?;
    }
    let find = || {
        foreign::find(app, text, app.now(), |key, matched, _| {
            Step::Done(matched.map(|matched| (key.id, matched)))
        })
    };
    let mut found = find();
    if matches!(found, foreign::Found::MaybeSlow) {
        foreign::match_slowly(app, text, guess)?;
        found = find();
    }
    Ok(match found {
        foreign::Found::Step(Step::Done(found)) => found,
        _ => None,
    })
}
