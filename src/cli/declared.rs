//! `latchkey keys`: applies the files that declare keys, and compares the store with them.

use super::arguments::Body;
use super::client::{Server, Target};
use super::failure::{End, Failure, Result};
use super::print::{Common, aligned, print};
use crate::config::declared::{Settings, folders};
use crate::domain::text::counted;
use clap::Subcommand;
use serde::Deserialize;
use std::ffi::OsString;
use std::path::PathBuf;

/// Apply the files that declare keys, and compare the store with them.
#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// Bring the store to what the files declare, as a start and SIGHUP do; all of it or nothing
    #[command(
        after_help = "The files are those of /usr/lib/latchkey/keys.d, /etc/latchkey/keys.d and the setting keys. A running server \
                      reads them itself.\n\n\
                      Examples:\n  latchkey keys apply\n  latchkey keys apply --dry-run\n  \
                      latchkey keys apply --data /var/lib/latchkey --config /etc/latchkey/latchkey.toml --json"
    )]
    Apply(ApplyArgs),
    /// Compare the store with the files; exits 1 if they differ
    #[command(
        after_help = "Examples:\n  latchkey keys drift\n  latchkey keys drift --json | jq '.changes'"
    )]
    Drift(FilesArgs),
}

/// The arguments of `latchkey keys apply`.
#[derive(clap::Args, Clone, Debug)]
pub struct ApplyArgs {
    /// Change nothing, and print what would be changed
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    files: FilesArgs,
}

/// Which files are meant.
#[derive(clap::Args, Clone, Debug)]
pub struct FilesArgs {
    /// The settings file; by default latchkey.toml in the data folder, if it exists
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A folder of files, as the setting keys of the server; a running server must read the same
    #[arg(long = "keys", value_name = "DIR|none", value_delimiter = ',')]
    folders: Vec<PathBuf>,
    #[command(flatten)]
    common: Common,
}

/// The answer of the server.
#[derive(Deserialize)]
struct Applied {
    settled: bool,
    complaints: Vec<Complaint>,
    changes: Vec<Change>,
    warnings: Vec<Complaint>,
    files: Vec<String>,
    unchanged: usize,
}

#[derive(Deserialize)]
struct Complaint {
    path: String,
    line: Option<usize>,
    reason: String,
}

#[derive(Deserialize)]
struct Change {
    verb: String,
    kind: String,
    name: String,
    id: String,
    place: String,
    members: Vec<String>,
}

impl Complaint {
    fn line(&self) -> String {
        match self.line {
            Some(line) => format!("{}:{line}: {}", self.path, self.reason),
            None => format!("{}: {}", self.path, self.reason),
        }
    }
}

pub fn run(command: &KeysCommand) -> Result<End> {
    match command {
        KeysCommand::Apply(args) => apply(args),
        KeysCommand::Drift(args) => drift(args),
    }
}

fn apply(args: &ApplyArgs) -> Result<End> {
    let (text, applied) = ask(&args.files, args.dry_run)?;
    if args.files.common.json {
        print(&text)?;
    } else {
        show(
            &applied,
            if args.dry_run {
                "would be changed"
            } else {
                "changed"
            },
        )?;
    }
    refused(&applied)?;
    Ok(End::Done)
}

fn drift(args: &FilesArgs) -> Result<End> {
    let (text, applied) = ask(args, true)?;
    if args.common.json {
        print(&text)?;
    } else {
        show(&applied, "to be changed")?;
    }
    refused(&applied)?;
    Ok(if applied.settled {
        End::Done
    } else {
        End::Found
    })
}

/// The errors in the files, if there are any.
fn refused(applied: &Applied) -> Result<()> {
    let lines: Vec<String> = applied.complaints.iter().map(Complaint::line).collect();
    match lines.is_empty() {
        true => Ok(()),
        false => Err(Failure::refused(format!(
            "nothing was changed:\n{}",
            lines.join("\n")
        ))),
    }
}

/// Asks the running server, or applies the files to the stopped folder.
fn ask(args: &FilesArgs, dry_run: bool) -> Result<(String, Applied)> {
    let server = Server::reach(&args.common.data.data)?;
    let mut body = Body::default().flag("dry_run", dry_run);
    match &server {
        Server::Stopped(stopped) => stopped.read_files(settings(args)?),
        Server::Running(_) if args.config.is_some() => {
            body = expecting(body, settings(args)?.folders);
        }
        Server::Running(_) if !args.folders.is_empty() => {
            let folders = folders(&args.folders).into_iter();
            body = expecting(body, folders.map(|folder| folder.path).collect());
        }
        Server::Running(_) => {}
    }
    let target = Target::of(&["declared", "apply"]);
    let answer = server.ask("POST", &target, Some(&body.value()))?;
    Ok((answer.text(), answer.json()?))
}

fn expecting(body: Body, folders: Vec<PathBuf>) -> Body {
    let shown: Vec<String> = folders.iter().map(|it| it.display().to_string()).collect();
    body.with("folders", Some(shown))
}

/// The settings with which a server of this folder would start.
fn settings(args: &FilesArgs) -> Result<Settings> {
    let flag = |name: &str, value: &PathBuf| {
        let mut flag = OsString::from(format!("--{name}="));
        flag.push(value);
        flag
    };
    let mut typed = vec![OsString::from("latchkey"), OsString::from("serve")];
    typed.push(flag("data", &args.common.data.data));
    typed.extend(args.config.iter().map(|config| flag("config", config)));
    typed.extend(args.folders.iter().map(|folder| flag("keys", folder)));
    Ok(super::settled_from(&typed)?.serve.declared())
}

fn show(applied: &Applied, what: &str) -> Result<()> {
    if !applied.changes.is_empty() {
        let heading = ["CHANGE", "WHAT", "NAME", "ID", "MEMBERS", "FILE"].map(str::to_owned);
        let row = |change: &Change| {
            let id = if change.id == change.name {
                "-"
            } else {
                &change.id
            };
            let members = match change.members.is_empty() {
                true => "-".to_owned(),
                false => change.members.join(", "),
            };
            vec![
                change.verb.clone(),
                change.kind.clone(),
                change.name.clone(),
                id.to_owned(),
                members,
                change.place.clone(),
            ]
        };
        let rows = applied.changes.iter().map(row);
        let lines: Vec<Vec<String>> = std::iter::once(heading.to_vec()).chain(rows).collect();
        print(&aligned(&lines))?;
    }
    for warning in &applied.warnings {
        print(&format!("warning: {}", warning.line()))?;
    }
    if applied.complaints.is_empty() {
        print(&format!(
            "{} {what}; as declared: {} of {}",
            applied.changes.len(),
            counted(applied.unchanged as u64, "key"),
            counted(applied.files.len() as u64, "file")
        ))?;
    }
    Ok(())
}
