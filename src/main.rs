//! Latchkey: an API-key server in one file. ARCHITECTURE.md is the map.

mod cli;
mod config;
mod dialects;
mod domain;
mod error;
mod http;
mod index;
mod ops;
mod store;

use cli::log_line::LogLine;
use std::process::ExitCode;

fn main() -> ExitCode {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("info"))
        .target(env_logger::Target::Pipe(Box::<LogLine>::default()))
        .format(cli::log_format::write)
        .init();
    cli::run()
}
