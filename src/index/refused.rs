//! The latest refusals of each key, in memory only: enough to see why a client does not get in.
//!
//! Only requests with a matching secret come here, and what they name is cut to a fixed length, so that clients can fill
//! neither the memory nor a page. Neither a secret nor a query is kept.

use crate::domain::keys::KeyId;
use crate::domain::keys::redaction::without_secrets;
use crate::domain::keys::verdict::{Code, Detail, Question};
use crate::domain::locks::lock;
use crate::domain::time::Timestamp;
use crate::index::IdHasher;
use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasherDefault;
use std::net::IpAddr;
use std::sync::Mutex;

/// The number of shards, so that two threads rarely need the same lock.
const SHARDS: usize = 16;
/// The number of keys in one shard. Another one takes the place of the key whose latest refusal is the oldest.
const KEYS_MAX: usize = 128;
/// The number of refusals of one key.
pub const REFUSALS_MAX: usize = 20;
/// The number of characters of a method that are kept.
pub const METHOD_CHARS_MAX: usize = 16;
/// The number of characters of a path that are kept.
const PATH_CHARS_MAX: usize = 120;
/// The number of characters of a segment of a path above which only its start is kept: it may be a secret.
const SEGMENT_CHARS_MAX: usize = 40;
/// The number of characters of such a start.
const SEGMENT_START: usize = 6;

/// A refused request of a key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Refused {
    pub at: Timestamp,
    pub code: Code,
    pub detail: Option<Detail>,
    pub address: Option<IpAddr>,
    /// Empty if the question had none.
    pub method: Box<str>,
    /// Empty if the question had none; without its query.
    pub path: Box<str>,
}

/// The refusals of each key, oldest first.
type Keys = HashMap<KeyId, VecDeque<Refused>, BuildHasherDefault<IdHasher>>;

/// The latest refusals of all keys.
#[derive(Default)]
pub struct RefusalBook {
    shards: [Mutex<Keys>; SHARDS],
}

impl RefusalBook {
    pub fn record(
        &self,
        key: KeyId,
        code: Code,
        detail: Option<Detail>,
        question: &Question<'_>,
        secret: &str,
        now: Timestamp,
    ) {
        let refused = Refused {
            at: now,
            code,
            detail,
            address: question.address,
            method: cut(question.method.unwrap_or_default(), METHOD_CHARS_MAX).into(),
            path: shown_path(question.path_for_records(), secret).into(),
        };
        let mut keys = lock(self.shard(key));
        if keys.len() >= KEYS_MAX && !keys.contains_key(&key) {
            let latest = |refusals: &VecDeque<Refused>| refusals.back().map(|refused| refused.at);
            let oldest = keys.iter().min_by_key(|(_, refusals)| latest(refusals));
            if let Some(oldest) = oldest.map(|(key, _)| *key) {
                keys.remove(&oldest);
            }
        }
        let refusals = keys.entry(key).or_default();
        if refusals.len() >= REFUSALS_MAX {
            refusals.pop_front();
        }
        refusals.push_back(refused);
    }

    /// The latest refusals of a key, newest first.
    pub fn of(&self, key: KeyId) -> Vec<Refused> {
        let keys = lock(self.shard(key));
        let refusals = keys.get(&key).into_iter().flatten();
        refusals.rev().cloned().collect()
    }

    fn shard(&self, key: KeyId) -> &Mutex<Keys> {
        &self.shards[(key.0 / 64) as usize % SHARDS]
    }
}

/// The path without its query, without secrets, and with long segments cut. `secret` is what the request presented.
pub fn shown_path(path: &str, secret: &str) -> String {
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let path = without_secrets(path, secret);
    let mut shown = String::new();
    for (number, segment) in path.split('/').enumerate() {
        if number > 0 {
            shown.push('/');
        }
        match segment.chars().nth(SEGMENT_CHARS_MAX) {
            None => shown.push_str(segment),
            Some(_) => shown.push_str(&cut(segment, SEGMENT_START)),
        }
        if shown.len() > PATH_CHARS_MAX * 4 {
            break;
        }
    }
    cut(&shown, PATH_CHARS_MAX)
}

/// The text, or its start and an ellipsis.
pub fn cut(text: &str, chars_max: usize) -> String {
    match text.char_indices().nth(chars_max) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refuse(book: &RefusalBook, key: u64, path: &str, at: i64) {
        let question = Question {
            method: Some("GET"),
            path: Some(path),
            ..Question::default()
        };
        book.record(
            KeyId(key),
            Code::Expired,
            None,
            &question,
            "",
            Timestamp(at),
        );
    }

    #[test]
    fn the_latest_refusals_of_a_key_stay_newest_first() {
        let book = RefusalBook::default();
        for at in 0..100 {
            refuse(&book, 7, "/a", at);
        }
        let times: Vec<i64> = book.of(KeyId(7)).iter().map(|one| one.at.0).collect();
        assert_eq!(times.len(), REFUSALS_MAX);
        assert_eq!((times[0], times[19]), (99, 80));
        assert!(book.of(KeyId(8)).is_empty());
    }

    #[test]
    fn a_million_keys_fill_bounded_memory() {
        let book = RefusalBook::default();
        for key in 0..100_000 {
            refuse(&book, key, "/a", key as i64);
        }
        let kept: usize = book.shards.iter().map(|keys| lock(keys).len()).sum();
        assert!(kept <= SHARDS * KEYS_MAX);
        assert_eq!(book.of(KeyId(99_999)).len(), 1);
    }

    #[test]
    fn neither_a_query_nor_what_may_be_a_secret_nor_a_long_text_is_kept() {
        let secret = "lk_k3J9aQ0xZbv7Qm2XoT5cYw8RkLp1Ns4Hd6Gf9Jb3Va0Ue7Iy2Wq5Zx8CkE1A9fQ2";
        for (path, shown) in [
            ("/invoices/7?token=x", "/invoices/7"),
            ("/a#b", "/a"),
            (format!("/reset/{secret}/x").as_str(), "/reset/…/x"),
            ("/as/hunter2/%68unter2/x", "/as/…/…/x"),
            (
                "/files/9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
                "/files/9f86d0…",
            ),
            ("", ""),
        ] {
            assert_eq!(shown_path(path, "hunter2"), shown);
        }
        for long in ["/x".repeat(40_000), "é".repeat(40_000), "/".repeat(40_000)] {
            assert!(shown_path(&long, "").chars().count() <= PATH_CHARS_MAX + 1);
        }
        let book = RefusalBook::default();
        let method = "M".repeat(1_000);
        let question = Question {
            method: Some(&method),
            ..Question::default()
        };
        book.record(KeyId(1), Code::Expired, None, &question, "", Timestamp(1));
        assert_eq!(book.of(KeyId(1))[0].method.chars().count(), 17);
    }
}
