//! Revocations as a text for QR codes: keys, and secrets of keys that go on, that have ended, signed as packs are. A text has only
//! characters of a QR code's alphanumeric mode (base 45, RFC 9285), so one code has room for [`IDS_MAX`] ids, or half as many
//! secrets.

use super::Checked;
use super::note::{PublicKey, SIGNATURES_MAX, SigningKey};
use super::record::{Reader, Writer};
use crate::domain::keys::KeyId;
use crate::domain::time::Timestamp;
use crate::domain::uid::Uid;
use crate::refusals;

/// The number of ids in one code. A secret takes the room of two.
pub const IDS_MAX: usize = 320;
/// The number of bytes of a signature, with the hash of its key.
const SIGNATURE_BYTES: usize = 68;
/// At least the number of bytes of everything in a code but ids and signatures.
const REST_BYTES: usize = 80;
/// The number of signatures in one code: of the newest key, and of keys before it.
const SIGNERS_MAX: usize = SIGNATURES_MAX + 1;
/// The number of bytes of a digest that a text has.
pub const START_BYTES: usize = 8;
/// The number of characters that a QR code of the largest version holds in its alphanumeric mode.
pub const TEXT_CHARS_MAX: usize = 4_296;
/// The beginning of the text of a list, and that of the bytes which are signed.
pub(super) type Form = (&'static str, &'static [u8]);
/// What a text begins with that has ids alone, and what is signed begins with, so that no signature of a note counts here.
pub(super) const OF_KEYS: Form = ("LKREV1:", b"latchkey.revocations/v1\n");
/// The same for a text that has secrets too.
pub(super) const OF_SECRETS: Form = ("LKREV2:", b"latchkey.revocations/v2\n");
/// The digits of base 45.
const DIGITS: &[u8; 45] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:";

/// A secret that has ended, of a key that may go on.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct EndedSecret {
    pub key: KeyId,
    /// Of the digest.
    pub start: [u8; START_BYTES],
}

/// The start of a digest, by which a list names a secret.
pub fn start_of(digest: &[u8; 32]) -> [u8; START_BYTES] {
    let mut start = [0; START_BYTES];
    start.copy_from_slice(&digest[..START_BYTES]);
    start
}

/// The number of ids in one code with so many signatures.
pub fn ids_max(signatures: usize) -> usize {
    let bytes = TEXT_CHARS_MAX / 3 * 2 - REST_BYTES;
    (bytes.saturating_sub(signatures * SIGNATURE_BYTES) / 8).min(IDS_MAX)
}

/// Whether a text begins as revocations do.
pub fn is_text(text: &str) -> bool {
    [OF_KEYS, OF_SECRETS]
        .iter()
        .any(|(first, _)| text.starts_with(first))
}

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
    /// In ascending order too.
    pub secrets: Vec<EndedSecret>,
}

impl Revocations {
    fn form(&self) -> Form {
        match self.secrets.is_empty() {
            true => OF_KEYS,
            false => OF_SECRETS,
        }
    }

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
        if !self.secrets.is_empty() {
            writer.list(self.secrets.iter(), |writer, secret| {
                writer.raw(&secret.key.0.to_be_bytes());
                writer.raw(&secret.start);
            });
        }
        writer.0
    }

    fn read(bytes: &[u8], has_secrets: bool) -> Option<Revocations> {
        let mut reader = Reader::new(bytes);
        let key = |reader: &mut Reader<'_>| Some(KeyId(u64::from_be_bytes(reader.array()?)));
        let mut revocations = Revocations {
            server: Uid(reader.u128()?),
            reign: reader.number()?,
            events: reader.number()?,
            made: Timestamp(i64::try_from(reader.number()?.checked_mul(1000)?).ok()?),
            part: reader.number()?,
            parts: reader.number()?,
            ids: reader.list(IDS_MAX, key)?,
            secrets: Vec::new(),
        };
        if has_secrets {
            revocations.secrets = reader.list(IDS_MAX / 2, |reader| {
                Some(EndedSecret {
                    key: key(reader)?,
                    start: reader.array()?,
                })
            })?;
        }
        reader.end()?;
        let is_ascending = revocations.ids.is_sorted_by(|one, next| one < next)
            && revocations.secrets.is_sorted_by(|one, next| one < next);
        let is_part = (1..=revocations.parts).contains(&revocations.part);
        let fits = revocations.ids.len() + 2 * revocations.secrets.len() <= IDS_MAX;
        let is_own_form = has_secrets != revocations.secrets.is_empty();
        (is_ascending && is_part && fits && is_own_form).then_some(revocations)
    }

    /// The text, signed by each of these keys, so that a site counts it which trusts one of them.
    pub fn sign(&self, keys: &[SigningKey]) -> String {
        signed(self.form(), &self.to_bytes(), keys)
    }

    /// Reads a text that one of these keys has signed, with or without others.
    pub fn open(text: &str, trusted: &[PublicKey]) -> Checked<Revocations> {
        let no_text = refusals::packs::no_revocations;
        let text = text.trim_end_matches(['\r', '\n']);
        let (first, begin) = match text.starts_with(OF_SECRETS.0) {
            true => OF_SECRETS,
            false => OF_KEYS,
        };
        let digits = text.strip_prefix(first);
        let digits = digits.filter(|digits| digits.len() <= TEXT_CHARS_MAX);
        let bytes = digits.and_then(decode).ok_or_else(no_text)?;
        if bytes.len() < SIGNATURE_BYTES {
            return Err(no_text());
        }
        let content = signed_part(&bytes, begin, trusted);
        let content = content.ok_or_else(refusals::packs::strange_revocations)?;
        Revocations::read(content, first == OF_SECRETS.0).ok_or_else(no_text)
    }
}

/// The bytes before the signatures, if one of these keys has made one of them.
fn signed_part<'a>(bytes: &'a [u8], begin: &[u8], trusted: &[PublicKey]) -> Option<&'a [u8]> {
    let hashes: Vec<_> = trusted.iter().map(|key| (key.hash(), key)).collect();
    let mut content = bytes;
    // How many there are is not written: a signature counts for exactly the bytes that it was made of.
    for _ in 0..SIGNERS_MAX {
        (content, _) = content.split_last_chunk::<SIGNATURE_BYTES>()?;
        let (signatures, _) = bytes[content.len()..].as_chunks::<SIGNATURE_BYTES>();
        let has_signed = |one: &[u8; SIGNATURE_BYTES]| {
            let (hash, signature) = one.split_at(4);
            let Ok(signature) = signature.try_into() else {
                return false;
            };
            let mut keys = hashes.iter().filter(|(of_key, _)| of_key == hash);
            keys.any(|(_, key)| key.has_signed(&[begin, content].concat(), signature))
        };
        if signatures.iter().any(has_signed) {
            return Some(content);
        }
    }
    None
}

/// The text of the bytes of a list in one of the two forms, and a signature of each key.
pub(super) fn signed((first, begin): Form, bytes: &[u8], keys: &[SigningKey]) -> String {
    let text = [begin, bytes].concat();
    let mut all = bytes.to_vec();
    for key in keys {
        let signature = key.sign(&text);
        all.extend(signature.hash);
        all.extend(signature.bytes);
    }
    format!("{first}{}", encode(&all))
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
            secrets: Vec::new(),
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
        let text = sample(IDS_MAX as u64).sign(std::slice::from_ref(&key));
        assert!(text.len() <= TEXT_CHARS_MAX, "{}", text.len());
        assert_eq!(Revocations::open(&text, &trusted).unwrap(), sample(320));
        assert!(Revocations::open(&text, &[stranger.public().clone()]).is_err());
        let more = sample(IDS_MAX as u64 + 1).sign(std::slice::from_ref(&key));
        assert!(Revocations::open(&more, &trusted).is_err());

        let text = sample(2).sign(std::slice::from_ref(&key));
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
        assert!(Revocations::open(&twice.sign(std::slice::from_ref(&key)), &trusted).is_err());
    }

    #[test]
    fn each_of_several_signatures_counts_alone() {
        let keys: Vec<SigningKey> = (0..SIGNERS_MAX)
            .map(|_| SigningKey::generate("server.example/packs").unwrap().0)
            .collect();
        let (stranger, _) = SigningKey::generate("server.example/packs").unwrap();
        for count in [1, 2, 3, 4, SIGNERS_MAX] {
            let list = sample(ids_max(count) as u64);
            let text = list.sign(&keys[..count]);
            assert!(text.len() <= TEXT_CHARS_MAX, "{count}: {}", text.len());
            for key in &keys[..count] {
                let trusted = [stranger.public().clone(), key.public().clone()];
                assert_eq!(Revocations::open(&text, &trusted).unwrap(), list);
            }
            assert!(Revocations::open(&text, &[stranger.public().clone()]).is_err());
        }
        assert_eq!(
            (ids_max(1), ids_max(3), ids_max(4)),
            (IDS_MAX, IDS_MAX, 314)
        );
        // What no key has signed counts for none, whatever follows it.
        let (bytes, other) = (sample(3).to_bytes(), sample(2).to_bytes());
        let text = [OF_KEYS.1, &other].concat();
        let signature = keys[0].sign(&text);
        let all = [&bytes[..], &signature.hash, &signature.bytes].concat();
        let text = format!("{}{}", OF_KEYS.0, encode(&all));
        assert!(Revocations::open(&text, &[keys[0].public().clone()]).is_err());
    }

    #[test]
    fn secrets_of_keys_that_go_on_have_a_form_of_their_own() {
        let (key, _) = SigningKey::generate("server.example/packs").unwrap();
        let trusted = [key.public().clone()];
        let secret = |id: u64| EndedSecret {
            key: KeyId(id * 77_777_777_777),
            start: [(id % 251) as u8; START_BYTES],
        };
        let list = |ids: u64, secrets: u64| Revocations {
            secrets: (0..secrets).map(secret).collect(),
            ..sample(ids)
        };
        for (ids, secrets) in [(0, 1), (0, 160), (318, 1), (20, 150)] {
            let list = list(ids, secrets);
            let text = list.sign(std::slice::from_ref(&key));
            assert!(is_text(&text) && text.starts_with("LKREV2:"));
            assert!(text.len() <= TEXT_CHARS_MAX, "{}", text.len());
            assert_eq!(Revocations::open(&text, &trusted).unwrap(), list);
            let renamed = text.replacen("LKREV2", "LKREV1", 1);
            assert!(Revocations::open(&renamed, &trusted).is_err());
        }
        for list in [list(319, 1), list(0, 161)] {
            assert!(Revocations::open(&list.sign(std::slice::from_ref(&key)), &trusted).is_err());
        }
        let mut twice = list(0, 1);
        twice.secrets.push(twice.secrets[0]);
        assert!(Revocations::open(&twice.sign(std::slice::from_ref(&key)), &trusted).is_err());
    }
}
