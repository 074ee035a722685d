//! Checks of the key files: whether they are saved, whether their rotations are finished, and whether the keys of other
//! systems are there.

use super::finding::Check;
use crate::domain::keys::keyfile::KeyKind;
use crate::error::Result;
use crate::ops::{App, secrets};
use crate::store::foreign;

/// Whether a backup of the key files has every newest version, and whether everything is under these versions.
pub fn saved(app: &App) -> Result<Check> {
    let name = "backup of key files";
    let saved = secrets::saved(app)?;
    let all = |kinds: &[KeyKind]| {
        let words: Vec<&str> = kinds.iter().map(|kind| kind.words()).collect();
        words.join(" and ")
    };
    if let [kind, ..] = saved.unsettled.as_slice() {
        return Ok(Check::warning(
            name,
            format!(
                "not everything is under the newest version of the {} yet",
                all(&saved.unsettled)
            ),
            format!(
                "finish the rotation: latchkey secrets rotate {}",
                kind.as_str()
            ),
        ));
    }
    let advice =
        "make one, and store it apart from backups of the database: latchkey secrets backup FILE";
    Ok(match (saved.at, saved.stale.is_empty()) {
        (Some(at), true) => Check::ok(name, format!("made on {at}, with every newest version")),
        (Some(at), false) => Check::warning(
            name,
            format!(
                "the one of {at} is stale: it lacks the newest version of the {}",
                all(&saved.stale)
            ),
            advice,
        ),
        (None, _) => Check::warning(
            name,
            "none was ever made, and without the key files no backup of the database can be used",
            advice,
        ),
    })
}

/// Whether each HMAC key that a stored digest names is there.
pub fn hmac_keys(app: &App) -> Result<Check> {
    let name = "HMAC keys";
    let (methods, _) = app.read(foreign::list_methods)?;
    let names = methods
        .iter()
        .filter_map(|method| method.hmac_key.as_deref());
    let missing: Vec<&str> = names
        .filter(|name| !app.index.foreign.has_hmac_key(name))
        .collect();
    Ok(match missing.is_empty() {
        true => Check::ok(
            name,
            "every key of another system that a digest names is there",
        ),
        false => Check::failed(
            name,
            format!(
                "keys that were imported cannot be verified, because these HMAC keys are missing: {}",
                missing.join(", ")
            ),
            "put the files back into the folder hmac-keys of the data folder (latchkey secrets restore FILE), and restart the \
             server",
        ),
    })
}
