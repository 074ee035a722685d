//! Header lines of requests and answers.

use std::fmt;
use std::ops::Range;

/// The header lines in their order: one text, and the position of each line in it.
///
/// A message has about ten lines and about as many look-ups: searching all lines costs less than building a map. The
/// text of a request is its head as it arrived, copied as a whole, and that of an answer is sent as it is.
#[derive(Clone, Default)]
pub struct Headers {
    /// Of an answer: `name: value\r\n` for each line. Of a request: its head as it arrived, with names in lower case.
    text: Vec<u8>,
    lines: Vec<Line>,
    /// One bit for each name ([`bit`]): in most cases this is enough to see that a name is absent.
    names: u64,
}

/// Where the name and the value of one line are.
#[derive(Clone)]
struct Line {
    name: Range<usize>,
    value: Range<usize>,
}

/// The initial capacity, which saves most messages a second allocation.
const TEXT_BYTES: usize = 512;
const LINES: usize = 12;

impl Headers {
    /// The value of the first line of this name. This function and those below require names in lower case.
    #[inline]
    pub fn get(&self, name: impl AsRef<[u8]>) -> Option<&[u8]> {
        self.all(name).next()
    }

    /// The values of all lines of this name, in their order.
    #[inline]
    pub fn all(&self, name: impl AsRef<[u8]>) -> impl DoubleEndedIterator<Item = &[u8]> {
        debug_assert!(!name.as_ref().iter().any(u8::is_ascii_uppercase));
        let lines = match self.names & bit(name.as_ref()) {
            0 => &[][..],
            _ => &self.lines,
        };
        lines
            .iter()
            .filter(move |line| self.has_name(line, name.as_ref()))
            .map(|line| &self.text[line.value.clone()])
    }

    #[inline]
    pub fn contains(&self, name: impl AsRef<[u8]>) -> bool {
        self.get(name).is_some()
    }

    /// Every line: the name in lower case, and the value without surrounding white space.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&[u8], &[u8])> {
        self.lines.iter().map(|line| {
            (
                &self.text[line.name.clone()],
                &self.text[line.value.clone()],
            )
        })
    }

    /// All lines of an answer as they are sent.
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// Adds a line after the others. The caller guarantees that the name is a token ([`is_name`]) and that the value is
    /// valid ([`is_value`]).
    pub fn append(&mut self, name: &[u8], value: &[u8]) {
        self.push(&name.to_ascii_lowercase(), value);
    }

    /// Like [`Headers::append`], for names in lower case ([`is_own_name`]). Only for answers: never after
    /// [`Headers::set_head`].
    #[inline]
    pub fn push(&mut self, name: &[u8], value: &[u8]) {
        if self.lines.capacity() == 0 {
            self.text.reserve(TEXT_BYTES);
        }
        let start = self.text.len();
        self.text.reserve(name.len() + value.len() + 4);
        self.text.extend_from_slice(name);
        self.text.extend_from_slice(b": ");
        self.text.extend_from_slice(value);
        self.text.extend_from_slice(b"\r\n");
        let value_start = start + name.len() + 2;
        self.add_line(
            start..start + name.len(),
            value_start..value_start + value.len(),
            bit(name),
        );
    }

    fn add_line(&mut self, name: Range<usize>, value: Range<usize>, bit: u64) {
        if self.lines.capacity() == 0 {
            self.lines.reserve(LINES);
        }
        self.lines.push(Line { name, value });
        self.names |= bit;
    }

    /// Adds a line by its position in a head, which [`Headers::set_head`] sets later. `name` is the name itself.
    pub fn add_position(&mut self, start: usize, name: &[u8], value: Range<usize>) {
        self.add_line(start..start + name.len(), value, bit(name));
    }

    /// Sets the head that contains the lines of [`Headers::add_position`].
    pub fn set_head(&mut self, head: &[u8]) {
        self.text = head.to_vec();
        for line in &self.lines {
            self.text[line.name.clone()].make_ascii_lowercase();
        }
    }

    /// Removes all lines of this name. Only for answers: never after [`Headers::set_head`].
    pub fn remove(&mut self, name: &str) {
        if !self.contains(name) {
            return;
        }
        while let Some(at) = self
            .lines
            .iter()
            .position(|line| self.has_name(line, name.as_bytes()))
        {
            let Line { name, value } = self.lines.remove(at);
            let (start, end) = (name.start, value.end + 2);
            self.text.drain(start..end);
            for line in &mut self.lines[at..] {
                for place in [&mut line.name, &mut line.value] {
                    *place = place.start - (end - start)..place.end - (end - start);
                }
            }
        }
    }

    fn has_name(&self, line: &Line, name: &[u8]) -> bool {
        line.name.len() == name.len() && self.text[line.name.clone()] == *name
    }
}

/// For tests and for requests that this process makes to itself; invalid lines are dropped.
impl<'a> FromIterator<(&'a str, &'a str)> for Headers {
    fn from_iter<I: IntoIterator<Item = (&'a str, &'a str)>>(lines: I) -> Headers {
        let mut headers = Headers::default();
        for (name, value) in lines {
            if is_name(name.as_bytes()) && is_value(value.as_bytes()) {
                headers.append(name.as_bytes(), value.as_bytes());
            }
        }
        headers
    }
}

impl Eq for Headers {}

impl PartialEq for Headers {
    fn eq(&self, other: &Headers) -> bool {
        self.iter().eq(other.iter())
    }
}

/// Prints the names only, because a value may be a secret.
impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.iter().map(|(name, _)| String::from_utf8_lossy(name));
        f.debug_list().entries(names).finish()
    }
}

/// The bit of a name in upper or lower case, one of 64, computed from its length and its last byte.
#[inline]
fn bit(name: &[u8]) -> u64 {
    let end = name
        .last()
        .map_or(0, |byte| u32::from(byte.to_ascii_lowercase()));
    1_u64.wrapping_shl((name.len() as u32).wrapping_add(end * 7))
}

/// A `token` (RFC 9110, 5.6.2).
pub fn is_name(name: &[u8]) -> bool {
    !name.is_empty() && name_bytes(name) == name.len()
}

/// How many bytes at the start of the text are allowed in a name.
pub fn name_bytes(text: &[u8]) -> usize {
    let end = text.iter().position(|byte| !is_token_byte(*byte));
    end.unwrap_or(text.len())
}

/// Whether a name has the form of the names that this server sends. Always inlined, so that the compiler evaluates it
/// for literals.
#[inline(always)]
pub fn is_own_name(name: &str) -> bool {
    let odd = |byte: u8| !(byte.is_ascii_lowercase() | byte.is_ascii_digit() | (byte == b'-'));
    !name.is_empty() & !name.bytes().fold(false, |found, byte| found | odd(byte))
}

/// `tchar` (RFC 9110, 5.6.2).
pub const fn is_token_byte(byte: u8) -> bool {
    TOKEN[byte as usize]
}

/// A `field-value` (RFC 9110, 5.5): no control byte but TAB.
pub fn is_value(value: &[u8]) -> bool {
    text_bytes(value) == value.len()
}

/// The members of a list value (RFC 9110, 5.6.1), without surrounding white space. Empty members are included.
pub fn list_members(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}

/// How many bytes at the start of the text are TAB or no control bytes.
pub fn text_bytes(text: &[u8]) -> usize {
    // Checks eight bytes at a time, with TAB counting as a control byte; then checks byte by byte.
    let (chunks, _) = text.as_chunks::<8>();
    let mut seen = 0;
    for chunk in chunks {
        match first_control(u64::from_le_bytes(*chunk)) {
            Some(at) if chunk[at] != b'\t' => return seen + at,
            Some(_) => break,
            None => seen += 8,
        }
    }
    let rest = &text[seen..];
    let end = rest.iter().position(|&byte| !TEXT[usize::from(byte)]);
    seen + end.unwrap_or(rest.len())
}

/// The position of the first control byte among eight bytes.
fn first_control(bytes: u64) -> Option<usize> {
    const EACH: u64 = u64::MAX / 255;
    // Sets the highest bit of each byte that is less than a space or is DEL. A borrow in the subtraction can make the
    // bits wrong only above the first such byte.
    let low = bytes.wrapping_sub(EACH * 0x20) & !bytes;
    let other = bytes ^ (EACH * 0x7f);
    let del = other.wrapping_sub(EACH) & !other;
    let found = (low | del) & (EACH * 0x80);
    (found != 0).then(|| (found.trailing_zeros() / 8) as usize)
}

/// True for all bytes that may occur in text: all but the control bytes, and TAB.
const TEXT: [bool; 256] = {
    let mut table = [true; 256];
    let mut byte = 0;
    while byte < 0x20 {
        table[byte] = byte == 0x09;
        byte += 1;
    }
    table[0x7f] = false;
    table
};

const TOKEN: [bool; 256] = with_alphanumeric(b"!#$%&'*+-.^_`|~");

/// A table of letters, digits and these other bytes.
pub const fn with_alphanumeric(others: &[u8]) -> [bool; 256] {
    let mut table = [false; 256];
    let mut at = 0;
    while at < 128 {
        table[at] = (at as u8).is_ascii_alphanumeric();
        at += 1;
    }
    at = 0;
    while at < others.len() {
        table[others[at] as usize] = true;
        at += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some() -> Headers {
        [("A", "1"), ("b", ""), ("a", "2"), ("C", "3")]
            .into_iter()
            .collect()
    }

    #[test]
    fn lines_are_found_by_name_however_they_were_written() {
        let headers = some();
        assert_eq!(headers.get("a"), Some(b"1".as_slice()));
        assert_eq!(headers.all("a").collect::<Vec<_>>(), [b"1", b"2"]);
        assert_eq!(headers.get("b"), Some(b"".as_slice()));
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

    #[test]
    fn control_bytes_are_found_wherever_they_stand() {
        for length in 0..20 {
            for at in 0..length {
                for byte in 0..=255_u8 {
                    let mut line = vec![b'\x80'; length];
                    line[at] = byte;
                    let control = byte != b'\t' && byte < b' ' || byte == 0x7f;
                    let expected = if control { at } else { length };
                    assert_eq!(text_bytes(&line), expected, "{byte:#x} at {at} of {length}");
                    line[at + 1..].fill(b'\r');
                    assert_eq!(text_bytes(&line), expected.min(at + 1), "{byte:#x} at {at}");
                }
            }
        }
    }
}
