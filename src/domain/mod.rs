//! The domain types and their rules. No SQL, no HTTP, no clock, and no I/O except the random source.
//!
//! Rules are pure functions of `(record, request, now)`.

pub mod audit;
pub mod budget;
pub mod catalog;
pub mod clock;
pub mod keeping;
pub mod key;
pub mod locks;
pub mod pages;
pub mod people;
pub mod policy;
pub mod sorted;
pub mod text;
pub mod time;
pub mod uid;
pub mod workspace;
