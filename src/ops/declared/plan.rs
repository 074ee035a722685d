//! What has to happen so that the keys of the store are those that the files declare. Pure: it compares, and changes
//! nothing.

use super::{Declared, DeclaredKey};
use crate::domain::declared::{Absent, Place, Stanza, path_of};
use crate::domain::hex::hex;
use crate::domain::keys::KeyId;
use crate::domain::time::Timestamp;
use crate::store::declared::{AppliedFile, DeclaredRow, EndedDigest};
use std::collections::{HashMap, HashSet};

/// What the store has of earlier files.
pub struct Known {
    /// Every key that a file has declared, deleted ones too.
    pub rows: Vec<DeclaredRow>,
    pub ended: Vec<EndedDigest>,
    pub files: Vec<AppliedFile>,
}

/// One change of a key.
pub enum Step<'a> {
    /// The file names the key no more, or a later one masks it. `by` is the mask.
    Delete(&'a DeclaredRow, Option<&'a Place>),
    Disable(&'a DeclaredRow, Option<&'a Place>),
    /// The file names the key no more, and it stays; from now on it is edited by hand.
    Release(&'a DeclaredRow),
    /// Nothing but the place of the stanza has changed.
    Move(&'a DeclaredRow, &'a Stanza<()>),
    Edit {
        row: &'a DeclaredRow,
        at: &'a Stanza<()>,
        key: &'a DeclaredKey,
        /// The secret is another one.
        rotates: bool,
    },
    Issue {
        at: &'a Stanza<()>,
        key: &'a DeclaredKey,
        /// The key that had the name, and ends.
        replaces: Option<&'a DeclaredRow>,
    },
}

/// Something that the files declare and that does not happen; all else does.
pub enum Warning<'a> {
    /// The digest was ended, and never counts again.
    Ended {
        at: &'a Stanza<()>,
        key: KeyId,
        ended_at: Timestamp,
    },
    /// The key was disabled by hand, which its file does not undo.
    Held(&'a DeclaredRow, &'a Stanza<()>),
    /// There is nothing to mask.
    Idle(&'a Stanza<()>),
}

/// All steps, in the order in which they are made.
#[derive(Default)]
pub struct Plan<'a> {
    pub steps: Vec<Step<'a>>,
    pub warnings: Vec<Warning<'a>>,
    pub unchanged: usize,
}

/// What is stored of a stanza that was applied: its state, and its number of uses, which the uses since do not change.
pub fn state_text(at: &Stanza<()>, key: &DeclaredKey) -> String {
    let state = hex(&at.state);
    match key.members.uses_left.flatten() {
        Some(uses) => format!("{state} {uses}"),
        None => state,
    }
}

/// Whether a stanza sets another number of uses than the one that was applied.
pub fn sets_uses(row: &DeclaredRow, key: &DeclaredKey) -> bool {
    let applied = row.state.as_deref().and_then(|state| state.split_once(' '));
    let applied = applied.and_then(|(_, uses)| uses.parse().ok());
    applied != key.members.uses_left.flatten()
}

/// Compares what the files declare with what the store has.
pub fn plan<'a>(declared: &'a Declared, known: &'a Known) -> Plan<'a> {
    let mut plan = Plan::default();
    let live: Vec<&DeclaredRow> = known.rows.iter().filter(|row| is_live(row)).collect();
    let ended = ended(known);
    let matches = matches(declared, &live);
    let mut seen: HashSet<KeyId> = HashSet::new();
    let (mut edits, mut issues) = (Vec::new(), Vec::new());
    for ((at, key), found) in declared.keys.stanzas.iter().zip(matches) {
        let row = match found {
            Match::Same(row) | Match::Replaced(row) => Some(row),
            Match::New => None,
        };
        seen.extend(row.map(|row| row.id));
        if let Some((key, ended_at)) = ended.get(key.digest_text.as_str()).copied() {
            plan.warnings.push(Warning::Ended { at, key, ended_at });
            continue;
        }
        match found {
            Match::New => issues.push(Step::Issue {
                at,
                key,
                replaces: None,
            }),
            Match::Replaced(row) => issues.push(Step::Issue {
                at,
                key,
                replaces: Some(row),
            }),
            Match::Same(row) => {
                let rotates = row.digest != key.digest_text;
                let declared_on = key.members.enabled.unwrap_or(true);
                if row.held && declared_on {
                    plan.warnings.push(Warning::Held(row, at));
                }
                let is_applied = !rotates
                    && row.state.as_deref() == Some(&state_text(at, key))
                    && row.name == at.name
                    && row.enabled == (declared_on && !row.held);
                match (is_applied, row.source == at.place.source()) {
                    (true, true) => plan.unchanged += 1,
                    (true, false) => edits.push(Step::Move(row, at)),
                    (false, _) => edits.push(Step::Edit {
                        row,
                        at,
                        key,
                        rotates,
                    }),
                }
            }
        }
    }
    let orphans = live.into_iter().filter(|row| !seen.contains(&row.id));
    plan.steps.extend(
        orphans
            .filter(|row| row.state.is_some())
            .map(|row| absent(declared, known, row)),
    );
    plan.steps.extend(edits);
    plan.steps.extend(issues);
    plan.warnings
        .extend(declared.keys.idle.iter().map(Warning::Idle));
    plan
}

fn is_live(row: &DeclaredRow) -> bool {
    row.deleted_at.is_none()
}

/// Digests that never count again, with the key that had them and the time of their end.
fn ended(known: &Known) -> HashMap<&str, (KeyId, Timestamp)> {
    let deleted = known.rows.iter().filter_map(|row| {
        let at = row.deleted_at?;
        Some((row.digest.as_str(), (row.id, at)))
    });
    let replaced = known.ended.iter();
    let replaced = replaced.map(|one| (one.digest.as_str(), (one.key, one.at)));
    deleted.chain(replaced).collect()
}

/// The key that a stanza is about.
#[derive(Clone, Copy)]
enum Match<'a> {
    New,
    /// The key had the name; the stanza declares another id.
    Replaced(&'a DeclaredRow),
    Same(&'a DeclaredRow),
}

/// Finds the key of each stanza: by its digest, which a new name does not change; then by its id, which a new secret does
/// not change; then by its name.
fn matches<'a>(declared: &Declared, live: &[&'a DeclaredRow]) -> Vec<Match<'a>> {
    let stanzas = &declared.keys.stanzas;
    let by_digest: HashMap<&str, &DeclaredRow> =
        live.iter().map(|row| (row.digest.as_str(), *row)).collect();
    let by_id: HashMap<KeyId, &DeclaredRow> = live.iter().map(|row| (row.id, *row)).collect();
    let by_name: HashMap<&str, &DeclaredRow> =
        live.iter().map(|row| (row.name.as_str(), *row)).collect();
    let mut found = vec![Match::New; stanzas.len()];
    let mut taken: HashSet<KeyId> = HashSet::new();
    let fits = |row: &DeclaredRow, key: &DeclaredKey| key.id.is_none_or(|id| id == row.id);
    for (place, (_, key)) in stanzas.iter().enumerate() {
        let row = by_digest.get(key.digest_text.as_str()).copied();
        if let Some(row) = row.filter(|row| fits(row, key) && taken.insert(row.id)) {
            found[place] = Match::Same(row);
        }
    }
    for (place, (_, key)) in stanzas.iter().enumerate() {
        let row = key.id.and_then(|id| by_id.get(&id).copied());
        if let (Match::New, Some(row)) = (found[place], row.filter(|row| taken.insert(row.id))) {
            found[place] = Match::Same(row);
        }
    }
    for (place, (at, key)) in stanzas.iter().enumerate() {
        let row = by_name.get(at.name.as_str()).copied();
        if let (Match::New, Some(row)) = (found[place], row.filter(|row| taken.insert(row.id))) {
            found[place] = match fits(row, key) {
                true => Match::Same(row),
                false => Match::Replaced(row),
            };
        }
    }
    found
}

/// What happens to a key that no stanza is about.
fn absent<'a>(declared: &'a Declared, known: &Known, row: &'a DeclaredRow) -> Step<'a> {
    let mut masks = declared.keys.masks.iter().chain(&declared.keys.idle);
    if let Some(mask) = masks.find(|mask| row.name == mask.name) {
        return match mask.place.file.absent {
            Absent::Delete => Step::Delete(row, Some(&mask.place)),
            Absent::Disable | Absent::Keep => Step::Disable(row, Some(&mask.place)),
        };
    }
    let path = path_of(&row.source).unwrap_or_default();
    let present = declared.files.iter().find(|file| file.path == path);
    let absent = match present {
        Some(file) => file.absent,
        // A volume that is missing looks like a file that was deleted, so nothing ends for good.
        None => {
            let former = known.files.iter().find(|file| file.path == path);
            match former.map(|file| file.absent) {
                Some(Absent::Delete | Absent::Disable) => Absent::Disable,
                Some(Absent::Keep) | None => Absent::Keep,
            }
        }
    };
    match absent {
        Absent::Delete => Step::Delete(row, None),
        Absent::Disable => Step::Disable(row, None),
        Absent::Keep => Step::Release(row),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::declared::{File, Merged};
    use crate::domain::keys::scheme::GivenDigest;
    use crate::ops::keys::members::KeyMembers;
    use std::sync::Arc;

    const PATH: &str = "/etc/a.toml";

    fn digest(of: u8) -> GivenDigest {
        GivenDigest::parse(&format!("sha256:{}", hex(&[of; 32])), None).unwrap()
    }

    fn key(of: u8, id: Option<u64>) -> DeclaredKey {
        DeclaredKey {
            peppered: None,
            id: id.map(KeyId),
            digest_text: digest(of).to_text(),
            digest: digest(of),
            hint: None,
            workspace: None,
            policy: None,
            catalog: None,
            members: KeyMembers::default(),
        }
    }

    fn at(name: &str, line: usize, absent: Absent) -> Stanza<()> {
        let file = Arc::new(File {
            path: PATH.to_owned(),
            sha256: [0; 32],
            absent,
        });
        Stanza {
            name: name.to_owned(),
            place: Place { file, line },
            state: [1; 32],
            body: None,
        }
    }

    fn row(id: u64, name: &str, of: u8) -> DeclaredRow {
        let stanza = at(name, 1, Absent::Keep);
        DeclaredRow {
            id: KeyId(id),
            name: name.to_owned(),
            digest: digest(of).to_text(),
            state: Some(state_text(&stanza, &key(of, None))),
            source: stanza.place.source(),
            enabled: true,
            held: false,
            deleted_at: None,
        }
    }

    fn declared(absent: Absent, keys: Vec<(&str, DeclaredKey)>) -> Declared {
        let stanzas = keys
            .into_iter()
            .map(|(name, key)| (at(name, 1, absent), key));
        Declared {
            files: vec![at("", 1, absent).place.file],
            keys: Merged {
                stanzas: stanzas.collect(),
                ..Merged::default()
            },
            ..Declared::default()
        }
    }

    fn known(rows: Vec<DeclaredRow>) -> Known {
        Known {
            rows,
            ended: Vec::new(),
            files: Vec::new(),
        }
    }

    #[track_caller]
    fn check(declared: &Declared, known: &Known, expected: &[&str]) {
        let plan = plan(declared, known);
        let step = |step: &Step<'_>| match step {
            Step::Delete(row, by) => format!(
                "delete {}{}",
                row.id.0,
                if by.is_some() { " mask" } else { "" }
            ),
            Step::Disable(row, by) => format!(
                "disable {}{}",
                row.id.0,
                if by.is_some() { " mask" } else { "" }
            ),
            Step::Release(row) => format!("release {}", row.id.0),
            Step::Move(row, _) => format!("move {}", row.id.0),
            Step::Edit {
                row, at, rotates, ..
            } => {
                format!(
                    "{} {} {}",
                    if *rotates { "rotate" } else { "edit" },
                    row.id.0,
                    at.name
                )
            }
            Step::Issue { at, replaces, .. } => match replaces {
                Some(row) => format!("issue {} for {}", at.name, row.id.0),
                None => format!("issue {}", at.name),
            },
        };
        let warning = |warning: &Warning<'_>| match warning {
            Warning::Ended { at, .. } => format!("ended {}", at.name),
            Warning::Held(row, _) => format!("held {}", row.id.0),
            Warning::Idle(at) => format!("idle {}", at.name),
        };
        let steps = plan.steps.iter().map(step);
        let found: Vec<String> = steps.chain(plan.warnings.iter().map(warning)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn the_same_files_change_nothing() {
        let files = declared(
            Absent::Keep,
            vec![("a", key(1, None)), ("b", key(2, Some(2)))],
        );
        let known = known(vec![row(1, "a", 1), row(2, "b", 2)]);
        check(&files, &known, &[]);
        assert_eq!(plan(&files, &known).unchanged, 2);
    }

    #[test]
    fn a_key_is_found_by_its_digest_its_id_and_its_name() {
        let old = || known(vec![row(1, "a", 1), row(2, "b", 2)]);
        let files = |keys| declared(Absent::Keep, keys);
        // Renamed, and the old name is that of a new key.
        let moved = files(vec![
            ("c", key(1, None)),
            ("b", key(2, Some(2))),
            ("a", key(3, Some(3))),
        ]);
        check(&moved, &old(), &["edit 1 c", "issue a"]);
        // Each has the name of the other.
        let swapped = files(vec![("b", key(1, Some(1))), ("a", key(2, Some(2)))]);
        check(&swapped, &old(), &["edit 1 b", "edit 2 a"]);
        // Another secret of the same key, with the same name and with another one.
        let rotated = files(vec![("a", key(4, Some(1))), ("c", key(5, Some(2)))]);
        check(&rotated, &old(), &["rotate 1 a", "rotate 2 c"]);
        let foreign = files(vec![("a", key(4, None)), ("b", key(2, Some(2)))]);
        check(&foreign, &old(), &["rotate 1 a"]);
        // Another key of the same name.
        let replaced = files(vec![("a", key(4, Some(9))), ("b", key(2, Some(2)))]);
        check(&replaced, &old(), &["issue a for 1"]);
    }

    #[test]
    fn what_is_absent_is_kept_disabled_or_deleted_as_its_file_says() {
        let rows = || known(vec![row(1, "a", 1)]);
        for (absent, step) in [
            (Absent::Keep, "release 1"),
            (Absent::Disable, "disable 1"),
            (Absent::Delete, "delete 1"),
        ] {
            check(&declared(absent, Vec::new()), &rows(), &[step]);
            let mut masked = declared(Absent::Keep, Vec::new());
            masked.keys.masks.push(at("a", 2, absent));
            let step = match absent {
                Absent::Delete => "delete 1 mask",
                _ => "disable 1 mask",
            };
            check(&masked, &rows(), &[step]);
            // The whole file is gone, so nothing ends for good.
            let gone = Declared::default();
            let mut former = rows();
            former.files.push(AppliedFile {
                path: PATH.to_owned(),
                sha256: [0; 32],
                absent,
            });
            let step = match absent {
                Absent::Keep => "release 1",
                _ => "disable 1",
            };
            check(&gone, &former, &[step]);
        }
        let released = known(vec![DeclaredRow {
            state: None,
            ..row(1, "a", 1)
        }]);
        check(&declared(Absent::Delete, Vec::new()), &released, &[]);
        check(
            &declared(Absent::Keep, vec![("a", key(1, None))]),
            &released,
            &["edit 1 a"],
        );
    }

    #[test]
    fn an_ended_digest_never_comes_back() {
        let deleted = DeclaredRow {
            deleted_at: Some(Timestamp(5)),
            ..row(1, "a", 1)
        };
        let files = declared(Absent::Keep, vec![("a", key(1, Some(1)))]);
        check(&files, &known(vec![deleted]), &["ended a"]);
        let mut rotated = known(vec![row(1, "a", 2)]);
        rotated.ended.push(EndedDigest {
            digest: digest(1).to_text(),
            key: KeyId(1),
            at: Timestamp(5),
        });
        check(&files, &rotated, &["ended a"]);
    }

    #[test]
    fn what_was_disabled_by_hand_stays_so() {
        let files = declared(Absent::Keep, vec![("a", key(1, None))]);
        let held = DeclaredRow {
            enabled: false,
            held: true,
            ..row(1, "a", 1)
        };
        check(&files, &known(vec![held.clone()]), &["held 1"]);
        let enabled = DeclaredRow {
            held: false,
            ..held
        };
        check(&files, &known(vec![enabled]), &["edit 1 a"]);
    }
}
