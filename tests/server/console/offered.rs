//! A role is not offered what it may not do: every link of a page works, and every form is accepted.

use super::Visitor;
use crate::support::{PASSWORD, Server, User};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Every role. The tests also have a user without a role, `a-nobody`.
const ROLES: [&str; 5] = ["owner", "administrator", "key_manager", "auditor", "member"];
const POLICIES: [&str; 4] = ["aware", "awaretrain", "adverity-ui", "vspc"];

/// A server with one user of each role, and with keys of every kind that belong to the workspace and to a user.
fn peopled() -> Server {
    let server = Server::start();
    let admin = server.admin();
    for role in ROLES {
        admin.person(&format!("a-{role}"), role, "root");
    }
    admin
        .post(
            "/v1/users",
            json!({ "user_name": "a-nobody", "password": PASSWORD }),
        )
        .expect(201);
    admin.issue(json!({ "name": "of the workspace" }));
    admin.issue(json!({ "name": "of a member", "owner": "a-member" }));
    let made = end(&admin);
    admin.issue(json!({ "name": "t", "policy": "aware", "scopes": ["audit_logs:read"], "owner": "a-member" }));
    admin.issue(
        json!({ "name": "w", "policy": "awaretrain", "scopes": ["user:read"], "expires_at": made }),
    );
    admin.issue(json!({ "name": "v", "policy": "adverity-ui", "scopes": ["all:read"] }));
    for role in ["member", "owner"] {
        let user = signed_in(&server, &format!("a-{role}"));
        user.issue(json!({ "name": "s", "policy": "vspc", "catalog": "vspc", "scopes": ["rest"] }));
    }
    server
}

/// The first day of the next year, as a date less than twelve months away.
fn end(admin: &User) -> String {
    let key = admin.issue(json!({ "name": "when" }));
    let created = admin.key(&key.id)["created_at"]
        .as_str()
        .unwrap()
        .to_owned();
    let year: i32 = created[..4].parse().unwrap();
    format!("{}-01-01T00:00:00Z", year + 1)
}

fn signed_in(server: &Server, name: &str) -> User {
    server.anonymous().signed_in(name, PASSWORD)
}

/// A form of a page: its method, its action, and the fields that a browser sends when a user presses a button of it.
struct Offer {
    method: String,
    action: String,
    fields: Vec<(String, String)>,
}

fn attribute(tag: &str, name: &str) -> Option<String> {
    let rest = tag.split(&format!(" {name}=\"")).nth(1)?;
    let value = rest.split('"').next()?;
    Some(
        value
            .replace("&#38;", "&")
            .replace("&#34;", "\"")
            .replace("&amp;", "&"),
    )
}

fn offers(page: &str) -> Vec<Offer> {
    let forms = page.split("<form ").skip(1);
    let form = |text: &str| {
        let (tag, rest) = text.split_once('>').unwrap();
        let tag = format!(" {tag}");
        let inner = rest.split("</form>").next().unwrap();
        let mut fields = Vec::new();
        for part in inner.split('<').skip(1) {
            let open = part.split('>').next().unwrap();
            let value = || {
                Some((
                    attribute(open, "name")?,
                    attribute(open, "value").unwrap_or_default(),
                ))
            };
            let is_choice = open.contains("\"checkbox\"") || open.contains("\"radio\"");
            if open.starts_with("input ") && (!is_choice || open.contains(" checked")) {
                fields.extend(value());
            }
        }
        Offer {
            method: attribute(&tag, "method").unwrap_or_else(|| "get".to_owned()),
            action: attribute(&tag, "action").unwrap_or_default(),
            fields,
        }
    };
    forms.map(form).collect()
}

fn links(page: &str) -> Vec<String> {
    let tags = page.split("<a ").skip(1);
    tags.filter_map(|tag| attribute(&format!(" {}", tag.split('>').next()?), "href"))
        .filter(|href| href.starts_with("/console"))
        .collect()
}

/// Whether the walk visits a page: pages of the four systems and of keys, and the pages that lead to them.
fn is_walked(path: &str) -> bool {
    ["/console/keys", "/console/policies", "/console/catalogs"]
        .iter()
        .any(|start| path.starts_with(start))
        || path == "/console"
}

/// Follows every link, starting at the overview. Returns the pages with their addresses.
fn walk(visitor: &mut Visitor, who: &str) -> Vec<(String, String)> {
    let mut waiting = vec!["/console".to_owned()];
    let sections = POLICIES.map(|policy| format!("/console/keys?policy={policy}"));
    waiting.extend(sections);
    let mut known: BTreeSet<String> = waiting.iter().cloned().collect();
    let mut pages = Vec::new();
    while let Some(path) = waiting.pop() {
        let answer = visitor.get(&path);
        let is_section = path.starts_with("/console/keys?policy=");
        // A user who may read no keys gets 403 here; no page links to this address for them.
        if who == "a-nobody" && is_section && answer.status == 403 {
            continue;
        }
        assert_eq!(answer.status, 200, "{who} is led to {path}");
        let page = answer.text();
        for link in links(&page) {
            let link = link.split('#').next().unwrap().to_owned();
            // Other orders and pages of the same list contain no new links.
            let is_new = is_walked(&link) && !link.contains("sort=") && known.insert(link.clone());
            if is_new && known.len() < 300 {
                waiting.push(link);
            }
        }
        pages.push((path, page));
    }
    pages
}

// D8, 1B-3, 1C-14
#[test]
fn nothing_is_offered_to_a_role_that_it_would_be_refused() {
    for role in ROLES.into_iter().chain(["nobody"]) {
        let server = peopled();
        let who = format!("a-{role}");
        let mut visitor = Visitor::new(&server);
        visitor.sign_in(&who, PASSWORD).expect(303);
        let pages = walk(&mut visitor, &who);
        let all: Vec<(String, Offer)> = pages
            .iter()
            .flat_map(|(path, page)| offers(page).into_iter().map(|offer| (path.clone(), offer)))
            .filter(|(_, offer)| is_walked(&offer.action) && offer.method == "post")
            .collect();
        // Deletions come last, and actions that disable a key come after those that need it.
        let weight = |action: &str| match action.rsplit('/').next().unwrap() {
            "delete" => 2,
            "disable" | "enable" => 1,
            _ => 0,
        };
        let mut all = all;
        all.sort_by_key(|(_, offer)| weight(&offer.action));
        let mut sent = BTreeSet::new();
        for (path, offer) in &all {
            if !sent.insert((offer.action.clone(), path.clone())) {
                continue;
            }
            let fields: Vec<(&str, &str)> = offer
                .fields
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str()))
                .collect();
            let answer = visitor.send(&offer.action, &fields);
            assert_ne!(
                answer.status, 403,
                "{who} is offered {} on {path}",
                offer.action
            );
            assert!(
                answer.status < 500,
                "{who}: {} {}",
                offer.action,
                answer.status
            );
        }
        let makes: BTreeSet<&str> = pages
            .iter()
            .filter_map(|(path, _)| path.strip_prefix("/console/keys/new?policy="))
            .collect();
        let expected: &[&str] = match role {
            "owner" | "administrator" => {
                &["adverity-ui", "aware", "awaretrain", "standard", "vspc"]
            }
            "key_manager" => &["aware", "awaretrain", "standard", "vspc"],
            "member" => &["standard", "vspc"],
            _ => &[],
        };
        assert_eq!(makes.into_iter().collect::<Vec<_>>(), expected, "{who}");
        assert_eq!(!sent.is_empty(), !expected.is_empty(), "{who}: {sent:?}");
    }
}

// The other direction: a user whose request is accepted is offered the form.
#[test]
fn forms_of_new_keys_are_there_for_exactly_those_who_may_issue_them() {
    let server = peopled();
    let keys = [
        ("standard", json!({})),
        ("aware", json!({ "scopes": ["audit_logs:read"] })),
        (
            "awaretrain",
            json!({ "scopes": ["user:read"], "expires_at": end(&server.admin()) }),
        ),
        ("adverity-ui", json!({ "scopes": ["all:read"] })),
        ("vspc", json!({ "catalog": "vspc", "scopes": ["rest"] })),
    ];
    for role in ROLES {
        let who = format!("a-{role}");
        let user = signed_in(&server, &who);
        let mut visitor = Visitor::new(&server);
        visitor.sign_in(&who, PASSWORD).expect(303);
        for (policy, rest) in &keys {
            let mut asked: Value = rest.clone();
            asked["name"] = json!(format!("by {who}"));
            asked["policy"] = json!(policy);
            if *policy == "aware" {
                asked["owner"] = json!(who);
            }
            let may = user.post("/v1/keys", asked).status == 201;
            let page = visitor.get(&format!("/console/keys/new?policy={policy}"));
            assert_eq!(page.status, if may { 200 } else { 403 }, "{who}, {policy}");
            assert_eq!(
                page.text().contains("name=\"nonce\""),
                may,
                "{who}, {policy}"
            );
        }
    }
}
