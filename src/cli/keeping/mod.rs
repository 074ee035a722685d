//! Looking after the data: backups, putting them back, and whether all is well.

pub mod backup;
pub mod clock;
pub mod doctor;
pub mod restore;
pub mod secrets;
pub mod support;
