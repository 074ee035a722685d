//! The languages that the console is shipped in, and which of them a page uses: the one that the user has chosen, or the
//! one that the browser asks for, or the file that the administrator has configured, or English.

use super::{Words, english_words};
use libflate::deflate::Decoder;
use std::io::Read;
use std::sync::OnceLock;

/// The files of all languages but English, by their tags, as `dev/build.rs` has compressed them.
#[rustfmt::skip] // One language is one line.
const PACKED: &[(&str, &[u8])] = &[
    ("de", include_bytes!(concat!(env!("OUT_DIR"), "/de.deflate"))),
    ("es", include_bytes!(concat!(env!("OUT_DIR"), "/es.deflate"))),
    ("fr", include_bytes!(concat!(env!("OUT_DIR"), "/fr.deflate"))),
    ("it", include_bytes!(concat!(env!("OUT_DIR"), "/it.deflate"))),
    ("ja", include_bytes!(concat!(env!("OUT_DIR"), "/ja.deflate"))),
    ("pl", include_bytes!(concat!(env!("OUT_DIR"), "/pl.deflate"))),
];

/// The languages that are complete, which a test checks. Only these are offered.
pub const COMPLETE: &[&str] = &["de", "es", "fr", "it", "ja", "pl"];

/// The file that the administrator has configured.
static CONFIGURED: OnceLock<&'static Words> = OnceLock::new();

/// Sets the configured language of this process. It cannot be changed later.
pub fn configure(words: &'static Words) {
    // If a language is already set, it stays.
    let _ = CONFIGURED.set(words);
}

/// The language for clients that ask for none that there is.
pub fn of_server() -> &'static Words {
    CONFIGURED.get().copied().unwrap_or_else(english_words)
}

/// All languages that users can choose. A configured file takes the place of the shipped one of the same language.
pub fn offered() -> Vec<&'static Words> {
    let configured = CONFIGURED.get().copied();
    let mut all = vec![english_words()];
    all.extend(COMPLETE.iter().filter_map(|tag| shipped(tag)));
    if let Some(own) = configured {
        all.retain(|words| words.tag() != own.tag());
        all.push(own);
    }
    all.sort_by_key(|words| words.tag());
    all
}

/// The offered language with this tag, or with the part of it before a hyphen: `de` for `de-AT`.
pub fn of_tag(tag: &str) -> Option<&'static Words> {
    let tag = tag.to_ascii_lowercase();
    let all = offered();
    let find = |wanted: &str| {
        let mut all = all.iter();
        all.find(|words| words.tag().eq_ignore_ascii_case(wanted))
            .copied()
    };
    find(&tag).or_else(|| find(tag.split('-').next()?))
}

/// The language for an `Accept-Language` header (RFC 9110, 12.5.4).
pub fn of_browser(accept: &str) -> &'static Words {
    let mut wanted: Vec<(u16, &str)> = accept
        .split(',')
        .take(WANTED_MAX)
        .filter_map(weighed)
        .collect();
    // Stable: of equal weights the first counts.
    wanted.sort_by_key(|(weight, _)| std::cmp::Reverse(*weight));
    let mut tags = wanted.iter().map(|(_, tag)| tag);
    tags.find_map(|tag| of_tag(tag)).unwrap_or_else(of_server)
}

/// The greatest number of languages of one header that are looked at.
const WANTED_MAX: usize = 20;

/// The weight of one entry in thousandths, and its tag; `None` if it is not wanted or unreadable.
fn weighed(entry: &str) -> Option<(u16, &str)> {
    let (tag, weight) = match entry.split_once(';') {
        None => (entry, 1000),
        Some((tag, weight)) => {
            let weight: f32 = weight.trim().strip_prefix("q=")?.parse().ok()?;
            (0.0..=1.0).contains(&weight).then_some(())?;
            (tag, (weight * 1000.0) as u16)
        }
    };
    (weight > 0).then_some((weight, tag.trim()))
}

/// The texts of a shipped language.
fn shipped(tag: &str) -> Option<&'static Words> {
    static ALL: [OnceLock<Option<Words>>; PACKED.len()] = [const { OnceLock::new() }; PACKED.len()];
    let place = PACKED.iter().position(|(known, _)| *known == tag)?;
    let words = ALL
        .get(place)?
        .get_or_init(|| Some(Words::lenient(file(tag)?.leak())));
    words.as_ref()
}

/// The file of a language other than English.
pub fn file(tag: &str) -> Option<String> {
    let (_, packed) = PACKED.iter().find(|(known, _)| *known == tag)?;
    let mut text = String::new();
    match Decoder::new(*packed).read_to_string(&mut text) {
        Ok(_) => Some(text),
        Err(err) => {
            log::error!("the texts of language {tag} cannot be unpacked: {err}");
            None
        }
    }
}

/// The tags of all languages that have a file.
pub fn tags() -> impl Iterator<Item = &'static str> {
    PACKED.iter().map(|(tag, _)| *tag)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialects::console::text::reading;

    #[test]
    fn the_weights_of_a_header_decide() {
        for (entry, expected) in [
            ("de", Some((1000, "de"))),
            ("fr-CH ; q=0.9", Some((900, "fr-CH"))),
            (" fr-CH;q=0.9", Some((900, "fr-CH"))),
            ("it;q=0", None),
            ("it;q=2", None),
            ("it;q=NaN", None),
            ("it;level=1", None),
        ] {
            assert_eq!(weighed(entry), expected, "{entry}");
        }
        assert_eq!(of_browser("xx, en;q=0.5").tag(), "en");
        assert_eq!(of_browser("").tag(), "en");
        assert_eq!(of_browser("*").tag(), "en");
        assert!(of_tag("EN-us").is_some_and(|words| words.tag() == "en"));
    }

    fn read(tag: &str) -> &'static str {
        file(tag).unwrap().leak()
    }

    #[test]
    fn every_file_names_its_language_and_has_no_faults() {
        for tag in tags() {
            assert_eq!(Words::lenient(read(tag)).tag(), tag);
            assert_eq!(reading::faults(read(tag)), [""; 0], "{tag}.txt");
        }
        assert_eq!(file("xx"), None);
    }

    #[test]
    fn the_languages_that_are_offered_are_complete() {
        for tag in COMPLETE {
            let lacking = shipped(tag).unwrap().lacking();
            assert!(lacking.is_empty(), "{tag}.txt lacks {lacking:#?}");
        }
    }
}
