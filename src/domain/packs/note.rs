//! Signed notes as C2SP specifies them (<https://c2sp.org/signed-note>), with Ed25519: a text, a blank line, and a line for
//! each signature. `Error` and refusals of readers are in [`super`].

use super::Checked;
use crate::domain::hex::{hex, unhex};
use crate::domain::random;
use crate::error::{Error, Result};
use crate::refusals;
use base64ct::{Base64, Encoding};
use ring::digest::{SHA256, digest};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};

/// The number of signatures that a note may have.
pub const SIGNATURES_MAX: usize = 16;
/// The number of bytes of a key's name.
const NAME_BYTES_MAX: usize = 120;
/// The first characters of a line with a signature: an em dash and a blank.
const DASH: &str = "\u{2014} ";
/// The number of the algorithm Ed25519 in notes.
const ALGORITHM: u8 = 1;

/// What a key is recognised by in a signature: the start of a hash of its name and its bytes.
pub type KeyHash = [u8; 4];

/// A public key, and the name that its signatures have.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PublicKey {
    pub name: String,
    pub bytes: [u8; 32],
}

/// A key that signs. It implements neither `Debug` nor `Clone`.
pub struct SigningKey {
    pair: Ed25519KeyPair,
    public: PublicKey,
}

/// One signature of a note.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Signature {
    pub name: String,
    pub hash: KeyHash,
    pub bytes: [u8; 64],
}

/// A note that was read; its signatures are not checked yet.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Note<'a> {
    /// With the line feed at its end.
    pub text: &'a str,
    pub signatures: Vec<Signature>,
}

/// Whether a text can be the name of a key: neither blanks nor a plus.
pub fn is_key_name(name: &str) -> bool {
    let fits = (1..=NAME_BYTES_MAX).contains(&name.len());
    fits && name.bytes().all(|b| b.is_ascii_graphic() && b != b'+')
}

impl PublicKey {
    pub fn hash(&self) -> KeyHash {
        let name = self.name.as_bytes();
        let all = [name, b"\n", &[ALGORITHM], &self.bytes].concat();
        let mut start = [0; 4];
        start.copy_from_slice(&digest(&SHA256, &all).as_ref()[..4]);
        start
    }

    /// The form of C2SP for verifier keys: `name+hash+base64`.
    pub fn to_text(&self) -> String {
        let bytes = [&[ALGORITHM][..], &self.bytes].concat();
        let key = Base64::encode_string(&bytes);
        format!("{}+{}+{key}", self.name, hex(&self.hash()))
    }

    /// The inverse of [`PublicKey::to_text`].
    pub fn parse(text: &str) -> Option<PublicKey> {
        let (name, rest) = text.split_once('+')?;
        let (hash, key) = rest.split_once('+')?;
        let bytes = decode(key, 33)?;
        let key = PublicKey {
            name: Some(name).filter(|name| is_key_name(name))?.to_owned(),
            bytes: bytes.strip_prefix(&[ALGORITHM])?.try_into().ok()?,
        };
        let known = unhex(hash)?;
        (known == key.hash() && key.to_text() == text).then_some(key)
    }

    /// Whether this key has made a signature of a text.
    pub fn has_signed(&self, text: &[u8], signature: &[u8; 64]) -> bool {
        let key = UnparsedPublicKey::new(&ED25519, &self.bytes);
        key.verify(text, signature).is_ok()
    }
}

impl SigningKey {
    /// Generates a key, and the seed from which [`SigningKey::of_seed`] makes it again.
    pub fn generate(name: &str) -> Result<(SigningKey, [u8; 32])> {
        let mut seed = [0; 32];
        random::fill(&mut seed)?;
        Ok((SigningKey::of_seed(name, &seed)?, seed))
    }

    pub fn of_seed(name: &str, seed: &[u8]) -> Result<SigningKey> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed);
        let pair = pair.map_err(|_| Error::internal("a signing key has the wrong length"))?;
        let bytes = pair.public_key().as_ref().try_into();
        let public = PublicKey {
            name: name.to_owned(),
            bytes: bytes.map_err(|_| Error::internal("a public key has the wrong length"))?,
        };
        Ok(SigningKey { pair, public })
    }

    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// The signature of a text, without its name.
    pub fn sign(&self, text: &[u8]) -> Signature {
        let mut bytes = [0; 64];
        bytes.copy_from_slice(self.pair.sign(text).as_ref());
        Signature {
            name: self.public.name.clone(),
            hash: self.public.hash(),
            bytes,
        }
    }
}

impl Signature {
    /// Base64 of the key's hash and the signature.
    pub fn to_base64(&self) -> String {
        Base64::encode_string(&[&self.hash[..], &self.bytes].concat())
    }

    /// The inverse of [`Signature::to_base64`].
    pub fn of_base64(name: &str, text: &str) -> Option<Signature> {
        let bytes = decode(text, 68)?;
        let (hash, bytes) = bytes.split_at_checked(4)?;
        Some(Signature {
            name: name.to_owned(),
            hash: hash.try_into().ok()?,
            bytes: bytes.try_into().ok()?,
        })
    }

    /// Whether the signature has the name and the hash of a key. This does not mean that the key has made it.
    pub fn names(&self, key: &PublicKey) -> bool {
        self.name == key.name && self.hash == key.hash()
    }

    fn line(&self) -> String {
        format!("{DASH}{} {}\n", self.name, self.to_base64())
    }

    fn parse(line: &str) -> Option<Signature> {
        let (name, text) = line.strip_prefix(DASH)?.split_once(' ')?;
        Signature::of_base64(name, text).filter(|one| is_key_name(&one.name))
    }
}

/// A note with its signatures. The text ends with a line feed.
pub fn write(text: &str, signatures: &[Signature]) -> String {
    let lines: String = signatures.iter().map(Signature::line).collect();
    format!("{text}\n{lines}")
}

impl<'a> Note<'a> {
    /// Reads a note; no key has signed it twice.
    pub fn parse(bytes: &'a [u8]) -> Checked<Note<'a>> {
        let read = || {
            let all = std::str::from_utf8(bytes).ok()?;
            let is_plain = all.chars().all(|c| c == '\n' || !c.is_control());
            let split = all.rfind("\n\n").filter(|_| is_plain)?;
            let (text, lines) = (&all[..=split], &all[split + 2..]);
            let lines = lines.strip_suffix('\n')?;
            let lines: Vec<&str> = lines.split('\n').take(SIGNATURES_MAX + 1).collect();
            let signatures: Option<Vec<Signature>> =
                lines.iter().map(|line| Signature::parse(line)).collect();
            let signatures = signatures.filter(|all| all.len() <= SIGNATURES_MAX)?;
            let is_twice = |(position, one): (usize, &Signature)| {
                let mut before = signatures[..position].iter();
                before.any(|other| (&other.name, other.hash) == (&one.name, one.hash))
            };
            let once = !signatures.iter().enumerate().any(is_twice);
            once.then_some(Note { text, signatures })
        };
        read().ok_or_else(refusals::packs::note)
    }

    /// Those of the keys that have signed the note.
    ///
    /// # Errors
    /// A signature has the name and the hash of one of the keys, and the key has not made it.
    pub fn signers(&self, keys: &[PublicKey]) -> Checked<Vec<PublicKey>> {
        let mut found = Vec::new();
        for key in keys {
            for signature in self.signatures.iter().filter(|one| one.names(key)) {
                if !key.has_signed(self.text.as_bytes(), &signature.bytes) {
                    return Err(refusals::packs::signature(&key.name));
                }
                found.push(key.clone());
            }
        }
        Ok(found)
    }
}

/// Base64 with padding of exactly this many bytes.
pub(super) fn decode(text: &str, bytes: usize) -> Option<Vec<u8>> {
    let fits = text.len() == bytes.div_ceil(3) * 4;
    let decoded = fits.then(|| Base64::decode_vec(text).ok())??;
    // One encoding: no bits behind the last byte.
    let same = Base64::encode_string(&decoded) == text;
    (decoded.len() == bytes && same).then_some(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_read_back_and_only_its_keys_have_signed_it() {
        let (one, seed) = SigningKey::generate("a.example/packs").unwrap();
        let (other, _) = SigningKey::generate("a.example/packs").unwrap();
        let text = "first\n\nsecond\n";
        let signed = write(text, &[one.sign(text.as_bytes())]);
        let note = Note::parse(signed.as_bytes()).unwrap();
        assert_eq!(note.text, text);
        let keys = [other.public().clone(), one.public().clone()];
        assert_eq!(note.signers(&keys).unwrap(), [one.public().clone()]);
        assert!(note.signers(&keys[..1]).unwrap().is_empty());
        let again = SigningKey::of_seed("a.example/packs", &seed).unwrap();
        assert_eq!(again.public(), one.public());
        let key = one.public().to_text();
        assert_eq!(PublicKey::parse(&key).as_ref(), Some(one.public()));
        for end in 0..key.len() {
            assert_eq!(PublicKey::parse(&key[..end]), None);
        }
        for end in 0..signed.len() {
            assert!(Note::parse(&signed.as_bytes()[..end]).is_err(), "{end}");
        }
    }

    #[test]
    fn a_flipped_bit_anywhere_leaves_no_signature() {
        let (one, _) = SigningKey::generate("a.example/packs").unwrap();
        let text = "first\nsecond\n";
        let signed = write(text, &[one.sign(text.as_bytes())]);
        let keys = [one.public().clone()];
        for position in 0..signed.len() {
            for bit in 0..8 {
                let mut bytes = signed.clone().into_bytes();
                bytes[position] ^= 1 << bit;
                let signers = Note::parse(&bytes).and_then(|note| note.signers(&keys));
                assert!(
                    signers.map_or(true, |found| found.is_empty()),
                    "{position} {bit}"
                );
            }
        }
    }

    /// The example of the specification of C2SP's note format: the key that signs the Go checksum database.
    #[test]
    fn a_key_of_another_program_is_read() {
        let text = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8";
        let key = PublicKey::parse(text).unwrap();
        assert_eq!(key.name, "sum.golang.org");
        assert_eq!(hex(&key.hash()), "033de0ae");
        assert_eq!(
            PublicKey::parse(&text.replace("033de0ae", "033de0af")),
            None
        );
    }
}
