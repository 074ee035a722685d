//! Histories of a server and a site as real processes: after every pack, both give the same verdict on every secret.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Pair, Site};
use crate::support::{Random, Response, Server, User};

/// The number of packs.
const PACKS: u64 = 40;

/// Random changes of keys, and of what they depend on.
pub struct History {
    pub random: Random,
    /// The ids of keys that are not deleted.
    keys: Vec<String>,
    /// Every secret that there ever was.
    secrets: Vec<String>,
    /// How often each kind of change was made.
    made: BTreeMap<&'static str, u32>,
}

/// The kinds of changes.
const KINDS: [&str; 9] = [
    "delete",
    "disable",
    "edit",
    "enable",
    "issue",
    "rotate",
    "rotate at once",
    "user",
    "workspace",
];

fn text(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("{value}"))
        .to_owned()
}

impl History {
    /// Makes the workspaces and the owner that the changes are about.
    pub fn begin(admin: &User, seed: u64) -> History {
        admin.workspace("emea", "root");
        admin.workspace("plants", "emea");
        admin.person("alice", "member", "root");
        History {
            random: Random::from(seed),
            keys: Vec::new(),
            secrets: Vec::new(),
            made: BTreeMap::new(),
        }
    }

    /// Notes a change that the server has made or, with one of `refusals`, refused; any other answer fails the test.
    #[track_caller]
    fn note(&mut self, kind: &'static str, answer: &Response, refusals: &[u16]) -> bool {
        let is_made = (200..300).contains(&answer.status);
        let is_expected = is_made || refusals.contains(&answer.status);
        assert!(is_expected, "{kind}: {}", answer.exchange());
        *self.made.entry(kind).or_default() += u32::from(is_made);
        is_made
    }

    /// Each kind of change was made.
    #[track_caller]
    pub fn check_kinds(&self) {
        let missing: Vec<&str> = KINDS
            .into_iter()
            .filter(|kind| self.made.get(kind).is_none_or(|count| *count == 0))
            .collect();
        assert!(
            missing.is_empty(),
            "never made: {missing:?}; {:?}",
            self.made
        );
    }

    /// Both give the same verdict on every secret.
    #[track_caller]
    pub fn compare(&self, server: &Server, site: &Server, place: &str) {
        for (number, secret) in self.secrets.iter().enumerate() {
            for scopes in [json!([]), json!(["s1:read"])] {
                // A question that spends nothing and ends no rotation, so that asking changes neither of the two.
                let question =
                    json!({ "key": secret, "scopes": scopes, "cost": 0, "workspace": "plants" });
                let at_server = server.local().verify(question.clone());
                let at_site = site.local().verify(question);
                for member in [
                    "code",
                    "key_id",
                    "scopes",
                    "owner",
                    "workspace",
                    "name",
                    "expires_at",
                ] {
                    assert_eq!(
                        at_server[member], at_site[member],
                        "{place}, secret {number}: {at_server} {at_site}"
                    );
                }
            }
        }
    }

    pub fn step(&mut self, admin: &User) {
        let random = &mut self.random;
        if self.keys.is_empty() || random.below(3) == 0 {
            let number = self.secrets.len();
            let workspace = ["root", "emea", "plants"][random.below(3) as usize];
            let mut key = json!({ "name": format!("k{number}"), "workspace": workspace });
            match random.below(4) {
                0 => key["rate_limit"] = json!({ "limit": 100_000, "window_s": 3600 }),
                1 => key["allowed_ips"] = json!(["192.0.2.0/24"]),
                2 => key["scopes"] = json!([format!("s{}:read", random.below(3))]),
                _ => key["owner"] = json!("alice"),
            }
            // A disabled owner or workspace may get no key.
            let answer = admin.post("/v1/keys", key);
            if self.note("issue", &answer, &[409, 422]) {
                let issued = answer.json();
                self.keys.push(text(&issued["key"]["id"]));
                self.secrets.push(text(&issued["secret"]));
            }
            return;
        }
        let position = random.below(self.keys.len() as u64) as usize;
        let id = self.keys[position].clone();
        let of_key = |verb: &str| format!("/v1/keys/{id}/{verb}");
        match random.below(7) {
            0 => {
                let answer = admin.delete(&format!("/v1/keys/{id}"));
                self.note("delete", &answer, &[]);
                self.keys.remove(position);
            }
            1 => {
                let answer = admin.post(&of_key("disable"), json!({}));
                self.note("disable", &answer, &[]);
            }
            2 => {
                let answer = admin.post(&of_key("enable"), json!({}));
                self.note("enable", &answer, &[409]);
            }
            3 => {
                let (kind, grace_s) = match random.below(3) {
                    0 => ("rotate at once", 0),
                    _ => ("rotate", 3600),
                };
                let answer = admin.post(&of_key("rotate"), json!({ "grace_s": grace_s }));
                // A key that is disabled gets no new secret.
                if self.note(kind, &answer, &[409]) {
                    self.secrets.push(text(&answer.json()["secret"]));
                }
            }
            4 => {
                let slug = ["emea", "plants"][random.below(2) as usize];
                let body = json!({ "enabled": random.below(2) == 0 });
                let answer = admin.patch(&format!("/v1/workspaces/{slug}"), body);
                self.note("workspace", &answer, &[]);
            }
            5 => {
                let body = json!({ "enabled": random.below(2) == 0 });
                let answer = admin.patch("/v1/users/alice", body);
                self.note("user", &answer, &[]);
            }
            _ => {
                let body = json!({ "scopes": ["s1:read", "s2:read"] });
                let answer = admin.patch(&format!("/v1/keys/{id}"), body);
                self.note("edit", &answer, &[409]);
            }
        }
    }
}

#[test]
fn a_server_and_its_site_agree_on_every_secret_at_every_pack() {
    let pair = Pair::new();
    let site: &Site = &pair.site;
    let admin = pair.server.admin();
    let mut history = History::begin(&admin, 17);
    let mut running = site.serve();
    for pack in 0..PACKS {
        for _ in 0..1 + history.random.below(6) {
            history.step(&admin);
        }
        let more: &[&str] = if history.random.below(6) == 0 {
            &["--whole"]
        } else {
            &[]
        };
        pair.make(more);
        if history.random.below(4) == 0 {
            // It is lost: the next one has the same and more.
            std::fs::remove_file(site.packs().pop().unwrap()).unwrap();
            continue;
        }
        site.line
            .run(&["pack", "apply", site.stick().to_str().unwrap()]);
        if history.random.below(8) == 0 {
            running.restart();
        }
        let newest = site.status()["pack"].as_u64().unwrap();
        let shown = pair.line().json(&["site", "show", "plant-7"]);
        if shown["pack"].as_u64() != Some(newest) {
            continue;
        }
        history.compare(&pair.server, &running, &format!("pack {pack}"));
    }
    history.check_kinds();
    assert!(
        site.status()["pack"].as_u64() > Some(PACKS / 2),
        "{}",
        site.status()
    );
}
