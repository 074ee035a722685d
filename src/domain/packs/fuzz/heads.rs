//! Mutated heads of packs, with signatures and introductions that are made here.

use super::places;
use crate::domain::packs::head::{Head, Introduction, key_name, tests::sample};
use crate::domain::packs::note::{self, PublicKey, SigningKey};
use crate::fuzz::Target;

/// The keys of the test: the first is trusted, the last is a stranger.
pub(super) fn signing_keys() -> [SigningKey; 4] {
    [1, 2, 3, 4].map(|seed| SigningKey::of_seed("server.example/packs", &[seed; 32]).unwrap())
}

/// Which key introduces which, as a line of a head.
fn introductions(keys: &[SigningKey]) -> Vec<(usize, usize, String)> {
    let head = sample();
    let pairs = (0..keys.len()).flat_map(|older| (0..keys.len()).map(move |newer| (older, newer)));
    let line = |(older, newer): (usize, usize)| {
        let public = keys[newer].public();
        let made = Introduction::make(&keys[older], &head.origin, head.server, public);
        (older, newer, made.to_text())
    };
    pairs.map(line).collect()
}

/// The note of an input. A line `!0` is the signature of a key of the test; `signer !01` is that one key introduces another.
fn note_of(input: &[u8], keys: &[SigningKey], introductions: &[(usize, usize, String)]) -> Vec<u8> {
    let mut text = Vec::new();
    for line in input.split_inclusive(|byte| *byte == b'\n') {
        let digit = |digit: u8| {
            let digit = char::from(digit).to_digit(10)? as usize;
            (digit < keys.len()).then_some(digit)
        };
        let signed_by = match line {
            [b'!', key, b'\n'] => digit(*key),
            _ => None,
        };
        let introduced = match line.strip_prefix(b"signer !") {
            Some([older, newer, b'\n']) => digit(*older).zip(digit(*newer)),
            _ => None,
        };
        if let Some(key) = signed_by {
            // What is signed ends before the blank line.
            let end = text.windows(2).rposition(|two| two == b"\n\n");
            let signed = keys[key].sign(&text[..end.map_or(text.len(), |end| end + 1)]);
            text.extend(note::write("", &[signed]).bytes().skip(1));
        } else if let Some(pair) = introduced {
            let mut known = introductions.iter();
            let one = known.find(|it| (it.0, it.1) == pair).unwrap();
            text.extend(format!("signer {}\n", one.2).bytes());
        } else {
            text.extend(line);
        }
    }
    text
}

/// A second, plain reading of who has signed: `None` if the note has to be refused.
fn signers(
    head: &Head,
    note: &note::Note<'_>,
    keys: &[SigningKey],
    introductions: &[(usize, usize, String)],
) -> Option<Vec<PublicKey>> {
    let mut known = vec![0];
    for one in &head.signers {
        let place = keys.iter().position(|key| *key.public() == one.key);
        let by = known
            .iter()
            .find(|by| keys[**by].public().hash() == one.signature.hash);
        let Some(by) = by.filter(|_| place.is_none_or(|place| !known.contains(&place))) else {
            continue;
        };
        // The keys of the test have introduced only each other.
        let is_made = |it: &&(usize, usize, String)| (it.0, Some(it.1)) == (*by, place);
        let made = introductions.iter().find(is_made)?;
        if made.2 != one.to_text() || head.server != sample().server {
            return None;
        }
        known.extend(place);
    }
    let mut found = Vec::new();
    for key in known.into_iter().map(|place| &keys[place]) {
        let own = key.sign(note.text.as_bytes());
        for signature in &note.signatures {
            if (&signature.name, signature.hash) == (&own.name, own.hash) {
                if *signature != own {
                    return None;
                }
                found.push(key.public().clone());
            }
        }
    }
    Some(found).filter(|found| !found.is_empty())
}

fn judge_head(keys: &[SigningKey], made: &[(usize, usize, String)], input: &[u8]) -> String {
    let bytes = note_of(input, keys, made);
    let trusted = [keys[0].public().clone()];
    let opened = Head::open(&bytes, &trusted);
    let (note, head) = match Head::peek(&bytes) {
        Ok(peeked) => peeked,
        Err(why) => {
            assert!(opened.is_err(), "a head that cannot be read was opened");
            return why.code().to_owned();
        }
    };
    assert_eq!(head.to_text(), note.text, "a second encoding");
    assert_eq!(note::write(note.text, &note.signatures).as_bytes(), bytes);
    assert!(head.base < head.pack && head.made < head.until);
    assert_eq!(key_name(&head.origin), format!("{}/packs", head.origin));
    let expected = signers(&head, &note, keys, made).filter(|_| head.origin == "server.example");
    let opened = opened.map_err(|why| why.code());
    let signed_by = opened.as_ref().ok().map(|opened| opened.signed_by.clone());
    assert_eq!(
        signed_by, expected,
        "another answer than that of a plain reading"
    );
    let Ok(opened) = opened else {
        return format!(
            "{}, {} signers",
            opened.unwrap_err(),
            head.signers.len().min(3)
        );
    };
    for (place, bit) in places(&bytes) {
        let mut changed = bytes.clone();
        changed[place] ^= bit;
        if let Ok(other) = Head::open(&changed, &trusted) {
            // A signature whose key is not known counts for nothing, so a change can take away a signer and never add one.
            let is_known = |key: &PublicKey| opened.signed_by.contains(key);
            assert_eq!(other.head, opened.head);
            assert!(
                other.signed_by.iter().all(is_known),
                "a change adds a signer"
            );
        }
    }
    let places = opened
        .signed_by
        .iter()
        .map(|one| keys.iter().position(|key| key.public() == one));
    let (by, others) = (places.collect::<Vec<_>>(), note.signatures.len());
    format!(
        "by {by:?} of {others}, {} signers",
        head.signers.len().min(3)
    )
}

#[test]
fn mutated_heads_have_one_encoding_and_only_their_signers() {
    let keys = signing_keys();
    let made = introductions(&keys);
    Target {
        name: "pack-head",
        words: &[
            "!0\n",
            "!1\n",
            "!2\n",
            "!3\n",
            "signer !01\n",
            "signer !12\n",
            "signer !02\n",
            "signer !31\n",
            "signer !00\n",
            "\n",
            "\n\n",
            "pack ",
            " base ",
            "reign ",
            "events ",
            "made ",
            "until ",
            "keys ",
            " bytes ",
            "sha256 ",
            "0",
            "00",
            "+1",
            "18446744073709551615",
            "2026-11-28T22:00:00Z",
            "9999-12-31T23:59:59Z",
            "=",
            "\u{2014} ",
            "server.example/packs ",
        ],
        mutations: 3_000,
    }
    .run(|input| judge_head(&keys, &made, input));
}
