//! Revocations as a text for QR codes: the ids of keys that have ended, signed as packs are. A text has only characters of a QR
//! code's alphanumeric mode (base 45, RFC 9285), so one code has room for [`IDS_MAX`] ids.

use super::Checked;
use super::note::{PublicKey, SigningKey};
use super::record::{Reader, Writer};
use crate::domain::keys::KeyId;
use crate::domain::time::Timestamp;
use crate::domain::uid::Uid;
use crate::refusals;

/// The number of ids in one code.
pub const IDS_MAX: usize = 320;
/// The number of characters that a QR code of the largest version holds in its alphanumeric mode.
pub const TEXT_CHARS_MAX: usize = 4_296;
/// What a text begins with.
pub const FIRST: &str = "LKREV1:";
/// What is signed begins with this, so that no signature of a note counts here.
const SIGNED: &[u8] = b"latchkey.revocations/v1\n";
/// The digits of base 45.
const DIGITS: &[u8; 45] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:";

/// The content of one code.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Revocations {
    pub server: Uid,
    pub reign: u64,
    /// The newest audit event that is included. A pack that includes a later one supersedes this.
    pub events: u64,
    /// In whole seconds.
    pub made: Timestamp,
    /// Which one of how many codes that were made together; from 1.
    pub part: u64,
    pub parts: u64,
    /// Keys that open nothing any more, in ascending order.
    pub ids: Vec<KeyId>,
}

impl Revocations {
    /// The bytes that are signed, without their first line.
    fn to_bytes(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.raw(&self.server.0.to_be_bytes());
        for number in [self.reign, self.events] {
            writer.number(number);
        }
        writer.number(u64::try_from(self.made.0 / 1000).unwrap_or(0));
        for number in [self.part, self.parts] {
            writer.number(number);
        }
        writer.list(self.ids.iter(), |writer, id| {
            writer.raw(&id.0.to_be_bytes())
        });
        writer.0
    }

    fn read(bytes: &[u8]) -> Option<Revocations> {
        let mut reader = Reader::new(bytes);
        let revocations = Revocations {
            server: Uid(reader.u128()?),
            reign: reader.number()?,
            events: reader.number()?,
            made: Timestamp(i64::try_from(reader.number()?.checked_mul(1000)?).ok()?),
            part: reader.number()?,
            parts: reader.number()?,
            ids: reader.list(IDS_MAX, |reader| {
                Some(KeyId(u64::from_be_bytes(reader.array()?)))
            })?,
        };
        reader.end()?;
        let is_ascending = revocations.ids.is_sorted_by(|one, next| one < next);
        let is_part = (1..=revocations.parts).contains(&revocations.part);
        (is_ascending && is_part).then_some(revocations)
    }

    /// The signed text.
    pub fn sign(&self, key: &SigningKey) -> String {
        signed(&self.to_bytes(), key)
    }

    /// Reads a text that one of these keys has signed.
    pub fn open(text: &str, trusted: &[PublicKey]) -> Checked<Revocations> {
        let no_text = refusals::packs::no_revocations;
        let digits = text.trim_end_matches(['\r', '\n']).strip_prefix(FIRST);
        let digits = digits.filter(|digits| digits.len() <= TEXT_CHARS_MAX);
        let bytes = digits.and_then(decode).ok_or_else(no_text)?;
        let parts = bytes.split_last_chunk::<68>();
        let (content, last) = parts.ok_or_else(no_text)?;
        let (hash, signature) = last.split_at(4);
        let signed = [SIGNED, content].concat();
        let Ok(signature) = signature.try_into() else {
            return Err(no_text());
        };
        let has_signed =
            |key: &PublicKey| key.hash() == *hash && key.has_signed(&signed, signature);
        if !trusted.iter().any(has_signed) {
            return Err(refusals::packs::strange_revocations());
        }
        Revocations::read(content).ok_or_else(no_text)
    }
}

/// The text of the bytes of a list and their signature.
pub(super) fn signed(bytes: &[u8], key: &SigningKey) -> String {
    let signature = key.sign(&[SIGNED, bytes].concat());
    let all = [bytes, &signature.hash, &signature.bytes].concat();
    format!("{FIRST}{}", encode(&all))
}

/// Base 45: two bytes are three digits, the least significant first; a last byte is two digits.
pub(super) fn encode(bytes: &[u8]) -> String {
    let digit = |value: u32| char::from(DIGITS[(value % 45) as usize]);
    let mut text = String::with_capacity(bytes.len().div_ceil(2) * 3);
    for pair in bytes.chunks(2) {
        let value = pair
            .iter()
            .fold(0, |value, byte| value << 8 | u32::from(*byte));
        text.extend([digit(value), digit(value / 45)]);
        if pair.len() == 2 {
            text.push(digit(value / 2025));
        }
    }
    text
}

/// The inverse of [`encode`].
pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 3 * 2 + 1);
    for group in text.as_bytes().chunks(3) {
        let mut value = 0_u32;
        for digit in group.iter().rev() {
            let worth = DIGITS.iter().position(|known| known == digit)?;
            value = value * 45 + u32::try_from(worth).ok()?;
        }
        match group.len() {
            3 => bytes.extend(u16::try_from(value).ok()?.to_be_bytes()),
            2 => bytes.push(u8::try_from(value).ok()?),
            _ => return None,
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(ids: u64) -> Revocations {
        Revocations {
            server: Uid(u128::MAX),
            reign: 1,
            events: 18_211,
            made: Timestamp(1_764_367_200_000),
            part: 1,
            parts: 2,
            ids: (0..ids).map(|id| KeyId(id * 77_777_777_777)).collect(),
        }
    }

    #[test]
    fn the_examples_of_the_rfc_are_encoded_and_decoded() {
        for (bytes, text) in [
            ("AB", "BB8"),
            ("Hello!!", "%69 VD92EX0"),
            ("base-45", "UJCLQE7W581"),
            ("ietf!", "QED8WEX0"),
        ] {
            assert_eq!(encode(bytes.as_bytes()), text);
            assert_eq!(decode(text).as_deref(), Some(bytes.as_bytes()));
        }
        for bad in ["A", ":::", "::", "a00", "0000", "É"] {
            assert_eq!(decode(bad), None, "{bad}");
        }
    }

    #[test]
    fn as_many_ids_as_promised_fit_one_code_and_only_whole() {
        let (key, _) = SigningKey::generate("server.example/packs").unwrap();
        let (stranger, _) = SigningKey::generate("server.example/packs").unwrap();
        let trusted = [key.public().clone()];
        let text = sample(IDS_MAX as u64).sign(&key);
        assert!(text.len() <= TEXT_CHARS_MAX, "{}", text.len());
        assert_eq!(Revocations::open(&text, &trusted).unwrap(), sample(320));
        assert!(Revocations::open(&text, &[stranger.public().clone()]).is_err());
        let more = sample(IDS_MAX as u64 + 1).sign(&key);
        assert!(Revocations::open(&more, &trusted).is_err());

        let text = sample(2).sign(&key);
        assert!(Revocations::open(&format!("{text}\n"), &trusted).is_ok());
        for end in 0..text.len() {
            assert!(Revocations::open(&text[..end], &trusted).is_err());
        }
        for position in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[position] = if bytes[position] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).unwrap();
            assert!(Revocations::open(&changed, &trusted).is_err());
        }
        let twice = Revocations {
            ids: vec![KeyId(1), KeyId(1)],
            ..sample(0)
        };
        assert!(Revocations::open(&twice.sign(&key), &trusted).is_err());
    }
}
