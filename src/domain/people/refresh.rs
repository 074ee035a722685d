//! Refresh tokens: what an access token is renewed with, without the password.

use crate::domain::key::KeyId;
use crate::domain::key::live::StoredSecret;
use crate::domain::time::Timestamp;
use crate::domain::uid::Uid;

/// How long a refresh token waits to be exchanged: 14 days. Each exchange begins anew.
pub const REFRESH_TOKEN_S: u64 = 14 * 86_400;
/// How long a sign-in can be renewed in all: 90 days. Then the user signs in again (OWASP ASVS 7.3.2).
pub const FAMILY_S: u64 = 90 * 86_400;
/// Exchanges of one family within an hour, so that what has to be remembered of it stays small.
pub const REFRESHES_AN_HOUR_MAX: u64 = 60;

/// One refresh token, as stored. Its secret has the layout of a key's, under a prefix of its own.
#[derive(Clone, Debug)]
pub struct RefreshToken {
    pub id: KeyId,
    pub secret: StoredSecret,
    pub user: Uid,
    /// The user's generation at sign-in; a change of password ends the token.
    pub generation: i64,
    /// What comes of it only reads.
    pub read_only: bool,
    pub issued_at: Timestamp,
    pub expires_at: Timestamp,
    /// The access token of the sign-in that all this began with.
    pub family: KeyId,
    /// When that sign-in was. Nothing that came of it outlives [`FAMILY_S`].
    pub family_began_at: Timestamp,
    /// The access token that was issued with it.
    pub session: KeyId,
    /// When it was exchanged. A second time ends its family.
    pub used_at: Option<Timestamp>,
}
