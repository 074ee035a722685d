//! Packs that were cut, spliced, doubled, reordered or changed in any byte, tried on a site without a database: only what a
//! server has signed is taken, whole, and never twice.

use super::apply::trial::Trial;
use super::fixture::{NOW, Packer};
use crate::domain::packs::body::{Body, sha256};
use crate::domain::packs::file;
use crate::domain::packs::head::Head;
use crate::domain::packs::note::SigningKey;
use crate::domain::packs::state::{Fork, State};
use crate::domain::time::Timestamp;
use crate::domain::uid::Uid;
use crate::fuzz::Target;
use std::collections::BTreeSet;

/// What a server has made for a site, in its order, and the bodies that the site has after each.
struct Packs {
    /// 1, 2 of 1, 3 of 1, 4, 5 of 4.
    own: Vec<Vec<u8>>,
    bodies: Vec<Vec<u8>>,
    /// A whole pack for another site, one of another server, and one that a stranger has signed.
    strange: Vec<Vec<u8>>,
    state: State,
}

fn packs() -> Packs {
    let mut packer = Packer::new();
    let (mut own, mut bodies) = (Vec::new(), Vec::new());
    for number in 0..5 {
        packer.issue(number + 1);
        match number {
            1 => drop(packer.rotate(1)),
            2 => drop(packer.keys.remove(&2)),
            4 => packer.keys.get_mut(&3).unwrap().enabled = false,
            _ => {}
        }
        let is_whole = number % 3 == 0;
        own.push(packer.make(is_whole));
        let base = packer.base.as_ref().filter(|_| !is_whole);
        let base = base.map(|(_, bytes)| Body::read(bytes.clone()).unwrap());
        bodies.push(packer.body(base.as_ref()));
    }
    let mut stranger = Packer::new();
    stranger.issue(9);
    stranger.head.pack = 50;
    let mut strange = Vec::new();
    stranger.head.site = "plant-8".to_owned();
    strange.push(stranger.make(true));
    stranger.head.site = "plant-7".to_owned();
    stranger.head.server = Uid(8);
    strange.push(stranger.make(true));
    stranger.head.server = Uid(7);
    let content = stranger.body(None);
    let head = Head {
        keys: 1,
        bytes: content.len() as u64,
        sha256: sha256(&content),
        ..stranger.head
    };
    let other = SigningKey::of_seed("server.example/packs", &[8; 32]).unwrap();
    strange.push(file::write(&head.sign(&[other]), &content));
    let enrolment = packer.enrolment();
    let state = State {
        site: enrolment.site,
        origin: enrolment.origin,
        server: enrolment.server,
        life: Uid(1),
        trusted: enrolment.keys,
        key: *enrolment.site_key.expose(),
        reign: 1,
        pack: 0,
        events: 0,
        events_hash: [0; 32],
        made: Timestamp(NOW.0 - 3_600_000),
        base: None,
        delta: None,
        fork: Fork::None,
        reports: 0,
        pack_events: 0,
        distrusts: false,
        pack_hash: [0; 32],
        has_past: false,
        lent: None,
        enrolment: None,
        is_date_open: false,
        peppers: Vec::new(),
    };
    Packs {
        own,
        bodies,
        strange,
        state,
    }
}

impl Packs {
    /// A site that has applied these packs, one after the other.
    fn site(&self, applied: &[usize]) -> Trial {
        let mut trial = Trial {
            state: self.state.clone(),
            held: None,
        };
        for place in applied {
            trial.take(&self.own[*place]).unwrap();
        }
        trial
    }

    /// Everything that a site takes that has applied these: a pack, or two that follow one another in either order; with what
    /// it has then.
    fn permitted(&self, applied: &[usize]) -> Vec<(Vec<u8>, usize)> {
        let newest = applied.iter().max().map_or(0, |place| place + 1);
        let base = |place: usize| place / 3 * 3;
        let held = applied.last().map(|place| base(*place));
        let mut all = Vec::new();
        for place in newest..self.own.len() {
            let (own, whole) = (&self.own[place], &self.own[base(place)]);
            if place == base(place) || held == Some(base(place)) {
                all.push((own.clone(), place));
            }
            if place != base(place) {
                all.push(([&own[..], whole].concat(), place));
                all.push(([&whole[..], own].concat(), place));
            }
        }
        all
    }

    /// Tries bytes on a site: they are taken if they are permitted, and change nothing otherwise. Returns the code of the
    /// refusal.
    #[track_caller]
    fn check(
        &self,
        site: &mut Trial,
        permitted: &[(Vec<u8>, usize)],
        bytes: &[u8],
        why: &str,
    ) -> String {
        let (state, before) = (
            site.state.clone(),
            site.held.as_ref().map(|held| held.head().pack),
        );
        let known = permitted.iter().find(|(known, _)| known == bytes);
        match (site.take(bytes), known) {
            (Ok(()), Some((_, place))) => {
                assert_eq!(site.body().as_ref(), Some(&self.bodies[*place]), "{why}");
                assert_eq!(site.state.pack, *place as u64 + 1);
                "taken".to_owned()
            }
            (Err(refusal), None) => {
                assert_eq!(site.state, state, "{why}");
                assert_eq!(
                    site.held.as_ref().map(|held| held.head().pack),
                    before,
                    "{why}"
                );
                refusal.code().to_owned()
            }
            (Ok(()), None) => panic!("taken: {why}"),
            (Err(refusal), Some(_)) => panic!("{refusal}: {why}"),
        }
    }
}

/// What a site has that is tried: nothing; a whole pack; a whole pack and the second that follows it.
const STATES: [&[usize]; 3] = [&[], &[0], &[0, 2]];

#[test]
fn every_cut_flip_doubled_and_missing_byte_of_a_pack_is_refused() {
    let packs = packs();
    for applied in STATES {
        let permitted = packs.permitted(applied);
        assert!(permitted.len() >= 3);
        let mut site = packs.site(applied);
        for (whole, place) in &permitted {
            let check = |site: &mut Trial, bytes: &[u8], what: &str, at: usize| {
                let why = format!("{what} {at} of {place}");
                if packs.check(site, &permitted, bytes, &why) == "taken" {
                    // What is left of two packs can be one of them.
                    *site = packs.site(applied);
                }
            };
            for at in 0..whole.len() {
                check(&mut site, &whole[..at], "cut", at);
                let mut changed = whole.clone();
                changed[at] ^= 1 << (at % 8);
                check(&mut site, &changed, "flip", at);
                check(
                    &mut site,
                    &[&whole[..at], &whole[at + 1..]].concat(),
                    "without",
                    at,
                );
                check(
                    &mut site,
                    &[&whole[..=at], &whole[at..]].concat(),
                    "twice",
                    at,
                );
            }
            check(&mut site, &[&whole[..], b"\n"].concat(), "more", 0);
        }
        // Every bit, of the smallest one.
        let (mut bytes, _) = permitted
            .into_iter()
            .min_by_key(|(bytes, _)| bytes.len())
            .unwrap();
        for at in 0..bytes.len() {
            for bit in 0..8 {
                bytes[at] ^= 1 << bit;
                assert!(site.take(&bytes).is_err(), "bit {bit} of {at}");
                bytes[at] ^= 1 << bit;
            }
        }
    }
}

#[test]
fn parts_of_different_packs_are_no_pack_wherever_they_are_joined() {
    let packs = packs();
    let all: Vec<&Vec<u8>> = packs.own.iter().chain(&packs.strange).collect();
    let mut site = packs.site(&[0, 1]);
    let permitted = packs.permitted(&[0, 1]);
    for first in &all {
        for second in &all {
            // Joined at the same place from the start, and at the same place from the end.
            for at in 1..first.len().min(second.len()) {
                let joined = [&first[..at], &second[at..]].concat();
                let from_end = [&first[..first.len() - at], &second[second.len() - at..]].concat();
                for bytes in [joined, from_end] {
                    if permitted.iter().all(|(known, _)| *known != bytes) {
                        packs.check(&mut site, &permitted, &bytes, "joined");
                    }
                }
            }
        }
    }
}

/// Whatever comes, in whatever order and however often: a site goes forward only, and has what the newest pack has that it took.
#[test]
fn in_every_order_a_site_goes_forward_only() {
    let packs = packs();
    let mut ends = BTreeSet::new();
    // Each of the 5 packs, or one with its base, at each of 4 places.
    for order in 0..5_usize.pow(4) {
        let mut site = packs.site(&[]);
        let mut applied: Vec<usize> = Vec::new();
        for step in 0..4 {
            let place = order / 5_usize.pow(step) % 5;
            let base = place / 3 * 3;
            let bytes = match (place == base, step % 2) {
                (false, 1) => [&packs.own[base][..], &packs.own[place]].concat(),
                _ => packs.own[place].clone(),
            };
            let permitted = packs.permitted(&applied);
            if packs.check(&mut site, &permitted, &bytes, &format!("{order}")) == "taken" {
                applied.push(place);
            }
        }
        assert!(applied.is_sorted_by(|one, next| one < next), "{applied:?}");
        ends.insert(applied);
    }
    assert!(ends.len() > 10, "{ends:?}");
    for strange in &packs.strange {
        assert!(packs.site(&[]).take(strange).is_err());
    }
}

/// The bytes of an input: pieces of packs, five bytes for each, which are a pack, where to begin in it and where to end; or,
/// with the high bit set, where a bit is changed in what there is so far.
fn joined(all: &[&Vec<u8>], input: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for piece in input.as_chunks::<5>().0 {
        let [what, a, b, c, d] = *piece;
        let (from, to) = (
            usize::from(u16::from_be_bytes([a, b])),
            u16::from_be_bytes([c, d]),
        );
        if what & 0x80 != 0 {
            let length = bytes.len();
            if let Some(byte) = bytes.get_mut(from % length.max(1)) {
                *byte ^= 1_u8 << (to % 8);
            }
            continue;
        }
        let pack = all[usize::from(what) % all.len()];
        let to = usize::from(to).min(pack.len());
        bytes.extend_from_slice(&pack[from.min(to)..to]);
    }
    bytes
}

#[test]
fn fuzzed_files_are_packs_as_they_were_made_or_nothing() {
    let packs = packs();
    let all: Vec<&Vec<u8>> = packs.own.iter().chain(&packs.strange).collect();
    let permitted = STATES.map(|applied| packs.permitted(applied));
    Target {
        name: "pack-files",
        words: &[
            "\0\0\0\u{7f}\u{7f}",
            "\u{1}\0\0\u{7f}\u{7f}",
            "\u{2}\0\0\u{7f}\u{7f}",
            "\u{3}\0\0\u{7f}\u{7f}",
            "\u{4}\0\0\u{7f}\u{7f}",
            "\0",
            "\u{7f}",
        ],
        mutations: 2_000,
    }
    .run(|input| {
        let bytes = joined(&all, input);
        let shapes = STATES.iter().zip(&permitted).map(|(applied, permitted)| {
            packs.check(&mut packs.site(applied), permitted, &bytes, "fuzzed")
        });
        shapes.collect::<Vec<_>>().join(" ")
    });
}
