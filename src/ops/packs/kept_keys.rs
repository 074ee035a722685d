//! The keys that sign packs, in a file of their own next to the database.
//!
//! An older copy of the database, by a restore or put in its place, lacks the keys that were made since. Sites that have taken packs of a
//! newer key trust no older one, so they would be cut off. The file has what the database has: public keys, introductions, and private
//! keys sealed under the sealing key. A key counts if the one before, which the database has, has introduced it, and if it opens with the
//! sealing key; so a file that was written by another program brings none.

use super::identity;
use crate::domain::audit::{Event, Target};
use crate::domain::hex::{hex, unhex};
use crate::domain::keys::sealing::{Sealed, SealingKeys};
use crate::domain::packs::head::{Introduction, introduction};
use crate::domain::packs::note::PublicKey;
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::files::{private, read_regular};
use crate::ops::{App, append_all};
use crate::refusals;
use crate::store::Durability;
use crate::store::packs::{self, Server, SigningKeyRow};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// The file in the data folder: a line for each key.
const FILE: &str = "signing-keys";
/// What stands for no introduction.
const NONE: &str = "-";

/// Puts keys of the file back that the database lacks, and lets the file have what the database has. Nothing else depends on
/// whether this succeeds.
pub fn settle(app: &App) {
    let settled = put_back(app).and_then(|()| keep(app));
    if let Err(err) = settled {
        log::warn!("packs: {err}");
    }
}

/// Lets the file have what the database has. Keys that the database lacks, and that could not be put back yet, stay there.
pub fn keep(app: &App) -> Result<()> {
    let rows = app.read(packs::list_signing_keys)?;
    let kept = read(&path(app.store.path()))?;
    match rows.last().is_none_or(|last| is_ahead(&kept, last)) {
        true => Ok(()),
        false => write(app.store.path(), &rows),
    }
}

/// Writes the file next to a database, if it has anything else.
pub(super) fn write(database: &Path, rows: &[SigningKeyRow]) -> Result<()> {
    let path = path(database);
    let text: String = rows.iter().map(line).collect();
    let is_same = match found(&path)? {
        None => rows.is_empty(),
        Some(bytes) => bytes == text.as_bytes(),
    };
    match is_same {
        true => Ok(()),
        false => private::replace(&path, text.as_bytes()).map_err(|err| unusable(&path, err)),
    }
}

/// Whether the file can be read; it may be missing.
///
/// # Errors
/// `Unavailable` if it cannot.
pub fn check(app: &App) -> Result<()> {
    found(&path(app.store.path())).map(drop)
}

/// The content of the file; `None` if it is not there. What cannot be read is not replaced, because it may have keys that the database
/// lacks.
fn found(path: &Path) -> Result<Option<Vec<u8>>> {
    match read_regular(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(err) if err.kind() == ErrorKind::NotFound => Ok(None),
        Err(err) => Err(unusable(path, err)),
    }
}

fn unusable(path: &Path, why: io::Error) -> Error {
    Error::Unavailable(refusals::packs::signing_keys_unusable(path.display(), why))
}

/// Puts keys of the file back that the database lacks, and refuses if the file has newer ones nevertheless.
///
/// # Errors
/// `Unavailable` if the file cannot be read, or has keys that do not follow those of the database.
pub(super) fn require_all(app: &App) -> Result<()> {
    put_back(app)?;
    let path = path(app.store.path());
    let (rows, kept) = (app.read(packs::list_signing_keys)?, read(&path)?);
    match rows.last().is_some_and(|last| is_ahead(&kept, last)) {
        true => {
            let why = "it has newer keys than the database, which do not follow those";
            Err(unusable(&path, io::Error::other(why)))
        }
        false => Ok(()),
    }
}

fn put_back(app: &App) -> Result<()> {
    let path = path(app.store.path());
    let kept = read(&path)?;
    let (seal_keys, sealing, now) = (app.seal_keys.clone(), app.sealing.clone(), app.now().wall);
    let (server, rows) =
        app.read(|read| Ok((packs::find_server(read)?, packs::list_signing_keys(read)?)))?;
    let Some(server) = server else {
        return Ok(());
    };
    if newer(&server, &sealing, &rows, &kept).is_empty() {
        return Ok(());
    }
    let put = app.store.write(Durability::Full, move |tx| {
        let rows = packs::list_signing_keys(tx)?;
        let newer = newer(&server, &sealing, &rows, &kept);
        let mut records = Vec::new();
        for row in &newer {
            packs::insert_signing_key(tx, row)?;
            records.push((identity::ROTATE, identity::rotation(row)));
        }
        let draft = Event::of_system(identity::ROTATE, Target::server(), now);
        append_all(tx, &seal_keys, &draft, records)?;
        Ok(newer.last().map(|row| row.version))
    })?;
    if let Some(version) = put {
        log::warn!(
            "packs: the database is older than version {version} of the key that signs packs; it was put back from {}, because sites may \
             trust no older one",
            path.display()
        );
    }
    Ok(())
}

/// The keys of the file; none if it is not there.
fn read(path: &Path) -> Result<Vec<SigningKeyRow>> {
    let bytes = found(path)?.unwrap_or_default();
    // A line that is damaged is none, and does not spoil the others.
    let text = String::from_utf8_lossy(&bytes);
    Ok(text.lines().filter_map(parse).collect())
}

/// Whether the file has this key, and newer ones.
fn is_ahead(kept: &[SigningKeyRow], last: &SigningKeyRow) -> bool {
    let is_last = |row: &SigningKeyRow| (row.version, &row.public) == (last.version, &last.public);
    kept.iter().any(is_last) && kept.iter().any(|row| row.version > last.version)
}

/// The keys that follow the newest one that is known, each introduced by the one before.
fn newer(
    server: &Server,
    sealing: &SealingKeys,
    known: &[SigningKeyRow],
    kept: &[SigningKeyRow],
) -> Vec<SigningKeyRow> {
    let Some(mut before) = known.last().cloned() else {
        return Vec::new();
    };
    if !is_ahead(kept, &before) {
        return Vec::new();
    }
    let mut found = Vec::new();
    while let Some(next) = kept.iter().find(|row| row.version == before.version + 1) {
        let is_introduced = is_introduced(server, &before, next).unwrap_or(false);
        if !is_introduced || identity::open(server, sealing, next).is_err() {
            break;
        }
        found.push(next.clone());
        before = next.clone();
    }
    found
}

fn is_introduced(server: &Server, before: &SigningKeyRow, next: &SigningKeyRow) -> Option<bool> {
    let by = PublicKey::parse(&before.public)?;
    let one = Introduction::parse(&format!("{} {}", next.public, next.introduction))?;
    let text = introduction(&server.name, server.uid, &one.key);
    Some(one.signature.names(&by) && by.has_signed(text.as_bytes(), &one.signature.bytes))
}

fn line(row: &SigningKeyRow) -> String {
    let introduction = match row.introduction.as_str() {
        "" => NONE,
        some => some,
    };
    format!(
        "{} {} {introduction} {} {} {}\n",
        row.version,
        row.public,
        row.sealed.version,
        hex(&row.sealed.bytes),
        row.added_at.0
    )
}

fn parse(line: &str) -> Option<SigningKeyRow> {
    let words: Vec<&str> = line.split(' ').collect();
    let [version, public, introduction, sealing, sealed, added_at] = words.as_slice() else {
        return None;
    };
    Some(SigningKeyRow {
        version: version.parse().ok()?,
        public: (*public).to_owned(),
        sealed: Sealed {
            version: sealing.parse().ok()?,
            bytes: unhex(sealed)?,
        },
        introduction: (*introduction).trim_start_matches(NONE).to_owned(),
        added_at: Timestamp(added_at.parse().ok()?),
    })
}

fn path(database: &Path) -> PathBuf {
    database.with_file_name(FILE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::packs::identity::signer;
    use crate::ops::packs::rotate_key::rotate;
    use crate::ops::packs::tests::with_site;
    use crate::ops::setup::fixture::Fixture;

    fn versions(fixture: &Fixture) -> Vec<u32> {
        let rows = fixture.app.read(packs::list_signing_keys).unwrap();
        rows.iter().map(|row| row.version).collect()
    }

    /// A server whose database was replaced by an older copy, after two further keys, and its file before the start.
    fn put_back<T: AsRef<[u8]>>(change: impl FnOnce(String) -> T) -> (Fixture, String) {
        let mut fixture = with_site(0);
        fixture.keep_copy();
        for _ in 0..2 {
            rotate(&fixture.app, &fixture.local()).unwrap();
        }
        assert_eq!(versions(&fixture), [1, 2, 3]);
        let newest = fixture.app.read(|read| signer(read, &fixture.app.sealing));
        let newest = newest.unwrap().key.public().to_text();
        fixture.app.close();
        let path = path(fixture.app.store.path());
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, change(text)).unwrap();
        fixture.put_copy_back();
        (fixture, newest)
    }

    #[test]
    fn an_older_database_gets_the_keys_back_that_were_made_since() {
        let (fixture, newest) = put_back(|text| text);
        assert_eq!(versions(&fixture), [1, 2, 3]);
        let signer = fixture.app.read(|read| signer(read, &fixture.app.sealing));
        let signer = signer.unwrap();
        assert_eq!(signer.key.public().to_text(), newest);
        assert_eq!(signer.introductions.len(), 2);
    }

    #[test]
    fn a_damaged_line_does_not_spoil_the_others() {
        let (fixture, _) = put_back(|text| [text.as_bytes(), b"\xe9 4\n"].concat());
        assert_eq!(versions(&fixture), [1, 2, 3]);
    }

    /// It could not be read at the start.
    #[test]
    fn no_second_key_gets_the_version_of_one_that_the_file_has() {
        let mut kept = String::new();
        let (fixture, _) = put_back(|text| {
            kept = text;
            "strange\n"
        });
        assert_eq!(versions(&fixture), [1]);
        let path = path(fixture.app.store.path());
        std::fs::write(&path, &kept).unwrap();
        rotate(&fixture.app, &fixture.local()).unwrap();
        assert_eq!(versions(&fixture), [1, 2, 3, 4]);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with(&kept), "{text}");
        // Keys that do not follow those of the database stay where they are, and none is made beside them.
        let strange = text.lines().nth(1).unwrap().replacen("2 ", "5 ", 1);
        std::fs::write(&path, format!("{text}{strange}\n")).unwrap();
        let why = rotate(&fixture.app, &fixture.local()).unwrap_err();
        assert!(why.to_string().contains("newer keys"), "{why}");
        assert_eq!(versions(&fixture), [1, 2, 3, 4]);
    }

    #[test]
    fn what_was_changed_in_the_file_counts_for_nothing() {
        let words = |text: &str, line: usize, word: usize| {
            let line = text.lines().nth(line).unwrap();
            line.split(' ').nth(word).unwrap().to_owned()
        };
        let (other, _) = SealingKeys::generate().unwrap();
        let sealed = hex(&other.seal_bytes("x", &[1; 32]).unwrap().bytes);
        // The public key, the introduction, and the private key of the second one.
        for (word, with) in [(1, None), (2, None), (4, Some(sealed))] {
            let (fixture, _) = put_back(|text| {
                let with = with.unwrap_or_else(|| words(&text, 2, word));
                text.replacen(&words(&text, 1, word), &with, 1)
            });
            assert_eq!(versions(&fixture), [1], "{word}");
            // It is not overwritten either: what is wrong with it can be looked at.
            keep(&fixture.app).unwrap();
            assert!(read(&path(fixture.app.store.path())).unwrap().len() > 1);
        }
        let (fixture, _) = put_back(|text| text.lines().nth(2).unwrap().to_owned());
        assert_eq!(versions(&fixture), [1]);
        let (fixture, _) = put_back(|_| "strange\n1 2 3 4 5 6\n".to_owned());
        assert_eq!(versions(&fixture), [1]);
    }

    /// It may have keys that the database lacks, so nothing takes its place.
    #[test]
    fn a_file_that_cannot_be_read_is_left_alone_and_no_key_is_made_meanwhile() {
        let fixture = with_site(0);
        let path = path(fixture.app.store.path());
        keep(&fixture.app).unwrap();
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        for refused in [
            keep(&fixture.app),
            check(&fixture.app),
            rotate(&fixture.app, &fixture.local()).map(drop),
        ] {
            let Err(Error::Unavailable(why)) = refused else {
                panic!("{refused:?}");
            };
            assert!(why.code() == "packs.signing_keys_unusable", "{why:?}");
        }
        assert_eq!(versions(&fixture), [1]);
        std::fs::remove_dir(&path).unwrap();
        rotate(&fixture.app, &fixture.local()).unwrap();
        check(&fixture.app).unwrap();
        assert_eq!(read(&path).unwrap().len(), 2);
    }

    #[test]
    fn a_line_is_read_back() {
        let row = SigningKeyRow {
            version: 1,
            public: "a/packs+00000000+AA==".to_owned(),
            sealed: Sealed {
                version: 2,
                bytes: vec![1, 2, 3],
            },
            introduction: String::new(),
            added_at: Timestamp(5),
        };
        let text = line(&row);
        assert_eq!(line(&parse(text.trim_end()).unwrap()), text);
        assert!(parse(&text.replace(" 5", "")).is_none());
    }
}
