//! A linked site and what a server could answer, without a connection: each answer is made here from the question.

use super::lease::tests::{set_steady, steady};
use super::*;
use crate::domain::keys::KeyId;
use crate::domain::packs::report::Report;
use crate::domain::packs::word::{START_BYTES, note_bytes, write_packs};
use crate::ops::site::fixture::{Packer, Plant, signing_key};
use crate::ops::site::reset::accept_fork;
use crate::ops::site::{ended, put_state, show};
use crate::store;

const LEASE_S: u64 = 10;

fn settings() -> Settings {
    Settings {
        server: "https://server.example".to_owned(),
        max_stale_s: LEASE_S,
        clock: steady,
    }
}

/// A site that follows its server, and that server.
struct Linked {
    plant: Plant,
    packer: Packer,
    newest: Vec<u8>,
}

impl Linked {
    fn new(packer: Packer) -> Linked {
        set_steady(1_000);
        let plant = Plant::new(&packer);
        begin(&plant.app, settings()).unwrap();
        Linked {
            plant,
            packer,
            newest: Vec::new(),
        }
    }

    /// A site that has a pack with two keys, and an empty step since: it gives verdicts.
    fn with_two_keys() -> (Linked, String, String) {
        let mut packer = Packer::new();
        let secrets = (packer.issue(1), packer.issue(2));
        let mut linked = Linked::new(packer);
        linked.make(true);
        linked.bring();
        linked.step(&[]);
        (linked, secrets.0, secrets.1)
    }

    fn ask(&self) -> Asked {
        ask(&self.plant.app).unwrap()
    }

    fn make(&mut self, whole: bool) {
        self.newest = self.packer.make(whole);
    }

    /// The newest event of the server.
    fn events(&self) -> Events {
        Events {
            number: self.packer.head.events,
            hash: self.packer.head.events_hash,
        }
    }

    fn word(&self, asked: &Asked, kind: WordKind, body: &[u8]) -> Word {
        let question = question(asked);
        Word {
            origin: question.origin,
            site: question.site,
            server: question.server,
            reign: self.packer.head.reign,
            nonce: question.nonce,
            kind,
            from: question.events,
            to: self.events(),
            made: self.packer.head.made,
            lease_s: match kind {
                WordKind::Step => LEASE_S,
                WordKind::Fork | WordKind::Pack | WordKind::Removed => 0,
            },
            report: 0,
            bytes: body.len() as u64,
            sha256: crate::domain::packs::body::sha256(body),
            signers: Vec::new(),
        }
    }

    fn deliver(&self, asked: Asked, word: &Word, body: &[u8]) -> Result<Next> {
        let (note, body) = divided(&word.write(&signing_key(), body));
        let signed = open(&self.plant.app, &asked, &note)?;
        take(&self.plant.app, asked, &signed, &body)
    }

    fn answer(&self, asked: Asked, kind: WordKind, body: &[u8]) -> Result<Next> {
        let word = self.word(&asked, kind, body);
        self.deliver(asked, &word, body)
    }

    /// The site asks, and gets the newest pack.
    #[track_caller]
    fn bring(&self) {
        let body = write_packs(std::slice::from_ref(&self.newest));
        self.answer(self.ask(), WordKind::Pack, &body).unwrap();
    }

    /// The site asks, and gets a step that touches these keys.
    #[track_caller]
    fn step(&self, ids: &[u64]) -> Next {
        let body = self.packer.step(ids, 1);
        self.answer(self.ask(), WordKind::Step, &body).unwrap()
    }

    /// The server has changed these keys, and the site asks.
    #[track_caller]
    fn change(&mut self, ids: &[u64]) {
        self.packer.head.events += 1;
        self.packer.head.events_hash[0] += 1;
        self.step(ids);
    }

    fn restart(&mut self) {
        self.plant.restart();
        begin(&self.plant.app, settings()).unwrap();
    }

    #[track_caller]
    fn check(&self, secret: &str, expected: &str) {
        assert_eq!(self.plant.verdict(secret), expected);
    }

    fn fork(&self) -> Fork {
        show(&self.plant.app, &self.plant.local()).unwrap().fork
    }

    #[track_caller]
    fn refused(&self, asked: Asked, kind: WordKind, body: &[u8]) -> &'static str {
        code(self.answer(asked, kind, body))
    }
}

/// The note and the body of an answer.
fn divided(answer: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let (start, rest) = answer.split_first_chunk::<START_BYTES>().unwrap();
    let (note, body) = rest.split_at(note_bytes(start).unwrap());
    (note.to_vec(), body.to_vec())
}

/// The code of the refusal.
#[track_caller]
fn code(outcome: Result<Next>) -> &'static str {
    match outcome {
        Err(Error::Conflict(why)) => why.code(),
        other => panic!("{other:?}"),
    }
}

fn question(asked: &Asked) -> Question {
    let opened = Question::open(&asked.body, &SiteKey::of([3; 32]));
    opened.unwrap().0
}

#[test]
fn a_linked_site_follows_its_server_and_gives_verdicts_under_a_lease_only() {
    let mut packer = Packer::new();
    let (one, two) = (packer.issue(1), packer.issue(2));
    let mut linked = Linked::new(packer);
    linked.make(true);
    linked.check(&one, "site.no_word");
    let first = question(&linked.ask());
    assert_eq!((first.reign, first.pack, first.events.number), (0, 0, 0));
    linked.bring();
    linked.check(&one, "site.no_word");
    let second = question(&linked.ask());
    assert_eq!(
        (second.pack, second.base, second.events),
        (1, 1, linked.events())
    );
    assert_ne!(first.nonce, second.nonce);
    linked.step(&[]);
    linked.check(&one, "VALID");

    linked.packer.keys.get_mut(&1).unwrap().enabled = false;
    linked.packer.keys.remove(&2);
    let three = linked.packer.issue(3);
    linked.change(&[1, 2, 3]);
    linked.check(&one, "DISABLED");
    linked.check(&two, "NOT_FOUND");
    linked.check(&three, "VALID");
    let view = show(&linked.plant.app, &linked.plant.local()).unwrap();
    assert_eq!(view.keys, 2);
    assert!(view.link.unwrap().is_up);
    assert_eq!(question(&linked.ask()).events, linked.events());

    set_steady(1_000 + 10_000);
    linked.check(&three, "site.no_word_since");
    linked.step(&[]);
    linked.check(&three, "VALID");
}

#[test]
fn only_the_word_to_the_question_renews_the_lease_from_when_it_was_asked() {
    let (linked, one, _) = Linked::with_two_keys();
    let (old, new) = (linked.ask(), linked.ask());
    let to_old = linked.word(&old, WordKind::Step, &[]);
    assert_eq!(
        code(linked.deliver(new, &to_old, &[])),
        "site.other_question"
    );
    set_steady(10_999);
    linked.check(&one, "VALID");
    set_steady(11_000);
    linked.check(&one, "site.no_word_since");
    // The answer was held up for longer than the lease.
    linked.deliver(old, &to_old, &[]).unwrap();
    linked.check(&one, "site.no_word_since");
    // A word of which the body is another one, and a word of another state.
    let asked = linked.ask();
    let word = linked.word(&asked, WordKind::Step, &[]);
    let (note, _) = divided(&word.write(&signing_key(), &[]));
    let signed = open(&linked.plant.app, &asked, &note).unwrap();
    let other_body = take(&linked.plant.app, asked, &signed, b"x");
    assert_eq!(code(other_body), "packs.no_word");
    let asked = linked.ask();
    let mut word = linked.word(&asked, WordKind::Step, &[]);
    word.from.number -= 1;
    assert_eq!(
        code(linked.deliver(asked, &word, &[])),
        "site.other_question"
    );
    linked.check(&one, "site.no_word_since");
    linked.step(&[]);
    linked.check(&one, "VALID");
}

#[test]
fn after_a_restart_nothing_is_in_force_before_steps_have_brought_it_again() {
    let (mut linked, one, two) = Linked::with_two_keys();
    linked.packer.keys.remove(&1);
    linked.change(&[1]);
    linked.check(&one, "NOT_FOUND");
    // Without the link, the pack is older than what the site knows.
    linked.plant.restart();
    linked.check(&two, "site.stale_none");
    linked.plant.restart();
    begin(&linked.plant.app, settings()).unwrap();
    linked.check(&two, "site.no_word");
    // First the site asks whether the server still knows the state that was stored.
    let asked = linked.ask();
    assert_eq!(question(&asked).events, linked.events());
    linked.answer(asked, WordKind::Step, &[]).unwrap();
    linked.check(&two, "site.no_word");
    let asked = linked.ask();
    assert_eq!(question(&asked).events.number, linked.events().number - 1);
    let body = linked.packer.step(&[1], 1);
    linked.answer(asked, WordKind::Step, &body).unwrap();
    linked.check(&one, "NOT_FOUND");
    linked.check(&two, "VALID");
}

#[test]
fn a_server_that_has_lost_what_the_site_knows_is_a_fork() {
    let (mut linked, one, _) = Linked::with_two_keys();
    let before = linked.events();
    linked.packer.keys.remove(&1);
    linked.change(&[1]);
    linked.restart();
    let asked = linked.ask();
    assert_eq!(linked.refused(asked, WordKind::Fork, &[]), "site.fork");
    assert_eq!(linked.fork(), Fork::Seen);
    linked.check(&one, "site.no_word");
    // The server is the right one after all.
    linked.answer(linked.ask(), WordKind::Step, &[]).unwrap();
    linked
        .answer(linked.ask(), WordKind::Step, &linked.packer.step(&[1], 1))
        .unwrap();
    assert_eq!(linked.fork(), Fork::None);
    linked.check(&one, "NOT_FOUND");
    // A step that does not lead as far as the site has been.
    linked.restart();
    linked.answer(linked.ask(), WordKind::Step, &[]).unwrap();
    let asked = linked.ask();
    let mut word = linked.word(&asked, WordKind::Step, &[]);
    word.to = before;
    assert_eq!(code(linked.deliver(asked, &word, &[])), "site.fork");
    linked.check(&one, "site.no_word");
    // An operator has decided: the site begins with a pack.
    accept_fork(&linked.plant.app, &linked.plant.local()).unwrap();
    assert_eq!(question(&linked.ask()).reign, 0);
    linked.packer.head.reign = 2;
    linked.make(true);
    linked.bring();
    linked.step(&[]);
    assert_eq!(linked.fork(), Fork::None);
    linked.check(&one, "NOT_FOUND");
}

#[test]
fn a_pack_as_a_file_must_be_newer_than_what_the_link_has_brought() {
    let (mut linked, one, two) = Linked::with_two_keys();
    linked.make(false);
    let old_pack = linked.newest.clone();
    linked.packer.keys.remove(&1);
    let three = linked.packer.issue(3);
    linked.packer.head.events += 1;
    linked.packer.head.events_hash[0] += 1;
    linked.step(&[1, 3]);
    assert_eq!(linked.plant.refused(&old_pack), "site.before_link");
    linked.make(false);
    linked.plant.apply(&linked.newest).unwrap();
    linked.check(&one, "NOT_FOUND");
    linked.check(&three, "VALID");
    // What only steps have changed comes back if a newer pack has it so.
    linked.packer.keys.remove(&3);
    linked.change(&[3]);
    linked.packer.head.events += 1;
    let again = linked.packer.issue(3);
    linked.make(false);
    linked.plant.apply(&linked.newest).unwrap();
    linked.check(&again, "VALID");
    linked.plant.restart();
    linked.check(&two, "VALID");
    linked.check(&one, "NOT_FOUND");
}

#[test]
fn a_step_that_does_not_fit_is_followed_by_a_pack() {
    let (mut linked, one, two) = Linked::with_two_keys();
    linked.packer.keys.remove(&2);
    linked.change(&[2]);
    linked.packer.head.events += 1;
    let body = linked.packer.step(&[1], 2);
    let asked = linked.ask();
    assert_eq!(linked.refused(asked, WordKind::Step, &body), "packs.body");
    linked.check(&one, "VALID");
    assert_eq!(question(&linked.ask()).pack, 0);
    // The pack is the one of before the step, so no verdict is given until steps follow it.
    linked.bring();
    linked.check(&two, "site.no_word");
    linked.step(&[1, 2]);
    linked.check(&one, "VALID");
    linked.check(&two, "NOT_FOUND");
}

#[test]
fn what_has_ended_here_is_above_every_step() {
    let (mut linked, one, two) = Linked::with_two_keys();
    let new = linked.packer.rotate(2);
    linked.change(&[2]);
    linked.check(&two, "VALID");
    linked.check(&new, "VALID");
    linked.check(&two, "NOT_FOUND");
    ended::disable(&linked.plant.app, &linked.plant.local(), KeyId(1)).unwrap();
    linked.change(&[1, 2]);
    linked.check(&one, "DISABLED");
    linked.check(&two, "NOT_FOUND");
    linked.check(&new, "VALID");
}

#[test]
fn lent_uses_come_with_steps_and_what_was_spent_stays_spent() {
    let (mut linked, one, _) = Linked::with_two_keys();
    linked.packer.keys.get_mut(&1).unwrap().lent = Some(2);
    linked.change(&[1]);
    linked.check(&one, "VALID");
    linked.check(&one, "VALID");
    linked.check(&one, "USAGE_EXCEEDED");
    linked.packer.keys.get_mut(&1).unwrap().lent = Some(3);
    // What was lent has no event.
    linked.step(&[1]);
    linked.check(&one, "VALID");
    linked.check(&one, "USAGE_EXCEEDED");
}

#[test]
fn after_an_older_copy_of_the_database_all_that_was_lent_counts_as_spent() {
    let (mut linked, one, two) = Linked::with_two_keys();
    linked.packer.keys.get_mut(&1).unwrap().lent = Some(3);
    let new = linked.packer.rotate(2);
    linked.change(&[1, 2]);
    linked.check(&one, "VALID");
    linked.check(&new, "VALID");
    linked.check(&two, "NOT_FOUND");
    // The older copy has nothing of this, and the start has noticed that it is one.
    let app = &linked.plant.app;
    let mut state = app.site().unwrap().state();
    state.distrusts = true;
    let sealing = app.sealing.clone();
    let forget = move |tx: &store::Write<'_>| {
        store::site::set_spent(tx, KeyId(1), 0)?;
        tx.execute("DELETE FROM site_ended_digests", &[])?;
        put_state(tx, &sealing, &state)
    };
    app.store.write(store::Durability::Full, forget).unwrap();
    linked.restart();
    linked.step(&[]);
    linked.check(&one, "site.no_word");
    linked.step(&[1, 2]);
    linked.check(&one, "USAGE_EXCEEDED");
    linked.check(&two, "NOT_FOUND");
    linked.check(&new, "VALID");
    // What is lent from then on can be used.
    linked.packer.keys.get_mut(&1).unwrap().lent = Some(4);
    linked.step(&[1]);
    linked.check(&one, "VALID");
    linked.check(&one, "USAGE_EXCEEDED");
}

#[test]
fn counts_are_reported_in_parts_until_the_server_has_them() {
    let (linked, one, two) = Linked::with_two_keys();
    linked.check(&one, "VALID");
    let report = |asked: &Asked| {
        let key = SiteKey::of([3; 32]);
        let (_, text) = Question::open(&asked.body, &key).unwrap();
        (!text.is_empty()).then(|| Report::open(text, &key).unwrap())
    };
    assert!(report(&linked.ask()).is_none(), "it is not time yet");
    set_steady(1_000 + 10_000);
    let asked = linked.ask();
    let first = report(&asked).unwrap();
    let uses = |report: &Report| -> Vec<(u64, u64)> {
        report.keys.iter().map(|key| (key.id.0, key.uses)).collect()
    };
    assert_eq!(uses(&first), [(1, 1)]);
    // It is lost, so it comes again with what has happened since.
    failed(&linked.plant.app, Some(asked), "lost");
    linked.step(&[]);
    linked.check(&two, "VALID");
    set_steady(1_000 + 20_000);
    linked.step(&[]);
    set_steady(1_000 + 30_000);
    let asked = linked.ask();
    let again = report(&asked).unwrap();
    assert_eq!(uses(&again), [(1, 1), (2, 1)]);
    assert!(again.number > first.number);
    let mut word = linked.word(&asked, WordKind::Step, &[]);
    word.report = again.number;
    linked.deliver(asked, &word, &[]).unwrap();
    set_steady(1_000 + 40_000);
    assert!(report(&linked.ask()).is_none(), "the server has everything");
    // What was ended here does not wait.
    ended::disable(&linked.plant.app, &linked.plant.local(), KeyId(2)).unwrap();
    let asked = linked.ask();
    let urgent = report(&asked).unwrap();
    assert!(urgent.keys[0].ended_at.is_some());
    assert_eq!(uses(&urgent), [(2, 1)]);
    // Nor does it wait if the server has not taken it in, or if it is lost.
    linked.answer(asked, WordKind::Step, &[]).unwrap();
    let asked = linked.ask();
    assert_eq!(report(&asked).unwrap().keys, urgent.keys);
    failed(&linked.plant.app, Some(asked), "lost");
    let asked = linked.ask();
    let last = report(&asked).unwrap();
    assert_eq!(last.keys, urgent.keys);
    let mut word = linked.word(&asked, WordKind::Step, &[]);
    word.report = last.number;
    linked.deliver(asked, &word, &[]).unwrap();
    assert!(
        report(&linked.ask()).is_none(),
        "nothing is urgent any more"
    );
}

#[test]
fn a_report_that_the_server_leaves_out_is_repeated_less_and_less_often() {
    let (linked, one, _) = Linked::with_two_keys();
    linked.check(&one, "VALID");
    ended::disable(&linked.plant.app, &linked.plant.local(), KeyId(2)).unwrap();
    let has_report = |asked: &Asked| {
        let (_, text) = Question::open(&asked.body, &SiteKey::of([3; 32])).unwrap();
        !text.is_empty()
    };
    let mut sent_at = Vec::new();
    for second in 0..60 {
        set_steady(1_000 + second * 1_000);
        let asked = linked.ask();
        if has_report(&asked) {
            sent_at.push(second);
        }
        linked.answer(asked, WordKind::Step, &[]).unwrap();
    }
    assert_eq!(sent_at, [0, 1, 3, 7, 15, 31]);
    // As soon as one is taken in, the next one is sent at once.
    set_steady(1_000 + 63_000);
    let asked = linked.ask();
    assert!(has_report(&asked));
    let mut word = linked.word(&asked, WordKind::Step, &[]);
    word.report = 1_000;
    linked.deliver(asked, &word, &[]).unwrap();
    ended::disable(&linked.plant.app, &linked.plant.local(), KeyId(1)).unwrap();
    assert!(has_report(&linked.ask()));
}

/// Keys come, change, go and come back, with steps and with packs, and the site is stopped now and then.
#[test]
fn a_linked_site_and_its_server_agree_after_every_word_of_a_random_history() {
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut below = |end: u64| {
        random ^= random >> 12;
        random ^= random << 25;
        random ^= random >> 27;
        random.wrapping_mul(0x9e37_79b9_7f4a_7c15) % end
    };
    for _ in 0..20 {
        let mut linked = Linked::new(Packer::new());
        linked.make(true);
        linked.bring();
        let mut secrets: Vec<(u64, String)> = Vec::new();
        // What has changed since the newest pack, with the number of the event.
        let mut touched: Vec<(u64, u64)> = Vec::new();
        for word in 0..30 {
            for _ in 0..below(4) {
                let id = below(10);
                linked.packer.head.events += 1;
                linked.packer.head.events_hash[1] ^= 1;
                touched.push((linked.packer.head.events, id));
                match (linked.packer.keys.contains_key(&id), below(3)) {
                    (false, _) => secrets.push((id, linked.packer.issue(id))),
                    (true, 0) => drop(linked.packer.keys.remove(&id)),
                    (true, 1) => {
                        let key = linked.packer.keys.get_mut(&id).unwrap();
                        key.enabled = !key.enabled;
                    }
                    (true, _) => secrets.push((id, linked.packer.rotate(id))),
                }
            }
            if below(8) == 0 {
                linked.restart();
            }
            if below(6) == 0 {
                let whole = below(2) == 0;
                linked.make(whole);
                match below(2) {
                    0 => linked.bring(),
                    _ => drop(linked.plant.apply(&linked.newest).unwrap()),
                }
            }
            // One question, or two if the history of the server is asked for first.
            for _ in 0..2 {
                let asked = linked.ask();
                let from = question(&asked).events.number;
                let since = touched.iter().filter(|(event, _)| *event > from);
                let ids: Vec<u64> = since.map(|(_, id)| *id).collect();
                let body = linked.packer.step(&ids, 1);
                linked.answer(asked, WordKind::Step, &body).unwrap();
            }
            for (id, secret) in &secrets {
                let key = linked.packer.keys.get(id);
                let is_newest = key.is_some_and(|key| key.secret.expose() == *secret);
                let is_older = key.is_some_and(|key| {
                    let older = key.older.as_ref();
                    older.is_some_and(|(older, _)| older.expose() == *secret)
                });
                // A question that is no use, as it would end the older secret.
                let question = crate::domain::keys::verdict::Question::default();
                let told = |verdict: &crate::ops::verify::Verdict<'_>| verdict.code.as_str();
                let found = crate::ops::verify::verify_blocking(
                    &linked.plant.app,
                    secret,
                    &question,
                    None,
                    told,
                );
                let expected = match key {
                    Some(key) if (is_newest || is_older) && !key.enabled => "DISABLED",
                    Some(_) if is_newest || is_older => "VALID",
                    _ => "NOT_FOUND",
                };
                assert_eq!(found.unwrap(), expected, "word {word} key {id}");
            }
        }
    }
}
