//! What keys live by: policies and catalogs.

pub mod catalogs;
pub mod policies;
