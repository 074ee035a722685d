//! Histories of a server and a site as real processes: after every pack, both give the same verdict on every secret.

use serde_json::{Value, json};

use super::{Pair, Site};
use crate::support::{Random, Server, User};

/// The number of packs.
const PACKS: u64 = 40;

/// Random changes of keys, and of what they depend on.
pub struct History {
    pub random: Random,
    /// The ids of keys that are not deleted.
    keys: Vec<String>,
    /// Every secret that there ever was.
    secrets: Vec<String>,
}

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
        }
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
            if answer.status == 201 {
                let issued = answer.json();
                self.keys.push(text(&issued["key"]["id"]));
                self.secrets.push(text(&issued["secret"]));
            }
            return;
        }
        let position = random.below(self.keys.len() as u64) as usize;
        let id = self.keys[position].clone();
        match random.below(7) {
            0 => {
                admin.delete(&format!("/v1/keys/{id}")).expect(204);
                self.keys.remove(position);
            }
            1 => drop(admin.post(&format!("/v1/keys/{id}/disable"), json!({}))),
            2 => drop(admin.post(&format!("/v1/keys/{id}/enable"), json!({}))),
            3 => {
                let rotated = admin.try_call(
                    "POST",
                    &format!("/v1/keys/{id}/rotate"),
                    Some(&json!({ "grace_period_s": 3600 })),
                );
                if let Some(answer) = rotated.filter(|answer| answer.status == 200) {
                    self.secrets
                        .push(answer.json()["secret"].as_str().unwrap().to_owned());
                }
            }
            4 => {
                let slug = ["emea", "plants"][random.below(2) as usize];
                let enabled = random.below(2) == 0;
                admin.patch(
                    &format!("/v1/workspaces/{slug}"),
                    json!({ "enabled": enabled }),
                );
            }
            5 => {
                let enabled = random.below(2) == 0;
                admin
                    .patch("/v1/users/alice", json!({ "enabled": enabled }))
                    .expect(200);
            }
            _ => {
                let body = json!({ "scopes": ["s1:read", "s2:read"] });
                drop(admin.patch(&format!("/v1/keys/{id}"), body));
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
    assert!(
        site.status()["pack"].as_u64() > Some(PACKS / 2),
        "{}",
        site.status()
    );
}
