//! Repeated requests: with an Idempotency-Key, a request that is sent again because its answer was lost has only one
//! effect.

use crate::authz::caller::{Caller, Identity};
use crate::domain::audit::digest_of;
use crate::domain::keys::pepper::{Pepper, Peppers};
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::refusals;
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

    /// The stored digest of the request. A body can contain a password, so a digest without a key must not be on the
    /// disk.
    fn sealed(&self, pepper: &Pepper) -> [u8; 32] {
        let hex: String = self
            .request
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        pepper.seal(&format!("retry {hex}")).0
    }

    /// Accepts a digest under any version of the pepper, because a newer version may have been added since.
    fn is_of(&self, stored: &[u8; 32], peppers: &Peppers) -> bool {
        let mut versions = peppers.all().iter();
        versions.any(|pepper| self.sealed(pepper) == *stored)
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
    peppers: &Peppers,
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
        Some((request, target)) if retry.is_of(&request, peppers) => Ok(Some(target)),
        Some(_) => Err(Error::invalid(
            "Idempotency-Key",
            refusals::keys::retried_otherwise(retry.remembered_ms / 60_000),
        )),
    }
}

/// Remembers what the request has created, in the same transaction.
pub fn remember(
    tx: &Write<'_>,
    peppers: &Peppers,
    caller: &Caller,
    retry: Option<&Retry>,
    made: impl ToString,
    now: Timestamp,
) -> Result<()> {
    let Some(retry) = retry else {
        return Ok(());
    };
    let request = retry.sealed(peppers.current());
    idempotency::insert(
        tx,
        &whose(caller),
        &retry.name,
        &request,
        &made.to_string(),
        now,
    )
}
