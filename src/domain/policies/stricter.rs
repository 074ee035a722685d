//! Which of two policies permits less. One rule applies to every member: the old version permits everything that the
//! new version permits.

use super::{
    AddressRule, Expiry, IssuedBy, OnLeak, OnReuse, Policy, Presence, ReadOnlyBy, SecretShown,
    SelfRotation, TiedTo,
};
use crate::domain::keys::quota::RateLimit;

impl Policy {
    /// The first member in which this policy permits something that `before` did not permit; `None` if there is none.
    ///
    /// Description and prefix permit nothing, and neither does `at_owner_max`: with either value a user has at most
    /// `keys_per_owner_max` keys at once. A change that is neither stricter nor looser (read-only by method instead of
    /// by operation) permits something new, and so does not count as stricter.
    pub fn loosened_from(&self, before: &Policy) -> Option<&'static str> {
        let members = [
            ("issued_by", issuers(before.issued_by, self.issued_by)),
            (
                "owner",
                same_or(before.owner, self.owner, Presence::Optional),
            ),
            (
                "catalog",
                before.catalog.is_none() || before.catalog == self.catalog,
            ),
            (
                "scopes",
                same_or(before.scopes, self.scopes, Presence::Optional),
            ),
            ("headers", within(&self.headers, &before.headers)),
            (
                "read_only_by",
                same_or(before.read_only_by, self.read_only_by, ReadOnlyBy::Scope),
            ),
            (
                "expiry",
                same_or(before.expiry, self.expiry, Expiry::Optional),
            ),
            (
                "expiry_s_max",
                at_most(before.expiry_s_max, self.expiry_s_max),
            ),
            (
                "expiry_months_max",
                at_most(before.expiry_months_max, self.expiry_months_max),
            ),
            (
                "addresses",
                reach(self.addresses) <= reach(before.addresses),
            ),
            (
                "keys_per_workspace_max",
                at_most(before.keys_per_workspace_max, self.keys_per_workspace_max),
            ),
            (
                "keys_per_owner_max",
                at_most(before.keys_per_owner_max, self.keys_per_owner_max),
            ),
            ("name_unique", self.name_unique || !before.name_unique),
            (
                "secret_shown",
                same_or(before.secret_shown, self.secret_shown, SecretShown::Sealed),
            ),
            ("editable", self.editable.is_within(&before.editable)),
            ("can_disable", before.can_disable || !self.can_disable),
            ("can_rotate", before.can_rotate || !self.can_rotate),
            (
                "self_rotation",
                freedom(self.self_rotation) <= freedom(before.self_rotation),
            ),
            ("confirm_name", self.confirm_name || !before.confirm_name),
            ("second_factor", self.second_factor || !before.second_factor),
            // Keys that work must not become decoys either: their clients would be shut out without a reason.
            ("decoy", self.decoy == before.decoy),
            (
                "on_reuse",
                same_or(before.on_reuse, self.on_reuse, OnReuse::Note),
            ),
            (
                "on_leak",
                same_or(before.on_leak, self.on_leak, OnLeak::Note),
            ),
            (
                "tied_to",
                same_or(before.tied_to, self.tied_to, TiedTo::Workspace),
            ),
            (
                "acts_for_owner",
                before.acts_for_owner || !self.acts_for_owner,
            ),
            ("roles", self.roles_are_within(before)),
            (
                "rate_limit",
                slower(before.rate_limit_default(), self.rate_limit_default()),
            ),
            (
                "rate_limit_max",
                slower(before.rate_limit_max, self.rate_limit_max),
            ),
        ];
        members
            .into_iter()
            .find(|(_, kept)| !kept)
            .map(|(member, _)| member)
    }
}

/// Whether the value is unchanged, or was the loosest value before.
fn same_or<T: PartialEq>(before: T, after: T, loosest: T) -> bool {
    before == after || before == loosest
}

fn issuers(before: IssuedBy, after: IssuedBy) -> bool {
    if after == IssuedBy::RootAdministrator {
        // The permissions of such keys depend on their issuer (`authz::authenticate::as_granted`), so other keys must not
        // become such keys.
        return before == after;
    }
    // To prove a password again is a stronger demand than to have a session or a key.
    let narrowed = matches!((before, after), (IssuedBy::Owner, IssuedBy::Password));
    narrowed || same_or(before, after, IssuedBy::ManagerOrOwner)
}

fn within<T: PartialEq>(after: &[T], before: &[T]) -> bool {
    after.iter().all(|one| before.contains(one))
}

/// `None` is no bound at all.
fn at_most<T: PartialOrd>(before: Option<T>, after: Option<T>) -> bool {
    match (before, after) {
        (None, _) => true,
        (Some(before), Some(after)) => after <= before,
        (Some(_), None) => false,
    }
}

fn reach(rule: AddressRule) -> u8 {
    match rule {
        AddressRule::Off => 0,
        AddressRule::Exact => 1,
        AddressRule::Cidr => 2,
    }
}

fn freedom(rule: SelfRotation) -> u8 {
    match rule {
        SelfRotation::No => 0,
        SelfRotation::AtOnce => 1,
        SelfRotation::Grace => 2,
    }
}

/// Whether a limit never allows more requests than another one; `None` is no limit at all.
fn slower(before: Option<RateLimit>, after: Option<RateLimit>) -> bool {
    match (before, after) {
        (None, _) => true,
        (Some(before), Some(after)) => after.is_as_strict_as(before),
        (Some(_), None) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{CredentialHeader, Editable};
    use super::*;
    use crate::domain::keys::Member;

    fn strict() -> Policy {
        Policy {
            issued_by: IssuedBy::Password,
            owner: Presence::Required,
            catalog: Some("one".to_owned()),
            scopes: Presence::Forbidden,
            headers: vec![CredentialHeader::Bearer],
            read_only_by: ReadOnlyBy::Method,
            expiry: Expiry::Required,
            expiry_s_max: Some(60),
            expiry_months_max: Some(1),
            addresses: AddressRule::Off,
            keys_per_workspace_max: Some(1),
            keys_per_owner_max: Some(1),
            name_unique: true,
            secret_shown: SecretShown::Once,
            editable: Editable::Only(vec![Member::Name]),
            can_disable: false,
            can_rotate: false,
            self_rotation: SelfRotation::No,
            confirm_name: true,
            second_factor: true,
            on_reuse: OnReuse::Disable,
            on_leak: OnLeak::Disable,
            tied_to: TiedTo::OwnerAndWorkspace,
            rate_limit: Some(RateLimit {
                limit: 1,
                window_s: 60,
                exact: false,
            }),
            rate_limit_max: Some(RateLimit {
                limit: 60,
                window_s: 60,
                exact: false,
            }),
            prefix: "other".to_owned(),
            description: "other".to_owned(),
            ..Policy::standard()
        }
    }

    fn loose() -> Policy {
        Policy {
            read_only_by: ReadOnlyBy::Scope,
            secret_shown: SecretShown::Sealed,
            self_rotation: SelfRotation::Grace,
            tied_to: TiedTo::Workspace,
            ..Policy::standard()
        }
    }

    #[test]
    fn a_policy_is_no_looser_than_itself_or_than_one_that_permits_all() {
        assert_eq!(strict().loosened_from(&strict()), None);
        assert_eq!(loose().loosened_from(&loose()), None);
        assert_eq!(strict().loosened_from(&loose()), None);
    }

    #[test]
    fn keys_of_managers_do_not_become_an_administrators() {
        let root = Policy {
            issued_by: IssuedBy::RootAdministrator,
            ..loose()
        };
        assert_eq!(root.loosened_from(&root), None);
        assert_eq!(root.loosened_from(&loose()), Some("issued_by"));
        assert_eq!(loose().loosened_from(&root), Some("issued_by"));
    }

    #[track_caller]
    fn check(member: &str, loosen: fn(&mut Policy)) {
        let mut after = strict();
        loosen(&mut after);
        assert_eq!(after.loosened_from(&strict()), Some(member));
    }

    #[test]
    fn every_member_that_permits_more_is_found() {
        check("issued_by", |p| p.issued_by = IssuedBy::Owner);
        check("issued_by", |p| p.issued_by = IssuedBy::ManagerOrOwner);
        check("issued_by", |p| p.issued_by = IssuedBy::RootAdministrator);
        check("owner", |p| p.owner = Presence::Forbidden);
        check("catalog", |p| p.catalog = Some("other".to_owned()));
        check("catalog", |p| p.catalog = None);
        check("scopes", |p| p.scopes = Presence::Optional);
        check("headers", |p| p.headers.push(CredentialHeader::Token));
        check("headers", |p| p.headers = vec![CredentialHeader::Token]);
        check("read_only_by", |p| p.read_only_by = ReadOnlyBy::Operation);
        check("expiry", |p| p.expiry = Expiry::Optional);
        check("expiry", |p| p.expiry = Expiry::Forbidden);
        check("expiry_s_max", |p| p.expiry_s_max = Some(61));
        check("expiry_s_max", |p| p.expiry_s_max = None);
        check("expiry_months_max", |p| p.expiry_months_max = Some(2));
        check("addresses", |p| p.addresses = AddressRule::Exact);
        check("keys_per_workspace_max", |p| {
            p.keys_per_workspace_max = None
        });
        check("keys_per_owner_max", |p| p.keys_per_owner_max = Some(2));
        check("name_unique", |p| p.name_unique = false);
        check("secret_shown", |p| p.secret_shown = SecretShown::Sealed);
        check("editable", |p| {
            p.editable = Editable::Only(vec![Member::Name, Member::Scopes])
        });
        // A list of all members of today permits less than `All`, which includes members of later versions.
        check("editable", |p| p.editable = Editable::All);
        check("can_disable", |p| p.can_disable = true);
        check("can_rotate", |p| p.can_rotate = true);
        check("self_rotation", |p| p.self_rotation = SelfRotation::AtOnce);
        check("self_rotation", |p| p.self_rotation = SelfRotation::Grace);
        check("confirm_name", |p| p.confirm_name = false);
        check("second_factor", |p| p.second_factor = false);
        check("decoy", |p| p.decoy = true);
        check("on_reuse", |p| p.on_reuse = OnReuse::Note);
        check("on_leak", |p| p.on_leak = OnLeak::Note);
        check("on_leak", |p| p.on_leak = OnLeak::Rotate);
        check("tied_to", |p| p.tied_to = TiedTo::Workspace);
        check("rate_limit", |p| p.rate_limit = None);
        check("rate_limit", |p| {
            p.rate_limit = Some(RateLimit {
                limit: 1,
                window_s: 59,
                exact: false,
            })
        });
        check("rate_limit_max", |p| p.rate_limit_max = None);
        check("rate_limit_max", |p| {
            p.rate_limit_max = Some(RateLimit {
                limit: 2,
                window_s: 1,
                exact: false,
            })
        });
    }

    #[test]
    fn a_default_may_give_way_to_a_bound_that_is_as_strict() {
        let minute = Some(RateLimit {
            limit: 60,
            window_s: 60,
            exact: false,
        });
        let before = Policy {
            rate_limit: minute,
            ..Policy::standard()
        };
        let after = Policy {
            rate_limit_max: minute,
            ..Policy::standard()
        };
        assert_eq!(after.loosened_from(&before), None);
    }
}
