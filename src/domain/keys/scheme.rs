//! Schemes: the ways in which a digest is made from a secret.
//!
//! Latchkey itself stores HMAC-SHA256 under the pepper ([`Scheme::Pepper`]). Keys that were imported from another system,
//! or that a file declares, begin with the digest that was given for them. At the first good use this digest is replaced
//! by one under the newest pepper (`ops::keys::upgrade`).
//!
//! A fast scheme is good enough for random secrets. A slow scheme (bcrypt, PBKDF2, Argon2) is accepted only together with
//! a start of the secret by which its row is found, because nobody can try all rows.

use super::seal_key::same;
use super::secret::Presented;
use crate::domain::hex::{hex, unhex};
use crate::error::{Error, Result};
use crate::refusals;
use argon2::{Algorithm, Argon2, Params, Version};
use base64ct::{Base64, Base64Unpadded, Encoding};
use ring::{digest, hmac, pbkdf2};
use std::num::NonZeroU32;
use std::sync::Arc;

/// The number of fast schemes that one store may have besides those of its own peppers. An unknown text is hashed once
/// with each of them.
pub const FAST_SCHEMES_MAX: usize = 4;
/// The largest number of characters of [`GivenDigest::found_by`].
pub const FOUND_BY_CHARS_MAX: usize = 100;
/// The largest number of characters of the name of an HMAC key.
const HMAC_KEY_CHARS_MAX: usize = 40;
/// Bounds of slow digests, so that one verification takes at most about a second and 64 MiB.
const BCRYPT_COST_MAX: u32 = 14;
const PBKDF2_ITERATIONS_MAX: u32 = 2_000_000;
const ARGON2_MEMORY_KIB_MAX: u32 = 64 * 1024;
const ARGON2_PASSES_MAX: u32 = 10;
/// Ory Talos hashes these bytes before the secret.
const TALOS_START: [u8; 17] = [0; 17];

/// How a digest was made. The number is stored.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[repr(u8)]
pub enum Scheme {
    /// HMAC-SHA256 under a version of the pepper: every secret that this server has made, or has seen used.
    Pepper = 1,
    Sha256 = 2,
    Sha512 = 3,
    /// SHA-512/256 of 17 zero bytes and the secret, as Ory Talos stores it.
    Talos = 4,
    /// HMAC under a key of another system, which is in a file of its own.
    HmacSha256 = 5,
    HmacSha512 = 6,
    /// PBKDF2 with HMAC-SHA256, in the text form of Django.
    Pbkdf2 = 7,
    Bcrypt = 8,
    Argon2 = 9,
}

/// A digest that was made by another system: the stored form of a secret that this server has not seen yet.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct GivenDigest {
    pub scheme: Scheme,
    /// The digest itself. For a slow scheme, the complete text with cost and salt.
    pub bytes: Vec<u8>,
    /// The name of the HMAC key; only for an HMAC.
    pub hmac_key: Option<String>,
    /// The start of the secret by which a row with a slow digest is found. If it ends with a colon, it is the user name of
    /// `Authorization: Basic`, and only the password behind it was hashed; otherwise the whole secret was.
    pub found_by: Option<String>,
}

/// A way to make a digest that can be looked up.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Method {
    pub scheme: Scheme,
    /// The version of the pepper; 0 for other schemes.
    pub pepper: u16,
    /// The name of the HMAC key of another system.
    pub hmac_key: Option<Arc<str>>,
}

impl Scheme {
    /// Every scheme, in the order of the numbers.
    pub const ALL: [Scheme; 9] = [
        Scheme::Pepper,
        Scheme::Sha256,
        Scheme::Sha512,
        Scheme::Talos,
        Scheme::HmacSha256,
        Scheme::HmacSha512,
        Scheme::Pbkdf2,
        Scheme::Bcrypt,
        Scheme::Argon2,
    ];

    /// The scheme of a stored number.
    pub fn of_number(number: u32) -> Option<Scheme> {
        let mut all = Scheme::ALL.into_iter();
        all.find(|scheme| scheme.number() == number)
    }

    pub fn number(self) -> u32 {
        self as u32
    }

    /// The name in answers, in lists and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Scheme::Pepper => "latchkey",
            Scheme::Sha256 => "sha256",
            Scheme::Sha512 => "sha512",
            Scheme::Talos => "talos",
            Scheme::HmacSha256 => "hmac-sha256",
            Scheme::HmacSha512 => "hmac-sha512",
            Scheme::Pbkdf2 => "pbkdf2",
            Scheme::Bcrypt => "bcrypt",
            Scheme::Argon2 => "argon2",
        }
    }

    /// Whether a digest takes so long that it is never made on a thread that others wait for.
    pub fn is_slow(self) -> bool {
        matches!(self, Scheme::Pbkdf2 | Scheme::Bcrypt | Scheme::Argon2)
    }

    /// The digest of a text by a scheme that needs no key; `None` for the other schemes.
    pub fn digest(self, text: &str) -> Option<Vec<u8>> {
        let hash = |algorithm, start: &[u8]| {
            let mut context = digest::Context::new(algorithm);
            context.update(start);
            context.update(text.as_bytes());
            Some(context.finish().as_ref().to_vec())
        };
        match self {
            Scheme::Sha256 => hash(&digest::SHA256, &[]),
            Scheme::Sha512 => hash(&digest::SHA512, &[]),
            Scheme::Talos => hash(&digest::SHA512_256, &TALOS_START),
            _ => None,
        }
    }

    /// The HMAC of a text under the key of another system; `None` for the other schemes.
    pub fn hmac(self, key: &[u8], text: &str) -> Option<Vec<u8>> {
        let algorithm = match self {
            Scheme::HmacSha256 => hmac::HMAC_SHA256,
            Scheme::HmacSha512 => hmac::HMAC_SHA512,
            _ => return None,
        };
        let key = hmac::Key::new(algorithm, key);
        Some(hmac::sign(&key, text.as_bytes()).as_ref().to_vec())
    }
}

impl GivenDigest {
    /// Reads the text form: `sha256:HEX`, `sha512:HEX`, `talos:HEX`, `hmac-sha256:NAME:HEX`, `hmac-sha512:NAME:HEX`, the text of
    /// Django (`pbkdf2_sha256$…`), of bcrypt (`$2b$…`) or of Argon2 (`$argon2id$…`).
    ///
    /// # Errors
    /// The text is in none of these forms, is of a scheme that is not safe, costs too much to verify, or is itself a
    /// secret; or a slow scheme has no `found_by`, or another one has it.
    pub fn parse(text: &str, found_by: Option<&str>) -> Result<GivenDigest> {
        let refused = |reason| Err(Error::invalid("digest", reason));
        if Presented::parse(text).is_some() {
            return refused(refusals::keys::digest_is_a_secret());
        }
        if let Some(name) = unsafe_scheme(text) {
            return refused(refusals::keys::digest_unsafe(name));
        }
        let Some(mut given) = read(text) else {
            return refused(refusals::keys::digest_form());
        };
        if !is_affordable(&given) {
            return refused(refusals::keys::digest_too_slow());
        }
        let invalid = |reason| Err(Error::invalid("found_by", reason));
        match (given.scheme.is_slow(), found_by) {
            (true, None) => return invalid(refusals::keys::found_by_needed()),
            (false, Some(_)) => return invalid(refusals::keys::found_by_unused()),
            (false, None) => {}
            (true, Some(start)) if !is_start(start) => {
                return invalid(refusals::keys::found_by_form(FOUND_BY_CHARS_MAX));
            }
            (true, Some(start)) => given.found_by = Some(start.to_owned()),
        }
        Ok(given)
    }

    /// The form that [`GivenDigest::parse`] reads.
    pub fn to_text(&self) -> String {
        let name = self.hmac_key.as_deref().unwrap_or_default();
        match self.scheme {
            Scheme::HmacSha256 | Scheme::HmacSha512 => {
                format!("{}:{name}:{}", self.scheme.as_str(), hex(&self.bytes))
            }
            scheme if scheme.is_slow() => String::from_utf8_lossy(&self.bytes).into_owned(),
            scheme => format!("{}:{}", scheme.as_str(), hex(&self.bytes)),
        }
    }

    /// Whether a slow digest is the one of a presented text. Takes up to a second.
    pub fn matches_slowly(&self, presented: &str) -> bool {
        let Some(start) = &self.found_by else {
            return false;
        };
        let Some(rest) = presented.strip_prefix(start.as_str()) else {
            return false;
        };
        let hashed = if start.ends_with(':') {
            rest
        } else {
            presented
        };
        let Ok(text) = std::str::from_utf8(&self.bytes) else {
            return false;
        };
        match self.scheme {
            Scheme::Pbkdf2 => Django::read(text).is_some_and(|django| {
                let (salt, secret) = (django.salt.as_bytes(), hashed.as_bytes());
                let sha256 = pbkdf2::PBKDF2_HMAC_SHA256;
                pbkdf2::verify(sha256, django.iterations, salt, secret, &django.output).is_ok()
            }),
            Scheme::Bcrypt => bcrypt::verify(hashed, text).unwrap_or(false),
            Scheme::Argon2 => Phc::read(text).is_some_and(|phc| phc.matches(hashed)),
            _ => false,
        }
    }
}

/// The name of a scheme that is refused because it protects nothing.
fn unsafe_scheme(text: &str) -> Option<&'static str> {
    let lower = text.to_ascii_lowercase();
    let starts = [
        ("$apr1$", "MD5 (apr1)"),
        ("$1$", "MD5 (crypt)"),
        ("md5", "MD5"),
        ("{sha}", "SHA-1"),
        ("sha1", "SHA-1"),
        ("{ssha}", "SHA-1"),
        ("murmur", "MurmurHash"),
        ("crypt:", "crypt"),
    ];
    let found = starts.iter().find(|(start, _)| lower.starts_with(start));
    found.map(|(_, name)| *name)
}

/// Whether a text can be the start of secrets: printable ASCII that ends with a separator.
fn is_start(start: &str) -> bool {
    (2..=FOUND_BY_CHARS_MAX).contains(&start.len())
        && start.ends_with(['.', ':', '_'])
        && start.bytes().all(|byte| byte.is_ascii_graphic())
}

/// The starts of a text by which a slow digest can be found, shortest first.
pub fn starts(text: &str) -> impl Iterator<Item = &str> {
    let ends = text.bytes().take(FOUND_BY_CHARS_MAX).enumerate();
    ends.filter(|(_, byte)| matches!(byte, b'.' | b':' | b'_'))
        .filter_map(|(end, _)| text.get(..=end))
}

fn read(text: &str) -> Option<GivenDigest> {
    let slow = |scheme| GivenDigest {
        scheme,
        bytes: text.as_bytes().to_vec(),
        hmac_key: None,
        found_by: None,
    };
    if text.starts_with("pbkdf2_sha256$") {
        return Django::read(text).map(|_| slow(Scheme::Pbkdf2));
    }
    if text.starts_with("$2") {
        return bcrypt_cost(text).map(|_| slow(Scheme::Bcrypt));
    }
    if text.starts_with("$argon2") {
        return Phc::read(text).map(|_| slow(Scheme::Argon2));
    }
    let (word, rest) = text.split_once(':')?;
    let mut all = Scheme::ALL.into_iter();
    let scheme = all.find(|scheme| scheme.as_str() == word && !scheme.is_slow())?;
    let (hmac_key, digits) = match scheme {
        Scheme::Pepper => return None,
        Scheme::HmacSha256 | Scheme::HmacSha512 => {
            let (name, digits) = rest.split_once(':')?;
            (Some(name).filter(|name| is_hmac_key_name(name)), digits)
        }
        _ => (None, rest),
    };
    let length = match scheme {
        Scheme::Sha512 | Scheme::HmacSha512 => 64,
        _ => 32,
    };
    let needs_key = matches!(scheme, Scheme::HmacSha256 | Scheme::HmacSha512);
    let bytes = unhex(digits).filter(|bytes| bytes.len() == length)?;
    (hmac_key.is_some() == needs_key).then(|| GivenDigest {
        scheme,
        bytes,
        hmac_key: hmac_key.map(str::to_owned),
        found_by: None,
    })
}

/// Whether a text can be the name of an HMAC key, which is also the name of a file.
pub fn is_hmac_key_name(name: &str) -> bool {
    (1..=HMAC_KEY_CHARS_MAX).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn is_affordable(given: &GivenDigest) -> bool {
    let text = std::str::from_utf8(&given.bytes).unwrap_or_default();
    match given.scheme {
        Scheme::Bcrypt => bcrypt_cost(text).is_some_and(|cost| cost <= BCRYPT_COST_MAX),
        Scheme::Pbkdf2 => {
            Django::read(text).is_some_and(|it| it.iterations.get() <= PBKDF2_ITERATIONS_MAX)
        }
        Scheme::Argon2 => Phc::read(text).is_some_and(|it| {
            it.params.m_cost() <= ARGON2_MEMORY_KIB_MAX && it.params.t_cost() <= ARGON2_PASSES_MAX
        }),
        _ => true,
    }
}

/// The cost of a bcrypt text: `$2y$`, two digits, `$`, then 22 characters of salt and 31 of the digest.
fn bcrypt_cost(text: &str) -> Option<u32> {
    let rest = ["$2a$", "$2b$", "$2y$"]
        .iter()
        .find_map(|start| text.strip_prefix(start))?;
    let (cost, rest) = rest.split_once('$')?;
    let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'/');
    let is_good = cost.len() == 2 && rest.len() == 53 && rest.bytes().all(is_base64);
    cost.parse().ok().filter(|cost| is_good && *cost >= 4)
}

/// `pbkdf2_sha256$ITERATIONS$SALT$BASE64` (Django, `PBKDF2PasswordHasher`).
struct Django<'t> {
    iterations: NonZeroU32,
    salt: &'t str,
    output: Vec<u8>,
}

impl<'t> Django<'t> {
    fn read(text: &'t str) -> Option<Django<'t>> {
        let mut parts = text.strip_prefix("pbkdf2_sha256$")?.splitn(3, '$');
        let iterations = parts.next()?.parse().ok()?;
        let salt = parts.next().filter(|salt| !salt.is_empty())?;
        let output = Base64::decode_vec(parts.next()?).ok()?;
        (output.len() == 32).then_some(Django {
            iterations,
            salt,
            output,
        })
    }
}

/// `$argon2id$v=19$m=KIB,t=PASSES,p=LANES$SALT$OUTPUT` (the PHC string format).
struct Phc {
    algorithm: Algorithm,
    params: Params,
    salt: Vec<u8>,
    output: Vec<u8>,
}

impl Phc {
    fn read(text: &str) -> Option<Phc> {
        let mut parts = text.strip_prefix('$')?.split('$');
        let algorithm = match parts.next()? {
            "argon2id" => Algorithm::Argon2id,
            "argon2i" => Algorithm::Argon2i,
            _ => return None,
        };
        (parts.next()? == "v=19").then_some(())?;
        let mut costs = parts.next()?.split(',');
        let mut cost = |name: &str| costs.next()?.strip_prefix(name)?.parse::<u32>().ok();
        let (memory, passes, lanes) = (cost("m=")?, cost("t=")?, cost("p=")?);
        let salt = Base64Unpadded::decode_vec(parts.next()?).ok()?;
        let output = Base64Unpadded::decode_vec(parts.next()?).ok()?;
        let is_whole = parts.next().is_none() && costs.next().is_none();
        let params = Params::new(memory, passes, lanes, Some(output.len())).ok()?;
        let is_good = is_whole && salt.len() >= 8 && (16..=64).contains(&output.len());
        is_good.then_some(Phc {
            algorithm,
            params,
            salt,
            output,
        })
    }

    fn matches(self, text: &str) -> bool {
        let mut output = vec![0; self.output.len()];
        let argon2 = Argon2::new(self.algorithm, Version::V0x13, self.params);
        argon2
            .hash_password_into(text.as_bytes(), &self.salt, &mut output)
            .is_ok_and(|()| same(&output, &self.output))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Digests of other implementations: `printf abc | sha256sum`, `printf 'abc' | sha512sum`, OpenSSL's `-sha512-256` of 17
    /// zero bytes and `abc`, and `openssl dgst -hmac key`.
    const FAST: [(&str, &str); 2] = [
        (
            "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            "abc",
        ),
        (
            "sha512:ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
            "abc",
        ),
    ];

    #[test]
    fn fast_digests_are_those_of_the_reference_and_are_read_as_they_are_written() {
        for (text, secret) in FAST {
            let given = GivenDigest::parse(text, None).unwrap();
            assert_eq!(given.to_text(), text);
            assert_eq!(given.scheme.digest(secret).unwrap(), given.bytes);
            assert_ne!(given.scheme.digest("abd").unwrap(), given.bytes);
        }
        let upper = FAST[0].0.replace("ba7816bf", "BA7816BF");
        assert_eq!(
            GivenDigest::parse(&upper, None).unwrap().to_text(),
            FAST[0].0
        );
        // RFC 4231, test case 2.
        let hmac = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        let text = format!("hmac-sha256:old-keys:{hmac}");
        let given = GivenDigest::parse(&text, None).unwrap();
        assert_eq!(given.to_text(), text);
        let made = given.scheme.hmac(b"Jefe", "what do ya want for nothing?");
        assert_eq!(made.unwrap(), given.bytes);
        assert!(given.scheme.digest("x").is_none());
    }

    /// Made by Django 5.2, by `htpasswd -B`, and by argon2-cffi.
    #[test]
    fn slow_digests_match_their_secret_alone() {
        let django = {
            let mut output = [0; 32];
            let iterations = NonZeroU32::new(1_000).unwrap();
            let sha256 = pbkdf2::PBKDF2_HMAC_SHA256;
            pbkdf2::derive(
                sha256,
                iterations,
                b"seasalt",
                b"abcdefgh.secret",
                &mut output,
            );
            format!(
                "pbkdf2_sha256$1000$seasalt${}",
                Base64::encode_string(&output)
            )
        };
        let bcrypt = bcrypt::hash("secret", 4).unwrap().replace("$2b$", "$2y$");
        for (text, start, presented) in [
            (&django, "abcdefgh.", "abcdefgh.secret"),
            (&bcrypt, "alice:", "alice:secret"),
        ] {
            let given = GivenDigest::parse(text, Some(start)).unwrap();
            assert_eq!(given.to_text(), *text);
            assert!(given.matches_slowly(presented), "{text}");
            for other in ["secret", "", start, &format!("{presented}x"), "bob:secret"] {
                assert!(!given.matches_slowly(other), "{text}: {other}");
            }
        }
        let argon2 = "$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHRzYWx0$";
        let salt = b"somesaltsalt";
        let mut output = [0; 32];
        let params = Params::new(64, 1, 1, Some(32)).unwrap();
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(b"abc_secret", salt, &mut output)
            .unwrap();
        let argon2 = format!("{argon2}{}", Base64Unpadded::encode_string(&output));
        let given = GivenDigest::parse(&argon2, Some("abc_")).unwrap();
        assert!(given.matches_slowly("abc_secret"));
        assert!(!given.matches_slowly("abc_secreT"));
    }

    #[test]
    fn what_is_unreadable_unsafe_or_too_slow_is_refused() {
        let hash = "ab".repeat(32);
        for (text, words) in [
            ("", "digest"),
            (&hash, "digest"),
            ("sha256:abcd", "digest"),
            (&format!("sha256:{hash}00"), "digest"),
            (&format!("sha256:{}zz", &hash[..62]), "digest"),
            (&format!("sha512:{hash}"), "digest"),
            (&format!("hmac-sha256:{hash}"), "digest"),
            (&format!("hmac-sha256:../x:{hash}"), "digest"),
            (&format!("sha256:name:{hash}"), "digest"),
            (&format!("latchkey:{hash}"), "digest"),
            (&format!("bcrypt:{hash}"), "digest"),
            ("md5:900150983cd24fb0d6963f7d28e17f72", "MD5"),
            ("sha1:a9993e364706816aba3e25717850c26c9cd0d89d", "SHA-1"),
            ("{SHA}qZk+NkcGgWq6PiVxeFDCbJzQ2J0=", "SHA-1"),
            ("$apr1$HtKf1.2z$Y7i1w2lqd7wqTQs8OyE7J0", "MD5"),
            ("murmur64:abcdef", "MurmurHash"),
        ] {
            let refused = GivenDigest::parse(text, None).unwrap_err().to_string();
            assert!(refused.contains(words), "{text}: {refused}");
        }
        let own = super::super::secret::Secret::generate("lk", super::super::KeyId(1)).unwrap();
        assert!(GivenDigest::parse(own.expose(), None).is_err());
        let bcrypt = bcrypt::hash("x", 4).unwrap();
        let costly = bcrypt.replacen("$04$", "$15$", 1);
        let refused = GivenDigest::parse(&costly, Some("alice:")).unwrap_err();
        assert!(refused.to_string().contains("too long"), "{refused}");
        for start in [
            "",
            ".",
            "alice",
            "al ice:",
            &format!("{}:", "a".repeat(100)),
        ] {
            assert!(
                GivenDigest::parse(&bcrypt, Some(start)).is_err(),
                "{start:?}"
            );
        }
        assert!(GivenDigest::parse(&bcrypt, None).is_err());
        assert!(GivenDigest::parse(FAST[0].0, Some("alice:")).is_err());
    }
}
