//! The patterns of one file like .gitignore. What a line means and matches is gitoxide's business; see gitignore(5).

use gix_ignore::glob::Pattern;
use gix_ignore::glob::pattern::Case;
use gix_ignore::glob::wildmatch::Mode;

/// Patterns of one file, in its order.
#[derive(Default)]
pub struct Patterns(Vec<Pattern>);

/// What a file says of a path.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Word {
    LeaveOut,
    LookInto,
}

/// The matcher goes this deep and no deeper.
const STARS_MAX: usize = 60;
/// Each pair of stars doubles the time that a path can take.
const PAIRS_MAX: usize = 8;

/// A line that leaves nothing out, although it is neither empty nor a comment.
#[derive(Debug, Eq, PartialEq)]
pub struct Fault {
    /// From 1.
    pub line: usize,
    /// Completes "the line …".
    pub why: &'static str,
}

/// A path below the folder of a file with patterns.
#[derive(Clone, Copy)]
pub struct Place<'p> {
    /// From that folder on, with slashes; bytes, as names need not be UTF-8.
    pub path: &'p [u8],
    /// Where the last name begins.
    pub name_at: usize,
    /// Of the entry itself: a link to a folder is none.
    pub is_folder: bool,
}

impl Patterns {
    /// The patterns, and the first line that is none.
    pub fn parse(mut bytes: Vec<u8>) -> (Patterns, Option<Fault>) {
        // So that the last line may end in CR LF like the others.
        bytes.push(b'\n');
        let mut fault = None;
        let patterns = gix_ignore::parse(&bytes, false).filter_map(|(pattern, line, _)| {
            let Some(why) = fault_of(&pattern.text) else {
                return Some(pattern);
            };
            fault.get_or_insert(Fault { line, why });
            None
        });
        let patterns = Patterns(patterns.collect());
        (patterns, fault)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What the last pattern says that matches; `None` if none does.
    pub fn word(&self, place: Place<'_>) -> Option<Word> {
        let name_at = (place.name_at > 0).then_some(place.name_at);
        let matches = |pattern: &&Pattern| {
            pattern.matches_repo_relative_path(
                place.path.into(),
                name_at,
                Some(place.is_folder),
                Case::Sensitive,
                Mode::NO_MATCH_SLASH_LITERAL,
            )
        };
        let last = self.0.iter().rev().find(matches)?;
        Some(if last.is_negative() {
            Word::LookInto
        } else {
            Word::LeaveOut
        })
    }
}

/// Why a pattern is not applied: it can never match, of which git says nothing, or would take too long, as trees are
/// scanned that others have made.
fn fault_of(text: &[u8]) -> Option<&'static str> {
    if text.iter().filter(|byte| **byte == b'*').count() > STARS_MAX {
        return Some("has more than 60 stars");
    }
    if text.windows(2).filter(|it| it == b"**").count() > PAIRS_MAX {
        return Some("has more than 8 times two stars");
    }
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        at += match byte {
            0 => return Some("holds a NUL byte"),
            b'\\' if at + 1 == text.len() => return Some("ends in a backslash"),
            b'\\' => 2,
            b'[' => match class_bytes(&text[at..]) {
                Ok(bytes) => bytes,
                Err(why) => return Some(why),
            },
            _ => 1,
        };
    }
    None
}

/// Bytes of a class of characters from its `[` to its `]`.
fn class_bytes(text: &[u8]) -> Result<usize, &'static str> {
    const UNCLOSED: &str = "has a [ without its ]";
    #[rustfmt::skip]
    const NAMES: &[&[u8]] = &[
        b"alnum", b"alpha", b"blank", b"cntrl", b"digit", b"graph", b"lower", b"print", b"punct", b"space", b"upper",
        b"xdigit",
    ];
    let mut at = match text.get(1) {
        Some(b'!' | b'^') => 2,
        _ => 1,
    };
    let first = at;
    loop {
        at += match text.get(at).ok_or(UNCLOSED)? {
            b']' if at > first => return Ok(at + 1),
            b'\\' => 2,
            b'[' if text.get(at + 1) == Some(&b':') => {
                let rest = &text[at + 2..];
                let end = rest.iter().position(|byte| *byte == b']');
                match rest[..end.ok_or(UNCLOSED)?].strip_suffix(b":") {
                    // Two characters to git, and nobody's habit; the matcher has another opinion.
                    None => return Err("has a [: without its :]"),
                    Some(name) if NAMES.contains(&name) => name.len() + 4,
                    Some(_) => return Err("names a class of characters that does not exist"),
                }
            }
            _ => 1,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(lines: &[u8], path: &[u8]) -> Option<Word> {
        let (patterns, _) = Patterns::parse(lines.to_vec());
        let is_folder = path.last() == Some(&b'/');
        let path = path.strip_suffix(b"/").unwrap_or(path);
        let name_at = path.iter().rposition(|byte| *byte == b'/');
        patterns.word(Place {
            path,
            name_at: name_at.map_or(0, |at| at + 1),
            is_folder,
        })
    }

    /// Paths that the lines leave out, and paths that they do not; a folder ends in a slash.
    #[rustfmt::skip]
    const TABLE: &[(&str, &[&str], &[&str])] = &[
        // A name is met at any depth, a slash in front or within ties a pattern to the file's folder.
        ("x",              &["x", "x/", "a/x", "a/b/x"],          &["xy", "y", "X", "x/y"]),
        ("/x",             &["x", "x/"],                          &["a/x"]),
        ("a/b",            &["a/b", "a/b/"],                      &["c/a/b", "b", "a/b/c"]),
        ("/a/b",           &["a/b"],                              &["c/a/b"]),
        ("doc/frotz/",     &["doc/frotz/"],                       &["a/doc/frotz/", "doc/frotz"]),
        ("x/",             &["x/", "a/x/"],                       &["x", "a/x"]),
        // One star and a question mark stop at a slash.
        ("*",              &["x", "a/x", ".x"],                   &[]),
        ("*.o",            &["x.o", "a/x.o", ".o"],               &["x.oo", "o"]),
        ("/*.o",           &["x.o"],                              &["a/x.o"]),
        ("a/*.o",          &["a/x.o"],                            &["a/b/x.o", "x.o", "c/a/x.o"]),
        ("foo/*",          &["foo/test.json", "foo/bar/"],        &["foo/bar/hello.c", "foo"]),
        ("a*z",            &["az", "abcz", "x/abz"],              &["a/z"]),
        ("a?c",            &["abc", "a-c"],                       &["ac", "abbc", "a/c"]),
        // Two stars between slashes do not.
        ("**/foo",         &["foo", "a/foo", "a/b/foo/"],         &["foo/a"]),
        ("**/foo/bar",     &["foo/bar", "a/foo/bar"],             &["foo/a/bar"]),
        ("abc/**",         &["abc/x", "abc/x/y"],                 &["abc", "abc/", "d/abc/x"]),
        ("a/**/b",         &["a/b", "a/x/b", "a/x/y/b"],          &["a/xb", "c/a/b"]),
        ("a**b",           &["ab", "axxb", "c/ab"],               &["a/b"]),
        // Classes.
        ("[ab]c",          &["ac", "bc"],                         &["cc", "c"]),
        ("[a-c]",          &["a", "b", "c"],                      &["d", "B", "-"]),
        ("[!a-c]",         &["d", "-"],                           &["a"]),
        ("[^a-c]",         &["d"],                                &["c"]),
        ("[]-]",           &["]", "-"],                           &["a"]),
        ("[[:digit:]x]",   &["0", "9", "x"],                      &["a", ":"]),
        ("[\\]]",          &["]"],                                &["\\"]),
        ("a[/]b",          &[],                                   &["a/b"]),
        ("a[!x]b",         &["ayb"],                              &["a/b", "axb"]),
        // Comments, escapes, spaces at the end.
        ("#x",             &[],                                   &["#x", "x"]),
        ("\\#x",           &["#x"],                               &["x"]),
        ("\\!x",           &["!x"],                               &["x"]),
        ("a\\*b",          &["a*b"],                              &["axb"]),
        ("\\$x\n$y",       &["$x", "$y"],                         &["x", "y"]),
        ("x   ",           &["x"],                                &["x   ", "x "]),
        ("x\\ ",           &["x "],                               &["x"]),
        ("x\\  ",          &["x "],                               &["x", "x  "]),
        (" x",             &[" x"],                               &["x"]),
        ("x\t",            &["x\t"],                              &["x"]),
        ("\n   \n/\n!\n",  &[],                                   &["x", " ", "a/x"]),
        // Line ends and a byte order mark.
        ("x\r\ny\r\n",     &["x", "y"],                           &["x\r"]),
        ("x\r",            &["x"],                                &["x\r"]),
        ("x\r\r\n",        &["x\r"],                              &["x"]),
        ("\u{feff}x\ny",   &["x", "y"],                           &["\u{feff}x"]),
        // The last that matches decides.
        ("*.o\n!x.o",      &["y.o"],                              &["x.o", "a/x.o"]),
        ("!x.o\n*.o",      &["x.o"],                              &[]),
        ("/*\n!/foo\n/foo/*\n!/foo/bar", &["x", "foo/x"],         &["foo", "foo/bar", "a/x"]),
        // What can never match.
        ("x\\",            &[],                                   &["x", "x\\"]),
        ("[ab",            &[],                                   &["[ab", "a"]),
        ("[[:nope:]]",     &[],                                   &["n", ":"]),
        ("é/ü*",           &["é/ü", "é/üx"],                      &["e/u"]),
    ];

    #[test]
    fn patterns_mean_what_git_says() {
        for (lines, out, others) in TABLE {
            for path in *out {
                let said = word(lines.as_bytes(), path.as_bytes());
                assert_eq!(said, Some(Word::LeaveOut), "{lines:?} and {path:?}");
            }
            for path in *others {
                let said = word(lines.as_bytes(), path.as_bytes());
                assert_ne!(said, Some(Word::LeaveOut), "{lines:?} and {path:?}");
            }
        }
    }

    #[test]
    fn no_word_is_not_the_word_to_look_into() {
        assert_eq!(word(b"*.o\n!x.o", b"x.o"), Some(Word::LookInto));
        assert_eq!(word(b"*.o\n!x.o", b"x.c"), None);
        assert!(Patterns::parse(b"# nothing\n\n".to_vec()).0.is_empty());
    }

    #[test]
    fn names_are_bytes() {
        assert_eq!(word(b"\xff*", b"a/\xff\xfe"), Some(Word::LeaveOut));
        assert_eq!(word(b"?", b"\xff"), Some(Word::LeaveOut));
        assert_eq!(word(b"\xff", b"\xfe"), None);
    }

    #[test]
    fn a_line_that_never_matches_is_told() {
        for (lines, line) in [
            ("x\\", 1),
            ("# [\n\nx\n[a", 4),
            ("a[b", 1),
            ("[", 1),
            ("[]", 1),
            ("[!]", 1),
            ("[a\\]", 1),
            ("[[:digit:]", 1),
            ("[[:nope:]]", 1),
            ("[[:]", 1),
            ("x\0y", 1),
        ] {
            let (_, fault) = Patterns::parse(lines.as_bytes().to_vec());
            assert_eq!(fault.map(|it| it.line), Some(line), "{lines:?}");
        }
        for good in [
            "x\\ ",
            "\\[",
            "[]]",
            "[!]a]",
            "[[:alpha:]_-]",
            "[a\\]]",
            "[^]]",
            "]",
        ] {
            let (_, fault) = Patterns::parse(good.as_bytes().to_vec());
            assert_eq!(fault, None, "{good:?}");
        }
    }

    /// What would be tried in all combinations is not, or not applied; a tree that is scanned may be somebody's trap.
    #[test]
    fn many_stars_take_no_time() {
        let begun = std::time::Instant::now();
        let (name, path) = ("a".repeat(250), "a/".repeat(500) + "x");
        for (piece, end) in [
            ("*a", "b"),
            ("*[a]", "b"),
            ("*?", "b"),
            ("**/", "z/*y"),
            ("**/a/", "z"),
            ("**/*a*/", "z*y"),
            ("**/[a]/", "z*y"),
        ] {
            for count in [7, 20, 60, 200] {
                let lines = piece.repeat(count) + end;
                assert_eq!(word(lines.as_bytes(), name.as_bytes()), None, "{lines}");
                assert_eq!(word(lines.as_bytes(), path.as_bytes()), None, "{lines}");
            }
        }
        assert!(begun.elapsed().as_secs() < 20);
        for (count, said) in [(8, Some(Word::LeaveOut)), (9, None)] {
            let lines = "**/".repeat(count) + "x";
            assert_eq!(word(lines.as_bytes(), path.as_bytes()), said);
        }
        for (count, said) in [(60, Some(Word::LeaveOut)), (61, None)] {
            let lines = "*a".repeat(count);
            assert_eq!(word(lines.as_bytes(), name.as_bytes()), said);
        }
    }
}
