//! Authenticators: what users prove themselves with besides passwords.

pub mod challenge;
pub mod one_time;
pub mod public_key;

use crate::domain::key::sealing::Sealed;
use crate::domain::time::Timestamp;
use crate::domain::uid::Uid;

/// Public keys of one user.
pub const PUBLIC_KEYS_MAX: usize = 10;

/// One of them, that is not deleted.
#[derive(Clone, Debug)]
pub struct Authenticator {
    /// From the series of the numbers of keys and users.
    pub number: i64,
    pub user: Uid,
    pub description: String,
    /// Words of the way in that it was made for, in the order given.
    pub scopes: Vec<String>,
    /// Sessions that begin with it only read.
    pub read_only: bool,
    pub enabled: bool,
    pub created_at: Timestamp,
    pub material: Material,
}

/// What it works with.
#[derive(Clone, Debug)]
pub enum Material {
    /// A second factor: as long as the user has one that is enabled, his password alone signs nobody in.
    OneTimeCode {
        secret: Sealed,
        /// The latest step whose code was used.
        used_step: i64,
    },
    /// Instead of a password: an RSA key, in the form that `public_key` gives it.
    PublicKey(Vec<u8>),
}

impl Material {
    /// Whether it stands in for a password, rather than beside it.
    pub fn signs_in_alone(&self) -> bool {
        matches!(self, Material::PublicKey(_))
    }

    /// The word that the store and the audit log use.
    pub fn kind(&self) -> &'static str {
        match self {
            Material::OneTimeCode { .. } => "one_time_code",
            Material::PublicKey(_) => "public_key",
        }
    }
}

/// What a sealed secret of one-time codes is bound to, so that a row copied to another user opens nothing.
pub fn purpose(number: i64, user: Uid) -> String {
    format!("latchkey: one-time codes of authenticator {number} of {user}")
}
