//! Commands for the audit log and the usage of keys.

pub mod audit;
pub mod usage;
