//! Making everything again under the newest version of the seal key and of the sealing key, as far as that is possible
//! without the secrets themselves, in transactions of bounded size.

use crate::domain::audit::{Kind, Target};
use crate::domain::authenticators::purpose;
use crate::domain::keys::keyfile::{KeyFiles, KeyKind};
use crate::domain::packs::site::{key_purpose, signing_key_purpose};
use crate::error::Result;
use crate::ops::App;
use crate::store::key_versions::{self, CopyOfCodes, CopyOfSecret};
use crate::store::packs::Holder;
use crate::store::seals::again::{self, Place};
use crate::store::seals::{self, Standing};
use crate::store::{Durability, Write, audit, key_files, packs};

/// The number of copies that are made again in one transaction.
const COPIES_MAX: u32 = 200;

/// Finishes what an interrupted rotation has left, at the start of a server.
pub fn settle(app: &App) {
    for kind in [KeyKind::SealKey, KeyKind::SealingKey] {
        let _turn = crate::domain::locks::lock(&app.key_files_turn.0);
        match settle_kind(app, kind) {
            Ok(false) => {}
            Ok(true) => log::info!(
                "secrets: everything is under the newest version of the {} now",
                kind.words()
            ),
            Err(err) => log::warn!(
                "secrets: not everything is under the newest version of the {}: {err}; finish it with: latchkey secrets rotate {}",
                kind.words(),
                kind.as_str()
            ),
        }
    }
}

/// Makes everything again that is under an older version; `false` if that was done before. The caller has the turn.
pub(super) fn settle_kind(app: &App, kind: KeyKind) -> Result<bool> {
    let versions = app.read(|read| key_files::list(read, kind))?;
    let Some(newest) = versions.last().filter(|newest| !newest.is_settled) else {
        return Ok(false);
    };
    match kind {
        KeyKind::Pepper => {}
        KeyKind::SealKey => seal_again(app)?,
        KeyKind::SealingKey => {
            copy_again(app)?;
            copy_codes_again(app)?;
            copy_keys_of_packs_again(app)?;
        }
    }
    let number = newest.number;
    app.store.write(Durability::Full, move |tx| {
        key_files::settle(tx, kind, number)
    })?;
    Ok(true)
}

fn seal_again(app: &App) -> Result<()> {
    let mut place = Some(Place::Start);
    while let Some(here) = place {
        let seal_keys = app.seal_keys.clone();
        place = app.store.write(Durability::Relaxed, move |tx| {
            again::seal_some(tx, &seal_keys, &here)
        })?;
    }
    Ok(())
}

fn copy_again(app: &App) -> Result<()> {
    let mut after = Some(String::new());
    while let Some(from) = after {
        let files = app.key_files();
        after = app.store.write(Durability::Relaxed, move |tx| {
            let newest = files.sealing.newest();
            let copies = key_versions::list_older_copies(tx, newest, &from, COPIES_MAX)?;
            for copy in &copies {
                copy_one_again(tx, &files, copy)?;
            }
            Ok(copies.last().map(|copy| copy.key.to_string()))
        })?;
    }
    Ok(())
}

/// A copy that cannot be opened, or whose key does not fit its seal, stays as it is.
fn copy_one_again(tx: &Write<'_>, files: &KeyFiles, copy: &CopyOfSecret) -> Result<()> {
    let target = Target::new(Kind::Key, copy.key);
    if seals::look_at_key(tx, &files.seal, &target)? != Standing::Sound {
        return Ok(());
    }
    let Some(sealed) = files.sealing.seal_again(copy.key, &copy.sealed)? else {
        log::warn!(
            "secrets: the copy of key {}'s secret cannot be opened and stays as it is",
            copy.key
        );
        return Ok(());
    };
    key_versions::update_copy(
        tx,
        &CopyOfSecret {
            sealed,
            ..copy.clone()
        },
    )?;
    let seq = audit::newest_number(tx)?;
    seals::keys::put(tx, &files.seal, copy.key, seq)
}

fn copy_codes_again(app: &App) -> Result<()> {
    let mut after = Some(0);
    while let Some(from) = after {
        let files = app.key_files();
        after = app.store.write(Durability::Relaxed, move |tx| {
            let newest = files.sealing.newest();
            let all = key_versions::list_codes(tx, newest, from, COPIES_MAX)?;
            for codes in &all {
                copy_one_codes_again(tx, &files, codes)?;
            }
            Ok(all.last().map(|codes| codes.number))
        })?;
    }
    Ok(())
}

/// Encrypts again the keys of sites and the keys that sign packs.
fn copy_keys_of_packs_again(app: &App) -> Result<()> {
    let files = app.key_files();
    app.store.write(Durability::Relaxed, move |tx| {
        for (holder, sealed) in packs::list_older_copies(tx, files.sealing.newest())? {
            let purpose = match &holder {
                Holder::Site(name) => key_purpose(name),
                Holder::SigningKey(version) => signing_key_purpose(*version),
            };
            let Some(bytes) = files.sealing.open_bytes(&purpose, &sealed) else {
                log::warn!("secrets: {holder:?} cannot be opened and stays as it is");
                continue;
            };
            let sealed = files.sealing.seal_bytes(&purpose, &bytes)?;
            packs::update_copy(tx, &holder, &sealed)?;
        }
        Ok(())
    })
}

fn copy_one_codes_again(tx: &Write<'_>, files: &KeyFiles, codes: &CopyOfCodes) -> Result<()> {
    if !seals::is_sound_user(tx, &files.seal, codes.user)? {
        return Ok(());
    }
    let purpose = purpose(codes.number, codes.user);
    let Some(bytes) = files.sealing.open_bytes(&purpose, &codes.sealed) else {
        log::warn!(
            "secrets: the one-time codes {} cannot be opened and stay as they are",
            codes.number
        );
        return Ok(());
    };
    let sealed = files.sealing.seal_bytes(&purpose, &bytes)?;
    key_versions::update_codes(tx, &CopyOfCodes { sealed, ..*codes })?;
    seals::put(tx, &files.seal, &Target::new(Kind::User, codes.user))
}
