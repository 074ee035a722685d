//! Finds secrets in encoded text: UTF-16, base64, percent-encoding, and gzip inside these; encodings may be nested.
//!
//! Each encoding has an alphabet, and an encoded secret is a run of its characters with a minimum length. The search
//! therefore tests only one byte in every so many. If this byte belongs to the alphabet, the search measures the run
//! around it and, if it is long enough, decodes and searches the run. Ordinary text consists of short runs, which cost
//! almost nothing.

use super::gzip::{self, Unpacked};
use super::packed;
use crate::domain::keys::finder::{self, Rest};
use crate::domain::keys::secret::{Presented, TAIL_CHARS};
use memchr::memchr_iter;
use std::collections::HashSet;
use std::io::Read;

/// The maximum number of nested encodings. A Helm release in a Kubernetes Secret is gzip in base64 in base64.
const LAYERS_MAX: usize = 4;
/// The length of the shortest secret: a prefix of two characters, the underscore, and the rest.
const SECRET_CHARS_MIN: usize = 2 + 1 + TAIL_CHARS;
/// The length of the shortest secret in base64, from its first complete character to its last.
const BASE64_CHARS_MIN: usize = SECRET_CHARS_MIN * 4 / 3;
/// The minimum length of a line of wrapped base64, except for the last line.
const BASE64_LINE_CHARS_MIN: usize = 32;
/// The maximum number of blanks and marks at the start or the end of a line.
const INDENT_MAX: usize = 64;
/// The maximum size of what is unpacked from gzip inside other encodings, for each part of a file.
const UNPACKED_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// The line ends in wrapped base64, also as they are escaped in a JSON string.
const LINE_ENDS: &[&[u8]] = &[b"\r\n", b"\n", b"\r", b"\\r\\n", b"\\n", b"\\r"];
/// Marks a byte that is not in the alphabet of base64.
const NONE: u8 = u8::MAX;

/// One encoding of a secret.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Encoding {
    Base64,
    Gzip,
    Percent,
    Utf16,
}

impl Encoding {
    pub fn word(self) -> &'static str {
        match self {
            Encoding::Base64 => "base64",
            Encoding::Gzip => "gzip",
            Encoding::Percent => "percent",
            Encoding::Utf16 => "utf-16",
        }
    }
}

/// Receives a finding: its position in the bytes, the secret, and its encodings, outermost first.
pub type Take<'t> = &'t mut dyn FnMut(usize, Presented<'_>, &[Encoding]);

/// A search in one part of a file, including nested encodings.
pub struct Search {
    layers: Vec<Encoding>,
    unpacked_left: u64,
    /// The positions of packed data inside encodings, and why it was not read wholly, if it was not. The same data may
    /// be tried several times, for example with fewer lines of wrapped base64. A position in unpacked text follows the
    /// position of the packed data.
    packed: Vec<(Vec<usize>, Option<String>)>,
}

impl Search {
    /// Creates a search in bytes that were already decoded from `layers`.
    pub fn within(layers: &[Encoding]) -> Search {
        Search {
            layers: layers.to_vec(),
            unpacked_left: UNPACKED_BYTES_MAX,
            packed: Vec::new(),
        }
    }

    /// The packed data that could not be read wholly in any way, each with the reason.
    pub fn incomplete(&self) -> impl Iterator<Item = &str> {
        let whole = self.packed.iter().filter(|(_, why)| why.is_none());
        let whole: HashSet<&[usize]> = whole.map(|(at, _)| at.as_slice()).collect();
        let cut = self.packed.iter();
        let cut = cut.filter(move |(at, _)| !whole.contains(at.as_slice()));
        cut.filter_map(|(_, why)| why.as_deref())
    }

    /// Reports the encoded secrets; the same secret may be reported twice with the same position.
    pub fn find(&mut self, bytes: &[u8], take: Take<'_>) {
        if self.layers.len() < LAYERS_MAX && bytes.len() >= SECRET_CHARS_MIN {
            self.utf16(bytes, take);
            self.base64(bytes, take);
            self.percent(bytes, take);
        }
    }

    /// Searches decoded bytes; `place` converts a position in them to a position in the encoded bytes.
    fn decoded(
        &mut self,
        encoding: Encoding,
        bytes: &[u8],
        place: &dyn Fn(usize) -> usize,
        take: Take<'_>,
    ) {
        if bytes.len() < SECRET_CHARS_MIN && !gzip::is_begun_by(bytes) {
            return;
        }
        self.layers.push(encoding);
        let known = self.packed.len();
        finder::find(bytes, 0, Rest::Nothing, |at, found| {
            take(place(at), found, &self.layers);
        });
        let mut outer = |at, found: Presented<'_>, layers: &[Encoding]| {
            take(place(at), found, layers);
        };
        if gzip::is_begun_by(bytes) {
            let why = self.gzip(bytes, &mut outer).err();
            self.packed.push((
                vec![0],
                why.map(|why| self.named("gzip, but for its beginning", &why)),
            ));
        } else if let Some(kind) = packed::kind_of_decoded(bytes) {
            self.packed.push((vec![0], Some(self.named(kind, ""))));
        }
        self.find(bytes, &mut outer);
        for (at, _) in &mut self.packed[known..] {
            match encoding {
                Encoding::Gzip => at.insert(0, 0),
                _ => at[0] = place(at[0]),
            }
        }
        self.layers.pop();
    }

    /// Searches the unpacked text of gzip. Damaged data is searched up to the damage; the error is the damage.
    fn gzip(&mut self, bytes: &[u8], take: Take<'_>) -> Result<(), String> {
        if self.layers.len() >= LAYERS_MAX {
            return Err("too many encodings within one another".to_owned());
        }
        let mut text = Vec::new();
        let mut unpacked = Unpacked::new(bytes, self.unpacked_left);
        let ended = unpacked.read_to_end(&mut text);
        self.unpacked_left -= self.unpacked_left.min(text.len() as u64);
        self.decoded(Encoding::Gzip, &text, &|_| 0, take);
        ended.map_err(|err| err.to_string())?;
        let mut rest = Vec::new();
        if let (_, Some(mut after)) = unpacked.into_parts() {
            after
                .read_to_end(&mut rest)
                .map_err(|err| err.to_string())?;
        }
        // Plain text after the last member is searched with the packed bytes.
        match packed::kind_of_decoded(&rest) {
            Some(kind) => Err(format!("{kind} follows it")),
            None if gzip::is_begun_by(&rest) => Err("a further part is damaged".to_owned()),
            None => Ok(()),
        }
    }

    /// A reason that names the encodings around packed data, innermost first.
    fn named(&self, kind: &str, why: &str) -> String {
        let around: Vec<&str> = self.layers.iter().rev().map(|it| it.word()).collect();
        let colon = if why.is_empty() { "" } else { ": " };
        format!("{kind}, in {}{colon}{why}", around.join(" in "))
    }

    /// Finds ASCII characters with a zero byte before or after each.
    fn utf16(&mut self, bytes: &[u8], take: Take<'_>) {
        let is_pair = |at: usize| matches!(bytes.get(at..at + 2), Some([char, 0]) if (1..0x80).contains(char));
        // Of any two adjacent bytes in a run, one is the start of a pair.
        let step = 2 * SECRET_CHARS_MIN - 3;
        let (mut at, mut floor) = (0, 0);
        while at < bytes.len() {
            let Some(hit) = [at, at + 1].into_iter().find(|at| is_pair(*at)) else {
                at += step;
                continue;
            };
            let (mut start, mut end) = (hit, hit + 2);
            while start >= floor + 2 && is_pair(start - 2) {
                start -= 2;
            }
            while is_pair(end) {
                end += 2;
            }
            let mut text: Vec<u8> = bytes[start..end].iter().step_by(2).copied().collect();
            let place = |at: usize| start + 2 * at;
            self.decoded(Encoding::Utf16, &text, &place, take);
            // In big-endian text the zero byte of the last character precedes it.
            if let Some(last @ 1..0x80) = bytes.get(end) {
                text.push(*last);
                self.decoded(Encoding::Utf16, &text, &place, take);
            }
            floor = end;
            at = end + step;
        }
    }

    /// Finds text in both alphabets of base64, on one line or on several lines.
    fn base64(&mut self, bytes: &[u8], take: Take<'_>) {
        let (mut at, mut floor) = (BASE64_LINE_CHARS_MIN - 1, 0);
        while at < bytes.len() {
            if SEXTETS[usize::from(bytes[at])] == NONE {
                at += BASE64_LINE_CHARS_MIN;
                continue;
            }
            let is_before = |byte: &&u8| SEXTETS[usize::from(**byte)] != NONE;
            let start = at - bytes[floor..at].iter().rev().take_while(is_before).count();
            let mut end = end_of_sextets(bytes, at);
            if end - start >= BASE64_LINE_CHARS_MIN {
                let mut lines = Vec::from([std::ops::Range { start, end }]);
                let begins_line = start == 0 || matches!(bytes[start - 1], b'\n' | b'\r');
                let sign = Some(bytes[start]).filter(|it| begins_line && b"+-".contains(it));
                while let Some(next) = next_line(bytes, end, sign) {
                    end = next.end;
                    let is_last = next.len() < BASE64_LINE_CHARS_MIN;
                    lines.push(next);
                    if is_last {
                        break;
                    }
                }
                self.base64_lines(bytes, &lines, take);
            }
            floor = end;
            at = end + BASE64_LINE_CHARS_MIN;
        }
    }

    /// Searches each line alone if it is long enough for a secret, and then all lines together, with and without the
    /// last one, which may not belong to them.
    fn base64_lines(&mut self, bytes: &[u8], lines: &[std::ops::Range<usize>], take: Take<'_>) {
        let alone = lines.iter().map(std::slice::from_ref);
        let joined = [lines, &lines[..lines.len() - 1]];
        let joined = joined.into_iter().filter(|it| it.len() > 1);
        for lines in alone.chain(joined) {
            let count: usize = lines.iter().map(ExactSizeIterator::len).sum();
            if count < BASE64_CHARS_MIN {
                continue;
            }
            let chars = lines.iter().flat_map(|line| &bytes[line.clone()]);
            let sextets: Vec<u8> = chars.map(|byte| SEXTETS[usize::from(*byte)]).collect();
            // Other characters of the alphabet, such as those of a path, may precede the encoded text.
            for skipped in 0..4 {
                let text = octets(&sextets[skipped..]);
                let place = |at: usize| {
                    let mut left = skipped + at * 4 / 3;
                    for line in lines {
                        if left < line.len() {
                            return line.start + left;
                        }
                        left -= line.len();
                    }
                    bytes.len()
                };
                self.decoded(Encoding::Base64, &text, &place, take);
            }
        }
    }

    /// Finds `%` followed by two hexadecimal digits, among other characters of a URL or a form.
    fn percent(&mut self, bytes: &[u8], take: Take<'_>) {
        let is_part = |byte: &&u8| byte.is_ascii_graphic() && !b"\"'<>`\\{}|".contains(*byte);
        let mut floor = 0;
        for at in memchr_iter(b'%', bytes) {
            if at < floor || escaped(&bytes[at..]).is_none() {
                continue;
            }
            let start = at - bytes[floor..at].iter().rev().take_while(is_part).count();
            let end = at + bytes[at..].iter().take_while(is_part).count();
            floor = end;
            let mut text = Vec::with_capacity(end - start);
            let mut places = Vec::with_capacity(end - start);
            let mut from = start;
            while from < end {
                places.push(from);
                let byte = escaped(&bytes[from..end]);
                text.push(byte.unwrap_or(bytes[from]));
                from += if byte.is_some() { 3 } else { 1 };
            }
            let place = |at: usize| places.get(at).copied().unwrap_or(start);
            self.decoded(Encoding::Percent, &text, &place, take);
        }
    }
}

/// The byte that `%` and two digits at the start of the text encode.
fn escaped(bytes: &[u8]) -> Option<u8> {
    let [b'%', high, low, ..] = bytes else {
        return None;
    };
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(*high)? * 16 + digit(*low)?).ok()
}

fn end_of_sextets(bytes: &[u8], from: usize) -> usize {
    let is_sextet = |byte: &&u8| SEXTETS[usize::from(**byte)] != NONE;
    from + bytes[from..].iter().take_while(is_sextet).count()
}

/// The next line of wrapped base64, if there is one: it follows a line end, which may be escaped as in a JSON string.
/// Blanks, quotation marks, and marks of comments, tables and quoted mail may surround the line end. `sign` is the sign
/// before the first line in a list of differences.
fn next_line(bytes: &[u8], end: usize, sign: Option<u8>) -> Option<std::ops::Range<usize>> {
    let limit = bytes.len().min(end + INDENT_MAX);
    let mut at = end;
    let line_end = loop {
        let rest = &bytes[at..];
        if let Some(line_end) = LINE_ENDS.iter().find(|it| rest.starts_with(it)) {
            break line_end;
        }
        if at >= limit || !b" \t\"'`|*,;+\\".contains(&bytes[at]) {
            return None;
        }
        at += 1;
    };
    at += line_end.len();
    if sign.is_some_and(|sign| bytes.get(at) == Some(&sign)) {
        at += 1;
    }
    let limit = bytes.len().min(at + INDENT_MAX);
    while at < limit {
        // The longer marks consist of letters of base64, so a blank must follow them.
        let longer = [&b"// "[..], b"-- ", b"+ ", b"- "];
        let mut longer = longer.iter().filter(|it| bytes[at..].starts_with(it));
        at += match longer.next() {
            Some(mark) => mark.len(),
            None if b" \t\"'`|*>#;:%".contains(&bytes[at]) => 1,
            None => break,
        };
    }
    let end = end_of_sextets(bytes, at);
    (end > at).then_some(at..end)
}

/// The complete bytes in a sequence of sextets.
fn octets(sextets: &[u8]) -> Vec<u8> {
    let mut octets = Vec::with_capacity(sextets.len() * 3 / 4);
    for four in sextets.chunks(4) {
        let bits = four
            .iter()
            .fold(0_u32, |bits, it| bits << 6 | u32::from(*it));
        let bits = bits << (6 * (4 - four.len()));
        let [_, whole @ ..] = bits.to_be_bytes();
        octets.extend_from_slice(&whole[..four.len() * 6 / 8]);
    }
    octets
}

/// The value of each byte in base64, for the standard alphabet and the alphabet for URLs (RFC 4648).
const SEXTETS: [u8; 256] = {
    let mut sextets = [NONE; 256];
    let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let mut worth = 0;
    while worth < letters.len() {
        sextets[letters[worth] as usize] = worth as u8;
        worth += 1;
    }
    sextets[b'+' as usize] = 62;
    sextets[b'-' as usize] = 62;
    sextets[b'/' as usize] = 63;
    sextets[b'_' as usize] = 63;
    sextets
};

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::cli::scan::gzip::tests::packed;
    use crate::domain::keys::secret::{Secret, generate_id};

    fn secret(prefix: &str) -> String {
        let secret = Secret::generate(prefix, generate_id().unwrap()).unwrap();
        secret.expose().to_owned()
    }

    pub fn base64(bytes: &[u8], specials: &[u8; 2]) -> String {
        let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
        let mut text = String::new();
        for three in bytes.chunks(3) {
            let mut bits = three
                .iter()
                .fold(0_u32, |bits, it| bits << 8 | u32::from(*it));
            bits <<= 8 * (3 - three.len());
            for at in 0..=three.len() {
                let worth = (bits >> (18 - 6 * at) & 63) as usize;
                let char = letters.get(worth).copied();
                text.push(char::from(char.unwrap_or_else(|| specials[worth - 62])));
            }
        }
        text
    }

    fn utf16(text: &str, is_big_endian: bool) -> Vec<u8> {
        let units = text.encode_utf16();
        let bytes = |unit: u16| match is_big_endian {
            true => unit.to_be_bytes(),
            false => unit.to_le_bytes(),
        };
        units.flat_map(bytes).collect()
    }

    fn found(bytes: &[u8]) -> Vec<(usize, String, Vec<Encoding>)> {
        let mut all = Vec::new();
        Search::within(&[]).find(bytes, &mut |at, found, layers| {
            all.push((at, found.text.to_owned(), layers.to_vec()));
        });
        all.sort();
        all.dedup();
        all
    }

    #[track_caller]
    fn finds(bytes: &[u8], secret: &str, layers: &[Encoding]) -> usize {
        let all = found(bytes);
        let said = String::from_utf8_lossy(bytes);
        let [(at, text, found)] = all.as_slice() else {
            panic!("{} findings in {said}", all.len());
        };
        assert_eq!(
            (text.as_str(), found.as_slice()),
            (secret, layers),
            "{said}"
        );
        *at
    }

    #[test]
    fn base64_is_read_at_every_alignment_in_both_alphabets_and_wrapped() {
        for secret in [secret("lk"), secret("abcdefghijklmnop"), secret("")] {
            for before in ["", " ", "a:", "x: ", "über "] {
                for specials in [b"+/", b"-_"] {
                    let text = format!("{before}{secret}\n{{\"ÿ?>\"}}");
                    let encoded = base64(text.as_bytes(), specials);
                    for junk in ["", "k", "ke", "key", "/path/"] {
                        let whole = format!("{junk}{encoded}==");
                        finds(whole.as_bytes(), &secret, &[Encoding::Base64]);
                    }
                    for width in [48, 60, 64, 76] {
                        for line_end in ["\n", "\r\n", "\n    ", "\\n", "\\r\\n"] {
                            let lines: Vec<&str> = (0..encoded.len())
                                .step_by(width)
                                .map(|at| &encoded[at..encoded.len().min(at + width)])
                                .collect();
                            let whole = format!("data: |\n  {}\nkind: x", lines.join(line_end));
                            finds(whole.as_bytes(), &secret, &[Encoding::Base64]);
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn wrapped_base64_is_read_whatever_marks_its_lines() {
        for secret in [secret("lk"), secret("")] {
            let encoded = base64(secret.as_bytes(), b"+/");
            let lines: Vec<&str> = vec![&encoded[..48], &encoded[48..]];
            for (before, after) in [
                ("", " "),
                ("", "\t \t"),
                ("> ", ""),
                (">> ", ""),
                ("# ", ""),
                (" * ", ""),
                ("| ", " |"),
                ("// ", ""),
                ("-- ", ""),
                ("+", ""),
                ("-", ""),
                ("+ ", ""),
                ("+  # ", ""),
                ("; ", ""),
                ("\"", "\" +"),
                ("'", "',"),
                ("", "\\"),
                ("", " \\"),
            ] {
                for line_end in ["\n", "\r\n", "\r", "\\n", "\\r\\n"] {
                    let text: Vec<String> = lines
                        .iter()
                        .map(|it| format!("{before}{it}{after}"))
                        .collect();
                    let text = text.join(line_end);
                    finds(text.as_bytes(), &secret, &[Encoding::Base64]);
                }
            }
        }
    }

    #[test]
    fn base64_without_padding_stands_line_by_line() {
        let secrets: Vec<String> = (0..50).map(|_| secret("lk")).collect();
        let lines: Vec<String> = secrets
            .iter()
            .map(|it| base64(it.as_bytes(), b"-_"))
            .collect();
        let text = lines.join("\n");
        let mut texts: Vec<String> = found(text.as_bytes()).into_iter().map(|it| it.1).collect();
        texts.sort();
        // The lines one by one and all of them together can read as the same secret.
        texts.dedup();
        let mut secrets = secrets;
        secrets.sort();
        assert_eq!(texts, secrets);
    }

    #[test]
    fn utf16_is_read_in_both_byte_orders_with_and_without_a_mark() {
        for secret in [secret("lk"), secret("")] {
            for is_big_endian in [false, true] {
                for before in ["", "\u{feff}", "\u{feff}é", "key=", "日本"] {
                    for after in ["", "\r\n", "日", "\"é"] {
                        for odd in [&b""[..], b"x"] {
                            let text = format!("{before}{secret}{after}");
                            let bytes = [odd, &utf16(&text, is_big_endian)].concat();
                            finds(&bytes, &secret, &[Encoding::Utf16]);
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn percent_encoding_is_read_whatever_it_encodes() {
        for secret in [secret("lk"), secret("")] {
            let all: String = secret.bytes().map(|it| format!("%{it:02X}")).collect();
            let some = secret.replace('_', "%5f").replace('a', "%61");
            for encoded in [all, some] {
                if encoded == secret {
                    continue;
                }
                let text = format!("GET /a?key={encoded}&x=%zz HTTP/1.1");
                let at = finds(text.as_bytes(), &secret, &[Encoding::Percent]);
                assert_eq!(at, 11);
            }
        }
    }

    #[test]
    fn encodings_within_one_another_are_read() {
        use Encoding::{Base64, Gzip, Percent, Utf16};
        let secret = secret("lk");
        let config = format!(
            "{{\"auth\":\"{}\"}}",
            base64(format!("u:{secret}").as_bytes(), b"+/")
        );
        let docker = base64(config.as_bytes(), b"+/");
        finds(docker.as_bytes(), &secret, &[Base64, Base64]);
        let script = base64(&utf16(&format!("$k='{secret}'"), false), b"+/");
        finds(script.as_bytes(), &secret, &[Base64, Utf16]);
        let release = base64(
            &packed(secret.repeat(2).replace("lk_", " lk_").as_bytes()),
            b"+/",
        );
        let release = base64(release.as_bytes(), b"+/");
        let all = found(release.as_bytes());
        assert!(
            all.iter().any(|it| it.2 == [Base64, Base64, Gzip]),
            "{}",
            all.len()
        );
        let each = docker.char_indices().map(|(at, char)| match at % 9 {
            4 => format!("%{:02x}", u32::from(char)),
            _ => char.to_string(),
        });
        let url: String = each.collect();
        finds(url.as_bytes(), &secret, &[Percent, Base64, Base64]);
    }

    #[test]
    fn what_is_no_secret_is_none() {
        let secret = secret("lk");
        let changed = secret.replace(&secret[20..22], "__");
        for text in [
            base64(changed.as_bytes(), b"+/"),
            base64(&secret.as_bytes()[1..50], b"+/"),
            "a".repeat(10_000),
            "%".repeat(10_000),
            "%41".repeat(10_000),
            "\0a".repeat(10_000),
            String::new(),
        ] {
            assert!(found(text.as_bytes()).is_empty(), "{text}");
        }
    }
}
