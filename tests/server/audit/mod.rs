//! The audit log: every change and every denied attempt has an event, and no event contains a secret.

mod chain;
mod events;
mod secrets;
mod tenants;
