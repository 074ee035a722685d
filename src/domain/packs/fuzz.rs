//! Mutated packs, and what else travels between a server and its sites. What is accepted is written back byte by byte as it was:
//! so it has one encoding, and takes no more memory than its bytes allow. Nothing that was changed after it was signed is taken
//! as something else.

use super::body::{Body, sha256, whole};
use super::content::Content;
use super::enrolment::Enrolment;
use super::head::{Head, Introduction, key_name, tests::sample};
use super::keys::{PackedKey, Row};
use super::note::{self, PublicKey, SigningKey};
use super::record::Writer;
use super::report::Report;
use super::revocations::{self, Revocations};
use super::site_key::SiteKey;
use super::table::{Table, TableWriter};
use super::{directory, keys};
use crate::domain::keys::KeyId;
use crate::fuzz::{Draw, Target};
use std::collections::{BTreeSet, HashMap};

/// The bytes that are changed to see whether a change is noticed: a few places, which the input itself decides.
fn places(bytes: &[u8]) -> impl Iterator<Item = (usize, u8)> + use<> {
    let seed = bytes.iter().fold(7_u64, |seed, byte| {
        (seed ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let (mut draw, length) = (Draw(seed), bytes.len());
    (0..4).map(move |_| (draw.below(length), 1 << draw.below(8)))
}

/// A record, decoded and written again.
fn record_again(table: Table, id: &[u8], record: &[u8]) -> Vec<u8> {
    match table {
        Table::Peppers => record.to_vec(),
        Table::Workspaces => {
            directory::write_workspace(&directory::workspace(id, record).unwrap(), false)
        }
        Table::Users => {
            let user = directory::user(id, record).unwrap();
            directory::write_user(&user, &user.roles, false)
        }
        Table::Policies => directory::write_policy(&directory::policy(id, record).unwrap()),
        Table::Catalogs => {
            directory::write_catalog(&directory::catalog(id, record).unwrap(), false)
        }
        Table::Shared => keys::write_shared(&keys::shared(record).unwrap()),
        Table::Keys => {
            let row = keys::row(id, record).unwrap();
            let flags = u8::from(row.enabled) | u8::from(row.has_extras) << 1;
            let (end, shared) = (row.end.to_be_bytes(), row.shared.to_be_bytes());
            [&row.digest[..], &end, &shared, &[flags]].concat()
        }
        Table::Extras => {
            let extras = keys::extras(record).unwrap();
            // Any row that the extras fit, and a pepper that they would have to name.
            let row = Row {
                id: keys::key_id(id).unwrap(),
                digest: [0; 32],
                end: u32::MAX,
                shared: extras.shared.map_or(0, |_| u16::MAX),
                enabled: true,
                has_extras: true,
            };
            let other = extras.pepper.map_or(0, |version| version ^ 1);
            let key = PackedKey::of(row, extras, other).unwrap();
            key.write(other).1.unwrap()
        }
    }
}

/// A body, written again from what was read out of it.
fn body_again(body: &Body) -> Vec<u8> {
    let table = |table: Table| {
        let mut writer = TableWriter::default();
        for (id, record) in body.entries(table) {
            writer.put(table, (id, &record_again(table, id, record)));
        }
        writer
    };
    let Some(base) = body.base() else {
        let tables: Vec<TableWriter> = Table::ALL.into_iter().map(table).collect();
        return whole(body.pepper(), &tables);
    };
    let mut writer = Writer::default();
    writer.u8(1);
    writer.raw(base);
    writer.raw(&body.pepper().to_be_bytes());
    for one in Table::ALL {
        table(one).append_to(&mut writer);
        let mut gone = TableWriter::default();
        body.gone(one).for_each(|id| gone.put_id(one, id));
        gone.append_to(&mut writer);
    }
    writer.0
}

/// The content of a whole body: what it has is found by its ids, and is written as it was.
fn judge_content(content: &Content) -> String {
    let body = content.body();
    let all: Vec<PackedKey<'_>> = content.keys().collect();
    assert_eq!(all.len(), content.key_count(), "a key is passed over");
    let ids: Vec<KeyId> = all.iter().map(|key| key.id).collect();
    let found: Vec<PackedKey<'_>> = content.find(&ids).into_iter().flatten().collect();
    assert_eq!(found, all, "a key is another one by its id");
    let extras: HashMap<&[u8], &[u8]> = body.entries(Table::Extras).collect();
    for (key, (id, row)) in all.iter().zip(body.entries(Table::Keys)) {
        let (row_again, extras_again) = key.write(body.pepper());
        assert_eq!(row, row_again, "a second form of a row");
        let own = extras.get(id).copied();
        assert_eq!(own, extras_again.as_deref(), "a second form of extras");
        assert!(content.shared.contains_key(&key.shared));
    }
    let parents: HashMap<_, _> = (content.workspaces.iter())
        .map(|one| (one.uid, one.parent))
        .collect();
    for one in &content.workspaces {
        let mut path = BTreeSet::new();
        let mut above = Some(one.uid);
        while let Some(uid) = above {
            assert!(path.insert(uid), "a workspace is above itself");
            above = parents[&uid];
        }
    }
    // A key can be written for memory, whatever it has.
    for key in &all {
        let live = key.live(content.shared[&key.shared].clone().into(), 1);
        assert_eq!((live.id, live.enabled), (key.id, key.enabled));
    }
    let fields = extras
        .values()
        .map(|record| u16::from_be_bytes([record[0], record[1]]));
    let fields = fields.fold(0, |all, one| all | one);
    format!("{} keys, extras {fields:b}", all.len().min(2))
}

/// The differences between a body and the one of the test, in both directions.
fn judge_difference(base: &Body, body: &Body) {
    for (from, to) in [(base, body), (body, base)] {
        let delta = Body::read(from.difference(to)).unwrap();
        assert_eq!(body_again(&delta), delta.bytes());
        match from.apply(&delta) {
            Ok(result) => assert_eq!(result.bytes(), to.bytes()),
            Err(_) => assert_ne!(from.pepper(), to.pepper(), "a difference is refused"),
        }
    }
    assert!(body.apply(body).is_err(), "a whole body was applied");
}

/// The content after a difference is that of the whole result, although most of it is not looked at again.
fn judge_after(base: &Body, delta: &Body, result: Option<&Body>) {
    let read = |body: &Body| Body::read(body.bytes().to_vec()).and_then(Content::of);
    let quick = read(base).unwrap().after(delta);
    let slow = result.map(read).and_then(Result::ok);
    let Some(slow) = slow else {
        assert!(quick.is_err(), "what is refused as a whole was taken");
        return;
    };
    let quick = quick.unwrap();
    assert!(quick.keys().eq(slow.keys()), "other keys");
    assert!(quick.counted().eq(slow.counted()), "other counted keys");
    assert_eq!(quick.key_count(), slow.key_count());
    assert_eq!(quick.shared, slow.shared);
    assert_eq!(quick.policies, slow.policies);
    assert_eq!(quick.catalogs, slow.catalogs);
    assert_eq!(quick.workspaces, slow.workspaces);
    assert_eq!(quick.peppers, slow.peppers);
    let name = |content: &Content| -> Vec<String> {
        let users = content.users.iter();
        users.map(|user| user.user_name.clone()).collect()
    };
    assert_eq!(name(&quick), name(&slow));
    let ids: Vec<KeyId> = slow.keys().map(|key| key.id).collect();
    assert_eq!(quick.find(&ids), slow.find(&ids));
}

fn judge_body(base: &Body, input: &[u8]) -> String {
    let mut bytes = input.to_vec();
    // A difference is one from the base of the test.
    if let Some((1, hash)) = bytes.split_first_mut()
        && let Some(hash) = hash.first_chunk_mut::<32>()
    {
        *hash = sha256(base.bytes());
    }
    let body = match Body::read(bytes.clone()) {
        Ok(body) => body,
        Err(why) => return format!("refused: {why}"),
    };
    assert_eq!(body_again(&body), bytes, "a second encoding");
    let counts = |count: fn(&Body, Table) -> usize| {
        Table::ALL.map(|table| char::from(b'0' + count(&body, table).min(2) as u8))
    };
    let put = String::from_iter(counts(Body::count));
    if body.base().is_some() {
        let gone = String::from_iter(counts(Body::gone_count));
        let applied = base.apply(&body);
        judge_after(base, &body, applied.as_ref().ok());
        let Ok(result) = applied else {
            return format!("difference of another: {put} {gone}");
        };
        // The same result has a difference that is not larger.
        let least = base.difference(&result);
        assert!(least.len() <= bytes.len(), "a difference grows");
        let least = Body::read(least).unwrap();
        assert_eq!(base.apply(&least).unwrap().bytes(), result.bytes());
        let is_whole = Content::of(result).is_ok();
        return format!("difference: {put} {gone} {is_whole}");
    }
    judge_difference(base, &body);
    match Content::of(body) {
        Ok(content) => format!("whole: {put}, {}", judge_content(&content)),
        Err(why) => format!("whole: {put}, {}", why.code()),
    }
}

#[test]
fn mutated_bodies_have_one_encoding() {
    let base = Body::read(super::tests::sample_body()).unwrap();
    Target {
        name: "pack-body",
        words: &[
            "\0",
            "\u{1}",
            "\u{2}",
            "\u{1}\0",
            "\0\0\0\u{1}",
            "standard",
            "method",
            "operation",
            "workspace",
            "rooms",
            "owner",
            "10.0.0.0/8",
            "\u{4}root",
            "owner_and_workspace",
            "{\"a\":1}",
            "\0\u{1}\0\u{2}",
            "bearer",
            "latchkey",
        ],
        mutations: 6_000,
    }
    .run(|input| judge_body(&base, input));
}

/// The keys of the test: the first is trusted, the last is a stranger.
fn signing_keys() -> [SigningKey; 4] {
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
    // An input is a text, or the bytes of a list that is signed here.
    if let Some(text) = text_of(input).filter(|text| text.starts_with(revocations::FIRST)) {
        if let Ok(list) = Revocations::open(text, &trusted) {
            assert_eq!(list.sign(key), text.trim_end_matches(['\r', '\n']));
        }
        let digits = &text[revocations::FIRST.len()..];
        let Some(bytes) = revocations::decode(digits) else {
            return "no digits".to_owned();
        };
        assert_eq!(revocations::encode(&bytes), digits, "a second encoding");
        return format!("text of {} bytes", bytes.len().min(3));
    }
    let text = revocations::signed(input, key);
    let list = match Revocations::open(&text, &trusted) {
        Ok(list) => list,
        Err(why) => return format!("{} {}", why.code(), input.len().min(20)),
    };
    assert_eq!(list.sign(key), text, "a second encoding");
    assert!(list.ids.len() <= revocations::IDS_MAX);
    assert!(list.ids.is_sorted_by(|one, next| one < next));
    assert!((1..=list.parts).contains(&list.part));
    for (place, bit) in places(text.as_bytes()) {
        let mut changed = text.clone().into_bytes();
        changed[place] ^= bit;
        let changed = String::from_utf8_lossy(&changed);
        assert!(
            Revocations::open(&changed, &trusted).is_err(),
            "a change at {place} was taken"
        );
    }
    format!(
        "{} ids, part {} of {}",
        list.ids.len().min(3),
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
