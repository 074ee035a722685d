//! Consistency check of the index against the rows of keys.

use super::check::NAMED_MAX;
use crate::domain::keys::KeyId;
use crate::domain::keys::live::Live;
use crate::domain::keys::pepper::Peppers;
use crate::error::Result;
use crate::index::Index;
use crate::store::Read;
use crate::store::keys::SecretRow;
use crate::store::seals::keys::{self, Found};
use crate::store::seals::recorded::ALL;
use std::collections::HashSet;

/// Keys whose index entry and row differ. Keys that only change during the check are not named.
pub fn against_the_index(
    read: impl Fn(&mut dyn FnMut(&Read) -> Result<()>) -> Result<()>,
    index: &Index,
    peppers: &Peppers,
) -> Result<Vec<KeyId>> {
    let mut suspects = Vec::new();
    let mut there = HashSet::new();
    read(&mut |read| {
        keys::each(read, Some(peppers), ALL, false, |found| {
            if let Some(secret) = newest(&found) {
                let id = found.key.id;
                there.insert(id);
                if index.with_key(id, |live| agree(live, &found, secret)) != Some(true) {
                    suspects.push(id);
                }
            }
            Ok(())
        })
    })?;
    index.each_key(|_, live| {
        if !there.contains(&live.id) {
            suspects.push(live.id);
        }
    });
    suspects.truncate(NAMED_MAX * 10);
    // Suspects are checked again one by one, because a commit may have come between the two reads.
    let mut wrong = Vec::new();
    for id in suspects {
        read(&mut |read| {
            let found = keys::find(read, peppers, id)?;
            let found = found.filter(|found| found.key.deleted_at.is_none());
            let agrees = match found.as_ref().and_then(|it| Some((it, newest(it)?))) {
                Some((found, secret)) => {
                    index.with_key(id, |live| agree(live, found, secret)) == Some(true)
                }
                None => index.with_key(id, |_| ()).is_none(),
            };
            if !agrees {
                wrong.push(id);
            }
            Ok(())
        })?;
    }
    wrong.truncate(NAMED_MAX);
    Ok(wrong)
}

/// The secret that has no grace period.
fn newest(found: &Found) -> Option<&SecretRow> {
    found.secrets.iter().find(|row| row.expires_at.is_none())
}

fn agree(live: &Live, found: &Found, secret: &SecretRow) -> bool {
    let key = &found.key;
    let rare = live.rare.as_ref();
    let kin = &live.kin;
    let scopes = kin.scopes.iter().map(|scope| &**scope);
    live.secret == secret.secret
        // In the index, a key that does not match its seal is disabled, regardless of its row.
        && live.enabled == (key.enabled && found.fits)
        && live.ends_at() == key.expires_at
        && live.not_before == key.not_before.unwrap_or(live.not_before)
        && (kin.workspace, kin.owner, kin.read_only) == (key.workspace, key.owner, key.read_only)
        && *kin.policy == *key.policy
        && kin.catalog.as_deref() == key.catalog.as_deref()
        && scopes.eq(key.scopes.iter().map(String::as_str))
        && rare.and_then(|rare| rare.addresses.as_ref()) == key.allowed_ips.as_ref()
        && rare.and_then(|rare| rare.rate_limit) == key.rate_limit
}
