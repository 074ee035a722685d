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
    admin.workspace("shop", "root");
    admin.workspace("annex", "shop");
    admin.person("a-shop_administrator", "administrator", "shop");
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
        for select in inner.split("<select ").skip(1) {
            let (open, rest) = select.split_once('>').unwrap();
            let options = rest.split("</select>").next().unwrap();
            let tags = || options.split("<option").skip(1);
            // A browser sends the first option if none is selected.
            let tag = |option: &str| option.split('>').next().unwrap().to_owned();
            let selected = tags().map(tag).find(|tag| tag.contains(" selected"));
            let sent = selected.or_else(|| tags().map(tag).next());
            let name = attribute(&format!(" {open}"), "name");
            fields.extend(name.zip(sent.and_then(|tag| attribute(&tag, "value"))));
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

/// The sections of the console, apart from the overview and the account.
const SECTIONS: [&str; 8] = [
    "/console/keys",
    "/console/policies",
    "/console/catalogs",
    "/console/users",
    "/console/workspaces",
    "/console/audit",
    "/console/backups",
    "/console/doctor",
];
/// Pages that users can also reach by typing the address; they may then be refused.
const TYPED: [&str; 7] = [
    "/console/users",
    "/console/users/new",
    "/console/workspaces",
    "/console/workspaces/new",
    "/console/audit",
    "/console/backups",
    "/console/doctor",
];

fn is_walked(path: &str) -> bool {
    SECTIONS.iter().any(|start| path.starts_with(start)) || path == "/console"
}

/// What a user types into the empty fields of a form, so that it is not refused for another reason.
fn typed(action: &str, name: &str) -> &'static str {
    match name {
        "name" => "New",
        "description" => "Purpose",
        "user_name" => "newcomer",
        "password" if action.starts_with("/console/users") => PASSWORD,
        _ => "",
    }
}

/// The order in which forms are sent: a form that ends a thing comes after what needs it.
fn weight(offer: &Offer) -> u8 {
    let sends = |name: &str, value: &str| {
        let mut fields = offer.fields.iter();
        fields.any(|(known, sent)| known == name && (value.is_empty() || sent == value))
    };
    let on_keys = match offer.action.rsplit('/').next().unwrap() {
        "delete" => 2,
        "disable" | "enable" => 1,
        _ if sends("remove", "") || sends("enabled", "no") => 1,
        _ => 0,
    };
    let is_later = ["/console/users", "/console/workspaces"];
    match is_later.iter().any(|start| offer.action.starts_with(start)) {
        true => on_keys + 3,
        false => on_keys,
    }
}

/// Follows every link, starting at the overview. Returns the pages with their addresses.
fn walk(visitor: &mut Visitor, who: &str) -> Vec<(String, String)> {
    let mut waiting = vec!["/console".to_owned()];
    let sections = POLICIES.map(|policy| format!("/console/keys?policy={policy}"));
    waiting.extend(sections);
    waiting.extend(TYPED.map(str::to_owned));
    let mut known: BTreeSet<String> = waiting.iter().cloned().collect();
    let (mut linked, mut refused) = (BTreeSet::new(), BTreeSet::new());
    let mut pages = Vec::new();
    while let Some(path) = waiting.pop() {
        let answer = visitor.get(&path);
        let is_section = path.starts_with("/console/keys?policy=");
        if TYPED.contains(&&*path) && !linked.contains(&path) && answer.status == 403 {
            refused.insert(path);
            continue;
        }
        // A user who may read no keys gets 403 here; no page links to this address for them.
        if who == "a-nobody" && is_section && answer.status == 403 {
            continue;
        }
        assert_eq!(answer.status, 200, "{who} is led to {path}");
        let page = answer.text();
        for link in links(&page) {
            let link = link.split('#').next().unwrap().to_owned();
            assert!(!refused.contains(&link), "{who} is led to {link} by {path}");
            linked.insert(link.clone());
            // Other orders, pages and filters of the same list contain no new links.
            let is_same_list = link.contains("sort=") || link.starts_with("/console/audit?");
            let is_new = is_walked(&link) && !is_same_list && known.insert(link.clone());
            if is_new && known.len() < 300 {
                waiting.push(link);
            }
        }
        pages.push((path, page));
    }
    pages
}

// finding D8; 1B-3, 1C-14
#[test]
fn nothing_is_offered_to_a_role_that_it_would_be_refused() {
    for role in ROLES.into_iter().chain(["nobody", "shop_administrator"]) {
        let server = peopled();
        let who = format!("a-{role}");
        let own = server.admin().get(&format!("/v1/users/{who}")).expect(200);
        let own = own.json()["uid"].as_str().unwrap().to_owned();
        let own = format!("/console/users/{own}");
        let mut visitor = Visitor::new(&server);
        visitor.sign_in(&who, PASSWORD).expect(303);
        let pages = walk(&mut visitor, &who);
        let all: Vec<(String, Offer)> = pages
            .iter()
            .flat_map(|(path, page)| offers(page).into_iter().map(|offer| (path.clone(), offer)))
            .filter(|(_, offer)| is_walked(&offer.action) && offer.method == "post")
            .collect();
        let mut all = all;
        all.sort_by_key(|(_, offer)| weight(offer));
        let mut sent = BTreeSet::new();
        for (path, offer) in &all {
            let names: Vec<&str> = offer.fields.iter().map(|(name, _)| name.as_str()).collect();
            if !sent.insert((offer.action.clone(), path.clone(), names.concat())) {
                continue;
            }
            // Users who disable, demote or delete themselves are refused everything afterwards.
            let on_oneself = offer.action.starts_with(&own);
            if on_oneself && (offer.action != own || names.contains(&"enabled")) {
                continue;
            }
            let fields: Vec<(&str, &str)> = offer
                .fields
                .iter()
                .map(|(name, value)| match value.is_empty() {
                    true => (name.as_str(), typed(&offer.action, name)),
                    false => (name.as_str(), value.as_str()),
                })
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
            "key_manager" | "shop_administrator" => &["aware", "awaretrain", "standard", "vspc"],
            "member" => &["standard", "vspc"],
            // Users issue keys of this policy for themselves; an auditor's can only read.
            "auditor" => &["vspc"],
            _ => &[],
        };
        assert_eq!(makes.into_iter().collect::<Vec<_>>(), expected, "{who}");
        let leads = |link: &str| pages.iter().any(|(path, _)| path == link);
        let offers = |action: &str| all.iter().any(|(_, offer)| offer.action == action);
        let manages = ["owner", "administrator", "shop_administrator"].contains(&role);
        for new in ["/console/users/new", "/console/workspaces/new"] {
            assert_eq!(leads(new), manages, "{who}, {new}");
        }
        let reads_all = ["owner", "administrator", "auditor"].contains(&role);
        assert_eq!(offers("/console/audit/chain"), reads_all, "{who}");
        assert_eq!(offers("/console/backups"), role == "owner", "{who}");
        assert_eq!(offers(&own), manages, "{who} and the own user");
        assert!(!offers(&format!("{own}/password")), "{who}");
    }
}

// Users may disable a key that they own and another user has issued. They may not enable it again.
#[test]
fn who_may_not_enable_a_key_is_not_offered_it_after_disabling() {
    let server = Server::start();
    let admin = server.admin();
    admin.person("a-member", "member", "root");
    let keys = ["one", "two"].map(|name| admin.issue(json!({ "name": name, "owner": "a-member" })));
    let mut member = Visitor::new(&server);
    member.sign_in("a-member", PASSWORD).expect(303);
    let mut owner = Visitor::owner(&server);
    for (visitor, offered) in [(&mut member, false), (&mut owner, true)] {
        let page = format!("/console/keys/{}", keys[0].id);
        visitor.get(&page).expect(200);
        visitor.post(&format!("{page}/disable"), &[]).expect(303);
        let text = visitor.get(&page).expect(200).text();
        assert!(text.contains("The key is disabled."), "{text}");
        assert_eq!(text.contains("Enable again"), offered, "{text}");
        let fields = [("do", "disable"), ("ids[]", &*keys[1].id)];
        visitor.get("/console/keys").expect(200);
        let asked = visitor
            .post("/console/keys/bulk", &fields)
            .expect(200)
            .text();
        assert!(asked.contains("Disable 1 key"), "{asked}");
        let sent = [("do", "disable"), ("ids", &*keys[1].id)];
        let done = visitor
            .post("/console/keys/bulk/confirmed", &sent)
            .expect(200)
            .text();
        assert!(done.contains("1 key is disabled."), "{done}");
        assert_eq!(done.contains("Enable again"), offered, "{done}");
        for key in &keys {
            admin
                .post(&format!("/v1/keys/{}/enable", key.id), json!({}))
                .expect(200);
        }
    }
}

// The other direction: what a page does not offer to a role is refused when the role sends it all the same.
#[test]
fn what_a_role_is_not_offered_is_refused_and_changes_nothing() {
    let server = peopled();
    let mut owner = Visitor::new(&server);
    owner.sign_in("a-owner", PASSWORD).expect(303);
    let pages = walk(&mut owner, "a-owner");
    let with_page = |(path, page): &(String, String)| {
        let all = offers(page).into_iter();
        all.map(|offer| (path.clone(), offer)).collect::<Vec<_>>()
    };
    let mut all: Vec<(String, Offer)> = pages.iter().flat_map(with_page).collect();
    all.retain(|(_, offer)| is_walked(&offer.action) && offer.method == "post");
    all.sort_by(|(_, a), (_, b)| (weight(a), &a.action).cmp(&(weight(b), &b.action)));
    all.dedup_by(|(_, a), (_, b)| a.action == b.action);
    assert!(all.len() > 20, "{}", all.len());
    for role in [
        "administrator",
        "key_manager",
        "auditor",
        "member",
        "nobody",
    ] {
        let who = format!("a-{role}");
        let mut visitor = Visitor::new(&server);
        visitor.sign_in(&who, PASSWORD).expect(303);
        let newest = server.admin().newest_event()["seq"].as_u64().unwrap();
        for (path, offer) in &all {
            let page = visitor.get(path);
            let own = offers(&page.text());
            if page.status == 200 && own.iter().any(|own| own.action == offer.action) {
                continue;
            }
            let fields: Vec<(&str, &str)> = offer
                .fields
                .iter()
                .filter(|(name, _)| name != "form_token")
                .map(|(name, value)| match value.is_empty() {
                    true => (name.as_str(), typed(&offer.action, name)),
                    false => (name.as_str(), value.as_str()),
                })
                .collect();
            let status = visitor.post(&offer.action, &fields).status;
            // This form is about the keys that are ticked, and none is.
            let is_about_none = offer.action == "/console/keys/bulk";
            assert!(
                is_about_none || matches!(status, 403 | 404 | 409 | 422),
                "{who}: {} {status}",
                offer.action
            );
        }
        let events = server
            .admin()
            .get(&format!(
                "/v1/audit-events?actor=user:{who}&outcome=allowed"
            ))
            .expect(200)
            .json();
        for event in events["items"].as_array().unwrap() {
            let is_old = event["seq"].as_u64().unwrap() <= newest;
            assert!(is_old, "{who} was refused and did {event}");
        }
    }
}

#[test]
fn a_page_says_what_a_role_can_do_and_whom_to_ask_for_more() {
    let server = peopled();
    for (role, path, status, said) in [
        (
            "auditor",
            "/console/users",
            200,
            "You can look at everything here and change nothing. Your role: Auditor. To change something, ask an administrator of",
        ),
        ("auditor", "/console/keys", 200, "Your role: Auditor."),
        ("administrator", "/console/policies", 200, "ask an owner of"),
        (
            "member",
            "/console/keys",
            200,
            "You see and manage only your own keys here.",
        ),
        (
            "shop_administrator",
            "/console/users",
            200,
            "You can make changes in shop and below.",
        ),
        (
            "auditor",
            "/console/users/new",
            403,
            "You may not change users here. Ask an administrator of",
        ),
        (
            "key_manager",
            "/console/new-policy",
            403,
            "You may not change policies. Ask an owner of",
        ),
        (
            "member",
            "/console/audit",
            403,
            "You may not read the audit log here. Ask an administrator of",
        ),
    ] {
        let mut visitor = Visitor::new(&server);
        visitor.sign_in(&format!("a-{role}"), PASSWORD).expect(303);
        let page = visitor.get(path).expect(status).text();
        assert!(page.contains(said), "{role} {path}: {page}");
    }
    let mut owner = Visitor::new(&server);
    owner.sign_in("a-owner", PASSWORD).expect(303);
    for path in [
        "/console",
        "/console/keys",
        "/console/policies",
        "/console/users",
    ] {
        let page = owner.get(path).expect(200).text();
        assert!(!page.contains("class=\"may\""), "{path}");
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

#[test]
fn full_access_is_offered_to_exactly_those_whose_keys_get_it() {
    let server = peopled();
    let mut restricted = Vec::new();
    for role in ROLES {
        let who = format!("a-{role}");
        let asked = json!({
            "name": "full", "policy": "vspc", "catalog": "vspc", "scopes": ["rest"], "read_only": false,
        });
        let id = signed_in(&server, &who).issue(asked).id;
        let only_reads = server.admin().key(&id)["read_only"] == true;
        let mut visitor = Visitor::new(&server);
        visitor.sign_in(&who, PASSWORD).expect(303);
        let page = visitor.get("/console/keys/new?policy=vspc").expect(200);
        let page = page.text();
        let choice = |value: &str, rest: &str| {
            page.contains(&format!("name=\"read_only\" value=\"{value}\"{rest}>"))
        };
        assert_eq!(choice("no", " checked"), !only_reads, "{who}");
        assert_eq!(choice("yes", " checked"), only_reads, "{who}");
        assert_eq!(page.contains("only read-only keys"), only_reads, "{who}");
        if only_reads {
            restricted.push(role);
        }
    }
    assert!(restricted.contains(&"auditor") && !restricted.contains(&"owner"));
}
