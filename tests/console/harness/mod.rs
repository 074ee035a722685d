//! A real Chromium with a real server.

pub mod browser;
pub mod driver;
pub mod filled;
