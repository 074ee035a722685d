//! Authenticators: one-time codes, which users enter in addition to their passwords. If a user has an enabled
//! authenticator, the password alone is not enough to sign in.

pub mod challenge;
pub mod one_time;
pub mod pending;
pub mod qr;
pub mod recovery_codes;

use crate::domain::keys::sealing::Sealed;
use crate::domain::time::Timestamp;
use crate::domain::uid::Uid;

/// The name of the only kind of authenticator in the API and the audit log.
pub const KIND: &str = "one_time_code";

/// An authenticator that is not deleted.
#[derive(Clone, Debug)]
pub struct Authenticator {
    /// Keys, users and authenticators share one series of numbers.
    pub number: i64,
    pub user: Uid,
    pub description: String,
    /// Labels of the API that created it, in the order in which the client sent them.
    pub scopes: Vec<String>,
    pub enabled: bool,
    pub created_at: Timestamp,
    /// The secret from which the codes are computed.
    pub secret: Sealed,
    /// The latest step whose code was used.
    pub used_step: i64,
}

/// The purpose to which a sealed secret of one-time codes is bound, so that a row copied to another user opens nothing.
pub fn purpose(number: i64, user: Uid) -> String {
    format!("latchkey: one-time codes of authenticator {number} of {user}")
}
