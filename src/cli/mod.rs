//! The command line: one subcommand a job, each with examples.

mod serve;
mod start;

use crate::config::{DataArgs, ServeArgs};
use crate::error::Error;
use clap::{Parser, Subcommand};
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

/// An API-key server in one file: issues, rotates, disables, deletes and verifies API keys.
#[derive(Debug, Parser)]
#[command(name = "latchkey", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a data folder and show its secrets, without serving
    #[command(
        after_help = "Examples:\n  latchkey init --data /var/lib/latchkey\n  latchkey init --data ./load-test --keys 100000 --secrets secrets.txt"
    )]
    Init(InitArgs),
    /// Make a data folder if there is none, show its secrets once, and serve
    #[command(
        after_help = "Examples:\n  latchkey quickstart\n  latchkey quickstart --data ./demo --listen 127.0.0.1:0 --json"
    )]
    Quickstart(RunArgs),
    /// Serve a data folder that `init` or `quickstart` has made
    #[command(
        after_help = "Examples:\n  latchkey serve --data /var/lib/latchkey\n  latchkey serve --listen 10.0.0.5:8420 --allow-plain-http --trusted-proxies 10.0.0.4"
    )]
    Serve(RunArgs),
}

/// What serving takes.
#[derive(clap::Args, Clone, Debug)]
pub struct RunArgs {
    #[command(flatten)]
    pub data: DataArgs,
    #[command(flatten)]
    pub serve: ServeArgs,
}

/// What making a data folder takes.
#[derive(clap::Args, Clone, Debug)]
pub struct InitArgs {
    #[command(flatten)]
    pub data: DataArgs,
    /// Also make so many keys without limits, for measurements
    #[arg(long, value_name = "N", requires = "secrets")]
    pub keys: Option<u64>,
    /// Where to write the secrets of those keys, one a line
    #[arg(long, value_name = "FILE", requires = "keys")]
    pub secrets: Option<PathBuf>,
    /// Print one JSON line instead of text
    #[arg(long)]
    pub json: bool,
}

/// Runs what the arguments say. Exit codes: 0 done, 1 refused or failed, 2 usage.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.command {
        Command::Init(args) => start::init(&args),
        Command::Quickstart(args) => start::quickstart(&args),
        Command::Serve(args) => serve::serve(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            // Unlike `eprintln!`, this does not panic when nobody reads it.
            let _ = writeln!(std::io::stderr(), "latchkey: {}", sentence(&err));
            ExitCode::FAILURE
        }
    }
}

/// An error as a sentence for whoever sits at the terminal; here the cause of an internal error is of use.
fn sentence(err: &Error) -> String {
    match err {
        Error::Internal(cause) => cause.to_string(),
        other => other.to_string(),
    }
}
