//! A secret of one-time codes that its user has not confirmed yet. The server does not keep it: the client gets it sealed
//! under the sealing key, and sends it back together with a code.

use super::one_time::CodeSecret;
use crate::domain::keys::sealing::{Sealed, SealingKeys};
use crate::domain::time::Timestamp;
use crate::domain::uid::Uid;
use crate::error::Result;
use base64ct::{Base64UrlUnpadded, Encoding};

/// How long a user may take to scan the secret and to enter a code.
pub const PENDING_S: u64 = 30 * 60;
/// The greatest number of characters of a sealed secret that is read.
const CHARS_MAX: usize = 400;

/// Seals a secret for a user, until `ends_at`.
pub fn seal(
    keys: &SealingKeys,
    secret: &CodeSecret,
    user: Uid,
    generation: i64,
    ends_at: Timestamp,
) -> Result<String> {
    let purpose = purpose(user, generation, ends_at);
    let sealed = keys.seal_bytes(&purpose, secret.expose_bytes())?;
    let parts = [
        &ends_at.0.to_be_bytes()[..],
        &sealed.version.to_be_bytes()[..],
        &sealed.bytes,
    ];
    Ok(Base64UrlUnpadded::encode_string(&parts.concat()))
}

/// A secret that its user may confirm.
pub struct Pending {
    pub secret: CodeSecret,
    /// When the secret was generated.
    pub begun_at: Timestamp,
}

/// Opens what [`seal`] has sealed for the same user, if it is not over and the password is still the same.
pub fn open(
    keys: &SealingKeys,
    text: &str,
    user: Uid,
    generation: i64,
    now: Timestamp,
) -> Option<Pending> {
    if text.len() > CHARS_MAX {
        return None;
    }
    let bytes = Base64UrlUnpadded::decode_vec(text).ok()?;
    let (ends_at, rest) = bytes.split_first_chunk()?;
    let (version, sealed) = rest.split_first_chunk()?;
    let ends_at = Timestamp(i64::from_be_bytes(*ends_at));
    // One that ends later than a new one would was made while the clock was wrong.
    if ends_at <= now || ends_at > now.plus_s(PENDING_S) {
        return None;
    }
    let sealed = Sealed {
        version: u32::from_be_bytes(*version),
        bytes: sealed.to_vec(),
    };
    let secret = keys.open_bytes(&purpose(user, generation, ends_at), &sealed)?;
    Some(Pending {
        secret: CodeSecret::of_bytes(secret),
        begun_at: Timestamp(ends_at.0 - PENDING_S as i64 * 1000),
    })
}

fn purpose(user: Uid, generation: i64, ends_at: Timestamp) -> String {
    format!(
        "latchkey: one-time codes to be confirmed by {user} {generation} until {}",
        ends_at.0
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pending_secret_is_for_one_user_one_password_and_a_while() {
        let (keys, _) = SealingKeys::generate().unwrap();
        let (other, _) = SealingKeys::generate().unwrap();
        let secret = CodeSecret::generate().unwrap();
        let end = Timestamp(0).plus_s(PENDING_S);
        let text = seal(&keys, &secret, Uid(7), 3, end).unwrap();
        let open = |user, generation, now| {
            let opened = open(&keys, &text, Uid(user), generation, Timestamp(now));
            opened.map(|pending| {
                assert_eq!(pending.begun_at, Timestamp(0));
                pending.secret.expose()
            })
        };
        assert_eq!(open(7, 3, 0), Some(secret.expose()));
        assert_eq!(open(7, 3, end.0 - 1), Some(secret.expose()));
        assert_eq!(open(7, 3, end.0), None);
        assert_eq!(open(7, 3, -1), None);
        assert_eq!(open(8, 3, 0), None);
        assert_eq!(open(7, 4, 0), None);
        assert!(super::open(&other, &text, Uid(7), 3, Timestamp(0)).is_none());
        for bad in ["", "AAAA", "%", &text[1..], &"A".repeat(500)] {
            assert!(
                super::open(&keys, bad, Uid(7), 3, Timestamp(0)).is_none(),
                "{bad}"
            );
        }
    }
}
