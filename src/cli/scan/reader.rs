//! Reading files part by part, and gathering what is found in them.

use super::finder::{self, AFTER, BEFORE, Rest};
use super::rules::User;
use super::walk::{self, Met};
use crate::domain::key::KeyId;
use crate::domain::locks::lock;
use crate::domain::sorted;
use memchr::{memchr, memchr_iter};
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// Bytes that are looked at together. Nearly all files fit in.
const PART_BYTES: usize = 512 * 1024;
/// Bytes in which a NUL tells that a file is no text.
const PROBE_BYTES: usize = 8 * 1024;
/// Files that are no text are looked into up to this size: small databases yes, disk images no.
const BINARY_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// A secret and where it is.
#[derive(Eq, Ord, PartialEq, PartialOrd)]
pub struct Finding {
    pub path: String,
    /// From 1.
    pub line: u64,
    pub hint: String,
    /// The secret itself. Never shown; no `Debug` here.
    pub text: String,
    pub id: KeyId,
}

/// What was found.
#[derive(Default)]
pub struct Scanned {
    /// By path and line.
    pub findings: Vec<Finding>,
    pub files: u64,
    /// Large binary files that were not looked into.
    pub skipped: u64,
    /// What could not be looked at, each with the reason.
    pub troubles: Vec<String>,
    /// Patterns that leave nothing out, each with the reason.
    pub unapplied: Vec<String>,
}

/// Looks into all files below the paths; `-` is standard input.
pub fn scan(paths: &[PathBuf], no_ignore: bool) -> Scanned {
    let scanned = Mutex::new(Scanned::default());
    let (streams, paths): (Vec<&Path>, Vec<&Path>) = paths
        .iter()
        .map(PathBuf::as_path)
        .partition(|path| *path == Path::new("-"));
    if !streams.is_empty() {
        let mut reader = Reader::new(&scanned);
        reader.read("-", std::io::stdin().lock(), None);
    }
    let user = (!no_ignore).then(|| User::read(&mut lock(&scanned).unapplied));
    walk::each_file(&paths, user.as_ref(), || {
        let mut reader = Reader::new(&scanned);
        move |met: Met<'_>| reader.met(met)
    });
    let mut scanned = scanned
        .into_inner()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    sorted::by(&mut scanned.findings, Ord::cmp);
    for told in [&mut scanned.troubles, &mut scanned.unapplied] {
        sorted::by(told, Ord::cmp);
        // The folders above several that were named are read for each.
        told.dedup();
    }
    scanned
}

/// One thread's way of reading.
struct Reader<'w> {
    scanned: &'w Mutex<Scanned>,
    buffer: Vec<u8>,
}

impl<'w> Reader<'w> {
    fn new(scanned: &'w Mutex<Scanned>) -> Reader<'w> {
        Reader {
            scanned,
            buffer: vec![0; PART_BYTES],
        }
    }

    fn note(&self, change: impl FnOnce(&mut Scanned)) {
        change(&mut lock(self.scanned));
    }

    fn met(&mut self, met: Met<'_>) {
        let path = match met {
            Met::File(path) => path,
            Met::Trouble(trouble) => return self.note(|it| it.troubles.push(trouble)),
            Met::Unapplied(pattern) => return self.note(|it| it.unapplied.push(pattern)),
        };
        let shown = path.to_string_lossy();
        match File::open(path) {
            Ok(file) => {
                let bytes = file.metadata().ok().map(|metadata| metadata.len());
                self.read(&shown, file, bytes);
            }
            Err(err) => self.note(|it| it.troubles.push(format!("{shown}: {err}"))),
        }
    }

    /// Reads to the end, keeping so much of each part that a secret across two parts is found.
    fn read(&mut self, path: &str, mut input: impl Read, size: Option<u64>) {
        let mut buffer = std::mem::take(&mut self.buffer);
        let (mut kept, mut from, mut line) = (0, 0, 1);
        let mut findings = Vec::new();
        let trouble = loop {
            let filled = match fill(&mut input, &mut buffer[kept..]) {
                Ok(count) => kept + count,
                Err(err) => break Some(err),
            };
            let is_first = kept == 0;
            if is_first && self.skips(&buffer[..filled], size) {
                break None;
            }
            let rest = if filled < buffer.len() {
                Rest::Nothing
            } else {
                Rest::Follows
            };
            let bytes = &buffer[..filled];
            let (mut counted, mut at_line) = (0, line);
            finder::find(bytes, from, rest, |start, found| {
                at_line += memchr_iter(b'\n', &bytes[counted..start]).count() as u64;
                counted = start;
                findings.push(Finding {
                    path: path.to_owned(),
                    line: at_line,
                    hint: found.hint(),
                    text: found.text.to_owned(),
                    id: found.id,
                });
            });
            if rest == Rest::Nothing {
                break None;
            }
            let done = filled - (BEFORE + AFTER);
            line += memchr_iter(b'\n', &bytes[..done]).count() as u64;
            buffer.copy_within(done..filled, 0);
            (kept, from) = (BEFORE + AFTER, BEFORE);
        };
        self.buffer = buffer;
        self.note(|scanned| {
            scanned.files += 1;
            scanned.findings.append(&mut findings);
            if let Some(err) = trouble {
                scanned.troubles.push(format!("{path}: {err}"));
            }
        });
    }

    /// Whether a file that begins like this is not worth the time.
    fn skips(&self, begin: &[u8], size: Option<u64>) -> bool {
        let is_large = size.is_some_and(|size| size > BINARY_BYTES_MAX);
        let skips = is_large && memchr(0, &begin[..begin.len().min(PROBE_BYTES)]).is_some();
        if skips {
            self.note(|scanned| scanned.skipped += 1);
        }
        skips
    }
}

/// Reads until the buffer is full or the input ends.
fn fill(input: &mut impl Read, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match input.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(err) if err.kind() == ErrorKind::Interrupted => {}
            Err(err) => return Err(err),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::key::secret::{Secret, generate_id};

    #[test]
    fn a_secret_across_two_parts_is_found_once_with_its_line() {
        let secret = Secret::generate("lk", generate_id().unwrap()).unwrap();
        for at in (PART_BYTES - 200..PART_BYTES + 20).step_by(1) {
            let mut bytes = vec![b'x'; at];
            bytes[10] = b'\n';
            bytes[at - 1] = b'\n';
            bytes.extend_from_slice(secret.expose().as_bytes());
            bytes.push(b'\n');
            bytes.resize(2 * PART_BYTES + 5, b'y');
            let scanned = Mutex::new(Scanned::default());
            Reader::new(&scanned).read("x", bytes.as_slice(), None);
            let scanned = scanned.into_inner().unwrap();
            let lines: Vec<u64> = scanned.findings.iter().map(|it| it.line).collect();
            assert_eq!(lines, [3], "at {at}");
        }
    }
}
