//! Keys in the files of other systems: a parser for each system, which turns a file into keys and a list of what is not
//! taken.
//!
//! A property is taken only if it means the same here. A key with a restriction that cannot be kept is not taken, and
//! neither is one with a property that its parser does not know. Secrets that a file has as plain text are hashed while
//! it is read. Nothing here asks whether the server accepts the keys.

mod apisix;
mod better_auth;
mod digests;
mod draft;
mod drf;
pub mod export;
mod htpasswd;
mod key;
mod kong;
mod litellm;
mod named;
pub mod record;
mod tyk;
mod unkey;
mod values;

#[cfg(test)]
mod tests;

#[cfg(test)]
use crate::domain::keys::scheme::GivenDigest;
use crate::domain::keys::secret::Presented;
use crate::domain::text;
use crate::error::{Error, Result};
use crate::http::bodies::tree::{self, Data, Fault, Node};
use crate::refusals::{self, Refusal};
pub use key::ImportedKey;
use std::collections::{BTreeMap, HashMap};

/// The size of a file in bytes, at most.
pub const FILE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The systems whose files can be read, and the two formats of this server.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Source {
    Apisix,
    BetterAuth,
    Csv,
    Drf,
    Htpasswd,
    Jsonl,
    Kong,
    Litellm,
    Tyk,
    Unkey,
}

impl Source {
    /// Every source, with the word by which commands and requests name it.
    pub const ALL: [(Source, &'static str); 10] = [
        (Source::Apisix, "apisix"),
        (Source::BetterAuth, "better-auth"),
        (Source::Csv, "csv"),
        (Source::Drf, "drf"),
        (Source::Htpasswd, "htpasswd"),
        (Source::Jsonl, "jsonl"),
        (Source::Kong, "kong"),
        (Source::Litellm, "litellm"),
        (Source::Tyk, "tyk"),
        (Source::Unkey, "unkey"),
    ];

    /// The word of the source.
    pub fn as_str(self) -> &'static str {
        let found = Source::ALL.iter().find(|(source, _)| *source == self);
        found.map_or("", |(_, word)| word)
    }

    /// The source of a word.
    pub fn parse(word: &str) -> Option<Source> {
        let mut all = Source::ALL.into_iter();
        all.find(|(_, known)| *known == word)
            .map(|(source, _)| source)
    }
}

/// What a file holds.
#[derive(Debug, Default)]
pub struct Parsed {
    pub keys: Vec<ImportedKey>,
    /// In the order of the file.
    pub left_out: Vec<LeftOut>,
}

/// A key that is not taken, or one property of a key that is.
#[derive(Debug, Eq, PartialEq)]
pub struct LeftOut {
    /// The line of the file; the first one is 1.
    pub line: usize,
    /// The name of the key, or `refill_amount of billing` for a property.
    pub what: String,
    /// The reason, and what to do.
    pub why: Refusal,
    /// Whether the whole key is not taken; otherwise only the property.
    pub drops_key: bool,
}

/// Reads a file. A file that is malformed is an error that names its line, and nothing is taken.
pub fn parse(source: Source, bytes: &[u8]) -> Result<Parsed> {
    if bytes.len() > FILE_BYTES_MAX {
        return Err(Error::TooLarge {
            limit_bytes: FILE_BYTES_MAX,
        });
    }
    let text = text::of_file(bytes).map_err(|why| at_line(line_of_fault(bytes), why))?;
    let mut collection = Collection::default();
    match source {
        Source::Apisix => apisix::read(text, &mut collection)?,
        Source::BetterAuth => better_auth::read(text, &mut collection)?,
        Source::Csv => named::read_csv(text, &mut collection)?,
        Source::Drf => drf::read(text, &mut collection)?,
        Source::Htpasswd => htpasswd::read(text, &mut collection)?,
        Source::Jsonl => named::read_jsonl(text, &mut collection)?,
        Source::Kong => kong::read(text, &mut collection)?,
        Source::Litellm => litellm::read(text, &mut collection)?,
        Source::Tyk => tyk::read(text, &mut collection)?,
        Source::Unkey => unkey::read(text, &mut collection)?,
    }
    for (property, (line, count)) in std::mem::take(&mut collection.unneeded) {
        collection.note(line, &property, refusals::imports::unneeded(count));
    }
    let mut parsed = collection.parsed;
    parsed.left_out.sort_by_key(|it| it.line);
    if parsed.keys.is_empty() && parsed.left_out.is_empty() {
        return Err(at_line(1, refusals::imports::no_keys(source.as_str())));
    }
    Ok(parsed)
}

/// The line of the first byte that no text in UTF-8 has.
fn line_of_fault(bytes: &[u8]) -> usize {
    let valid = match std::str::from_utf8(bytes) {
        Ok(_) => bytes.iter().position(|byte| *byte == 0).unwrap_or(0),
        Err(err) => err.valid_up_to(),
    };
    1 + bytes[..valid].iter().filter(|byte| **byte == b'\n').count()
}

/// An error about a line of the file.
fn at_line(line: usize, why: Refusal) -> Error {
    Error::Malformed(refusals::imports::at_line(line, why))
}

/// The rows of a table, in JSON or CSV.
fn rows(text: &str) -> Result<Vec<Node>> {
    tree::rows(text).map_err(of_fault)
}

fn of_fault(fault: Fault) -> Error {
    at_line(fault.line, fault.why)
}

/// The members of a record, which must be an object with these. A file in which they are missing is not the file that
/// the source has.
fn members_of<'n>(record: &'n Node, needed: &[&str]) -> Result<&'n [(String, Node)]> {
    let Data::Object(members) = &record.data else {
        return Err(at_line(record.line, refusals::imports::not_object()));
    };
    match needed.iter().find(|name| record.get(name).is_none()) {
        Some(name) => Err(at_line(record.line, refusals::imports::missing(name))),
        None => Ok(members),
    }
}

/// The results while a file is read.
#[derive(Default)]
struct Collection {
    parsed: Parsed,
    /// The lines of digests, and of the starts by which slow ones are found.
    lines: HashMap<String, usize>,
    /// Properties that do not matter, each with the first line that has it, and the number of keys.
    unneeded: BTreeMap<String, (usize, usize)>,
}

impl Collection {
    /// Takes a key. The same digest twice, and a text that is a secret of this server, are errors.
    fn add(&mut self, key: ImportedKey) -> Result<()> {
        let bare = key.digest.rsplit(':').next();
        let shown = [Some(&key.name), key.hint.as_ref(), key.description.as_ref()];
        let shown = shown.into_iter().flatten().map(String::as_str);
        let is_own = |text| Presented::parse(text).is_some();
        if shown.chain(bare).any(is_own) {
            return Err(at_line(key.line, refusals::imports::own_secret()));
        }
        let digest = Some(&key.digest);
        for text in digest.into_iter().chain(key.found_by.as_ref()) {
            if let Some(first) = self.lines.insert(text.clone(), key.line) {
                return Err(at_line(key.line, refusals::imports::same_digest(first)));
            }
        }
        self.parsed.keys.push(key);
        Ok(())
    }

    /// Records something that is no key.
    fn note(&mut self, line: usize, what: &str, why: Refusal) {
        self.parsed.left_out.push(LeftOut {
            line,
            what: what.to_owned(),
            why,
            drops_key: false,
        });
    }
}
