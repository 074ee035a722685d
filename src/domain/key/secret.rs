//! Secrets: the plaintext of a key, alive only while one request is.
//!
//! Layout: `{prefix}_{id:10}{random:43}{checksum:6}`, all base62 after the prefix. The id is public;
//! the 43 characters are drawn without bias from the operating system (256 bits); the checksum is the
//! CRC-32 of everything before it, so that typing errors and garbage are refused before any look-up
//! and scanners can tell a leaked key from a random word. The checksum is not a security check.
//!
//! A second layout, for clients that take nothing but letters and digits: `{id:16}{random:106}{checksum:6}`, the id
//! in lower-case hexadecimal. It has no underscore, so neither can be taken for the other.

use super::{ID_CHARS, KeyId};
use crate::error::{Error, Result};

/// Digits of the numbers in a secret, in the order of their values.
pub const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// The prefix of keys whose issuer named none.
pub const PREFIX_DEFAULT: &str = "lk";
/// The prefix of access tokens. No key may have it, so the two cannot be mistaken for each other.
pub const PREFIX_SESSION: &str = "lks";
/// The prefix of console sessions, for the same reason.
pub const PREFIX_CONSOLE: &str = "lkc";
/// The prefix of refresh tokens; reserved like that of access tokens.
pub const PREFIX_REFRESH: &str = "lkr";

const RANDOM_CHARS: usize = 43;
/// The first number that ten base62 characters cannot write.
const ID_END: u64 = 62_u64.pow(ID_CHARS as u32);
const CHECKSUM_CHARS: usize = 6;
/// Characters after the underscore.
pub const TAIL_CHARS: usize = ID_CHARS + RANDOM_CHARS + CHECKSUM_CHARS;
/// Characters of a secret without prefix.
pub const PLAIN_CHARS: usize = PLAIN_ID_CHARS + PLAIN_RANDOM_CHARS + CHECKSUM_CHARS;
const PLAIN_ID_CHARS: usize = 16;
const PLAIN_RANDOM_CHARS: usize = 106;
/// Characters before the underscore, at most.
pub const PREFIX_CHARS_MAX: usize = 16;
/// Characters of the checksum that lists may show.
const HINT_CHARS: usize = 4;

/// What a client presents. Shown once, at issue or rotation.
///
/// No `Clone`, no `Display`, no serde: a secret must not wander.
pub struct Secret {
    text: String,
    id: KeyId,
}

/// A text that has the shape and the checksum of a secret. Says nothing about whether it is one.
#[derive(Clone, Copy)]
pub struct Presented<'a> {
    /// The whole text; what digests are made of.
    pub text: &'a str,
    pub id: KeyId,
}

impl Secret {
    /// Draws a new secret for a key that exists; in the layout without prefix if `prefix` is empty.
    pub fn generate(prefix: &str, id: KeyId) -> Result<Secret> {
        let (mut text, random) = match prefix {
            "" => (format!("{:016x}", id.0), PLAIN_RANDOM_CHARS),
            prefix => (format!("{prefix}_{id}"), RANDOM_CHARS),
        };
        push_random(&mut text, random)?;
        push_checksum(&mut text);
        Ok(Secret { text, id })
    }

    /// A secret that was sealed, from its text; `None` if the text is none.
    pub fn read_back(text: &str) -> Option<Secret> {
        let id = Presented::parse(text)?.id;
        Some(Secret {
            text: text.to_owned(),
            id,
        })
    }

    /// The plaintext. The callers of this function are the ways out of the server.
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// What lists may show: prefix, id and the end of the checksum.
    pub fn hint(&self) -> String {
        self.presented().hint()
    }

    /// The same secret as a client would present it.
    pub fn presented(&self) -> Presented<'_> {
        Presented {
            text: &self.text,
            id: self.id,
        }
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Secret({})", self.hint())
    }
}

impl<'a> Presented<'a> {
    /// `None` if the text cannot be ours, so that junk never reaches a look-up.
    pub fn parse(text: &'a str) -> Option<Presented<'a>> {
        let Some(underscore) = text.bytes().position(|byte| byte == b'_') else {
            return Presented::parse_plain(text);
        };
        let (prefix, tail) = (&text[..underscore], &text[underscore + 1..]);
        if tail.len() != TAIL_CHARS || !is_prefix(prefix) {
            return None;
        }
        let (covered, checksum) = text.split_at_checked(text.len() - CHECKSUM_CHARS)?;
        if base62_value(checksum.as_bytes())? != u64::from(crc32(covered.as_bytes())) {
            return None;
        }
        // The checksum covers every character, but only base62 ones make a secret.
        if !tail.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return None;
        }
        let id = KeyId::parse(tail.get(..ID_CHARS)?)?;
        Some(Presented { text, id })
    }

    /// The layout without prefix.
    fn parse_plain(text: &'a str) -> Option<Presented<'a>> {
        if text.len() != PLAIN_CHARS || !text.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return None;
        }
        let (covered, checksum) = text.split_at_checked(PLAIN_CHARS - CHECKSUM_CHARS)?;
        if base62_value(checksum.as_bytes())? != u64::from(crc32(covered.as_bytes())) {
            return None;
        }
        let hex = covered.get(..PLAIN_ID_CHARS)?;
        let id = KeyId(u64::from_str_radix(hex, 16).ok()?);
        // One spelling of an id, and only of ids that there can be.
        let canonical = !hex.bytes().any(|b| b.is_ascii_uppercase());
        (canonical && id.0 < ID_END).then_some(Presented { text, id })
    }

    /// As [`Secret::hint`].
    pub fn hint(&self) -> String {
        let random = match self.prefix() {
            "" => PLAIN_RANDOM_CHARS,
            _ => RANDOM_CHARS,
        };
        let shown = self.text.len() - random - CHECKSUM_CHARS;
        let tail = self.text.len() - HINT_CHARS;
        format!("{}…{}", &self.text[..shown], &self.text[tail..])
    }

    /// The part before the underscore; empty without one.
    pub fn prefix(&self) -> &'a str {
        self.text.split_once('_').map_or("", |(prefix, _)| prefix)
    }
}

/// The prefix of the secret that a hint shows; empty for one without.
pub fn prefix_of_hint(hint: &str) -> &str {
    hint.split_once('_').map_or("", |(prefix, _)| prefix)
}

/// Draws a new key id.
pub fn generate_id() -> Result<KeyId> {
    let mut text = String::with_capacity(ID_CHARS);
    push_random(&mut text, ID_CHARS)?;
    base62_value(text.as_bytes())
        .map(KeyId)
        .ok_or_else(|| Error::internal("a drawn id is not base62"))
}

/// Draws `count` base62 characters without bias, for passwords and one-time codes.
pub fn random_text(count: usize) -> Result<String> {
    let mut text = String::with_capacity(count);
    push_random(&mut text, count)?;
    Ok(text)
}

/// Accepts `[a-z][a-z0-9]{1,15}` other than the reserved prefixes of sessions.
pub fn check_prefix(field: &str, prefix: &str) -> Result<()> {
    if matches!(prefix, PREFIX_SESSION | PREFIX_REFRESH | PREFIX_CONSOLE) {
        return Err(Error::invalid(field, "is reserved for sessions"));
    }
    if is_prefix(prefix) {
        return Ok(());
    }
    Err(Error::invalid(
        field,
        "must be 2 to 16 characters of a-z and 0-9, beginning with a letter",
    ))
}

/// The number that base62 digits write; `None` if a byte is none or the number is too large.
pub(super) fn base62_value(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0_u64, |value, digit| {
        let worth = BASE62_WORTH[usize::from(*digit)];
        let value = value.checked_mul(62)?.checked_add(u64::from(worth))?;
        (worth != NO_DIGIT).then_some(value)
    })
}

const NO_DIGIT: u8 = u8::MAX;

/// What each byte is worth as a digit.
const BASE62_WORTH: [u8; 256] = {
    let mut worth = [NO_DIGIT; 256];
    let mut digit = 0;
    while digit < BASE62.len() {
        worth[BASE62[digit] as usize] = digit as u8;
        digit += 1;
    }
    worth
};

fn is_prefix(text: &str) -> bool {
    (2..=PREFIX_CHARS_MAX).contains(&text.len())
        && text.as_bytes()[0].is_ascii_lowercase()
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
}

/// Appends random base62 characters. Bytes of 248 and above are thrown away, because 256 is no
/// multiple of 62 and taking them would make the first eight digits likelier.
fn push_random(text: &mut String, count: usize) -> Result<()> {
    const FAIR: u8 = 248;
    let mut missing = count;
    while missing > 0 {
        let mut bytes = [0; 64];
        getrandom::fill(&mut bytes).map_err(Error::internal)?;
        for byte in bytes.iter().filter(|byte| **byte < FAIR).take(missing) {
            text.push(char::from(BASE62[usize::from(byte % 62)]));
            missing -= 1;
        }
    }
    Ok(())
}

fn push_checksum(text: &mut String) {
    let mut rest = crc32(text.as_bytes());
    let mut digits = [b'0'; CHECKSUM_CHARS];
    for digit in digits.iter_mut().rev() {
        *digit = BASE62[(rest % 62) as usize];
        rest /= 62;
    }
    text.extend(digits.map(char::from));
}

/// CRC-32 as in ISO 3309 and zlib, reflected, with the polynomial 0xEDB88320; eight bytes a step.
fn crc32(bytes: &[u8]) -> u32 {
    let (chunks, rest) = bytes.as_chunks::<8>();
    let step = |crc: u32, byte: &u8| CRC[0][usize::from(crc as u8 ^ byte)] ^ (crc >> 8);
    let leap = |crc: u32, chunk: &[u8; 8]| {
        let mixed = u64::from_le_bytes(*chunk) ^ u64::from(crc);
        let byte = |position: usize| usize::from((mixed >> (8 * position)) as u8);
        (0..8).fold(0, |crc, position| crc ^ CRC[7 - position][byte(position)])
    };
    !rest.iter().fold(chunks.iter().fold(u32::MAX, leap), step)
}

/// What a byte adds to the sum, by the number of bytes that follow it.
static CRC: [[u32; 256]; 8] = {
    let mut tables = [[0; 256]; 8];
    let mut index = 0;
    while index < 256 {
        let mut crc = index as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 {
                0xEDB8_8320 ^ (crc >> 1)
            } else {
                crc >> 1
            };
            bit += 1;
        }
        tables[0][index] = crc;
        index += 1;
    }
    let mut table = 1;
    while table < 8 {
        index = 0;
        while index < 256 {
            let before = tables[table - 1][index];
            tables[table][index] = tables[0][(before & 0xff) as usize] ^ (before >> 8);
            index += 1;
        }
        table += 1;
    }
    tables
};

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn the_checksum_is_the_crc_32_of_zlib() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
        assert_eq!(
            crc32(b"The quick brown fox jumps over the lazy dog"),
            0x414F_A339
        );
        assert_eq!(crc32(b""), 0);
    }

    #[test]
    fn a_generated_secret_parses_and_shows_its_id() {
        let id = generate_id().unwrap();
        let secret = Secret::generate("acme1", id).unwrap();
        let presented = Presented::parse(secret.expose()).unwrap();
        assert_eq!(presented.id, id);
        assert_eq!(presented.prefix(), "acme1");
        assert_eq!(secret.expose().len(), "acme1_".len() + TAIL_CHARS);
        assert!(secret.hint().starts_with(&format!("acme1_{id}…")));
    }

    #[test]
    fn a_secret_without_prefix_is_letters_and_digits_alone() {
        let id = generate_id().unwrap();
        let secret = Secret::generate("", id).unwrap();
        let text = secret.expose();
        assert_eq!(text.len(), 128);
        assert!(text.bytes().all(|b| b.is_ascii_alphanumeric()));
        let presented = Presented::parse(text).unwrap();
        assert_eq!((presented.id, presented.prefix()), (id, ""));
        assert_eq!(secret.hint(), format!("{}…{}", &text[..16], &text[124..]));
        assert_eq!(prefix_of_hint(&secret.hint()), "");
        for position in 0..text.len() {
            let mut bytes = text.as_bytes().to_vec();
            bytes[position] = if bytes[position] == b'a' { b'b' } else { b'a' };
            let changed = String::from_utf8(bytes).unwrap();
            assert!(Presented::parse(&changed).is_none(), "{position}");
        }
        // An id that no key can have, and another spelling of one, with the right checksum.
        for start in [format!("{:016x}", ID_END), format!("{:016X}", 0xabcdef)] {
            let mut forged = format!("{start}{}", "a".repeat(PLAIN_RANDOM_CHARS));
            push_checksum(&mut forged);
            assert!(Presented::parse(&forged).is_none(), "{start}");
        }
    }

    #[test]
    fn debug_output_does_not_hold_the_secret() {
        let secret = Secret::generate("lk", generate_id().unwrap()).unwrap();
        let random = &secret.expose()[13..56];
        assert!(!format!("{secret:?}").contains(&random[..8]));
    }

    // attacks 53, 58
    #[test]
    fn every_changed_character_and_all_garbage_is_refused() {
        let secret = Secret::generate("lk", generate_id().unwrap()).unwrap();
        let text = secret.expose();
        for position in 0..text.len() {
            let mut bytes = text.as_bytes().to_vec();
            bytes[position] = if bytes[position] == b'a' { b'b' } else { b'a' };
            let changed = String::from_utf8(bytes).unwrap();
            assert!(Presented::parse(&changed).is_none(), "{position}");
        }
        let garbage = [
            "",
            "_",
            "lk_",
            "lk",
            "' OR 1=1 --",
            "%",
            &"é".repeat(31),
            "lk_é",
            &format!(" {text}"),
            &format!("{text} "),
        ];
        for bad in garbage {
            assert!(Presented::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn prefixes_are_two_to_sixteen_lower_case_characters() {
        for good in ["lk", "acme", "a1", "abcdefghijklmnop"] {
            assert!(check_prefix("prefix", good).is_ok(), "{good}");
        }
        // attacks 153
        for bad in [
            "",
            "l",
            "1k",
            "LK",
            "sk_",
            "lks",
            "lkr",
            "a.b",
            "a*",
            "abcdefghijklmnopq",
            "é1",
        ] {
            assert!(check_prefix("prefix", bad).is_err(), "{bad}");
        }
    }

    // attacks 136, at a size that a unit test can bear
    #[test]
    fn many_secrets_are_distinct_and_use_the_alphabet_evenly() {
        let mut seen = HashSet::new();
        let mut counts = [0u32; 62];
        for _ in 0..20_000 {
            let id = generate_id().unwrap();
            let secret = Secret::generate("lk", id).unwrap();
            for byte in secret.expose()[13..56].bytes() {
                counts[BASE62.iter().position(|digit| *digit == byte).unwrap()] += 1;
            }
            assert!(seen.insert(secret.expose().to_owned()));
        }
        // 860,000 characters, 13,871 expected of each; six standard deviations are 701.
        for (digit, count) in counts.iter().enumerate() {
            assert!(count.abs_diff(13_871) < 701, "{digit}: {count}");
        }
    }
}
