//! The members of a key that have a label and a short value, with links to what they name.

use super::fields::is_shown;
use super::labels::Words;
use crate::dialects::console::audit::{actor_name, actor_page};
use crate::dialects::console::auth::Visit;
use crate::dialects::console::layout::moment::span;
use crate::dialects::console::text::Texts;
use crate::dialects::console::{MOUNT, catalogs};
use crate::domain::keys::Member;
use crate::domain::keys::quota::RateLimit;
use crate::domain::policies::Policy;
use crate::domain::users::permissions::Permission;
use crate::error::Result;
use crate::http::query::encode;
use crate::ops::keys::View;

/// A member with its value.
pub struct Fact {
    pub label: &'static str,
    pub value: String,
    /// The page of what the value names; empty if it has none that the user may open.
    pub href: String,
}

/// The facts of a key, in the order of its members; those without a value are left out.
pub fn of(visit: &Visit<'_>, view: &View, policy: &Policy, words: Words) -> Result<Vec<Fact>> {
    let mut facts = Vec::new();
    for member in Member::ALL {
        let Some((label, value)) = fact(visit, view, policy, words, *member)? else {
            continue;
        };
        if !value.is_empty() {
            facts.push(Fact {
                label,
                value,
                href: page(visit, view, *member)?,
            });
        }
    }
    Ok(facts)
}

fn fact(
    visit: &Visit<'_>,
    view: &View,
    policy: &Policy,
    words: Words,
    member: Member,
) -> Result<Option<(&'static str, String)>> {
    let (key, texts) = (&view.key, visit.texts);
    let (read, write) = words.access();
    // A read-only key is always marked as such; that a key may write is displayed only if the pages of its policy have
    // this field.
    let access = match key.read_only {
        true => read,
        false if is_shown(policy, words, "read_only") => write,
        false => "",
    };
    let word = member.word();
    Ok(Some(match member {
        Member::Catalog => (words.field(word), key.catalog.clone().unwrap_or_default()),
        Member::Contact => (words.field(word), key.contact.clone()),
        Member::CreatedBy => (
            texts.get("field.created_by"),
            actor_name(visit, &key.created_by)?,
        ),
        Member::Description => (words.field(word), key.description.clone()),
        Member::Hint => (texts.get("field.hint"), key.hint.clone()),
        Member::Owner => (words.field(word), view.owner.clone().unwrap_or_default()),
        Member::Policy => (texts.get("field.policy"), key.policy.clone()),
        Member::RateLimit => match key.rate_limit {
            Some(rate) => {
                let limit = rate_text(texts, rate);
                (texts.get("field.rate_limit"), limit)
            }
            None => return Ok(None),
        },
        Member::ReadOnly => (words.field(word), access.to_owned()),
        Member::Source => (texts.get("field.source"), source(texts, &key.source)),
        Member::UsesLeft => match key.uses_left {
            Some(uses) => (texts.get("field.uses_left"), texts.number(uses)),
            None => return Ok(None),
        },
        Member::Weak if key.weak => (texts.get("field.weak"), texts.get("key.weak").to_owned()),
        Member::Workspace => (words.field(word), view.workspace.clone()),
        // The page shows these in places of their own.
        Member::AllowedIps
        | Member::CreatedAt
        | Member::Enabled
        | Member::ExpiresAt
        | Member::Id
        | Member::Metadata
        | Member::Name
        | Member::NotBefore
        | Member::RotatedAt
        | Member::Scopes
        | Member::SelfRotatedFrom
        | Member::Weak => return Ok(None),
        // Numbers are for other dialects, and a deleted key has its state.
        Member::DeletedAt | Member::Number => return Ok(None),
        // Only the reconciliation with files needs these.
        Member::DeclaredDigest | Member::DeclaredName | Member::DeclaredState | Member::Held => {
            return Ok(None);
        }
    }))
}

/// The page of what a member names; empty if there is none, or the user may not open it.
fn page(visit: &Visit<'_>, view: &View, member: Member) -> Result<String> {
    let key = &view.key;
    let directory = visit.call.app.index.directory();
    let permissions = visit.caller.permissions_somewhere(&directory);
    let may = |permission, href: String| match permissions.contains(permission) {
        true => href,
        false => String::new(),
    };
    Ok(match member {
        Member::Catalog => match &key.catalog {
            Some(name) => may(Permission::CatalogsRead, catalogs::address(name)),
            None => String::new(),
        },
        Member::CreatedBy => {
            drop(directory);
            actor_page(visit, &key.created_by)?
        }
        Member::Owner => match &view.owner {
            Some(name) => {
                drop(directory);
                actor_page(visit, &format!("user:{name}"))?
            }
            None => String::new(),
        },
        Member::Policy => may(
            Permission::PoliciesRead,
            format!("{MOUNT}/policies/{}", encode(&key.policy)),
        ),
        Member::Workspace => match visit.caller.knows(&directory, key.workspace) {
            true => may(
                Permission::WorkspacesRead,
                format!("{MOUNT}/workspaces/{}", encode(&view.workspace)),
            ),
            false => String::new(),
        },
        _ => String::new(),
    })
}

/// Where a key comes from, in words; empty for a key that was issued here.
fn source(texts: &Texts, source: &str) -> String {
    match source.split_once(':') {
        Some(("import", system)) => texts.get("key.source_import").replacen("{}", system, 1),
        Some(("file", place)) => texts.get("key.source_file").replacen("{}", place, 1),
        _ => String::new(),
    }
}

/// A rate limit in words.
pub fn rate_text(texts: &Texts, rate: RateLimit) -> String {
    let limit = texts.count("key.rate", rate.limit);
    let limit = limit.replacen("{}", &span(texts, rate.window_s), 1);
    match rate.exact {
        true => texts.with("key.rate_exact", &limit),
        false => limit,
    }
}
