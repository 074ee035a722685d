//! How much of the server's resources one caller may use: changes, queue slots, large bodies, keys; and that other
//! callers are not affected.
//!
//! The disk space that is reserved for a full disk is in `faults::disk`.

mod bodies;
mod queue;
mod rates;
