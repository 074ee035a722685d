//! One-time codes, which are computed from a shared secret and the time (RFC 6238 over RFC 4226) with the parameters
//! that every authenticator app supports: SHA-1, six digits, steps of 30 seconds.

use crate::domain::random;
use crate::domain::time::Timestamp;
use crate::error::Result;
use crate::refusals::{self, Refusal};
use base32ct::{Base32UpperUnpadded, Encoding};
use ring::hmac;

/// The latest step whose code is accepted at a time.
pub fn latest_step(now: Timestamp) -> i64 {
    now.0.div_euclid(STEP_MS) + DRIFT_STEPS
}

/// The length of a step.
const STEP_MS: i64 = 30_000;
/// How many steps before and after the present one are accepted: clocks differ, and people type slowly (RFC 6238,
/// section 5.2).
const DRIFT_STEPS: i64 = 1;
const DIGITS: usize = 6;
/// The length of a generated secret, which is that of SHA-1's output (RFC 4226, requirement R6).
const BYTES: usize = 20;
/// The lengths of accepted secrets: at least 128 bits (R6), at most one block of the hash.
const BYTES_MIN: usize = 16;
/// See [`BYTES_MIN`].
const BYTES_MAX: usize = 64;

/// The secret that an authenticator app and this server share.
///
/// It implements neither `Clone` nor `Display`, so that it is not copied by accident.
pub struct CodeSecret(Vec<u8>);

impl CodeSecret {
    pub fn generate() -> Result<CodeSecret> {
        let mut bytes = vec![0; BYTES];
        random::fill(&mut bytes)?;
        Ok(CodeSecret(bytes))
    }

    /// Restores a secret from its stored bytes.
    pub fn of_bytes(bytes: Vec<u8>) -> CodeSecret {
        CodeSecret(bytes)
    }

    pub fn expose_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The form that people type into an app: Base32 without padding.
    pub fn expose(&self) -> String {
        Base32UpperUnpadded::encode_string(&self.0)
    }

    /// The form that apps read from a QR code: an `otpauth` URL with issuer and account.
    pub fn expose_url(&self, issuer: &str, account: &str) -> String {
        let (issuer, account) = (encoded(issuer), encoded(account));
        format!(
            "otpauth://totp/{issuer}:{account}?secret={}&issuer={issuer}&algorithm=SHA1&digits={DIGITS}&period={}",
            self.expose(),
            STEP_MS / 1000
        )
    }

    /// Reads an `otpauth` URL. The error is a part of a sentence: the text is no such URL, or its codes have other
    /// parameters.
    pub fn of_url(url: &str) -> std::result::Result<CodeSecret, Refusal> {
        let (_, query) = url
            .strip_prefix("otpauth://totp/")
            .and_then(|rest| rest.split_once('?'))
            .ok_or_else(refusals::authenticators::url)?;
        let mut secret = None;
        for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            match name {
                "secret" if secret.is_some() => return Err(refusals::authenticators::one_secret()),
                "secret" => secret = Some(value),
                "algorithm" if !value.eq_ignore_ascii_case("SHA1") => {
                    return Err(refusals::authenticators::algorithm());
                }
                "digits" if value != "6" => return Err(refusals::authenticators::digits()),
                "period" if value != "30" => return Err(refusals::authenticators::period()),
                _ => {}
            }
        }
        let text = secret
            .ok_or_else(refusals::authenticators::secret)?
            .replace("%3D", "");
        let text = text.trim_end_matches('=').to_ascii_uppercase();
        // The text must be equal to its canonical form: the decoder ignores bits after the last byte.
        let bytes = Base32UpperUnpadded::decode_vec(&text)
            .ok()
            .filter(|bytes| Base32UpperUnpadded::encode_string(bytes) == text)
            .ok_or_else(refusals::authenticators::base32)?;
        if !(BYTES_MIN..=BYTES_MAX).contains(&bytes.len()) {
            return Err(refusals::authenticators::secret_bits());
        }
        Ok(CodeSecret(bytes))
    }

    /// The step that a code belongs to, if it is one of the accepted steps around `now` and later than the last used
    /// one: a code is accepted once (RFC 6238, section 5.2). Blanks between its digits are ignored.
    pub fn step_of(&self, code: &str, now: Timestamp, used: i64) -> Option<i64> {
        let digits: String = code.chars().filter(|c| *c != ' ').collect();
        if digits.len() != DIGITS || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let code: u32 = digits.parse().ok()?;
        let present = now.0.div_euclid(STEP_MS);
        (present - DRIFT_STEPS..=present + DRIFT_STEPS)
            .filter(|step| *step > used)
            .find(|step| self.code(*step) == code)
    }

    /// RFC 4226, section 5.3.
    fn code(&self, step: i64) -> u32 {
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &self.0);
        let tag = hmac::sign(&key, &step.to_be_bytes());
        let tag = tag.as_ref();
        let offset = usize::from(tag.last().copied().unwrap_or(0) & 0xf);
        let taken = tag[offset..]
            .first_chunk()
            .copied()
            .map_or(0, u32::from_be_bytes);
        (taken & 0x7fff_ffff) % 10_u32.pow(DIGITS as u32)
    }
}

impl std::fmt::Debug for CodeSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CodeSecret")
    }
}

/// Percent-encodes all but unreserved characters (RFC 3986, section 2.3).
fn encoded(text: &str) -> String {
    let one = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
            char::from(byte).to_string()
        }
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6238, appendix B: the last six of the eight digits.
    #[test]
    fn codes_are_those_of_the_rfc() {
        let secret = CodeSecret::of_bytes(b"12345678901234567890".to_vec());
        for (seconds, code) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ] {
            let now = Timestamp(seconds * 1000);
            let step = seconds / 30;
            assert_eq!(secret.step_of(code, now, 0), Some(step), "{seconds}");
            let spaced = format!("{} {}", &code[..3], &code[3..]);
            assert_eq!(secret.step_of(&spaced, now, step - 1), Some(step));
        }
    }

    #[test]
    fn a_code_is_good_once_and_for_a_minute_and_a_half() {
        let secret = CodeSecret::of_bytes(b"12345678901234567890".to_vec());
        let at = |seconds: i64| Timestamp(seconds * 1000);
        let (code, step) = ("081804", 37_037_036);
        for (now, used, good) in [
            (1_111_111_109, 0, true),
            (1_111_111_109, step - 1, true),
            (1_111_111_109, step, false),
            (1_111_111_109, step + 1, false),
            (1_111_111_050, 0, true),
            (1_111_111_049, 0, false),
            (1_111_111_139, 0, true),
            (1_111_111_140, 0, false),
        ] {
            let found = secret.step_of(code, at(now), used);
            assert_eq!(found, good.then_some(step), "{now} {used}");
        }
        for bad in ["", "81804", "0818040", "08180a", "+81804", "081805"] {
            assert_eq!(secret.step_of(bad, at(1_111_111_109), 0), None, "{bad}");
        }
    }

    #[test]
    fn a_url_is_read_back_and_what_apps_make_otherwise_is_refused() {
        let secret = CodeSecret::generate().unwrap();
        let url = secret.expose_url("Latchkey", "a b@example.com");
        assert!(url.starts_with("otpauth://totp/Latchkey:a%20b%40example.com?secret="));
        assert_eq!(CodeSecret::of_url(&url).unwrap().expose(), secret.expose());
        let short = "otpauth://totp/x?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY%3D%3D";
        assert_eq!(CodeSecret::of_url(short).unwrap().expose_bytes().len(), 16);
        for bad in [
            "",
            "otpauth://totp/x",
            "otpauth://totp/x?issuer=y",
            "otpauth://hotp/x?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY&counter=1",
            "otpauth://totp/x?secret=GEZDGNBVGY3TQOJQ",
            "otpauth://totp/x?secret=GEZDGNBVGY3TQOJQGEZDGNBVG!",
            "otpauth://totp/x?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY&digits=8",
            "otpauth://totp/x?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY&period=60",
            "otpauth://totp/x?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY&algorithm=SHA256",
            "otpauth://totp/x?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY&secret=GEZDGNBVGY3TQOJQGEZDGNBVGY",
        ] {
            assert!(CodeSecret::of_url(bad).is_err(), "{bad}");
        }
    }
}
