//! Checks of the key files: whether they are saved, whether their rotations are finished, and whether the keys of other
//! systems are there.

use super::finding::Check;
use crate::domain::keys::keyfile::KeyKind;
use crate::error::Result;
use crate::ops::{App, secrets};
use crate::refusals::findings;
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
            findings::key_files_unsettled(all(&saved.unsettled)),
            findings::key_files_unsettled_advice(kind.as_str()),
        ));
    }
    let advice = findings::key_files_advice();
    Ok(match (saved.at, saved.stale.is_empty()) {
        (Some(at), true) => Check::ok(name, findings::key_files_saved(at)),
        (Some(at), false) => Check::warning(
            name,
            findings::key_files_stale(at, all(&saved.stale)),
            advice,
        ),
        (None, _) => Check::warning(name, findings::key_files_never(), advice),
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
        true => Check::ok(name, findings::hmac_all()),
        false => Check::failed(
            name,
            findings::hmac_missing(missing.join(", ")),
            findings::hmac_advice(),
        ),
    })
}
