//! The command line: one subcommand for each task, with examples.
//!
//! Except for creating and serving a folder, every command sends requests of the native API (`ask`) and displays the
//! answers (`show`). No command accesses the store directly.

mod arguments;
mod at_site;
pub mod audit;
pub mod authenticators;
pub mod backups;
mod bill;
mod catalogs;
mod certificate;
mod client;
pub mod clock;
pub mod cluster;
pub mod completions;
pub mod connect;
pub mod console_texts;
mod declared;
pub mod doctor;
pub mod export;
mod failure;
mod health;
pub mod import;
mod init;
mod keys;
mod linked_sites;
pub mod log_format;
pub mod log_line;
pub mod man;
mod moving;
pub mod notices;
mod output_file;
pub mod packs;
pub mod policies;
mod print;
mod probe;
mod process_memory;
mod prompt;
pub mod restore;
mod scan;
pub mod secrets;
mod serve;
pub mod sites;
mod spelling;
pub mod support_bundle;
pub mod usage;
pub mod users;
mod version;
pub mod workspaces;

use crate::config::database::DatabaseArgs;
use crate::config::sources::{Setting, Source, settle, without_empty};
use crate::config::{DataArgs, LogFormat, ServeArgs, data_folder, folder, owner};
use crate::error::Error;
use crate::refusals::verbatim;
use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand};
use failure::{End, Result, tell};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
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
        after_help = "Examples:\n  latchkey init --data /var/lib/latchkey\n  latchkey init --data ./load-test --keys 100000 --secrets secrets.txt\n  latchkey init --setup --systems aware,vspc\n  latchkey init --database postgres://latchkey@db.example/latchkey --database-ca /etc/latchkey/db-ca.pem\n  latchkey init --join --database postgres://latchkey@db.example/latchkey --database-ca /etc/latchkey/db-ca.pem"
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
    /// allowed hosts, origins, the log level, verify_from_loopback, numbers_as_text, security_txt and files of keys change
    /// immediately, the others at the next start.
    #[command(
        after_help = "Examples:\n  latchkey serve --data /var/lib/latchkey\n  latchkey serve --listen 10.0.0.5:8420 --tls-certificate keys.pem --tls-key keys-key.pem\n  latchkey serve --config /etc/latchkey/latchkey.toml\n  latchkey serve --listen 10.0.0.5:8420 --allow-plain-http --trusted-proxies 10.0.0.4\n  latchkey serve --mount vspc=/veeam --mount awaretrain=/train --mount aware=off"
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
    /// Apply the files that declare keys, and compare the store with them
    #[command(subcommand)]
    Keys(declared::KeysCommand),
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
    /// Import keys that another system has issued; their clients go on with the secrets that they have
    #[command(after_help = IMPORT_HELP)]
    Import(import::ImportArgs),
    /// Write all keys with the digests of their secrets, for another server or for files
    #[command(
        after_help = "There are no secrets in it. A digest under the pepper is of use only to a server with the same pepper.\n\n\
                      Examples:\n  latchkey export > keys.jsonl\n  latchkey export --output keys.jsonl --data /var/lib/latchkey\n  \
                      latchkey export --format keys.d --output 10-keys.toml"
    )]
    Export(export::ExportArgs),
    /// Read, export and verify the audit log
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// List notices, and see whether the sinks to which they are sent work
    #[command(subcommand)]
    Notices(notices::NoticesCommand),
    /// Show how often a key was used, hour by hour
    #[command(
        after_help = "Examples:\n  latchkey usage k3J9aQ0xZb\n  latchkey usage k3J9aQ0xZb --since 2027-01-01T00:00:00Z --json"
    )]
    Usage(usage::UsageArgs),
    /// Make a complete copy of the database, whether the server runs or not
    #[command(
        after_help = "The backup is checked as a restore checks it before it gets its name. Exits 1 if there is no good new backup, or if an \
                      old one cannot be removed.\n\nExamples:\n  latchkey backup\n  latchkey backup /mnt/backups/latchkey-monday.db --data \
                      /var/lib/latchkey\n  latchkey backup --into /mnt/backups --keep 7"
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
    /// Move the database of a stopped server to PostgreSQL, or back into a folder
    #[command(
        after_help = "Everything is copied in one transaction and compared. Afterwards the old place is not used any more: a start there is \
                      refused. An interrupted move is finished by the same command.\n\n\
                      Examples:\n  latchkey move --to postgres://latchkey@db.example/latchkey --database-ca db-ca.pem --data /var/lib/latchkey\n  \
                      latchkey move --to /var/lib/latchkey --data /var/lib/latchkey"
    )]
    Move(moving::MoveArgs),
    #[command(subcommand)]
    Cluster(cluster::ClusterCommand),
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
    /// Ask a running server whether it can verify keys; exits 1 if it cannot
    ///
    /// For the health check of a container. It asks through the socket in the data folder, or over plain HTTP if there is no
    /// socket that it may use, and opens no database.
    #[command(
        after_help = "Examples:\n  latchkey health --data /var/lib/latchkey\n  latchkey health --write --listen 127.0.0.1:8420"
    )]
    Health(health::HealthArgs),
    /// Write a file for support: check results, statistics, recent events; no secret and no digest
    #[command(
        after_help = "Names of users, keys and workspaces are not in it; ids, addresses and times of events are. Read it before \
                      you send it: it is text.\n\nExamples:\n  latchkey support-bundle bundle.json --data /var/lib/latchkey"
    )]
    SupportBundle(support_bundle::SupportArgs),
    /// Save, restore and rotate the key files: pepper, sealing key and seal key
    #[command(subcommand)]
    Secrets(secrets::SecretsCommand),
    /// Enrol, list, edit and remove sites, which verify without this server
    #[command(subcommand)]
    Site(sites::SiteCommand),
    /// Make packs for sites, and show them
    #[command(subcommand)]
    Pack(packs::PackCommand),
    /// Print the configuration with which nginx, Caddy, HAProxy, Traefik or Envoy protects an application
    #[command(
        after_help = "Examples:\n  latchkey connect nginx --host orders.example --upstream 127.0.0.1:9000 > /etc/nginx/conf.d/orders.conf\n  \
                      latchkey connect caddy --host orders.example --upstream 127.0.0.1:9000 --catalog orders --workspace root\n  \
                      latchkey connect haproxy --host orders.example --upstream 10.0.0.7:9000 --listen 0.0.0.0:8080 --out ./haproxy\n  \
                      latchkey connect gateway --host orders.example --upstream orders.shop:9000 --latchkey latchkey.auth:8420 --catalog orders"
    )]
    Connect(connect::ConnectArgs),
    /// Check from the outside whether a reverse proxy protects an application, and name the lines to change; exits 1 if something is wrong
    #[command(after_help = probe::HELP)]
    Probe(Box<probe::ProbeArgs>),
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
    /// Print all texts of the console, to translate them, and check a translation
    #[command(
        after_help = "Examples:\n  latchkey console-texts > dutch.txt\n  latchkey console-texts --check dutch.txt\n  \
                      latchkey console-texts --language de\n  latchkey check-config --console-texts dutch.txt"
    )]
    ConsoleTexts(console_texts::ConsoleTextsArgs),
    /// Print the bill of materials of this program: every part that is linked into it (CycloneDX 1.5, JSON)
    #[command(
        after_help = "Examples:\n  latchkey sbom > latchkey.cdx.json\n  latchkey sbom | jq -r '.components[] | .name + \" \" + .version'"
    )]
    Sbom,
    /// Print the licences of everything that is linked into this program
    #[command(
        after_help = "Examples:\n  latchkey licenses | less\n  latchkey licenses > THIRD-PARTY.txt"
    )]
    Licenses,
    /// Print the version, or the public key with which releases are signed
    #[command(
        after_help = "Examples:\n  latchkey version\n  minisign -V -P \"$(latchkey version --public-key)\" -m latchkey_0.2.0-1_amd64.deb"
    )]
    Version(version::VersionArgs),
    /// Write the man pages
    #[command(
        after_help = "Examples:\n  latchkey man | man -l -\n  latchkey man --out /usr/local/share/man/man1"
    )]
    Man(man::ManArgs),
}

/// The help after the options of `latchkey import`.
const IMPORT_HELP: &str = "\
The file is read on this machine. Secrets that it holds as plain text are hashed while it is read; only digests reach the
server. A key that cannot be kept as it was is not taken, and is listed with its line and the reason. The same import again
passes over the keys that are there. Exits 1 if a key is not taken. docs/moving-here.md has a section for each source.

Examples:
  latchkey import kong kong.yaml --dry-run
  latchkey import unkey keys.json --workspace emea
  latchkey import better-auth auth.sqlite
  latchkey import drf apikeys.csv --policy standard
  latchkey import tyk keys.json
  latchkey import apisix consumers.json
  latchkey import litellm tokens.csv --json
  latchkey import htpasswd .htpasswd --workspace intranet
  latchkey import csv table.csv --dry-run
  latchkey export --data ./old | latchkey import jsonl - --data ./new";

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

impl RunArgs {
    /// Refuses settings that contradict each other, and names the file and line, or the variable, of the one that is refused.
    pub fn check(&self) -> crate::error::Result<()> {
        let outside = || self.serve.notices.check_outside(&self.data.data);
        let database = || self.serve.check_database(&self.data.data);
        let checked = self.serve.check().and_then(|()| outside());
        let checked = checked.and_then(|()| database());
        checked.map_err(|err| match &err {
            Error::Invalid { field, .. } => match self.source_of(field) {
                Some(source) => Error::Unavailable(verbatim(format!("{source}: {err}"))),
                None => err,
            },
            _ => err,
        })
    }

    /// Where the value of a setting was found, unless it is a flag or built in.
    fn source_of(&self, field: &str) -> Option<&Source> {
        let name = field.replace('-', "_");
        // The setting `mounts` is the flag `--mount`.
        let is_meant =
            |known: &str| known == name || known.strip_suffix('s') == Some(name.as_str());
        let found = self.settings.iter().find(|setting| is_meant(&setting.name));
        found
            .map(|setting| &setting.source)
            .filter(|source| matches!(source, Source::File { .. } | Source::Variable(_)))
    }
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
    #[command(flatten)]
    pub database: DatabaseArgs,
    /// Make the folder, which has the key files of the other nodes, one more node of the database; create nothing there
    #[arg(long, requires = "database", conflicts_with_all = ["keys", "setup", "systems"])]
    pub join: bool,
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
    let ended = parsed().and_then(|matches| {
        take_rights(&matches)?;
        let ended = match Cli::from_arg_matches(&matches) {
            Ok(cli) => carried_out(cli.command),
            Err(err) => err.exit(),
        };
        ended.map_err(|failure| spelling::of_command(failure, &Cli::command(), &matches))
    });
    tell(ended)
}

/// The commands that create or serve the data folder, or read the settings of a server.
const SERVING: [&str; 4] = ["check-config", "init", "quickstart", "serve"];

/// The commands that also work without the data folder: a settings file that cannot be read does not stop them.
const WITHOUT_FOLDER: [&str; 3] = ["health", "probe", "scan"];

/// What the user typed. If it names no data folder, and the command is for a folder that exists, the settings file can name
/// it.
fn parsed() -> Result<ArgMatches> {
    let program = without_empty(Cli::command());
    let matches = program.clone().get_matches();
    let (name, found) = deepest(&matches);
    let is_default =
        data_of(found).is_some() && found.value_source("data") == Some(ValueSource::DefaultValue);
    if !is_default || SERVING.contains(&name) {
        return Ok(matches);
    }
    let found = match data_folder::from_settings_file() {
        Err(err) if WITHOUT_FOLDER.contains(&name) => {
            log::warn!("{err} (this command goes on without it)");
            None
        }
        found => found?,
    };
    Ok(match found {
        Some(data) => with_data(program, &data).get_matches(),
        None => matches,
    })
}

/// The command with another default data folder.
fn with_data(command: clap::Command, data: &Path) -> clap::Command {
    let has_data = command.get_arguments().any(|arg| arg.get_id() == "data");
    let command = match has_data {
        true => command.mut_arg("data", |arg| {
            arg.default_value(clap::builder::OsStr::from(data.as_os_str().to_owned()))
        }),
        false => command,
    };
    command.mut_subcommands(|below| with_data(below, data))
}

/// The name of the command, and the arguments of its innermost subcommand.
fn deepest(matches: &ArgMatches) -> (&str, &ArgMatches) {
    let (mut deepest, mut name) = (matches, "");
    while let Some((below, found)) = deepest.subcommand() {
        if name.is_empty() {
            name = below;
        }
        deepest = found;
    }
    (name, deepest)
}

/// The data folder, if the command has one.
fn data_of(matches: &ArgMatches) -> Option<&PathBuf> {
    matches.try_get_one::<PathBuf>("data").ok().flatten()
}

/// Makes a command that root runs work with the rights of the owner of the data folder. A command that serves must be
/// started by the owner and is refused otherwise. `scan` reads files of many users, and takes the owner's rights only
/// when it accesses the store; `health` accesses nothing but the socket.
fn take_rights(matches: &ArgMatches) -> Result<()> {
    let (name, found) = deepest(matches);
    match (name, data_of(found)) {
        ("health" | "scan", _) | (_, None) => Ok(()),
        ("serve" | "quickstart", Some(data)) => Ok(folder::check_owner(data)?),
        (_, Some(data)) => Ok(owner::work_as_owner_of(data)?),
    }
}

/// The arguments with which a server runs.
///
/// Each call reads the flags, the environment variables and the settings file again.
fn settled() -> crate::error::Result<RunArgs> {
    let typed: Vec<_> = std::env::args_os().collect();
    settled_from(&typed)
}

/// The arguments with which a server runs that was started by this command line.
fn settled_from(typed: &[OsString]) -> crate::error::Result<RunArgs> {
    let settled = settle(&Cli::command(), typed)?;
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
        Command::Keys(command) => return declared::run(&command),
        Command::User(command) => return users::run(&command),
        Command::Workspace(command) => return workspaces::run(&command),
        Command::Policy(command) => return policies::run(&command),
        Command::Catalog(command) => return catalogs::run(&command),
        Command::Audit(command) => return audit::run(&command),
        Command::Export(args) => return export::run(&args),
        Command::Import(args) => return import::run(&args),
        Command::Notices(command) => return notices::run(&command),
        Command::Usage(args) => return usage::run(&args),
        Command::Backup(args) => return backups::run(&args),
        Command::Restore(args) => return restore::run(&args),
        Command::Clock(args) => return clock::run(&args),
        Command::Cluster(command) => return cluster::run(&command),
        Command::Move(args) => return moving::run(&args),
        Command::Doctor(args) => return doctor::run(&args),
        Command::Health(args) => return health::run(&args),
        Command::SupportBundle(args) => return support_bundle::run(&args),
        Command::Secrets(command) => return secrets::run(&command),
        Command::Site(command) => return sites::run(&command),
        Command::Pack(command) => return packs::run(&command),
        Command::Connect(args) => return connect::run(&args),
        Command::Probe(args) => return probe::run(&args),
        Command::Scan(args) => return scan::run(&args),
        Command::Tls(command) => return certificate::run(&command),
        Command::Completions(args) => return completions::run(&args, Cli::command()),
        Command::ConsoleTexts(args) => return console_texts::run(&args),
        Command::Sbom => return bill::sbom(),
        Command::Licenses => return bill::licences(),
        Command::Version(args) => return version::run(&args),
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
