//! A client that changes keys and records what the server has acknowledged.

use std::collections::{BTreeSet, HashMap};

use serde_json::{Value, json};

use super::file::Log;
use super::list::{items, text};
use crate::support::{Random, User};

/// What a writer knows about one of its keys.
#[derive(Debug)]
struct Key {
    id: String,
    name: String,
    description: String,
    enabled: bool,
    deleted: bool,
    /// The newest secret; `None` if the answer with the secret was lost.
    secret: Option<String>,
    /// Secrets that must not be valid any more.
    dead: Vec<String>,
}

/// A change whose answer was lost: the server has made it or not.
#[derive(Debug)]
enum Doubt {
    Delete(usize),
    Edit(usize, String),
    Enable(usize, bool),
    Issue(String),
    Rotate(usize),
}

/// One client with its keys and its records.
pub struct Writer {
    number: usize,
    random: Random,
    keys: Vec<Key>,
    names: usize,
    doubt: Option<Doubt>,
    touched: BTreeSet<usize>,
    /// The action and the key of every acknowledged change.
    pub acknowledged: Vec<(&'static str, String)>,
    /// The same for changes whose answer was lost.
    doubted: Vec<(&'static str, String)>,
}

impl Writer {
    pub fn new(number: usize, seed: u64) -> Writer {
        Writer {
            number,
            random: Random::from(seed),
            keys: Vec::new(),
            names: 0,
            doubt: None,
            touched: BTreeSet::new(),
            acknowledged: Vec::new(),
            doubted: Vec::new(),
        }
    }

    /// Makes changes until the server is gone.
    pub fn work(&mut self, admin: &User) {
        while self.doubt.is_none() {
            self.doubt = self.change(admin);
        }
    }

    /// Makes one change; returns the doubt if its answer was lost.
    fn change(&mut self, admin: &User) -> Option<Doubt> {
        let live: Vec<usize> = (0..self.keys.len())
            .filter(|at| !self.keys[*at].deleted)
            .collect();
        let dice = self.random.below(100);
        if live.is_empty() || dice < 30 {
            return self.issue(admin);
        }
        let at = live[self.random.below(live.len() as u64) as usize];
        match dice {
            30..50 => self.rotate(admin, at),
            50..75 => self.enable(admin, at),
            75..88 => self.edit(admin, at),
            _ => self.delete(admin, at),
        }
    }

    fn issue(&mut self, admin: &User) -> Option<Doubt> {
        self.names += 1;
        let name = format!("writer {} key {}", self.number, self.names);
        let asked = json!({ "name": name, "description": "0" });
        let Some(answer) = admin.try_call("POST", "/v1/keys", Some(&asked)) else {
            return Some(Doubt::Issue(name));
        };
        let answer = answer.expect(201).json();
        self.keys.push(Key {
            id: text(&answer["key"]["id"]),
            name,
            description: "0".to_owned(),
            enabled: true,
            deleted: false,
            secret: Some(text(&answer["secret"])),
            dead: Vec::new(),
        });
        self.note("key.issue", self.keys.len() - 1);
        None
    }

    fn rotate(&mut self, admin: &User, at: usize) -> Option<Doubt> {
        let path = format!("/v1/keys/{}/rotate", self.keys[at].id);
        let Some(answer) = admin.try_call("POST", &path, Some(&json!({}))) else {
            return Some(Doubt::Rotate(at));
        };
        let secret = text(&answer.expect(200).json()["secret"]);
        let key = &mut self.keys[at];
        key.dead.extend(key.secret.replace(secret));
        self.note("key.rotate", at);
        None
    }

    fn enable(&mut self, admin: &User, at: usize) -> Option<Doubt> {
        let enabled = !self.keys[at].enabled;
        let verb = if enabled { "enable" } else { "disable" };
        let path = format!("/v1/keys/{}/{verb}", self.keys[at].id);
        let Some(answer) = admin.try_call("POST", &path, None) else {
            return Some(Doubt::Enable(at, enabled));
        };
        answer.expect(200);
        self.keys[at].enabled = enabled;
        self.note(if enabled { "key.enable" } else { "key.disable" }, at);
        None
    }

    fn edit(&mut self, admin: &User, at: usize) -> Option<Doubt> {
        let description = self.random.below(u64::MAX).to_string();
        let asked = json!({ "description": description });
        let path = format!("/v1/keys/{}", self.keys[at].id);
        let Some(answer) = admin.try_call("PATCH", &path, Some(&asked)) else {
            return Some(Doubt::Edit(at, description));
        };
        answer.expect(200);
        self.keys[at].description = description;
        self.note("key.edit", at);
        None
    }

    fn delete(&mut self, admin: &User, at: usize) -> Option<Doubt> {
        let path = format!("/v1/keys/{}", self.keys[at].id);
        let Some(answer) = admin.try_call("DELETE", &path, None) else {
            return Some(Doubt::Delete(at));
        };
        answer.expect(204);
        self.keys[at].deleted = true;
        self.note("key.delete", at);
        None
    }

    fn note(&mut self, action: &'static str, at: usize) {
        self.touched.insert(at);
        self.acknowledged.push((action, self.keys[at].id.clone()));
    }

    /// Finds out whether the change whose answer was lost has been made. Both are right, a partial change is not.
    #[track_caller]
    pub fn settle(&mut self, admin: &User) {
        let Some(doubt) = self.doubt.take() else {
            return;
        };
        let (action, at) = match doubt {
            Doubt::Issue(name) => {
                let found = admin.get(&format!("/v1/keys?q={}", name.replace(' ', "%20")));
                let found = found.expect(200).json();
                let named = |key: &&Value| key["name"] == *name;
                let found: Vec<Value> = items(&found).iter().filter(named).cloned().collect();
                assert!(found.len() <= 1, "{name} was issued twice");
                let Some(key) = found.first() else { return };
                self.keys.push(Key {
                    id: text(&key["id"]),
                    name,
                    description: "0".to_owned(),
                    enabled: true,
                    deleted: false,
                    secret: None,
                    dead: Vec::new(),
                });
                ("key.issue", self.keys.len() - 1)
            }
            Doubt::Rotate(at) => {
                let key = &mut self.keys[at];
                let is_gone = |secret: &mut String| admin.verdict(secret) == "NOT_FOUND";
                key.dead.extend(key.secret.take_if(is_gone));
                ("key.rotate", at)
            }
            Doubt::Enable(at, enabled) => {
                let found = admin.get(&format!("/v1/keys/{}", self.keys[at].id));
                self.keys[at].enabled = found.expect(200).json()["enabled"] == true;
                (if enabled { "key.enable" } else { "key.disable" }, at)
            }
            Doubt::Edit(at, description) => {
                let found = admin.get(&format!("/v1/keys/{}", self.keys[at].id));
                if found.expect(200).json()["description"] == *description {
                    self.keys[at].description = description;
                }
                ("key.edit", at)
            }
            Doubt::Delete(at) => {
                let found = admin.get(&format!("/v1/keys/{}", self.keys[at].id));
                self.keys[at].deleted = found.expect(200).json()["state"] == "deleted";
                ("key.delete", at)
            }
        };
        self.doubted.push((action, self.keys[at].id.clone()));
        self.touched.insert(at);
    }

    /// Checks the keys that were changed since the last check, by the verdicts on their secrets.
    #[track_caller]
    pub fn check_touched(&mut self, admin: &User) {
        let touched = std::mem::take(&mut self.touched);
        self.check_verdicts(admin, touched.into_iter().collect());
    }

    /// Checks every key: the verdicts on its secrets, and its members in the list.
    #[track_caller]
    pub fn check_all(&mut self, admin: &User, found: &HashMap<String, Value>) {
        self.check_verdicts(admin, (0..self.keys.len()).collect());
        for key in &self.keys {
            let Some(listed) = found.get(&key.id).filter(|key| key["state"] != "deleted") else {
                assert!(key.deleted, "{key:?} was acknowledged and is not there");
                continue;
            };
            assert!(!key.deleted, "{key:?} was deleted and is there: {listed}");
            let described = (&listed["name"], &listed["description"], &listed["enabled"]);
            let expected = (
                &json!(key.name),
                &json!(key.description),
                &json!(key.enabled),
            );
            assert_eq!(described, expected, "{key:?}");
        }
    }

    #[track_caller]
    fn check_verdicts(&self, admin: &User, which: Vec<usize>) {
        let mut questions = Vec::new();
        for key in which.into_iter().map(|at| &self.keys[at]) {
            let expected = match (key.deleted, key.enabled) {
                (true, _) => "NOT_FOUND",
                (_, true) => "VALID",
                (_, false) => "DISABLED",
            };
            questions.extend(key.secret.iter().map(|secret| (key, secret, expected)));
            questions.extend(key.dead.iter().map(|secret| (key, secret, "NOT_FOUND")));
        }
        for batch in questions.chunks(100) {
            let asked: Vec<Value> = batch
                .iter()
                .map(|(_, secret, _)| json!({ "key": secret }))
                .collect();
            let told = admin.post("/v1/verify/batch", json!({ "items": asked }));
            let told = told.expect(200).json();
            for ((key, secret, expected), verdict) in batch.iter().zip(items(&told)) {
                assert_eq!(verdict["code"], *expected, "{secret} of {key:?}");
            }
        }
    }

    /// Checks that every acknowledged change is in the audit log, and that no change is in it twice.
    #[track_caller]
    pub fn check_log(&self, log: &Log) {
        let mut expected: Log = Log::new();
        for (action, id) in &self.acknowledged {
            *expected
                .entry(((*action).to_owned(), id.clone()))
                .or_default() += 1;
        }
        for (change, count) in &expected {
            let doubted = self
                .doubted
                .iter()
                .filter(|(action, id)| (*action, id) == (&*change.0, &change.1));
            let logged = log.get(change).copied().unwrap_or(0);
            let range = *count..=*count + doubted.count();
            assert!(
                range.contains(&logged),
                "{change:?} is there {logged} times, not {range:?}"
            );
        }
    }
}
