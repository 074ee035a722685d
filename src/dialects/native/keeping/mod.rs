//! Operation of the server: backups, the clock and health checks.

pub mod backups;
pub mod clock;
pub mod doctor;
