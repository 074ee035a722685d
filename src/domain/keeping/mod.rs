//! Concepts for the operation of a server: counters, the tombstones of what has ended for good, the highest assigned
//! numbers, and encrypted copies of the key files.

pub mod changes;
pub mod figures;
pub mod locked;
pub mod numbers;
pub mod tombstone;
