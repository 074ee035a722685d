//! What a policy demands of a key, at issue and at every edit.

use super::{AddressRule, Expiry, Field, Policy, word};
use crate::domain::key::Key;
use crate::domain::key::quota::{RATE_LIMIT_MAX, RateLimit, USES_MAX, WINDOW_S_MAX};
use crate::domain::time::Timestamp;
use crate::error::{Error, Result};

impl Policy {
    /// Checks a key as it is about to be stored; the error names the member, the policy and the way out.
    pub fn check(&self, key: &Key, now: Timestamp) -> Result<()> {
        self.check_life(key, now)?;
        self.check_limits(key)
    }

    /// The part of [`Policy::check`] that time does not change: a key that has expired may still be renamed.
    pub fn check_limits(&self, key: &Key) -> Result<()> {
        self.check_addresses(key)?;
        if let Some(rate) = key.rate_limit {
            check_rate_limit("rate_limit", rate)?;
        }
        if key.uses_left.is_some_and(|uses| uses > USES_MAX) {
            return Err(Error::invalid(
                "uses_left",
                format!("must be at most {USES_MAX}"),
            ));
        }
        Ok(())
    }

    /// Refuses an edit of a member that the policy keeps as it was at birth.
    pub fn check_editable(&self, field: Field) -> Result<()> {
        if self.editable.contains(&field) {
            return Ok(());
        }
        Err(Error::Conflict(format!(
            "{} cannot be edited on a key of policy {}; issue a new key and delete this one",
            word(field),
            self.name
        )))
    }

    fn check_life(&self, key: &Key, now: Timestamp) -> Result<()> {
        let name = &self.name;
        let refused = |reason: String| Err(Error::invalid("expires_at", reason));
        match (self.expiry, key.expires_at) {
            (Expiry::Forbidden, Some(_)) => {
                return refused(format!(
                    "must be left out: keys of policy {name} do not expire"
                ));
            }
            (Expiry::Required, None) => {
                return refused(format!("is needed: keys of policy {name} expire"));
            }
            _ => {}
        }
        let Some(end) = key.expires_at else {
            return Ok(());
        };
        if end <= now {
            return refused("must be in the future".to_owned());
        }
        if key.not_before.is_some_and(|start| start >= end) {
            return Err(Error::invalid("not_before", "must be before expires_at"));
        }
        match self.expiry_s_max {
            Some(life_s) if end > now.plus_s(life_s) => refused(format!(
                "must be at most {life_s} seconds from now: policy {name} allows no longer life"
            )),
            _ => Ok(()),
        }
    }

    fn check_addresses(&self, key: &Key) -> Result<()> {
        let Some(list) = &key.allowed_ips else {
            return Ok(());
        };
        let name = &self.name;
        match self.addresses {
            AddressRule::Cidr => Ok(()),
            AddressRule::Exact => match list.blocks().iter().position(|block| !block.is_single()) {
                None => Ok(()),
                Some(position) => Err(Error::invalid(
                    format!("allowed_ips[{position}]"),
                    format!("must be a single address: policy {name} allows no ranges"),
                )),
            },
            AddressRule::Off => Err(Error::invalid(
                "allowed_ips",
                format!("must be left out: keys of policy {name} have no address list"),
            )),
        }
    }
}

/// Accepts 0 to 2^32 requests in 1 second to 31 days.
pub fn check_rate_limit(field: &str, rate: RateLimit) -> Result<()> {
    if rate.limit > RATE_LIMIT_MAX {
        return Err(Error::invalid(
            format!("{field}.limit"),
            format!("must be at most {RATE_LIMIT_MAX}"),
        ));
    }
    if !(1..=WINDOW_S_MAX).contains(&rate.window_s) {
        return Err(Error::invalid(
            format!("{field}.window_s"),
            format!("must be 1 to {WINDOW_S_MAX} seconds"),
        ));
    }
    Ok(())
}
