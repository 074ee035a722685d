//! Damaged backups: each is refused, or what was changed in it is named, or nothing that matters was changed.
//!
//! An input is a list of changes, four bytes each: three for the place in the file, and one that is added to the byte there.
//! One of fewer than four bytes cuts the file.

use super::{altered_keys, check};
use crate::domain::keys::KeyId;
use crate::domain::time::Timestamp;
use crate::fuzz::Target;
use crate::ops::backups;
use crate::ops::keys::issue::{NewKey, issue};
use crate::ops::keys::members::KeyMembers;
use crate::ops::setup::fixture::{Fixture, NOW};
use crate::store::keys::{self, Source};
use crate::store::{Read, Store};
use std::fs;

/// The keys, each with its row and its secrets as text.
fn contents(read: &Read) -> crate::error::Result<Vec<(KeyId, String)>> {
    let ids = keys::list_ids(read, &Source::All, None, 100)?;
    ids.into_iter()
        .map(|id| {
            let row = keys::find(read, id)?;
            let secrets = keys::list_secrets(read, id)?;
            Ok((
                id,
                format!("{row:?} {}", secrets.iter().map(shown).collect::<String>()),
            ))
        })
        .collect()
}

fn shown(row: &keys::SecretRow) -> String {
    format!(
        "{:?} {:?} {}",
        row.expires_at, row.hint, row.until_first_use
    )
}

#[test]
fn damaged_backups_are_refused_or_their_damage_is_named() {
    let fixture = Fixture::new();
    let (app, local) = (&fixture.app, fixture.local());
    for name in ["a", "b", "c"] {
        let new = NewKey {
            members: KeyMembers {
                description: Some("x".repeat(300)),
                expires_at: Some(Some(Timestamp(NOW.0 + 1_000_000))),
                ..KeyMembers::named(name)
            },
            ..NewKey::default()
        };
        issue(app, &local, new, None).unwrap();
    }
    let backup = backups::create(app, &local, None).unwrap();
    let whole = fs::read(&backup.path).unwrap();
    let files = app.key_files();
    let before = Store::read_copy(&backup.path, contents).unwrap();
    let copy = backup.path.with_extension("damaged");
    let judge = |input: &[u8]| {
        let mut bytes = whole.clone();
        for change in input.chunks(4) {
            match change {
                [a, b, c, add] => {
                    let at = u32::from_be_bytes([0, *a, *b, *c]) as usize % bytes.len();
                    bytes[at] = bytes[at].wrapping_add(*add);
                }
                _ => bytes.truncate(bytes.len() - bytes.len() / (2 + change.len())),
            }
        }
        let is_changed = bytes != whole;
        let _ = fs::remove_file(copy.with_extension("damaged-wal"));
        fs::write(&copy, &bytes).unwrap();
        if let Err(err) = check(&copy, &files, NOW) {
            assert!(is_changed, "a whole backup is refused: {err}");
            let code = err.refusal().to_string();
            let words: Vec<&str> = code.split(": ").skip(1).take(1).collect();
            return format!(
                "refused {}",
                words
                    .join(" ")
                    .chars()
                    .filter(|c| c.is_ascii_alphabetic())
                    .take(24)
                    .collect::<String>()
            );
        }
        let (after, altered) = Store::read_copy(&copy, |read| {
            Ok((contents(read)?, altered_keys(read, &files)?))
        })
        .unwrap();
        for (id, text) in &after {
            let same = before.iter().any(|(own, other)| own == id && other == text);
            assert!(
                same || altered.contains(id),
                "key {id} was changed, and nothing names it"
            );
        }
        format!(
            "taken, {} changed, {} named",
            usize::from(is_changed),
            altered.len().min(1)
        )
    };
    Target {
        name: "backup",
        words: &[],
        mutations: 120,
    }
    .run(judge);
}
