//! Passwords: which are accepted, and their digests. A digest is made with Argon2id (RFC 9106; 19 MiB, 2 passes,
//! parallelism 1), followed by an HMAC with the pepper as the key.

use crate::domain::keys::pepper::{Pepper, Peppers, same};
use crate::domain::keys::secret;
use crate::domain::uid::Uid;
use crate::error::{Error, Result};
use crate::refusals;
use argon2::{Algorithm, Argon2, Params, Version};

/// The limits for the length of a password in bytes of UTF-8. A password is used exactly as it was entered: it is
/// neither trimmed nor cut nor normalised.
pub const BYTES_MIN: usize = 12;
/// See [`BYTES_MIN`].
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

/// The stored form of a password: 16 bytes of salt, and an HMAC, with a version of the pepper as the key, over the
/// user's uid and the Argon2id output. It is valid for that user alone, and without the pepper an attacker can
/// neither create a digest nor test passwords against one (the keyed step of NIST SP 800-63B-4, 3.1.1.2).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PasswordDigest {
    pub bytes: Vec<u8>,
    /// The version of the pepper.
    pub pepper: u32,
}

/// A salt and the Argon2id output for a password: the slow part, which does not depend on the user.
/// [`SlowDigest::bound`] binds it to a user before it is stored.
#[derive(Clone)]
pub struct SlowDigest(Vec<u8>);

/// Refuses passwords that are too short, too long, common, or derived from the user name.
pub fn check(field: &str, password: &str, user_name: &str) -> Result<()> {
    if password.len() < BYTES_MIN {
        return Err(Error::invalid(
            field,
            refusals::values::bytes_at_least(BYTES_MIN),
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
        getrandom::fill(&mut bytes).map_err(Error::internal)?;
        let output = argon2id(COST, password, &bytes)?;
        bytes.extend(output);
        Ok(SlowDigest(bytes))
    }

    /// The form that schema 1 stored: salt and Argon2id output. `None` if the length is wrong.
    pub fn of_schema_1(bytes: Vec<u8>) -> Option<SlowDigest> {
        (bytes.len() == SALT_BYTES + DIGEST_BYTES).then_some(SlowDigest(bytes))
    }

    /// Binds the output to a user with the newest pepper.
    pub fn bound(self, user: Uid, peppers: &Peppers) -> PasswordDigest {
        let pepper = peppers.current();
        let (salt, output) = self.0.split_at(SALT_BYTES);
        let mut bytes = salt.to_vec();
        bytes.extend(keyed(pepper, user, output));
        PasswordDigest {
            bytes,
            pepper: pepper.version,
        }
    }
}

impl PasswordDigest {
    /// A digest that matches no password, because salt and digest are random. A comparison with it costs as much as
    /// with any other digest. Creating it costs almost nothing, so the start is not delayed.
    pub fn of_nobody(peppers: &Peppers) -> Result<PasswordDigest> {
        let mut bytes = vec![0; SALT_BYTES + DIGEST_BYTES];
        getrandom::fill(&mut bytes).map_err(Error::internal)?;
        Ok(PasswordDigest {
            bytes,
            pepper: peppers.current().version,
        })
    }

    /// Compares a user's password. The duration does not depend on whether it matches.
    pub fn matches(&self, password: &str, user: Uid, peppers: &Peppers) -> Result<bool> {
        let (salt, stored) = self
            .bytes
            .split_at_checked(SALT_BYTES)
            .ok_or_else(|| Error::internal("a stored password digest is too short"))?;
        let output = argon2id(COST, password, salt)?;
        let (Some(pepper), Ok(stored)) = (peppers.version(self.pepper), stored.try_into()) else {
            return Ok(false);
        };
        Ok(same(&keyed(pepper, user, &output), stored))
    }
}

/// The HMAC over the user's uid and the Argon2id output.
fn keyed(pepper: &Pepper, user: Uid, output: &[u8]) -> [u8; DIGEST_BYTES] {
    let mut bytes = user.0.to_be_bytes().to_vec();
    bytes.extend(output);
    pepper.seal_bytes("password", &bytes)
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
        let (peppers, _) = Peppers::generate().unwrap();
        let nobody = PasswordDigest::of_nobody(&peppers).unwrap();
        let other = SlowDigest::new("x").unwrap().bound(Uid(1), &peppers);
        assert_eq!(nobody.bytes.len(), other.bytes.len());
        for text in ["", "x"] {
            assert!(!nobody.matches(text, Uid(1), &peppers).unwrap());
        }
    }

    #[test]
    fn only_the_same_password_of_the_same_user_under_the_same_pepper_matches() {
        let (peppers, _) = Peppers::generate().unwrap();
        let (others, _) = Peppers::generate().unwrap();
        let bound = || {
            let stretched = SlowDigest::new("correct horse battery").unwrap();
            stretched.bound(Uid(1), &peppers)
        };
        let digest = bound();
        let matches = |text: &str, user: u128, peppers: &Peppers| {
            digest.matches(text, Uid(user), peppers).unwrap()
        };
        assert!(matches("correct horse battery", 1, &peppers));
        // A digest that was copied to another user, and one that was made without this pepper.
        assert!(!matches("correct horse battery", 2, &peppers));
        assert!(!matches("correct horse battery", 1, &others));
        for other in [
            "correct horse batterx",
            " correct horse battery",
            "Correct horse battery",
            "",
        ] {
            assert!(!matches(other, 1, &peppers), "{other}");
        }
        assert_ne!(digest, bound());
    }

    /// The form of schema 1 matches no user until it is bound.
    #[test]
    fn a_digest_without_the_keyed_step_fits_nobody() {
        let (peppers, _) = Peppers::generate().unwrap();
        let old = SlowDigest::new("correct horse battery").unwrap();
        let bare = PasswordDigest {
            bytes: old.0.clone(),
            pepper: peppers.current().version,
        };
        let text = "correct horse battery";
        assert!(!bare.matches(text, Uid(1), &peppers).unwrap());
        let old = SlowDigest::of_schema_1(old.0).unwrap();
        let bound = old.bound(Uid(1), &peppers);
        assert!(bound.matches(text, Uid(1), &peppers).unwrap());
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
