//! Rows of policies.

use super::{Read, Row, Write};
use crate::domain::key::quota::RateLimit;
use crate::domain::policy::{CredentialHeader, Policy, from_word, word};
use crate::error::{Error, Result};

pub fn insert(tx: &Write<'_>, policy: &Policy) -> Result<()> {
    let headers: Vec<&str> = policy
        .headers
        .iter()
        .map(CredentialHeader::as_str)
        .collect();
    let editable: Vec<&str> = policy.editable.iter().map(|field| word(*field)).collect();
    tx.execute(
        "INSERT INTO policies (name, description, issued_by, headers, read_only_by, expiry, expiry_s_max, addresses,
                               keys_per_workspace_max, secret_shown, editable, can_disable, can_rotate, confirm_name,
                               tied_to, rate_limit, rate_window_s, prefix)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)",
        &[
            &policy.name,
            &policy.description,
            &word(policy.issued_by),
            &headers.join(" "),
            &word(policy.read_only_by),
            &word(policy.expiry),
            &policy.expiry_s_max,
            &word(policy.addresses),
            &policy.keys_per_workspace_max,
            &word(policy.secret_shown),
            &editable.join(" "),
            &policy.can_disable,
            &policy.can_rotate,
            &policy.confirm_name,
            &word(policy.tied_to),
            &policy.rate_limit.map(|rate| rate.limit),
            &policy.rate_limit.map(|rate| rate.window_s),
            &policy.prefix,
        ],
    )?;
    Ok(())
}

/// Every policy, by name.
pub fn list(read: &Read) -> Result<Vec<Policy>> {
    read.query(
        "SELECT name, description, issued_by, headers, read_only_by, expiry, expiry_s_max, addresses,
                keys_per_workspace_max, secret_shown, editable, can_disable, can_rotate, confirm_name,
                tied_to, rate_limit, rate_window_s, prefix
         FROM policies
         ORDER BY name",
        &[],
        from_row,
    )
}

fn from_row(row: &Row<'_>) -> Result<Policy> {
    let text = |name| row.get::<String>(name);
    let unknown = || Error::internal("a policy has an unknown word");
    let limit: Option<u64> = row.get("rate_limit")?;
    let window_s: Option<u64> = row.get("rate_window_s")?;
    let editable = text("editable")?
        .split(' ')
        .filter(|word| !word.is_empty())
        .map(from_word)
        .collect::<Option<_>>();
    Ok(Policy {
        name: text("name")?,
        description: text("description")?,
        issued_by: from_word(&text("issued_by")?).ok_or_else(unknown)?,
        headers: text("headers")?
            .split(' ')
            .map(CredentialHeader::parse)
            .collect(),
        read_only_by: from_word(&text("read_only_by")?).ok_or_else(unknown)?,
        expiry: from_word(&text("expiry")?).ok_or_else(unknown)?,
        expiry_s_max: row.get("expiry_s_max")?,
        addresses: from_word(&text("addresses")?).ok_or_else(unknown)?,
        keys_per_workspace_max: row.get("keys_per_workspace_max")?,
        secret_shown: from_word(&text("secret_shown")?).ok_or_else(unknown)?,
        editable: editable.ok_or_else(unknown)?,
        can_disable: row.get("can_disable")?,
        can_rotate: row.get("can_rotate")?,
        confirm_name: row.get("confirm_name")?,
        tied_to: from_word(&text("tied_to")?).ok_or_else(unknown)?,
        rate_limit: limit
            .zip(window_s)
            .map(|(limit, window_s)| RateLimit { limit, window_s }),
        prefix: text("prefix")?,
    })
}

#[cfg(test)]
mod tests {
    use super::super::sqlite;
    use super::*;

    #[test]
    fn a_policy_is_read_back_as_it_was_written() {
        let read = sqlite::in_memory().unwrap();
        let policy = Policy {
            rate_limit: Some(RateLimit {
                limit: 60,
                window_s: 60,
            }),
            expiry_s_max: Some(5),
            ..Policy::standard()
        };
        insert(&read.write(), &policy).unwrap();
        assert_eq!(list(&read).unwrap(), [policy]);
    }
}
