//! Commands for workspaces, users and policies.

pub mod policy;
pub mod user;
pub mod workspace;
