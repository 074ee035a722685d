//! Recovery codes, for a user who has lost the phone that makes the one-time codes. Ten are generated at a time, and each
//! is accepted once in the place of a one-time code.
//!
//! Only a digest of each is stored, under the seal key, which is outside the database: 50 bits can be guessed from a
//! plain digest, but not from this one.

use crate::domain::keys::seal_key::{Seal, SealKeys, same};
use crate::domain::random;
use crate::domain::uid::Uid;
use crate::error::Result;

/// How many codes a user gets at a time.
pub const CODES: usize = 10;
/// A user who has no more than this many left is reminded to get new ones.
pub const FEW: usize = 3;

/// The number of characters of a code, each of five random bits, without the hyphen.
const CHARS: usize = 10;
/// Digits and letters that people do not confuse (Crockford's Base32).
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// One recovery code.
///
/// It implements neither `Clone` nor `Display`, so that it is not copied by accident.
pub struct RecoveryCode(String);

/// A stored code: the digest, and the version of the seal key that made it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RecoveryDigest {
    pub digest: Seal,
    pub version: u32,
}

impl RecoveryCode {
    pub fn generate() -> Result<RecoveryCode> {
        let mut random = [0; CHARS];
        random::fill(&mut random)?;
        let letter = |byte: &u8| char::from(ALPHABET[usize::from(byte & 31)]);
        Ok(RecoveryCode(random.iter().map(letter).collect()))
    }

    /// Reads what a user typed; `None` if it cannot be a recovery code. Capital letters, blanks and hyphens do not
    /// matter, and letters that are not used count as the digits that they resemble. No one-time code is read as a
    /// recovery code.
    pub fn parse(text: &str) -> Option<RecoveryCode> {
        if text.len() > 4 * CHARS {
            return None;
        }
        let letter = |c: char| match c.to_ascii_lowercase() {
            'o' => '0',
            'i' | 'l' => '1',
            c => c,
        };
        let letters = text.chars().filter(|c| !matches!(c, ' ' | '-')).map(letter);
        let code: String = letters.collect();
        let fits = code.len() == CHARS && code.bytes().all(|b| ALPHABET.contains(&b));
        fits.then_some(RecoveryCode(code))
    }

    /// The form that users see: `4kq7m-x0d9t`.
    pub fn expose(&self) -> String {
        let (start, end) = self.0.split_at(CHARS / 2);
        format!("{start}-{end}")
    }

    /// The digest under the newest version of the seal key. It is bound to the user, so that a row that was copied to
    /// another user opens nothing.
    pub fn digest(&self, seal_keys: &SealKeys, user: Uid) -> RecoveryDigest {
        let (version, digest) = seal_keys.seal_numbered(&purpose(user), self.0.as_bytes());
        RecoveryDigest { digest, version }
    }

    /// Whether a stored digest is that of this code.
    pub fn is(&self, stored: &RecoveryDigest, seal_keys: &SealKeys, user: Uid) -> bool {
        let version = stored.version;
        let digest = seal_keys.seal_bytes_with(version, &purpose(user), self.0.as_bytes());
        digest.is_some_and(|digest| same(&digest, &stored.digest))
    }
}

fn purpose(user: Uid) -> String {
    format!("recovery code of {user}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_read_back_as_people_type_it() {
        let code = RecoveryCode::generate().unwrap();
        let text = code.expose();
        assert_eq!(text.len(), 11, "{text}");
        for typed in [
            text.clone(),
            text.to_uppercase(),
            text.replace('-', ""),
            format!(" {} ", text.replace('-', " ")),
            text.replace('0', "o").replace('1', "L"),
        ] {
            let read = RecoveryCode::parse(&typed).map(|code| code.expose());
            assert_eq!(read.as_ref(), Some(&text), "{typed:?}");
        }
        for bad in [
            "",
            "123456",
            "123 456",
            "4kq7m-x0d9",
            "4kq7m-x0d9tt",
            "4kq7m-x0d9u",
            "é",
        ] {
            assert!(RecoveryCode::parse(bad).is_none(), "{bad:?}");
        }
        assert_ne!(text, RecoveryCode::generate().unwrap().expose());
    }

    #[test]
    fn a_digest_belongs_to_one_code_one_user_and_one_key() {
        let (seal_keys, file) = SealKeys::generate().unwrap();
        let (other, _) = SealKeys::generate().unwrap();
        let code = RecoveryCode::generate().unwrap();
        let stored = code.digest(&seal_keys, Uid(7));
        assert!(code.is(&stored, &seal_keys, Uid(7)));
        assert!(!code.is(&stored, &seal_keys, Uid(8)));
        assert!(!code.is(&stored, &other, Uid(7)));
        let next = RecoveryCode::generate().unwrap();
        assert!(!next.is(&stored, &seal_keys, Uid(7)));
        // A rotation of the seal key leaves the code valid.
        let both = SealKeys::parse(&format!("{file}2 {}\n", "ab".repeat(32))).unwrap();
        assert!(code.is(&stored, &both, Uid(7)));
        assert_eq!(code.digest(&both, Uid(7)).version, 2);
    }
}
