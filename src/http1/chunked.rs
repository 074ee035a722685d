//! The strict reader of chunked bodies (RFC 9112, 7.1), which checks them before hyper decodes them. This file does no
//! I/O.
//!
//! Chunk extensions and trailers are read and dropped, as the standard requires, up to a size limit: hyper receives
//! only sizes, data and line ends. Where the standard allows variants that are useful only for request smuggling, this
//! reader refuses them: a bare line feed, and white space after a size that no extension follows (attacks 18 and 20).

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

/// A number of bytes at the start of the input that are all treated alike.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Run {
    pub bytes: usize,
    /// Whether hyper receives these bytes; otherwise they are dropped.
    pub is_kept: bool,
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

    /// Checks the longest run at the start of `bytes` that is kept, or dropped, as a whole. The run is empty only if
    /// `bytes` is empty or none of the bytes belong to the body.
    pub fn advance(&mut self, bytes: &[u8]) -> Result<Run, &'static str> {
        let mut run = Run {
            bytes: 0,
            is_kept: true,
        };
        while run.bytes < bytes.len() && !self.is_done() {
            let rest = &bytes[run.bytes..];
            if let Place::Data { left } = &mut self.place {
                if !run.is_kept {
                    break;
                }
                let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(rest.len());
                *left -= taken as u64;
                run.bytes += taken;
                if *left == 0 {
                    self.place = Place::DataReturn;
                }
                continue;
            }
            let (place, is_kept) = self.after(rest[0])?;
            if run.bytes == 0 {
                run.is_kept = is_kept;
            } else if run.is_kept != is_kept {
                break;
            }
            self.place = place;
            run.bytes += 1;
            if !is_kept {
                self.extra_bytes += 1;
                if self.extra_bytes > EXTRA_BYTES_MAX {
                    return Err("Chunk extensions and trailers are longer than 4 KiB.");
                }
            }
        }
        Ok(run)
    }

    /// The state after one byte that is not chunk data, and whether that byte is kept.
    fn after(self, byte: u8) -> Result<(Place, bool), &'static str> {
        const NO_SIZE: &str = "A chunk size is not a hexadecimal number followed by a line end.";
        let kept = |place| Ok((place, true));
        let left_out = |place| Ok((place, false));
        let is_text = byte == b'\t' || !byte.is_ascii_control();
        match (self.place, byte) {
            (Place::Size { digits, size }, _) if byte.is_ascii_hexdigit() => {
                if digits == SIZE_DIGITS_MAX {
                    return Err("A chunk size has too many digits.");
                }
                let digit = char::from(byte).to_digit(16).unwrap_or(0);
                kept(Place::Size {
                    digits: digits + 1,
                    size: size * 16 + u64::from(digit),
                })
            }
            (Place::Size { digits: 0, .. }, _) => Err(NO_SIZE),
            (Place::Size { size, .. } | Place::Extension { size }, b'\r') => {
                kept(Place::SizeLineFeed { size })
            }
            (Place::Size { size, .. } | Place::SizeBlank { size }, b';') => {
                left_out(Place::Extension { size })
            }
            (Place::Size { size, .. } | Place::SizeBlank { size }, b' ' | b'\t') => {
                left_out(Place::SizeBlank { size })
            }
            (Place::Size { .. } | Place::SizeBlank { .. }, _) => Err(NO_SIZE),
            (Place::Extension { size }, _) if is_text => left_out(Place::Extension { size }),
            (Place::Extension { .. }, _) => Err("A chunk extension contains a control byte."),
            (Place::SizeLineFeed { size: 0 }, b'\n') => kept(Place::Trailer),
            (Place::SizeLineFeed { size }, b'\n') => kept(Place::Data { left: size }),
            (Place::DataReturn, b'\r') => kept(Place::DataLineFeed),
            (Place::DataLineFeed, b'\n') => kept(Scan::new().place),
            (Place::DataReturn | Place::DataLineFeed, _) => {
                Err("A chunk is longer than its size says.")
            }
            (Place::Trailer, b'\r') => kept(Place::LastLineFeed),
            (Place::LastLineFeed, b'\n') => kept(Place::Done),
            (Place::Trailer | Place::TrailerName, _) if is_token_byte(byte) => {
                left_out(Place::TrailerName)
            }
            (Place::TrailerName, b':') => left_out(Place::TrailerValue),
            (Place::Trailer | Place::TrailerName, _) => {
                Err("A trailer is not a header name with a colon behind it.")
            }
            (Place::TrailerValue, b'\r') => left_out(Place::TrailerLineFeed),
            (Place::TrailerLineFeed, b'\n') => left_out(Place::Trailer),
            (Place::TrailerValue, _) if is_text => left_out(Place::TrailerValue),
            (Place::TrailerValue, _) => Err("A trailer contains a control byte."),
            _ => Err("A carriage return stands without a line feed."),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the bytes that are kept of the body, and the length of the body in `bytes`; `None` if the body is
    /// refused.
    fn read(scan: &mut Scan, bytes: &[u8]) -> Option<(Vec<u8>, usize)> {
        let (mut kept, mut at) = (Vec::new(), 0);
        loop {
            let run = scan.advance(&bytes[at..]).ok()?;
            if run.bytes == 0 {
                return Some((kept, at));
            }
            if run.is_kept {
                kept.extend_from_slice(&bytes[at..at + run.bytes]);
            }
            at += run.bytes;
        }
    }

    /// Checks that `kept` remains of `body`, or with `None` that the body is refused; the result must be the same
    /// whether the body arrives in one piece or byte by byte. `behind` follows the body and does not belong to it.
    #[track_caller]
    fn check_before(body: &str, behind: &str, kept: Option<&str>) {
        let bytes = format!("{body}{behind}");
        let expected = kept.map(|kept| (kept.as_bytes().to_vec(), body.len()));
        let whole = read(&mut Scan::new(), bytes.as_bytes());
        assert_eq!(whole, expected, "at once: {bytes:?}");

        let mut scan = Scan::new();
        let pieces = bytes.bytes().try_fold((Vec::new(), 0), |mut sum, byte| {
            let (kept, taken) = read(&mut scan, &[byte])?;
            sum.0.extend(kept);
            Some((sum.0, sum.1 + taken))
        });
        assert_eq!(pieces, expected, "byte by byte: {bytes:?}");
    }

    #[track_caller]
    fn check(body: &str, kept: Option<&str>) {
        check_before(body, "", kept);
    }

    #[test]
    fn chunked_bodies() {
        for whole in [
            "0\r\n\r\n",
            "3\r\nabc\r\n0\r\n\r\n",
            "3\r\nab", // not finished
            "3\r\n\r;\n\r\n0\r\n\r\n",
        ] {
            check(whole, Some(whole));
        }
        let body = "00A\r\n0123456789\r\n00\r\n\r\n";
        check_before(body, "GET / HTTP/1.1", Some(body));
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
        let kept = "3\r\nabc\r\n0\r\n\r\n";
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
            check(&body, Some(kept));
        }
        for bad in [";a\n", ";a\r", ";a\rb\r\n", ";\0", ";a=\"\x01\"", ";\x7f"] {
            check(&format!("3{bad}abc\r\n0\r\n\r\n"), None);
        }
    }

    #[test]
    fn trailers_are_left_out() {
        let kept = "1\r\na\r\n0\r\n\r\n";
        for trailer in [
            "X: 1\r\n",
            "X:\r\nY: a\tb\r\n",
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        ] {
            check_before(
                &format!("1\r\na\r\n0\r\n{trailer}\r\n"),
                "GET /",
                Some(kept),
            );
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
        check(&with(EXTRA_BYTES_MAX), Some("1\r\na\r\n0\r\n\r\n"));
        check(&with(EXTRA_BYTES_MAX + 2), None);
        let trailer = |bytes: usize| format!("0\r\nX:{}\r\n\r\n", "t".repeat(bytes - 4));
        check(&trailer(EXTRA_BYTES_MAX), Some("0\r\n\r\n"));
        check(&trailer(EXTRA_BYTES_MAX + 1), None);
    }
}
