//! Which policies are valid: every member is checked before a policy is stored, and an error names it.

use super::rules::check_rate_limit;
use super::{CredentialHeader, Expiry, IssuedBy, OnLeak, OnReuse, Policy, SecretShown};
use crate::domain::keys::secret::check_prefix;
use crate::domain::text;
use crate::error::{Error, Result};
use crate::refusals::{self, Refusal};

/// The greatest number of headers that a policy may name.
pub const HEADERS_MAX: usize = 8;
/// The longest life that can be written in seconds or months: a hundred years.
pub const LIFE_S_MAX: u64 = 100 * 366 * 86_400;
/// See [`LIFE_S_MAX`].
pub const LIFE_MONTHS_MAX: u32 = 1200;
/// The greatest number of keys that a policy can permit.
pub const KEYS_MAX: u32 = 1_000_000;
/// The greatest number of notices before the end of a key.
pub const EXPIRY_NOTICES_MAX: usize = 5;
/// The most days before its end at which a key can be reported.
pub const EXPIRY_NOTICE_DAYS_MAX: u32 = 366;
const HEADER_BYTES_MAX: usize = 64;
/// The form of a header's name in a policy, as a regular expression for descriptions.
pub const HEADER_PATTERN: &str = "^[a-z][a-z0-9-]{0,63}$";
/// The form of a policy's prefix, which may be empty, as a regular expression for descriptions.
pub const OPTIONAL_PREFIX_PATTERN: &str = "^([a-z][a-z0-9]{1,15})?$";

/// Headers that requests have for other purposes: if a policy named one, every such request would have two credentials.
const TAKEN: &[&str] = &[
    "accept",
    "authorization",
    "cache-control",
    "connection",
    "cookie",
    "date",
    "dnt",
    "early-data",
    "expect",
    "forwarded",
    "from",
    "host",
    "idempotency-key",
    "keep-alive",
    "max-forwards",
    "origin",
    "pragma",
    "priority",
    "range",
    "referer",
    "remote-user",
    "set-cookie",
    "te",
    "traceparent",
    "tracestate",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "upgrade-insecure-requests",
    "user-agent",
    "via",
    "warning",
    "www-authenticate",
    "x-http-method-override",
    "x-real-ip",
    "x-request-id",
    "x-requested-with",
];
/// The beginnings of such headers, and of headers that proxies send to this server.
const TAKEN_FAMILIES: &[&str] = &[
    "accept-",
    "access-control-",
    "content-",
    "if-",
    "latchkey-",
    "proxy-",
    "sec-",
    "x-auth-",
    "x-envoy-",
    "x-forwarded-",
    "x-original-",
];

impl Policy {
    /// Refuses a policy that is not valid; the error names the member.
    pub fn check_definition(&self) -> Result<()> {
        text::check_slug("name", &self.name)?;
        text::check_description("description", &self.description)?;
        if let Some(catalog) = &self.catalog {
            text::check_slug("catalog", catalog)?;
        }
        check_headers(&self.headers)?;
        self.check_expiry()?;
        for (member, most) in [
            ("keys_per_workspace_max", self.keys_per_workspace_max),
            ("keys_per_owner_max", self.keys_per_owner_max),
        ] {
            if most.is_some_and(|most| most > KEYS_MAX) {
                return Err(Error::invalid(member, refusals::values::at_most(KEYS_MAX)));
            }
        }
        let editable = self.editable.words();
        for (position, word) in editable.iter().enumerate() {
            if editable[..position].contains(word) {
                return Err(Error::invalid(
                    format!("editable[{position}]"),
                    refusals::values::twice(),
                ));
            }
        }
        if let Some(rate) = self.rate_limit {
            check_rate_limit("rate_limit", rate)?;
        }
        if let Some(most) = self.rate_limit_max {
            check_rate_limit("rate_limit_max", most)?;
            if most.exact {
                return Err(Error::invalid(
                    "rate_limit_max.exact",
                    refusals::policies::rate_limit_max_exact(),
                ));
            }
            if self.rate_limit.is_some_and(|rate| !rate.is_within(most)) {
                return Err(Error::invalid(
                    "rate_limit",
                    refusals::policies::rate_limit_default(most.limit, most.window_s),
                ));
            }
        }
        if self.acts_for_owner && !matches!(self.issued_by, IssuedBy::Owner | IssuedBy::Password) {
            return Err(Error::invalid(
                "acts_for_owner",
                refusals::policies::acts_without_owner(),
            ));
        }
        if self.second_factor && self.issued_by == IssuedBy::Password {
            return Err(Error::invalid(
                "second_factor",
                refusals::policies::second_factor_issued(),
            ));
        }
        self.check_tripwires()?;
        self.check_expiry_notices()?;
        self.check_roles()?;
        if self.prefix.is_empty() {
            return Ok(());
        }
        check_prefix("prefix", &self.prefix)
    }

    /// Refuses a reaction that the keys do not permit.
    fn check_tripwires(&self) -> Result<()> {
        for (member, disables) in [
            ("on_reuse", self.on_reuse == OnReuse::Disable),
            ("on_leak", self.on_leak == OnLeak::Disable),
        ] {
            if disables && !self.can_disable {
                return Err(Error::invalid(member, refusals::policies::cannot_disable()));
            }
        }
        // The new secret must be visible again.
        if self.on_leak == OnLeak::Rotate
            && !(self.can_rotate && self.secret_shown == SecretShown::Sealed)
        {
            return Err(Error::invalid(
                "on_leak",
                refusals::policies::cannot_rotate_leaked(),
            ));
        }
        Ok(())
    }

    fn check_expiry_notices(&self) -> Result<()> {
        const MEMBER: &str = "expiry_notice_days";
        let days = &self.expiry_notice_days;
        if days.len() > EXPIRY_NOTICES_MAX {
            return Err(Error::invalid(
                MEMBER,
                refusals::values::entries_at_most(EXPIRY_NOTICES_MAX),
            ));
        }
        for (position, number) in days.iter().enumerate() {
            let refused =
                |reason: Refusal| Err(Error::invalid(format!("{MEMBER}[{position}]"), reason));
            if !(1..=EXPIRY_NOTICE_DAYS_MAX).contains(number) {
                return refused(refusals::values::between(u64::from(EXPIRY_NOTICE_DAYS_MAX)));
            }
            if position > 0 && *number >= days[position - 1] {
                return refused(refusals::policies::notice_days_order());
            }
        }
        Ok(())
    }

    fn check_expiry(&self) -> Result<()> {
        for (member, given) in [
            ("expiry_s_max", self.expiry_s_max.is_some()),
            ("expiry_months_max", self.expiry_months_max.is_some()),
        ] {
            if given && self.expiry == Expiry::Forbidden {
                return Err(Error::invalid(member, refusals::policies::expiry_unused()));
            }
        }
        if self
            .expiry_s_max
            .is_some_and(|life_s| !(1..=LIFE_S_MAX).contains(&life_s))
        {
            return Err(Error::invalid(
                "expiry_s_max",
                refusals::values::between(LIFE_S_MAX),
            ));
        }
        if self
            .expiry_months_max
            .is_some_and(|months| !(1..=LIFE_MONTHS_MAX).contains(&months))
        {
            return Err(Error::invalid(
                "expiry_months_max",
                refusals::values::between(LIFE_MONTHS_MAX),
            ));
        }
        Ok(())
    }
}

fn check_headers(headers: &[CredentialHeader]) -> Result<()> {
    if headers.is_empty() || headers.len() > HEADERS_MAX {
        return Err(Error::invalid(
            "headers",
            refusals::values::entries(HEADERS_MAX),
        ));
    }
    for (position, header) in headers.iter().enumerate() {
        let refused = |reason: Refusal| Err(Error::invalid(format!("headers[{position}]"), reason));
        if headers[..position].contains(header) {
            return refused(refusals::values::twice());
        }
        let CredentialHeader::Named(name) = header else {
            continue;
        };
        if !is_header_name(name) {
            return refused(refusals::policies::header());
        }
        if is_taken(name) {
            return refused(refusals::policies::header_reserved());
        }
    }
    Ok(())
}

/// Whether a policy may name this header as a place for keys.
pub fn may_hold_a_key(name: &str) -> bool {
    is_header_name(name) && !is_taken(name)
}

fn is_header_name(name: &str) -> bool {
    let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let begins = name.bytes().next().is_some_and(|b| b.is_ascii_lowercase());
    begins && name.len() <= HEADER_BYTES_MAX && name.bytes().all(legal)
}

fn is_taken(name: &str) -> bool {
    TAKEN.contains(&name) || TAKEN_FAMILIES.iter().any(|start| name.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::super::Editable;
    use super::*;
    use crate::domain::keys::Member;
    use crate::domain::keys::quota::RateLimit;

    #[track_caller]
    fn check(field: &str, change: impl FnOnce(&mut Policy)) {
        let mut policy = Policy::standard();
        change(&mut policy);
        match policy.check_definition() {
            Err(Error::Invalid { field: named, .. }) => assert_eq!(named, field),
            other => panic!("{field}: {other:?}"),
        }
    }

    // attacks 153
    #[test]
    fn a_refusal_names_the_member() {
        assert!(Policy::standard().check_definition().is_ok());
        check("name", |p| p.name = "Upper".to_owned());
        check("description", |p| p.description = "a\u{202e}b".to_owned());
        check("catalog", |p| p.catalog = Some("a b".to_owned()));
        check("headers", |p| p.headers = Vec::new());
        for bad in [
            "",
            "X-Api-Key",
            "x api",
            "x_key",
            "cookie",
            "user-agent",
            "x-forwarded-for",
            "1-key",
        ] {
            check("headers[1]", |p| {
                p.headers = vec![
                    CredentialHeader::Bearer,
                    CredentialHeader::Named(bad.to_owned()),
                ]
            });
        }
        check("headers[1]", |p| {
            p.headers = vec![CredentialHeader::Token, CredentialHeader::Token]
        });
        check("expiry_s_max", |p| p.expiry_s_max = Some(0));
        check("expiry_s_max", |p| p.expiry_s_max = Some(LIFE_S_MAX + 1));
        check("expiry_months_max", |p| {
            p.expiry_months_max = Some(LIFE_MONTHS_MAX + 1)
        });
        check("expiry_months_max", |p| {
            p.expiry = Expiry::Forbidden;
            p.expiry_months_max = Some(1);
        });
        check("keys_per_workspace_max", |p| {
            p.keys_per_workspace_max = Some(KEYS_MAX + 1)
        });
        check("keys_per_owner_max", |p| {
            p.keys_per_owner_max = Some(KEYS_MAX + 1)
        });
        check("editable[1]", |p| {
            p.editable = Editable::Only(vec![Member::Name, Member::Name])
        });
        check("rate_limit.window_s", |p| {
            p.rate_limit = Some(RateLimit {
                limit: 1,
                window_s: 0,
                exact: false,
            })
        });
        check("rate_limit_max.window_s", |p| {
            p.rate_limit_max = Some(RateLimit {
                limit: 1,
                window_s: 0,
                exact: false,
            })
        });
        check("rate_limit", |p| {
            p.rate_limit = Some(RateLimit {
                limit: 61,
                window_s: 60,
                exact: false,
            });
            p.rate_limit_max = Some(RateLimit {
                limit: 60,
                window_s: 60,
                exact: false,
            });
        });
        check("acts_for_owner", |p| p.acts_for_owner = true);
        check("prefix", |p| p.prefix = "lks".to_owned());
        check("on_reuse", |p| {
            p.on_reuse = OnReuse::Disable;
            p.can_disable = false;
        });
        check("on_leak", |p| {
            p.on_leak = OnLeak::Disable;
            p.can_disable = false;
        });
        check("expiry_notice_days", |p| {
            p.expiry_notice_days = vec![6, 5, 4, 3, 2, 1]
        });
        for (position, days) in [
            (0, vec![0]),
            (0, vec![367]),
            (1, vec![7, 7]),
            (1, vec![1, 7]),
        ] {
            check(&format!("expiry_notice_days[{position}]"), |p| {
                p.expiry_notice_days = days
            });
        }
        check("on_leak", |p| p.on_leak = OnLeak::Rotate);
        check("on_leak", |p| {
            p.on_leak = OnLeak::Rotate;
            p.secret_shown = SecretShown::Sealed;
            p.can_rotate = false;
        });
    }
}
