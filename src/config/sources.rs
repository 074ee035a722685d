//! The sources of settings. A flag takes precedence over a variable, a variable over the file, and the file over the
//! built-in default.
//!
//! The table of settings is `ServeArgs`: each of its fields that has a variable is a setting, with the name, the kind
//! and the limits of that field. The file's values become the defaults of the flags, so that there is one table, one
//! parser and one order of precedence.

use std::any::TypeId;
use std::error::Error as _;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::builder::{OsStr, Resettable, ValueParser};
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command};

use super::file::{Entry, FileValue, SettingsFile};
use super::suggestions;
use crate::error::{Error, Result};
use crate::refusals::verbatim;

/// The file in the data folder that is read if no other file is named.
const FILE: &str = "latchkey.toml";
/// The start of the names of this program's variables.
const VARIABLES: &str = "LATCHKEY_";

/// A setting in force.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Setting {
    pub name: String,
    /// The value as a user would type it. Several values are joined by commas; no value is an empty text.
    pub value: String,
    pub source: Source,
}

/// The source of a setting's value.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Source {
    BuiltIn,
    File { path: PathBuf, line: usize },
    Flag,
    Variable(String),
}

/// The settings of all sources together.
pub struct MergedSettings {
    /// The matches of the whole program, as if a user had typed all settings.
    pub matches: ArgMatches,
    pub settings: Vec<Setting>,
    /// Warnings, which do not prevent a start.
    pub warnings: Vec<String>,
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Source::BuiltIn => f.write_str("built in"),
            Source::File { path, line } => write!(f, "{}:{line}", path.display()),
            Source::Flag => f.write_str("flag"),
            Source::Variable(name) => f.write_str(name),
        }
    }
}

/// Reads all sources of settings of the command that the user typed.
pub fn settle(program: &Command, typed: &[OsString]) -> Result<MergedSettings> {
    let first = matches(program.clone(), typed)?;
    let (name, asked) = first
        .subcommand()
        .ok_or_else(|| Error::Malformed(verbatim("there is no command")))?;
    let command = program
        .find_subcommand(name)
        .ok_or_else(|| Error::Malformed(verbatim(format!("there is no command {name}"))))?;
    let (mut complaints, warnings) = unknown_variables(program);
    let file = find_file(asked)?;
    let is_named = asked.get_one::<PathBuf>("config").is_some();
    for entry in file.iter().flat_map(|file| &file.entries) {
        if let Err(complaint) = check(command, entry, is_named) {
            let path = file.as_ref().map(|file| file.path.as_path());
            let path = path.unwrap_or(Path::new(FILE)).display();
            complaints.push(format!("{path}:{}: {complaint}", entry.line));
        }
    }
    if !complaints.is_empty() {
        return Err(Error::Unavailable(verbatim(complaints.join("\n"))));
    }
    let entries = file.as_ref().map_or(&[][..], |file| &file.entries);
    let filled = program
        .clone()
        .mut_subcommand(name, |command| with_defaults(command, entries));
    let matches = matches(filled, typed)?;
    let settings = match matches.subcommand() {
        Some((_, found)) => settings(command, found, file.as_ref()),
        None => Vec::new(),
    };
    Ok(MergedSettings {
        matches,
        settings,
        warnings,
    })
}

/// The command without variables whose value is empty: Compose files and charts set a variable without a value to an
/// empty text.
pub fn without_empty(command: Command) -> Command {
    let is_empty = |arg: &Arg| {
        let value = arg.get_env().and_then(std::env::var_os);
        value.is_some_and(|value| value.is_empty())
    };
    command
        .mut_args(|arg| match is_empty(&arg) {
            true => arg.env(Resettable::Reset),
            false => arg,
        })
        .mut_subcommands(without_empty)
}

fn matches(program: Command, typed: &[OsString]) -> Result<ArgMatches> {
    without_empty(program)
        .try_get_matches_from(typed)
        .map_err(|err| Error::Malformed(verbatim(first_line(&err))))
}

/// The file that the user named, or the one in the data folder if it exists.
fn find_file(asked: &ArgMatches) -> Result<Option<SettingsFile>> {
    if let Some(path) = asked.get_one::<PathBuf>("config") {
        return SettingsFile::read(path).map(Some);
    }
    let data = asked.get_one::<PathBuf>("data");
    let path = data.map(|data| data.join(FILE));
    match path.filter(|path| path.exists()) {
        Some(path) => SettingsFile::read(&path).map(Some),
        None => Ok(None),
    }
}

/// The flags that are also settings.
fn table(command: &Command) -> impl Iterator<Item = &Arg> {
    let flags = command.get_arguments();
    flags.filter(|arg| arg.get_env().is_some() && arg.get_id() != "config")
}

/// Checks that a line of the file has a known setting and a value that it takes; the error is what to write instead.
fn check(command: &Command, entry: &Entry, is_named: bool) -> std::result::Result<(), String> {
    let name = entry.name.as_str();
    let Some(arg) = table(command).find(|arg| arg.get_id() == name) else {
        let known = table(command).map(|arg| arg.get_id().as_str());
        return Err(match suggestions::nearest(&name.replace('-', "_"), known) {
            Some(near) => format!("there is no setting {name}; did you mean {near}?"),
            None => format!("there is no setting {name}; `latchkey check-config` lists them all"),
        });
    };
    if name == "data" && !is_named {
        return Err(
            "data cannot be set here, because this file was found in the data folder; name the file with --config, \
             or take the line away"
                .to_owned(),
        );
    }
    let values = values(arg, &entry.written)?;
    let flag = arg.get_long().unwrap_or(name);
    let typed = values.iter().map(|value| format!("--{flag}={value}"));
    // Only the flag's own parser decides here. Other errors, such as a missing required flag, are ignored.
    let alone = without_empty(command.clone()).no_binary_name(true);
    match alone.try_get_matches_from(typed) {
        Err(err) if err.kind() == ErrorKind::InvalidValue => {
            let possible = arg.get_possible_values();
            let names: Vec<&str> = possible.iter().map(|value| value.get_name()).collect();
            let said = first_line(&err);
            Err(format!("{name}: {said}; write one of {}", names.join(", ")))
        }
        Err(err) if err.kind() == ErrorKind::ValueValidation => Err(match err.source() {
            Some(why) => format!("{name}: {why}"),
            None => format!("{name}: {}", first_line(&err)),
        }),
        _ => Ok(()),
    }
}

/// The values of a line as a user would type them, if they have the kind of the setting.
fn values(arg: &Arg, written: &FileValue) -> std::result::Result<Vec<String>, String> {
    let name = arg.get_id();
    let is_list = matches!(arg.get_action(), ArgAction::Append);
    // Such a list is never empty, and often has only one value.
    let is_needed = arg.get_id() == "listen";
    let kind = arg.get_value_parser();
    match (is_list, written) {
        (true, FileValue::List(items)) if !items.is_empty() || !is_needed => Ok(items.clone()),
        (true, FileValue::Text(text)) if is_needed => Ok(vec![text.clone()]),
        (true, _) if is_needed => Err(format!(
            "{name} is a text; write {name} = \"…\", or {name} = [\"…\", \"…\"] for several"
        )),
        (true, _) => Err(format!("{name} is a list; write {name} = [\"…\", \"…\"]")),
        (false, FileValue::Switch(on)) if is_switch(kind) => Ok(vec![on.to_string()]),
        (false, _) if is_switch(kind) => Err(format!(
            "{name} is a switch; write {name} = true or {name} = false"
        )),
        (false, FileValue::Number(digits)) if is_number(kind) => Ok(vec![digits.clone()]),
        (false, _) if is_number(kind) => Err(format!(
            "{name} is a number; write it in digits, without quotes"
        )),
        (false, FileValue::Text(text)) => Ok(vec![text.clone()]),
        (false, _) => Err(format!("{name} is a text; write {name} = \"…\"")),
    }
}

fn is_switch(kind: &ValueParser) -> bool {
    kind.type_id() == TypeId::of::<bool>()
}

fn is_number(kind: &ValueParser) -> bool {
    let numbers = [
        TypeId::of::<u8>(),
        TypeId::of::<u16>(),
        TypeId::of::<u32>(),
        TypeId::of::<u64>(),
        TypeId::of::<usize>(),
    ];
    numbers.iter().any(|number| kind.type_id() == *number)
}

/// The command with the file's values instead of the built-in defaults.
fn with_defaults(command: Command, entries: &[Entry]) -> Command {
    entries.iter().fold(command, |command, entry| {
        command.mut_arg(&entry.name, |arg| {
            let values = values(&arg, &entry.written).unwrap_or_default();
            arg.default_values(values.into_iter().map(OsStr::from))
        })
    })
}

fn settings(command: &Command, found: &ArgMatches, file: Option<&SettingsFile>) -> Vec<Setting> {
    let setting = |arg: &Arg| {
        let name = arg.get_id().as_str();
        let values = found.get_raw(name).into_iter().flatten();
        let values: Vec<_> = values.map(|value| value.to_string_lossy()).collect();
        let line = file.and_then(|file| {
            let entry = file.entries.iter().find(|entry| entry.name == name)?;
            Some((file.path.clone(), entry.line))
        });
        let source = match (found.value_source(name), line) {
            (Some(ValueSource::CommandLine), _) => Source::Flag,
            (Some(ValueSource::EnvVariable), _) => Source::Variable(variable(arg)),
            (_, Some((path, line))) => Source::File { path, line },
            _ => Source::BuiltIn,
        };
        Setting {
            name: name.to_owned(),
            value: values.join(","),
            source,
        }
    };
    table(command).map(setting).collect()
}

fn variable(arg: &Arg) -> String {
    let name = arg.get_env().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// Variables that no setting reads. If the name resembles that of a setting, it is a typing error and stops the start,
/// because the administrator believes that the setting is in force. Any other variable may belong to a Compose file or
/// a script and causes a warning.
fn unknown_variables(program: &Command) -> (Vec<String>, Vec<String>) {
    let mut known = Vec::new();
    gather_variables(program, &mut known);
    let given = std::env::vars_os().filter(|(_, value)| !value.is_empty());
    let given = given
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok())));
    let unknown = given.filter(|(name, value)| {
        let value = value.as_deref().unwrap_or("");
        name.starts_with(VARIABLES) && !known.contains(name) && !is_foreign(name, value)
    });
    let (mut complaints, mut warnings) = (Vec::new(), Vec::new());
    for (name, _) in unknown {
        // The common prefix of all variables is removed, because it would make all names similar.
        let own = |name: &str| name.strip_prefix(VARIABLES).unwrap_or(name).to_owned();
        let shorts: Vec<String> = known.iter().map(|known| own(known)).collect();
        match suggestions::nearest_variable(&own(&name), shorts.iter().map(String::as_str)) {
            Some(near) => complaints.push(format!(
                "the variable {name} is no setting; did you mean {VARIABLES}{near}?"
            )),
            None => warnings.push(format!(
                "the variable {name} is no setting, and nothing reads it"
            )),
        }
    }
    (complaints, warnings)
}

fn gather_variables(command: &Command, into: &mut Vec<String>) {
    into.extend(
        command
            .get_arguments()
            .filter(|arg| arg.get_env().is_some())
            .map(variable),
    );
    for command in command.get_subcommands() {
        gather_variables(command, into);
    }
}

/// Variables that others set: the tests of this project, and Kubernetes for each service whose name begins with latchkey,
/// such as `LATCHKEY_PORT=tcp://10.0.0.1:8420` and `LATCHKEY_PORT_8420_TCP_ADDR=10.0.0.1`. A name with `_PORT` and a bare
/// number may have been meant for this program.
fn is_foreign(name: &str, value: &str) -> bool {
    name.starts_with("LATCHKEY_TEST_")
        || name.ends_with("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || (name.ends_with("_PORT") && value.contains("://"))
        || name
            .rsplit_once("_PORT_")
            .is_some_and(|(_, port)| is_port_of_service(port))
}

/// Whether a text is a port as in the variables of Kubernetes: `8420_TCP`, `8420_TCP_ADDR` and the like.
fn is_port_of_service(text: &str) -> bool {
    let Some((port, rest)) = text.split_once('_') else {
        return false;
    };
    let (protocol, part) = rest.split_once('_').unwrap_or((rest, "ADDR"));
    port.parse::<u16>().is_ok()
        && matches!(protocol, "TCP" | "UDP" | "SCTP")
        && matches!(part, "ADDR" | "PORT" | "PROTO")
}

/// The message of clap without its advice on how to get help.
fn first_line(err: &clap::Error) -> String {
    let text = err.to_string();
    let line = text.lines().next().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::file::entries;
    use super::super::{DataArgs, ServeArgs};
    use super::*;
    use clap::Args;

    /// An accepted line for every setting.
    const LINES: &str = r#"
allow_plain_database = true
allow_plain_http = true
allowed_hosts = ["keys.example"]
audit_keep_days = 400
audit_keep_events = 1000000
audit_keep_min = 30
audit_sinks = ["file"]
backup_every = "24h"
backup_keep = 7
changes_burst = 200
changes_per_second = 20
console_path = "/keys"
console_texts = "/etc/latchkey/dutch.txt"
cors_origins = ["https://app.example"]
data = "/var/lib/latchkey"
database = "postgres://latchkey@db.example/latchkey"
database_ca = "/etc/latchkey/db-ca.pem"
database_certificate = "/etc/latchkey/db-node.pem"
database_key = "/etc/latchkey/db-node.key"
database_password_file = "/etc/latchkey/database-password"
ends_wait_for_sites = true
haproxy_agent = "127.0.0.1:8422"
head_bytes_max = 65536
keys = ["/etc/latchkey/keys.d"]
keys_allow_management = true
keys_strict = true
leak_report_keys = "/etc/latchkey/leak-keys.json"
listen = "127.0.0.1:8420"
log_format = "json"
log_level = "debug"
max_stale = "30s"
metrics_listen = "10.0.0.5:9420"
mounts = ["vspc=/veeam"]
no_notify = true
notice_allow = ["10.0.0.0/8"]
notice_ca = "/etc/latchkey/authorities.pem"
notice_file = "/var/log/latchkey/notices.jsonl"
notice_file_keep = 5
notice_file_mib = 10
notice_kinds = ["file=key.*"]
notice_syslog = "unix:/dev/log"
notice_webhook = "https://hooks.example/latchkey"
notice_webhook_key = "/etc/latchkey/webhook-key"
notice_workspaces = ["file=root"]
numbers_as_text = true
second_factor_roles = ["owner"]
security_txt = "/etc/latchkey/security.txt"
server = "https://keys.example"
server_ca = "/etc/latchkey/authorities.pem"
site = true
stale = "warn"
systems = ["all"]
threads = 2
tls_certificate = "/etc/latchkey/tls-certificate.pem"
tls_client_ca = "/etc/latchkey/clients.pem"
tls_key = "/etc/latchkey/tls-key.pem"
trusted_proxies = ["10.0.0.4"]
usage_interval_s = 10
verify_from_loopback = false
"#;

    /// The same for the settings that only the build for several nodes has.
    #[cfg(feature = "postgres")]
    const LINES_OF_CLUSTERS: &str = r#"
database_refuse_after = "never"
database_stale_after = "10s"
"#;
    #[cfg(not(feature = "postgres"))]
    const LINES_OF_CLUSTERS: &str = "";

    #[test]
    fn every_setting_has_an_accepted_line_in_the_file() {
        let command = DataArgs::augment_args(ServeArgs::augment_args(Command::new("serve")));
        let lines = [LINES, LINES_OF_CLUSTERS].concat();
        let entries = entries(&lines, "x.toml").unwrap();
        for arg in table(&command) {
            let name = arg.get_id().as_str();
            let entry = entries.iter().find(|entry| entry.name == name);
            let entry = entry.unwrap_or_else(|| panic!("{name} has no line in this test"));
            assert_eq!(check(&command, entry, true), Ok(()), "{name}");
        }
        assert_eq!(entries.len(), table(&command).count());
        // The value reaches the flag.
        let filled = with_defaults(command, &entries);
        let found = filled.try_get_matches_from(["serve"]).unwrap();
        assert_eq!(found.get_one::<u16>("threads"), Some(&2));
    }
}
