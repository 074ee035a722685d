//! The token in the forms of a session, which prevents requests from other sites (CSRF). It follows from the secret of
//! the session and does not reveal it.

use crate::domain::hex::hex;
use crate::domain::keys::seal_key::same;
use crate::domain::sessions::derived;

const PURPOSE: &str = "a form of the console";

pub fn of(secret: &str) -> String {
    hex(&derived(secret, PURPOSE))
}

/// Whether the text is the token of this session; compared in constant time.
pub fn is_of(secret: &str, text: &str) -> bool {
    let pairs = text.as_bytes().chunks(2);
    let bytes: Option<Vec<u8>> = pairs
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect();
    let token = bytes.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    token.is_some_and(|token| same(&derived(secret, PURPOSE), &token))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_token_belongs_to_one_session() {
        let token = of("lkc_one");
        assert_eq!(token.len(), 64);
        assert!(is_of("lkc_one", &token));
        assert!(!is_of("lkc_two", &token));
        for bad in ["", "0", "zz", &token[..62], "\u{e9}\u{e9}"] {
            assert!(!is_of("lkc_one", bad), "{bad:?}");
        }
    }
}
