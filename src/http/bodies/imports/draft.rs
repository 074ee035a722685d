//! A key while its record is read: what is taken, and what is not.

use super::digests;
use super::key::ImportedKey;
use super::values::{self, Unit};
use super::{Collection, LeftOut, at_line};
use crate::domain::catalogs::check_scope_name;
use crate::domain::keys::plain::Plain;
use crate::domain::keys::quota::{RATE_LIMIT_MAX, RateLimit, WINDOW_S_MAX};
use crate::domain::keys::secret::Presented;
use crate::domain::keys::{NO_METADATA, SCOPES_MAX};
use crate::domain::text::{self, METADATA_BYTES_MAX, NAME_CHARS_MAX};
use crate::domain::time::Timestamp;
use crate::error::Result;
use crate::http::bodies::tree::{Data, Node, quoted};
use crate::http::numbers;
use crate::refusals::{self, Refusal};

/// The number of characters of a hint.
const HINT_CHARS_MAX: usize = 30;
/// The number of characters that a secret must have so that some of them are shown.
const SHOWN_CHARS_MIN: usize = 20;

/// A record of a system on its way to a key. Nothing of it is taken if one part of it cannot be kept and leaving that
/// part out would open more.
pub struct Draft {
    /// The start of the names of metadata, such as `kong`.
    system: &'static str,
    pub key: ImportedKey,
    /// The properties that are not taken.
    notes: Vec<Note>,
    /// The reasons why the key is not taken.
    drops: Vec<Note>,
    /// Metadata of the other system, as the object that it was there.
    theirs: Vec<(String, Node)>,
    /// Further metadata: names and JSON.
    ours: Vec<(String, String)>,
    /// Properties that do not matter for any key.
    unneeded: Vec<(usize, String)>,
}

struct Note {
    line: usize,
    /// Empty for the record as a whole.
    property: String,
    why: Refusal,
}

impl Draft {
    pub fn new(system: &'static str, line: usize) -> Draft {
        Draft {
            system,
            key: ImportedKey {
                line,
                ..ImportedKey::default()
            },
            notes: Vec::new(),
            drops: Vec::new(),
            theirs: Vec::new(),
            ours: Vec::new(),
            unneeded: Vec::new(),
        }
    }

    /// Records that a property is not taken. Use it only if the key opens no more without it.
    pub fn note(&mut self, line: usize, property: &str, why: Refusal) {
        let property = property.to_owned();
        self.notes.push(Note {
            line,
            property,
            why,
        });
    }

    /// Records that the key is not taken because of a property, or because of the whole record if that is empty.
    pub fn drop_key(&mut self, line: usize, property: &str, why: Refusal) {
        let property = property.to_owned();
        self.drops.push(Note {
            line,
            property,
            why,
        });
    }

    /// Drops the key if a property that restricts it, and that no key of this server has, says something.
    pub fn restriction(&mut self, property: &str, node: &Node, why: fn() -> Refusal) {
        if !node.is_blank() {
            self.drop_key(node.line, property, why());
        }
    }

    /// Drops the key if a property that is not known says something: it may restrict the key.
    pub fn unknown(&mut self, property: &str, node: &Node) {
        let shown = refusals::quoted(property, 100);
        self.restriction(&shown, node, refusals::imports::property_unknown);
    }

    /// Whether a list has no items; a value that is no list has some.
    pub fn blank_list(&mut self, property: &str, node: &Node) -> bool {
        node.is_blank() || self.texts(property, node).is_empty()
    }

    /// Notes a property that says something and restricts nothing.
    pub fn unused(&mut self, property: &str, node: &Node, why: fn() -> Refusal) {
        if !node.is_blank() {
            self.note(node.line, property, why());
        }
    }

    /// Passes over a record or a setting of the other system that restricts nothing; the file gets one note for all its
    /// keys.
    pub fn unneeded(&mut self, property: &str, node: &Node) {
        if !node.is_blank() {
            self.unneeded.push((node.line, property.to_owned()));
        }
    }

    /// The value of a property; a value of the wrong type drops the key.
    fn read<T>(
        &mut self,
        property: &str,
        node: &Node,
        read: impl FnOnce(&Node) -> std::result::Result<T, Refusal>,
    ) -> Option<T> {
        match read(node) {
            Ok(value) => Some(value),
            Err(why) => {
                self.drop_key(node.line, property, why);
                None
            }
        }
    }

    pub fn text(&mut self, property: &str, node: &Node) -> Option<String> {
        self.read(property, node, values::text).flatten()
    }

    pub fn flag(&mut self, property: &str, node: &Node) -> Option<bool> {
        self.read(property, node, values::flag).flatten()
    }

    pub fn whole(&mut self, property: &str, node: &Node) -> Option<i64> {
        self.read(property, node, values::whole).flatten()
    }

    pub fn count(&mut self, property: &str, node: &Node) -> Option<u64> {
        self.read(property, node, values::count).flatten()
    }

    pub fn time(&mut self, property: &str, node: &Node, unit: Unit) -> Option<Timestamp> {
        self.read(property, node, |node| values::time(node, unit))
            .flatten()
    }

    pub fn texts(&mut self, property: &str, node: &Node) -> Vec<String> {
        self.read(property, node, values::texts).unwrap_or_default()
    }

    pub fn object(&mut self, property: &str, node: &Node) -> Option<Node> {
        self.read(property, node, values::object).flatten()
    }

    pub fn objects(&mut self, property: &str, node: &Node) -> Vec<Node> {
        self.read(property, node, values::objects)
            .unwrap_or_default()
    }

    /// Takes a name. One that this server refuses is made shorter and visible; `fallback` stands for an empty one.
    pub fn name(&mut self, line: usize, name: &str, fallback: &str) {
        let visible = |c: &char| text::check_line("", c.encode_utf8(&mut [0; 4]), 1).is_ok();
        let clean: String = name.chars().filter(|c| visible(c) || *c == '\t').collect();
        let words: Vec<&str> = clean.split_whitespace().collect();
        let mut name_taken: String = words.join(" ").chars().take(NAME_CHARS_MAX).collect();
        name_taken.truncate(name_taken.trim_end().len());
        if name_taken != name.trim() {
            self.note(line, "name", refusals::imports::name_changed());
        }
        if name_taken.is_empty() {
            name_taken = fallback.to_owned();
        }
        self.key.name = name_taken;
    }

    /// Takes the secret, which stands in the file as plain text, as its digest.
    pub fn secret(&mut self, line: usize, property: &str, secret: &Plain) -> Result<()> {
        if Presented::parse(secret.as_str()).is_some() {
            return Err(at_line(line, refusals::imports::own_secret()));
        }
        match digests::of_plain(secret) {
            Ok(digest) => self.key.digest = digest,
            Err(why) => self.drop_key(line, property, why),
        }
        let text = secret.as_str();
        if text.len() >= SHOWN_CHARS_MIN && text.is_ascii() && self.key.hint.is_none() {
            self.key.hint = Some(format!("{}…{}", &text[..3], &text[text.len() - 2..]));
        }
        Ok(())
    }

    /// Takes a digest in this server's form, or drops the key with the reason.
    pub fn digest(&mut self, line: usize, property: &str, digest: Option<String>, text: &str) {
        let refused =
            || digests::refused_by_name(text).unwrap_or_else(refusals::imports::digest_unknown);
        match digest {
            Some(digest) => self.key.digest = digest,
            None => self.drop_key(line, property, refused()),
        }
    }

    /// Shows the start of a secret, which the other system shows as well.
    pub fn start(&mut self, start: &str) {
        self.hint(&format!("{}…", visible(start)));
    }

    /// Shows a part of a secret as the other system shows it, with `…` for the rest.
    pub fn hint(&mut self, hint: &str) {
        self.key.hint = Some(visible(hint)).filter(|hint| !matches!(hint.as_str(), "" | "…"));
    }

    /// Takes a scope. A name that no scope can have is left out: the key opens less without it.
    pub fn scope(&mut self, line: usize, property: &str, scope: &str) {
        if let Err(err) = check_scope_name(scope, scope) {
            return self.note(line, property, err.refusal());
        }
        let is_known = self.key.scopes.iter().any(|known| known == scope);
        match self.key.scopes.len() < SCOPES_MAX {
            _ if is_known => {}
            true => self.key.scopes.push(scope.to_owned()),
            false => self.note(line, property, refusals::imports::scopes(SCOPES_MAX, scope)),
        }
    }

    /// Takes a rate limit whose window is a number of milliseconds. A limit that this server cannot express drops the
    /// key.
    pub fn rate_limit(&mut self, line: usize, property: &str, limit: u64, window_ms: u64) {
        let window_s = window_ms / 1_000;
        let fits = window_ms.is_multiple_of(1_000) && (1..=WINDOW_S_MAX).contains(&window_s);
        if !fits || limit > RATE_LIMIT_MAX {
            let why = refusals::imports::rate_limit(limit, window_ms, WINDOW_S_MAX / 86_400);
            return self.drop_key(line, property, why);
        }
        if self.key.rate_limit.is_some() {
            return self.drop_key(line, property, refusals::imports::rate_limits());
        }
        self.key.rate_limit = Some(RateLimit {
            limit,
            window_s,
            exact: false,
        });
    }

    /// Keeps a property among the metadata, under the name of the system and its own.
    pub fn metadata(&mut self, property: &str, node: &Node) {
        if !matches!(&node.data, Data::Null) && !node.is_blank() {
            self.ours
                .push((format!("{}_{property}", self.system), node.to_json()));
        }
    }

    /// As [`Draft::metadata`], with a text.
    pub fn metadata_text(&mut self, property: &str, text: &str) {
        self.ours
            .push((format!("{}_{property}", self.system), quoted(text)));
    }

    /// Takes the metadata that the key has in the other system.
    pub fn own_metadata(&mut self, object: Option<Node>) {
        if let Some(Data::Object(members)) = object.map(|node| node.data) {
            self.theirs = members;
        }
    }

    /// Writes the metadata into the key.
    fn write_metadata(&mut self, line: usize) {
        let members = |draft: &Draft, with_ours: bool| {
            let theirs = draft
                .theirs
                .iter()
                .map(|(name, node)| (name.as_str(), node.to_json()));
            let is_free = |name: &str| !draft.theirs.iter().any(|(known, _)| known == name);
            let ours = draft
                .ours
                .iter()
                .filter(|(name, _)| with_ours && is_free(name));
            let ours = ours.map(|(name, json)| (name.as_str(), json.clone()));
            let all: Vec<String> = theirs
                .chain(ours)
                .map(|(name, json)| format!("{}:{json}", quoted(name)))
                .collect();
            format!("{{{}}}", all.join(","))
        };
        let mut json = members(self, true);
        if json.len() > METADATA_BYTES_MAX && !self.ours.is_empty() {
            json = members(self, false);
            let names: Vec<String> = self.ours.iter().map(|(name, _)| name.clone()).collect();
            let why = refusals::keys::metadata_bytes(METADATA_BYTES_MAX);
            self.note(line, &names.join(", "), why);
        }
        if json.len() > METADATA_BYTES_MAX {
            let why = refusals::keys::metadata_bytes(METADATA_BYTES_MAX);
            self.drop_key(line, "metadata", why);
        } else if let Err(err) = numbers::check_whole(json.as_bytes(), "metadata") {
            self.drop_key(line, "", err.refusal());
        }
        self.key.metadata = Some(json).filter(|json| json != NO_METADATA);
    }

    /// Puts the key, or the reasons why it is not taken, among the results.
    pub fn finish(mut self, collection: &mut Collection) -> Result<()> {
        let line = self.key.line;
        if self.key.name.is_empty() {
            self.key.name = format!("line {line}");
        }
        self.write_metadata(line);
        if self.drops.is_empty() && self.key.digest.is_empty() {
            self.drop_key(line, "", refusals::imports::secret_missing());
        }
        // What a parser has let through is not taken either.
        if self.drops.is_empty()
            && let Err(err) = self.key.check()
        {
            self.drop_key(line, "", err.refusal());
        }
        let is_dropped = !self.drops.is_empty();
        let name = &self.key.name;
        let left_out = |note: Note| LeftOut {
            line: note.line,
            what: match note.property.as_str() {
                "" => name.clone(),
                property => format!("{property} of {name}"),
            },
            why: note.why,
            drops_key: is_dropped,
        };
        let notes = if is_dropped { self.drops } else { self.notes };
        collection
            .parsed
            .left_out
            .extend(notes.into_iter().map(left_out));
        if is_dropped {
            return Ok(());
        }
        for (line, property) in self.unneeded {
            collection.unneeded.entry(property).or_insert((line, 0)).1 += 1;
        }
        collection.add(self.key)
    }
}

/// The first visible characters of a text.
fn visible(text: &str) -> String {
    let is_shown = |c: &char| c.is_ascii_graphic() || *c == '…';
    text.chars().filter(is_shown).take(HINT_CHARS_MAX).collect()
}
