//! Looking after a server: its figures, its backups, and whether all is well with it.

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

/// What this folder remembers between two questions.
#[derive(Default)]
pub struct Keeping {
    /// The last count of keys, and when it was made on the steady clock.
    counted: Mutex<Option<(u64, KeyFigures)>>,
    backups: backup::Backups,
}
