//! Removes secrets from texts that are kept: the place where a secret was found, and the path of a request.

use super::finder::{self, Rest};
use super::secret::may_hold_secret;
use base64ct::{Base64UrlUnpadded, Encoding};
use memchr::memmem;
use std::ops::Range;

/// What stands for a secret.
const GONE: &str = "…";
/// How often a text may be percent-encoded so that its secrets are found.
const LAYERS_MAX: usize = 8;
/// A shorter password of a known `name:password` is not looked for on its own.
const PASSWORD_BYTES_MIN: usize = 4;

/// The text without the known secret, without what could be another one, and without the names and passwords in
/// addresses such as `https://name:password@host`; percent-encoded ones are removed as well.
pub fn without_secrets(text: &str, known: &str) -> String {
    redacted(text, known, false)
}

/// Does the same, and cuts an address at its query or fragment, which may contain secrets of any form.
pub fn place_without_secrets(text: &str, known: &str) -> String {
    redacted(text, known, true)
}

/// A text after some rounds of percent-decoding, with the place of each byte in the original and the end of that.
struct Layer {
    bytes: Vec<u8>,
    places: Vec<usize>,
}

impl Layer {
    /// The next round; `None` if nothing is encoded.
    fn decoded(&self) -> Option<Layer> {
        let mut next = Layer {
            bytes: Vec::with_capacity(self.bytes.len()),
            places: Vec::with_capacity(self.places.len()),
        };
        let mut at = 0;
        while let Some(byte) = self.bytes.get(at) {
            let escaped = escaped(&self.bytes[at..]);
            next.bytes.push(escaped.unwrap_or(*byte));
            next.places.push(self.places[at]);
            at += if escaped.is_some() { 3 } else { 1 };
        }
        next.places.extend(self.places.last());
        (next.bytes.len() < self.bytes.len()).then_some(next)
    }
}

/// The byte that `%` and two digits at the start of the bytes encode.
fn escaped(bytes: &[u8]) -> Option<u8> {
    let [b'%', high, low, ..] = bytes else {
        return None;
    };
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(*high)? * 16 + digit(*low)?).ok()
}

fn redacted(text: &str, known: &str, is_cut: bool) -> String {
    let forms = forms(known);
    let mut end = text.len();
    let mut gone: Vec<(Range<usize>, &str)> = Vec::new();
    let mut layer = Some(Layer {
        bytes: text.as_bytes().to_vec(),
        places: (0..=text.len()).collect(),
    });
    for round in 0..LAYERS_MAX {
        let Some(this) = layer else { break };
        let (bytes, places) = (&this.bytes, &this.places);
        let mut take = |range: Range<usize>, by: &'static str| {
            gone.push((places[range.start]..places[range.end], by));
        };
        known_forms(bytes, &forms, |range| take(range, GONE));
        forms_of_secrets(bytes, |range| take(range, GONE));
        credentials(bytes, &mut take);
        let ends = |at: &usize| match (bytes[*at], round) {
            (b'?' | b'#', 0) => true,
            // An encoded one may belong to a name. With a sign of equality it belongs to an address within the address.
            (b'?' | b'#', _) => bytes[*at..].contains(&b'='),
            _ => false,
        };
        if is_cut && let Some(at) = (0..bytes.len()).find(ends) {
            end = end.min(places[at]);
        }
        layer = this.decoded();
    }
    replaced(&text.as_bytes()[..end], gone)
}

/// The bytes with these parts replaced, which may overlap.
fn replaced(bytes: &[u8], mut gone: Vec<(Range<usize>, &str)>) -> String {
    gone.retain(|(range, _)| range.start < bytes.len());
    gone.sort_by_key(|(range, _)| (range.start, std::cmp::Reverse(range.end)));
    let (mut kept, mut at) = (Vec::with_capacity(bytes.len()), 0);
    for (range, by) in gone {
        if range.start >= at {
            kept.extend_from_slice(&bytes[at..range.start]);
            kept.extend_from_slice(by.as_bytes());
        }
        at = at.max(range.end.min(bytes.len()));
    }
    kept.extend_from_slice(&bytes[at..]);
    String::from_utf8_lossy(&kept).into_owned()
}

/// The spellings of a known secret: as it is, in a form with a sign of addition for each blank, as a password alone, and as
/// the value of Basic credentials in both alphabets.
fn forms(known: &str) -> Vec<String> {
    if known.is_empty() {
        return Vec::new();
    }
    let url_safe = Base64UrlUnpadded::encode_string(known.as_bytes());
    let mut forms = vec![url_safe.replace('-', "+").replace('_', "/"), url_safe];
    let password = known.split_once(':').map(|(_, password)| password);
    let password = password.filter(|password| password.len() >= PASSWORD_BYTES_MIN);
    for text in [Some(known), password].into_iter().flatten() {
        forms.push(text.replace(' ', "+"));
        forms.push(text.to_owned());
    }
    forms
}

fn known_forms(bytes: &[u8], forms: &[String], mut take: impl FnMut(Range<usize>)) {
    for form in forms {
        for start in memmem::find_iter(bytes, form.as_bytes()) {
            take(start..start + form.len());
        }
    }
}

/// Takes what has the form of a secret of this server, and each word that may hold one or most of one.
fn forms_of_secrets(bytes: &[u8], mut take: impl FnMut(Range<usize>)) {
    finder::find(bytes, 0, Rest::Nothing, |start, secret| {
        take(start..start + secret.text.len());
    });
    let mut start = 0;
    let is_outside = |byte: &u8| !byte.is_ascii_alphanumeric() && *byte != b'_';
    for word in bytes.split(is_outside) {
        if may_hold_secret(&String::from_utf8_lossy(word)) {
            take(start..start + word.len());
        }
        start += word.len() + 1;
    }
}

/// Takes the name and the password of each address, up to the at sign. An address whose password breaks its form is taken
/// up to the next at sign, or up to the end of its host.
fn credentials(bytes: &[u8], take: &mut impl FnMut(Range<usize>, &'static str)) {
    let is_slash = |byte: &u8| matches!(byte, b'/' | b'\\');
    for at in 0..bytes.len() {
        let after_scheme = bytes[at] == b':' && bytes.get(at + 1).is_some_and(is_slash);
        let start = match at {
            _ if after_scheme => at + 1,
            0 => 0,
            _ => continue,
        };
        let start = start + bytes[start..].iter().take_while(|it| is_slash(it)).count();
        let is_end = |byte: &u8| is_slash(byte) || matches!(byte, b'?' | b'#' | b' ' | b'"');
        let length = bytes[start..].iter().take_while(|it| !is_end(it)).count();
        let host = &bytes[start..start + length];
        let colon = host.iter().position(|byte| *byte == b':');
        let has_scheme = after_scheme || start >= 2;
        match host.iter().rposition(|byte| *byte == b'@') {
            Some(sign) if has_scheme || colon.is_some_and(|colon| colon < sign) => {
                take(start..start + sign + 1, "");
            }
            Some(_) => {}
            None if after_scheme && !host.contains(&b']') => {
                let port = colon.map_or(&[][..], |colon| &host[colon + 1..]);
                if !port.iter().all(u8::is_ascii_digit) {
                    let sign = bytes[start..].iter().position(|byte| *byte == b'@');
                    take(start..start + sign.map_or(length, |sign| sign + 1), GONE);
                }
            }
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::keys::secret::{Secret, generate_id};

    fn secret(prefix: &str) -> String {
        let secret = Secret::generate(prefix, generate_id().unwrap()).unwrap();
        secret.expose().to_owned()
    }

    #[test]
    fn no_secret_stays_in_a_place() {
        for (one, other) in [(secret("lk"), secret("")), (secret(""), secret("acme"))] {
            let escaped = one.replace('_', "%5F").replace('a', "%61");
            let twice = escaped.replace('%', "%25");
            for (text, kept) in [
                (
                    format!("https://h.example/a/{one}/x"),
                    "https://h.example/a/…/x",
                ),
                (
                    format!("https://h.example/{other}.txt"),
                    "https://h.example/….txt",
                ),
                (
                    format!("https://h.example/a/{escaped}/x"),
                    "https://h.example/a/…/x",
                ),
                (
                    format!("https://h.example/a/{twice}/x"),
                    "https://h.example/a/…/x",
                ),
                (
                    format!("https://bob:hunter2@h.example/cb#access_token={one}"),
                    "https://h.example/cb",
                ),
                (
                    format!("https://{one}@h.example/cb"),
                    "https://h.example/cb",
                ),
                (format!("//bob:{one}@h.example/cb"), "//h.example/cb"),
                ("bob:hunter2@h.example/cb?x=1".to_owned(), "h.example/cb"),
                (
                    "https://bob:hun/ter2@h.example/cb".to_owned(),
                    "https://…h.example/cb",
                ),
                ("https://bob:hun#ter2@h.example/cb".to_owned(), "https://…"),
                (
                    "https://h.example/to/https%3A%2F%2Fbob%3Apw%40i.example%2Fcb%3Ftoken%3Dx"
                        .to_owned(),
                    "https://h.example/to/https%3A%2F%2Fi.example%2Fcb",
                ),
            ] {
                assert_eq!(place_without_secrets(&text, &one), kept, "{text}");
            }
            // The start of a text that was cut.
            assert_eq!(
                without_secrets(&other[..110.min(other.len() - 3)], &one),
                "…"
            );
        }
        let basic = Base64UrlUnpadded::encode_string(b"alice:pass word");
        for text in [
            "alice:pass word",
            "alice:pass%20word",
            "alice%3Apass+word",
            &basic,
            "pass word",
        ] {
            assert_eq!(
                without_secrets(&format!("in {text}."), "alice:pass word"),
                "in …."
            );
        }
    }

    #[test]
    fn what_is_no_secret_stays() {
        for text in [
            "",
            "https://wiki.example.com:8443/build",
            "http://[::1]:8080/a/@bob/b",
            "https://git.example/a/blob/12345600b9cbe38a219f39a9941c9319b600c002/C%23/ä%C3%A4%zz.txt:7",
            "git@git.example:a/b.git",
            "C:\\folder\\a.txt:2",
            "/home/bob/a_b.txt:2",
            "/@bob/a@b/c",
            "github content",
        ] {
            assert_eq!(place_without_secrets(text, "lk_nothing"), text);
            assert_eq!(place_without_secrets(text, ""), text);
        }
    }
}
