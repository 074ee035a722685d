//! Latchkey: an API-key server in one file. ARCHITECTURE.md is the map.

// Clippy looks at the program without its tests too: what clippy.toml forbids is forbidden there alone.
#![cfg_attr(test, allow(clippy::disallowed_methods))]

mod cli;
mod config;
mod dialects;
mod domain;
mod error;
mod files;
mod http;
mod index;
mod ops;
mod store;

use cli::log_line::LogLine;
use std::process::ExitCode;

fn main() -> ExitCode {
    // Without RUST_LOG the level alone decides, which the settings say and can change.
    let finely = std::env::var_os("RUST_LOG").is_some();
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("trace"))
        .target(env_logger::Target::Pipe(Box::<LogLine>::default()))
        .format(cli::log_format::write)
        .init();
    if !finely {
        log::set_max_level(log::LevelFilter::Info);
    }
    cli::run()
}
