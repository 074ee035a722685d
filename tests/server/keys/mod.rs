//! The life of a key through the native API.

mod at_most;
mod edit;
mod for_owner;
mod idempotency;
mod issue;
mod list;
mod metadata;
mod own;
mod rotation;
mod together;
