//! Repeated requests: with an Idempotency-Key, a request that is sent again because its answer was lost has only one
//! effect.

use crate::authz::caller::{Caller, Identity};
use crate::domain::audit::digest_of;
use crate::domain::hex::hex;
use crate::domain::keys::keyfile::KeyFiles;
use crate::domain::keys::seal_key::SealKeys;
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::refusals::{Refusal, keys};
use crate::store::{Read, Write, idempotency};

/// How long an Idempotency-Key is remembered: 24 hours.
pub const REMEMBERED_MS: i64 = 86_400_000;

/// An Idempotency-Key, bound to the request that contained it.
#[derive(Clone, Debug)]
pub struct Retry {
    name: String,
    request: [u8; 32],
    remembered_ms: i64,
}

impl Retry {
    /// Binds the client's name for the request to a route and a body.
    pub fn new(name: &str, route: &str, body: &[u8]) -> Retry {
        Retry {
            name: name.to_owned(),
            request: digest_of(&[route.as_bytes(), body]),
            remembered_ms: REMEMBERED_MS,
        }
    }

    /// Limits the time for which the name is remembered.
    pub fn for_ms(mut self, span_ms: i64) -> Retry {
        self.remembered_ms = span_ms.min(REMEMBERED_MS);
        self
    }

    /// The time for which the name is remembered, in words: whole hours, or minutes.
    fn remembered(&self) -> Refusal {
        match self.remembered_ms / 60_000 {
            minutes if minutes >= 60 && minutes % 60 == 0 => keys::span_hours(minutes / 60),
            minutes => keys::span_minutes(minutes),
        }
    }

    /// The text that is sealed. A body can contain a password, so a digest of it without a key must not be on the disk.
    fn text(&self) -> String {
        format!("retry {}", hex(&self.request))
    }

    /// Accepts a seal under any version of the seal key, because a newer version may have been added since, and one
    /// that schema 4 made, because the answer may have been lost when the server was upgraded.
    fn is_of(&self, stored: &[u8; 32], files: &KeyFiles) -> bool {
        let text = self.text();
        files.seal.have_sealed_text(&text, stored)
            || SealKeys::of_peppers(&files.peppers).have_sealed_text(&text, stored)
    }
}

/// The owner of the names. It contains the uid of a user, because a later user with the same name must not find what
/// the former one has created.
fn whose(caller: &Caller) -> String {
    match (caller.identity, caller.user) {
        (Identity::Password { .. } | Identity::Session(_), Some(user)) => format!("user:{user}"),
        _ => caller.actor.clone(),
    }
}

/// The id of what the same caller's earlier request with this name has created, or a refusal if that was a different
/// request.
pub fn find(
    read: &Read,
    files: &KeyFiles,
    caller: &Caller,
    retry: Option<&Retry>,
    now: Timestamp,
) -> Result<Option<String>> {
    let Some(retry) = retry else {
        return Ok(None);
    };
    let since = Timestamp(now.0 - retry.remembered_ms);
    match idempotency::find(read, &whose(caller), &retry.name, since)? {
        None => Ok(None),
        Some((request, target)) if retry.is_of(&request, files) => Ok(Some(target)),
        Some(_) => Err(Error::invalid(
            "Idempotency-Key",
            keys::retried_otherwise(retry.remembered()),
        )),
    }
}

/// Remembers what the request has created, in the same transaction.
pub fn remember(
    tx: &Write<'_>,
    files: &KeyFiles,
    caller: &Caller,
    retry: Option<&Retry>,
    made: impl ToString,
    now: Timestamp,
) -> Result<()> {
    let Some(retry) = retry else {
        return Ok(());
    };
    let request = files.seal.seal(&retry.text());
    idempotency::insert(
        tx,
        &whose(caller),
        &retry.name,
        &request,
        &made.to_string(),
        now,
    )
}
