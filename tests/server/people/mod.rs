//! Users and workspaces: permissions, signing in, and the tree of workspaces.

mod attempts;
mod bounds;
mod first_steps;
mod names;
mod ownerless;
mod roles;
pub mod second_factor;
mod sessions;
mod signing_in;
mod tree;
mod users;
