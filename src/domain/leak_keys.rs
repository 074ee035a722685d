//! The public keys of services that deliver reports of leaked secrets without a credential, and what their signatures prove.
//!
//! A delivery is signed as GitHub's secret scanning partner program describes it: ECDSA over the curve P-256 with SHA-256, of
//! the whole body, as ASN.1 in Base64. The keys are pinned in a file; none is ever fetched.

use base64ct::{Base64, Encoding};
use ring::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};

/// What comes before the point in a public key of the curve P-256 (RFC 5480): its algorithm and its curve.
const P256: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
/// The number of bytes of an uncompressed point.
const POINT: usize = 65;
/// The number of characters of a signature: more than any of this curve has.
const SIGNATURE_CHARS_MAX: usize = 128;

/// Pinned public keys by their identifiers.
#[derive(Clone, Debug, Default)]
pub struct LeakKeys(Vec<(String, [u8; POINT])>);

impl LeakKeys {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds a public key in PEM. `false` if it is none of the curve P-256, or if there is one of this identifier already.
    pub fn add(&mut self, identifier: &str, pem: &str) -> bool {
        let known = self.0.iter().any(|(known, _)| known == identifier);
        match point(pem).filter(|_| !known && !identifier.is_empty()) {
            None => false,
            Some(point) => {
                self.0.push((identifier.to_owned(), point));
                true
            }
        }
    }

    /// Whether the key with this identifier has signed the body.
    pub fn verify(&self, identifier: &str, signature: &str, body: &[u8]) -> bool {
        let Some((_, point)) = self.0.iter().find(|(known, _)| known == identifier) else {
            return false;
        };
        if signature.len() > SIGNATURE_CHARS_MAX {
            return false;
        }
        let Ok(signature) = Base64::decode_vec(signature) else {
            return false;
        };
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point);
        key.verify(body, &signature).is_ok()
    }
}

/// The point of a public key in PEM (RFC 7468).
fn point(pem: &str) -> Option<[u8; POINT]> {
    let text = pem.trim().strip_prefix("-----BEGIN PUBLIC KEY-----")?;
    let text = text.strip_suffix("-----END PUBLIC KEY-----")?;
    let text: String = text.split_whitespace().collect();
    let bytes = Base64::decode_vec(&text).ok()?;
    bytes.strip_prefix(&P256)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring::rand::SystemRandom;
    use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};

    /// A key pair, and its public key in PEM.
    fn pair() -> (EcdsaKeyPair, String) {
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_ASN1_SIGNING;
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).unwrap();
        let der = [&P256[..], pair.public_key().as_ref()].concat();
        let text = Base64::encode_string(&der);
        let (first, second) = text.split_at(64);
        let pem =
            format!("-----BEGIN PUBLIC KEY-----\n{first}\n{second}\n-----END PUBLIC KEY-----\n");
        (pair, pem)
    }

    #[test]
    fn only_the_pinned_key_signs_and_only_the_whole_body() {
        let ((signer, pem), (stranger, _)) = (pair(), pair());
        let mut keys = LeakKeys::default();
        assert!(keys.add("one", &pem));
        assert!(!keys.add("one", &pem));
        let sign = |pair: &EcdsaKeyPair, body: &[u8]| {
            let signature = pair.sign(&SystemRandom::new(), body).unwrap();
            Base64::encode_string(signature.as_ref())
        };
        let body = br#"[{"token":"x"}]"#;
        let signature = sign(&signer, body);
        assert!(keys.verify("one", &signature, body));
        assert!(!keys.verify("two", &signature, body));
        assert!(!keys.verify("one", &signature, b"[]"));
        assert!(!keys.verify("one", &sign(&stranger, body), body));
        for bad in ["", "!", &"A".repeat(200), &signature[4..]] {
            assert!(!keys.verify("one", bad, body), "{bad}");
        }
    }

    #[test]
    fn a_key_of_another_kind_is_refused() {
        let mut keys = LeakKeys::default();
        let other = Base64::encode_string(&[0x30; 91]);
        for pem in [
            "",
            "x",
            "-----BEGIN PUBLIC KEY-----\n!\n-----END PUBLIC KEY-----",
            &format!("-----BEGIN PUBLIC KEY-----\n{other}\n-----END PUBLIC KEY-----"),
        ] {
            assert!(!keys.add("one", pem));
        }
        let (_, pem) = pair();
        assert!(!keys.add("", &pem));
        assert!(keys.is_empty());
    }
}
