//! A real Chromium in front of a real server.

pub mod browser;
pub mod driver;
