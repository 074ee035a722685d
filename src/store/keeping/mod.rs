//! Safety of the database: checks that its files were not replaced, the tombstone file, reserved disk space, and
//! closing after a restore.

pub mod closing;
pub mod events;
pub mod place;
pub mod reserve;
pub mod tombstones;
