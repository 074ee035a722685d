//! Sessions: what a user who has signed in presents instead of a password.

use crate::domain::key::KeyId;
use crate::domain::key::live::StoredSecret;
use crate::domain::time::Timestamp;
use crate::domain::uid::Uid;

/// How long an access token lives.
pub const ACCESS_TOKEN_S: u64 = 3600;

/// One access token, as stored. Its secret has the layout of a key's, under a prefix of its own.
#[derive(Clone, Debug)]
pub struct Session {
    /// From the same space as key ids, so that one parser reads both.
    pub id: KeyId,
    pub secret: StoredSecret,
    pub user: Uid,
    /// The user's generation at sign-in; a change of password ends the session.
    pub generation: i64,
    pub read_only: bool,
    pub issued_at: Timestamp,
    pub expires_at: Timestamp,
}
