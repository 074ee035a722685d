//! Rules for names, descriptions and metadata.

use super::uid::Uid;
use crate::error::{Error, Result};
use crate::refusals::{self, Refusal, misleads};

/// The largest number of characters (code points) in a name.
pub const NAME_CHARS_MAX: usize = 100;
/// The largest number of characters in a description.
pub const DESCRIPTION_CHARS_MAX: usize = 500;
/// The maximum length of the contact of a key.
pub const CONTACT_CHARS_MAX: usize = 200;
/// The largest size of a key's metadata in bytes, as compact JSON.
pub const METADATA_BYTES_MAX: usize = 4096;

/// Whether bytes begin with a byte order mark of UTF-16, or hold a NUL, which text in UTF-8 never needs.
pub fn is_utf16(bytes: &[u8]) -> bool {
    let marks = [[0xff, 0xfe], [0xfe, 0xff]];
    marks.iter().any(|mark| bytes.starts_with(mark)) || bytes.contains(&0)
}

/// The text of a file, without a byte order mark; or what is wrong with it, behind the name of the file.
pub fn of_file(bytes: &[u8]) -> std::result::Result<&str, Refusal> {
    if is_utf16(bytes) {
        return Err(refusals::values::utf16());
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.strip_prefix('\u{feff}').unwrap_or(text)),
        Err(_) => Err(refusals::values::not_utf8()),
    }
}

/// Accepts a name for display: 1 to 100 characters, without control characters and characters that change the
/// direction, and not only blanks.
pub fn check_name(field: &str, text: &str) -> Result<()> {
    if text.trim().is_empty() {
        return Err(Error::invalid(field, refusals::values::empty()));
    }
    if text.trim() != text {
        return Err(Error::invalid(field, refusals::values::blank_ends()));
    }
    check_line(field, text, NAME_CHARS_MAX)
}

/// Checks a name that must be distinguishable from others. It must not contain combining characters, so that two
/// names that look alike cannot differ in how their letters are encoded (attacks 152).
pub fn check_distinct_name(field: &str, text: &str) -> Result<()> {
    let combining = |c: char| {
        matches!(c, '\u{300}'..='\u{36f}' | '\u{1100}'..='\u{11ff}' | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}'
            | '\u{20d0}'..='\u{20ff}' | '\u{3099}'..='\u{309a}' | '\u{fe00}'..='\u{fe2f}')
    };
    match text.chars().find(|c| combining(*c)) {
        None => Ok(()),
        Some(bad) => Err(Error::invalid(
            field,
            refusals::values::combining(format_args!("{:04X}", u32::from(bad))),
        )),
    }
}

/// The form in which names that must differ are compared: it ignores the difference of upper and lower case.
pub fn folded(name: &str) -> String {
    // The conversion to upper case comes first, so that characters with several lower-case forms (final sigma) get a
    // single form.
    name.to_uppercase().to_lowercase()
}

/// Accepts a description: one line of up to 500 characters, which may be empty.
pub fn check_description(field: &str, text: &str) -> Result<()> {
    check_line(field, text, DESCRIPTION_CHARS_MAX)
}

/// The name of a key that people only describe: the beginning of its description. It is derived here and nowhere else,
/// when such a key is created and whenever its description is edited.
pub fn name_of_description(description: &str) -> String {
    let start = description.trim().chars().take(NAME_CHARS_MAX);
    start.collect::<String>().trim_end().to_owned()
}

/// What [`check_slug`] accepts, as a regular expression for descriptions.
pub const SLUG_PATTERN: &str = "^[a-z0-9][a-z0-9_-]{0,62}$";

/// Accepts a name for URLs and settings (slugs of workspaces, names of policies and catalogs):
/// [`SLUG_PATTERN`], but never the form of a uid, so that the two cannot be confused.
pub fn check_slug(field: &str, text: &str) -> Result<()> {
    let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let fits = (1..=63).contains(&text.len())
        && Uid::parse(text).is_none()
        && text.bytes().next().is_some_and(legal)
        && text.bytes().all(|b| legal(b) || b == b'-' || b == b'_');
    if fits {
        return Ok(());
    }
    Err(Error::invalid(field, refusals::values::slug()))
}

/// A slug that resembles a name: its ASCII letters and digits in lower case, with hyphens in the place of all other
/// characters. At most 50 characters, so that a number can follow.
pub fn slug_of(name: &str) -> String {
    let words: Vec<String> = name
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_ascii_lowercase)
        .collect();
    let slug: String = words.join("-").chars().take(50).collect();
    match slug.trim_end_matches('-') {
        "" => "workspace".to_owned(),
        slug if Uid::parse(slug).is_some() => format!("w-{slug}"),
        slug => slug.to_owned(),
    }
}

/// Accepts one line of at most so many characters, without those that mislead.
pub fn check_line(field: &str, text: &str, chars_max: usize) -> Result<()> {
    if text.chars().count() > chars_max {
        return Err(Error::invalid(
            field,
            refusals::values::characters_at_most(chars_max),
        ));
    }
    if let Some(bad) = text.chars().find(|c| misleads(*c)) {
        return Err(Error::invalid(
            field,
            refusals::values::invisible(format_args!("{:04X}", u32::from(bad))),
        ));
    }
    Ok(())
}

/// At most so many characters of a text, without those that mislead.
pub fn harmless_line(text: &str, chars_max: usize) -> String {
    let kept = text.chars().filter(|c| !misleads(*c));
    kept.take(chars_max).collect()
}

/// A number of things, such as `1 key` and `2 keys`, for nouns whose plural adds an s.
pub fn counted(count: u64, noun: &str) -> String {
    match count {
        1 => format!("1 {noun}"),
        count => format!("{count} {noun}s"),
    }
}

/// A part of a sentence as a whole one: with a capital letter and a full stop.
pub fn sentence(part: &str) -> String {
    let mut chars = part.chars();
    let first = chars.next().map(char::to_uppercase).into_iter().flatten();
    let mut sentence: String = first.chain(chars).collect();
    if !sentence.is_empty() && !sentence.ends_with(['.', '!', '?', '。']) {
        sentence.push('.');
    }
    sentence
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_begins_with_the_name_that_is_derived_from_it() {
        assert_eq!(name_of_description("Nightly billing"), "Nightly billing");
        assert_eq!(name_of_description("  Nightly billing "), "Nightly billing");
        assert_eq!(name_of_description(" \t "), "");
        let long = format!("{} {}", "é".repeat(NAME_CHARS_MAX - 1), "more");
        let name = name_of_description(&long);
        assert_eq!(name, "é".repeat(NAME_CHARS_MAX - 1));
        check_name("name", &name).unwrap();
    }

    #[track_caller]
    fn check(text: &str, accepted: bool) {
        assert_eq!(check_name("name", text).is_ok(), accepted, "{text:?}");
    }

    #[test]
    fn the_text_of_a_file_is_utf_8() {
        assert_eq!(of_file(b"a\xc3\xa9\n"), Ok("aé\n"));
        assert_eq!(of_file(b"\xef\xbb\xbfa"), Ok("a"));
        assert_eq!(of_file(b""), Ok(""));
        for (bytes, word) in [
            (&b"\xff\xfea\0"[..], "UTF-16"),
            (b"\xfe\xff\0a", "UTF-16"),
            (b"a\0b\0", "UTF-16"),
            (b"\0a\0b", "UTF-16"),
            (b"\xff\xfe", "UTF-16"),
            (b"a\xe9", "UTF-8"),
            (b"\x80", "UTF-8"),
        ] {
            let why = of_file(bytes).unwrap_err();
            assert!(why.to_string().contains(word), "{bytes:?}: {why}");
        }
    }

    #[test]
    fn a_slug_tells_what_the_name_says() {
        let uid = "00000000-0000-0000-0000-000000000001";
        for (name, slug) in [
            ("Acme, Inc. (EMEA)", "acme-inc-emea"),
            ("ACME", "acme"),
            ("Grüße", "gr-e"),
            ("日本", "workspace"),
            (uid, &format!("w-{uid}")),
            (&"a-".repeat(50), &"a-".repeat(25)[..49]),
        ] {
            assert_eq!(slug_of(name), slug, "{name}");
            assert!(check_slug("slug", slug).is_ok(), "{slug}");
        }
    }

    // attacks 152
    #[test]
    fn names_are_visible_text_of_bounded_length() {
        check("billing", true);
        check("Grüße 🎉 = 1", true);
        check(&"é".repeat(100), true);
        check(&"é".repeat(101), false);
        for refused in [
            "",
            "   ",
            " a",
            "a ",
            "a\nb",
            "a\0",
            "a\u{202e}b",
            "a\u{200b}b",
            "\u{feff}a",
            "a\u{2028}b",
            "a\u{7f}",
        ] {
            check(refused, false);
        }
    }

    // attacks 152
    #[test]
    fn names_that_must_differ_have_one_form() {
        for (a, b) in [
            ("Billing", "bILLING"),
            ("\u{c5}", "\u{212b}"),
            ("ΣΑΣ", "σας"),
            ("straße", "STRASSE"),
        ] {
            assert_eq!(folded(a), folded(b), "{a} {b}");
        }
        assert_ne!(folded("a"), folded("b"));
        assert!(check_distinct_name("name", "é").is_ok());
        assert!(check_distinct_name("name", "e\u{301}").is_err());
    }

    #[test]
    fn slugs_are_plain_ascii() {
        for good in ["a", "root", "emea-2", "0_x"] {
            assert!(check_slug("slug", good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "A", "a b", "é", &"a".repeat(64)] {
            assert!(check_slug("slug", bad).is_err(), "{bad}");
        }
    }
}
