//! Looking after the server: backups, the clock, and whether all is well.

pub mod backups;
pub mod clock;
pub mod doctor;
