//! Rows of attempts to sign in: failures by account, and the networks that users have signed in from.

use crate::domain::attempts::{Account, Network, Standing};
use crate::domain::uid::Uid;
use crate::error::{Error, Result};
use crate::store::{Read, Write};
use std::collections::HashMap;

/// The consecutive failures of every account that has any.
pub fn list(read: &Read) -> Result<Vec<(Account, Standing)>> {
    read.query(
        "SELECT account, failures, since FROM sign_in_failures",
        &[],
        |row| {
            let account: String = row.get("account")?;
            let account = Account::parse(&account)
                .ok_or_else(|| Error::internal("failed sign-ins of an account that is none"))?;
            let standing = Standing {
                failures: row.get("failures")?,
                since: Some(row.get("since")?),
            };
            Ok((account, standing))
        },
    )
}

/// The networks that each user has signed in from.
pub fn list_networks(read: &Read) -> Result<HashMap<Uid, Vec<Network>>> {
    let mut networks: HashMap<Uid, Vec<Network>> = HashMap::new();
    read.each(
        "SELECT user_uid, network, used_at, failures FROM sign_in_networks",
        &[],
        &mut |row| {
            let text: String = row.get("network")?;
            let network = text
                .parse()
                .map_err(|_| Error::internal("a network of a user that is none"))?;
            networks
                .entry(row.get("user_uid")?)
                .or_default()
                .push(Network {
                    network,
                    used_at: row.get("used_at")?,
                    failures: row.get("failures")?,
                });
            Ok(())
        },
    )?;
    Ok(networks)
}

/// Writes the present state of an account.
pub fn replace(
    tx: &Write<'_>,
    account: Account,
    standing: Standing,
    networks: &[Network],
) -> Result<()> {
    match standing.since.filter(|_| standing.failures > 0) {
        None => delete(tx, account)?,
        Some(since) => drop(tx.execute(
            "INSERT INTO sign_in_failures (account, failures, since)
             VALUES ($1, $2, $3)
             ON CONFLICT (account) DO UPDATE SET failures = excluded.failures, since = excluded.since",
            &[&account.to_string(), &standing.failures, &since],
        )?),
    }
    let Account::User(user) = account else {
        return Ok(());
    };
    tx.execute("DELETE FROM sign_in_networks WHERE user_uid = $1", &[&user])?;
    for known in networks {
        tx.execute(
            "INSERT INTO sign_in_networks (user_uid, network, used_at, failures)
             SELECT uid, $1, $2, $3 FROM users WHERE uid = $4 AND deleted_at IS NULL",
            &[
                &known.network.to_string(),
                &known.used_at,
                &known.failures,
                &user,
            ],
        )?;
    }
    Ok(())
}

/// Forgets the failures of an account.
pub fn delete(tx: &Write<'_>, account: Account) -> Result<()> {
    tx.execute(
        "DELETE FROM sign_in_failures WHERE account = $1",
        &[&account.to_string()],
    )?;
    Ok(())
}

/// Forgets the failures from the networks of a user.
pub fn delete_network_failures(tx: &Write<'_>, user: Uid) -> Result<()> {
    tx.execute(
        "UPDATE sign_in_networks SET failures = 0 WHERE user_uid = $1",
        &[&user],
    )?;
    Ok(())
}

/// Forgets the failures and the networks of a user.
pub fn delete_of_user(tx: &Write<'_>, user: Uid) -> Result<()> {
    delete(tx, Account::User(user))?;
    tx.execute("DELETE FROM sign_in_networks WHERE user_uid = $1", &[&user])?;
    Ok(())
}
