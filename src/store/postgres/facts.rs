//! Asking a server what it and its settings are.

use super::{Address, Postgres, schema};
use crate::error::Result;
use crate::store::connection::Facts;

/// Asks the server. One that is too old or that has another encoding is refused.
pub fn facts(address: &Address) -> Result<Facts> {
    let postgres = Postgres::connect(address)?;
    schema::check_server(&postgres)?;
    let has_schema = schema::has_schema(&postgres)?;
    let mut found = None;
    postgres.each(
        "SELECT current_setting('server_version') AS version,
                current_setting('synchronous_standby_names') AS standby_names,
                (SELECT reset_val FROM pg_catalog.pg_settings WHERE name = 'synchronous_commit') AS synchronous_commit,
                current_setting('fsync') = 'on' AS fsync,
                current_setting('full_page_writes') = 'on' AS full_page_writes,
                CAST(session_user AS text) AS user_name,
                CAST(current_database() AS text) AS database,
                has_database_privilege(session_user, current_database(), 'CREATE') AS may_create,
                (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = session_user) AS is_superuser,
                pg_has_role(session_user, 'pg_read_all_stats', 'USAGE') AS sees_standbys,
                (SELECT count(*) FROM pg_catalog.pg_stat_replication) AS standbys,
                (SELECT count(*) FROM pg_catalog.pg_stat_replication WHERE sync_state IN ('sync', 'quorum')) AS synchronous",
        &[],
        &mut |row| {
            let sees: bool = row.get("sees_standbys")?;
            let standbys = (row.get("standbys")?, row.get("synchronous")?);
            found = Some(Facts {
                version: row.get("version")?,
                standby_names: row.get("standby_names")?,
                standbys: sees.then_some(standbys),
                synchronous_commit: row.get("synchronous_commit")?,
                fsync: row.get("fsync")?,
                full_page_writes: row.get("full_page_writes")?,
                is_superuser: row.get("is_superuser")?,
                user: row.get("user_name")?,
                is_open: address.is_open,
                has_schema,
                database: row.get("database")?,
                may_create: row.get("may_create")?,
            });
            Ok(())
        },
    )?;
    found.ok_or_else(|| schema::refused("does not answer questions about its server"))
}
