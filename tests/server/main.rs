//! Tests of the running server from outside, one module a behaviour.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod audit_retention;
mod clock;
mod framing;
mod policies;
mod sealed;
mod support;
mod workspaces_recursive;
