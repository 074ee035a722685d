//! Looking after the data: backups, putting them back, and whether all is well.

pub mod backup;
pub mod doctor;
pub mod restore;
pub mod secrets;
pub mod support;
