//! Mutated questions of sites, words of servers, and steps. Anybody who reaches a server can send it a question, and a relay a word to a
//! site.

use super::{places, signing_keys, text_of};
use crate::domain::packs::note;
use crate::domain::packs::question::Question;
use crate::domain::packs::site_key::SiteKey;
use crate::domain::packs::step::{self, Step};
use crate::domain::packs::word::Word;
use crate::fuzz::Target;

fn judge_question(input: &[u8]) -> String {
    let Some(input) = text_of(input) else {
        return "no text".to_owned();
    };
    let (key, other) = (SiteKey::of([1; 32]), SiteKey::of([2; 32]));
    assert!(Question::open(input, &key).is_err(), "nobody has made it");
    let (lines, report) = input.split_once("\n\n").unwrap_or((input, ""));
    let text = format!("{}\n", lines.trim_end_matches('\n'));
    let body = format!(
        "{text}\nhmac {}\n{report}",
        key.authenticate_question(&text)
    );
    assert!(
        Question::open(&body, &other).is_err(),
        "the key of another site"
    );
    let (question, rest) = match Question::open(&body, &key) {
        Ok(opened) => opened,
        Err(why) => return format!("{} {}", why.code(), lines.lines().count().min(9)),
    };
    assert_eq!(rest, report);
    assert_eq!(question.write(&key, rest), body, "a second encoding");
    assert_eq!(Question::site_of(&body), Some(&*question.site));
    let authenticated = body.len() - report.len();
    for (place, bit) in places(&body.as_bytes()[..authenticated]) {
        let mut changed = body.clone().into_bytes();
        changed[place] ^= bit;
        let changed = String::from_utf8_lossy(&changed);
        assert!(
            Question::open(&changed, &key).is_err(),
            "a change at {place} was taken"
        );
    }
    let (is_first, gives_up) = (question.has_applied_none(), question.gives_up());
    format!(
        "first {is_first}, gives up {gives_up}, report {}",
        report.len().min(3)
    )
}

#[test]
fn mutated_questions_have_one_encoding_and_no_change_of_them_is_taken() {
    Target {
        name: "question",
        words: &[
            "site ",
            "server ",
            "life ",
            "nonce ",
            " applied ",
            " arrived ",
            "process ",
            " question ",
            "reign ",
            " pack ",
            " base ",
            " events ",
            "lease ",
            "report ",
            "\n",
            "\n\n",
            "\r\n",
            "0",
            "00",
            "18446744073709551615",
            "18446744073709551616",
            "A",
            "=",
        ],
        mutations: 3_000,
    }
    .run(judge_question);
}

fn judge_word(input: &[u8]) -> String {
    let Some(text) = text_of(input) else {
        return "no text".to_owned();
    };
    let keys = signing_keys();
    let signed = |key: usize| note::write(text, &[keys[key].sign(text.as_bytes())]);
    let trusted = [keys[0].public().clone()];
    let opened = Word::open_note(signed(0).as_bytes(), &trusted);
    assert!(
        Word::open_note(signed(3).as_bytes(), &trusted).is_err(),
        "the key of a stranger"
    );
    let word = match opened {
        Ok(opened) => opened.word,
        Err(why) => return format!("{} {}", why.code(), text.lines().count().min(14)),
    };
    let note = signed(0);
    for (place, bit) in places(note.as_bytes()) {
        let mut changed = note.clone().into_bytes();
        changed[place] ^= bit;
        let taken = Word::open_note(&changed, &trusted).is_ok();
        assert!(!taken, "a change at {place} was taken");
    }
    // Only a step lets the site answer.
    let kind = format!("{:?}", word.kind);
    assert!(word.lease_s == 0 || kind == "Step");
    format!(
        "{kind}, lease {}, {} signers",
        word.lease_s.min(1),
        word.signers.len()
    )
}

#[test]
fn mutated_words_are_taken_from_a_trusted_key_only() {
    Target {
        name: "word",
        words: &[
            "site ",
            "server ",
            " reign ",
            "nonce ",
            "kind ",
            "kind fork\n",
            "kind pack\n",
            "kind removed\n",
            "from ",
            "to ",
            "made ",
            "lease ",
            "lease 0\n",
            "report ",
            "bytes ",
            " sha256 ",
            "signer ",
            "\n",
            "\n\n",
            "\r\n",
            "0",
            "18446744073709551616",
            "2026-02-29T00:00:00Z",
            "A",
            "=",
        ],
        mutations: 3_000,
    }
    .run(judge_word);
}

fn judge_step(input: &[u8]) -> String {
    let read = match Step::read(input) {
        Ok(read) => read,
        Err(why) => {
            return format!(
                "{} {}",
                why.code(),
                why.argument("place").unwrap_or_default()
            );
        }
    };
    let gone = &read.gone;
    let lists = [
        gone.keys.len(),
        gone.users.len(),
        gone.policies.len(),
        gone.catalogs.len(),
    ];
    // Of a body that the site takes, the same records are written elsewhere (the target `pack-body`).
    let start = step::write(gone, None);
    assert!(input.starts_with(&start), "a second encoding");
    let has_content = read.content.is_some();
    assert!(
        has_content || input.len() == start.len(),
        "bytes were passed over"
    );
    let lists = lists.map(|length| length.min(2));
    format!("gone {lists:?}, content {has_content}")
}

#[test]
fn mutated_steps_have_one_encoding() {
    Target {
        name: "step",
        words: &[
            "\0",
            "\u{1}",
            "\u{2}",
            "\u{7f}",
            "a",
            "b",
            "\0\0\0\0\0\0\0\u{1}",
        ],
        mutations: 3_000,
    }
    .run(judge_step);
}
