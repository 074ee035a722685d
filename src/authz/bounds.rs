//! You cannot issue, widen or take over a key that may do more than you may.
//!
//! This concerns keys that act on this server: those of the built-in catalog, and those whose policy lets them act for
//! their owner. Scopes of other keys mean what other services permit; every caller who manages keys in a workspace may
//! grant them.

use crate::authz::caller::{Caller, Identity};
use crate::domain::catalogs::BUILT_IN;
use crate::domain::keys::{Key, Meaning, Member};
use crate::domain::users::User;
use crate::domain::users::permissions::Permissions;
use crate::error::{Error, Result};
use crate::index::directory::Directory;
use crate::refusals;
use crate::store::{Read, keys, policies, users};

/// Whether the key's scopes are permissions on this server.
pub fn is_management(key: &Key) -> bool {
    key.catalog.as_deref() == Some(BUILT_IN)
}

/// Whether the key acts on this server, in its own right or for its owner. The row decides, because another change of
/// the same batch may have come first.
pub fn acts_here(read: &Read, key: &Key) -> Result<bool> {
    Ok(is_management(key) || acts_for_owner(read, key)?)
}

fn acts_for_owner(read: &Read, key: &Key) -> Result<bool> {
    Ok(policies::find(read, &key.policy)?.is_some_and(|policy| policy.acts_for_owner))
}

/// Refuses a key that acts on this server if the caller's own rights and limits do not cover it. A new key first gets
/// the limits of the caller's key that the request left out.
pub fn inherit(read: &Read, directory: &Directory, caller: &Caller, key: &mut Key) -> Result<()> {
    if !acts_here(read, key)? {
        return Ok(());
    }
    if let Some(own) = own_key(read, caller)? {
        key.expires_at = key.expires_at.or(own.expires_at);
        key.allowed_ips = key.allowed_ips.take().or(own.allowed_ips);
        key.rate_limit = key.rate_limit.or(own.rate_limit);
        key.uses_left = key.uses_left.or(own.uses_left);
    }
    require_cover(read, directory, caller, key)
}

/// The data from the store that decides whether a caller's rights cover a key. It is read first, so that the decision
/// itself needs only the directory.
pub struct Facts {
    /// Whether the key's policy lets it act for its owner.
    acts_for_owner: bool,
    /// The owner of such a key.
    owner: Option<User>,
    /// The caller's own key, if the caller is a key.
    own: Option<Key>,
}

impl Facts {
    pub fn read(read: &Read, caller: &Caller, key: &Key) -> Result<Facts> {
        let acts_for_owner = acts_for_owner(read, key)?;
        let owner = key.owner.filter(|_| acts_for_owner);
        let owner = owner.map(|owner| users::find(read, owner)).transpose()?;
        Ok(Facts {
            acts_for_owner,
            owner: owner.flatten(),
            own: own_key(read, caller)?,
        })
    }

    /// As [`acts_here`].
    pub fn acts_here(&self, key: &Key) -> bool {
        is_management(key) || self.acts_for_owner
    }
}

/// Refuses a key that the caller's own rights and limits do not cover.
pub fn require_cover(read: &Read, directory: &Directory, caller: &Caller, key: &Key) -> Result<()> {
    check_cover(directory, caller, key, &Facts::read(read, caller, key)?)
}

/// As [`require_cover`], with facts that were read before.
pub fn check_cover(directory: &Directory, caller: &Caller, key: &Key, facts: &Facts) -> Result<()> {
    if is_management(key) {
        require_permissions(directory, caller, key)?;
    } else if facts.acts_for_owner {
        require_owner(directory, caller, key, facts)?;
    } else {
        return Ok(());
    }
    let Some(own) = &facts.own else {
        return Ok(());
    };
    let mut members = Member::ALL.iter().copied();
    match members.find(|member| is_bound(*member) && is_wider(*member, key, own)) {
        None => Ok(()),
        Some(member) => Err(Error::Forbidden(refusals::access::wider_than_issuer(
            member.word(),
        ))),
    }
}

/// Refuses an edit that gives rights on this server to a key, or leaves it any, if another system has made its secret,
/// whose strength is unknown.
pub fn require_strong(key: &Key) -> Result<()> {
    match key.weak {
        true => Err(Error::Conflict(refusals::imports::weak_edited())),
        false => Ok(()),
    }
}

/// Whether a key passes this limit on to the keys that it issues. What the other limits permit is decided by
/// [`require_permissions`], [`require_owner`] and `authz::keys`; a key does not act before its own start.
fn is_bound(member: Member) -> bool {
    let decided_elsewhere = matches!(
        member,
        Member::NotBefore | Member::Owner | Member::ReadOnly | Member::Scopes
    );
    member.meaning() == Meaning::Limit && !decided_elsewhere
}

/// Whether a key has a wider limit than the caller's own key.
fn is_wider(member: Member, key: &Key, own: &Key) -> bool {
    match member {
        Member::AllowedIps => own.allowed_ips.as_ref().is_some_and(|own| {
            let asked = key.allowed_ips.as_ref();
            asked.is_none_or(|asked| !asked.is_within(own))
        }),
        Member::ExpiresAt => own
            .expires_at
            .is_some_and(|own| key.expires_at.is_none_or(|asked| asked > own)),
        Member::RateLimit => own.rate_limit.is_some_and(|own| {
            key.rate_limit
                .is_none_or(|asked| !asked.is_as_strict_as(own))
        }),
        Member::UsesLeft => own
            .uses_left
            .is_some_and(|own| key.uses_left.is_none_or(|asked| asked > own)),
        // Of a limit that is not listed above, only the same value is certain not to be wider.
        other => is_set(other, own) && other.text(key) != other.text(own),
    }
}

/// Whether a key has this limit.
fn is_set(member: Member, key: &Key) -> bool {
    member.text(key) != member.text(&Key::blank())
}

/// Refuses a management key that permits more than the caller may do.
fn require_permissions(directory: &Directory, caller: &Caller, key: &Key) -> Result<()> {
    let asked = within(
        key,
        Permissions::from_scopes(key.scopes.iter().map(String::as_str)),
    );
    let own = caller.permissions_in(directory, key.workspace);
    if own.covers(asked) {
        return Ok(());
    }
    let missing: Vec<&str> = asked
        .scopes()
        .filter(|scope| !own.covers(Permissions::from_scopes([*scope])))
        .collect();
    Err(Error::Forbidden(refusals::access::scopes_not_held(
        missing.join(" "),
    )))
}

/// Refuses a key that acts for its owner if the owner could do more with it than the caller may do.
fn require_owner(directory: &Directory, caller: &Caller, key: &Key, facts: &Facts) -> Result<()> {
    let Some(owner) = &facts.owner else {
        return Err(Error::invalid("owner", refusals::keys::owner_needed()));
    };
    let covered = if caller.user == Some(owner.uid) {
        caller.permissions.covers(within(key, Permissions::all()))
    } else {
        owner.roles.iter().all(|binding| {
            caller
                .permissions_in(directory, binding.workspace)
                .covers(within(key, binding.role.permissions()))
        })
    };
    if !covered {
        return Err(Error::Forbidden(refusals::access::owner_may_do_more(
            &owner.user_name,
        )));
    }
    // A key that acts for its owner never passes on more than it has itself.
    if let (Identity::ForOwner(_), Some(own)) = (caller.identity, &facts.own)
        && let Some(more) = key.scopes.iter().find(|scope| !own.scopes.contains(scope))
    {
        return Err(Error::Forbidden(refusals::access::lacks_scope_to_give(
            more,
        )));
    }
    Ok(())
}

/// The permissions that remain if the key is read-only.
fn within(key: &Key, permissions: Permissions) -> Permissions {
    match key.read_only {
        true => permissions.and(Permissions::reading()),
        false => permissions,
    }
}

/// Refuses a limited management key that would create a user who can sign in: such a user would have no limits.
pub fn require_unlimited(read: &Read, caller: &Caller) -> Result<()> {
    let own = own_key(read, caller)?;
    let limited = own.is_some_and(|own| {
        let mut members = Member::ALL.iter().copied();
        members.any(|member| is_bound(member) && is_set(member, &own))
    });
    if limited {
        return Err(Error::Forbidden(
            refusals::access::limited_keys_make_no_users(),
        ));
    }
    Ok(())
}

/// The caller's own key, if the caller is a key.
fn own_key(read: &Read, caller: &Caller) -> Result<Option<Key>> {
    match caller.identity {
        Identity::ForOwner(id) | Identity::Key(id) => {
            let Some(mut own) = keys::find(read, id)? else {
                return Ok(None);
            };
            // A key may be older than the bound of its policy. The bound applies to it as well.
            let policy = policies::find(read, &own.policy)?;
            if let Some(most) = policy.and_then(|policy| policy.rate_limit_max)
                && !own.rate_limit.is_some_and(|rate| rate.is_within(most))
            {
                own.rate_limit = Some(most);
            }
            Ok(Some(own))
        }
        Identity::Acting(_)
        | Identity::Enrolling(_)
        | Identity::Local
        | Identity::Password { .. }
        | Identity::Session(_) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_with_a_limit_issues_no_key_without_it() {
        let (blank, full) = (Key::blank(), Key::full());
        let mut bound = Vec::new();
        for member in Member::ALL.iter().filter(|member| is_bound(**member)) {
            let word = member.word();
            let mut own = blank.clone();
            member.copy(&full, &mut own);
            assert!(is_set(*member, &own) && !is_set(*member, &blank), "{word}");
            assert!(is_wider(*member, &blank, &own), "{word}");
            assert!(!is_wider(*member, &own, &own), "{word}");
            assert!(!is_wider(*member, &own, &blank), "{word}");
            bound.push(word);
        }
        assert_eq!(
            bound,
            ["expires_at", "allowed_ips", "rate_limit", "uses_left"]
        );
    }
}
