//! Challenges: the proof of the first step of a sign-in, which the client keeps until the second step.
//!
//! A challenge is sealed under a key that is generated when the server starts: no client can forge one, and none is
//! valid after the process ends.

use crate::domain::locks::lock;
use crate::domain::random;
use crate::domain::time::Timestamp;
use crate::domain::uid::Uid;
use crate::error::Result;
use base64ct::{Base64UrlUnpadded, Encoding};
use ring::hmac;
use std::collections::HashMap;
use std::sync::Mutex;

/// How long a user may take to enter a one-time code.
pub const CODE_S: u64 = 5 * 60;

/// The number of bytes before the seal.
const BYTES: usize = 57;
const SEAL_BYTES: usize = 32;

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

/// Seals challenges, and remembers which were used.
pub struct Challenges {
    key: hmac::Key,
    /// The seals of used challenges that have not expired.
    spent: Mutex<HashMap<[u8; SEAL_BYTES], Timestamp>>,
}

impl Challenges {
    pub fn new() -> Result<Challenges> {
        let mut bytes = [0; 32];
        random::fill(&mut bytes)?;
        Ok(Challenges {
            key: hmac::Key::new(hmac::HMAC_SHA256, &bytes),
            spent: Mutex::default(),
        })
    }

    /// Returns 119 letters, digits, `-` and `_`; no two results are equal.
    pub fn seal(&self, challenge: &Challenge) -> Result<String> {
        let mut nonce = [0; 16];
        random::fill(&mut nonce)?;
        let mut bytes = Vec::with_capacity(BYTES + SEAL_BYTES);
        bytes.push(challenge.read_only.into());
        bytes.extend(challenge.user.0.to_be_bytes());
        bytes.extend(challenge.generation.to_be_bytes());
        bytes.extend(challenge.number.to_be_bytes());
        bytes.extend(challenge.ends_at.0.to_be_bytes());
        bytes.extend(nonce);
        let seal = hmac::sign(&self.key, &bytes);
        bytes.extend(seal.as_ref());
        Ok(Base64UrlUnpadded::encode_string(&bytes))
    }

    /// Reads a challenge that this process has sealed and that is neither expired nor used.
    pub fn open(&self, text: &str, now: Timestamp) -> Option<Challenge> {
        let (bytes, seal) = self.proven(text)?;
        let mut rest = bytes.as_slice();
        let [read_only] = *take::<1>(&mut rest)?;
        let challenge = Challenge {
            user: Uid(u128::from_be_bytes(*take(&mut rest)?)),
            generation: i64::from_be_bytes(*take(&mut rest)?),
            number: i64::from_be_bytes(*take(&mut rest)?),
            read_only: read_only != 0,
            ends_at: Timestamp(i64::from_be_bytes(*take(&mut rest)?)),
        };
        let spent = lock(&self.spent).contains_key(&seal);
        // A challenge that ends later than a new one would was made while the clock was wrong.
        let in_time = now < challenge.ends_at && challenge.ends_at <= now.plus_s(CODE_S);
        (in_time && !spent).then_some(challenge)
    }

    /// Marks a challenge as used; `false` if it was used already.
    pub fn spend(&self, text: &str, challenge: &Challenge, now: Timestamp) -> bool {
        let Some((_, seal)) = self.proven(text) else {
            return false;
        };
        let mut spent = lock(&self.spent);
        spent.retain(|_, ends_at| now < *ends_at);
        spent.insert(seal, challenge.ends_at).is_none()
    }

    fn proven(&self, text: &str) -> Option<(Vec<u8>, [u8; SEAL_BYTES])> {
        let mut bytes = Base64UrlUnpadded::decode_vec(text).ok()?;
        if bytes.len() != BYTES + SEAL_BYTES {
            return None;
        }
        let seal = bytes.split_off(BYTES);
        hmac::verify(&self.key, &bytes, &seal).ok()?;
        Some((bytes, seal.try_into().ok()?))
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
    fn what_was_sealed_is_read_once_and_in_time_by_the_same_process() {
        let challenges = Challenges::new().unwrap();
        let text = challenges.seal(&challenge()).unwrap();
        assert_eq!(text.len(), 119);
        assert_ne!(text, challenges.seal(&challenge()).unwrap());
        let open = |at| challenges.open(&text, Timestamp(at));
        assert_eq!(open(999), Some(challenge()));
        assert_eq!(open(1_000), None);
        let elsewhere = Challenges::new().unwrap();
        assert_eq!(elsewhere.open(&text, Timestamp(0)), None);

        assert!(challenges.spend(&text, &challenge(), Timestamp(500)));
        assert!(!challenges.spend(&text, &challenge(), Timestamp(500)));
        assert_eq!(open(500), None);
    }

    #[test]
    fn a_changed_challenge_is_none() {
        let challenges = Challenges::new().unwrap();
        let text = challenges.seal(&challenge()).unwrap();
        for position in 0..text.len() {
            let other = if &text[position..=position] == "A" {
                "B"
            } else {
                "A"
            };
            let mut changed = text.clone();
            changed.replace_range(position..=position, other);
            let found = challenges.open(&changed, Timestamp(0));
            assert_eq!(found, None, "{position}");
            let cut = challenges.open(&text[..position], Timestamp(0));
            assert_eq!(cut, None, "{position}");
        }
    }
}
