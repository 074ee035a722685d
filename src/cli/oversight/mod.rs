//! What happened: the audit log and the use of keys.

pub mod audit;
pub mod usage;
