//! Mutated tombstone files: a damaged line has no effect, and what is read means the same after it was written again.

use super::tombstones::{Tombstones, checked};
use crate::fuzz::Target;
use ring::digest::{SHA256, digest};

#[rustfmt::skip]
const WORDS: &[&str] = &[
    "1000", " given workspace 7", " deleted key x", " off key x", " on key x", " rotated key x", " completed key y", " changed policy p", " password user u",
    " retired user name", " authenticator user u", " recovery_codes user u", " clock server 7", " mark 7 00000000000000ff", " given key 9",
    "key", "user", "workspace", "catalog", "\n", "-1", " ", "99999999999999999999",
];

/// Input lines without a check get one, so that mutations reach what is behind it: `!1000 deleted key x`.
fn file(input: &[u8]) -> Vec<u8> {
    let mut file = Vec::new();
    for line in input.split(|byte| *byte == b'\n') {
        match line.strip_prefix(b"!").map(std::str::from_utf8) {
            Some(Ok(text)) => file.extend(checked(text).bytes()),
            _ => file.extend([line, b"\n"].concat()),
        }
    }
    file
}

/// Whether the line ends in the start of the SHA-256 of what stands before it, with its length in eight bytes.
fn is_whole(line: &[u8]) -> bool {
    let Some(space) = line.iter().rposition(|byte| *byte == b' ') else {
        return false;
    };
    let (text, check) = (&line[..space], &line[space + 1..]);
    let hash = digest(
        &SHA256,
        &[&(text.len() as u64).to_be_bytes()[..], text].concat(),
    );
    let hash: String = hash.as_ref()[..8]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    hash.as_bytes() == check
}

fn judge(input: &[u8]) -> String {
    let file = file(input);
    let read = Tombstones::parse(&file);
    let lines: Vec<&[u8]> = file
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .collect();
    assert_eq!(
        read.lines + read.damaged,
        lines.len(),
        "every line counts once"
    );
    let damaged = lines.iter().filter(|line| !is_whole(line)).count();
    assert!(read.damaged >= damaged, "a line without its check was read");
    // Without the damaged lines the file means the same.
    let whole: Vec<&[u8]> = lines
        .iter()
        .copied()
        .filter(|line| is_whole(line))
        .collect();
    let same = Tombstones::parse(&whole.join(&b'\n'));
    let facts = |it: &Tombstones| {
        (
            it.fates.clone(),
            it.mark,
            it.given,
            it.latest,
            it.clocks.clone(),
        )
    };
    assert!(facts(&same) == facts(&read), "a damaged line has an effect");
    // Once compact, it stays as it is, and means the same; what is deleted needs no more than that.
    let compact = read.compact();
    let again = Tombstones::parse(compact.as_bytes());
    assert_eq!(again.damaged, 0, "{compact}");
    assert_eq!(again.compact(), compact);
    assert_eq!((again.mark, again.given), (read.mark, read.given));
    assert_eq!(again.clocks, read.clocks);
    assert!(again.fates.keys().eq(read.fates.keys()), "a name is lost");
    for (name, fate) in &read.fates {
        let now = &again.fates[name];
        assert_eq!(now.deleted, fate.deleted, "{name:?}");
        assert!(
            fate.deleted.is_some() || now == fate,
            "{name:?}: {fate:?} became {now:?}"
        );
    }
    let kinds: std::collections::BTreeSet<&str> =
        read.fates.keys().map(|(kind, _)| *kind).collect();
    format!(
        "{} damaged, {kinds:?}, {} {} {}",
        read.damaged.min(2),
        read.mark.is_some(),
        read.clocks.len().min(2),
        read.fates.values().any(|fate| fate.deleted.is_some()),
    )
}

#[test]
fn mutated_tombstones_lose_no_fate_and_make_none() {
    Target {
        name: "tombstones",
        words: WORDS,
        mutations: 3_000,
    }
    .run(judge);
}
