//! The audit log: every change has its event, denied attempts have theirs, and no secret is anywhere.

mod chain;
mod events;
mod secrets;
mod tenants;
