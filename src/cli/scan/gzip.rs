//! Unpacks gzip (RFC 1952) up to a maximum size.
//!
//! This module reads the header of a member itself, because libflate would keep a file name of any length in memory. It
//! does not verify checksums: a damaged file is searched up to the damage.

use libflate::deflate::Decoder;
use std::io::{self, ErrorKind, Read};

/// The start of a member: the two magic bytes, and deflate, the only defined method.
const MAGIC: &[u8; 3] = b"\x1f\x8b\x08";

const HEAD_CHECKSUM: u8 = 1 << 1;
const EXTRA: u8 = 1 << 2;
const NAME: u8 = 1 << 3;
const COMMENT: u8 = 1 << 4;
/// Bits that RFC 1952 reserves; a member with one of them is refused.
const RESERVED: u8 = 0b1110_0000;
/// The length of the part that each header has.
const HEAD_BYTES: usize = 10;
/// The maximum size of all additional fields, names and comments.
const HEADS_BYTES_MAX: usize = 1024 * 1024;
/// The length of the checksum and the size after each member.
const TRAILER_BYTES: u64 = 8;

/// Whether the bytes start like a gzip file.
pub fn is_begun_by(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC)
}

/// The unpacked contents of all members. Names and comments in the headers, and bytes after the last member, are not
/// among them.
pub struct Unpacked<R> {
    state: State<R>,
    /// The additional fields, names and comments in the headers of the members.
    heads: Vec<u8>,
    /// The number of bytes that may still be unpacked.
    left: u64,
}

enum State<R> {
    /// Before a member; the flag is true for the first one.
    Before(R, bool),
    Ended,
    /// Before bytes that are neither padding nor a member; the first ones were already read.
    Rest(Vec<u8>, R),
    In(Box<Decoder<R>>),
}

impl<R: Read> Unpacked<R> {
    pub fn new(packed: R, bytes_max: u64) -> Unpacked<R> {
        Unpacked {
            state: State::Before(packed, true),
            heads: Vec::new(),
            left: bytes_max,
        }
    }

    /// The additional fields, names and comments in the headers that were read, and the bytes after the last member if
    /// they are neither padding nor a member.
    pub fn into_parts(self) -> (Vec<u8>, Option<impl Read>) {
        let rest = match self.state {
            State::Rest(begin, packed) => Some(io::Cursor::new(begin).chain(packed)),
            _ => None,
        };
        (self.heads, rest)
    }
}

impl<R: Read> Read for Unpacked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            // After an error the stream has ended.
            match std::mem::replace(&mut self.state, State::Ended) {
                State::Before(mut packed, is_first) => {
                    let head = begin_of_head(&mut packed, is_first)?;
                    let is_member = is_begun_by(&head) && head.len() == HEAD_BYTES;
                    if is_member && head[3] & RESERVED == 0 {
                        pass_head(&mut packed, head[3], &mut self.heads)?;
                        self.state = State::In(Box::new(Decoder::new(packed)));
                    } else if is_first {
                        return Err(damaged("its head is damaged"));
                    } else if !head.is_empty() {
                        self.state = State::Rest(head, packed);
                    }
                }
                State::Ended => return Ok(0),
                State::Rest(begin, packed) => {
                    self.state = State::Rest(begin, packed);
                    return Ok(0);
                }
                State::In(mut decoder) => {
                    let count = decoder.read(buffer)?;
                    if count == 0 && !buffer.is_empty() {
                        let mut packed = decoder.into_inner();
                        let trailer = &mut packed.by_ref().take(TRAILER_BYTES);
                        io::copy(trailer, &mut io::sink())?;
                        self.state = State::Before(packed, false);
                        continue;
                    }
                    self.left = self
                        .left
                        .checked_sub(count as u64)
                        .ok_or_else(|| damaged("it unpacks to more than is looked into"))?;
                    self.state = State::In(decoder);
                    return Ok(count);
                }
            }
        }
    }
}

/// Reads the first bytes of a header, fewer if the input ends. Zeros before the header of a further member are padding.
fn begin_of_head(packed: &mut impl Read, is_first: bool) -> io::Result<Vec<u8>> {
    let mut head = Vec::with_capacity(HEAD_BYTES);
    let mut byte = [0];
    while head.len() < HEAD_BYTES {
        match packed.read(&mut byte) {
            Ok(0) => break,
            Ok(_) if byte == [0] && head.is_empty() && !is_first => {}
            Ok(_) => head.push(byte[0]),
            Err(err) if err.kind() == ErrorKind::Interrupted => {}
            Err(err) => return Err(err),
        }
    }
    Ok(head)
}

/// Reads the other parts of a header, and keeps those that may contain text.
fn pass_head(packed: &mut impl Read, flags: u8, heads: &mut Vec<u8>) -> io::Result<()> {
    let mut byte = [0];
    if flags & EXTRA != 0 {
        let mut length = [0; 2];
        packed.read_exact(&mut length)?;
        let extra = &mut packed.by_ref().take(u16::from_le_bytes(length).into());
        extra.read_to_end(heads)?;
        heads.push(b'\n');
    }
    for text in [NAME, COMMENT] {
        let mut is_read = flags & text == 0;
        while !is_read {
            packed.read_exact(&mut byte)?;
            is_read = byte == [0];
            heads.push(if is_read { b'\n' } else { byte[0] });
            if heads.len() > HEADS_BYTES_MAX {
                return Err(damaged("its names and comments are too large"));
            }
        }
    }
    if flags & HEAD_CHECKSUM != 0 {
        packed.read_exact(&mut [0; 2])?;
    }
    Ok(())
}

fn damaged(why: &'static str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, why)
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use libflate::gzip::Encoder;
    use std::io::Write;

    pub fn packed(text: &[u8]) -> Vec<u8> {
        let mut encoder = Encoder::new(Vec::new()).unwrap();
        encoder.write_all(text).unwrap();
        encoder.finish().into_result().unwrap()
    }

    fn unpacked(bytes: &[u8], bytes_max: u64) -> (Vec<u8>, bool) {
        let mut text = Vec::new();
        let ended = Unpacked::new(bytes, bytes_max).read_to_end(&mut text);
        (text, ended.is_ok())
    }

    #[test]
    fn members_follow_one_another_and_padding_is_no_damage() {
        let mut bytes = [packed(b"one "), packed(b"two")].concat();
        assert_eq!(unpacked(&bytes, 100), (b"one two".to_vec(), true));
        bytes.extend([0; 100]);
        assert_eq!(unpacked(&bytes, 100), (b"one two".to_vec(), true));
        bytes.extend(packed(b" three"));
        assert_eq!(unpacked(&bytes, 100), (b"one two three".to_vec(), true));
    }

    #[test]
    fn what_follows_the_last_member_is_kept() {
        let mut broken = packed(b"two");
        broken[3] = RESERVED;
        for rest in [&b"plain text"[..], b"x", b"\x1f\x8b", &broken] {
            let bytes = [&packed(b"one"), &b"\0\0"[..], rest].concat();
            let mut unpacked = Unpacked::new(&bytes[..], 100);
            unpacked.read_to_end(&mut Vec::new()).unwrap();
            let mut kept = Vec::new();
            let (_, after) = unpacked.into_parts();
            after.unwrap().read_to_end(&mut kept).unwrap();
            assert_eq!(kept, rest);
        }
    }

    #[test]
    fn all_parts_of_a_head_are_passed() {
        let plain = packed(b"text");
        let mut bytes = plain[..10].to_vec();
        bytes[3] = HEAD_CHECKSUM | EXTRA | NAME | COMMENT;
        bytes.extend(b"\x03\0abcname\0comment\0xx");
        bytes.extend(&plain[10..]);
        assert_eq!(unpacked(&bytes, 100), (b"text".to_vec(), true));
        let mut unpacked = Unpacked::new(&bytes[..], 100);
        unpacked.read_to_end(&mut Vec::new()).unwrap();
        assert_eq!(unpacked.into_parts().0, b"abc\nname\ncomment\n");
    }

    #[test]
    fn what_unpacks_to_too_much_or_is_cut_ends_in_an_error() {
        let bomb = packed(&vec![b'a'; 1_000_000]);
        let (text, ok) = unpacked(&bomb, 300_000);
        assert!(!ok && text.len() <= 300_000);
        assert!(unpacked(&bomb, 1_000_000).1);
        let (_, ok) = unpacked(&bomb[..bomb.len() / 2], 1_000_000);
        assert!(!ok);
        assert!(!unpacked(b"\x1f\x8b\x08", 10).1);
    }
}
