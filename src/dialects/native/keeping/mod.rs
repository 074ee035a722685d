//! Looking after the server: backups, and whether all is well.

pub mod backups;
pub mod doctor;
