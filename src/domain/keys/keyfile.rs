//! Files with secret bytes outside the database: one line for each version, `<version> <64 hexadecimal digits>`, in
//! ascending order.

use super::pepper::Peppers;
use super::seal_key::SealKeys;
use super::sealing::SealingKeys;
use crate::domain::hex::{hex, unhex};
use crate::domain::random;
use crate::error::Result;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

/// A key file whose versions can be rotated. The word is also the name of the file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum KeyKind {
    Pepper,
    SealKey,
    SealingKey,
}

impl KeyKind {
    /// In the order in which `latchkey secrets backup` writes them.
    pub const ALL: [KeyKind; 3] = [KeyKind::Pepper, KeyKind::SealingKey, KeyKind::SealKey];

    pub const fn as_str(self) -> &'static str {
        match self {
            KeyKind::Pepper => "pepper",
            KeyKind::SealKey => "seal-key",
            KeyKind::SealingKey => "sealing-key",
        }
    }

    /// The name in sentences.
    pub const fn words(self) -> &'static str {
        match self {
            KeyKind::Pepper => "pepper",
            KeyKind::SealKey => "seal key",
            KeyKind::SealingKey => "sealing key",
        }
    }

    pub fn parse(text: &str) -> Option<KeyKind> {
        KeyKind::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

/// The keys without which a database cannot be used. A clone sees every later rotation.
#[derive(Clone)]
pub struct KeyFiles {
    /// Makes digests of secrets.
    pub peppers: Arc<Peppers>,
    /// Encrypts copies of secrets.
    pub sealing: Arc<SealingKeys>,
    pub hmac: Arc<HmacKeys>,
    /// Seals rows and the audit log.
    pub seal: Arc<SealKeys>,
    /// The files that the service manager provides. The server reads them, and cannot replace them.
    pub provided: Arc<Vec<(KeyKind, PathBuf)>>,
}

impl KeyFiles {
    /// The number of each version of a file, and its fingerprint; the oldest first.
    pub fn fingerprints(&self, kind: KeyKind) -> Vec<(u32, [u8; 32])> {
        match kind {
            KeyKind::Pepper => self.peppers.fingerprints(),
            KeyKind::SealKey => self.seal.fingerprints(),
            KeyKind::SealingKey => self.sealing.fingerprints(),
        }
    }

    /// The number of the newest version of a file.
    pub fn newest(&self, kind: KeyKind) -> u32 {
        match kind {
            KeyKind::Pepper => self.peppers.newest(),
            KeyKind::SealKey => self.seal.newest(),
            KeyKind::SealingKey => self.sealing.newest(),
        }
    }

    /// Uses the content of a file from now on; `None` if it is damaged, and then nothing changes.
    pub fn replace(&self, kind: KeyKind, text: &str) -> Option<()> {
        match kind {
            KeyKind::Pepper => self.peppers.replace(Peppers::parse(text)?),
            KeyKind::SealKey => self.seal.replace(SealKeys::parse(text)?),
            KeyKind::SealingKey => self.sealing.replace(SealingKeys::parse(text)?),
        }
        Some(())
    }
}

/// The fingerprints of the versions in the text of a file; `None` if it is damaged.
pub fn fingerprints_in(kind: KeyKind, text: &str) -> Option<Vec<(u32, [u8; 32])>> {
    Some(match kind {
        KeyKind::Pepper => Peppers::parse(text)?.fingerprints(),
        KeyKind::SealKey => SealKeys::parse(text)?.fingerprints(),
        KeyKind::SealingKey => SealingKeys::parse(text)?.fingerprints(),
    })
}

/// The text of a file with one more version, and the number of that version; `None` if there are too many versions or
/// the file is damaged.
pub fn with_new_version(text: &str) -> Result<Option<(u32, String)>> {
    let last = parse(text).and_then(|versions| versions.last().map(|(version, _)| *version));
    let next = last.map(|last| last + 1);
    let Some(version) = next.filter(|next| *next <= VERSION_MAX) else {
        return Ok(None);
    };
    let (_, first) = draw()?;
    let line = first.replacen("1 ", &format!("{version} "), 1);
    Ok(Some((version, format!("{}\n{line}", text.trim_end()))))
}

/// The text of a file without one of its versions.
pub fn without_version(text: &str, version: u32) -> String {
    let number = version.to_string();
    let is_other = |line: &&str| line.split(' ').next() != Some(&*number);
    let others: Vec<&str> = text.lines().filter(is_other).collect();
    format!("{}\n", others.join("\n"))
}

#[cfg(test)]
impl KeyFiles {
    /// New keys, without files.
    pub fn generate() -> KeyFiles {
        KeyFiles {
            peppers: Arc::new(Peppers::generate().unwrap().0),
            sealing: Arc::new(SealingKeys::generate().unwrap().0),
            seal: Arc::new(SealKeys::generate().unwrap().0),
            hmac: Default::default(),
            provided: Default::default(),
        }
    }

    /// The keys of a folder, which may be one of an older schema without a seal key.
    pub fn of_folder(folder: &std::path::Path) -> KeyFiles {
        let text = |name| std::fs::read_to_string(folder.join(name)).unwrap();
        let seal = folder.join("seal-key").exists().then(|| text("seal-key"));
        KeyFiles {
            peppers: Arc::new(Peppers::parse(&text("pepper")).unwrap()),
            sealing: Arc::new(SealingKeys::parse(&text("sealing-key")).unwrap()),
            seal: Arc::new(match seal {
                Some(text) => SealKeys::parse(&text).unwrap(),
                None => SealKeys::generate().unwrap().0,
            }),
            hmac: Default::default(),
            provided: Default::default(),
        }
    }
}

/// The HMAC keys of other systems, by name: the content of the files in the folder `hmac-keys`. A digest whose key is
/// missing matches nothing.
#[derive(Default)]
pub struct HmacKeys(BTreeMap<String, Vec<u8>>);

impl HmacKeys {
    /// The keys with these names.
    pub fn of(keys: impl IntoIterator<Item = (String, Vec<u8>)>) -> HmacKeys {
        HmacKeys(keys.into_iter().collect())
    }

    pub fn find(&self, name: &str) -> Option<&[u8]> {
        self.0.get(name).map(Vec::as_slice)
    }
}

/// The largest version: [`super::live::StoredSecret`] has 16 bits for it.
const VERSION_MAX: u32 = u16::MAX as u32 - 1;

/// Generates the bytes of version 1, and returns them with the text of the file.
pub(super) fn draw() -> Result<([u8; 32], String)> {
    let mut bytes = [0; 32];
    random::fill(&mut bytes)?;
    let hex = hex(&bytes);
    Ok((bytes, format!("1 {hex}\n")))
}

/// Reads a file; the newest version is the last. `None` if the file is damaged or empty.
pub(super) fn parse(text: &str) -> Option<Vec<(u32, [u8; 32])>> {
    let mut versions: Vec<(u32, [u8; 32])> = Vec::new();
    for line in text.lines() {
        let (version, hex) = line.split_once(' ')?;
        let version = version.parse().ok()?;
        if version > VERSION_MAX {
            return None;
        }
        if versions.last().is_some_and(|(last, _)| *last >= version) {
            return None;
        }
        versions.push((version, unhex(hex)?.try_into().ok()?));
    }
    (!versions.is_empty()).then_some(versions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_added_at_the_end_and_removed_alone() {
        for kind in KeyKind::ALL {
            assert_eq!(KeyKind::parse(kind.as_str()), Some(kind));
        }
        let one = format!("1 {}\n", "ab".repeat(32));
        let (version, two) = with_new_version(one.trim_end()).unwrap().unwrap();
        assert_eq!(version, 2);
        assert!(two.starts_with(&one) && parse(&two).unwrap()[1].0 == 2);
        let (version, three) = with_new_version(&two).unwrap().unwrap();
        assert_eq!(version, 3);
        let kept = parse(&without_version(&three, 2)).unwrap();
        assert_eq!(kept.len(), 2);
        assert_eq!((kept[0], kept[1].0), (parse(&one).unwrap()[0], 3));
        assert_eq!(without_version(&two, 2), one);
        let last = format!("65534 {}\n", "ab".repeat(32));
        assert_eq!(with_new_version(&last).unwrap(), None);
    }

    #[test]
    fn a_clone_sees_a_rotation_and_a_damaged_file_changes_nothing() {
        let files = KeyFiles::generate();
        let clone = files.clone();
        for kind in KeyKind::ALL {
            assert_eq!(files.replace(kind, "1 ab"), None);
            assert_eq!(clone.newest(kind), 1);
            let text = format!("7 {}\n", "ab".repeat(32));
            files.replace(kind, &text).unwrap();
            assert_eq!(clone.newest(kind), 7);
            let found = fingerprints_in(kind, &text).unwrap();
            assert_eq!(clone.fingerprints(kind), found);
        }
    }

    // attacks 234
    #[test]
    fn damaged_files_are_refused() {
        let good = format!("1 {}", "ab".repeat(32));
        assert!(parse(&good).is_some());
        let two = format!("{good}\n3 {}\n", "cd".repeat(32));
        assert_eq!(parse(&two).unwrap()[1], (3, [0xcd; 32]));
        for bad in [
            "",
            "\n",
            "1",
            "1 ab",
            &format!("65535 {}", "ab".repeat(32)),
            &"ab".repeat(32),
            &format!("x {}", "ab".repeat(32)),
            &format!("1 {}", "zz".repeat(32)),
            &format!("{good}\n{good}"),
        ] {
            assert!(parse(bad).is_none(), "{bad}");
        }
    }
}
