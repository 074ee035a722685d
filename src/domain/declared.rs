//! What files declare: stanzas, the places where they stand, and the rules by which the stanzas of several folders become
//! one set.
//!
//! Reading the files belongs to `config`, and bringing the store to what they declare to `ops`.

use crate::domain::hex::hex;
use crate::refusals::{Refusal, declared, nouns};
use ring::digest::{SHA256, digest};
use std::collections::HashMap;
use std::fmt::{Display, Formatter};
use std::hash::Hash;
use std::sync::Arc;

/// The start of the member `source` of a thing that a file declares; the place follows.
pub const SOURCE: &str = "file:";

/// What happens to a key that its file no longer names.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub enum Absent {
    Delete,
    Disable,
    /// It stays as it is, and may be edited by hand from then on.
    #[default]
    Keep,
}

const ABSENT: [(Absent, &str); 3] = [
    (Absent::Delete, "delete"),
    (Absent::Disable, "disable"),
    (Absent::Keep, "keep"),
];

impl Absent {
    pub fn as_str(self) -> &'static str {
        let known = ABSENT.iter().find(|(absent, _)| *absent == self);
        known.map_or("", |(_, word)| word)
    }

    pub fn parse(text: &str) -> Option<Absent> {
        let known = ABSENT.iter().find(|(_, word)| *word == text);
        known.map(|(absent, _)| *absent)
    }
}

/// A file that was read.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct File {
    pub path: String,
    /// Of its bytes.
    pub sha256: [u8; 32],
    pub absent: Absent,
}

impl File {
    /// SHA-256 of its bytes in hexadecimal.
    pub fn sha256_text(&self) -> String {
        hex(&self.sha256)
    }
}

/// Where a stanza stands.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Place {
    pub file: Arc<File>,
    /// Counted from 1.
    pub line: usize,
}

impl Place {
    /// The member `source` of what stands there: `file:/etc/latchkey/keys.d/10-site.toml:14`.
    pub fn source(&self) -> String {
        format!("{SOURCE}{self}")
    }
}

/// `PATH:LINE`
impl Display for Place {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.file.path, self.line)
    }
}

/// The path and the line in a `source`; `None` if no file has declared the thing.
pub fn place_of(source: &str) -> Option<&str> {
    source.strip_prefix(SOURCE)
}

/// The path in a `source`, without the line.
pub fn path_of(source: &str) -> Option<&str> {
    place_of(source).and_then(|place| Some(place.rsplit_once(':')?.0))
}

/// Why files are not applied: the reason, and where it stands.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Complaint {
    pub path: String,
    /// `None` if it is about the file or the folder as a whole.
    pub line: Option<usize>,
    pub why: Refusal,
}

impl Complaint {
    pub fn at(place: &Place, why: Refusal) -> Complaint {
        Complaint {
            path: place.file.path.clone(),
            line: Some(place.line),
            why,
        }
    }
}

/// `PATH:LINE: REASON`
impl Display for Complaint {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.path, self.why),
            None => write!(f, "{}: {}", self.path, self.why),
        }
    }
}

/// One declaration in a file.
#[derive(Clone, Debug)]
pub struct Stanza<T> {
    /// Its identity among the things of its kind.
    pub name: String,
    pub place: Place,
    /// SHA-256 of what it declares, which does not depend on its place, order or form.
    pub state: [u8; 32],
    /// `None` masks the thing of this name of an earlier folder.
    pub body: Option<T>,
}

/// The stanzas of one kind that count, and the masks.
#[derive(Clone, Debug)]
pub struct Merged<T> {
    /// In the order of their paths and lines.
    pub stanzas: Vec<(Stanza<()>, T)>,
    pub masks: Vec<Stanza<()>>,
    /// Masks of names that no earlier folder has.
    pub idle: Vec<Stanza<()>>,
}

impl<T> Default for Merged<T> {
    fn default() -> Merged<T> {
        Merged {
            stanzas: Vec::new(),
            masks: Vec::new(),
            idle: Vec::new(),
        }
    }
}

/// The SHA-256 of bytes, for files and for what a stanza declares.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, bytes).as_ref());
    hash
}

/// Merges the stanzas of one kind from several folders, given in their order. A stanza replaces that of the same name in
/// an earlier folder as a whole; within one folder no name may stand twice. `what` is the kind, for errors.
pub fn merge<T>(
    folders: Vec<Vec<Stanza<T>>>,
    what: &str,
) -> std::result::Result<Merged<T>, Vec<Complaint>> {
    let numbered = folders.into_iter().enumerate();
    let all: Vec<(usize, Stanza<T>)> = numbered
        .flat_map(|(folder, stanzas)| stanzas.into_iter().map(move |stanza| (folder, stanza)))
        .collect();
    let mut complaints = Vec::new();
    let mut latest: HashMap<&str, usize> = HashMap::with_capacity(all.len());
    let mut counts = vec![Counts::Yes; all.len()];
    for (at, (folder, stanza)) in all.iter().enumerate() {
        let earlier = latest.insert(&stanza.name, at);
        let (is_idle, is_mask) = match earlier {
            None => (true, stanza.body.is_none()),
            Some(other) => (counts[other] == Counts::Idle, stanza.body.is_none()),
        };
        if is_idle && is_mask {
            counts[at] = Counts::Idle;
        }
        let Some(other) = earlier else {
            continue;
        };
        counts[other] = Counts::Replaced;
        let (other_folder, other) = &all[other];
        if other_folder == folder {
            let why = declared::name_twice(nouns::of(what), &stanza.name, &other.place);
            complaints.push(Complaint::at(&stanza.place, why));
        }
    }
    if !complaints.is_empty() {
        return Err(complaints);
    }
    let counted = all.into_iter().zip(counts);
    let mut kept: Vec<(Stanza<T>, Counts)> = counted
        .filter(|(_, counts)| *counts != Counts::Replaced)
        .map(|((_, stanza), counts)| (stanza, counts))
        .collect();
    // They are sorted already, unless a later folder has an earlier path.
    let order = |(one, _): &(Stanza<T>, Counts), (other, _): &(Stanza<T>, Counts)| {
        let (one, other) = (&one.place, &other.place);
        (&one.file.path, one.line).cmp(&(&other.file.path, other.line))
    };
    if !kept.is_sorted_by(|one, other| order(one, other).is_le()) {
        kept.sort_by(order);
    }
    let mut merged = Merged::default();
    for (stanza, counts) in kept {
        let bare = Stanza {
            name: stanza.name,
            place: stanza.place,
            state: stanza.state,
            body: None,
        };
        match stanza.body {
            Some(body) => merged.stanzas.push((bare, body)),
            None if counts == Counts::Idle => merged.idle.push(bare),
            None => merged.masks.push(bare),
        }
    }
    Ok(merged)
}

/// Whether a stanza counts beside those of later folders.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Counts {
    Yes,
    /// It is a mask, and no earlier folder has the name.
    Idle,
    /// By the stanza of the same name of a later folder.
    Replaced,
}

/// Complains about every stanza that has a value which another one has already.
pub fn twins<'m, T, V: Eq + Hash>(
    merged: &'m Merged<T>,
    value: impl Fn(&'m T) -> Option<V>,
    refusal: fn(&Place) -> Refusal,
) -> Vec<Complaint> {
    let mut first: HashMap<V, &Place> = HashMap::new();
    let mut complaints = Vec::new();
    for (stanza, body) in &merged.stanzas {
        let Some(value) = value(body) else {
            continue;
        };
        match first.get(&value) {
            // Both are named: each may be the wrong one.
            Some(other) => {
                complaints.push(Complaint::at(other, refusal(&stanza.place)));
                complaints.push(Complaint::at(&stanza.place, refusal(other)));
            }
            None => {
                first.insert(value, &stanza.place);
            }
        }
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stanza(path: &str, line: usize, name: &str, body: Option<u8>) -> Stanza<u8> {
        let file = Arc::new(File {
            path: path.to_owned(),
            sha256: [0; 32],
            absent: Absent::Keep,
        });
        Stanza {
            name: name.to_owned(),
            place: Place { file, line },
            state: [body.unwrap_or_default(); 32],
            body,
        }
    }

    fn shown(merged: &Merged<u8>) -> Vec<String> {
        let stanzas = merged.stanzas.iter();
        let stanzas = stanzas.map(|(it, body)| format!("{} {} {body}", it.place, it.name));
        let masks = merged.masks.iter();
        let masks = masks.map(|it| format!("{} -{}", it.place, it.name));
        stanzas.chain(masks).collect()
    }

    #[test]
    fn a_later_folder_replaces_and_masks() {
        let maker = vec![
            stanza("/usr/a.toml", 3, "one", Some(1)),
            stanza("/usr/a.toml", 8, "two", Some(2)),
            stanza("/usr/b.toml", 3, "three", Some(3)),
        ];
        let site = vec![
            stanza("/etc/a.toml", 2, "two", None),
            stanza("/etc/a.toml", 5, "three", Some(4)),
        ];
        let merged = merge(vec![maker, site], "key").unwrap();
        assert_eq!(
            shown(&merged),
            [
                "/etc/a.toml:5 three 4",
                "/usr/a.toml:3 one 1",
                "/etc/a.toml:2 -two"
            ]
        );
    }

    /// A mask is idle as long as no earlier folder has the name, whatever still earlier ones mask.
    #[test]
    fn a_mask_of_nothing_is_idle() {
        let mask = |path| vec![stanza(path, 2, "one", None)];
        let body = || vec![stanza("/run/a.toml", 2, "one", Some(1))];
        let idle_of = |folders| merge(folders, "key").unwrap().idle.len();
        assert_eq!(idle_of(vec![mask("/etc/a.toml")]), 1);
        assert_eq!(idle_of(vec![mask("/etc/a.toml"), mask("/run/a.toml")]), 1);
        assert_eq!(idle_of(vec![mask("/etc/a.toml"), body()]), 0);
        let last = vec![mask("/etc/a.toml"), body(), mask("/srv/a.toml")];
        assert_eq!(idle_of(last), 0);
    }

    #[test]
    fn a_name_stands_once_in_a_folder() {
        let folder = vec![
            stanza("/etc/a.toml", 2, "one", Some(1)),
            stanza("/etc/b.toml", 7, "one", None),
        ];
        let complaints = merge(vec![folder], "key").unwrap_err();
        assert_eq!(
            complaints[0].to_string(),
            "/etc/b.toml:7: the key one stands at /etc/a.toml:2 already; a later folder may replace it, but not the same one"
        );
    }

    #[test]
    fn twins_are_both_named() {
        let folder = vec![
            stanza("/etc/a.toml", 2, "one", Some(1)),
            stanza("/etc/b.toml", 7, "two", Some(1)),
            stanza("/etc/b.toml", 9, "three", Some(2)),
        ];
        let merged = merge(vec![folder], "key").unwrap();
        let found = twins(
            &merged,
            |body| Some(*body),
            |place| declared::id_twice(place),
        );
        let lines: Vec<Option<usize>> = found.iter().map(|it| it.line).collect();
        assert_eq!(lines, [Some(2), Some(7)]);
        assert!(found[0].to_string().contains("/etc/b.toml:7"));
    }

    #[test]
    fn a_source_has_a_place() {
        let place = stanza("/etc/x:y.toml", 14, "one", None).place;
        assert_eq!(place.source(), "file:/etc/x:y.toml:14");
        assert_eq!(place_of(&place.source()), Some("/etc/x:y.toml:14"));
        assert_eq!(path_of(&place.source()), Some("/etc/x:y.toml"));
        assert_eq!((place_of("import:kong"), path_of("")), (None, None));
        for (absent, word) in ABSENT {
            assert_eq!((absent.as_str(), Absent::parse(word)), (word, Some(absent)));
        }
    }
}
