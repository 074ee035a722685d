//! RSA public keys that users sign in with: read in every form that tools write, and what is encrypted to them
//! (RSAES-OAEP of RFC 8017, section 7.1, with SHA-1 and its MGF1: what OAEP means where nobody says more; its security
//! does not rest on collisions).

use crate::error::{Error, Result};
use base64ct::{Base64, Encoding};
use crypto_bigint::modular::{BoxedMontyForm, BoxedMontyParams};
use crypto_bigint::{BoxedUint, Odd};
use pkcs1::der::asn1::UintRef;
use pkcs1::der::{Decode, Encode};
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA1_OUTPUT_LEN, digest};

/// Shorter ones are not safe any more, longer ones only slow.
const BITS: std::ops::RangeInclusive<usize> = 2048..=8192;
/// Exponents in use are 3, 17 and 65537.
const EXPONENT_BYTES_MAX: usize = 4;
const RSA: spki::ObjectIdentifier = spki::ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

/// Why a text is not taken, as a sentence part.
pub const REFUSED: &str =
    "must be an RSA public key of 2048 to 8192 bits, as DER, PEM, Base64 or RSAKeyValue";

/// One key.
pub struct PublicKey {
    /// Big-endian, without zeros before it.
    modulus: Vec<u8>,
    exponent: Vec<u8>,
}

impl PublicKey {
    /// Reads DER (SubjectPublicKeyInfo or PKCS #1), the PEM of either, .NET's `<RSAKeyValue>`, or the Base64 of any.
    pub fn read(bytes: &[u8]) -> Option<PublicKey> {
        read_plain(bytes).or_else(|| read_plain(&base64(std::str::from_utf8(bytes).ok()?)?))
    }

    fn new(modulus: &[u8], exponent: &[u8]) -> Option<PublicKey> {
        let (modulus, exponent) = (bare(modulus), bare(exponent));
        let leading = modulus.first()?.leading_zeros() as usize;
        let odd = |bytes: &[u8]| bytes.last().is_some_and(|byte| byte % 2 == 1);
        let fits = BITS.contains(&(modulus.len() * 8 - leading))
            && exponent.len() <= EXPONENT_BYTES_MAX
            && exponent != [1];
        (fits && odd(modulus) && odd(exponent)).then(|| PublicKey {
            modulus: modulus.to_vec(),
            exponent: exponent.to_vec(),
        })
    }

    /// The one form in which keys are stored and found: DER of PKCS #1.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let uint = |bytes| UintRef::new(bytes).map_err(|err| Error::internal(err.to_string()));
        let key = pkcs1::RsaPublicKey {
            modulus: uint(&self.modulus)?,
            public_exponent: uint(&self.exponent)?,
        };
        key.to_der().map_err(|err| Error::internal(err.to_string()))
    }

    /// Encrypts a short text to whoever has the private key; Base64.
    pub fn encrypt(&self, text: &str) -> Result<String> {
        let mut seed = [0; SHA1_OUTPUT_LEN];
        getrandom::fill(&mut seed).map_err(Error::internal)?;
        let padded = padded(text.as_bytes(), self.modulus.len(), &seed)
            .ok_or_else(|| Error::internal("a text is too long for its public key"))?;
        let bits = (self.modulus.len() * 8) as u32;
        let number = |bytes: &[u8]| {
            BoxedUint::from_be_slice(bytes, bits)
                .map_err(|_| Error::internal("a public key is no number"))
        };
        let modulus = Option::<Odd<BoxedUint>>::from(Odd::new(number(&self.modulus)?))
            .ok_or_else(|| Error::internal("a modulus is even"))?;
        let mut exponent = [0; EXPONENT_BYTES_MAX];
        exponent[EXPONENT_BYTES_MAX - self.exponent.len()..].copy_from_slice(&self.exponent);
        let params = BoxedMontyParams::new_vartime(modulus);
        let encrypted = BoxedMontyForm::new(number(&padded)?, &params)
            .pow(&BoxedUint::from(u32::from_be_bytes(exponent)))
            .retrieve();
        Ok(Base64::encode_string(&encrypted.to_be_bytes()))
    }
}

fn read_plain(bytes: &[u8]) -> Option<PublicKey> {
    if bytes.first() == Some(&0x30) {
        return read_der(bytes);
    }
    let text = std::str::from_utf8(bytes).ok()?.trim();
    if let Some(pem) = text.strip_prefix("-----BEGIN ") {
        let (label, rest) = pem.split_once("-----")?;
        let (body, _) = rest.split_once(&format!("-----END {label}-----"))?;
        let known = matches!(label, "PUBLIC KEY" | "RSA PUBLIC KEY");
        return known.then(|| read_der(&base64(body)?)).flatten();
    }
    let values = text.strip_prefix("<RSAKeyValue>")?;
    let value = |name: &str| {
        let (_, behind) = values.split_once(&format!("<{name}>"))?;
        base64(behind.split_once(&format!("</{name}>"))?.0)
    };
    PublicKey::new(&value("Modulus")?, &value("Exponent")?)
}

fn read_der(bytes: &[u8]) -> Option<PublicKey> {
    let inner = match spki::SubjectPublicKeyInfoRef::from_der(bytes) {
        Ok(info) if info.algorithm.oid == RSA => info.subject_public_key.as_bytes()?,
        Ok(_) => return None,
        Err(_) => bytes,
    };
    let key = pkcs1::RsaPublicKeyRef::from_der(inner).ok()?;
    PublicKey::new(key.modulus.as_bytes(), key.public_exponent.as_bytes())
}

/// Base64 with or without line ends and blanks in it.
fn base64(text: &str) -> Option<Vec<u8>> {
    let dense: String = text.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    (!dense.is_empty()).then_some(())?;
    Base64::decode_vec(&dense).ok()
}

/// Without zeros before it.
fn bare(bytes: &[u8]) -> &[u8] {
    let start = bytes.iter().position(|byte| *byte != 0);
    &bytes[start.unwrap_or(bytes.len())..]
}

/// EME-OAEP (RFC 8017, section 7.1.1, step 2) for a modulus of so many bytes; `None` if the text is too long.
fn padded(text: &[u8], bytes: usize, seed: &[u8; SHA1_OUTPUT_LEN]) -> Option<Vec<u8>> {
    let mut block = digest(&SHA1_FOR_LEGACY_USE_ONLY, b"").as_ref().to_vec();
    let zeros = bytes.checked_sub(text.len() + 2 * SHA1_OUTPUT_LEN + 2)?;
    block.resize(block.len() + zeros, 0);
    block.push(1);
    block.extend(text);
    xor(&mut block, &mask(seed, bytes - SHA1_OUTPUT_LEN - 1));
    let mut seed = *seed;
    xor(&mut seed, &mask(&block, SHA1_OUTPUT_LEN));
    Some([&[0][..], &seed, &block].concat())
}

/// MGF1 (RFC 8017, appendix B.2.1).
fn mask(seed: &[u8], length: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(length + SHA1_OUTPUT_LEN);
    for counter in 0_u32.. {
        if bytes.len() >= length {
            break;
        }
        let input = [seed, &counter.to_be_bytes()].concat();
        bytes.extend(digest(&SHA1_FOR_LEGACY_USE_ONLY, &input).as_ref());
    }
    bytes.truncate(length);
    bytes
}

fn xor(bytes: &mut [u8], mask: &[u8]) {
    for (byte, with) in bytes.iter_mut().zip(mask) {
        *byte ^= with;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2048 bits, made with OpenSSL; nobody has the private key.
    const SPKI: &str = "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAkkOh+6tH61aDfOWEpkBITHzOl4vOyqBS2oG8TI6EzUokN/blbpweCiC1HFCaZulMx+tY6l7e8NIfKqX3j5Ekuvp70/38W8joWOFpj9e0Lgx4zn9cjT8ZTP9Vqmw0ZlA87ny84MZIHujwH7OOWi3bl1Stilp3d72sXzhmEFgFjECJbpGaIF4F3YX4zUeYfpT92NX1fElCBY5eWXNUSsn9u640LpbsNUKNxJZMM0xvP20joS9Ef5oIuy8OYfP74b8hJgHZKCW21oRGYUKg+TmtbHjcffdktk/EcejHi+mb7rFnzTdlsk2Tk4bVxFUskslfIBsGdwMjGsg+IFjkaMdRZQIDAQAB";
    const PKCS1: &str = "MIIBCgKCAQEAkkOh+6tH61aDfOWEpkBITHzOl4vOyqBS2oG8TI6EzUokN/blbpweCiC1HFCaZulMx+tY6l7e8NIfKqX3j5Ekuvp70/38W8joWOFpj9e0Lgx4zn9cjT8ZTP9Vqmw0ZlA87ny84MZIHujwH7OOWi3bl1Stilp3d72sXzhmEFgFjECJbpGaIF4F3YX4zUeYfpT92NX1fElCBY5eWXNUSsn9u640LpbsNUKNxJZMM0xvP20joS9Ef5oIuy8OYfP74b8hJgHZKCW21oRGYUKg+TmtbHjcffdktk/EcejHi+mb7rFnzTdlsk2Tk4bVxFUskslfIBsGdwMjGsg+IFjkaMdRZQIDAQAB";

    fn pem(label: &str, body: &str) -> String {
        let mut lines = String::new();
        for line in body.as_bytes().chunks(64) {
            lines.push_str(std::str::from_utf8(line).unwrap());
            lines.push('\n');
        }
        format!("-----BEGIN {label}-----\n{lines}-----END {label}-----\n")
    }

    #[test]
    fn a_key_is_the_same_in_every_form() {
        let der = Base64::decode_vec(SPKI).unwrap();
        let key = PublicKey::read(&der).unwrap();
        let xml = format!(
            "<RSAKeyValue><Modulus>{}</Modulus><Exponent>{}</Exponent></RSAKeyValue>",
            Base64::encode_string(&key.modulus),
            Base64::encode_string(&key.exponent)
        );
        let stored = key.to_bytes().unwrap();
        assert_eq!(Base64::encode_string(&stored), PKCS1);
        for form in [
            SPKI.to_owned(),
            PKCS1.to_owned(),
            pem("PUBLIC KEY", SPKI),
            pem("RSA PUBLIC KEY", PKCS1),
            Base64::encode_string(pem("PUBLIC KEY", SPKI).as_bytes()),
            Base64::encode_string(xml.as_bytes()),
            xml,
        ] {
            let read = PublicKey::read(form.as_bytes()).expect(&form);
            assert_eq!(read.to_bytes().unwrap(), stored, "{form}");
        }
    }

    #[test]
    fn what_is_no_key_or_a_weak_one_is_refused() {
        let der = Base64::decode_vec(SPKI).unwrap();
        let key = PublicKey::read(&der).unwrap();
        let half = &key.modulus[..128];
        let mut even = key.modulus.clone();
        *even.last_mut().unwrap() &= 0xfe;
        assert!(PublicKey::new(half, &[1, 0, 1]).is_none());
        assert!(PublicKey::new(&even, &[1, 0, 1]).is_none());
        assert!(PublicKey::new(&vec![0xff; 1025], &[1, 0, 1]).is_none());
        for exponent in [&[][..], &[0], &[1], &[2], &[1, 0, 0, 0, 1]] {
            assert!(PublicKey::new(&key.modulus, exponent).is_none());
        }
        for bad in [
            "",
            "x",
            "AAAA",
            "<RSAKeyValue></RSAKeyValue>",
            "-----BEGIN ",
        ] {
            assert!(PublicKey::read(bad.as_bytes()).is_none(), "{bad}");
        }
        for cut in 0..der.len() {
            assert!(PublicKey::read(&der[..cut]).is_none(), "{cut}");
        }
    }

    #[test]
    fn a_text_is_padded_to_the_length_of_the_modulus_or_not_at_all() {
        let longest = 256 - 2 * SHA1_OUTPUT_LEN - 2;
        let block = padded(&vec![7; longest], 256, &[1; 20]).unwrap();
        assert_eq!((block.len(), block[0]), (256, 0));
        assert!(padded(&vec![7; longest + 1], 256, &[1; 20]).is_none());
        let key = PublicKey::read(SPKI.as_bytes()).unwrap();
        let (one, other) = (key.encrypt("x").unwrap(), key.encrypt("x").unwrap());
        assert_ne!(one, other);
        assert_eq!(Base64::decode_vec(&one).unwrap().len(), 256);
    }
}
