//! What administrators do in the console: rules, workspaces, the log, backups.

mod backups;
mod catalogs;
mod grave;
mod leaving;
mod log;
mod rules;
mod warnings;

pub use rules::filled;
