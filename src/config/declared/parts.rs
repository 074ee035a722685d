//! Parses a large file in parts: TOML takes a third of the time in small pieces, and each processor takes a share of them.
//!
//! A part ends before a line `[[key]]`. If every part is TOML for itself, no part ends within a text or a list, because such
//! a part would not be complete. So each of these lines is a heading, and the stanzas of the file are those of its parts,
//! provided that no part has other things at its top. In every other case the file is parsed as a whole.

use super::file::{Content, Reader};
use crate::config::table::Lines;
use crate::dialects::native::declared::Kind;
use std::ops::Range;
use std::thread;
use toml::de::{DeTable, DeValue};

/// The usual size of a part: it fits into the cache of a processor.
pub const BYTES: usize = 32 * 1024;
/// The largest number of threads.
const THREADS_MAX: usize = 8;
/// What a part begins with, after the line feed that ends the part before.
const HEADING: &str = "\n[[key]]";
/// What the text of a list of tables begins with, if each table has a heading of its own.
const HEADED: &str = "[[";

/// The stanzas of a text; `None` if it has an error, or is no list of parts. `new` is what they are added to.
pub fn parse(text: &str, lines: &Lines, part_bytes: usize, new: Content) -> Option<Content> {
    let mut parts = split(text, part_bytes);
    if parts.len() < 2 {
        return None;
    }
    // The first part has what concerns all of them.
    let mut content = part(text, lines, parts.remove(0), new)?;
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let share = parts.len().div_ceil(threads.min(THREADS_MAX));
    let file = &content.file;
    let read = |parts: &[Range<usize>]| {
        let mut all = Content::default();
        for one in parts {
            let new = Content {
                file: file.clone(),
                ..Content::default()
            };
            all.append(part(text, lines, one.clone(), new)?);
        }
        Some(all)
    };
    let found: Vec<Option<Content>> = thread::scope(|scope| {
        let shares = parts.chunks(share);
        let threads: Vec<_> = shares
            .map(|parts| scope.spawn(move || read(parts)))
            .collect();
        let ended = threads
            .into_iter()
            .map(|thread| thread.join().ok().flatten());
        ended.collect()
    });
    for one in found {
        content.append(one?);
    }
    Some(content)
}

/// The parts of a text: the first one begins at its start, all others with a heading.
fn split(text: &str, part_bytes: usize) -> Vec<Range<usize>> {
    let mut parts = Vec::new();
    let mut begin = 0;
    while begin < text.len() {
        let least = begin.saturating_add(part_bytes.max(1));
        let from = (least..text.len()).find(|at| text.is_char_boundary(*at));
        let rest = from.and_then(|from| Some((from, text.get(from..)?.find(HEADING)?)));
        let end = rest.map_or(text.len(), |(from, at)| from + at + 1);
        parts.push(begin..end);
        begin = end;
    }
    parts
}

/// The stanzas of one part; `None` if it is to be parsed with the rest of the text.
fn part(text: &str, lines: &Lines, range: Range<usize>, new: Content) -> Option<Content> {
    let begin = range.start;
    let own = text.get(range)?;
    let (table, faults) = DeTable::parse_recoverable(own);
    if !faults.is_empty() {
        return None;
    }
    let mut reader = Reader::new(lines, begin, new);
    for (name, value) in table.get_ref() {
        match Kind::of(name.get_ref()) {
            // A list without headings would end the list of its kind.
            Some(_) => {
                let is_headed = own.get(value.span().start..)?.starts_with(HEADED);
                if !is_headed || !matches!(value.get_ref(), DeValue::Array(_)) {
                    return None;
                }
            }
            None if begin == 0 => {}
            None => return None,
        }
    }
    match begin {
        0 => reader.top(table.get_ref()),
        _ => {
            for (name, value) in table.get_ref() {
                reader.stanzas(Kind::of(name.get_ref())?, value);
            }
        }
    }
    reader.faultless()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_split_before_headings() {
        let text = "version = 1\n[[key]]\na = 1\n[[key]]\r\nb = \"é\"\n  [[key]]\n[[key]] # c\n";
        let parts = |bytes| -> Vec<&str> {
            let ranges = split(text, bytes).into_iter();
            ranges.map(|range| &text[range]).collect()
        };
        assert_eq!(parts(1_000), [text]);
        assert_eq!(
            parts(1),
            [
                "version = 1\n",
                "[[key]]\na = 1\n",
                "[[key]]\r\nb = \"é\"\n  [[key]]\n",
                "[[key]] # c\n"
            ]
        );
        assert!(parts(0) == parts(1) && split("", 1).is_empty());
    }
}
