//! Encryption of the key files in one file with a passphrase. Argon2id (RFC 9106; 64 MiB, 3 passes,
//! parallelism 1) derives the key of ChaCha20-Poly1305 (RFC 8439), which also authenticates the first lines of the
//! file.

use crate::domain::hex::{hex, unhex};
use crate::domain::random;
use crate::error::{Error, Result};
use crate::refusals;
use argon2::{Algorithm, Argon2, Params, Version};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

/// The smallest length of a passphrase in characters. An attacker who has the file can try passphrases for years.
pub const PASSPHRASE_CHARS_MIN: usize = 12;

/// The first line. A change of the parameters needs a new number.
const FIRST: &str = "latchkey-secrets 1: argon2id m=65536 t=3 p=1, chacha20-poly1305";
const MEMORY_KIB: u32 = 64 * 1024;
const PASSES: u32 = 3;
const SALT_BYTES: usize = 16;
/// The number of hexadecimal digits on one line.
const LINE_CHARS: usize = 64;

/// Encrypts a text; returns the content of the file.
pub fn lock(passphrase: &str, text: &str) -> Result<String> {
    if passphrase.chars().count() < PASSPHRASE_CHARS_MIN {
        return Err(Error::invalid(
            "passphrase",
            refusals::values::characters_at_least(PASSPHRASE_CHARS_MIN),
        ));
    }
    let mut drawn = [0; SALT_BYTES + NONCE_LEN];
    random::fill(&mut drawn)?;
    let (salt, nonce) = drawn.split_at(SALT_BYTES);
    let head = format!("{FIRST}\n{}\n", hex(&drawn));
    let mut sealed = text.as_bytes().to_vec();
    let unique = Nonce::try_assume_unique_for_key(nonce).map_err(impossible)?;
    cipher(passphrase, salt)?
        .seal_in_place_append_tag(unique, Aad::from(head.as_bytes()), &mut sealed)
        .map_err(impossible)?;
    let digits = hex(&sealed);
    let lines = digits.as_bytes().chunks(LINE_CHARS);
    let lines: String = lines
        .map(|line| format!("{}\n", String::from_utf8_lossy(line)))
        .collect();
    Ok(head + &lines)
}

/// Decrypts the result of [`lock`]; `None` if the file is damaged or the passphrase is wrong.
pub fn unlock(passphrase: &str, file: &str) -> Result<Option<String>> {
    let mut lines = file.lines();
    let (Some(FIRST), Some(second)) = (lines.next(), lines.next()) else {
        return Ok(None);
    };
    let rest: String = lines.collect();
    let (Some(drawn), Some(mut sealed)) = (unhex(second), unhex(&rest)) else {
        return Ok(None);
    };
    let Some((salt, nonce)) = drawn.split_at_checked(SALT_BYTES) else {
        return Ok(None);
    };
    let Ok(nonce) = Nonce::try_assume_unique_for_key(nonce) else {
        return Ok(None);
    };
    let head = format!("{FIRST}\n{second}\n");
    let cipher = cipher(passphrase, salt)?;
    let opened = cipher.open_in_place(nonce, Aad::from(head.as_bytes()), &mut sealed);
    Ok(opened
        .ok()
        .and_then(|text| String::from_utf8(text.to_vec()).ok()))
}

fn cipher(passphrase: &str, salt: &[u8]) -> Result<LessSafeKey> {
    let failed = |err: argon2::Error| Error::internal(err.to_string());
    let params = Params::new(MEMORY_KIB, PASSES, 1, Some(32)).map_err(failed)?;
    let mut key = [0; 32];
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(passphrase.as_bytes(), salt, &mut key)
        .map_err(failed)?;
    let key = UnboundKey::new(&CHACHA20_POLY1305, &key).map_err(impossible)?;
    Ok(LessSafeKey::new(key))
}

/// Converts an error of ring, which gives no reasons.
fn impossible(_: ring::error::Unspecified) -> Error {
    Error::internal("the cipher refused")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_passphrase_opens_the_file_and_only_as_it_was() {
        let text = "pepper\nsealing key\n";
        let file = lock("correct horse battery", text).unwrap();
        assert!(!file.contains("pepper"));
        let open = |passphrase: &str, file: &str| unlock(passphrase, file).unwrap();
        assert_eq!(open("correct horse battery", &file).as_deref(), Some(text));
        assert_eq!(open("correct horse batterY", &file), None);
        let mut bytes = file.clone().into_bytes();
        for at in [70, FIRST.len() + 60, bytes.len() - 3] {
            let was = bytes[at];
            bytes[at] = if was == b'0' { b'1' } else { b'0' };
            assert_eq!(
                open("correct horse battery", &String::from_utf8_lossy(&bytes)),
                None
            );
            bytes[at] = was;
        }
        for bad in [
            "",
            "x",
            FIRST,
            &file[..file.len() / 2],
            &format!("{file}\u{e9}"),
        ] {
            assert_eq!(open("correct horse battery", bad), None, "{bad}");
        }
        assert!(lock("short", text).is_err());
    }
}
