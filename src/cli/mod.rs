//! The command line: one subcommand a job, each with examples.
//!
//! Besides making and serving a folder, every command is a request of the native API (`ask`) and a way to show its
//! answer (`show`). None looks into the store by itself.

mod ask;
mod catalog;
mod certificate;
mod failure;
mod generate;
mod keeping;
mod key;
pub mod log_format;
pub mod log_line;
mod manage;
mod output;
mod oversight;
mod scan;
mod secrecy;
mod serve;
mod show;
mod start;
mod typed;
mod words;

use crate::config::sources::{Setting, settle, without_empty};
use crate::config::{DataArgs, ServeArgs, folder, owner};
use crate::error::Error;
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
    ///
    /// Each setting is a flag, a variable LATCHKEY_… or a line of the settings file; a flag outranks a variable,
    /// and a variable the file. SIGHUP reads them again: TLS files, trusted proxies, allowed hosts, origins and the
    /// log level change at once, the others at the next start.
    #[command(
        after_help = "Examples:\n  latchkey serve --data /var/lib/latchkey\n  latchkey serve --listen 10.0.0.5:8420 --tls-certificate keys.pem --tls-key keys-key.pem\n  latchkey serve --config /etc/latchkey/latchkey.toml\n  latchkey serve --listen 10.0.0.5:8420 --allow-plain-http --trusted-proxies 10.0.0.4\n  latchkey serve --mount vspc=console.example --mount awaretrain=/train --mount aware=off"
    )]
    Serve(RunArgs),
    /// Check the settings, and show each with where it comes from, without serving
    #[command(
        after_help = "Examples:\n  latchkey check-config --config /etc/latchkey/latchkey.toml\n  LATCHKEY_LISTEN=10.0.0.5:8420 latchkey check-config --json"
    )]
    CheckConfig(RunArgs),
    /// Issue, list, edit, rotate, disable, delete and verify keys
    #[command(subcommand)]
    Key(key::KeyCommand),
    /// Create, list, edit, disable and delete users, and set their passwords and roles
    #[command(subcommand)]
    User(manage::user::UserCommand),
    /// Create, list, edit, disable and delete workspaces
    #[command(subcommand)]
    Workspace(manage::workspace::WorkspaceCommand),
    /// List, show, put and delete policies
    #[command(subcommand)]
    Policy(manage::policy::PolicyCommand),
    /// List, show, put, import and delete catalogs
    #[command(subcommand)]
    Catalog(catalog::CatalogCommand),
    /// Read, export and verify the audit log
    #[command(subcommand)]
    Audit(oversight::audit::AuditCommand),
    /// Show how often a key was used, hour by hour
    #[command(
        after_help = "Examples:\n  latchkey usage k3J9aQ0xZb\n  latchkey usage k3J9aQ0xZb --since 2027-01-01T00:00:00Z --json"
    )]
    Usage(oversight::usage::UsageArgs),
    /// Make a whole copy of the database, while the server runs or not
    #[command(
        after_help = "Examples:\n  latchkey backup\n  latchkey backup /mnt/backups/latchkey-monday.db --data /var/lib/latchkey"
    )]
    Backup(keeping::backup::BackupArgs),
    /// Put a backup in the place of the database; what was deleted or disabled since stays so
    #[command(
        after_help = "The server must be stopped. The old database is kept beside; sessions end. What was narrowed since the \
                      backup is closed until you have looked at it, and is listed.\n\n\
                      Examples:\n  latchkey restore /mnt/backups/latchkey-monday.db --data /var/lib/latchkey\n  \
                      latchkey restore monday.db --tombstones /mnt/backups/tombstones --yes --json"
    )]
    Restore(keeping::restore::RestoreArgs),
    /// Show what counts as now, and correct a recorded time that is wrong
    #[command(
        after_help = "Now is the later of this machine's date and the recorded time, which goes on. A date that has fallen back \
                      changes nothing; one that is far ahead counts, but is recorded only when it has lasted, or when it is \
                      accepted.\n\nExamples:\n  latchkey clock --data /var/lib/latchkey\n  latchkey clock accept --dry-run\n  \
                      latchkey clock accept --yes"
    )]
    Clock(keeping::clock::ClockArgs),
    /// Ask whether all is well: one line a question, with what to do; exits 1 if something is wrong
    #[command(
        after_help = "Reads the whole database and every event. Works while the server runs and while it does not.\n\n\
                      What somebody has changed in the database past Latchkey is closed; doctor names it, and `doctor accept` \
                      takes what is meant as it is.\n\n\
                      Examples:\n  latchkey doctor --data /var/lib/latchkey\n  latchkey doctor accept key k3J9aQ0xZb\n  latchkey doctor --json | jq '.checks[] | select(.finding != \"ok\")'"
    )]
    Doctor(keeping::doctor::DoctorArgs),
    /// Write a file for whoever helps: findings, figures, recent events; no secret and no digest
    #[command(
        after_help = "Names of users, keys and workspaces are not in it; ids, addresses and times of events are. Read it before \
                      you send it: it is text.\n\nExamples:\n  latchkey support-bundle bundle.json --data /var/lib/latchkey"
    )]
    SupportBundle(keeping::support::SupportArgs),
    /// Save pepper and sealing key under a passphrase, and put them back
    #[command(subcommand)]
    Secrets(keeping::secrets::SecretsCommand),
    /// Find secrets in files, and whose they are; exits 1 if there are any
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
    /// Make a TLS certificate for the first day
    #[command(subcommand)]
    Tls(certificate::TlsCommand),
    /// Write a script that lets a shell complete commands
    #[command(
        after_help = "Examples:\n  latchkey completions bash > /etc/bash_completion.d/latchkey\n  \
                      latchkey completions zsh > /usr/local/share/zsh/site-functions/_latchkey\n  \
                      latchkey completions fish > ~/.config/fish/completions/latchkey.fish"
    )]
    Completions(generate::completions::CompletionsArgs),
    /// Write the man pages
    #[command(
        after_help = "Examples:\n  latchkey man | man -l -\n  latchkey man --out /usr/local/share/man/man1"
    )]
    Man(generate::man::ManArgs),
}

/// What serving takes.
#[derive(clap::Args, Clone, Debug)]
pub struct RunArgs {
    #[command(flatten)]
    pub data: DataArgs,
    /// The settings file, in TOML; by default latchkey.toml in the data folder, if it is there
    #[arg(long, env = "LATCHKEY_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    #[command(flatten)]
    pub serve: ServeArgs,
    /// Each setting in force, and where it comes from.
    #[arg(skip)]
    pub settings: Vec<Setting>,
}

/// What making a data folder takes.
#[derive(clap::Args, Clone, Debug)]
pub struct InitArgs {
    #[command(flatten)]
    pub data: DataArgs,
    /// Also make so many keys without limits, for measurements
    #[arg(long, value_name = "N", requires = "secrets")]
    pub keys: Option<u64>,
    /// Give the owner no password: `serve` prints a code with which it is set in the console
    #[arg(long)]
    pub setup: bool,
    /// Where to write the secrets of those keys, one a line
    #[arg(long, value_name = "FILE", requires = "keys")]
    pub secrets: Option<PathBuf>,
    /// Print one JSON line instead of text
    #[arg(long)]
    pub json: bool,
}

/// Runs what the arguments say. Exit codes: 0 done, 1 refused or failed, 2 usage.
pub fn run() -> ExitCode {
    secrecy::close_memory();
    let matches = without_empty(Cli::command()).get_matches();
    let ended = take_rights(&matches).and_then(|()| match Cli::from_arg_matches(&matches) {
        Ok(cli) => carried_out(cli.command),
        Err(err) => err.exit(),
    });
    tell(ended)
}

/// Has root work as the owner of the data folder. What serves is started as its owner, or else refused, and what scans
/// reads files of many users: it takes those rights when it asks the store.
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
/// Reads flags, variables and the settings file again each time.
fn settled() -> crate::error::Result<RunArgs> {
    let typed: Vec<_> = std::env::args_os().collect();
    let settled = settle(&Cli::command(), &typed)?;
    match Cli::from_arg_matches(&settled.matches) {
        Ok(Cli {
            command: Command::Serve(args) | Command::Quickstart(args) | Command::CheckConfig(args),
        }) => Ok(RunArgs {
            settings: settled.settings,
            ..args
        }),
        Ok(_) => Err(Error::Malformed("this command does not serve".to_owned())),
        Err(err) => Err(Error::Malformed(err.to_string())),
    }
}

fn carried_out(command: Command) -> Result<End> {
    match command {
        Command::Init(args) => start::init(&args)?,
        Command::Quickstart(_) => start::quickstart(&settled()?)?,
        Command::Serve(_) => serve::serve(&settled()?)?,
        Command::CheckConfig(_) => serve::check::run(&settled()?)?,
        Command::Key(command) => return key::run(&command),
        Command::User(command) => return manage::user::run(&command),
        Command::Workspace(command) => return manage::workspace::run(&command),
        Command::Policy(command) => return manage::policy::run(&command),
        Command::Catalog(command) => return catalog::run(&command),
        Command::Audit(command) => return oversight::audit::run(&command),
        Command::Usage(args) => return oversight::usage::run(&args),
        Command::Backup(args) => return keeping::backup::run(&args),
        Command::Restore(args) => return keeping::restore::run(&args),
        Command::Clock(args) => return keeping::clock::run(&args),
        Command::Doctor(args) => return keeping::doctor::run(&args),
        Command::SupportBundle(args) => return keeping::support::run(&args),
        Command::Secrets(command) => return keeping::secrets::run(&command),
        Command::Scan(args) => return scan::run(&args),
        Command::Tls(command) => return certificate::run(&command),
        Command::Completions(args) => return generate::completions::run(&args, Cli::command()),
        Command::Man(args) => return generate::man::run(&args, Cli::command()),
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
