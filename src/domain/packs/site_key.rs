//! The key that a site has alone with its server. Peppers travel to the site sealed under it, and what the site reports is
//! authenticated with it. No other site can read the one or forge the other.

use super::note;
use crate::domain::keys::seal_key::same;
use crate::domain::random;
use crate::domain::uid::Uid;
use crate::error::{Error, Result};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hmac;

/// A version of the pepper under the key of a site: nonce, ciphertext, tag.
pub type SealedPepper = [u8; 60];

/// The key of a site. It implements neither `Debug` nor `Clone`.
pub struct SiteKey([u8; 32]);

impl SiteKey {
    pub fn generate() -> Result<SiteKey> {
        let mut bytes = [0; 32];
        random::fill(&mut bytes)?;
        Ok(SiteKey(bytes))
    }

    pub fn of(bytes: [u8; 32]) -> SiteKey {
        SiteKey(bytes)
    }

    /// The bytes, for the enrolment file and for what the server stores.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// A key for one purpose.
    fn derive(&self, purpose: &str) -> [u8; 32] {
        let root = hmac::Key::new(hmac::HMAC_SHA256, &self.0);
        bytes_of(hmac::sign(&root, purpose.as_bytes()))
    }

    /// What stands for the enrolment in packs that lend uses, while the server knows of no life of the site.
    pub fn enrolment(&self) -> Uid {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&self.derive("latchkey: enrolment")[..16]);
        Uid(u128::from_be_bytes(bytes))
    }

    /// A life for the first state of an enrolment: a random number with a tag. So the server distinguishes it from the life of a state that
    /// was made of a used enrolment, and to which nothing of what was lent before belongs.
    pub fn first_life(&self) -> Result<Uid> {
        let mut random = [0; 8];
        random::fill(&mut random)?;
        Ok(self.tagged_life(random))
    }

    /// Whether a life is one of [`SiteKey::first_life`].
    pub fn is_first(&self, life: Uid) -> bool {
        self.tagged_life(((life.0 >> 64) as u64).to_be_bytes()) == life
    }

    /// The first life with this random number.
    pub fn tagged_life(&self, random: [u8; 8]) -> Uid {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.derive("latchkey: first lives"));
        let tag = hmac::sign(&key, &random);
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&random);
        bytes[8..].copy_from_slice(&tag.as_ref()[..8]);
        Uid(u128::from_be_bytes(bytes))
    }

    fn cipher(&self) -> Result<LessSafeKey> {
        let key = UnboundKey::new(&AES_256_GCM, &self.derive("latchkey: cipher of peppers"));
        let key = key.map_err(|_| Error::internal("a derived key has the wrong length"))?;
        Ok(LessSafeKey::new(key))
    }

    /// Seals a version of the pepper. The same pepper has the same sealed form, so that a difference of two packs does not
    /// have it: the nonce is a keyed hash of what is sealed, and so never the same for two peppers.
    pub fn seal_pepper(
        &self,
        server: Uid,
        site: &str,
        version: u16,
        pepper: &[u8; 32],
    ) -> Result<SealedPepper> {
        let bound = binding(server, site, version);
        let key = hmac::Key::new(
            hmac::HMAC_SHA256,
            &self.derive("latchkey: nonce of peppers"),
        );
        let tag = hmac::sign(&key, &[bound.as_bytes(), b"\n", pepper].concat());
        let mut nonce = [0; NONCE_LEN];
        nonce.copy_from_slice(&tag.as_ref()[..NONCE_LEN]);
        let mut bytes = pepper.to_vec();
        let unique = Nonce::assume_unique_for_key(nonce);
        self.cipher()?
            .seal_in_place_append_tag(unique, Aad::from(bound.as_bytes()), &mut bytes)
            .map_err(|_| Error::internal("a pepper could not be sealed"))?;
        let sealed = [&nonce[..], &bytes].concat();
        let sealed = sealed.try_into();
        sealed.map_err(|_| Error::internal("a sealed pepper has the wrong length"))
    }

    /// Opens what [`SiteKey::seal_pepper`] has sealed; `None` if it was sealed to another site, or was changed.
    pub fn open_pepper(
        &self,
        server: Uid,
        site: &str,
        version: u16,
        sealed: &SealedPepper,
    ) -> Option<[u8; 32]> {
        let (nonce, text) = sealed.split_at(NONCE_LEN);
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let bound = binding(server, site, version);
        let mut text = text.to_vec();
        let opened = (self.cipher().ok()?)
            .open_in_place(nonce, Aad::from(bound.as_bytes()), &mut text)
            .ok()?;
        (&*opened).try_into().ok()
    }

    /// Authenticates a report: a line for its end.
    pub fn authenticate(&self, report: &str) -> String {
        self.tag("latchkey: reports", report)
    }

    /// Whether a tag is the one that [`SiteKey::authenticate`] makes.
    pub fn has_authenticated(&self, report: &str, tag: &str) -> bool {
        is_tag(&self.authenticate(report), tag)
    }

    /// Authenticates the lines of a question, as [`SiteKey::authenticate`] does a report.
    pub fn authenticate_question(&self, lines: &str) -> String {
        self.tag("latchkey: questions", lines)
    }

    /// Whether a tag is the one that [`SiteKey::authenticate_question`] makes.
    pub fn has_authenticated_question(&self, lines: &str, tag: &str) -> bool {
        is_tag(&self.authenticate_question(lines), tag)
    }

    fn tag(&self, purpose: &str, text: &str) -> String {
        use base64ct::{Base64, Encoding};
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.derive(purpose));
        Base64::encode_string(&bytes_of(hmac::sign(&key, text.as_bytes())))
    }
}

/// Compares a tag with the right one, in a time that does not depend on where they differ.
fn is_tag(right: &str, tag: &str) -> bool {
    note::decode(tag, 32).is_some() && same(right.as_bytes(), tag.as_bytes())
}

/// What a sealed pepper is bound to.
fn binding(server: Uid, site: &str, version: u16) -> String {
    format!("latchkey: pepper {version} of {server} for site {site}")
}

fn bytes_of(tag: hmac::Tag) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(tag.as_ref());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_life_of_an_enrolment_is_known_by_its_tag() {
        let (key, other) = (SiteKey::generate().unwrap(), SiteKey::generate().unwrap());
        let (one, two) = (key.first_life().unwrap(), key.first_life().unwrap());
        assert_ne!(one, two);
        assert!(key.is_first(one) && key.is_first(two) && !other.is_first(one));
        assert!(!key.is_first(Uid::generate().unwrap()));
        for bit in 0..128 {
            assert!(!key.is_first(Uid(one.0 ^ (1 << bit))), "{bit}");
        }
    }

    #[test]
    fn a_sealed_pepper_opens_for_its_site_and_its_version_only() {
        let (key, other) = (SiteKey::generate().unwrap(), SiteKey::generate().unwrap());
        let server = Uid(1);
        let seal = |pepper| key.seal_pepper(server, "plant-7", 2, pepper).unwrap();
        let sealed = seal(&[5; 32]);
        assert_eq!(sealed, seal(&[5; 32]));
        assert_ne!(sealed[..12], seal(&[6; 32])[..12]);
        assert_eq!(
            key.open_pepper(server, "plant-7", 2, &sealed),
            Some([5; 32])
        );
        assert_eq!(key.open_pepper(server, "plant-7", 1, &sealed), None);
        assert_eq!(key.open_pepper(server, "plant-8", 2, &sealed), None);
        assert_eq!(key.open_pepper(Uid(2), "plant-7", 2, &sealed), None);
        assert_eq!(other.open_pepper(server, "plant-7", 2, &sealed), None);
        for position in 0..sealed.len() {
            let mut changed = sealed;
            changed[position] ^= 1;
            assert_eq!(key.open_pepper(server, "plant-7", 2, &changed), None);
        }
        let tag = key.authenticate("a report");
        assert!(key.has_authenticated("a report", &tag));
        assert!(!key.has_authenticated("a report!", &tag));
        assert!(!key.has_authenticated("a report", ""));
        assert!(!other.has_authenticated("a report", &tag));
    }
}
