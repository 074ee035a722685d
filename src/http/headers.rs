//! Header lines, of a request as of an answer.

use std::fmt;
use std::ops::Range;

/// The lines in their order, as one text and where each of them is in it.
///
/// A message has about ten lines and is asked for as many: looking through them costs less than a map of them, and an
/// answer goes out as it stands here.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct Headers {
    /// `name: value\r\n`, as often as there are lines, the names in lower case.
    text: Vec<u8>,
    lines: Vec<Line>,
}

/// One line: its name begins at `start`, its value ends two bytes before `end`.
#[derive(Clone, Copy, Eq, PartialEq)]
struct Line {
    start: usize,
    value: usize,
    end: usize,
}

/// Room that spares most messages a second allocation.
const TEXT_BYTES: usize = 512;
const LINES: usize = 12;

impl Headers {
    /// The value of the first line of this name, in any case.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.all(name).next()
    }

    /// The values of all lines of this name, in their order.
    pub fn all(&self, name: &str) -> impl DoubleEndedIterator<Item = &[u8]> {
        self.iter()
            .filter(move |(known, _)| known.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, value)| value)
    }

    pub fn contains(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Every line: its name in lower case, its value without white space around.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&[u8], &[u8])> {
        self.lines
            .iter()
            .map(|line| (&self.text[line.name()], &self.text[line.value()]))
    }

    /// All lines as they stand in a message.
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// Adds a line behind the others. The caller answers for it that the name is a token ([`is_token_byte`]) and the
    /// value legal ([`is_value_byte`]).
    pub fn append(&mut self, name: &[u8], value: &[u8]) {
        if self.lines.is_empty() {
            self.text.reserve(TEXT_BYTES.max(name.len() + value.len()));
            self.lines.reserve(LINES);
        }
        let start = self.text.len();
        self.text.extend_from_slice(name);
        self.text[start..].make_ascii_lowercase();
        self.text.extend_from_slice(b": ");
        let value_start = self.text.len();
        self.text.extend_from_slice(value);
        self.text.extend_from_slice(b"\r\n");
        self.lines.push(Line {
            start,
            value: value_start,
            end: self.text.len(),
        });
    }

    /// Takes all lines of this name away.
    pub fn remove(&mut self, name: &str) {
        let named =
            |line: &Line, text: &[u8]| text[line.name()].eq_ignore_ascii_case(name.as_bytes());
        while let Some(at) = self.lines.iter().position(|line| named(line, &self.text)) {
            let Line { start, end, .. } = self.lines.remove(at);
            self.text.drain(start..end);
            for line in &mut self.lines[at..] {
                line.start -= end - start;
                line.value -= end - start;
                line.end -= end - start;
            }
        }
    }
}

impl Line {
    fn name(self) -> Range<usize> {
        self.start..self.value - 2
    }

    fn value(self) -> Range<usize> {
        self.value..self.end - 2
    }
}

/// For tests and what a process asks of itself; lines that are not legal are left out.
impl<'a> FromIterator<(&'a str, &'a str)> for Headers {
    fn from_iter<I: IntoIterator<Item = (&'a str, &'a str)>>(lines: I) -> Headers {
        let mut headers = Headers::default();
        for (name, value) in lines {
            if is_name(name.as_bytes()) && value.bytes().all(is_value_byte) {
                headers.append(name.as_bytes(), value.as_bytes());
            }
        }
        headers
    }
}

/// The names alone: a value may be a secret.
impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.iter().map(|(name, _)| String::from_utf8_lossy(name));
        f.debug_list().entries(names).finish()
    }
}

/// A `token` (RFC 9110, 5.6.2).
pub fn is_name(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|byte| is_token_byte(*byte))
}

/// `tchar` (RFC 9110, 5.6.2).
pub const fn is_token_byte(byte: u8) -> bool {
    TOKEN[byte as usize]
}

/// What may stand in a value: no control byte but TAB (RFC 9110, 5.5).
pub const fn is_value_byte(byte: u8) -> bool {
    byte >= b' ' && byte != 0x7f || byte == b'\t'
}

const TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut at = 0;
    while at < 128 {
        table[at] = (at as u8).is_ascii_alphanumeric();
        at += 1;
    }
    let others = b"!#$%&'*+-.^_`|~";
    at = 0;
    while at < others.len() {
        table[others[at] as usize] = true;
        at += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    fn some() -> Headers {
        [("A", "1"), ("b", ""), ("a", "2"), ("C", "3")]
            .into_iter()
            .collect()
    }

    #[test]
    fn lines_are_found_by_name_in_any_case() {
        let headers = some();
        assert_eq!(headers.get("a"), Some(b"1".as_slice()));
        assert_eq!(headers.all("A").collect::<Vec<_>>(), [b"1", b"2"]);
        assert_eq!(headers.get("B"), Some(b"".as_slice()));
        assert_eq!(headers.get("d"), None);
        assert!(headers.contains("c") && !headers.contains(""));
        assert_eq!(headers.text(), b"a: 1\r\nb: \r\na: 2\r\nc: 3\r\n");
    }

    #[test]
    fn what_is_removed_leaves_the_other_lines_whole() {
        let mut headers = some();
        headers.remove("a");
        headers.remove("x");
        headers.append(b"D", b"4");
        assert_eq!(headers.text(), b"b: \r\nc: 3\r\nd: 4\r\n");
        let values: Vec<_> = headers.iter().map(|(_, value)| value).collect();
        assert_eq!(values, [b"".as_slice(), b"3", b"4"]);
    }

    #[test]
    fn values_do_not_show_in_logs() {
        assert_eq!(format!("{:?}", some()), r#"["a", "b", "a", "c"]"#);
    }
}
