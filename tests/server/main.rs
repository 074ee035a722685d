//! Tests of the running server from outside, one module a behaviour.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod audit;
mod forward_auth;
mod framing;
mod input;
mod keys;
mod people;
mod support;
mod verify;
