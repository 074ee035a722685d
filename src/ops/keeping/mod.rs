//! Operating a server: its counters, its backups, and its consistency checks.

pub mod accept;
pub mod backup;
pub mod closing;
pub mod doctor;
pub mod figures;
mod memory;
pub mod recorded;
pub mod restore;
mod rows;

use figures::KeyFigures;
use std::sync::Mutex;

/// The state of this folder's operations.
#[derive(Default)]
pub struct Keeping {
    /// The last count of keys, and the steady time at which it was made.
    counted: Mutex<Option<(u64, KeyFigures)>>,
    backups: backup::Backups,
}
