//! The console in a real Chromium, driven as people use it. Every page is looked at light and dark, wide and on a
//! phone, and held against axe-core's rules; pictures of all of it are left in `target/screenshots`.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::expect_used)]

mod door;
mod harness;
mod hostile;
mod keys;
mod looking;
mod people;
mod rules;
mod seeds;
mod senses;
#[path = "../server/support/mod.rs"]
#[allow(dead_code, unused_imports)]
mod support;
