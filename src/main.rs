//! Latchkey: an API-key server in one executable. docs/architecture.md describes its structure.

// Clippy also checks the program without its tests, so the rules of clippy.toml still apply to all other code.
#![cfg_attr(test, allow(clippy::disallowed_methods))]

#[cfg(test)]
#[path = "../tests/authorization_matrix/mod.rs"]
mod authorization_matrix;
mod authz;
mod cli;
mod config;
mod dialects;
mod domain;
mod error;
mod files;
#[cfg(test)]
mod fuzz;
mod http;
mod http1;
mod index;
mod ops;
mod refusals;
#[cfg(test)]
#[path = "../tests/several_nodes/mod.rs"]
mod several_nodes;
mod sinks;
mod store;

use cli::log_line::LogLine;
use std::process::ExitCode;

fn main() -> ExitCode {
    // Without RUST_LOG only the log level of the settings decides, which can change while the server runs.
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
