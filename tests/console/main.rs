//! The console in a real Chromium, used as people use it. Every page is checked light and dark, on a wide and on a
//! narrow screen, and with axe-core's rules. Screenshots of all pages are written to `target/screenshots`.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::expect_used)]

mod connect;
mod door;
mod harness;
mod hostile;
mod key_page;
mod keys;
mod looking;
mod people;
mod rules;
mod seeds;
mod senses;
mod sites;
#[path = "../server/support/mod.rs"]
#[allow(dead_code, unused_imports)]
mod support;
