//! The step from schema 6 to 7: the nodes of a database on a server have leases, and share their attempts to sign in; codes of the
//! set-up have rows.

use super::Step;
use crate::domain::keys::KeyId;
use crate::domain::keys::seal_key::SealKeys;
use crate::error::Result;
use crate::store::{Read, seals};

pub const STEP: Step = Step {
    to: 7,
    sql: include_str!("to_7.sql"),
    // Schema 6 sealed what this one seals. A later step that seals other columns keeps those of here; the fixture of schema 6
    // fails otherwise.
    sealed_before: seals::COLUMNS,
    sound_keys,
    act: |_, _, _| Ok(()),
};

fn sound_keys(read: &Read, seal_keys: &SealKeys) -> Result<Vec<KeyId>> {
    let mut sound = Vec::new();
    seals::keys::each(read, Some(seal_keys), seals::recorded::ALL, true, |found| {
        if found.fits() {
            sound.push(found.key.id);
        }
        Ok(())
    })?;
    Ok(sound)
}
