//! What a key that acts for its owner may do: the rules by which the owner's roles bound it.
//!
//! A key whose policy has `acts_for_owner` may do at most what its owner may. Each such policy has one rule for each
//! role that counts: the scopes that the role passes on to the key, and whether the key may only read. A role without a
//! rule passes on nothing, so a key opens nothing if its owner has no role with a rule. The roles are those that the
//! owner has, at the time of the request, in the workspace that the request is about.

use super::Policy;
use crate::domain::catalogs::Catalog;
use crate::domain::users::roles::Role;
use crate::error::{Error, Result};
use crate::refusals;

/// Used alone, it means every scope that the key has.
pub const EVERY_SCOPE: &str = "*";

/// The word after the role, in the line of a rule that passes on reading only.
const READS: &str = " (reads)";

/// What one role of the owner passes on to a key that acts for the owner.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RoleRule {
    pub role: Role,
    /// Scopes of the key's catalog, or [`EVERY_SCOPE`] alone.
    pub scopes: Vec<Box<str>>,
    /// The role passes on reading only.
    pub read_only: bool,
}

/// A set of roles.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Roles(u8);

impl Roles {
    /// Returns the set with one more role.
    #[must_use]
    pub fn with(self, role: Role) -> Roles {
        Roles(self.0 | 1 << role as u8)
    }

    pub fn contains(self, role: Role) -> bool {
        self.0 & 1 << role as u8 != 0
    }

    /// The set as a number, for a place that can only hold one.
    pub fn bits(self) -> u8 {
        self.0
    }

    /// The inverse of [`Roles::bits`].
    pub fn of_bits(bits: u8) -> Roles {
        Roles(bits)
    }
}

impl RoleRule {
    /// Whether the rule passes on every scope that the key has.
    pub fn has_every_scope(&self) -> bool {
        matches!(&*self.scopes, [one] if **one == *EVERY_SCOPE)
    }

    /// Whether the role passes on a scope, if the key has it.
    pub fn grants(&self, catalog: Option<&Catalog>, in_root: bool, scope: &str) -> bool {
        self.has_every_scope()
            || match catalog {
                Some(catalog) => catalog.grants(&self.scopes, in_root, scope),
                None => self.scopes.iter().any(|known| **known == *scope),
            }
    }

    /// The rule as one line, for the audit log and for forms: `auditor (reads): invoices:read users:read`.
    pub fn line(&self) -> String {
        let reads = if self.read_only { READS } else { "" };
        format!("{}{reads}: {}", self.role.as_str(), self.scopes.join(" "))
    }

    /// The inverse of [`RoleRule::line`]; `None` if the line is not of that form.
    pub fn parse(line: &str) -> Option<RoleRule> {
        let (role, scopes) = line.split_once(": ")?;
        let (role, read_only) = match role.trim().strip_suffix(READS) {
            Some(role) => (role, true),
            None => (role.trim(), false),
        };
        Some(RoleRule {
            role: Role::parse(role)?,
            scopes: scopes.split_whitespace().map(Box::from).collect(),
            read_only,
        })
    }

    /// Whether another rule permits every request that this rule permits.
    fn is_within(&self, other: &RoleRule) -> bool {
        let scopes =
            other.has_every_scope() || self.scopes.iter().all(|scope| other.scopes.contains(scope));
        scopes && (self.read_only || !other.read_only)
    }
}

impl Policy {
    /// The rules of the roles in a set that count for a request. For a request that `writes`, rules that only pass on
    /// reading do not count.
    pub fn rules_of(&self, roles: Roles, writes: bool) -> impl Iterator<Item = &RoleRule> {
        self.roles
            .iter()
            .filter(move |rule| roles.contains(rule.role) && !(writes && rule.read_only))
    }

    /// The default rules of a policy whose keys act for their owner: every role passes on all scopes of the key, and
    /// roles that change nothing for other users pass on reading only.
    pub fn default_roles() -> Vec<RoleRule> {
        let rule = |role: Role| RoleRule {
            role,
            scopes: vec![EVERY_SCOPE.into()],
            read_only: matches!(role, Role::Auditor | Role::Member),
        };
        Role::all().map(rule).collect()
    }

    /// Whether no role passes on more than the rules of another policy permit.
    pub(super) fn roles_are_within(&self, other: &Policy) -> bool {
        self.roles.iter().all(|rule| {
            let mut others = other.roles.iter();
            others.any(|known| known.role == rule.role && rule.is_within(known))
        })
    }

    /// Refuses inconsistent rules: a role twice, no scope, `*` together with other scopes, rules where they have no
    /// meaning, or no rules where nothing would be permitted without them.
    pub(super) fn check_roles(&self) -> Result<()> {
        if self.acts_for_owner == self.roles.is_empty() {
            return Err(Error::invalid(
                "roles",
                match self.acts_for_owner {
                    true => refusals::policies::roles_needed(),
                    false => refusals::policies::roles_unused(),
                },
            ));
        }
        for (position, rule) in self.roles.iter().enumerate() {
            let member = format!("roles.{}", rule.role.as_str());
            let twice = self.roles[..position]
                .iter()
                .any(|known| known.role == rule.role);
            if twice {
                return Err(Error::invalid(member, refusals::values::twice()));
            }
            let word = |scope: &str| {
                !scope.is_empty()
                    && scope.len() <= 100
                    && scope.bytes().all(|b| b.is_ascii_graphic())
            };
            let alone = rule.scopes.len() == 1 || !rule.scopes.iter().any(|s| **s == *EVERY_SCOPE);
            if rule.scopes.is_empty() || !alone || !rule.scopes.iter().all(|scope| word(scope)) {
                return Err(Error::invalid(
                    format!("{member}.scopes"),
                    refusals::policies::scopes_of_role(),
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::policies::IssuedBy;

    fn rule(role: Role, scopes: &[&str], read_only: bool) -> RoleRule {
        RoleRule {
            role,
            scopes: scopes.iter().map(|scope| (*scope).into()).collect(),
            read_only,
        }
    }

    fn acting(roles: Vec<RoleRule>) -> Policy {
        Policy {
            issued_by: IssuedBy::Owner,
            acts_for_owner: true,
            roles,
            ..Policy::standard()
        }
    }

    #[test]
    fn rules_that_make_no_sense_are_refused() {
        for (roles, fault) in [
            (vec![], Some("roles")),
            (
                vec![rule(Role::Owner, &[], false)],
                Some("roles.owner.scopes"),
            ),
            (
                vec![rule(Role::Owner, &["*", "a"], false)],
                Some("roles.owner.scopes"),
            ),
            (
                vec![rule(Role::Owner, &["a b"], false)],
                Some("roles.owner.scopes"),
            ),
            (
                vec![
                    rule(Role::Member, &["a"], false),
                    rule(Role::Member, &["b"], true),
                ],
                Some("roles.member"),
            ),
            (Policy::default_roles(), None),
            (vec![rule(Role::Auditor, &["a:read", "b:read"], true)], None),
        ] {
            match (acting(roles).check_definition(), fault) {
                (Ok(()), None) => {}
                (Err(Error::Invalid { field, .. }), Some(fault)) => assert_eq!(field, fault),
                other => panic!("{other:?}"),
            }
        }
        let meaningless = Policy {
            roles: Policy::default_roles(),
            ..Policy::standard()
        };
        assert!(meaningless.check_definition().is_err());
    }

    #[test]
    fn a_rule_is_read_from_its_own_line() {
        for rule in Policy::default_roles() {
            assert_eq!(RoleRule::parse(&rule.line()), Some(rule));
        }
        let line = "auditor (reads): invoices:read users:read";
        assert_eq!(RoleRule::parse(line).unwrap().line(), line);
        for bad in [
            "",
            "auditor",
            "auditor:*",
            "stranger: *",
            "auditor (writes): *",
        ] {
            assert_eq!(RoleRule::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_role_without_a_rule_passes_on_nothing_and_reading_roles_no_writing() {
        let policy = acting(vec![
            rule(Role::Owner, &["*"], false),
            rule(Role::Auditor, &["a:read"], true),
        ]);
        let count = |roles: &[Role], writes| {
            let set = roles
                .iter()
                .fold(Roles::default(), |set, role| set.with(*role));
            policy.rules_of(set, writes).count()
        };
        assert_eq!(count(&[], false), 0);
        assert_eq!(count(&[Role::Member, Role::KeyManager], false), 0);
        assert_eq!(count(&[Role::Auditor], false), 1);
        assert_eq!(count(&[Role::Auditor], true), 0);
        assert_eq!(count(&[Role::Auditor, Role::Owner], true), 1);
    }
}
