//! What whoever looks after a server needs to know of it: figures, and what has ended for good.

pub mod changes;
pub mod figures;
pub mod locked;
pub mod numbers;
pub mod tombstone;
