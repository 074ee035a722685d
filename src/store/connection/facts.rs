//! What the server of a database and its settings are, for the checks of an administrator.

/// What a connection to the server shows.
#[derive(Clone, Debug)]
#[cfg_attr(
    not(feature = "postgres"),
    expect(dead_code, reason = "a file has no server")
)]
pub struct Facts {
    /// Such as `15.18`.
    pub version: String,
    /// `synchronous_standby_names`; empty if commits wait for no standby.
    pub standby_names: String,
    /// How many standbys are connected, and how many of them are synchronous; `None` if the user may not see that.
    pub standbys: Option<(i64, i64)>,
    /// `synchronous_commit` of the user in this database, which sessions of Latchkey replace.
    pub synchronous_commit: String,
    pub fsync: bool,
    pub full_page_writes: bool,
    pub is_superuser: bool,
    /// The user that connections log in as.
    pub user: String,
    /// Whether connections leave this machine without TLS.
    pub is_open: bool,
    /// Whether there is a schema of Latchkey.
    pub has_schema: bool,
    /// The name of the database.
    pub database: String,
    /// Whether the user may create a schema in it.
    pub may_create: bool,
}
