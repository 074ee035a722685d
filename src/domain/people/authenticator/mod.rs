//! Authenticators: one-time codes, which users enter in addition to their passwords. If a user has an enabled
//! authenticator, the password alone is not enough to sign in.

pub mod challenge;
pub mod one_time;

use crate::domain::key::sealing::Sealed;
use crate::domain::time::Timestamp;
use crate::domain::uid::Uid;

/// What the API and the audit log call the only kind there is.
pub const KIND: &str = "one_time_code";

/// One of them, that is not deleted.
#[derive(Clone, Debug)]
pub struct Authenticator {
    /// From the series of the numbers of keys and users.
    pub number: i64,
    pub user: Uid,
    pub description: String,
    /// Labels of the API that created it, in the order in which the client sent them.
    pub scopes: Vec<String>,
    pub enabled: bool,
    pub created_at: Timestamp,
    /// What the codes follow from.
    pub secret: Sealed,
    /// The latest step whose code was used.
    pub used_step: i64,
}

/// What a sealed secret of one-time codes is bound to, so that a row copied to another user opens nothing.
pub fn purpose(number: i64, user: Uid) -> String {
    format!("latchkey: one-time codes of authenticator {number} of {user}")
}
