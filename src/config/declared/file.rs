//! One file that declares keys: who could have changed it, what it must never hold, and its stanzas.

use super::Folder;
use super::parts;
use super::stanza;
use crate::config::table::{self, Lines};
use crate::dialects::native::declared::Kind;
use crate::domain::catalogs::Definition;
use crate::domain::declared::{Absent, Complaint, File, Place, Stanza, sha256};
use crate::domain::keys::finder::{self, Rest};
use crate::domain::policies::Policy;
use crate::domain::text;
use crate::files;
use crate::ops::declared::{DeclaredKey, Found};
use crate::refusals::{Refusal, declared as refusals};
use std::fs;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The largest size of one file: room for about 50,000 keys.
const BYTES_MAX: u64 = 16 * 1024 * 1024;
/// The largest number of files in one folder.
const FILES_MAX: usize = 1_000;
/// The largest number of errors that are listed for one file.
const COMPLAINTS_MAX: usize = 20;
/// The ending of the names of files that are read.
const ENDING: &str = "toml";

/// The stanzas of one file, of a part of it, or of several files.
#[derive(Debug, Default)]
pub struct Content {
    pub file: Arc<File>,
    pub keys: Vec<Stanza<DeclaredKey>>,
    pub policies: Vec<Stanza<Policy>>,
    pub catalogs: Vec<Stanza<Definition>>,
}

impl Content {
    pub fn count(&self) -> usize {
        self.keys.len() + self.policies.len() + self.catalogs.len()
    }

    pub fn append(&mut self, mut other: Content) {
        self.keys.append(&mut other.keys);
        self.policies.append(&mut other.policies);
        self.catalogs.append(&mut other.catalogs);
    }
}

/// A file that was read and not parsed.
pub struct Bytes {
    pub path: String,
    pub bytes: Vec<u8>,
    pub sha256: [u8; 32],
}

impl Bytes {
    pub fn new(path: String, bytes: Vec<u8>) -> Bytes {
        Bytes {
            path,
            sha256: sha256(&bytes),
            bytes,
        }
    }
}

/// The files of a folder in the order of their names; `None` if the folder does not exist and need not.
pub fn read_folder(folder: &Folder) -> Found<Option<Vec<Bytes>>> {
    let refused = |why| {
        Err(vec![Complaint {
            path: shown(&folder.path),
            line: None,
            why,
        }])
    };
    let (owner, paths) = match list(&folder.path) {
        Ok(found) => found,
        Err(err) if err.kind() == ErrorKind::NotFound && !folder.is_named => return Ok(None),
        Err(err) => return refused(refusals::folder_unreadable(err)),
    };
    if paths.len() > FILES_MAX {
        return refused(refusals::files_many(FILES_MAX));
    }
    let (mut files, mut complaints) = (Vec::new(), Vec::new());
    for path in paths {
        match read_file(&path, owner) {
            Ok(file) => files.push(file),
            Err(complaint) => complaints.push(complaint),
        }
    }
    match complaints.is_empty() {
        true => Ok(Some(files)),
        false => Err(complaints),
    }
}

/// The owner of a folder, and the files in it that count. Hidden files do not: editors and volume drivers keep their
/// own things in them.
fn list(folder: &Path) -> std::io::Result<(u32, Vec<PathBuf>)> {
    let owner = fs::metadata(folder)?.uid();
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let is_hidden = path
            .file_name()
            .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if path.extension().is_some_and(|ending| ending == ENDING) && !is_hidden {
            paths.push(path);
        }
    }
    paths.sort();
    Ok((owner, paths))
}

fn read_file(path: &Path, folder_owner: u32) -> std::result::Result<Bytes, Complaint> {
    let name = shown(path);
    let refused = |why| Complaint {
        path: name.clone(),
        line: None,
        why,
    };
    if name.chars().any(char::is_control) {
        return Err(refused(refusals::file_control()));
    }
    let bytes = bytes(path, &name, folder_owner).map_err(refused)?;
    Ok(Bytes::new(name, bytes))
}

/// The content of a file that only trusted users could have written.
fn bytes(path: &Path, name: &str, folder_owner: u32) -> std::result::Result<Vec<u8>, Refusal> {
    let unreadable = |err: std::io::Error| refusals::file_unreadable(err);
    // A pipe of this name would otherwise block the start.
    let file = files::open_foreign(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(refusals::file_plain());
    }
    if metadata.mode() & 0o022 != 0 {
        let mode = format!("{:03o}", metadata.mode() & 0o777);
        return Err(refusals::file_writable(mode, name));
    }
    let own = rustix::process::geteuid().as_raw();
    if ![0, own, folder_owner].contains(&metadata.uid()) {
        return Err(refusals::file_owner(metadata.uid()));
    }
    let mut bytes = Vec::new();
    let mut limited = file.take(BYTES_MAX + 1);
    limited.read_to_end(&mut bytes).map_err(unreadable)?;
    match bytes.len() as u64 > BYTES_MAX {
        true => Err(refusals::file_bytes(BYTES_MAX)),
        false => Ok(bytes),
    }
}

/// The stanzas of a file.
pub fn parse(file: &Bytes) -> Found<Content> {
    parse_by(file, parts::BYTES)
}

/// As [`parse`], in parts of about so many bytes. Each number of bytes has the same result.
pub fn parse_by(file: &Bytes, part_bytes: usize) -> Found<Content> {
    let at = |line: usize, why: Refusal| Complaint {
        path: file.path.clone(),
        line: Some(line),
        why,
    };
    let bytes = file.bytes.as_slice();
    // Before anything else, so that no other error shows a part of a secret.
    let mut secrets = Vec::new();
    finder::find(bytes, 0, Rest::Nothing, |start, _| secrets.push(start));
    if !secrets.is_empty() {
        let lines = Lines::of_bytes(bytes);
        let secrets = secrets.into_iter().take(COMPLAINTS_MAX);
        return Err(secrets
            .map(|start| at(lines.line_at(start), refusals::secret()))
            .collect());
    }
    let text = text::of_file(bytes).map_err(|why| {
        let before = std::str::from_utf8(bytes).map_or_else(|err| err.valid_up_to(), str::len);
        let line = Lines::of_bytes(bytes).line_at(before.min(bytes.len()));
        vec![at(line, refusals::value("the file", why))]
    })?;
    let lines = Lines::of(text);
    let new = || Content {
        file: Arc::new(File {
            path: file.path.clone(),
            sha256: file.sha256,
            absent: Absent::default(),
        }),
        ..Content::default()
    };
    if let Some(content) = parts::parse(text, &lines, part_bytes, new()) {
        return Ok(content);
    }
    // Only the whole text has all its errors.
    let table = table::parse(text, &lines).map_err(|faults| {
        let faults = faults.into_iter().take(COMPLAINTS_MAX);
        let complaint = |fault: table::Fault| at(fault.line, refusals::toml(fault.why));
        faults.map(complaint).collect::<Vec<_>>()
    })?;
    let mut reader = Reader::new(&lines, 0, new());
    reader.top(table.get_ref());
    let Reader {
        content,
        mut faults,
        ..
    } = reader;
    if faults.is_empty() {
        return Ok(content);
    }
    faults.sort_by_key(|(line, _)| *line);
    faults.truncate(COMPLAINTS_MAX);
    Err(faults
        .into_iter()
        .map(|(line, why)| at(line, why))
        .collect())
}

/// Collects the stanzas and the errors of one file, or of a part of it.
pub struct Reader<'a> {
    lines: &'a Lines,
    /// Where the part begins in the text of the file.
    begin: usize,
    content: Content,
    faults: Vec<(usize, Refusal)>,
}

type Value<'t> = Spanned<DeValue<'t>>;

impl<'a> Reader<'a> {
    pub fn new(lines: &'a Lines, begin: usize, content: Content) -> Reader<'a> {
        Reader {
            lines,
            begin,
            content,
            faults: Vec::new(),
        }
    }

    /// What was read; `None` if anything was refused.
    pub fn faultless(self) -> Option<Content> {
        self.faults.is_empty().then_some(self.content)
    }

    fn refuse(&mut self, at: usize, why: Refusal) {
        self.faults.push((self.lines.line_at(self.begin + at), why));
    }

    /// Reads the table of a whole file, or of the part with which a file begins.
    pub fn top(&mut self, table: &DeTable<'_>) {
        match table.get("version") {
            Some(value) if is_one(value.get_ref()) => {}
            Some(value) => self.refuse(value.span().start, refusals::version()),
            None => self.faults.push((1, refusals::version_missing())),
        }
        if let Some(value) = table.get("absent") {
            let absent = value.get_ref().as_str().and_then(Absent::parse);
            match absent {
                Some(absent) => {
                    let file = File::clone(&self.content.file);
                    self.content.file = Arc::new(File { absent, ..file });
                }
                None => self.refuse(value.span().start, refusals::absent()),
            }
        }
        for (name, value) in table {
            let name_at = name.span().start;
            let name = name.get_ref().as_ref();
            match Kind::of(name) {
                Some(kind) => self.stanzas(kind, value),
                None if ["version", "absent"].contains(&name) => {}
                None => {
                    let known = Kind::ALL.map(Kind::as_str);
                    let known = known.into_iter().chain(["version", "absent"]);
                    self.refuse(name_at, stanza::unknown(name, known));
                }
            }
        }
    }

    /// Reads the stanzas of one kind.
    pub fn stanzas(&mut self, kind: Kind, value: &Value<'_>) {
        let not_tables = refusals::not_tables(kind.as_str());
        let DeValue::Array(items) = value.get_ref() else {
            return self.refuse(value.span().start, not_tables);
        };
        for item in items.iter() {
            match item.get_ref() {
                DeValue::Table(table) => self.stanza(kind, item.span().start, table),
                _ => self.refuse(item.span().start, not_tables.clone()),
            }
        }
    }

    fn stanza(&mut self, kind: Kind, at: usize, table: &DeTable<'_>) {
        let place = Place {
            file: self.content.file.clone(),
            line: self.lines.line_at(self.begin + at),
        };
        let result = match kind {
            Kind::Catalog => {
                stanza::catalog(place, table).map(|stanza| self.content.catalogs.push(stanza))
            }
            Kind::Key => stanza::key(place, table).map(|stanza| self.content.keys.push(stanza)),
            Kind::Policy => {
                stanza::policy(place, table).map(|stanza| self.content.policies.push(stanza))
            }
        };
        for (position, why) in result.err().into_iter().flatten() {
            self.refuse(position.unwrap_or(at), why);
        }
    }
}

fn is_one(value: &DeValue<'_>) -> bool {
    matches!(value, DeValue::Integer(number) if number.as_str() == "1" && number.radix() == 10)
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}
