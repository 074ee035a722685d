//! The page that shows a secret, and is the only one that does.

use super::address;
use super::words::Words;
use crate::dialects::console::door::cookie::Channel;
use crate::dialects::console::door::{Visit, channel};
use crate::dialects::console::shell::{Nav, Shell, html};
use crate::domain::policy::{CredentialHeader, Policy, SecretShown};
use crate::error::Result;
use crate::http::reply::Reply;
use crate::ops::keys::Issued;
use askama::Template;

#[derive(Template)]
#[template(path = "console/secret.html")]
struct SecretPage {
    s: Shell,
    w: Words,
    name: String,
    href: String,
    /// Where to go when it is stored.
    back: String,
    lead: &'static str,
    warning: &'static str,
    /// Whether this is the only time.
    once: bool,
    secret: Option<Shown>,
    advice: Vec<&'static str>,
}

struct Shown {
    text: String,
    curl: String,
}

/// Why a secret is shown.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Occasion {
    Created,
    Revealed,
    Rotated,
}

/// The secret of a key, if it is still to be had.
pub fn shown(
    visit: &Visit<'_>,
    policy: &Policy,
    issued: &Issued,
    occasion: Occasion,
) -> Result<Reply> {
    let words = Words::of(visit, Some(&policy.name));
    let t = visit.texts;
    let (title, lead) = match (&issued.secret, occasion) {
        (None, _) => ("secret.gone_title", "secret.gone"),
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
            Some(_) => super::list_address(visit, &policy.name),
            None => address(key.id),
        },
        lead: t.get(lead),
        warning: t.get(if once { "secret.once" } else { "secret.again" }),
        once: once && issued.secret.is_some(),
        secret: issued.secret.as_ref().map(|secret| Shown {
            text: secret.expose().to_owned(),
            curl: curl(visit, policy, secret.expose()),
        }),
        advice: words.advice(),
        w: words,
    };
    html(200, &secret)
}

/// A line that tells whether the key works, as a proxy would ask.
fn curl(visit: &Visit<'_>, policy: &Policy, secret: &str) -> String {
    let scheme = match channel(visit.call) {
        Channel::Encrypted => "https",
        Channel::Plain => "http",
    };
    let host = visit.call.request.host().unwrap_or("localhost");
    // Where a key may be sent in several ways, the first one that is a header of its own.
    let plain = |header: &&CredentialHeader| **header != CredentialHeader::Basic;
    let header = match policy.headers.iter().find(plain) {
        Some(CredentialHeader::Named(name)) => format!("{name}: {secret}"),
        Some(CredentialHeader::Token) => format!("Authorization: Token {secret}"),
        Some(CredentialHeader::Bearer) => format!("Authorization: Bearer {secret}"),
        Some(CredentialHeader::Basic) | None => {
            return format!("curl -i {scheme}://{host}/auth/nginx -u ':{secret}'");
        }
    };
    format!("curl -i {scheme}://{host}/auth/nginx -H '{header}'")
}
