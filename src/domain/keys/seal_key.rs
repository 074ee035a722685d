//! The seal key, with which the server seals what it writes for its own use: rows, the head and the checkpoint of the
//! audit log, and digests of passwords. It makes no digests of secrets; the pepper does that.
//!
//! It is stored outside the database, as the pepper is, so a stolen database can be changed, but not in a way that its
//! server accepts. It is random and not derived from the pepper: each of the two can be replaced alone, and a site that
//! has the pepper to verify secrets cannot seal anything.

use super::keyfile;
use super::pepper::Peppers;
use super::versions::{Versions, newest};
use crate::error::Result;
use ring::hmac;

/// An HMAC-SHA256 with the seal key.
pub type Seal = [u8; 32];

/// One version of the seal key.
struct SealKey {
    version: u32,
    key: hmac::Key,
}

/// All versions with which seals may have been made. A rotation replaces them while threads use them.
pub struct SealKeys(Versions<SealKey>);

impl SealKey {
    fn new(version: u32, bytes: &[u8; 32]) -> SealKey {
        SealKey {
            version,
            key: hmac::Key::new(hmac::HMAC_SHA256, bytes),
        }
    }

    /// The HMAC of the label, which separates seals from all other uses of the key, and of these parts.
    fn seal(&self, parts: &[&[u8]]) -> Seal {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(b"latchkey: seal\n");
        parts.iter().for_each(|part| context.update(part));
        bytes_of(context.sign())
    }
}

impl SealKeys {
    /// Generates the first version, and the text of its file.
    pub fn generate() -> Result<(SealKeys, String)> {
        let (bytes, text) = keyfile::draw()?;
        let first = SealKey::new(1, &bytes);
        Ok((SealKeys(Versions::new(vec![first])), text))
    }

    /// Reads the file of seal keys; `None` if it is damaged.
    pub fn parse(text: &str) -> Option<SealKeys> {
        let versions = keyfile::parse(text)?;
        let key = |(version, bytes): (u32, [u8; 32])| SealKey::new(version, &bytes);
        Some(SealKeys(Versions::new(
            versions.into_iter().map(key).collect(),
        )))
    }

    /// The keys of a database of schema 4 or older, which sealed with its peppers. They only compare older seals; a
    /// migration seals everything again.
    pub fn of_peppers(peppers: &Peppers) -> SealKeys {
        let key = |(version, key): (u32, hmac::Key)| SealKey { version, key };
        SealKeys(Versions::new(peppers.keys().into_iter().map(key).collect()))
    }

    /// Takes over the versions of another value.
    pub fn replace(&self, other: SealKeys) {
        self.0.replace(other.0);
    }

    /// The number of the newest version, with which seals are made.
    pub fn newest(&self) -> u32 {
        newest(&self.0.load()).version
    }

    /// For each version its number and a value that shows only whether a key file is the one with which a database was
    /// created; the oldest first.
    pub fn fingerprints(&self) -> Vec<(u32, [u8; 32])> {
        let print = |key: &SealKey| {
            let text = b"latchkey: fingerprint of the seal key";
            (key.version, bytes_of(hmac::sign(&key.key, text)))
        };
        self.0.load().iter().map(print).collect()
    }

    /// Seals a text whose first word names its purpose.
    pub fn seal(&self, text: &str) -> Seal {
        newest(&self.0.load()).seal(&[text.as_bytes()])
    }

    /// The version that has sealed this text ([`SealKeys::seal`]), if one has; the newest is tried first.
    pub fn sealer_of_text(&self, text: &str, seal: &Seal) -> Option<u32> {
        self.sealer_of_parts(&[text.as_bytes()], seal)
    }

    /// Whether any version has sealed this text.
    pub fn have_sealed_text(&self, text: &str, seal: &Seal) -> bool {
        self.sealer_of_text(text, seal).is_some()
    }

    /// Seals bytes. `what` names the purpose, so that a seal of one purpose is never valid for another; it must not
    /// contain a line feed.
    pub fn seal_bytes(&self, what: &str, bytes: &[u8]) -> Seal {
        newest(&self.0.load()).seal(&[what.as_bytes(), b"\n", bytes])
    }

    /// Does the same as [`SealKeys::seal_bytes`], and returns the version, too.
    pub fn seal_numbered(&self, what: &str, bytes: &[u8]) -> (u32, Seal) {
        let all = self.0.load();
        let key = newest(&all);
        (key.version, key.seal(&[what.as_bytes(), b"\n", bytes]))
    }

    /// Does the same as [`SealKeys::seal_bytes`] with one version; `None` if it is unknown.
    pub fn seal_bytes_with(&self, version: u32, what: &str, bytes: &[u8]) -> Option<Seal> {
        let all = self.0.load();
        let key = all.iter().find(|key| key.version == version)?;
        Some(key.seal(&[what.as_bytes(), b"\n", bytes]))
    }

    /// The version that has sealed these bytes ([`SealKeys::seal_bytes`]), if one has; the newest is tried first.
    pub fn sealer_of(&self, what: &str, bytes: &[u8], seal: &Seal) -> Option<u32> {
        self.sealer_of_parts(&[what.as_bytes(), b"\n", bytes], seal)
    }

    /// Whether any version has sealed these bytes.
    pub fn have_sealed(&self, what: &str, bytes: &[u8], seal: &Seal) -> bool {
        self.sealer_of(what, bytes, seal).is_some()
    }

    fn sealer_of_parts(&self, parts: &[&[u8]], seal: &Seal) -> Option<u32> {
        let all = self.0.load();
        let mut versions = all.iter().rev();
        let sealer = versions.find(|key| same(&key.seal(parts), seal));
        sealer.map(|key| key.version)
    }
}

fn bytes_of(tag: hmac::Tag) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(tag.as_ref());
    bytes
}

/// Compares in constant time, so that the duration does not reveal where the two values differ. Their lengths are no
/// secret.
pub fn same(one: &[u8], other: &[u8]) -> bool {
    let differences = one.iter().zip(other).fold(0, |sum, (a, b)| sum | (a ^ b));
    one.len() == other.len() && differences == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seal_fits_its_purpose_and_its_content_under_its_key_only() {
        let (one, text) = SealKeys::generate().unwrap();
        let (other, _) = SealKeys::generate().unwrap();
        let seal = one.seal_bytes("row", b"content");
        let read_back = SealKeys::parse(&text).unwrap();
        assert!(read_back.have_sealed("row", b"content", &seal));
        assert!(!read_back.have_sealed("row", b"contents", &seal));
        assert!(!read_back.have_sealed("rows", b"content", &seal));
        assert!(!other.have_sealed("row", b"content", &seal));
        let of_text = one.seal("audit 1");
        assert!(one.have_sealed_text("audit 1", &of_text));
        assert!(!one.have_sealed_text("audit 2", &of_text));
        assert!(!other.have_sealed_text("audit 1", &of_text));
    }

    #[test]
    fn seals_of_older_versions_fit_and_new_ones_are_made_with_the_newest() {
        let (older, text) = SealKeys::generate().unwrap();
        let both = SealKeys::parse(&format!("{text}2 {}\n", "cd".repeat(32))).unwrap();
        let seal = older.seal_bytes("row", b"content");
        assert!(both.have_sealed("row", b"content", &seal));
        assert_eq!(both.newest(), 2);
        assert_ne!(both.seal_bytes("row", b"content"), seal);
        assert_eq!(both.seal_bytes_with(1, "row", b"content"), Some(seal));
        assert_eq!(both.seal_bytes_with(3, "row", b"content"), None);
        assert_eq!(both.fingerprints()[0], older.fingerprints()[0]);
        assert_eq!(both.sealer_of("row", b"content", &seal), Some(1));
        older.replace(both);
        assert_eq!(older.newest(), 2);
        assert!(older.have_sealed("row", b"content", &seal));
        let newer = older.seal_bytes("row", b"content");
        assert_eq!(older.sealer_of("row", b"content", &newer), Some(2));
    }

    /// A site may have the pepper to verify secrets; it must not be able to seal.
    #[test]
    fn a_pepper_of_the_same_bytes_seals_as_schema_4_did_and_has_another_fingerprint() {
        let text = format!("1 {}\n", "ab".repeat(32));
        let peppers = Peppers::parse(&text).unwrap();
        let keys = SealKeys::parse(&text).unwrap();
        let former = SealKeys::of_peppers(&peppers);
        assert_eq!(former.seal("audit 1"), keys.seal("audit 1"));
        let (_, digest) = peppers.digest("latchkey: seal\naudit 1");
        assert_eq!(former.seal("audit 1"), digest.0);
        assert_ne!(peppers.fingerprints(), keys.fingerprints());
    }
}
