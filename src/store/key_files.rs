//! Fingerprints of the key files with which this database was created: peppers and sealing keys.

use super::{Read, Row, Write};
use crate::domain::keys::pepper::Peppers;
use crate::domain::keys::sealing::SealingKeys;
use crate::error::{Error, Result};

/// Records every version of the pepper that is in use.
pub fn insert_peppers(tx: &Write<'_>, peppers: &Peppers) -> Result<()> {
    for pepper in peppers.all() {
        tx.execute(
            "INSERT INTO peppers (version, fingerprint) VALUES ($1, $2) ON CONFLICT (version) DO NOTHING",
            &[&pepper.version, &pepper.fingerprint().0],
        )?;
    }
    Ok(())
}

/// Checks that the pepper file is the one with which this database was created; the error explains the difference.
pub fn check_peppers(read: &Read, peppers: &Peppers) -> Result<()> {
    let stored = read.query(
        "SELECT version, fingerprint FROM peppers",
        &[],
        fingerprint_from_row,
    )?;
    check_fingerprints("pepper", stored, |version| {
        peppers
            .version(version)
            .map(|pepper| pepper.fingerprint().0)
    })
}

/// Records every version of the sealing key that is in use.
pub fn insert_sealing_keys(tx: &Write<'_>, keys: &SealingKeys) -> Result<()> {
    for key in keys.all() {
        tx.execute(
            "INSERT INTO sealing_keys (version, fingerprint) VALUES ($1, $2) ON CONFLICT (version) DO NOTHING",
            &[&key.version, &key.fingerprint],
        )?;
    }
    Ok(())
}

/// Checks that the sealing key file is the one with which this database was created; the error explains the
/// difference.
pub fn check_sealing_keys(read: &Read, keys: &SealingKeys) -> Result<()> {
    let stored = read.query(
        "SELECT version, fingerprint FROM sealing_keys",
        &[],
        fingerprint_from_row,
    )?;
    check_fingerprints("sealing-key", stored, |version| {
        let known = keys.all().iter().find(|key| key.version == version);
        known.map(|key| key.fingerprint)
    })
}

fn check_fingerprints(
    file: &str,
    stored: Vec<(u32, [u8; 32])>,
    found: impl Fn(u32) -> Option<[u8; 32]>,
) -> Result<()> {
    for (version, fingerprint) in stored {
        match found(version) {
            None => {
                return Err(Error::internal(format!(
                    "the {file} file lacks version {version}, which this database was made with; put the right file back"
                )));
            }
            Some(other) if other != fingerprint => {
                return Err(Error::internal(format!(
                    "the {file} file is not the one this database was made with (version {version} differs); put the right file back"
                )));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

fn fingerprint_from_row(row: &Row<'_>) -> Result<(u32, [u8; 32])> {
    Ok((row.get("version")?, row.get("fingerprint")?))
}
