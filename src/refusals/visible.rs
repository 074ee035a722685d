//! Texts from outside, as sentences quote them: what cannot be seen is written out.

/// Whether a character makes a text look like another one: control characters, line and paragraph separators,
/// direction marks and overrides, zero-width characters, the byte-order mark, tag characters.
pub fn misleads(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// The text, in which each character that [`misleads`] is written as its number, such as `\u{0}`.
pub fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match misleads(c) {
            true => shown.extend(c.escape_unicode()),
            false => shown.push(c),
        }
    }
    shown
}

/// The first characters of a text, at most so many, as [`visible`] shows them; for names that a client has made up.
pub fn quoted(text: &str, chars_max: usize) -> String {
    let end = text.char_indices().nth(chars_max);
    visible(&text[..end.map_or(text.len(), |(at, _)| at)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_seen_is_written_out() {
        for (text, shown) in [
            ("", ""),
            ("naïve 🎉 \\u{0}", "naïve 🎉 \\u{0}"),
            ("\0", "\\u{0}"),
            ("a\nb\u{202e}c", "a\\u{a}b\\u{202e}c"),
            ("\u{1b}[2J", "\\u{1b}[2J"),
        ] {
            assert_eq!(visible(text), shown, "{text:?}");
        }
        assert_eq!(quoted("é\0é", 2), "é\\u{0}");
        assert_eq!(quoted("é", 2), "é");
        assert_eq!(quoted("é", 0), "");
    }
}
