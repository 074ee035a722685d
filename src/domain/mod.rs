//! The domain types and their rules. No SQL, no HTTP, no clock, and no I/O except the random source.
//!
//! Rules are pure functions of `(record, request, now)`.

pub mod attempts;
pub mod audit;
pub mod authenticators;
pub mod budget;
pub mod catalogs;
pub mod clock;
pub mod connect;
pub mod declared;
#[cfg(test)]
mod fuzz_tombstones;
pub mod hex;
pub mod json;
pub mod keys;
pub mod leak_keys;
pub mod locks;
pub mod metrics;
pub mod nodes;
pub mod notices;
pub mod numbers;
pub mod packs;
pub mod paging;
pub mod policies;
pub mod random;
pub mod security_txt;
pub mod sessions;
pub mod text;
pub mod time;
pub mod time_zone;
pub mod tombstone_marks;
pub mod tombstones;
pub mod uid;
pub mod users;
pub mod workspaces;
