//! Encrypted ("sealed") copies of secrets, for policies that allow showing a secret again, and for secrets that the
//! server itself needs in plain text.
//!
//! The cipher is ChaCha20-Poly1305 (RFC 8439): it is fast on machines without AES instructions, and runs in constant
//! time on all machines. Every copy has its own random nonce (sufficient for 2^32 copies with one key), and is bound
//! to the id of its key, so that a row that was copied to another key cannot be decrypted. The sealing key is stored
//! outside the database, as the pepper is, so a stolen database reveals no secret.

use super::secret::Secret;
use super::versions::{Versions, newest};
use super::{KeyId, keyfile};
use crate::domain::random;
use crate::error::{Error, Result};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hmac;

/// An encrypted secret: nonce, ciphertext, tag.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Sealed {
    /// Version of the sealing key.
    pub version: u32,
    pub bytes: Vec<u8>,
}

/// One version of the sealing key.
struct SealingKey {
    version: u32,
    fingerprint: [u8; 32],
    cipher: LessSafeKey,
}

/// All versions with which sealed copies may have been made. A rotation replaces them while threads use them.
pub struct SealingKeys(Versions<SealingKey>);

impl SealingKey {
    /// The cipher key and the fingerprint are both derived, so that neither reveals anything about the other.
    fn new(version: u32, bytes: &[u8; 32]) -> Result<SealingKey> {
        let root = hmac::Key::new(hmac::HMAC_SHA256, bytes);
        let derive = |purpose: &str| hmac::sign(&root, purpose.as_bytes());
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(derive("latchkey: fingerprint of the sealing key").as_ref());
        let cipher = UnboundKey::new(
            &CHACHA20_POLY1305,
            derive("latchkey: cipher of sealed secrets").as_ref(),
        )
        .map_err(|_| Error::internal("a derived key has the wrong length"))?;
        Ok(SealingKey {
            version,
            fingerprint,
            cipher: LessSafeKey::new(cipher),
        })
    }
}

impl SealingKeys {
    /// Generates the first version, and the text of its file.
    pub fn generate() -> Result<(SealingKeys, String)> {
        let (bytes, text) = keyfile::draw()?;
        let first = SealingKey::new(1, &bytes)?;
        Ok((SealingKeys(Versions::new(vec![first])), text))
    }

    /// Reads the file of sealing keys; `None` if it is damaged.
    pub fn parse(text: &str) -> Option<SealingKeys> {
        let versions = keyfile::parse(text)?;
        let keys = versions
            .iter()
            .map(|(version, bytes)| SealingKey::new(*version, bytes).ok());
        let keys = keys.collect::<Option<_>>()?;
        Some(SealingKeys(Versions::new(keys)))
    }

    /// Takes over the versions of another value.
    pub fn replace(&self, other: SealingKeys) {
        self.0.replace(other.0);
    }

    /// The number of the newest version, with which copies are made.
    pub fn newest(&self) -> u32 {
        newest(&self.0.load()).version
    }

    /// For each version its number and a value that shows only whether a key file is the one with which a database was
    /// created; the oldest first.
    pub fn fingerprints(&self) -> Vec<(u32, [u8; 32])> {
        let print = |key: &SealingKey| (key.version, key.fingerprint);
        self.0.load().iter().map(print).collect()
    }

    /// Encrypts the secret of a key with the newest version.
    pub fn seal(&self, id: KeyId, secret: &Secret) -> Result<Sealed> {
        self.seal_bytes(&purpose(id), secret.expose().as_bytes())
    }

    /// Encrypts bytes and binds them to their purpose.
    pub fn seal_bytes(&self, purpose: &str, bytes: &[u8]) -> Result<Sealed> {
        let all = self.0.load();
        let key = newest(&all);
        let mut nonce = [0; NONCE_LEN];
        random::fill(&mut nonce)?;
        let mut sealed = bytes.to_vec();
        key.cipher
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(purpose.as_bytes()),
                &mut sealed,
            )
            .map_err(|_| Error::internal("a secret could not be sealed"))?;
        Ok(Sealed {
            version: key.version,
            bytes: [&nonce[..], &sealed].concat(),
        })
    }

    /// Decrypts a secret; `None` if the copy was changed, belongs to another key, or was made with an unknown version
    /// of the sealing key.
    pub fn open(&self, id: KeyId, sealed: &Sealed) -> Option<Secret> {
        let text = self.open_bytes(&purpose(id), sealed)?;
        Secret::read_back(std::str::from_utf8(&text).ok()?)
            .filter(|secret| secret.presented().id == id)
    }

    /// Encrypts the secret of a key again with the newest version; `None` if the copy cannot be opened.
    pub fn seal_again(&self, id: KeyId, sealed: &Sealed) -> Result<Option<Sealed>> {
        let secret = self.open(id, sealed);
        secret.map(|secret| self.seal(id, &secret)).transpose()
    }

    /// Decrypts what [`SealingKeys::seal_bytes`] has encrypted for the same purpose.
    pub fn open_bytes(&self, purpose: &str, sealed: &Sealed) -> Option<Vec<u8>> {
        let all = self.0.load();
        let key = all.iter().find(|key| key.version == sealed.version)?;
        let (nonce, text) = sealed.bytes.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut text = text.to_vec();
        let opened = key
            .cipher
            .open_in_place(nonce, Aad::from(purpose.as_bytes()), &mut text)
            .ok()?;
        Some(opened.to_vec())
    }
}

/// The text that a copy is bound to in addition to its content: its purpose and its key.
fn purpose(id: KeyId) -> String {
    format!("latchkey: sealed secret of key {id}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: KeyId = KeyId(7);

    fn sealed() -> (SealingKeys, String, String, Sealed) {
        let (keys, file) = SealingKeys::generate().unwrap();
        let secret = Secret::generate("lk", ID).unwrap();
        let sealed = keys.seal(ID, &secret).unwrap();
        (keys, file, secret.expose().to_owned(), sealed)
    }

    #[test]
    fn a_sealed_secret_opens_for_its_key_under_its_sealing_key() {
        let (keys, file, secret, sealed) = sealed();
        assert_eq!(keys.open(ID, &sealed).unwrap().expose(), secret);
        let read_back = SealingKeys::parse(&file).unwrap();
        assert_eq!(read_back.open(ID, &sealed).unwrap().expose(), secret);
        let newer = SealingKeys::parse(&format!("{file}2 {}\n", "cd".repeat(32))).unwrap();
        assert_eq!(newer.open(ID, &sealed).unwrap().expose(), secret);
        let resealed = newer.seal(ID, &newer.open(ID, &sealed).unwrap()).unwrap();
        assert_eq!(resealed.version, 2);
    }

    #[test]
    fn the_secret_is_not_in_its_sealed_copy_and_no_two_copies_are_alike() {
        let (keys, _, secret, first) = sealed();
        let again = keys.seal(ID, &keys.open(ID, &first).unwrap()).unwrap();
        assert_ne!(first.bytes, again.bytes);
        assert_ne!(first.bytes[..NONCE_LEN], again.bytes[..NONCE_LEN]);
        let tail = &secret.as_bytes()[secret.len() - 8..];
        assert!(!first.bytes.windows(8).any(|window| window == tail));
    }

    // attacks 139
    #[test]
    fn another_key_another_sealing_key_and_a_changed_copy_open_nothing() {
        let (keys, _, _, sealed) = sealed();
        let (others, _) = SealingKeys::generate().unwrap();
        assert!(keys.open(KeyId(8), &sealed).is_none());
        assert!(others.open(ID, &sealed).is_none());
        assert!(
            keys.open(
                ID,
                &Sealed {
                    version: 2,
                    ..sealed.clone()
                }
            )
            .is_none()
        );
        for position in 0..sealed.bytes.len() {
            let mut flipped = sealed.clone();
            flipped.bytes[position] ^= 1;
            assert!(keys.open(ID, &flipped).is_none(), "byte {position}");
            let cut = Sealed {
                bytes: sealed.bytes[..position].to_vec(),
                ..sealed.clone()
            };
            assert!(keys.open(ID, &cut).is_none(), "cut at {position}");
        }
    }

    #[test]
    fn a_fingerprint_tells_keys_apart() {
        let (one, file) = SealingKeys::generate().unwrap();
        let (other, _) = SealingKeys::generate().unwrap();
        assert_ne!(one.fingerprints(), other.fingerprints());
        let read_back = SealingKeys::parse(&file).unwrap();
        assert_eq!(read_back.fingerprints(), one.fingerprints());
        assert!(SealingKeys::parse("1 ab").is_none());
    }
}
