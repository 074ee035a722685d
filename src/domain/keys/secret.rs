//! Secrets: the plaintext of a key, which exists in memory only during one request.
//!
//! Layout: `{prefix}_{id:10}{random:43}{checksum:6}`, all base62 after the prefix. The id is public. The 43
//! characters come without bias from the random source of the operating system (256 bits). The checksum is the CRC-32
//! of everything before it, so that typing errors and garbage are refused before any look-up, and scanners can
//! distinguish a leaked key from a random word. The checksum is not a security check.
//!
//! There is a second layout for clients that accept only letters and digits: `{id:16}{random:106}{checksum:6}`, with
//! the id in lower-case hexadecimal. It has no underscore, so the two layouts cannot be confused.

use super::{ID_CHARS, KeyId};
use crate::domain::random;
use crate::error::{Error, Result};
use crate::refusals;

/// The base62 digits in the order of their values.
pub const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// The default prefix of keys.
pub const PREFIX_DEFAULT: &str = "lk";
/// The prefix of access tokens. No key may have it, so the two cannot be confused.
pub const PREFIX_SESSION: &str = "lks";
/// The prefix of console sessions, reserved for the same reason.
pub const PREFIX_CONSOLE: &str = "lkc";
/// The prefix of refresh tokens, reserved for the same reason.
pub const PREFIX_REFRESH: &str = "lkr";

const RANDOM_CHARS: usize = 43;
/// The first number that does not fit in ten base62 characters.
const ID_END: u64 = 62_u64.pow(ID_CHARS as u32);
const CHECKSUM_CHARS: usize = 6;
/// The number of characters after the underscore.
pub const TAIL_CHARS: usize = ID_CHARS + RANDOM_CHARS + CHECKSUM_CHARS;
/// The number of characters of a secret without prefix.
pub const PLAIN_CHARS: usize = PLAIN_ID_CHARS + PLAIN_RANDOM_CHARS + CHECKSUM_CHARS;
const PLAIN_ID_CHARS: usize = 16;
const PLAIN_RANDOM_CHARS: usize = 106;
/// The largest number of characters before the underscore.
pub const PREFIX_CHARS_MAX: usize = 16;
/// The form of these characters, as a regular expression for descriptions.
pub const PREFIX_PATTERN: &str = "^[a-z][a-z0-9]{1,15}$";
/// The number of characters of the checksum that lists may show.
const HINT_CHARS: usize = 4;

/// The text that a client presents. It is shown once, at issue or rotation.
///
/// It implements neither `Clone` nor `Display` nor serde, so that a secret is not copied by accident.
pub struct Secret {
    text: String,
    id: KeyId,
}

/// A text with the form and the checksum of a secret. This does not mean that it is the secret of a key.
#[derive(Clone, Copy)]
pub struct Presented<'a> {
    /// The complete text, from which digests are made.
    pub text: &'a str,
    pub id: KeyId,
}

impl Secret {
    /// Generates a new secret for an existing key, in the layout without prefix if `prefix` is empty.
    pub fn generate(prefix: &str, id: KeyId) -> Result<Secret> {
        let (mut text, random) = match prefix {
            "" => (format!("{:016x}", id.0), PLAIN_RANDOM_CHARS),
            prefix => (format!("{prefix}_{id}"), RANDOM_CHARS),
        };
        push_random(&mut text, random)?;
        push_checksum(&mut text);
        Ok(Secret { text, id })
    }

    /// Restores a secret from its decrypted text; `None` if the text is not a secret.
    pub fn read_back(text: &str) -> Option<Secret> {
        let id = Presented::parse(text)?.id;
        Some(Secret {
            text: text.to_owned(),
            id,
        })
    }

    /// The plaintext. The callers of this function are the only places where a secret leaves the server.
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// The part that lists may show: the prefix, the id and the end of the checksum.
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
    /// `None` if the text cannot be a secret of this server, so that garbage never causes a look-up.
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
        // The checksum covers every character, but a secret may contain only base62 characters.
        if !is_alphanumeric(tail) {
            return None;
        }
        let id = KeyId::parse(tail.get(..ID_CHARS)?)?;
        Some(Presented { text, id })
    }

    /// The layout without prefix.
    fn parse_plain(text: &'a str) -> Option<Presented<'a>> {
        if text.len() != PLAIN_CHARS || !is_alphanumeric(text) {
            return None;
        }
        let (covered, checksum) = text.split_at_checked(PLAIN_CHARS - CHECKSUM_CHARS)?;
        if base62_value(checksum.as_bytes())? != u64::from(crc32(covered.as_bytes())) {
            return None;
        }
        let hex = covered.get(..PLAIN_ID_CHARS)?;
        let id = KeyId(u64::from_str_radix(hex, 16).ok()?);
        // Only one spelling of each id is accepted, and only ids that are in the range.
        let canonical = !hex.bytes().any(|b| b.is_ascii_uppercase());
        (canonical && id.0 < ID_END).then_some(Presented { text, id })
    }

    /// Does the same as [`Secret::hint`].
    pub fn hint(&self) -> String {
        let random = match self.prefix() {
            "" => PLAIN_RANDOM_CHARS,
            _ => RANDOM_CHARS,
        };
        let shown = self.text.len() - random - CHECKSUM_CHARS;
        let tail = self.text.len() - HINT_CHARS;
        format!("{}…{}", &self.text[..shown], &self.text[tail..])
    }

    /// The part before the underscore; empty if there is none.
    pub fn prefix(&self) -> &'a str {
        self.text.split_once('_').map_or("", |(prefix, _)| prefix)
    }
}

/// The number of characters after an underscore, or without one, from which a word is treated as a secret.
const SECRETIVE: (usize, usize) = (36, 100);

/// Whether a word of a text could be a secret, or most of one, of this server or of a system with similar secrets. Such a
/// text belongs neither into an address nor into a log. No id, hint, UUID or SHA-256 digest is one.
pub fn may_hold_secret(text: &str) -> bool {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| !word.is_empty()).any(|word| {
        let mut parts = word.split('_');
        let first = parts.next().unwrap_or_default();
        first.len() >= SECRETIVE.1 || parts.any(|part| part.len() >= SECRETIVE.0)
    })
}

/// The prefix of the secret that a hint belongs to; empty if the secret has none.
pub fn prefix_of_hint(hint: &str) -> &str {
    hint.split_once('_').map_or("", |(prefix, _)| prefix)
}

/// Generates a new key id.
pub fn generate_id() -> Result<KeyId> {
    let mut text = String::with_capacity(ID_CHARS);
    push_random(&mut text, ID_CHARS)?;
    base62_value(text.as_bytes())
        .map(KeyId)
        .ok_or_else(|| Error::internal("a drawn id is not base62"))
}

/// Generates ids that follow one another, beginning at a random one. Keys that are stored together are then stored on the
/// same pages, which makes a large import a third faster. An id is public, so it need not be hard to guess.
pub fn generate_ids(count: usize) -> Result<impl Iterator<Item = KeyId>> {
    let room = u64::try_from(count).map_err(Error::internal)?;
    let first = generate_id()?.0.min(ID_END.saturating_sub(room));
    Ok((first..).map(KeyId))
}

/// Generates `count` base62 characters without bias, for passwords and one-time codes.
pub fn random_text(count: usize) -> Result<String> {
    let mut text = String::with_capacity(count);
    push_random(&mut text, count)?;
    Ok(text)
}

/// Accepts `[a-z][a-z0-9]{1,15}` other than the reserved prefixes of sessions.
pub fn check_prefix(field: &str, prefix: &str) -> Result<()> {
    if matches!(prefix, PREFIX_SESSION | PREFIX_REFRESH | PREFIX_CONSOLE) {
        return Err(Error::invalid(field, refusals::keys::prefix_reserved()));
    }
    if is_prefix(prefix) {
        return Ok(());
    }
    Err(Error::invalid(field, refusals::keys::prefix()))
}

/// The number that base62 digits represent; `None` if a byte is not a digit or the number is too large.
pub(super) fn base62_value(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0_u64, |value, digit| {
        let worth = BASE62_WORTH[usize::from(*digit)];
        let value = value.checked_mul(62)?.checked_add(u64::from(worth))?;
        (worth != NO_DIGIT).then_some(value)
    })
}

const NO_DIGIT: u8 = u8::MAX;

/// The value of each byte as a digit.
const BASE62_WORTH: [u8; 256] = {
    let mut worth = [NO_DIGIT; 256];
    let mut digit = 0;
    while digit < BASE62.len() {
        worth[BASE62[digit] as usize] = digit as u8;
        digit += 1;
    }
    worth
};

/// Examines all bytes, even after a wrong one, so that the compiler can process sixteen with one instruction.
fn is_alphanumeric(text: &str) -> bool {
    let found = |found: bool, byte: u8| found & byte.is_ascii_alphanumeric();
    text.bytes().fold(true, found)
}

fn is_prefix(text: &str) -> bool {
    (2..=PREFIX_CHARS_MAX).contains(&text.len())
        && text.as_bytes()[0].is_ascii_lowercase()
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
}

/// Appends random base62 characters. Bytes of 248 and above are discarded: 256 is not a multiple of 62, so using them
/// would make the first eight digits more likely.
fn push_random(text: &mut String, count: usize) -> Result<()> {
    const FAIR: u8 = 248;
    let mut missing = count;
    while missing > 0 {
        let mut bytes = [0; 64];
        random::fill(&mut bytes)?;
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

/// CRC-32 as in ISO 3309 and zlib, reflected, with the polynomial 0xEDB88320; eight bytes in each step.
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

/// The contribution of a byte to the sum, by the number of bytes that follow it.
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
        // An id outside the range, and a second spelling of a valid id, both with the correct checksum.
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

    // attacks 136, at a size that suits a unit test
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
        // 860,000 characters, so 13,871 of each are expected; six standard deviations are 701.
        for (digit, count) in counts.iter().enumerate() {
            assert!(count.abs_diff(13_871) < 701, "{digit}: {count}");
        }
    }
}
