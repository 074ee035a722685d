//! Refresh tokens, with which an access token is renewed without the password.

use crate::domain::keys::KeyId;
use crate::domain::keys::live::StoredSecret;
use crate::domain::time::Timestamp;
use crate::domain::uid::Uid;

/// The lifetime of a refresh token: 14 days. Each exchange issues a new one with the full lifetime.
pub const REFRESH_TOKEN_S: u64 = 14 * 86_400;
/// How long a sign-in can be renewed in total: 90 days. After that the user must sign in again (OWASP ASVS 7.3.2).
pub const FAMILY_S: u64 = 90 * 86_400;
/// The number of exchanges of one family within an hour. It limits what must be remembered of a family.
pub const REFRESHES_AN_HOUR_MAX: u64 = 60;

/// One refresh token, as stored. Its secret has the layout of a key's secret, with a prefix of its own.
#[derive(Clone, Debug)]
pub struct RefreshToken {
    pub id: KeyId,
    pub secret: StoredSecret,
    pub user: Uid,
    /// The user's generation at sign-in; a change of password ends the token.
    pub generation: i64,
    /// Whether access tokens that it renews are read-only.
    pub read_only: bool,
    pub issued_at: Timestamp,
    pub expires_at: Timestamp,
    /// The id of the first access token of the sign-in.
    pub family: KeyId,
    /// The time of that sign-in. Nothing that is derived from it lives longer than [`FAMILY_S`].
    pub family_began_at: Timestamp,
    /// The access token that was issued together with this token.
    pub session: KeyId,
    /// When the token was exchanged. A second exchange ends its family.
    pub used_at: Option<Timestamp>,
}
