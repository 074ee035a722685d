//! Mutated packs, and what else travels between a server and its sites. What is accepted is written back byte by byte as it was:
//! so it has one encoding, and takes no more memory than its bytes allow. Nothing that was changed after it was signed is taken
//! as something else. Here: enrolments, reports and revocations.

mod bodies;
mod heads;
mod links;

use super::enrolment::Enrolment;
use super::note::{PublicKey, SigningKey};
use super::report::Report;
use super::revocations::{self, Revocations};
use super::site_key::SiteKey;
use crate::fuzz::{Draw, Target};
use heads::signing_keys;
use std::collections::BTreeSet;
use std::slice;

/// The bytes that are changed to see whether a change is noticed: a few places, which the input itself decides.
fn places(bytes: &[u8]) -> impl Iterator<Item = (usize, u8)> + use<> {
    let seed = bytes.iter().fold(7_u64, |seed, byte| {
        (seed ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let (mut draw, length) = (Draw(seed), bytes.len());
    (0..4).map(move |_| (draw.below(length), 1 << draw.below(8)))
}

/// The text of an input; an input that is no text is none of these formats.
fn text_of(input: &[u8]) -> Option<&str> {
    std::str::from_utf8(input).ok()
}

fn judge_enrolment(input: &[u8]) -> String {
    let Some(text) = text_of(input) else {
        return "no text".to_owned();
    };
    let Some(enrolment) = Enrolment::parse(text) else {
        return format!("refused after {} lines", text.lines().count().min(8));
    };
    assert_eq!(enrolment.to_text(), text, "a second encoding");
    let (keys, peppers) = (enrolment.keys.len(), enrolment.peppers.len());
    assert_eq!(4 + keys + peppers, text.lines().count());
    assert!(keys > 0 && peppers > 0);
    let versions: BTreeSet<u16> = enrolment.peppers.iter().map(|it| it.0).collect();
    assert_eq!(
        versions.len(),
        peppers,
        "a version of the pepper is there twice"
    );
    format!("{} keys, {} peppers", keys.min(3), peppers.min(3))
}

#[test]
fn mutated_enrolments_have_one_encoding() {
    Target {
        name: "enrolment",
        words: &[
            "signer ",
            "pepper ",
            "pepper 2 ",
            "key ",
            "site ",
            " reign ",
            "server ",
            "\n",
            "\r\n",
            "+",
            "0",
            "65536",
            "A",
        ],
        mutations: 3_000,
    }
    .run(judge_enrolment);
}

fn judge_report(input: &[u8]) -> String {
    let Some(text) = text_of(input) else {
        return "no text".to_owned();
    };
    let (key, other) = (SiteKey::of([1; 32]), SiteKey::of([2; 32]));
    let file = format!("{text}\nhmac {}\n", key.authenticate(text));
    assert!(
        Report::open(&file, &other).is_err(),
        "the key of another site"
    );
    if let Ok(raw) = Report::open(text, &key) {
        assert_eq!(raw.write(&key), text, "a second encoding");
    }
    let report = match Report::open(&file, &key) {
        Ok(report) => report,
        Err(why) => return format!("{} {}", why.code(), text.lines().count().min(9)),
    };
    assert_eq!(report.write(&key), file, "a second encoding");
    assert_eq!(Report::site_of(&file), Some(&*report.site));
    let (codes, keys) = (report.codes.len(), report.keys.len());
    assert_eq!(
        6 + codes + keys,
        text.lines().count(),
        "a line was passed over"
    );
    assert!(report.keys.is_sorted_by(|one, next| one.id < next.id));
    assert!(report.codes.is_sorted_by(|one, next| one.0 < next.0));
    for (place, bit) in places(file.as_bytes()) {
        let mut changed = file.clone().into_bytes();
        changed[place] ^= bit;
        let changed = String::from_utf8_lossy(&changed);
        assert!(
            Report::open(&changed, &key).is_err(),
            "a change at {place} was taken"
        );
    }
    let ended = report
        .keys
        .iter()
        .filter(|key| key.ended_at.is_some())
        .count();
    format!(
        "{} codes, {} keys, {} ended",
        codes.min(3),
        keys.min(3),
        ended.min(2)
    )
}

#[test]
fn mutated_reports_have_one_encoding() {
    Target {
        name: "report",
        words: &[
            "code VALID 1\n",
            "code NOT_FOUND 2\n",
            "key 0000000001 uses 1 refusals 2 spent 3 last - ended -\n",
            "key ",
            " uses ",
            " refusals ",
            " spent ",
            " last ",
            " ended ",
            "-",
            "2026-11-28T22:00:00Z",
            "2026-11-28T22:00:00.123Z",
            "\n",
            " reign ",
            " events ",
            "report ",
            " at ",
            "0",
            "+1",
            "18446744073709551615",
        ],
        mutations: 3_000,
    }
    .run(judge_report);
}

fn judge_revocations(key: &SigningKey, input: &[u8]) -> String {
    let trusted = [key.public().clone()];
    let forms = [revocations::OF_KEYS, revocations::OF_SECRETS];
    // An input is a text, or the bytes of a list that is signed here in each form.
    for (first, _) in forms {
        let Some((text, digits)) =
            text_of(input).and_then(|text| Some((text, text.strip_prefix(first)?)))
        else {
            continue;
        };
        if let Ok(list) = Revocations::open(text, &trusted) {
            // A text may have further signatures.
            let own = list.sign(slice::from_ref(key));
            let text = text.trim_end_matches(['\r', '\n']);
            assert!(own == text || own.len() < text.len());
        }
        let Some(bytes) = revocations::decode(digits) else {
            return "no digits".to_owned();
        };
        assert_eq!(revocations::encode(&bytes), digits, "a second encoding");
        return format!("text of {} bytes", bytes.len().min(3));
    }
    forms
        .map(|form| judge_signed(form, key, &trusted, input))
        .join(", ")
}

/// Judges the bytes of a list, signed in one of the two forms.
fn judge_signed(
    form: revocations::Form,
    key: &SigningKey,
    trusted: &[PublicKey],
    input: &[u8],
) -> String {
    let text = revocations::signed(form, input, slice::from_ref(key));
    let list = match Revocations::open(&text, trusted) {
        Ok(list) => list,
        Err(why) => return format!("{} {}", why.code(), input.len().min(20)),
    };
    let own = list.sign(slice::from_ref(key));
    assert_eq!(own, text, "a second encoding");
    assert!(list.ids.len() + 2 * list.secrets.len() <= revocations::IDS_MAX);
    assert!(list.ids.is_sorted_by(|one, next| one < next));
    assert!(list.secrets.is_sorted_by(|one, next| one < next));
    assert!((1..=list.parts).contains(&list.part));
    for (place, bit) in places(text.as_bytes()) {
        let mut changed = text.clone().into_bytes();
        changed[place] ^= bit;
        let changed = String::from_utf8_lossy(&changed);
        assert!(
            Revocations::open(&changed, trusted).is_err(),
            "a change at {place} was taken"
        );
    }
    format!(
        "{} ids, {} secrets, part {} of {}",
        list.ids.len().min(3),
        list.secrets.len().min(3),
        list.part.min(2),
        list.parts.min(3)
    )
}

#[test]
fn mutated_revocations_have_one_encoding() {
    let [key, ..] = signing_keys();
    Target {
        name: "revocations",
        words: &[
            "LKREV1:",
            "\u{1}\u{1}\u{1}\0",
            "\0",
            "\u{1}",
            "\u{2}",
            "\0\0\0\0\0\0\0\u{5}",
            "A00",
            "00",
            ":",
            "\r\n",
        ],
        mutations: 3_000,
    }
    .run(|input| judge_revocations(&key, input));
}
