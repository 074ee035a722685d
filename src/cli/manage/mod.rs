//! Where keys live and who is responsible for them: workspaces, users, policies.

pub mod policy;
pub mod user;
pub mod workspace;
