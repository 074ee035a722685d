//! Requests that are sent again because their answer was lost: an Idempotency-Key makes one thing of them.

use super::access::Caller;
use crate::domain::audit::digest_of;
use crate::domain::key::pepper::Peppers;
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::store::{Read, Write, local};

/// How long an Idempotency-Key is remembered: 24 hours.
pub const REMEMBERED_MS: i64 = 86_400_000;

/// An Idempotency-Key, bound to the request that came with it.
#[derive(Clone, Debug)]
pub struct Retry {
    name: String,
    request: [u8; 32],
}

impl Retry {
    /// Binds a client's name to a route and a body.
    pub fn new(name: &str, route: &str, body: &[u8]) -> Retry {
        Retry {
            name: name.to_owned(),
            request: digest_of(&[route.as_bytes(), body]),
        }
    }

    /// What is stored of the request. A body can hold a password, so a plain digest of it must not be on the disk.
    fn sealed(&self, peppers: &Peppers) -> [u8; 32] {
        let hex: String = self
            .request
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        peppers.current().digest(&hex).0
    }
}

/// The id of what the same caller's earlier request with this name made, or a refusal if that was another request.
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
    let since = Timestamp(now.0 - REMEMBERED_MS);
    match local::find_idempotent(read, &caller.actor, &retry.name, since)? {
        None => Ok(None),
        Some((request, target)) if request == retry.sealed(peppers) => Ok(Some(target)),
        Some(_) => Err(Error::invalid(
            "Idempotency-Key",
            "was used for another request within the last 24 hours; use a new one",
        )),
    }
}

/// Remembers what the request made, in the transaction that made it.
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
    let request = retry.sealed(peppers);
    local::insert_idempotent(
        tx,
        &caller.actor,
        &retry.name,
        &request,
        &made.to_string(),
        now,
    )
}
