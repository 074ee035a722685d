//! Digests as other systems write them, and the text form that this server gives to them.

use crate::domain::hex::hex;
use crate::domain::keys::plain::Plain;
use crate::domain::keys::scheme::GivenDigest;
use crate::refusals::{self, Refusal};
use base64ct::{Base64, Base64Unpadded, Base64UrlUnpadded, Encoding};

/// The longest secret of another system in bytes: what a header of a request can carry.
const SECRET_BYTES_MAX: usize = 4_096;

/// The digest of a secret that stands in the file as plain text; or why no client can present such a secret.
pub fn of_plain(secret: &Plain) -> Result<String, Refusal> {
    let text = secret.as_str();
    if text.is_empty() {
        return Err(refusals::imports::secret_missing());
    }
    if text.len() > SECRET_BYTES_MAX {
        return Err(refusals::imports::secret_too_long(SECRET_BYTES_MAX));
    }
    if text.trim() != text || text.chars().any(char::is_control) {
        return Err(refusals::imports::secret_not_sendable());
    }
    Ok(format!("sha256:{}", secret.sha256_hex()))
}

/// The digest of 64 hexadecimal digits of SHA-256.
pub fn sha256_of_hex(text: &str) -> Option<String> {
    is_hex(text, 64).then(|| format!("sha256:{}", text.to_ascii_lowercase()))
}

/// The digest of 128 hexadecimal digits of SHA-512.
pub fn sha512_of_hex(text: &str) -> Option<String> {
    is_hex(text, 128).then(|| format!("sha512:{}", text.to_ascii_lowercase()))
}

/// The digest of SHA-256 in Base64 (RFC 4648, section 4), with or without padding.
pub fn sha256_of_base64(text: &str) -> Option<String> {
    let mut bytes = [0; 32];
    let is_read = match text.len() {
        43 => Base64Unpadded::decode(text, &mut bytes).is_ok_and(|it| it.len() == 32),
        44 => Base64::decode(text, &mut bytes).is_ok_and(|it| it.len() == 32),
        _ => false,
    };
    is_read.then(|| format!("sha256:{}", hex(&bytes)))
}

/// The digest of SHA-256 in Base64 for URLs (RFC 4648, section 5) without padding.
pub fn sha256_of_base64url(text: &str) -> Option<String> {
    let mut bytes = [0; 32];
    let read = Base64UrlUnpadded::decode(text, &mut bytes);
    let is_read = text.len() == 43 && read.is_ok_and(|it| it.len() == 32);
    is_read.then(|| format!("sha256:{}", hex(&bytes)))
}

/// Whether a text is Base64 of whole blocks of 16 bytes, and nothing simpler: so encrypted values look.
pub fn is_like_encrypted(text: &str) -> bool {
    let is_simple = text.bytes().all(|b| b.is_ascii_hexdigit());
    let blocks = Base64::decode_vec(text).is_ok_and(|it| !it.is_empty() && it.len() % 16 == 0);
    blocks && !is_simple
}

fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Kinds of digests that are refused, by what their text begins with. The kind is a name,
/// which no language translates.
const REFUSED: &[(&str, &str)] = &[
    ("$1$", "MD5-crypt"),
    ("$2x$", "bcrypt 2x"),
    ("$5$", "SHA-256-crypt"),
    ("$6$", "SHA-512-crypt"),
    ("$7$", "scrypt"),
    ("$apr1$", "apr1 (MD5)"),
    ("$argon2d$", "Argon2d"),
    ("$y$", "yescrypt"),
    ("argon2$argon2d$", "Argon2d"),
    ("bcrypt_sha256$", "bcrypt-SHA-256"),
    ("md5$", "MD5"),
    ("md5:", "MD5"),
    ("murmur", "murmur"),
    ("pbkdf2_sha1$", "PBKDF2-SHA-1"),
    ("scrypt$", "scrypt"),
    ("scrypt:", "scrypt"),
    ("sha1$", "SHA-1"),
    ("sha1:", "SHA-1"),
    ("unsalted_md5$", "MD5"),
    ("unsalted_sha1$", "SHA-1"),
    ("{SHA}", "SHA-1"),
    ("{SSHA}", "SHA-1"),
];

/// Why the digest is refused, if it is of a kind that this server refuses by its name.
pub fn refused_by_name(text: &str) -> Option<Refusal> {
    let begins = |start: &str| {
        let found = text.get(..start.len());
        found.is_some_and(|found| found.eq_ignore_ascii_case(start))
    };
    let kind = REFUSED.iter().find(|(start, _)| begins(start));
    let bare = |digits: usize| is_hex(text, digits);
    match kind {
        Some((_, kind)) => Some(refusals::imports::digest_kind(kind)),
        None if bare(8) || bare(16) => Some(refusals::imports::digest_kind("murmur/CRC")),
        None if bare(32) => Some(refusals::imports::digest_kind("MD5/murmur")),
        None if bare(40) => Some(refusals::imports::digest_kind("SHA-1")),
        None => None,
    }
}

/// Checks the text form of a digest: one that [`GivenDigest`] reads, or one of an export (`latchkey:` and 64 hexadecimal
/// digits). Returns its only spelling.
pub fn check(text: &str, found_by: Option<&str>) -> Result<String, Refusal> {
    if let Some(why) = refused_by_name(text) {
        return Err(why);
    }
    match text.strip_prefix("latchkey:") {
        Some(hex) if is_hex(hex, 64) && found_by.is_none() => Ok(text.to_ascii_lowercase()),
        _ => match GivenDigest::parse(text, found_by) {
            Ok(given) => Ok(given.to_text()),
            Err(err) => Err(err.refusal()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn the_same_digest_is_read_in_each_form() {
        let expected = Some(format!("sha256:{EMPTY}"));
        assert_eq!(sha256_of_hex(&EMPTY.to_uppercase()), expected);
        let base64 = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU";
        assert_eq!(sha256_of_base64(base64), expected);
        assert_eq!(sha256_of_base64(&format!("{base64}=")), expected);
        let url = base64.replace('+', "-").replace('/', "_");
        assert_eq!(sha256_of_base64url(&url), expected);
        for bad in ["", &EMPTY[1..], base64, &format!("{base64}=="), "é"] {
            assert_eq!(sha256_of_hex(bad), None, "{bad}");
            assert_eq!(sha256_of_base64url(bad), None, "{bad}");
        }
        // The last character has bits that no byte has.
        assert_eq!(sha256_of_base64(&format!("{}V", &base64[..42])), None);
    }

    #[test]
    fn a_digest_is_checked_and_weak_kinds_are_named() {
        let hex = |digits: usize| "0aF9".repeat(digits / 4);
        let bcrypt = format!("$2y$05${}", "./Az".repeat(13) + "9");
        for (text, found_by) in [
            (format!("sha256:{}", hex(64)), None),
            (format!("sha512:{}", hex(128)), None),
            (format!("latchkey:{}", hex(64)), None),
            (bcrypt.clone(), Some("alice:")),
        ] {
            let same = check(&text, found_by).unwrap();
            assert!(same.eq_ignore_ascii_case(&text), "{text}");
            assert_eq!(check(&same, found_by), Ok(same.clone()), "{text}");
            let other = if found_by.is_some() { None } else { Some("a.") };
            assert!(check(&text, other).is_err(), "{text}");
        }
        for (text, why) in [
            ("".to_owned(), "must be a digest"),
            (hex(64), "must be a digest"),
            (format!("latchkey:{}", hex(60)), "must be a digest"),
            (bcrypt[..59].to_owned(), "must be a digest"),
            (hex(32), "MD5"),
            (hex(40), "SHA-1"),
            (hex(8), "murmur"),
            (format!("MD5:{}", hex(32)), "MD5"),
            ("$apr1$x$y".to_owned(), "apr1"),
            ("{SHA}x".to_owned(), "SHA-1"),
            ("murmur64:x".to_owned(), "murmur"),
            ("$6$salt$x".to_owned(), "SHA-512-crypt"),
        ] {
            let found = check(&text, Some("a.")).unwrap_err().to_string();
            assert!(found.contains(why), "{text}: {found}");
        }
    }

    #[test]
    fn a_plain_text_that_no_header_can_carry_is_no_secret() {
        let digest = of_plain(&Plain::new("abc")).unwrap();
        assert!(digest.starts_with("sha256:ba7816bf"), "{digest}");
        for bad in ["", " a", "a\n", "a\0b", &"a".repeat(4_097)] {
            assert!(of_plain(&Plain::new(bad)).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn encrypted_values_are_recognised() {
        for yes in [
            "dGhpcyBpcyAxNiBieXRlcw==",
            "eyJvcmciOiJ4IiwiaWQiOiJ5IiwiaCI6Im11cm11cjY0In0gICAgICAgICAgICAg",
        ] {
            assert!(is_like_encrypted(yes), "{yes}");
        }
        for no in [
            "",
            "auth-one",
            EMPTY,
            "0123456789abcdef0123456789abcdef",
            "auth-one-key",
        ] {
            assert!(!is_like_encrypted(no), "{no}");
        }
    }
}
