//! The strict reading of a chunked body (RFC 9112, 7.1), done before hyper decodes it. No I/O in this file.
//!
//! Stricter than the standard where its freedom only ever served smuggling: no chunk extensions, no trailers, no
//! white space around a size (attacks 18 and 20).

/// At most so many hexadecimal digits, so that a size always fits 64 bits.
const SIZE_DIGITS_MAX: usize = 15;

/// Where in a chunked body the next byte stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Scan {
    Data {
        left: u64,
    },
    DataLineFeed,
    DataReturn,
    Done,
    LastLineFeed,
    /// Behind the last chunk: only an empty line may follow.
    LastReturn,
    Size {
        digits: usize,
        size: u64,
    },
    SizeLineFeed {
        size: u64,
    },
}

impl Scan {
    pub fn new() -> Scan {
        Scan::Size { digits: 0, size: 0 }
    }

    /// Checks as much of `bytes` as belongs to the body and tells how many bytes that is.
    pub fn advance(&mut self, bytes: &[u8]) -> Result<usize, &'static str> {
        let mut at = 0;
        while at < bytes.len() && *self != Scan::Done {
            if let Scan::Data { left } = self {
                let taken = usize::try_from(*left)
                    .unwrap_or(usize::MAX)
                    .min(bytes.len() - at);
                at += taken;
                *left -= taken as u64;
                if *left == 0 {
                    *self = Scan::DataReturn;
                }
                continue;
            }
            *self = self.after(bytes[at])?;
            at += 1;
        }
        Ok(at)
    }

    /// The place behind one byte that is not data.
    fn after(self, byte: u8) -> Result<Scan, &'static str> {
        match (self, byte) {
            (Scan::Size { digits, size }, _) if byte.is_ascii_hexdigit() => {
                if digits == SIZE_DIGITS_MAX {
                    return Err("A chunk size has too many digits.");
                }
                let digit = char::from(byte).to_digit(16).unwrap_or(0);
                Ok(Scan::Size {
                    digits: digits + 1,
                    size: size * 16 + u64::from(digit),
                })
            }
            (Scan::Size { digits, size }, b'\r') if digits > 0 => Ok(Scan::SizeLineFeed { size }),
            (Scan::Size { .. }, b';') => Err("Chunk extensions are not accepted."),
            (Scan::Size { .. }, _) => {
                Err("A chunk size is not a hexadecimal number followed by a line end.")
            }
            (Scan::SizeLineFeed { size: 0 }, b'\n') => Ok(Scan::LastReturn),
            (Scan::SizeLineFeed { size }, b'\n') => Ok(Scan::Data { left: size }),
            (Scan::DataReturn, b'\r') => Ok(Scan::DataLineFeed),
            (Scan::DataLineFeed, b'\n') => Ok(Scan::new()),
            (Scan::DataReturn | Scan::DataLineFeed, _) => {
                Err("A chunk is longer than its size says.")
            }
            (Scan::LastReturn, b'\r') => Ok(Scan::LastLineFeed),
            (Scan::LastLineFeed, b'\n') => Ok(Scan::Done),
            (Scan::LastReturn, _) => Err("Trailers are not accepted."),
            _ => Err("A carriage return stands without a line feed."),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes that belong to the body, or `None` if it is refused; the same in one piece and byte by byte.
    #[track_caller]
    fn check(bytes: &str, expected: Option<usize>) {
        let mut whole = Scan::new();
        assert_eq!(
            whole.advance(bytes.as_bytes()).ok(),
            expected,
            "at once: {bytes:?}"
        );

        let mut pieces = Scan::new();
        let sum = bytes.bytes().try_fold(0, |sum, byte| {
            pieces.advance(&[byte]).ok().map(|taken| sum + taken)
        });
        assert_eq!(sum, expected, "byte by byte: {bytes:?}");
    }

    #[test]
    fn chunked_bodies() {
        check("0\r\n\r\n", Some(5));
        check("3\r\nabc\r\n0\r\n\r\n", Some(13));
        check("00A\r\n0123456789\r\n00\r\n\r\nGET /", Some(23));
        check("3\r\nab", Some(5)); // not finished
        // attacks 18 and 20
        for bad in [
            "+5\r\n",
            "5 \r\n",
            " 5\r\n",
            "0x5\r\n",
            "-1\r\n",
            "\r\n",
            "g\r\n",
            "12345678901234567\r\n",
            "5;a=b\r\n",
            "5\n",
            "5\r5",
            "3\r\nabcd\r\n",
            "3\r\nabc\n",
            "0\r\nAuthorization: x\r\n\r\n",
            "0\r\n\n",
        ] {
            check(bad, None);
        }
    }

    #[test]
    fn nothing_behind_the_last_chunk_is_taken() {
        let mut scan = Scan::new();
        assert_eq!(scan.advance(b"0\r\n\r\nGET / HTTP/1.1"), Ok(5));
        assert_eq!((scan, scan.advance(b"more")), (Scan::Done, Ok(0)));
    }
}
