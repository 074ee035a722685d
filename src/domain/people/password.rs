//! Passwords: which are accepted, and their Argon2id digests (RFC 9106; 19 MiB, 2 passes, 1 lane).

use crate::domain::key::secret;
use crate::error::{Error, Result};
use argon2::{Algorithm, Argon2, Params, Version};
use include_flate::flate;

/// Length of a password in bytes of UTF-8. It is taken as it comes: no trimming, no cutting, no normal form.
pub const BYTES_MIN: usize = 12;
/// See [`BYTES_MIN`].
pub const BYTES_MAX: usize = 1024;

const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;
const SALT_BYTES: usize = 16;
const DIGEST_BYTES: usize = 32;

/// Characters of a generated password: 24 base62 characters are 142 bits.
const GENERATED_CHARS: usize = 24;

flate!(
    /// Passwords that attackers try first, of the length that would otherwise be accepted, one a line.
    static COMMON: IFlate from "assets/common-passwords.txt"
);

/// A salt and the Argon2id digest of a password with it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PasswordDigest(pub Vec<u8>);

/// Refuses passwords that are too short, too long, common, or made of the user's own name.
pub fn check(field: &str, password: &str, user_name: &str) -> Result<()> {
    if password.len() < BYTES_MIN {
        return Err(Error::invalid(
            field,
            format!("must be at least {BYTES_MIN} bytes long"),
        ));
    }
    if password.len() > BYTES_MAX {
        return Err(Error::invalid(
            field,
            format!("must be at most {BYTES_MAX} bytes long"),
        ));
    }
    let folded = password.to_lowercase();
    let bare: String = folded.chars().filter(|c| c.is_alphabetic()).collect();
    let first = folded.chars().next();
    let one_letter = folded.chars().all(|c| Some(c) == first);
    let own_name = !bare.is_empty()
        && bare.len() >= 3
        && (bare == user_name || bare == "latchkey" || bare == format!("{user_name}{user_name}"));
    let common = COMMON.decode_string().map_err(Error::internal)?;
    if one_letter || own_name || common.lines().any(|common| common == folded) {
        return Err(Error::invalid(
            field,
            "is a password that is guessed first; choose another one",
        ));
    }
    Ok(())
}

/// Draws a password for somebody who has none yet.
pub fn generate() -> Result<String> {
    secret::random_text(GENERATED_CHARS)
}

impl PasswordDigest {
    /// Digests a password with a fresh salt. Takes tens of milliseconds and 19 MiB.
    pub fn new(password: &str) -> Result<PasswordDigest> {
        let mut bytes = vec![0; SALT_BYTES];
        getrandom::fill(&mut bytes).map_err(Error::internal)?;
        let digest = argon2id(password, &bytes)?;
        bytes.extend(digest);
        Ok(PasswordDigest(bytes))
    }

    /// A digest that no password has: salt and digest are drawn. Comparing with it costs as much as with any other,
    /// making it costs nothing, so that a start need not wait for it.
    pub fn of_nobody() -> Result<PasswordDigest> {
        let mut bytes = vec![0; SALT_BYTES + DIGEST_BYTES];
        getrandom::fill(&mut bytes).map_err(Error::internal)?;
        Ok(PasswordDigest(bytes))
    }

    /// Compares a password in the same time whether it matches or not.
    pub fn matches(&self, password: &str) -> Result<bool> {
        let (salt, stored) = self
            .0
            .split_at_checked(SALT_BYTES)
            .ok_or_else(|| Error::internal("a stored password digest is too short"))?;
        let digest = argon2id(password, salt)?;
        let differences = digest
            .iter()
            .zip(stored)
            .fold(0, |sum, (a, b)| sum | (a ^ b));
        Ok(differences == 0 && stored.len() == DIGEST_BYTES)
    }
}

fn argon2id(password: &str, salt: &[u8]) -> Result<[u8; DIGEST_BYTES]> {
    let failed = |err: argon2::Error| Error::internal(err.to_string());
    let params = Params::new(MEMORY_KIB, PASSES, LANES, Some(DIGEST_BYTES)).map_err(failed)?;
    let mut digest = [0; DIGEST_BYTES];
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(password.as_bytes(), salt, &mut digest)
        .map_err(failed)?;
    Ok(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobodys_digest_is_like_any_other_and_matches_nothing() {
        let nobody = PasswordDigest::of_nobody().unwrap();
        assert_eq!(nobody.0.len(), PasswordDigest::new("x").unwrap().0.len());
        assert!(!nobody.matches("").unwrap() && !nobody.matches("x").unwrap());
    }

    #[test]
    fn only_the_same_password_matches() {
        let digest = PasswordDigest::new("correct horse battery").unwrap();
        assert!(digest.matches("correct horse battery").unwrap());
        for other in [
            "correct horse batterx",
            " correct horse battery",
            "Correct horse battery",
            "",
        ] {
            assert!(!digest.matches(other).unwrap(), "{other}");
        }
        assert_ne!(
            digest,
            PasswordDigest::new("correct horse battery").unwrap()
        );
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
