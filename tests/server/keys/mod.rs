//! The life of a key through the native API.

mod at_most;
mod edit;
mod for_owner;
mod handing_over;
mod idempotency;
mod issue;
mod list;
mod many;
mod metadata;
mod own;
mod previous;
mod refusals;
mod rotation;
mod together;
mod trial;
