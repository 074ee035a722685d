//! What keys open and what they live by: catalogs and policies.

pub mod catalogs;
pub mod policies;
