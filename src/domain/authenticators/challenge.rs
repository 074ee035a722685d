//! Challenges: the proof of the first step of a sign-in, which the client keeps until the second step.
//!
//! A challenge is sealed with the seal key, so that no client can forge one, and every process that has this key can read
//! it: the server may restart between the two steps. The pepper would not do, because sites have it. The store ensures
//! that a challenge is used once (`store::challenges`).

use crate::domain::keys::seal_key::SealKeys;
use crate::domain::random;
use crate::domain::time::Timestamp;
use crate::domain::uid::Uid;
use crate::error::Result;
use base64ct::{Base64UrlUnpadded, Encoding};

/// How long a user may take to enter a one-time code.
pub const CODE_S: u64 = 5 * 60;

/// The number of bytes before the seal.
const BYTES: usize = 57;
const SEAL_BYTES: usize = 32;
/// What the seal is for, so that no other seal is taken for it.
const PURPOSE: &str = "challenge";

/// The state of a sign-in between two requests: the password was right, and a one-time code is needed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Challenge {
    pub user: Uid,
    /// The user's generation at the first step: a change of the password ends the challenge.
    pub generation: i64,
    /// The authenticator whose code the second step needs.
    pub number: i64,
    pub read_only: bool,
    pub ends_at: Timestamp,
}

/// A challenge that this server has sealed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Opened {
    pub challenge: Challenge,
    /// No two challenges have the same one. By it a used challenge is known.
    pub seal: [u8; SEAL_BYTES],
}

impl Challenge {
    /// Returns 119 letters, digits, `-` and `_`; no two results are equal.
    pub fn seal(&self, seal_keys: &SealKeys) -> Result<String> {
        let mut nonce = [0; 16];
        random::fill(&mut nonce)?;
        let mut bytes = Vec::with_capacity(BYTES + SEAL_BYTES);
        bytes.push(self.read_only.into());
        bytes.extend(self.user.0.to_be_bytes());
        bytes.extend(self.generation.to_be_bytes());
        bytes.extend(self.number.to_be_bytes());
        bytes.extend(self.ends_at.0.to_be_bytes());
        bytes.extend(nonce);
        let seal = seal_keys.seal_bytes(PURPOSE, &bytes);
        bytes.extend(seal);
        Ok(Base64UrlUnpadded::encode_string(&bytes))
    }
}

impl Opened {
    /// Reads a challenge that was sealed with the seal key and that has not expired. Whether it was used, the store knows.
    pub fn parse(seal_keys: &SealKeys, text: &str, now: Timestamp) -> Option<Opened> {
        let mut bytes = Base64UrlUnpadded::decode_vec(text).ok()?;
        if bytes.len() != BYTES + SEAL_BYTES {
            return None;
        }
        let seal: [u8; SEAL_BYTES] = bytes.split_off(BYTES).try_into().ok()?;
        if !seal_keys.have_sealed(PURPOSE, &bytes, &seal) {
            return None;
        }
        let mut rest = bytes.as_slice();
        let [read_only] = *take::<1>(&mut rest)?;
        let challenge = Challenge {
            user: Uid(u128::from_be_bytes(*take(&mut rest)?)),
            generation: i64::from_be_bytes(*take(&mut rest)?),
            number: i64::from_be_bytes(*take(&mut rest)?),
            read_only: read_only != 0,
            ends_at: Timestamp(i64::from_be_bytes(*take(&mut rest)?)),
        };
        // A challenge that ends later than a new one would was made while the clock was wrong.
        let in_time = now < challenge.ends_at && challenge.ends_at <= now.plus_s(CODE_S);
        in_time.then_some(Opened { challenge, seal })
    }
}

fn take<'a, const N: usize>(rest: &mut &'a [u8]) -> Option<&'a [u8; N]> {
    let (first, behind) = rest.split_first_chunk()?;
    *rest = behind;
    Some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn challenge() -> Challenge {
        Challenge {
            user: Uid(7),
            generation: 3,
            number: 12,
            read_only: true,
            ends_at: Timestamp(1_000),
        }
    }

    #[test]
    fn what_was_sealed_is_read_in_time_by_every_process_with_the_seal_key() {
        let (seal_keys, file) = SealKeys::generate().unwrap();
        let text = challenge().seal(&seal_keys).unwrap();
        assert_eq!(text.len(), 119);
        let other = challenge().seal(&seal_keys).unwrap();
        assert_ne!(text, other);
        let open =
            |seal_keys: &SealKeys, text: &str, at| Opened::parse(seal_keys, text, Timestamp(at));
        let opened = open(&seal_keys, &text, 999).unwrap();
        assert_eq!(opened.challenge, challenge());
        assert_ne!(opened.seal, open(&seal_keys, &other, 999).unwrap().seal);
        assert_eq!(open(&seal_keys, &text, 1_000), None);
        // After a restart, on another node, and after a rotation of the key.
        let same = SealKeys::parse(&file).unwrap();
        assert_eq!(open(&same, &text, 999), Some(opened.clone()));
        let rotated = SealKeys::parse(&format!("{file}2 {}\n", "ab".repeat(32))).unwrap();
        assert_eq!(open(&rotated, &text, 999), Some(opened));
        let (elsewhere, _) = SealKeys::generate().unwrap();
        assert_eq!(open(&elsewhere, &text, 0), None);
    }

    #[test]
    fn a_changed_challenge_is_none() {
        let (seal_keys, _) = SealKeys::generate().unwrap();
        let text = challenge().seal(&seal_keys).unwrap();
        assert!(Opened::parse(&seal_keys, &text, Timestamp(999)).is_some());
        for position in 0..text.len() {
            let other = if &text[position..=position] == "A" {
                "B"
            } else {
                "A"
            };
            let mut changed = text.clone();
            changed.replace_range(position..=position, other);
            let found = Opened::parse(&seal_keys, &changed, Timestamp(999));
            assert_eq!(found, None, "{position}");
            let cut = Opened::parse(&seal_keys, &text[..position], Timestamp(999));
            assert_eq!(cut, None, "{position}");
        }
    }
}
