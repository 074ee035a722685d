//! The domain types and their rules. No SQL, no HTTP, no clock, and no I/O except the random source.
//!
//! Rules are pure functions of `(record, request, now)`.

pub mod attempts;
pub mod audit;
pub mod authenticators;
pub mod budget;
pub mod catalogs;
pub mod clock;
pub mod keys;
pub mod locks;
pub mod metrics;
pub mod numbers;
pub mod paging;
pub mod policies;
pub mod sessions;
pub mod text;
pub mod time;
pub mod tombstones;
pub mod uid;
pub mod users;
pub mod workspaces;
