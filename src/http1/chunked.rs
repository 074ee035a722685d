//! The strict decoder of chunked bodies (RFC 9112, 7.1). This file does no I/O.
//!
//! Chunk extensions and trailers are read and dropped, as the standard requires, up to a size limit. Where the standard
//! allows variants that are useful only for request smuggling, this decoder refuses them: a bare line feed, and white
//! space after a size that no extension follows (attacks 18 and 20).

use crate::http1::headers::is_token_byte;

/// The maximum number of hexadecimal digits of a size, so that a size always fits in 64 bits.
const SIZE_DIGITS_MAX: usize = 15;

/// The maximum total size of the extensions and trailers of one body.
const EXTRA_BYTES_MAX: usize = 4 * 1024;

/// The position of the next byte within a chunked body, and how many bytes have been dropped so far.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Scan {
    place: Place,
    extra_bytes: usize,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Place {
    Data {
        left: u64,
    },
    DataLineFeed,
    DataReturn,
    Done,
    Extension {
        size: u64,
    },
    LastLineFeed,
    Size {
        digits: usize,
        size: u64,
    },
    /// White space after a size.
    SizeBlank {
        size: u64,
    },
    SizeLineFeed {
        size: u64,
    },
    /// After the last chunk: the start of a trailer, or of the empty line that ends the body.
    Trailer,
    TrailerLineFeed,
    TrailerName,
    TrailerValue,
}

impl Place {
    /// Whether the byte before this place belongs to an extension or a trailer.
    fn is_extra(self) -> bool {
        matches!(
            self,
            Place::Extension { .. }
                | Place::SizeBlank { .. }
                | Place::TrailerName
                | Place::TrailerValue
                | Place::TrailerLineFeed
        )
    }
}

impl Scan {
    pub fn new() -> Scan {
        Scan {
            place: Place::Size { digits: 0, size: 0 },
            extra_bytes: 0,
        }
    }

    pub fn is_done(self) -> bool {
        self.place == Place::Done
    }

    /// Continues with `bytes`, appends the data in them to `data`, and returns how many of the bytes belong to the body.
    pub fn decode(&mut self, bytes: &[u8], data: &mut Vec<u8>) -> Result<usize, &'static str> {
        let mut at = 0;
        while at < bytes.len() && !self.is_done() {
            if let Place::Data { left } = &mut self.place {
                let rest = &bytes[at..];
                let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(rest.len());
                data.extend_from_slice(&rest[..taken]);
                *left -= taken as u64;
                at += taken;
                if *left == 0 {
                    self.place = Place::DataReturn;
                }
                continue;
            }
            let before = self.place;
            self.place = self.after(bytes[at])?;
            at += 1;
            if before == Place::TrailerLineFeed || self.place.is_extra() {
                self.extra_bytes += 1;
                if self.extra_bytes > EXTRA_BYTES_MAX {
                    return Err("Chunk extensions and trailers are longer than 4 KiB.");
                }
            }
        }
        Ok(at)
    }

    /// The state after one byte that is not chunk data.
    fn after(self, byte: u8) -> Result<Place, &'static str> {
        const NO_SIZE: &str = "A chunk size is not a hexadecimal number followed by a line end.";
        let is_text = byte == b'\t' || !byte.is_ascii_control();
        Ok(match (self.place, byte) {
            (Place::Size { digits, size }, _) if byte.is_ascii_hexdigit() => {
                if digits == SIZE_DIGITS_MAX {
                    return Err("A chunk size has too many digits.");
                }
                let digit = char::from(byte).to_digit(16).unwrap_or(0);
                Place::Size {
                    digits: digits + 1,
                    size: size * 16 + u64::from(digit),
                }
            }
            (Place::Size { digits: 0, .. }, _) => return Err(NO_SIZE),
            (Place::Size { size, .. } | Place::Extension { size }, b'\r') => {
                Place::SizeLineFeed { size }
            }
            (Place::Size { size, .. } | Place::SizeBlank { size }, b';') => {
                Place::Extension { size }
            }
            (Place::Size { size, .. } | Place::SizeBlank { size }, b' ' | b'\t') => {
                Place::SizeBlank { size }
            }
            (Place::Size { .. } | Place::SizeBlank { .. }, _) => return Err(NO_SIZE),
            (Place::Extension { size }, _) if is_text => Place::Extension { size },
            (Place::Extension { .. }, _) => {
                return Err("A chunk extension contains a control byte.");
            }
            (Place::SizeLineFeed { size: 0 }, b'\n') => Place::Trailer,
            (Place::SizeLineFeed { size }, b'\n') => Place::Data { left: size },
            (Place::DataReturn, b'\r') => Place::DataLineFeed,
            (Place::DataLineFeed, b'\n') => Scan::new().place,
            (Place::DataReturn | Place::DataLineFeed, _) => {
                return Err("A chunk is longer than its size says.");
            }
            (Place::Trailer, b'\r') => Place::LastLineFeed,
            (Place::LastLineFeed, b'\n') => Place::Done,
            (Place::Trailer | Place::TrailerName, _) if is_token_byte(byte) => Place::TrailerName,
            (Place::TrailerName, b':') => Place::TrailerValue,
            (Place::Trailer | Place::TrailerName, _) => {
                return Err("A trailer is not a header name with a colon behind it.");
            }
            (Place::TrailerValue, b'\r') => Place::TrailerLineFeed,
            (Place::TrailerLineFeed, b'\n') => Place::Trailer,
            (Place::TrailerValue, _) if is_text => Place::TrailerValue,
            (Place::TrailerValue, _) => return Err("A trailer contains a control byte."),
            _ => return Err("A carriage return stands without a line feed."),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks that `body` contains `data`, or with `None` that it is refused; the result must be the same whether the
    /// body arrives in one piece or byte by byte. `behind` follows the body and does not belong to it.
    #[track_caller]
    fn check_before(body: &str, behind: &str, data: Option<&str>) {
        let bytes = format!("{body}{behind}");
        let expected = data.map(|data| (data.as_bytes().to_vec(), body.len()));
        for piece in [bytes.len(), 1] {
            let (mut scan, mut data) = (Scan::new(), Vec::new());
            let taken = bytes
                .as_bytes()
                .chunks(piece)
                .try_fold(0, |sum, piece| Ok(sum + scan.decode(piece, &mut data)?));
            let decoded = taken.map(|taken: usize| (data, taken));
            assert_eq!(
                decoded.map_err(|why: &str| why).ok(),
                expected,
                "{piece} at a time: {bytes:?}"
            );
        }
    }

    #[track_caller]
    fn check(body: &str, data: Option<&str>) {
        check_before(body, "", data);
    }

    #[test]
    fn chunked_bodies() {
        for (body, data) in [
            ("0\r\n\r\n", ""),
            ("3\r\nabc\r\n0\r\n\r\n", "abc"),
            ("3\r\nab", "ab"), // not finished
            ("3\r\n\r;\n\r\n0\r\n\r\n", "\r;\n"),
            ("1\r\na\r\n2\r\nbc\r\n0\r\n\r\n", "abc"),
        ] {
            check(body, Some(data));
        }
        let body = "00A\r\n0123456789\r\n00\r\n\r\n";
        check_before(body, "GET / HTTP/1.1", Some("0123456789"));
        // attacks 18 and 20
        for bad in [
            "+5\r\n",
            "5 \r\n",
            "5 5\r\n",
            " 5\r\n",
            "0x5\r\n",
            "-1\r\n",
            "\r\n",
            ";a\r\n",
            "g\r\n",
            "12345678901234567\r\n",
            "5\n",
            "5\r5",
            "3\r\nabcd\r\n",
            "3\r\nabc\n",
            "0\r\n\n",
        ] {
            check(bad, None);
        }
    }

    #[test]
    fn extensions_are_left_out() {
        for extension in [
            ";",
            ";a",
            ";a=b",
            ";a=b;c",
            " ; a = b",
            "\t;a=\"x;\\\"y\"",
            ";a=\"é\"",
            ";;;",
        ] {
            let body = format!("3{extension}\r\nabc\r\n0{extension}\r\n\r\n");
            check(&body, Some("abc"));
        }
        for bad in [";a\n", ";a\r", ";a\rb\r\n", ";\0", ";a=\"\x01\"", ";\x7f"] {
            check(&format!("3{bad}abc\r\n0\r\n\r\n"), None);
        }
    }

    #[test]
    fn trailers_are_left_out() {
        for trailer in [
            "X: 1\r\n",
            "X:\r\nY: a\tb\r\n",
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        ] {
            check_before(&format!("1\r\na\r\n0\r\n{trailer}\r\n"), "GET /", Some("a"));
        }
        for bad in [
            "X\r\n",
            "X : 1\r\n",
            ": 1\r\n",
            " X: 1\r\n",
            "X: 1\n",
            "X: \0\r\n",
            "X: 1\r\n Y\r\n",
            "X: 1\rY: 2\r\n",
            "X: 1\r\r\n",
        ] {
            check(&format!("1\r\na\r\n0\r\n{bad}\r\n"), None);
        }
    }

    #[test]
    fn what_is_left_out_is_bounded_over_a_whole_body() {
        let with = |bytes: usize| {
            let half = "e".repeat(bytes / 2 - 1);
            format!("1;{half}\r\na\r\n0;{half}\r\n\r\n")
        };
        check(&with(EXTRA_BYTES_MAX), Some("a"));
        check(&with(EXTRA_BYTES_MAX + 2), None);
        let trailer = |bytes: usize| format!("0\r\nX:{}\r\n\r\n", "t".repeat(bytes - 4));
        check(&trailer(EXTRA_BYTES_MAX), Some(""));
        check(&trailer(EXTRA_BYTES_MAX + 1), None);
    }
}
