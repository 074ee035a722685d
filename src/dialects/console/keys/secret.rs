//! The only page that displays a secret.

use super::address;
use super::labels::Words;
use super::snippets::{Asked, Snippet};
use crate::dialects::console::auth::cookie::Channel;
use crate::dialects::console::auth::{Visit, channel};
use crate::dialects::console::layout::{Layout, Nav, html};
use crate::domain::catalogs::{BUILT_IN, Catalog, Operation, Requirement};
use crate::domain::keys::Key;
use crate::domain::policies::{CredentialHeader, Policy, SecretShown};
use crate::error::Result;
use crate::http::query::encode;
use crate::http::reply::Reply;
use crate::ops::keys::Issued;
use askama::Template;
use std::net::IpAddr;

#[derive(Template)]
#[template(path = "console/secret.html")]
struct SecretPage {
    s: Layout,
    w: Words,
    name: String,
    href: String,
    /// The page to open after the user has stored the secret.
    back: String,
    /// What stands before and after the name of the key.
    lead: (&'static str, &'static str),
    warning: &'static str,
    /// Whether the secret is displayed only this once.
    once: bool,
    secret: Option<SecretView>,
    advice: Vec<&'static str>,
}

struct SecretView {
    text: String,
    /// Programs that verify the key.
    snippets: Vec<Snippet>,
    /// Whether these programs need a management key, because this is not the machine of the server.
    needs_verifier: bool,
}

/// Why the page displays a secret.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Occasion {
    Created,
    Revealed,
    Rotated,
}

/// The page with the secret of a key, or with an explanation if the server does not have the secret.
pub fn shown(
    visit: &Visit<'_>,
    policy: &Policy,
    issued: &Issued,
    occasion: Occasion,
) -> Result<Reply> {
    let words = Words::of(visit, Some(&policy.name));
    let t = visit.texts;
    let (title, lead) = match (&issued.secret, occasion) {
        (None, _) if policy.check_reveal().is_ok() => ("secret.gone_title", "secret.gone_sealed"),
        (None, _) if policy.can_rotate => ("secret.gone_title", "secret.gone"),
        (None, _) => ("secret.gone_title", "secret.gone_for_good"),
        (_, Occasion::Created) => ("secret.created_title", "secret.created"),
        (_, Occasion::Revealed) => ("secret.revealed_title", "secret.revealed"),
        (_, Occasion::Rotated) => ("secret.rotated_title", "secret.rotated"),
    };
    let once = policy.secret_shown == SecretShown::Once;
    let nav = match words.section() {
        Some(section) => Nav::Section(section.policy),
        None => Nav::Keys,
    };
    let key = &issued.view.key;
    let secret = SecretPage {
        s: visit.shell(t.get(title), nav),
        name: key.name.clone(),
        href: address(key.id),
        back: match words.section() {
            Some(_) => super::list_address(&policy.name),
            None => address(key.id),
        },
        lead: t.around(lead),
        warning: t.get(if once { "secret.once" } else { "secret.again" }),
        once: once && issued.secret.is_some(),
        secret: issued.secret.as_ref().map(|secret| SecretView {
            text: secret.expose().to_owned(),
            snippets: snippets(visit, policy, &issued.view.key, secret.expose()),
            needs_verifier: !is_local(visit),
        }),
        advice: words.advice(policy.can_rotate),
        w: words,
    };
    html(200, &secret)
}

/// Whether the browser and the server are on one machine, where a verification needs no credential.
fn is_local(visit: &Visit<'_>) -> bool {
    let host = visit.call.request.host().unwrap_or("localhost");
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.trim_matches(['[', ']']).parse::<IpAddr>();
    channel(visit.call) == Channel::Plain
        && visit.call.trust.verify_from_loopback
        && (name == "localhost" || address.is_ok_and(|address| address.is_loopback()))
}

/// This server, as the browser reaches it.
fn server(visit: &Visit<'_>) -> String {
    let scheme = match channel(visit.call) {
        Channel::Encrypted => "https",
        Channel::Plain => "http",
    };
    let host = visit.call.request.host().unwrap_or("localhost");
    format!("{scheme}://{host}")
}

/// Programs that verify the key, if possible for a request that its scopes open.
fn snippets(visit: &Visit<'_>, policy: &Policy, key: &Key, secret: &str) -> Vec<Snippet> {
    let proxy = curl(visit, policy, key, secret);
    let directory = visit.call.app.index.directory();
    let named = key.catalog.as_deref().filter(|name| *name != BUILT_IN);
    let catalog = named.and_then(|name| directory.catalog(name));
    let in_root = directory.is_root(key.workspace);
    let section = Words::of(visit, Some(&policy.name)).section();
    let sample = section.and_then(|section| section.sample);
    let asked = Asked {
        server: &server(visit),
        is_local: is_local(visit),
        secret,
        catalog: catalog.map(|catalog| catalog.name()),
        request: catalog.and_then(|catalog| example(catalog, key, in_root, sample)),
    };
    asked.snippets(visit.texts, proxy)
}

/// A command that tests the key with the same request that a proxy sends. If possible, the request concerns an
/// operation of the key's system that the scopes of the key open.
fn curl(visit: &Visit<'_>, policy: &Policy, key: &Key, secret: &str) -> String {
    let server = server(visit);
    // If the policy accepts several headers, the command uses the first one other than Basic.
    let plain = |header: &&CredentialHeader| **header != CredentialHeader::Basic;
    let header = match policy.headers.iter().find(plain) {
        Some(CredentialHeader::Named(name)) => format!("{name}: {secret}"),
        Some(CredentialHeader::Token) => format!("Authorization: Token {secret}"),
        Some(CredentialHeader::Bearer) => format!("Authorization: Bearer {secret}"),
        Some(CredentialHeader::Basic) | None => {
            return format!("curl -i {server}/auth/nginx -u ':{secret}'");
        }
    };
    let directory = visit.call.app.index.directory();
    let named = key.catalog.as_deref().filter(|name| *name != BUILT_IN);
    let catalog = named.and_then(|name| directory.catalog(name));
    let query = catalog.map_or_else(String::new, |catalog| {
        format!("?catalog={}", encode(catalog.name()))
    });
    let in_root = directory.is_root(key.workspace);
    let section = Words::of(visit, Some(&policy.name)).section();
    let sample = section.and_then(|section| section.sample);
    let request = catalog.and_then(|catalog| example(catalog, key, in_root, sample));
    let request = request.map_or_else(String::new, |(method, path)| {
        format!(" -H 'X-Original-Method: {method}' -H 'X-Original-URI: {path}'")
    });
    let url = format!("{server}/auth/nginx{query}");
    // A query contains characters that a shell interprets.
    let url = if query.is_empty() {
        url
    } else {
        format!("'{url}'")
    };
    format!("curl -i {url}{request} -H '{header}'")
}

/// The method and path of a request that the key opens; preferably one that only reads, and only paths without
/// parameters.
fn example<'a>(
    catalog: &'a Catalog,
    key: &Key,
    in_root: bool,
    sample: Option<&'a str>,
) -> Option<(&'a str, &'a str)> {
    let held = key.scopes.iter().map(|scope| scope.as_str().into());
    let held: Vec<Box<str>> = held.collect();
    let granted = |requirement: &Requirement| {
        requirement.is_met(|scope| catalog.grants(&held, in_root, scope))
    };
    let opens = |operation: &&Operation| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "/-_.".contains(c);
        granted(&operation.requirement)
            && operation.host.is_none()
            && !(operation.writes && key.read_only)
            && operation.path.chars().all(plain)
    };
    let all = || catalog.definition().operations.iter().filter(opens);
    let found = all()
        .find(|operation| operation.method == "GET")
        .or_else(|| all().find(|operation| !operation.writes))
        .or_else(|| all().next());
    match (found, sample) {
        (Some(operation), _) => Some((&operation.method, &operation.path)),
        (None, Some(path)) => {
            let demand = catalog.demand("GET", path, None).ok()?;
            granted(demand.requirement).then_some(("GET", path))
        }
        (None, None) => None,
    }
}
