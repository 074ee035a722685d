//! Rows of policies.

use super::key_columns::EXACT_SINCE;
use super::keys::exactness;
use super::{Read, Row, Write};
use crate::domain::keys::quota::RateLimit;
use crate::domain::policies::roles::RoleRule;
use crate::domain::policies::{CredentialHeader, Editable, Policy, from_word, word};
use crate::domain::users::roles::Role;
use crate::error::{Error, Result};

pub fn insert(tx: &Write<'_>, policy: &Policy) -> Result<()> {
    execute(
        tx,
        "INSERT INTO policies (name, description, issued_by, owner, catalog, scopes, headers, read_only_by, expiry,
                               expiry_s_max, expiry_months_max, addresses, keys_per_workspace_max, keys_per_owner_max,
                               name_unique, secret_shown, editable, can_disable, can_rotate, confirm_name, tied_to, rate_limit,
                               rate_window_s, prefix, acts_for_owner, self_rotation, at_owner_max, rate_limit_max,
                               rate_limit_max_window_s, source, second_factor, decoy, on_reuse, on_leak,
                               expiry_notice_days)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23,
                 $24, $25, $26, $27, $28, $29, $30, $31, $32, $33, $34, $35)",
        policy,
    )?;
    write_exactness(tx, policy)?;
    insert_roles(tx, policy)
}

/// Writes whether the default limit is exact, where the database has a place for it.
fn write_exactness(tx: &Write<'_>, policy: &Policy) -> Result<()> {
    match exactness(tx, policy.rate_limit)? {
        None => Ok(()),
        Some(is_exact) => tx.send(
            "UPDATE policies SET rate_exact = $1 WHERE name = $2 AND rate_exact <> $1",
            &[&is_exact, &policy.name],
        ),
    }
}

/// Writes every member of an existing policy. The name cannot change.
pub fn update(tx: &Write<'_>, policy: &Policy) -> Result<bool> {
    let changed = execute(
        tx,
        "UPDATE policies
         SET (name, description, issued_by, owner, catalog, scopes, headers, read_only_by, expiry, expiry_s_max,
              expiry_months_max, addresses, keys_per_workspace_max, keys_per_owner_max, name_unique, secret_shown, editable,
              can_disable, can_rotate, confirm_name, tied_to, rate_limit, rate_window_s, prefix, acts_for_owner,
              self_rotation, at_owner_max, rate_limit_max, rate_limit_max_window_s, source, second_factor,
              decoy, on_reuse, on_leak, expiry_notice_days)
           = ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24,
              $25, $26, $27, $28, $29, $30, $31, $32, $33, $34, $35)
         WHERE name = $1",
        policy,
    )?;
    tx.execute(
        "DELETE FROM policy_roles WHERE policy = $1",
        &[&policy.name],
    )?;
    if changed == 1 {
        write_exactness(tx, policy)?;
        insert_roles(tx, policy)?;
    }
    Ok(changed == 1)
}

fn insert_roles(tx: &Write<'_>, policy: &Policy) -> Result<()> {
    for rule in &policy.roles {
        tx.execute(
            "INSERT INTO policy_roles (policy, role, scopes, read_only)
             VALUES ($1, $2, $3, $4)",
            &[
                &policy.name,
                &rule.role.as_str(),
                &rule.scopes.join(" "),
                &rule.read_only,
            ],
        )?;
    }
    Ok(())
}

/// Runs a statement whose parameters are all members of a policy, in the order of the schema.
fn execute(tx: &Write<'_>, sql: &'static str, policy: &Policy) -> Result<usize> {
    tx.execute(
        sql,
        &[
            &policy.name,
            &policy.description,
            &word(policy.issued_by),
            &word(policy.owner),
            &policy.catalog,
            &word(policy.scopes),
            &headers_text(policy),
            &word(policy.read_only_by),
            &word(policy.expiry),
            &policy.expiry_s_max,
            &policy.expiry_months_max,
            &word(policy.addresses),
            &policy.keys_per_workspace_max,
            &policy.keys_per_owner_max,
            &policy.name_unique,
            &word(policy.secret_shown),
            &policy.editable.words().join(" "),
            &policy.can_disable,
            &policy.can_rotate,
            &policy.confirm_name,
            &word(policy.tied_to),
            &policy.rate_limit.map(|rate| rate.limit),
            &policy.rate_limit.map(|rate| rate.window_s),
            &policy.prefix,
            &policy.acts_for_owner,
            &word(policy.self_rotation),
            &word(policy.at_owner_max),
            &policy.rate_limit_max.map(|most| most.limit),
            &policy.rate_limit_max.map(|most| most.window_s),
            &policy.source,
            &policy.second_factor,
            &policy.decoy,
            &word(policy.on_reuse),
            &word(policy.on_leak),
            &days_text(&policy.expiry_notice_days),
        ],
    )
}

pub fn find(read: &Read, name: &str) -> Result<Option<Policy>> {
    let _announced = read.announce(ROLES, &[&[&name]])?;
    let found = read.query_one(
        "SELECT name, description, issued_by, owner, catalog, scopes, headers, read_only_by, expiry, expiry_s_max,
                expiry_months_max, addresses, keys_per_workspace_max, keys_per_owner_max, name_unique, secret_shown,
                editable, can_disable, can_rotate, confirm_name, tied_to, rate_limit, rate_window_s, prefix,
                acts_for_owner, self_rotation, at_owner_max, rate_limit_max, rate_limit_max_window_s, source, second_factor,
                decoy, on_reuse, on_leak, expiry_notice_days
         FROM policies
         WHERE name = $1",
        &[&name],
        from_row,
    )?;
    let Some(mut policy) = found else {
        return Ok(None);
    };
    policy.roles = read.query(ROLES, &[&name], rule_from_row)?;
    if let Some(rate) = &mut policy.rate_limit
        && read.has_schema(EXACT_SINCE)?
    {
        let found = read.query_one(
            "SELECT rate_exact FROM policies WHERE name = $1",
            &[&name],
            |row| row.get("rate_exact"),
        )?;
        rate.exact = found.unwrap_or(false);
    }
    Ok(Some(policy))
}

const ROLES: &str =
    "SELECT role, scopes, read_only FROM policy_roles WHERE policy = $1 ORDER BY role";

fn rule_from_row(row: &Row<'_>) -> Result<RoleRule> {
    let role = Role::parse(&row.get::<String>("role")?);
    Ok(RoleRule {
        role: role.ok_or_else(|| Error::internal("a policy has an unknown role"))?,
        scopes: row
            .get::<String>("scopes")?
            .split_whitespace()
            .map(Box::from)
            .collect(),
        read_only: row.get("read_only")?,
    })
}

/// Every policy, by name. There are few.
pub fn list(read: &Read) -> Result<Vec<Policy>> {
    let name = |row: &Row<'_>| row.get::<String>("name");
    let names = read.query("SELECT name FROM policies ORDER BY name", &[], name)?;
    let found = names.iter().filter_map(|name| find(read, name).transpose());
    found.collect()
}

/// Deletes a policy; the result is a conflict if a key refers to it, even a deleted one.
pub fn delete(tx: &Write<'_>, name: &str) -> Result<bool> {
    let changed = tx.execute("DELETE FROM policies WHERE name = $1", &[&name])?;
    Ok(changed == 1)
}

fn headers_text(policy: &Policy) -> String {
    let headers: Vec<&str> = policy
        .headers
        .iter()
        .map(CredentialHeader::as_str)
        .collect();
    headers.join(" ")
}

fn days_text(days: &[u32]) -> String {
    let days: Vec<String> = days.iter().map(u32::to_string).collect();
    days.join(" ")
}

/// What is no number was written by another program; the seal of the policy tells.
fn days(text: &str) -> Vec<u32> {
    let numbers = text.split_whitespace();
    numbers.filter_map(|number| number.parse().ok()).collect()
}

fn from_row(row: &Row<'_>) -> Result<Policy> {
    let text = |name| row.get::<String>(name);
    let unknown = || Error::internal("a policy has an unknown word");
    let rate = |limit, window_s| -> Result<Option<RateLimit>> {
        let (limit, window_s) = (row.get::<Option<u64>>(limit)?, row.get(window_s)?);
        Ok(limit.zip(window_s).map(|(limit, window_s)| RateLimit {
            limit,
            window_s,
            exact: false,
        }))
    };
    let editable = text("editable")?;
    Ok(Policy {
        name: text("name")?,
        description: text("description")?,
        issued_by: from_word(&text("issued_by")?).ok_or_else(unknown)?,
        owner: from_word(&text("owner")?).ok_or_else(unknown)?,
        catalog: row.get("catalog")?,
        scopes: from_word(&text("scopes")?).ok_or_else(unknown)?,
        headers: text("headers")?
            .split(' ')
            .map(CredentialHeader::parse)
            .collect(),
        read_only_by: from_word(&text("read_only_by")?).ok_or_else(unknown)?,
        expiry: from_word(&text("expiry")?).ok_or_else(unknown)?,
        expiry_s_max: row.get("expiry_s_max")?,
        expiry_months_max: row.get("expiry_months_max")?,
        addresses: from_word(&text("addresses")?).ok_or_else(unknown)?,
        keys_per_workspace_max: row.get("keys_per_workspace_max")?,
        keys_per_owner_max: row.get("keys_per_owner_max")?,
        at_owner_max: from_word(&text("at_owner_max")?).ok_or_else(unknown)?,
        name_unique: row.get("name_unique")?,
        secret_shown: from_word(&text("secret_shown")?).ok_or_else(unknown)?,
        editable: Editable::parse(editable.split_whitespace()).map_err(|_| unknown())?,
        can_disable: row.get("can_disable")?,
        can_rotate: row.get("can_rotate")?,
        confirm_name: row.get("confirm_name")?,
        second_factor: row.get("second_factor")?,
        decoy: row.get("decoy")?,
        on_reuse: from_word(&text("on_reuse")?).ok_or_else(unknown)?,
        on_leak: from_word(&text("on_leak")?).ok_or_else(unknown)?,
        expiry_notice_days: days(&text("expiry_notice_days")?),
        tied_to: from_word(&text("tied_to")?).ok_or_else(unknown)?,
        rate_limit: rate("rate_limit", "rate_window_s")?,
        rate_limit_max: rate("rate_limit_max", "rate_limit_max_window_s")?,
        prefix: text("prefix")?,
        acts_for_owner: row.get("acts_for_owner")?,
        self_rotation: from_word(&text("self_rotation")?).ok_or_else(unknown)?,
        roles: Vec::new(),
        source: row.get("source")?,
    })
}

#[cfg(test)]
mod tests {
    use super::super::{catalogs, testing};
    use super::*;
    use crate::domain::catalogs::Definition;
    use crate::domain::keys::Member;
    use crate::domain::policies::{
        AddressRule, AtMax, Expiry, IssuedBy, OnLeak, OnReuse, Presence, ReadOnlyBy, SecretShown,
        SelfRotation, TiedTo,
    };

    #[test]
    fn a_policy_is_read_back_as_it_was_written() {
        for read in testing::stores() {
            let policy = Policy {
                rate_limit: Some(RateLimit {
                    limit: 60,
                    window_s: 60,
                    exact: false,
                }),
                expiry_s_max: Some(5),
                keys_per_owner_max: Some(7),
                ..Policy::standard()
            };
            insert(&read.write(), &policy).unwrap();
            assert_eq!(list(&read).unwrap(), [policy]);
        }
    }

    #[test]
    fn an_update_writes_every_member() {
        for read in testing::stores() {
            let rooms = Definition {
                name: "rooms".to_owned(),
                case_sensitive: false,
                ..Definition::default()
            };
            catalogs::replace(&read.write(), &rooms).unwrap();
            insert(&read.write(), &Policy::standard()).unwrap();
            let after = Policy {
                name: Policy::standard().name,
                description: "d".to_owned(),
                issued_by: IssuedBy::Password,
                owner: Presence::Required,
                catalog: Some("rooms".to_owned()),
                scopes: Presence::Forbidden,
                headers: vec![CredentialHeader::Token],
                read_only_by: ReadOnlyBy::Scope,
                expiry: Expiry::Required,
                expiry_s_max: Some(1),
                expiry_months_max: Some(2),
                addresses: AddressRule::Off,
                keys_per_workspace_max: Some(3),
                keys_per_owner_max: Some(4),
                at_owner_max: AtMax::Replace,
                name_unique: true,
                secret_shown: SecretShown::Sealed,
                editable: Editable::Only(vec![Member::Name]),
                can_disable: false,
                can_rotate: false,
                confirm_name: true,
                second_factor: true,
                decoy: true,
                on_reuse: OnReuse::Disable,
                on_leak: OnLeak::Rotate,
                expiry_notice_days: vec![90, 2],
                tied_to: TiedTo::Workspace,
                rate_limit: Some(RateLimit {
                    limit: 5,
                    window_s: 6,
                    exact: true,
                }),
                rate_limit_max: Some(RateLimit {
                    limit: 7,
                    window_s: 8,
                    exact: false,
                }),
                acts_for_owner: true,
                self_rotation: SelfRotation::Grace,
                roles: vec![RoleRule {
                    role: Role::Auditor,
                    scopes: vec!["a:read".into(), "b:read".into()],
                    read_only: true,
                }],
                prefix: "ab".to_owned(),
                source: "file:/etc/x.toml:3".to_owned(),
            };
            assert!(update(&read.write(), &after).unwrap());
            assert_eq!(find(&read, &after.name).unwrap(), Some(after.clone()));
            assert!(delete(&read.write(), &after.name).unwrap());
            assert!(!delete(&read.write(), &after.name).unwrap());
        }
    }
}
