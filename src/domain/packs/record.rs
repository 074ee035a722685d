//! Reading and writing of bytes: numbers, texts and lists. Every length is compared with what is left before anything is
//! allocated, and each value has one encoding.

/// What is left of a record. Each function returns `None` if the bytes are not what it reads.
#[derive(Clone, Copy)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader(bytes)
    }

    /// The number of bytes that are left.
    pub fn left(&self) -> usize {
        self.0.len()
    }

    pub fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    pub fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    pub fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_be_bytes)
    }

    pub fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    pub fn u128(&mut self) -> Option<u128> {
        self.array().map(u128::from_be_bytes)
    }

    pub fn i64(&mut self) -> Option<i64> {
        self.array().map(i64::from_be_bytes)
    }

    /// 0 or 1.
    pub fn flag(&mut self) -> Option<bool> {
        match self.u8()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    /// A number in groups of seven bits, the least significant first, in as few bytes as it needs (LEB128).
    pub fn number(&mut self) -> Option<u64> {
        let mut value = 0_u64;
        for position in 0..10 {
            let byte = self.u8()?;
            let group = u64::from(byte & 0x7f);
            // The tenth byte has room for one bit.
            if position == 9 && group > 1 {
                return None;
            }
            value |= group << (7 * position);
            if byte & 0x80 == 0 {
                return (byte != 0 || position == 0).then_some(value);
            }
        }
        None
    }

    /// A number of things of which each takes at least `bytes_each` bytes: more than the rest can hold is refused.
    pub fn count(&mut self, bytes_each: usize) -> Option<usize> {
        let count = usize::try_from(self.number()?).ok()?;
        (count <= self.left() / bytes_each.max(1)).then_some(count)
    }

    /// Bytes after their length.
    pub fn bytes(&mut self, most: usize) -> Option<&'a [u8]> {
        let length = self.count(1).filter(|length| *length <= most)?;
        self.take(length)
    }

    pub fn text(&mut self, most: usize) -> Option<&'a str> {
        std::str::from_utf8(self.bytes(most)?).ok()
    }

    /// What is there if the flag before it is 1.
    pub fn option<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<Option<T>> {
        match self.flag()? {
            false => Some(None),
            true => read(self).map(Some),
        }
    }

    /// A number of things, and the things, each of at least one byte.
    pub fn list<T>(
        &mut self,
        most: usize,
        mut read: impl FnMut(&mut Self) -> Option<T>,
    ) -> Option<Vec<T>> {
        let count = self.count(1).filter(|count| *count <= most)?;
        (0..count).map(|_| read(self)).collect()
    }

    pub fn texts(&mut self, most: usize, bytes_each: usize) -> Option<Vec<&'a str>> {
        self.list(most, |reader| reader.text(bytes_each))
    }

    /// `Some` if nothing is left.
    pub fn end(self) -> Option<()> {
        self.0.is_empty().then_some(())
    }
}

/// A record that is being written.
#[derive(Default)]
pub struct Writer(pub Vec<u8>);

impl Writer {
    pub fn raw(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    pub fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    pub fn flag(&mut self, value: bool) {
        self.0.push(u8::from(value));
    }

    pub fn number(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    pub fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.raw(bytes);
    }

    pub fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    pub fn option<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        self.flag(value.is_some());
        if let Some(value) = value {
            write(self, value);
        }
    }

    pub fn list<T>(
        &mut self,
        list: impl ExactSizeIterator<Item = T>,
        mut write: impl FnMut(&mut Self, T),
    ) {
        self.number(list.len() as u64);
        list.for_each(|one| write(self, one));
    }

    pub fn texts<T: AsRef<str>>(&mut self, texts: &[T]) {
        self.list(texts.iter(), |writer, text| writer.text(text.as_ref()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_one_encoding() {
        for value in [0, 1, 127, 128, 300, 1 << 32, u64::MAX - 1, u64::MAX] {
            let mut writer = Writer::default();
            writer.number(value);
            let mut reader = Reader::new(&writer.0);
            assert_eq!(reader.number(), Some(value));
            assert_eq!(reader.left(), 0);
            for end in 0..writer.0.len() {
                assert_eq!(Reader::new(&writer.0[..end]).number(), None);
            }
        }
        let long: [&[u8]; 4] = [
            &[0x80, 0],
            &[0xff, 0x80, 0],
            &[0xff; 11],
            &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2],
        ];
        for bytes in long {
            assert_eq!(Reader::new(bytes).number(), None, "{bytes:?}");
        }
    }

    /// A length that is larger than the rest is refused before anything is allocated for it.
    #[test]
    fn hostile_lengths_are_refused() {
        let mut writer = Writer::default();
        writer.number(u64::MAX);
        writer.raw(b"abc");
        let reader = Reader::new(&writer.0);
        assert_eq!(reader.clone().bytes(usize::MAX), None);
        assert_eq!(reader.clone().text(usize::MAX), None);
        assert_eq!(reader.clone().texts(usize::MAX, usize::MAX), None);
        assert_eq!(reader.clone().list(usize::MAX, |reader| reader.u8()), None);
        let mut short = Writer::default();
        short.texts(&["a", "b"]);
        assert_eq!(Reader::new(&short.0).texts(1, 9), None);
        assert_eq!(Reader::new(&short.0).texts(2, 0), None);
        assert_eq!(Reader::new(&short.0).texts(2, 1), Some(vec!["a", "b"]));
        assert_eq!(Reader::new(&[2]).flag(), None);
        assert_eq!(Reader::new(&[1]).option(|reader| reader.u8()), None);
    }
}
