//! What a policy demands of a key, at issue and at every edit.

use super::{AddressRule, Expiry, Policy, Presence, SELF_GRACE_S_MAX, SecretShown, SelfRotation};
use crate::domain::keys::address::{AddressList, Grammar};
use crate::domain::keys::quota::{
    EXACT_LIMIT_MAX, RATE_LIMIT_MAX, RateLimit, USES_MAX, WINDOW_S_MAX,
};
use crate::domain::keys::{Key, Member};
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};
use crate::refusals::{self, Refusal};

impl Policy {
    /// Checks a key before it is stored; the error names the member, the policy, and what the caller can do instead.
    pub fn check(&self, key: &Key, now: Timestamp) -> Result<()> {
        self.check_life(key, now)?;
        self.check_owner(key)?;
        self.check_catalog(key)?;
        self.check_scopes(key)?;
        self.check_rate(key)?;
        self.check_limits(key)
    }

    /// Refuses an owner, or a missing owner, that the policy does not permit.
    pub fn check_owner(&self, key: &Key) -> Result<()> {
        let name = &self.name;
        match (self.owner, key.owner) {
            (Presence::Forbidden, Some(_)) => {
                Err(Error::invalid("owner", refusals::policies::owner_off(name)))
            }
            (Presence::Required, None) => Err(Error::invalid(
                "owner",
                refusals::policies::owner_needed(name),
            )),
            _ => Ok(()),
        }
    }

    /// Refuses a catalog that is not the policy's.
    fn check_catalog(&self, key: &Key) -> Result<()> {
        match &self.catalog {
            Some(wanted) if key.catalog.as_ref() != Some(wanted) => Err(Error::invalid(
                "catalog",
                refusals::policies::catalog(wanted, &self.name),
            )),
            _ => Ok(()),
        }
    }

    /// Refuses scopes, or missing scopes, that the policy does not permit.
    pub fn check_scopes(&self, key: &Key) -> Result<()> {
        let refused = |reason: Refusal| Err(Error::invalid("scopes", reason));
        match (self.scopes, key.scopes.is_empty()) {
            (Presence::Forbidden, false) => refused(refusals::policies::scopes_off(&self.name)),
            (Presence::Required, true) => refused(refusals::policies::scopes_needed(&self.name)),
            _ => Ok(()),
        }
    }

    /// Refuses a rate limit that allows more than the policy's bound, or no limit if the policy has a bound.
    pub fn check_rate(&self, key: &Key) -> Result<()> {
        let Some(most) = self.rate_limit_max else {
            return Ok(());
        };
        match key.rate_limit {
            Some(rate) if rate.is_within(most) => Ok(()),
            _ => Err(Error::invalid(
                "rate_limit",
                refusals::policies::rate_limit(most.limit, most.window_s, &self.name),
            )),
        }
    }

    /// The part of [`Policy::check`] that is the same for every policy.
    pub fn check_limits(&self, key: &Key) -> Result<()> {
        if let Some(rate) = key.rate_limit {
            check_rate_limit("rate_limit", rate)?;
        }
        if key.uses_left.is_some_and(|uses| uses > USES_MAX) {
            return Err(Error::invalid(
                "uses_left",
                refusals::values::at_most(USES_MAX),
            ));
        }
        Ok(())
    }

    /// Refuses to disable a key if the policy does not permit it.
    pub fn check_disable(&self) -> Result<()> {
        if self.can_disable {
            return Ok(());
        }
        Err(Error::Conflict(refusals::policies::disable(&self.name)))
    }

    /// Refuses a rotation if the policy does not permit it.
    pub fn check_rotate(&self) -> Result<()> {
        if self.can_rotate {
            return Ok(());
        }
        Err(Error::Conflict(refusals::policies::rotate(&self.name)))
    }

    /// Refuses a rotation that a key requests for itself with no other credential, unless the policy permits it.
    /// `grace_s` is how long the old secret is to work.
    pub fn check_self_rotation(&self, key: &Key, grace_s: u64) -> Result<()> {
        if key.read_only {
            return Err(Error::Forbidden(refusals::keys::reader_cannot_rotate()));
        }
        let name = &self.name;
        if self.second_factor {
            return Err(Error::Forbidden(
                refusals::policies::self_rotation_second_factor(name),
            ));
        }
        match self.self_rotation {
            SelfRotation::No => Err(Error::Forbidden(refusals::policies::self_rotation(name))),
            SelfRotation::AtOnce if grace_s > 0 => Err(Error::invalid(
                "grace_s",
                refusals::policies::self_rotation_grace(name),
            )),
            SelfRotation::Grace if grace_s > SELF_GRACE_S_MAX => Err(Error::invalid(
                "grace_s",
                refusals::keys::grace_of_self_rotation(SELF_GRACE_S_MAX),
            )),
            SelfRotation::AtOnce | SelfRotation::Grace => Ok(()),
        }
    }

    /// Refuses a deletion without the key's name if the policy requires the name.
    pub fn check_delete(&self, key: &Key, confirm_name: Option<&str>) -> Result<()> {
        if !self.confirm_name || confirm_name == Some(key.name.as_str()) {
            return Ok(());
        }
        Err(Error::Conflict(refusals::keys::confirm_name(&self.name)))
    }

    /// Refuses to show a secret a second time.
    pub fn check_reveal(&self) -> Result<()> {
        if self.secret_shown == SecretShown::Sealed {
            return Ok(());
        }
        Err(Error::Conflict(refusals::keys::shown_once(
            &self.name,
            match self.can_rotate {
                true => refusals::keys::rotate_or_issue(),
                false => refusals::keys::issue_another(),
            },
        )))
    }

    /// Refuses an edit of a member that the policy does not permit to change after the issue.
    pub fn check_editable(&self, member: Member) -> Result<()> {
        if self.editable.allows(member) {
            return Ok(());
        }
        Err(Error::Conflict(refusals::policies::editable(
            member.word(),
            &self.name,
        )))
    }

    /// Refuses an expiry, or a missing expiry, that the policy does not permit.
    pub fn check_life(&self, key: &Key, now: Timestamp) -> Result<()> {
        let name = &self.name;
        let refused = |reason: Refusal| Err(Error::invalid("expires_at", reason));
        match (self.expiry, key.expires_at) {
            (Expiry::Forbidden, Some(_)) => {
                return refused(refusals::policies::expiry_off(name));
            }
            (Expiry::Required, None) => {
                return refused(refusals::policies::expiry_needed(name));
            }
            _ => {}
        }
        let Some(end) = key.expires_at else {
            return Ok(());
        };
        if end <= now {
            return refused(refusals::keys::in_the_future());
        }
        if key.not_before.is_some_and(|start| start >= end) {
            return Err(Error::invalid(
                "not_before",
                refusals::keys::before_expires_at(),
            ));
        }
        if let Some(life_s) = self.expiry_s_max
            && end > now.plus_s(life_s)
        {
            return refused(refusals::policies::life_seconds(life_s, name));
        }
        if let Some(months) = self.expiry_months_max
            && end > now.end_of_day_after_months(months)
        {
            return refused(refusals::policies::life_months(months, name));
        }
        Ok(())
    }

    /// The latest expiry that the policy permits; `None` for any.
    pub fn latest_end(&self, now: Timestamp) -> Option<Timestamp> {
        let by_seconds = self.expiry_s_max.map(|life_s| now.plus_s(life_s));
        let months = self.expiry_months_max;
        let by_months = months.map(|months| now.end_of_day_after_months(months));
        by_seconds.into_iter().chain(by_months).min()
    }

    /// Reads the address list of a key, by the policy's rule. Each rule has its own message, so that a refusal never
    /// suggests a form that the policy does not permit.
    pub fn parse_addresses<'a>(
        &self,
        entries: impl IntoIterator<Item = &'a str>,
    ) -> Result<AddressList> {
        let field = "allowed_ips";
        let name = &self.name;
        match self.addresses {
            AddressRule::Cidr => AddressList::parse(field, entries),
            AddressRule::Exact => AddressList::parse_as(Grammar::Single, field, entries, || {
                refusals::policies::address_exact(name)
            }),
            AddressRule::Off => Err(Error::invalid(
                field,
                refusals::policies::addresses_off(name),
            )),
        }
    }
}

/// Accepts 0 to 2^32 requests in 1 second to 31 days, and 0 to 1,000 if they are counted exactly.
pub fn check_rate_limit(field: &str, rate: RateLimit) -> Result<()> {
    if rate.limit > RATE_LIMIT_MAX {
        return Err(Error::invalid(
            format!("{field}.limit"),
            refusals::values::at_most(RATE_LIMIT_MAX),
        ));
    }
    if !(1..=WINDOW_S_MAX).contains(&rate.window_s) {
        return Err(Error::invalid(
            format!("{field}.window_s"),
            refusals::keys::rate_window(WINDOW_S_MAX),
        ));
    }
    if rate.exact && rate.limit > EXACT_LIMIT_MAX {
        return Err(Error::invalid(
            format!("{field}.exact"),
            refusals::keys::rate_exact(EXACT_LIMIT_MAX),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::AddressRule;
    use super::*;

    const NOW: &str = "2026-11-21T10:00:00Z";

    #[track_caller]
    fn check(policy: &Policy, key: &Key, field: Option<&str>) {
        let now = Timestamp::parse("now", NOW).unwrap();
        match (policy.check(key, now), field) {
            (Ok(()), None) => {}
            (
                Err(Error::Invalid {
                    field: named,
                    reason,
                }),
                Some(field),
            ) => {
                assert_eq!(named, field);
                let reason = reason.to_string();
                let names_policy = reason.contains(&policy.name) || !reason.contains("policy");
                assert!(names_policy, "{reason}");
            }
            (other, _) => panic!("{field:?}: {other:?}"),
        }
    }

    fn ends(at: &str) -> Key {
        Key {
            expires_at: Some(Timestamp::parse("at", at).unwrap()),
            ..Key::sample()
        }
    }

    // attacks 148
    #[test]
    fn a_life_is_as_long_as_its_policy_allows_and_no_longer() {
        let standard = Policy::standard();
        check(&standard, &Key::sample(), None);
        check(&standard, &ends(NOW), Some("expires_at"));
        check(&standard, &ends("2026-11-21T10:00:00.001Z"), None);
        let year = Policy {
            expiry: Expiry::Required,
            expiry_months_max: Some(12),
            ..Policy::standard()
        };
        check(&year, &Key::sample(), Some("expires_at"));
        check(&year, &ends("2027-11-22T00:00:00Z"), None);
        check(&year, &ends("2027-11-22T00:00:00.001Z"), Some("expires_at"));
        let hour = Policy {
            expiry_s_max: Some(3600),
            ..Policy::standard()
        };
        check(&hour, &ends("2026-11-21T11:00:00Z"), None);
        check(&hour, &ends("2026-11-21T11:00:00.001Z"), Some("expires_at"));
        let forever = Policy {
            expiry: Expiry::Forbidden,
            ..Policy::standard()
        };
        check(&forever, &Key::sample(), None);
        check(&forever, &ends("2027-01-01T00:00:00Z"), Some("expires_at"));
    }

    #[test]
    fn owner_catalog_and_scopes_are_there_as_the_policy_has_them() {
        let policy = |owner, scopes| Policy {
            owner,
            scopes,
            catalog: Some("rooms".to_owned()),
            ..Policy::standard()
        };
        let key = Key {
            catalog: Some("rooms".to_owned()),
            owner: None,
            scopes: Vec::new(),
            ..Key::sample()
        };
        let owned = Key {
            owner: Some(crate::domain::uid::Uid(1)),
            ..key.clone()
        };
        let scoped = Key {
            scopes: vec!["rooms:read".to_owned()],
            ..key.clone()
        };
        let elsewhere = Key {
            catalog: None,
            ..key.clone()
        };
        use Presence::{Forbidden, Optional, Required};
        check(&policy(Optional, Optional), &key, None);
        check(&policy(Optional, Optional), &elsewhere, Some("catalog"));
        check(&policy(Required, Optional), &key, Some("owner"));
        check(&policy(Required, Optional), &owned, None);
        check(&policy(Forbidden, Optional), &owned, Some("owner"));
        check(&policy(Optional, Required), &key, Some("scopes"));
        check(&policy(Optional, Required), &scoped, None);
        check(&policy(Optional, Forbidden), &scoped, Some("scopes"));
    }

    #[test]
    fn a_key_rotates_itself_only_as_its_policy_allows_and_never_if_it_only_reads() {
        let (key, reader) = (
            Key::sample(),
            Key {
                read_only: true,
                ..Key::sample()
            },
        );
        let allowed = |self_rotation, key: &Key, grace_s| {
            let policy = Policy {
                self_rotation,
                ..Policy::standard()
            };
            policy.check_self_rotation(key, grace_s).is_ok()
        };
        let hour = SELF_GRACE_S_MAX;
        assert_eq!(Policy::standard().self_rotation, SelfRotation::AtOnce);
        for (rule, grace_s, expected) in [
            (SelfRotation::No, 0, false),
            (SelfRotation::AtOnce, 0, true),
            (SelfRotation::AtOnce, 1, false),
            (SelfRotation::Grace, 0, true),
            (SelfRotation::Grace, hour, true),
            (SelfRotation::Grace, hour + 1, false),
        ] {
            assert_eq!(allowed(rule, &key, grace_s), expected, "{rule:?} {grace_s}");
            assert!(!allowed(rule, &reader, grace_s), "{rule:?} {grace_s}");
        }
    }

    #[test]
    fn address_lists_are_read_by_the_rule_of_the_policy() {
        let parse = |addresses, entries: [&'static str; 2]| {
            let policy = Policy {
                name: "tight".to_owned(),
                addresses,
                ..Policy::standard()
            };
            policy.parse_addresses(entries).map_err(|err| match err {
                Error::Invalid { field, reason } => (field, reason),
                other => panic!("{other}"),
            })
        };
        let single = ["192.0.2.1", "2001:db8::1"];
        assert!(parse(AddressRule::Cidr, ["192.0.2.1/32", "198.51.100.0/24"]).is_ok());
        assert!(parse(AddressRule::Cidr, single).is_ok());
        assert!(parse(AddressRule::Exact, single).is_ok());
        for bad in [
            "192.0.2.1/32",
            "2001:db8::1/128",
            "198.51.100.0/24",
            "192.0.2.*",
            "192.0.2.1-192.0.2.9",
            "elsewhere",
            "",
        ] {
            let (field, reason) = parse(AddressRule::Exact, ["192.0.2.1", bad]).unwrap_err();
            assert_eq!(field, "allowed_ips[1]", "{bad}");
            assert!(
                reason.to_string().contains("tight allows no ranges"),
                "{reason}"
            );
            assert!(!reason.to_string().contains("such as"), "{reason}");
        }
        for entries in [single, ["192.0.2.*", "x"]] {
            assert_eq!(
                parse(AddressRule::Off, entries).unwrap_err().0,
                "allowed_ips"
            );
        }
    }

    // Both sides of the bound of 60 requests in any 60 seconds: the same window, a shorter and a longer one.
    #[test]
    fn a_limit_of_requests_is_within_the_bound_of_its_policy() {
        let policy = Policy {
            rate_limit_max: Some(RateLimit {
                limit: 60,
                window_s: 60,
                exact: false,
            }),
            ..Policy::standard()
        };
        let key = |rate_limit| Key {
            rate_limit,
            ..Key::sample()
        };
        for (limit, window_s, within) in [
            (60, 60, true),
            (61, 60, false),
            (0, 1, true),
            (1, 1, true),
            (2, 1, false),
            (30, 30, true),
            (31, 30, false),
            (30, 59, true),
            (31, 59, false),
            (60, 61, true),
            (61, 61, false),
            (60, 86_400, true),
            (61, 86_400, false),
        ] {
            let refused = (!within).then_some("rate_limit");
            check(
                &policy,
                &key(Some(RateLimit {
                    limit,
                    window_s,
                    exact: false,
                })),
                refused,
            );
        }
        check(&policy, &key(None), Some("rate_limit"));
        check(&Policy::standard(), &key(None), None);
        assert_eq!(policy.rate_limit_default(), policy.rate_limit_max);
    }
}
