//! Catalogs, which define scopes and operations, and policies, which define the rules for keys.

pub mod catalogs;
pub mod policies;
