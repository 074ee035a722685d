//! Digests of imported keys, and how they are recognised after they were replaced.
//!
//! A digest that was made by another system is replaced at the first good use of its secret, and it is deleted with its key. A
//! repeated import must know it all the same: otherwise a secret would get a second key, or come back to life. So the
//! store keeps an HMAC of it ([`Mark`]). It is made with the seal key, because the digest
//! itself would help a thief of the database to guess a weak secret. A version of the seal key is
//! retired only together with its marks, which are then not recognised any more.

use super::live::StoredSecret;
use super::pepper::{Digest, Peppers};
use super::scheme::{GivenDigest, Method, Scheme};
use super::seal_key::SealKeys;
use crate::domain::hex::{hex, unhex};
use crate::error::{Error, Result};
use crate::refusals;
use ring::digest::{SHA256, digest};

/// The start of the member `source` of an imported key; the name of the other system follows.
pub const SOURCE: &str = "import:";
/// The greatest number of characters of that name.
const SYSTEM_CHARS_MAX: usize = 40;
/// The start of a digest under the pepper, in exports.
const PEPPERED: &str = "latchkey:";
/// The purpose of a mark.
const MARK: &str = "digest of an imported key";

/// What a digest is recognised by, and the version of the seal key that made it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Mark {
    pub hmac: [u8; 32],
    pub seal_key: u32,
}

/// The digest of an imported key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ImportedDigest {
    /// Made by another system, or by `latchkey key draw`.
    Given(GivenDigest),
    /// Made by a server that has the same pepper: the digest, and the version of that pepper on this server.
    Peppered(Digest, u32),
}

/// A digest that a server with a certain pepper has made.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PepperedDigest {
    pub digest: Digest,
    /// The fingerprint of the pepper.
    pub fingerprint: [u8; 32],
}

impl PepperedDigest {
    /// Reads `latchkey:` and 64 hexadecimal digits; `None` if the text is a digest of another kind.
    pub fn read(
        text: &str,
        found_by: Option<&str>,
        fingerprint: Option<&str>,
    ) -> Result<Option<PepperedDigest>> {
        let Some(digits) = text.strip_prefix(PEPPERED) else {
            return Ok(None);
        };
        let bytes = |digits: &str| unhex(digits).and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
        let given = bytes(digits)
            .ok_or_else(|| Error::invalid("digest", refusals::imports::peppered_form()))?;
        if found_by.is_some() {
            return Err(Error::invalid(
                "found_by",
                refusals::keys::found_by_unused(),
            ));
        }
        let field = "pepper_fingerprint";
        let wanted = fingerprint
            .ok_or_else(|| Error::invalid(field, refusals::imports::fingerprint_needed()))?;
        let fingerprint = bytes(wanted)
            .ok_or_else(|| Error::invalid(field, refusals::imports::fingerprint_form()))?;
        Ok(Some(PepperedDigest {
            digest: Digest(given),
            fingerprint,
        }))
    }

    /// The digest on a server that has the pepper, under any version.
    pub fn on(&self, peppers: &Peppers) -> Result<ImportedDigest> {
        let mut known = peppers.fingerprints().into_iter();
        let found = known.find(|(_, fingerprint)| *fingerprint == self.fingerprint);
        let (version, _) = found.ok_or_else(|| {
            let start = hex(&self.fingerprint[..4]);
            Error::Conflict(refusals::imports::pepper_missing(start))
        })?;
        Ok(ImportedDigest::Peppered(self.digest, version))
    }

    /// The form in which files declare it.
    pub fn given(&self) -> GivenDigest {
        GivenDigest {
            scheme: Scheme::Pepper,
            bytes: self.digest.0.to_vec(),
            hmac_key: None,
            found_by: None,
        }
    }
}

impl ImportedDigest {
    /// Reads the digest of a line of an import. `fingerprint` is that of its pepper.
    ///
    /// # Errors
    /// Those of [`GivenDigest::parse`]; and this server does not have the pepper.
    pub fn parse(
        text: &str,
        found_by: Option<&str>,
        fingerprint: Option<&str>,
        peppers: &Peppers,
    ) -> Result<ImportedDigest> {
        match PepperedDigest::read(text, found_by, fingerprint)? {
            None => GivenDigest::parse(text, found_by).map(ImportedDigest::Given),
            Some(peppered) => peppered.on(peppers),
        }
    }

    /// The text form of a digest under the pepper.
    pub fn peppered_text(digest: &Digest) -> String {
        format!("{PEPPERED}{}", hex(&digest.0))
    }

    /// The text form.
    pub fn to_text(&self) -> String {
        match self {
            ImportedDigest::Given(given) => given.to_text(),
            ImportedDigest::Peppered(digest, _) => ImportedDigest::peppered_text(digest),
        }
    }

    pub fn scheme(&self) -> Scheme {
        match self {
            ImportedDigest::Given(given) => given.scheme,
            ImportedDigest::Peppered(..) => Scheme::Pepper,
        }
    }

    /// What is stored of it.
    pub fn stored(&self, is_foreign: bool) -> StoredSecret {
        match self {
            ImportedDigest::Given(given) => StoredSecret::given(given, is_foreign),
            ImportedDigest::Peppered(digest, version) => StoredSecret {
                is_foreign,
                ..StoredSecret::peppered(*digest, *version)
            },
        }
    }

    /// The method by which the secret is found if another system has made it; `None` for a slow digest.
    pub fn method(&self) -> Option<Method> {
        let (scheme, hmac_key) = match self {
            ImportedDigest::Given(given) => (given.scheme, given.hmac_key.as_deref()),
            ImportedDigest::Peppered(..) => (Scheme::Pepper, None),
        };
        (!scheme.is_slow()).then(|| Method {
            scheme,
            pepper: self.stored(true).pepper,
            hmac_key: hmac_key.map(Into::into),
        })
    }

    /// What the store keeps, so that the digest is recognised.
    pub fn mark(&self, seal_keys: &SealKeys) -> Mark {
        let (seal_key, hmac) = seal_keys.seal_numbered(MARK, self.to_text().as_bytes());
        Mark { hmac, seal_key }
    }

    /// What the store may have kept: a mark with each seal key.
    pub fn marks(&self, seal_keys: &SealKeys) -> Vec<Mark> {
        let text = self.to_text();
        let versions = seal_keys.fingerprints().into_iter();
        let mark = |(seal_key, _)| {
            let hmac = seal_keys.seal_bytes_with(seal_key, MARK, text.as_bytes())?;
            Some(Mark { hmac, seal_key })
        };
        versions.filter_map(mark).collect()
    }

    /// Whether a text is the secret of this digest, as far as that is found out quickly and without a key.
    pub fn is_of(&self, text: &str) -> bool {
        match self {
            ImportedDigest::Given(given) => {
                given.scheme.digest(text).as_ref() == Some(&given.bytes)
            }
            ImportedDigest::Peppered(..) => false,
        }
    }
}

/// SHA-256 of a file, in hexadecimal.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(digest(&SHA256, bytes).as_ref())
}

/// Refuses a text that cannot be the name of the system that an import comes from.
pub fn check_system(text: &str) -> Result<()> {
    let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    match (1..=SYSTEM_CHARS_MAX).contains(&text.len()) && text.bytes().all(legal) {
        true => Ok(()),
        false => Err(Error::invalid(
            "source",
            refusals::imports::system(SYSTEM_CHARS_MAX),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHA256: &str = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn parse(text: &str, fingerprint: Option<&str>, peppers: &Peppers) -> Result<ImportedDigest> {
        ImportedDigest::parse(text, None, fingerprint, peppers)
    }

    #[test]
    fn a_digest_under_the_pepper_is_read_where_the_pepper_is() {
        let (one, text) = Peppers::generate().unwrap();
        let (other, _) = Peppers::generate().unwrap();
        let (_, digest) = one.digest("lk_secret");
        let line = ImportedDigest::peppered_text(&digest);
        let fingerprint = hex(&one.fingerprints()[0].1);
        let read = parse(&line, Some(&fingerprint), &one).unwrap();
        assert_eq!(read.to_text(), line);
        assert!(read.stored(false).matches(&one, "lk_secret"));
        // On another server the same pepper has another version.
        let moved = format!(
            "4 {}\n7 {}",
            "ab".repeat(32),
            text.trim().split_once(' ').unwrap().1
        );
        let moved = Peppers::parse(&moved).unwrap();
        let read = parse(&line, Some(&fingerprint), &moved).unwrap();
        assert_eq!(read, ImportedDigest::Peppered(digest, 7));
        assert!(read.stored(false).matches(&moved, "lk_secret"));
        for (line, fingerprint, peppers, words) in [
            (&line[..], Some(&fingerprint[..]), &other, "does not have"),
            (&line, None, &one, "is needed"),
            (&line, Some("ab"), &one, "64 hexadecimal digits"),
            (
                &line[..70],
                Some(&fingerprint),
                &one,
                "64 hexadecimal digits",
            ),
        ] {
            let refused = parse(line, fingerprint, peppers).unwrap_err().to_string();
            assert!(refused.contains(words), "{refused}");
        }
    }

    #[test]
    fn a_digest_is_recognised_by_its_mark_under_each_seal_key() {
        let (peppers, _) = Peppers::generate().unwrap();
        let (older, text) = SealKeys::generate().unwrap();
        let newer = SealKeys::parse(&format!("{text}2 {}\n", "cd".repeat(32))).unwrap();
        let digest = parse(SHA256, None, &peppers).unwrap();
        let mark = digest.mark(&older);
        assert!(digest.marks(&newer).contains(&mark));
        assert_ne!(digest.mark(&newer), mark);
        let upper = format!("sha256:{}", SHA256[7..].to_uppercase());
        assert_eq!(parse(&upper, None, &peppers).unwrap().mark(&older), mark);
        let other = SHA256.replace("ad", "ae");
        let other = parse(&other, None, &peppers).unwrap();
        assert!(!other.marks(&older).contains(&mark));
        assert!(digest.is_of("abc") && !digest.is_of("abd"));
    }

    #[test]
    fn a_system_has_a_plain_name() {
        for good in ["kong", "better-auth", "a1"] {
            check_system(good).unwrap();
        }
        for bad in ["", "Kong", "a b", "a:b", &"a".repeat(41)] {
            assert!(check_system(bad).is_err(), "{bad:?}");
        }
    }
}
