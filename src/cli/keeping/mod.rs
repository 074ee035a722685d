//! Operation of the server: backups, restore, health checks, the clock and the key files.

pub mod backup;
pub mod clock;
pub mod doctor;
pub mod restore;
pub mod secrets;
pub mod support;
