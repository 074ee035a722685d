//! Tests of the running server from outside, one module a behaviour.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod durability;
mod faults;
mod folder;
mod framing;
mod support;
mod usage;
