//! Walking files on all processors, and reading them part by part.

use super::finder::{self, AFTER, BEFORE, Rest};
use crate::domain::key::KeyId;
use crate::domain::locks::lock;
use ignore::{DirEntry, WalkBuilder, WalkState};
use memchr::{memchr, memchr_iter};
use std::ffi::OsStr;
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

/// What a walk found.
#[derive(Default)]
pub struct Walked {
    /// By path and line.
    pub findings: Vec<Finding>,
    pub files: u64,
    /// Large binary files that were not looked into.
    pub skipped: u64,
    /// What could not be looked at, each with the reason.
    pub troubles: Vec<String>,
}

/// Looks into all files below the paths.
pub fn walk(paths: &[PathBuf], no_ignore: bool) -> Walked {
    let walked = Mutex::new(Walked::default());
    let (streams, paths): (Vec<&PathBuf>, Vec<&PathBuf>) =
        paths.iter().partition(|path| *path == Path::new("-"));
    if !streams.is_empty() {
        let mut reader = Reader::new(&walked);
        reader.read("-", std::io::stdin().lock(), None);
    }
    if let Some((first, others)) = paths.split_first() {
        let mut builder = WalkBuilder::new(first);
        others.iter().for_each(|path| {
            builder.add(path);
        });
        // Secrets like to be in .env files, so names with a dot count; what is in .git is compressed.
        builder
            .standard_filters(!no_ignore)
            .hidden(false)
            .require_git(false)
            .threads(std::thread::available_parallelism().map_or(2, usize::from))
            .filter_entry(|entry| entry.depth() == 0 || entry.file_name() != OsStr::new(".git"));
        builder.build_parallel().run(|| {
            let mut reader = Reader::new(&walked);
            Box::new(move |entry| {
                reader.entry(entry);
                WalkState::Continue
            })
        });
    }
    let mut walked = walked
        .into_inner()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    walked.findings.sort();
    walked.troubles.sort();
    walked
}

/// One thread's way of reading.
struct Reader<'w> {
    walked: &'w Mutex<Walked>,
    buffer: Vec<u8>,
}

impl<'w> Reader<'w> {
    fn new(walked: &'w Mutex<Walked>) -> Reader<'w> {
        Reader {
            walked,
            buffer: vec![0; PART_BYTES],
        }
    }

    fn note(&self, change: impl FnOnce(&mut Walked)) {
        change(&mut lock(self.walked));
    }

    fn entry(&mut self, entry: Result<DirEntry, ignore::Error>) {
        let entry = match entry {
            Ok(entry) => entry,
            Err(err) => return self.note(|walked| walked.troubles.push(err.to_string())),
        };
        let is_file = entry.file_type().is_some_and(|kind| kind.is_file());
        // A link that was named is followed, those that are met are not: what they lead to is met by itself.
        let named = entry.depth() == 0 && entry.path().is_file();
        if !is_file && !named {
            return;
        }
        let path = entry.path().to_string_lossy();
        match File::open(entry.path()) {
            Ok(file) => {
                let bytes = file.metadata().ok().map(|metadata| metadata.len());
                self.read(&path, file, bytes);
            }
            Err(err) => self.note(|walked| walked.troubles.push(format!("{path}: {err}"))),
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
        self.note(|walked| {
            walked.files += 1;
            walked.findings.append(&mut findings);
            if let Some(err) = trouble {
                walked.troubles.push(format!("{path}: {err}"));
            }
        });
    }

    /// Whether a file that begins like this is not worth the time.
    fn skips(&self, begin: &[u8], size: Option<u64>) -> bool {
        let is_large = size.is_some_and(|size| size > BINARY_BYTES_MAX);
        let skips = is_large && memchr(0, &begin[..begin.len().min(PROBE_BYTES)]).is_some();
        if skips {
            self.note(|walked| walked.skipped += 1);
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
            let walked = Mutex::new(Walked::default());
            Reader::new(&walked).read("x", bytes.as_slice(), None);
            let walked = walked.into_inner().unwrap();
            let lines: Vec<u64> = walked.findings.iter().map(|it| it.line).collect();
            assert_eq!(lines, [3], "at {at}");
        }
    }
}
