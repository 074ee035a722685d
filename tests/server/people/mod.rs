//! People and places: who may do what where, signing in, and the tree of workspaces.

mod attempts;
mod bounds;
mod names;
mod ownerless;
mod roles;
mod signing_in;
mod tree;
mod users;
