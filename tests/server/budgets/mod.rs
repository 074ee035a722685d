//! What one caller may cost: changes, places in queues, large bodies, keys. And that nobody else pays for it.
//!
//! The room that is kept on a full disk is in `faults::disk`.

mod bodies;
mod queue;
mod rates;
