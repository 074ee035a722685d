//! The command line: one subcommand for each task, with examples.
//!
//! Except for creating and serving a folder, every command sends requests of the native API (`ask`) and displays the
//! answers (`show`). No command accesses the store directly.

mod arguments;
pub mod audit;
pub mod backups;
mod catalogs;
mod certificate;
mod client;
pub mod clock;
pub mod completions;
pub mod doctor;
mod failure;
mod init;
mod keys;
pub mod log_format;
pub mod log_line;
pub mod man;
mod output_file;
pub mod policies;
mod print;
mod process_memory;
mod prompt;
pub mod restore;
mod scan;
pub mod secrets;
mod serve;
pub mod support_bundle;
pub mod usage;
pub mod users;
pub mod workspaces;

use crate::config::sources::{Setting, settle, without_empty};
use crate::config::{DataArgs, LogFormat, ServeArgs, folder, owner};
use crate::dialects::console;
use crate::error::Error;
use crate::refusals::verbatim;
use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand};
use failure::{End, Result, tell};
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
    /// Create a data folder and print its secrets, without serving
    #[command(
        after_help = "Examples:\n  latchkey init --data /var/lib/latchkey\n  latchkey init --data ./load-test --keys 100000 --secrets secrets.txt\n  latchkey init --setup --systems aware,vspc"
    )]
    Init(InitArgs),
    /// Create a data folder if there is none, print its secrets once, and serve
    #[command(
        after_help = "Examples:\n  latchkey quickstart\n  latchkey quickstart --data ./demo --listen 127.0.0.1:0 --json"
    )]
    Quickstart(RunArgs),
    /// Serve a data folder that `init` or `quickstart` has created
    ///
    /// Each setting is a flag, a variable LATCHKEY_… or a line of the settings file; a flag takes precedence over a
    /// variable, and a variable over the file. On SIGHUP the server reads them again: TLS files, trusted proxies,
    /// allowed hosts, origins and the log level change immediately, the others at the next start.
    #[command(
        after_help = "Examples:\n  latchkey serve --data /var/lib/latchkey\n  latchkey serve --listen 10.0.0.5:8420 --tls-certificate keys.pem --tls-key keys-key.pem\n  latchkey serve --config /etc/latchkey/latchkey.toml\n  latchkey serve --listen 10.0.0.5:8420 --allow-plain-http --trusted-proxies 10.0.0.4\n  latchkey serve --mount vspc=console.example --mount awaretrain=/train --mount aware=off"
    )]
    Serve(RunArgs),
    /// Check the settings, and print each with its source, without serving
    #[command(
        after_help = "Examples:\n  latchkey check-config --config /etc/latchkey/latchkey.toml\n  LATCHKEY_LISTEN=10.0.0.5:8420 latchkey check-config --json"
    )]
    CheckConfig(RunArgs),
    /// Issue, list, edit, rotate, disable, delete and verify keys
    #[command(subcommand)]
    Key(keys::KeyCommand),
    /// Create, list, edit, disable and delete users, and set their passwords and roles
    #[command(subcommand)]
    User(users::UserCommand),
    /// Create, list, edit, disable and delete workspaces
    #[command(subcommand)]
    Workspace(workspaces::WorkspaceCommand),
    /// List, show, put and delete policies
    #[command(subcommand)]
    Policy(policies::PolicyCommand),
    /// List, show, put, import and delete catalogs
    #[command(subcommand)]
    Catalog(catalogs::CatalogCommand),
    /// Read, export and verify the audit log
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// Show how often a key was used, hour by hour
    #[command(
        after_help = "Examples:\n  latchkey usage k3J9aQ0xZb\n  latchkey usage k3J9aQ0xZb --since 2027-01-01T00:00:00Z --json"
    )]
    Usage(usage::UsageArgs),
    /// Make a complete copy of the database, whether the server runs or not
    #[command(
        after_help = "Examples:\n  latchkey backup\n  latchkey backup /mnt/backups/latchkey-monday.db --data /var/lib/latchkey"
    )]
    Backup(backups::BackupArgs),
    /// Replace the database by a backup; what was deleted or disabled since stays so
    #[command(
        after_help = "The server must be stopped. The old database is kept beside; sessions end. What was narrowed since the \
                      backup is closed until you have looked at it, and is listed.\n\n\
                      Examples:\n  latchkey restore /mnt/backups/latchkey-monday.db --data /var/lib/latchkey\n  \
                      latchkey restore monday.db --tombstones /mnt/backups/tombstones --yes --json"
    )]
    Restore(restore::RestoreArgs),
    /// Show the current time of the server, and correct a wrong recorded time
    #[command(
        after_help = "Now is the later of this machine's date and the recorded time, which goes on. A date that has fallen back \
                      changes nothing; one that is far ahead counts, but is recorded only when it has lasted, or when it is \
                      accepted.\n\nExamples:\n  latchkey clock --data /var/lib/latchkey\n  latchkey clock accept --dry-run\n  \
                      latchkey clock accept --yes"
    )]
    Clock(clock::ClockArgs),
    /// Check the health of the server: one line for each check, with advice; exits 1 if a check fails
    #[command(
        after_help = "Reads the whole database and every event. Works while the server runs and while it does not.\n\n\
                      What somebody has changed in the database past Latchkey is closed; doctor names it, and `doctor accept` \
                      takes what is meant as it is.\n\n\
                      Examples:\n  latchkey doctor --data /var/lib/latchkey\n  latchkey doctor accept key k3J9aQ0xZb\n  latchkey doctor --json | jq '.checks[] | select(.finding != \"ok\")'"
    )]
    Doctor(doctor::DoctorArgs),
    /// Write a file for support: check results, statistics, recent events; no secret and no digest
    #[command(
        after_help = "Names of users, keys and workspaces are not in it; ids, addresses and times of events are. Read it before \
                      you send it: it is text.\n\nExamples:\n  latchkey support-bundle bundle.json --data /var/lib/latchkey"
    )]
    SupportBundle(support_bundle::SupportArgs),
    /// Save pepper and sealing key under a passphrase, and restore them
    #[command(subcommand)]
    Secrets(secrets::SecretsCommand),
    /// Find secrets in files, and the keys that they belong to; exits 1 if there are any
    #[command(
        after_help = "Secrets are known by their shape and checksum; they are never printed. They are found in plain text, UTF-16, \
                      base64, percent-encoded text and gzip; archives of other kinds and encrypted files are listed on \
                      standard error as not looked into.\n\n\
                      In a git work tree, git is asked which files count: those that are tracked, and those that it does not \
                      ignore. If git refuses or there is none, every file is looked into, and standard error says why. Elsewhere \
                      every file counts. What PATH names is always looked into; links and .git are not followed.\n\n\
                      Examples:\n  latchkey scan .\n  latchkey scan --json /srv/app /var/log/app | jq -r '.[].path'\n  \
                      git diff --cached | latchkey scan -"
    )]
    Scan(scan::ScanArgs),
    /// Create a TLS certificate for use without a certificate authority
    #[command(subcommand)]
    Tls(certificate::TlsCommand),
    /// Write a script that lets a shell complete commands
    #[command(
        after_help = "Examples:\n  latchkey completions bash > /etc/bash_completion.d/latchkey\n  \
                      latchkey completions zsh > /usr/local/share/zsh/site-functions/_latchkey\n  \
                      latchkey completions fish > ~/.config/fish/completions/latchkey.fish"
    )]
    Completions(completions::CompletionsArgs),
    /// Print all texts of the console in English, to translate them
    #[command(
        after_help = "Examples:\n  latchkey console-texts > german.txt\n  latchkey check-config --console-texts german.txt"
    )]
    ConsoleTexts,
    /// Write the man pages
    #[command(
        after_help = "Examples:\n  latchkey man | man -l -\n  latchkey man --out /usr/local/share/man/man1"
    )]
    Man(man::ManArgs),
}

/// The arguments of commands that serve.
#[derive(clap::Args, Clone, Debug)]
pub struct RunArgs {
    #[command(flatten)]
    pub data: DataArgs,
    /// The settings file, in TOML; by default latchkey.toml in the data folder, if it exists
    #[arg(long, env = "LATCHKEY_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    #[command(flatten)]
    pub serve: ServeArgs,
    /// Each setting in force, and its source.
    #[arg(skip)]
    pub settings: Vec<Setting>,
}

/// The arguments of `latchkey init`.
#[derive(clap::Args, Clone, Debug)]
pub struct InitArgs {
    #[command(flatten)]
    pub data: DataArgs,
    /// Also create so many keys without limits, for measurements
    #[arg(long, value_name = "N", requires = "secrets")]
    pub keys: Option<u64>,
    /// Give the owner no password: `serve` prints a code that sets it in the console
    #[arg(long)]
    pub setup: bool,
    /// Systems whose pages the console has: aware, awaretrain, adverity, vspc, or `all`, or `none` [default: none]
    #[arg(long, value_delimiter = ',', value_parser = crate::config::systems::name, value_name = "NAME,…|all|none")]
    pub systems: Vec<String>,
    /// Where to write the secrets of those keys, one on each line
    #[arg(long, value_name = "FILE", requires = "keys")]
    pub secrets: Option<PathBuf>,
    /// Print one JSON line instead of text
    #[arg(long)]
    pub json: bool,
}

/// Runs the command that the arguments select. Exit codes: 0 success, 1 refused or failed, 2 wrong usage.
pub fn run() -> ExitCode {
    process_memory::close_memory();
    let matches = without_empty(Cli::command()).get_matches();
    let ended = take_rights(&matches).and_then(|()| match Cli::from_arg_matches(&matches) {
        Ok(cli) => carried_out(cli.command),
        Err(err) => err.exit(),
    });
    tell(ended)
}

/// Makes a command that root runs work with the rights of the owner of the data folder. A command that serves must be
/// started by the owner and is refused otherwise. `scan` reads files of many users, and takes the owner's rights only
/// when it accesses the store.
fn take_rights(matches: &ArgMatches) -> Result<()> {
    let (mut deepest, mut name) = (matches, "");
    while let Some((below, found)) = deepest.subcommand() {
        if name.is_empty() {
            name = below;
        }
        deepest = found;
    }
    let data = deepest.try_get_one::<PathBuf>("data").ok().flatten();
    match (name, data) {
        ("scan", _) | (_, None) => Ok(()),
        ("serve" | "quickstart", Some(data)) => Ok(folder::check_owner(data)?),
        (_, Some(data)) => Ok(owner::work_as_owner_of(data)?),
    }
}

/// The arguments with which a server runs.
///
/// Each call reads the flags, the environment variables and the settings file again.
fn settled() -> crate::error::Result<RunArgs> {
    let typed: Vec<_> = std::env::args_os().collect();
    let settled = settle(&Cli::command(), &typed)?;
    match Cli::from_arg_matches(&settled.matches) {
        Ok(Cli {
            command: Command::Serve(args) | Command::Quickstart(args) | Command::CheckConfig(args),
        }) => {
            log_format::set_json(args.serve.log_format == LogFormat::Json);
            settled
                .warnings
                .iter()
                .for_each(|warning| log::warn!("{warning}"));
            Ok(RunArgs {
                settings: settled.settings,
                ..args
            })
        }
        Ok(_) => Err(Error::Malformed(verbatim("this command does not serve"))),
        Err(err) => Err(Error::Malformed(verbatim(err.to_string()))),
    }
}

fn carried_out(command: Command) -> Result<End> {
    match command {
        Command::Init(args) => init::init(&args)?,
        Command::Quickstart(_) => init::quickstart(&settled()?)?,
        Command::Serve(_) => serve::serve(&settled()?)?,
        Command::CheckConfig(_) => serve::check_config::run(&settled()?)?,
        Command::Key(command) => return keys::run(&command),
        Command::User(command) => return users::run(&command),
        Command::Workspace(command) => return workspaces::run(&command),
        Command::Policy(command) => return policies::run(&command),
        Command::Catalog(command) => return catalogs::run(&command),
        Command::Audit(command) => return audit::run(&command),
        Command::Usage(args) => return usage::run(&args),
        Command::Backup(args) => return backups::run(&args),
        Command::Restore(args) => return restore::run(&args),
        Command::Clock(args) => return clock::run(&args),
        Command::Doctor(args) => return doctor::run(&args),
        Command::SupportBundle(args) => return support_bundle::run(&args),
        Command::Secrets(command) => return secrets::run(&command),
        Command::Scan(args) => return scan::run(&args),
        Command::Tls(command) => return certificate::run(&command),
        Command::Completions(args) => return completions::run(&args, Cli::command()),
        Command::ConsoleTexts => print::print_bytes(console::template().as_bytes())?,
        Command::Man(args) => return man::run(&args, Cli::command()),
    }
    Ok(End::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_an_example() {
        fn check(command: &clap::Command) {
            if command.has_subcommands() {
                return command.get_subcommands().for_each(check);
            }
            let help = command.get_after_help().map(ToString::to_string);
            let has_example = help.is_some_and(|text| text.contains("Example"));
            assert!(has_example, "{}", command.get_name());
        }
        let program = Cli::command();
        program.clone().debug_assert();
        check(&program);
    }
}
