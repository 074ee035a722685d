//! Passwords: which are accepted, and their digests. A digest is made with Argon2id (RFC 9106; 19 MiB, 2 passes,
//! parallelism 1), followed by an HMAC with the seal key.

use crate::domain::keys::keyfile::KeyFiles;
use crate::domain::keys::seal_key::{SealKeys, same};
use crate::domain::keys::secret;
use crate::domain::random;
use crate::domain::uid::Uid;
use crate::error::{Error, Result};
use crate::refusals;
use argon2::{Algorithm, Argon2, Params, Version};

/// The smallest length of a password in characters. A password is used exactly as it was entered: it is neither trimmed
/// nor cut nor normalised.
pub const CHARS_MIN: usize = 12;
/// The greatest length of a password in bytes of UTF-8.
pub const BYTES_MAX: usize = 1024;

/// What Argon2id costs, with a parallelism of 1.
struct Cost {
    memory_kib: u32,
    passes: u32,
}

const SHIPPED: Cost = Cost {
    memory_kib: 19 * 1024,
    passes: 2,
};
/// Unit tests of what is built on passwords need no cost. A test below computes a digest as shipped.
const COST: Cost = match cfg!(test) {
    true => Cost {
        memory_kib: 8,
        passes: 1,
    },
    false => SHIPPED,
};
const SALT_BYTES: usize = 16;
const DIGEST_BYTES: usize = 32;

/// The length of a generated password: 24 base62 characters have 142 bits.
const GENERATED_CHARS: usize = 24;

/// Common passwords of an otherwise acceptable length, which attackers try first; one on each line.
const COMMON: &str = include_str!("../../../assets/common-passwords.txt");

/// The stored form of a password: 16 bytes of salt, and an HMAC, with a version of the seal key, over the user's uid and
/// the Argon2id output. It is valid for that user alone, and without the seal key an attacker can neither create a
/// digest nor test passwords against one (the keyed step of NIST SP 800-63B-4, 3.1.1.2).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PasswordDigest {
    pub bytes: Vec<u8>,
    pub bound_by: BoundBy,
}

/// The key of the HMAC in a password digest, with its version.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum BoundBy {
    /// The digest is from schema 4 or older.
    Pepper(u32),
    SealKey(u32),
}

/// The result of a comparison with a password digest.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Match {
    Other,
    Same,
    /// The password is the same; this digest of it is bound by the newest seal key and replaces the stored one.
    SameToReplace(PasswordDigest),
}

/// A salt and the Argon2id output for a password: the slow part, which does not depend on the user.
/// [`SlowDigest::bound`] binds it to a user before it is stored.
#[derive(Clone)]
pub struct SlowDigest(Vec<u8>);

/// Refuses passwords that are too short, too long, common, or derived from the user name.
pub fn check(field: &str, password: &str, user_name: &str) -> Result<()> {
    if password.chars().count() < CHARS_MIN {
        return Err(Error::invalid(
            field,
            refusals::values::characters_at_least(CHARS_MIN),
        ));
    }
    if password.len() > BYTES_MAX {
        return Err(Error::invalid(
            field,
            refusals::values::bytes_at_most(BYTES_MAX),
        ));
    }
    let folded = password.to_lowercase();
    let bare: String = folded.chars().filter(|c| c.is_alphabetic()).collect();
    let first = folded.chars().next();
    let one_letter = folded.chars().all(|c| Some(c) == first);
    let own_name = !bare.is_empty()
        && bare.len() >= 3
        && (bare == user_name || bare == "latchkey" || bare == format!("{user_name}{user_name}"));
    if one_letter || own_name || COMMON.lines().any(|common| common == folded) {
        return Err(Error::invalid(
            field,
            refusals::users::password_guessed_first(),
        ));
    }
    Ok(())
}

/// Generates a password for a user who has none yet.
pub fn generate() -> Result<String> {
    secret::random_text(GENERATED_CHARS)
}

impl SlowDigest {
    /// Stretches a password with a new salt. This takes tens of milliseconds and 19 MiB.
    pub fn new(password: &str) -> Result<SlowDigest> {
        let mut bytes = vec![0; SALT_BYTES];
        random::fill(&mut bytes)?;
        let output = argon2id(COST, password, &bytes)?;
        bytes.extend(output);
        Ok(SlowDigest(bytes))
    }

    /// The form that schema 1 stored: salt and Argon2id output. `None` if the length is wrong.
    pub fn of_schema_1(bytes: Vec<u8>) -> Option<SlowDigest> {
        (bytes.len() == SALT_BYTES + DIGEST_BYTES).then_some(SlowDigest(bytes))
    }

    /// Binds the output to a user with the newest seal key.
    pub fn bound(self, user: Uid, keys: &SealKeys) -> PasswordDigest {
        let (salt, output) = self.0.split_at(SALT_BYTES);
        bound(salt, user, output, keys)
    }
}

impl PasswordDigest {
    /// A digest that matches no password, because salt and digest are random. A comparison with it costs as much as
    /// with any other digest. Creating it costs almost nothing, so the start is not delayed.
    pub fn of_nobody(keys: &SealKeys) -> Result<PasswordDigest> {
        let mut bytes = vec![0; SALT_BYTES + DIGEST_BYTES];
        random::fill(&mut bytes)?;
        Ok(PasswordDigest {
            bytes,
            bound_by: BoundBy::SealKey(keys.newest()),
        })
    }

    /// Compares a user's password. The duration does not depend on whether it matches.
    pub fn compare(&self, password: &str, user: Uid, files: &KeyFiles) -> Result<Match> {
        let (salt, stored) = self
            .bytes
            .split_at_checked(SALT_BYTES)
            .ok_or_else(|| Error::internal("a stored password digest is too short"))?;
        let output = argon2id(COST, password, salt)?;
        let text = keyed_text(user, &output);
        let computed = match self.bound_by {
            BoundBy::Pepper(version) => {
                let keys = SealKeys::of_peppers(&files.peppers);
                keys.seal_bytes_with(version, PURPOSE, &text)
            }
            BoundBy::SealKey(version) => files.seal.seal_bytes_with(version, PURPOSE, &text),
        };
        let Some(computed) = computed else {
            return Ok(Match::Other);
        };
        Ok(match same(&computed, stored) {
            false => Match::Other,
            true if self.bound_by == BoundBy::SealKey(files.seal.newest()) => Match::Same,
            true => Match::SameToReplace(bound(salt, user, &output, &files.seal)),
        })
    }
}

/// Names what the seal key seals here.
const PURPOSE: &str = "password";

/// Binds the Argon2id output to a user with the newest seal key.
fn bound(salt: &[u8], user: Uid, output: &[u8], keys: &SealKeys) -> PasswordDigest {
    let (version, seal) = keys.seal_numbered(PURPOSE, &keyed_text(user, output));
    let mut bytes = salt.to_vec();
    bytes.extend(seal);
    PasswordDigest {
        bytes,
        bound_by: BoundBy::SealKey(version),
    }
}

/// What the HMAC covers: the user's uid and the Argon2id output.
fn keyed_text(user: Uid, output: &[u8]) -> Vec<u8> {
    let mut bytes = user.0.to_be_bytes().to_vec();
    bytes.extend(output);
    bytes
}

fn argon2id(cost: Cost, password: &str, salt: &[u8]) -> Result<[u8; DIGEST_BYTES]> {
    let failed = |err: argon2::Error| Error::internal(err.to_string());
    let params = Params::new(cost.memory_kib, cost.passes, 1, Some(DIGEST_BYTES));
    let params = params.map_err(failed)?;
    let mut digest = [0; DIGEST_BYTES];
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(password.as_bytes(), salt, &mut digest)
        .map_err(failed)?;
    Ok(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same as argon2-cffi 25.1 computes with memory_cost=19456, time_cost=2, parallelism=1.
    #[test]
    fn a_digest_as_shipped_is_the_one_of_the_reference() {
        let output = argon2id(SHIPPED, "correct horse battery", b"sixteen bytes ok").unwrap();
        let hex: String = output.iter().map(|byte| format!("{byte:02x}")).collect();
        let expected = "449d6c63fb8b4a21e2d133f5a16f2bc35f40bcbd87c29b7b10bbe15389fb7978";
        assert_eq!(hex, expected);
    }

    #[test]
    fn nobodys_digest_is_like_any_other_and_matches_nothing() {
        let files = KeyFiles::generate();
        let nobody = PasswordDigest::of_nobody(&files.seal).unwrap();
        let other = SlowDigest::new("x").unwrap().bound(Uid(1), &files.seal);
        assert_eq!(nobody.bytes.len(), other.bytes.len());
        for text in ["", "x"] {
            assert_eq!(nobody.compare(text, Uid(1), &files).unwrap(), Match::Other);
        }
    }

    #[test]
    fn only_the_same_password_of_the_same_user_under_the_same_seal_key_matches() {
        let (files, others) = (KeyFiles::generate(), KeyFiles::generate());
        let bound = || {
            let stretched = SlowDigest::new("correct horse battery").unwrap();
            stretched.bound(Uid(1), &files.seal)
        };
        let digest = bound();
        let matches = |text: &str, user: u128, files: &KeyFiles| {
            digest.compare(text, Uid(user), files).unwrap() == Match::Same
        };
        assert!(matches("correct horse battery", 1, &files));
        // A digest that was copied to another user, and one that was made without this seal key.
        assert!(!matches("correct horse battery", 2, &files));
        assert!(!matches("correct horse battery", 1, &others));
        for other in [
            "correct horse batterx",
            " correct horse battery",
            "Correct horse battery",
            "",
        ] {
            assert!(!matches(other, 1, &files), "{other}");
        }
        assert_ne!(digest, bound());
    }

    /// The form of schema 1 matches no user until it is bound.
    #[test]
    fn a_digest_without_the_keyed_step_fits_nobody() {
        let files = KeyFiles::generate();
        let old = SlowDigest::new("correct horse battery").unwrap();
        let bare = PasswordDigest {
            bytes: old.0.clone(),
            bound_by: BoundBy::SealKey(1),
        };
        let text = "correct horse battery";
        assert_eq!(bare.compare(text, Uid(1), &files).unwrap(), Match::Other);
        let old = SlowDigest::of_schema_1(old.0).unwrap();
        let bound = old.bound(Uid(1), &files.seal);
        assert_eq!(bound.compare(text, Uid(1), &files).unwrap(), Match::Same);
    }

    #[test]
    fn a_digest_under_the_pepper_or_an_older_seal_key_matches_and_is_to_be_replaced() {
        let (older, text) = SealKeys::generate().unwrap();
        let newer = SealKeys::parse(&format!("{text}2 {}\n", "cd".repeat(32))).unwrap();
        let files = KeyFiles {
            seal: std::sync::Arc::new(newer),
            ..KeyFiles::generate()
        };
        let password = "correct horse battery";
        let stretched = SlowDigest::new(password).unwrap();
        let of_pepper = PasswordDigest {
            bound_by: BoundBy::Pepper(1),
            ..stretched
                .clone()
                .bound(Uid(1), &SealKeys::of_peppers(&files.peppers))
        };
        for stored in [of_pepper, stretched.bound(Uid(1), &older)] {
            let wrong = stored.compare("correct horse batterx", Uid(1), &files);
            assert_eq!(wrong.unwrap(), Match::Other);
            let Match::SameToReplace(new) = stored.compare(password, Uid(1), &files).unwrap()
            else {
                panic!("{stored:?}");
            };
            assert_eq!(new.bound_by, BoundBy::SealKey(2));
            assert_eq!(new.bytes[..SALT_BYTES], stored.bytes[..SALT_BYTES]);
            assert_eq!(new.compare(password, Uid(1), &files).unwrap(), Match::Same);
            // The same bytes under the other key are another digest.
            let mixed = PasswordDigest {
                bound_by: BoundBy::Pepper(1),
                ..new
            };
            let found = mixed.compare(password, Uid(1), &files).unwrap();
            assert_eq!(found, Match::Other);
        }
    }

    // attacks 177, 178
    #[test]
    fn short_long_and_common_passwords_are_refused() {
        let accepted = |password: &str| check("password", password, "alice").is_ok();
        assert!(accepted("correct horse"));
        assert!(accepted(&"ab c".repeat(256)));
        assert!(accepted("пароль парол"));
        assert!(!accepted(&"abcd ".repeat(205)));
        for refused in [
            "",
            "elevenbytes",
            "ééééééééééé",
            "aaaaaaaaaaaaaaaa",
            "Password1234",
            "123456789012",
            "Alice-20262026",
            "latchkey2026!",
        ] {
            assert!(!accepted(refused), "{refused}");
        }
    }
}
