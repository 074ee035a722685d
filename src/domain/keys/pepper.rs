//! Digests, which are stored in the place of secrets, and the pepper with which they are made. The pepper makes nothing
//! else; rows are sealed with the seal key.
//!
//! The pepper is stored outside the database, so a stolen database can be used neither to verify nor to forge keys.
//! Random 256-bit secrets need no slow hash (NIST SP 800-63B-4, look-up secrets).

use super::keyfile;
use super::versions::{Versions, newest};
use crate::error::Result;
use ring::hmac;

/// HMAC-SHA256 of a secret with a pepper as the key: the stored form against which a secret is verified.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Digest(pub [u8; 32]);

/// One version of the pepper.
struct Pepper {
    version: u32,
    key: hmac::Key,
    /// For sites, to which peppers travel sealed.
    bytes: [u8; 32],
}

/// All versions with which stored digests may have been made. A rotation replaces them while threads use them.
pub struct Peppers {
    versions: Versions<Pepper>,
    /// At a site, every pepper that a pack has ever had: secrets that stay ended may be known by digests under these.
    former: Versions<hmac::Key>,
}

impl Pepper {
    fn new(version: u32, bytes: &[u8; 32]) -> Pepper {
        Pepper {
            version,
            key: hmac::Key::new(hmac::HMAC_SHA256, bytes),
            bytes: *bytes,
        }
    }

    fn digest(&self, text: &str) -> Digest {
        let tag = hmac::sign(&self.key, text.as_bytes());
        let mut bytes = [0; 32];
        bytes.copy_from_slice(tag.as_ref());
        Digest(bytes)
    }
}

impl Peppers {
    fn of(versions: Vec<Pepper>) -> Peppers {
        Peppers {
            versions: Versions::new(versions),
            former: Versions::new(Vec::new()),
        }
    }

    /// The same, with peppers under which digests of secrets may be known that stay ended.
    #[must_use]
    pub fn with_former(self, former: &[[u8; 32]]) -> Peppers {
        let key = |bytes: &[u8; 32]| hmac::Key::new(hmac::HMAC_SHA256, bytes);
        Peppers {
            former: Versions::new(former.iter().map(key).collect()),
            ..self
        }
    }

    /// Generates the first version, and the text of its file.
    pub fn generate() -> Result<(Peppers, String)> {
        let (bytes, text) = keyfile::draw()?;
        Ok((Peppers::of(vec![Pepper::new(1, &bytes)]), text))
    }

    /// Reads the pepper file; `None` if it is damaged.
    pub fn parse(text: &str) -> Option<Peppers> {
        let versions = keyfile::parse(text)?;
        let pepper = |(version, bytes): (u32, [u8; 32])| Pepper::new(version, &bytes);
        Some(Peppers::of(versions.into_iter().map(pepper).collect()))
    }

    /// Takes over the versions of another value.
    pub fn replace(&self, other: Peppers) {
        self.versions.replace(other.versions);
        self.former.replace(other.former);
    }

    /// The digest of a complete secret, including the prefix, with the newest version, and the number of that version.
    pub fn digest(&self, text: &str) -> (u32, Digest) {
        let all = self.versions.load();
        let pepper = newest(&all);
        (pepper.version, pepper.digest(text))
    }

    /// The digest of a complete text with a version; `None` if that is unknown.
    pub fn digest_with(&self, version: u32, text: &str) -> Option<Digest> {
        let all = self.versions.load();
        find(&all, version).map(|pepper| pepper.digest(text))
    }

    /// A digest under the newest version that no secret has, and the number of that version.
    pub fn digest_of_nothing(&self) -> Result<(u32, Digest)> {
        let (bytes, _) = keyfile::draw()?;
        Ok((self.newest(), Digest(bytes)))
    }

    /// The number of the newest version, with which digests are made.
    pub fn newest(&self) -> u32 {
        newest(&self.versions.load()).version
    }

    /// Compares a complete secret with a digest that a version has made, in constant time; `false` if the version is
    /// unknown.
    pub fn match_digest(&self, version: u32, text: &str, digest: &Digest) -> bool {
        let all = self.versions.load();
        let pepper = find(&all, version);
        pepper.is_some_and(|pepper| hmac::verify(&pepper.key, text.as_bytes(), &digest.0).is_ok())
    }

    /// Whether the digest of a complete secret with any of the versions, or with a former pepper, starts in one of these ways.
    pub fn any_starts(&self, text: &str, starts: &[[u8; 8]]) -> bool {
        let (versions, former) = (self.versions.load(), self.former.load());
        let keys = versions.iter().map(|pepper| &pepper.key);
        keys.chain(former.iter()).any(|key| {
            let tag = hmac::sign(key, text.as_bytes());
            starts.iter().any(|start| tag.as_ref().starts_with(start))
        })
    }

    /// Takes as long as a comparison, for a secret to which there is no digest.
    pub fn match_nothing(&self, text: &str) {
        // The result is not known to the compiler, so the work is not left out.
        let _ = hmac::verify(
            &newest(&self.versions.load()).key,
            text.as_bytes(),
            &[0; 32],
        );
    }

    /// For each version its number and a value that shows only whether a pepper is the one with which a database was
    /// created; the oldest first.
    pub fn fingerprints(&self) -> Vec<(u32, [u8; 32])> {
        let print = |pepper: &Pepper| {
            let digest = pepper.digest("latchkey: fingerprint of the pepper");
            (pepper.version, digest.0)
        };
        self.versions.load().iter().map(print).collect()
    }

    /// The number and the bytes of each version, the oldest first, for the sites that verify secrets.
    pub fn expose(&self) -> Vec<(u32, [u8; 32])> {
        let all = self.versions.load();
        all.iter()
            .map(|pepper| (pepper.version, pepper.bytes))
            .collect()
    }

    /// The keys of all versions, for the seals of older schemas.
    pub(super) fn keys(&self) -> Vec<(u32, hmac::Key)> {
        let key = |pepper: &Pepper| (pepper.version, pepper.key.clone());
        self.versions.load().iter().map(key).collect()
    }
}

fn find(all: &[Pepper], version: u32) -> Option<&Pepper> {
    all.iter().find(|pepper| pepper.version == version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_matches_its_secret_under_its_pepper_only() {
        let (one, text) = Peppers::generate().unwrap();
        let (other, _) = Peppers::generate().unwrap();
        let (version, digest) = one.digest("lk_secret");
        let read_back = Peppers::parse(&text).unwrap();
        assert!(read_back.match_digest(version, "lk_secret", &digest));
        assert!(!read_back.match_digest(version, "lk_secreT", &digest));
        assert!(!read_back.match_digest(version + 1, "lk_secret", &digest));
        assert!(!other.match_digest(version, "lk_secret", &digest));
    }

    #[test]
    fn a_secret_that_has_ended_is_known_under_every_pepper_that_there_was() {
        let (old, _) = Peppers::generate().unwrap();
        let (bytes, (_, digest)) = (old.expose()[0].1, old.digest("lk_secret"));
        let (_, text) = Peppers::generate().unwrap();
        let start = [*digest.0.first_chunk().unwrap()];
        let knows = |former: &[[u8; 32]], text: &str, secret: &str| {
            let peppers = Peppers::parse(text).unwrap();
            let replaced = Peppers::generate().unwrap().0;
            replaced.replace(peppers.with_former(former));
            replaced.any_starts(secret, &start)
        };
        assert!(old.any_starts("lk_secret", &start));
        assert!(!knows(&[], &text, "lk_secret"));
        assert!(knows(&[bytes], &text, "lk_secret"));
        assert!(!knows(&[bytes], &text, "lk_secreT"));
    }
}
