//! Texts that may be secrets of other systems, while a file with them is read.

use crate::domain::hex::hex;
use ring::digest::{SHA256, digest};

/// A text that may be a secret. It has no `Debug` and no `Display`, and its memory is overwritten when it is dropped.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct Plain(String);

impl Plain {
    /// Takes over a text.
    pub fn new(text: impl Into<String>) -> Plain {
        Plain(text.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text itself, for one that is known to be no secret.
    pub fn into_string(mut self) -> String {
        std::mem::take(&mut self.0)
    }

    /// SHA-256 of the text as 64 lower-case hexadecimal digits.
    pub fn sha256_hex(&self) -> String {
        hex(digest(&SHA256, self.0.as_bytes()).as_ref())
    }
}

impl Drop for Plain {
    fn drop(&mut self) {
        let mut bytes = std::mem::take(&mut self.0).into_bytes();
        bytes.fill(0);
        // Keeps the compiler from leaving out a write that nothing reads.
        std::hint::black_box(&mut bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_text_is_hashed_as_every_other_program_hashes_it() {
        // FIPS 180-2, appendix B.1
        assert_eq!(
            Plain::new("abc").sha256_hex(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!(Plain::new("abc").into_string(), "abc");
    }
}
