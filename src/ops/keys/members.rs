//! The members of a key that a request sets: a new key and an edit have the same ones, and the same rules.

use crate::domain::catalogs::check_scope_name;
use crate::domain::keys::quota::RateLimit;
use crate::domain::keys::{Key, Member, NO_METADATA, SCOPES_MAX};
use crate::domain::policies::Policy;
use crate::domain::text;
use crate::domain::time::Timestamp;
use crate::domain::uid::Uid;
use crate::error::{Error, Result};
use crate::index::directory::Directory;
use crate::ops::catalogs;
use crate::refusals;
use crate::store::Read;

/// Generates [`KeyMembers`], and what it does with one member, from one list.
macro_rules! key_members {
    ($($(#[$doc:meta])* $name:ident: $type:ty => $member:ident,)*) => {
        /// The members that a request sets. An edit leaves an absent member as it is, and a new key gets its default.
        #[derive(Clone, Debug, Default)]
        pub struct KeyMembers {
            $($(#[$doc])* pub $name: Option<$type>,)*
        }

        impl KeyMembers {
            /// Whether a member is set.
            pub fn has(&self, member: Member) -> bool {
                $((member == Member::$member && self.$name.is_some()))||*
            }

            /// Removes a member, and returns whether it was set.
            pub fn forget(&mut self, member: Member) -> bool {
                let was_set = self.has(member);
                $(if member == Member::$member {
                    self.$name = None;
                })*
                was_set
            }

            /// Whether a member differs from that of other ones.
            pub fn differs(&self, other: &KeyMembers, member: Member) -> bool {
                $((member == Member::$member && self.$name != other.$name))||*
            }
        }
    };
}

key_members! {
    name: String => Name,
    description: String => Description,
    contact: String => Contact,
    /// User name or uid. `Some(None)`: explicitly without an owner.
    owner: Option<String> => Owner,
    scopes: Vec<String> => Scopes,
    read_only: bool => ReadOnly,
    enabled: bool => Enabled,
    not_before: Option<Timestamp> => NotBefore,
    expires_at: Option<Timestamp> => ExpiresAt,
    /// Instead of `expires_at`: seconds from now.
    expires_in_s: u64 => ExpiresAt,
    allowed_ips: Option<Vec<String>> => AllowedIps,
    /// `Some(None)`: the policy's default.
    rate_limit: Option<RateLimit> => RateLimit,
    uses_left: Option<u64> => UsesLeft,
    /// A JSON object, compact; empty for `{}`.
    metadata: String => Metadata,
}

/// What decides whether a value is valid for a key.
pub struct Rules<'a> {
    pub read: &'a Read,
    pub directory: &'a Directory,
    pub policy: &'a Policy,
    pub now: Timestamp,
}

impl KeyMembers {
    /// Gives a key the value of a member that is set, if the value is valid on its own.
    pub fn put(&self, member: Member, key: &mut Key, rules: &Rules<'_>) -> Result<()> {
        let policy = rules.policy;
        match member {
            Member::AllowedIps => {
                if let Some(entries) = &self.allowed_ips {
                    let parse = |entries: &Vec<String>| {
                        policy.parse_addresses(entries.iter().map(String::as_str))
                    };
                    key.allowed_ips = entries.as_ref().map(parse).transpose()?;
                }
            }
            Member::Contact => {
                if let Some(contact) = &self.contact {
                    text::check_line("contact", contact, text::CONTACT_CHARS_MAX)?;
                    if contact.trim() != contact {
                        return Err(Error::invalid("contact", refusals::values::blank_ends()));
                    }
                    key.contact.clone_from(contact);
                }
            }
            Member::Description => {
                if let Some(description) = &self.description {
                    text::check_description("description", description)?;
                    key.description.clone_from(description);
                }
            }
            Member::Enabled => key.enabled = self.enabled.unwrap_or(key.enabled),
            Member::ExpiresAt => {
                if self.has(member) {
                    let at = self.expires_at.flatten();
                    key.expires_at = expiry(at, self.expires_in_s, rules.now)?;
                }
            }
            Member::Metadata => {
                if let Some(compact) = &self.metadata {
                    key.metadata = metadata(compact)?;
                }
            }
            Member::Name => {
                if let Some(name) = &self.name {
                    text::check_name("name", name)?;
                    key.name.clone_from(name);
                }
            }
            Member::NotBefore => key.not_before = self.not_before.unwrap_or(key.not_before),
            Member::RateLimit => {
                if let Some(rate_limit) = self.rate_limit {
                    key.rate_limit = rate_limit.or(policy.rate_limit_default());
                }
            }
            Member::ReadOnly => key.read_only = self.read_only.unwrap_or(key.read_only),
            Member::Scopes => {
                if let Some(asked) = &self.scopes {
                    key.scopes = scopes(rules, key.catalog.as_deref(), key.workspace, asked)?;
                }
            }
            Member::UsesLeft => key.uses_left = self.uses_left.unwrap_or(key.uses_left),
            // Issuing a key and handing it over have rules of their own for the owner.
            Member::Owner => {}
            // No request sets the rest as a value.
            Member::Catalog
            | Member::CreatedAt
            | Member::CreatedBy
            | Member::DeclaredDigest
            | Member::DeclaredName
            | Member::DeclaredState
            | Member::DeletedAt
            | Member::Held
            | Member::Hint
            | Member::Id
            | Member::Number
            | Member::Policy
            | Member::RotatedAt
            | Member::SelfRotatedFrom
            | Member::Source
            | Member::Weak
            | Member::Workspace => {}
        }
        Ok(())
    }

    /// Removes the member that an error is about, or replaces the address that it is about by a valid one. `false` if
    /// the request does not have it.
    pub fn mend(&mut self, field: &str) -> bool {
        let (bare, position) = place(field);
        let member = match bare {
            "expires_in_s" => Some(Member::ExpiresAt),
            bare => Member::parse(bare),
        };
        let Some(member) = member else {
            return false;
        };
        let line = match (member, position, &mut self.allowed_ips) {
            (Member::AllowedIps, Some(position), Some(Some(list))) => list.get_mut(position),
            _ => None,
        };
        let Some(line) = line else {
            return self.forget(member);
        };
        // Each line gets a different address: equal addresses are merged, which would shift the positions of later
        // lines.
        let valid = format!("fd6c:6174:6368::{:x}", position.unwrap_or_default());
        let differs = *line != valid;
        *line = valid;
        differs
    }
}

/// The member that an error names, and the position in its list.
pub(super) fn place(field: &str) -> (&str, Option<usize>) {
    let bare = field.split(['[', '.']).next().unwrap_or(field);
    let position = field.split(['[', ']']).nth(1);
    (bare, position.and_then(|text| text.parse().ok()))
}

/// Checks scopes against the catalog, removes repeats, and keeps their order.
fn scopes(
    rules: &Rules<'_>,
    catalog: Option<&str>,
    workspace: Uid,
    asked: &[String],
) -> Result<Vec<String>> {
    let catalog = match catalog {
        None => None,
        Some(name) => {
            let found = catalogs::in_force(rules.read, rules.directory, name)?;
            Some(found.ok_or_else(|| {
                Error::invalid(
                    "catalog",
                    refusals::catalogs::unknown(format_args!("{name:?}")),
                )
            })?)
        }
    };
    if asked.len() > SCOPES_MAX {
        return Err(Error::invalid(
            "scopes",
            refusals::values::entries_at_most(SCOPES_MAX),
        ));
    }
    let mut kept: Vec<String> = Vec::with_capacity(asked.len());
    for (position, scope) in asked.iter().enumerate() {
        let field = format!("scopes[{position}]");
        check_scope_name(&field, scope)?;
        if let Some(catalog) = &catalog {
            let refused = |why| Err(Error::invalid(&field, why));
            match catalog.scope(scope) {
                None => return refused(refusals::catalogs::unknown_scope_of(catalog.name())),
                Some(found) if found.root_only && !rules.directory.is_root(workspace) => {
                    return refused(refusals::keys::counted_on_root());
                }
                Some(_) => {}
            }
        }
        if !kept.contains(scope) {
            kept.push(scope.clone());
        }
    }
    Ok(kept)
}

/// The expiry of a key from its two possible forms.
/// The end that a moment or a number of seconds from now stands for.
pub(super) fn expiry(
    at: Option<Timestamp>,
    in_s: Option<u64>,
    now: Timestamp,
) -> Result<Option<Timestamp>> {
    match (at, in_s) {
        (Some(_), Some(_)) => Err(Error::invalid(
            "expires_in_s",
            refusals::keys::beside_expires_at(),
        )),
        (None, Some(0)) => Err(Error::invalid(
            "expires_in_s",
            refusals::values::at_least_one(),
        )),
        (at, in_s) => Ok(at.or(in_s.map(|seconds| now.plus_s(seconds)))),
    }
}

/// Metadata in its stored form.
fn metadata(compact: &str) -> Result<String> {
    if compact.len() > text::METADATA_BYTES_MAX {
        return Err(Error::invalid(
            "metadata",
            refusals::keys::metadata_bytes(text::METADATA_BYTES_MAX),
        ));
    }
    Ok(if compact.is_empty() {
        NO_METADATA.to_owned()
    } else {
        compact.to_owned()
    })
}

#[cfg(test)]
impl KeyMembers {
    /// A name, and nothing else.
    pub fn named(name: &str) -> KeyMembers {
        KeyMembers {
            name: Some(name.to_owned()),
            ..KeyMembers::default()
        }
    }
}
