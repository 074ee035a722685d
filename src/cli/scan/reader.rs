//! Reads files part by part and collects the findings.

use super::encodings::{Encoding, Search};
use super::git::Git;
use super::gzip::{self, Unpacked};
use super::packed;
use super::walk::{self, Visited};
use crate::domain::keys::KeyId;
use crate::domain::keys::finder::{self, AFTER, BEFORE, Rest};
use crate::domain::keys::secret::Presented;
use crate::domain::locks::lock;
use memchr::{memchr, memchr_iter};
use std::collections::HashSet;
use std::fs::File;
use std::io::{BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// The size of a part. Nearly all files fit into one.
const PART_BYTES: usize = 512 * 1024;
/// The number of bytes that are searched again with the next part: more than a secret needs in any encoding.
const OVERLAP: usize = 4 * 1024;
const _: () = assert!(OVERLAP >= BEFORE + AFTER);
/// A file with a NUL within this many bytes is binary.
const PROBE_BYTES: usize = 8 * 1024;
/// The maximum size of binary files that are searched: this includes small databases, but no disk images.
const BINARY_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// The maximum size of what is unpacked from a gzip file, unless [`UNPACKED_TIMES_MAX`] allows more.
const UNPACKED_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// The maximum ratio of unpacked to packed size. Logs shrink to a tenth or less; a file with a much higher ratio was
/// made for that purpose.
const UNPACKED_TIMES_MAX: u64 = 32;
/// The maximum number of nested gzip files.
const GZIP_MAX: usize = 3;

/// A secret and its position.
#[derive(Eq, Ord, PartialEq, PartialOrd)]
pub struct Finding {
    pub path: String,
    /// The line number from 1; for a gzip file, that in the unpacked text.
    pub line: u64,
    /// The position in bytes; for a gzip file, that in the unpacked text.
    pub offset: u64,
    /// The encodings of the secret, outermost first.
    pub encodings: Vec<Encoding>,
    pub hint: String,
    /// The secret itself, which is never displayed; therefore this type has no `Debug`.
    pub text: String,
    pub id: KeyId,
}

/// A file that may contain secrets but was not searched.
#[derive(Eq, Ord, PartialEq, PartialOrd, serde::Serialize)]
pub struct SkippedFile {
    pub path: String,
    pub why: String,
}

/// The result of a scan.
#[derive(Default)]
pub struct ScanResult {
    /// The findings, ordered by path and line.
    pub findings: Vec<Finding>,
    pub files: u64,
    /// The files that were not searched: archives, encrypted files, and files that are too large.
    pub unread: Vec<SkippedFile>,
    /// Files and folders that could not be read, each with the reason.
    pub troubles: Vec<String>,
    /// Work trees for which git gave no answer, each with the reason.
    pub unlisted: Vec<String>,
}

/// Searches all files below the paths. In work trees it omits the files that git ignores, unless `all` is true. `-`
/// stands for standard input.
pub fn scan(paths: &[PathBuf], all: bool) -> ScanResult {
    let scanned = Mutex::new(ScanResult::default());
    let (streams, paths): (Vec<&Path>, Vec<&Path>) = paths
        .iter()
        .map(PathBuf::as_path)
        .partition(|path| *path == Path::new("-"));
    if !streams.is_empty() {
        let mut reader = Reader::new(&scanned);
        reader.read("-", &mut std::io::stdin().lock(), None);
    }
    let git = (!all).then(Git::look_up);
    walk::each_file(&paths, git.as_ref(), || {
        let mut reader = Reader::new(&scanned);
        move |met: Visited<'_>| reader.met(met)
    });
    let mut scanned = scanned
        .into_inner()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    scanned.findings.sort();
    scanned.unread.sort();
    for told in [&mut scanned.troubles, &mut scanned.unlisted] {
        told.sort();
        // The same path may be specified twice.
        told.dedup();
    }
    scanned
}

/// The reader of one thread.
struct Reader<'w> {
    scanned: &'w Mutex<ScanResult>,
    buffer: Vec<u8>,
}

/// The findings in one file while it is read.
struct Reading<'p> {
    path: &'p str,
    size: Option<u64>,
    /// The encodings of the bytes that are currently read.
    layers: Vec<Encoding>,
    findings: Vec<Finding>,
    unread: Vec<SkippedFile>,
}

impl Reading<'_> {
    fn skip(&mut self, why: impl Into<String>) {
        let why = why.into();
        if self.unread.iter().all(|it| it.why != why) {
            self.unread.push(SkippedFile {
                path: self.path.to_owned(),
                why,
            });
        }
    }
}

impl<'w> Reader<'w> {
    fn new(scanned: &'w Mutex<ScanResult>) -> Reader<'w> {
        Reader {
            scanned,
            buffer: vec![0; PART_BYTES],
        }
    }

    fn note(&self, change: impl FnOnce(&mut ScanResult)) {
        change(&mut lock(self.scanned));
    }

    fn met(&mut self, met: Visited<'_>) {
        let path = match met {
            Visited::File(path) => path,
            Visited::Trouble(trouble) => return self.note(|it| it.troubles.push(trouble)),
            Visited::Unlisted(tree) => return self.note(|it| it.unlisted.push(tree)),
        };
        let shown = path.to_string_lossy();
        match File::open(path) {
            Ok(mut file) => {
                let bytes = file.metadata().ok().map(|metadata| metadata.len());
                self.read(&shown, &mut file, bytes);
            }
            Err(err) => self.note(|it| it.troubles.push(format!("{shown}: {err}"))),
        }
    }

    /// Reads a file to its end and stores the findings.
    fn read(&mut self, path: &str, input: &mut dyn Read, size: Option<u64>) {
        let mut reading = Reading {
            path,
            size,
            layers: Vec::new(),
            findings: Vec::new(),
            unread: Vec::new(),
        };
        let mut buffer = std::mem::take(&mut self.buffer);
        let ended = read(&mut reading, input, &mut buffer);
        self.buffer = buffer;
        self.note(|scanned| {
            scanned.files += 1;
            scanned.findings.append(&mut reading.findings);
            scanned.unread.append(&mut reading.unread);
            if let Err(err) = ended {
                scanned.troubles.push(format!("{path}: {err}"));
            }
        });
    }
}

/// Reads to the end. The parts overlap, so that a secret that crosses the border of two parts is found.
fn read(reading: &mut Reading<'_>, input: &mut dyn Read, buffer: &mut [u8]) -> std::io::Result<()> {
    let (mut kept, mut from) = (0, 0);
    let mut lines = 1;
    let mut base = 0;
    let mut seen = HashSet::new();
    loop {
        // What precedes an error is searched.
        let (count, ended) = fill(input, &mut buffer[kept..]);
        let filled = kept + count;
        let bytes = &buffer[..filled];
        if kept == 0 {
            if gzip::is_begun_by(bytes) && reading.layers.len() < GZIP_MAX {
                // The unpacked bytes will overwrite the buffer.
                let begin = bytes.to_vec();
                unpack(reading, &begin, input, buffer);
                return ended;
            }
            if skips(reading, bytes) {
                return ended;
            }
        }
        let rest = if filled < buffer.len() {
            Rest::Nothing
        } else {
            Rest::Follows
        };
        let mut hits = Vec::new();
        let mut take = |at, found: Presented<'_>, encodings: &[Encoding]| {
            if seen.insert((base + at as u64, found.id)) {
                hits.push((
                    at,
                    found.hint(),
                    found.text.to_owned(),
                    found.id,
                    encodings.to_vec(),
                ));
            }
        };
        finder::find(bytes, from, rest, |at, found| {
            take(at, found, &reading.layers)
        });
        let mut search = Search::within(&reading.layers);
        search.find(bytes, &mut take);
        for why in search.incomplete() {
            reading.skip(why);
        }
        hits.sort_by_key(|hit| hit.0);
        let (mut counted, mut line) = (0, lines);
        for (at, hint, text, id, encodings) in hits {
            line += memchr_iter(b'\n', &bytes[counted..at]).count() as u64;
            counted = at;
            reading.findings.push(Finding {
                path: reading.path.to_owned(),
                line,
                offset: base + at as u64,
                encodings,
                hint,
                text,
                id,
            });
        }
        if rest == Rest::Nothing {
            return ended;
        }
        let done = filled - OVERLAP;
        lines += memchr_iter(b'\n', &bytes[..done]).count() as u64;
        base += done as u64;
        seen.retain(|(offset, _)| *offset >= base);
        buffer.copy_within(done..filled, 0);
        (kept, from) = (OVERLAP, OVERLAP - AFTER);
    }
}

/// Unpacks and reads a gzip file, of which the bytes in `begin` were already read. Data that cannot be unpacked is
/// reported. Names and comments in the headers, and other bytes after the last member, are searched as they are.
fn unpack(reading: &mut Reading<'_>, begin: &[u8], input: &mut dyn Read, buffer: &mut [u8]) {
    let size = reading.size.take().unwrap_or(0);
    let bytes_max = UNPACKED_BYTES_MAX.max(size.saturating_mul(UNPACKED_TIMES_MAX));
    let packed = BufReader::new(begin.chain(input));
    let layers = reading.layers.clone();
    reading.layers.push(Encoding::Gzip);
    let mut unpacked = Unpacked::new(packed, bytes_max);
    if let Err(err) = read(reading, &mut unpacked, buffer) {
        reading.skip(format!("gzip, but for its beginning: {err}"));
    }
    let (heads, rest) = unpacked.into_parts();
    reading.layers = layers.clone();
    // With a space before them, the heads are not read as gzip, which could go on without an end.
    if !heads.is_empty()
        && let Err(err) = read(reading, &mut b" ".chain(heads.as_slice()), buffer)
    {
        reading.skip(format!("names in gzip: {err}"));
    }
    reading.layers = layers;
    if let Some(mut rest) = rest
        && let Err(err) = read(reading, &mut rest, buffer)
    {
        reading.skip(format!("what follows gzip: {err}"));
    }
}

/// Whether a file with this beginning is not searched. A packed or encrypted file that is not large is reported, but
/// its raw bytes are searched too, because archives may contain files uncompressed.
fn skips(reading: &mut Reading<'_>, begin: &[u8]) -> bool {
    let is_large = reading.size.is_some_and(|size| size > BINARY_BYTES_MAX);
    let probe = &begin[..begin.len().min(PROBE_BYTES)];
    let is_binary = memchr(0, probe).is_some() && !is_utf16(probe);
    if let Some(kind) = packed::kind(begin) {
        reading.skip(kind);
    } else if is_large && is_binary {
        let mib = BINARY_BYTES_MAX / (1024 * 1024);
        reading.skip(format!("binary and larger than {mib} MiB"));
    } else if gzip::is_begun_by(begin) {
        reading.skip("gzip in gzip in gzip");
    }
    is_large && is_binary
}

/// Whether a file starts like UTF-16: with a byte order mark, or with a zero in nearly every second byte.
fn is_utf16(probe: &[u8]) -> bool {
    let (pairs, _) = probe.as_chunks::<2>();
    let zeros = |at: usize| pairs.iter().filter(|pair| pair[at] == 0).count();
    let is_marked = probe.starts_with(b"\xff\xfe") || probe.starts_with(b"\xfe\xff");
    let (first, second) = (zeros(0), zeros(1));
    is_marked || first.max(second) * 10 > pairs.len() * 9 && first.min(second) * 10 < pairs.len()
}

/// Reads until the buffer is full or the input ends, possibly with an error.
fn fill(input: &mut dyn Read, buffer: &mut [u8]) -> (usize, std::io::Result<()>) {
    let mut filled = 0;
    while filled < buffer.len() {
        match input.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(err) if err.kind() == ErrorKind::Interrupted => {}
            Err(err) => return (filled, Err(err)),
        }
    }
    (filled, Ok(()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::scan::encodings::tests::base64;
    use crate::cli::scan::gzip::tests::packed;
    use crate::domain::keys::secret::{Secret, generate_id};

    fn scanned(mut bytes: &[u8], size: Option<u64>) -> ScanResult {
        let scanned = Mutex::new(ScanResult::default());
        Reader::new(&scanned).read("x", &mut bytes, size);
        scanned.into_inner().unwrap()
    }

    #[test]
    fn a_secret_across_two_parts_is_found_once_with_its_line() {
        let secret = Secret::generate("lk", generate_id().unwrap()).unwrap();
        let plain = secret.expose().as_bytes().to_vec();
        let utf16: Vec<u8> = plain.iter().flat_map(|byte| [*byte, 0]).collect();
        let percent: String = plain.iter().map(|byte| format!("%{byte:02x}")).collect();
        for (text, before, step) in [
            (plain, 200, 3),
            (utf16, 4200, 97),
            (percent.into_bytes(), 4200, 97),
        ] {
            for at in (PART_BYTES - before..PART_BYTES + 20).step_by(step) {
                let mut bytes = vec![b'.'; at];
                bytes[10] = b'\n';
                bytes[at - 1] = b'\n';
                bytes.extend_from_slice(&text);
                bytes.push(b'\n');
                bytes.resize(2 * PART_BYTES + 5, b'.');
                let scanned = scanned(&bytes, None);
                let lines: Vec<u64> = scanned.findings.iter().map(|it| it.line).collect();
                assert_eq!(lines, [3], "at {at}");
                assert_eq!(scanned.findings[0].offset, at as u64);
            }
        }
    }

    #[test]
    fn gzip_is_read_whatever_its_size_and_named_where_it_ends_too_early() {
        let secret = Secret::generate("lk", generate_id().unwrap()).unwrap();
        let text = format!("a\n{} {}\n", "b\n".repeat(3_000_000), secret.expose());
        let bytes = packed(text.as_bytes());
        let whole = scanned(&bytes, Some(bytes.len() as u64));
        assert_eq!(whole.findings.len(), 1);
        assert_eq!(whole.findings[0].line, 3_000_002);
        assert_eq!(whole.findings[0].encodings, [Encoding::Gzip]);
        assert!(whole.unread.is_empty());
        let twice = scanned(&packed(&bytes), None);
        assert_eq!(twice.findings[0].encodings, [Encoding::Gzip; 2]);
        let cut = scanned(&bytes[..bytes.len() - 100], None);
        assert!(cut.findings.is_empty() && cut.unread.len() == 1);
        let deep = packed(&packed(&packed(&bytes)));
        assert_eq!(scanned(&deep, None).unread.len(), 1);
    }

    #[test]
    fn what_is_beside_the_text_of_gzip_is_searched_or_named() {
        let secret = Secret::generate("lk", generate_id().unwrap()).unwrap();
        let text = secret.expose().as_bytes();
        let plain = packed(b"nothing");
        for flag in [1 << 3, 1 << 4] {
            let mut head = plain[..10].to_vec();
            head[3] = flag;
            for begin in [&b""[..], b"\x1f\x8b\x08"] {
                let bytes = [&head, begin, text, b"\0", &plain[10..]].concat();
                for bytes in [bytes.clone(), [&plain[..], &bytes].concat()] {
                    let scanned = scanned(&bytes, None);
                    assert_eq!((scanned.findings.len(), scanned.unread.len()), (1, 0));
                    assert!(scanned.findings[0].encodings.is_empty());
                }
            }
        }
        for between in [&b""[..], b"\0\0\0", b"text "] {
            let bytes = [&plain, between, text].concat();
            let found = scanned(&bytes, None);
            assert_eq!((found.findings.len(), found.unread.len()), (1, 0));
        }
        let mut broken = plain.clone();
        broken[3] = 0x80;
        for (after, why) in [
            (&broken[..], "its head is damaged"),
            (b"PK\x03\x04", "zip archive"),
        ] {
            let scanned = scanned(&[&plain, after].concat(), None);
            assert!(scanned.unread[0].why.contains(why));
        }
        // What precedes the damage.
        let bytes = packed(&[text, &b" b\n c".repeat(50_000)].concat());
        let cut = scanned(&bytes[..bytes.len() - 10], None);
        assert_eq!((cut.findings.len(), cut.unread.len()), (1, 1));
    }

    #[test]
    fn packed_data_in_encodings_is_named_where_it_is_not_read_wholly() {
        let secret = Secret::generate("lk", generate_id().unwrap()).unwrap();
        let wrapped = |bytes: &[u8]| {
            let text = base64(bytes, b"+/");
            let lines = text.as_bytes().chunks(76).map(String::from_utf8_lossy);
            lines.collect::<Vec<_>>().join("\n")
        };
        let noise: Vec<u8> = (0..200).collect();
        let zip = [b"PK\x03\x04", &noise[..]].concat();
        let whole = packed(&[secret.expose().as_bytes(), b" ", &noise].concat());
        let bomb = packed(&vec![b'a'; 17 * 1024 * 1024]);
        for (text, findings, unread) in [
            (wrapped(&zip), 0, Some("zip archive, in base64")),
            (
                wrapped(wrapped(&zip).as_bytes()),
                0,
                Some("zip archive, in base64 in base64"),
            ),
            (
                wrapped(&packed(&zip)),
                0,
                Some("zip archive, in gzip in base64"),
            ),
            (wrapped(&bomb), 0, Some("unpacks to more than")),
            (wrapped(&whole), 1, None),
            (wrapped(wrapped(&whole).as_bytes()), 1, None),
            (wrapped(&whole[..whole.len() - 12]), 0, Some("in base64: ")),
            (
                format!("{}==\n\n{}", wrapped(&bomb), wrapped(&whole)),
                0,
                Some("unpacks to more than"),
            ),
        ] {
            let scanned = scanned(text.as_bytes(), None);
            let whys: Vec<&str> = scanned.unread.iter().map(|it| it.why.as_str()).collect();
            assert_eq!(whys.is_empty(), unread.is_none(), "{unread:?} {whys:?}");
            assert!(
                unread.is_none_or(|part| whys.iter().any(|it| it.contains(part))),
                "{whys:?}"
            );
            assert!(scanned.findings.len() >= findings, "{whys:?}");
        }
    }

    #[test]
    fn what_is_large_is_skipped_unless_it_is_text() {
        let secret = Secret::generate("lk", generate_id().unwrap()).unwrap();
        let large = Some(BINARY_BYTES_MAX + 1);
        let utf16: Vec<u8> = secret.expose().bytes().flat_map(|it| [it, 0]).collect();
        assert_eq!(scanned(&utf16, large).findings.len(), 1);
        let binary = [b"\0\x01\x02\0\x03", secret.expose().as_bytes()].concat();
        assert_eq!(scanned(&binary, None).findings.len(), 1);
        let skipped = scanned(&binary, large);
        assert!(skipped.findings.is_empty() && skipped.unread.len() == 1);
        let zip = [b"PK\x03\x04 ", secret.expose().as_bytes()].concat();
        let zip = scanned(&zip, None);
        assert_eq!((zip.findings.len(), zip.unread.len()), (1, 1));
    }
}
