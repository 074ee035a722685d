//! The work of administrators in the console: policies and catalogs, workspaces, the log, backups.

mod backups;
mod catalogs;
mod grave;
mod leaving;
mod log;
mod rules;
mod warnings;

pub use rules::filled;
