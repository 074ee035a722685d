//! Digests, which are stored in the place of secrets, and the pepper with which they are made.
//!
//! The pepper is stored outside the database, so a stolen database can be used neither to verify nor to forge keys.
//! Random 256-bit secrets need no slow hash (NIST SP 800-63B-4, look-up secrets).

use super::keyfile;
use crate::error::Result;
use ring::hmac;

/// HMAC-SHA256 of a secret with a pepper as the key: the stored form against which a secret is verified.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Digest(pub [u8; 32]);

/// One version of the pepper.
pub struct Pepper {
    pub version: u32,
    key: hmac::Key,
}

/// All versions with which stored digests may have been made, the newest last.
pub struct Peppers(Vec<Pepper>);

impl Pepper {
    fn new(version: u32, bytes: &[u8; 32]) -> Pepper {
        Pepper {
            version,
            key: hmac::Key::new(hmac::HMAC_SHA256, bytes),
        }
    }

    /// The digest of a complete secret, including the prefix.
    pub fn digest(&self, text: &str) -> Digest {
        let tag = hmac::sign(&self.key, text.as_bytes());
        let mut bytes = [0; 32];
        bytes.copy_from_slice(tag.as_ref());
        Digest(bytes)
    }

    /// Compares in constant time.
    pub fn matches(&self, text: &str, digest: &Digest) -> bool {
        hmac::verify(&self.key, text.as_bytes(), &digest.0).is_ok()
    }

    /// A value that shows only whether a pepper is the one with which a database was created.
    pub fn fingerprint(&self) -> Digest {
        self.digest("latchkey: fingerprint of the pepper")
    }

    /// Seals a text for this server's own use (the head of the audit chain). The label separates seals from digests.
    pub fn seal(&self, text: &str) -> Digest {
        self.digest(&format!("latchkey: seal\n{text}"))
    }

    /// Seals bytes for this server's own use. `what` names the purpose, so that a seal of one purpose is never valid
    /// for another; it must not contain a line feed.
    pub fn seal_bytes(&self, what: &str, bytes: &[u8]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.key);
        for part in ["latchkey: seal\n", what, "\n"] {
            context.update(part.as_bytes());
        }
        context.update(bytes);
        let mut seal = [0; 32];
        seal.copy_from_slice(context.sign().as_ref());
        seal
    }
}

impl Peppers {
    /// Generates the first version, and the text of its file.
    pub fn generate() -> Result<(Peppers, String)> {
        let (bytes, text) = keyfile::draw()?;
        Ok((Peppers(vec![Pepper::new(1, &bytes)]), text))
    }

    /// Reads the pepper file; `None` if it is damaged.
    pub fn parse(text: &str) -> Option<Peppers> {
        let versions = keyfile::parse(text)?;
        let pepper = |(version, bytes): (u32, [u8; 32])| Pepper::new(version, &bytes);
        Some(Peppers(versions.into_iter().map(pepper).collect()))
    }

    /// The version with which new digests are made.
    pub fn current(&self) -> &Pepper {
        // `parse` and `generate` never leave the list empty.
        &self.0[self.0.len() - 1]
    }

    /// The version with which an old digest was made.
    pub fn version(&self, version: u32) -> Option<&Pepper> {
        self.0.iter().find(|pepper| pepper.version == version)
    }

    /// Whether any version has sealed these bytes ([`Pepper::seal_bytes`]); the newest is tried first.
    pub fn have_sealed(&self, what: &str, bytes: &[u8], seal: &[u8; 32]) -> bool {
        let mut versions = self.0.iter().rev();
        versions.any(|pepper| same(&pepper.seal_bytes(what, bytes), seal))
    }

    /// Every version, oldest first.
    pub fn all(&self) -> &[Pepper] {
        &self.0
    }
}

/// Compares in constant time, so that the duration does not reveal where the two values differ.
pub fn same(one: &[u8; 32], other: &[u8; 32]) -> bool {
    let differences = one.iter().zip(other).fold(0, |sum, (a, b)| sum | (a ^ b));
    differences == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_matches_its_secret_under_its_pepper_only() {
        let (one, text) = Peppers::generate().unwrap();
        let (other, _) = Peppers::generate().unwrap();
        let digest = one.current().digest("lk_secret");
        let read_back = Peppers::parse(&text).unwrap();
        assert!(read_back.current().matches("lk_secret", &digest));
        assert!(!read_back.current().matches("lk_secreT", &digest));
        assert!(!other.current().matches("lk_secret", &digest));
    }
}
