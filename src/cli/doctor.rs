//! `latchkey doctor`: checks of the files by this process, and checks by the server itself.

use crate::cli::client::{Server, Target};
use crate::cli::failure::{End, Failure, Result};
use crate::cli::print;
use crate::cli::print::Common;
use crate::cli::print::table::harmless;
use crate::config::folder::{CERTIFICATE, is_ours};
use crate::config::key_files;
use crate::domain::keys::keyfile::KeyKind;
use crate::files::users;
use clap::Subcommand;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

#[derive(clap::Args, Clone, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub struct DoctorArgs {
    #[command(subcommand)]
    command: Option<DoctorCommand>,
    #[command(flatten)]
    common: Common,
}

#[derive(Clone, Debug, Subcommand)]
enum DoctorCommand {
    /// Accept an object that was changed outside Latchkey, after you have examined it
    ///
    /// An object that does not match its seal grants nothing: keys, users and workspaces are disabled, keys of such a
    /// policy are refused, such a catalog is empty, such a session has ended, and such a site gets no packs. This command seals the object as it
    /// is, records that in the audit log, and prints how to enable it.
    #[command(
        after_help = "Examples:\n  latchkey doctor accept key k3J9aQ0xZb && latchkey key enable k3J9aQ0xZb\n  \
                      latchkey doctor accept user alice\n  latchkey doctor accept policy standard --data /var/lib/latchkey"
    )]
    Accept(AcceptArgs),
}

#[derive(clap::Args, Clone, Debug)]
struct AcceptArgs {
    /// The kind of the object: catalog, key, policy, session, site, user or workspace
    kind: String,
    /// Its name, slug or id, as doctor prints it
    id: String,
    #[command(flatten)]
    common: Common,
}

/// The server's answer.
#[derive(Deserialize)]
struct AcceptAnswer {
    name: String,
    next: Option<String>,
}

/// The checks of the server and of this process.
#[derive(Deserialize, Serialize)]
pub struct Doctor {
    healthy: bool,
    checks: Vec<Check>,
    unseen: Vec<String>,
}

#[derive(Deserialize, Serialize)]
struct Check {
    name: String,
    finding: String,
    text: String,
    advice: String,
}

pub fn run(args: &DoctorArgs) -> Result<End> {
    if let Some(DoctorCommand::Accept(args)) = &args.command {
        return accept(args);
    }
    let doctor = examine(&args.common.data.data);
    if args.common.json {
        print::print(&serde_json::to_string(&doctor).unwrap_or_default())?;
    } else {
        print::print(&doctor.written())?;
    }
    Ok(if doctor.healthy {
        End::Done
    } else {
        End::Found
    })
}

fn accept(args: &AcceptArgs) -> Result<End> {
    let server = Server::reach(&args.common.data.data)?;
    let body = json!({ "kind": args.kind, "id": args.id });
    let answer = server.ask("POST", &Target::of(&["doctor", "accept"]), Some(&body))?;
    if args.common.json {
        print::print(&answer.text())?;
        return Ok(End::Done);
    }
    let accepted: AcceptAnswer = answer.json()?;
    let mut text = format!("{}: accepted as it is now.", harmless(&accepted.name));
    if let Some(next) = &accepted.next {
        text.push_str(&format!(
            " It is disabled; enable it with:\n  {}",
            harmless(next)
        ));
    }
    print::print(&text)?;
    Ok(End::Done)
}

/// All results. If the server does not answer, that is a result, too.
fn examine(data: &Path) -> Doctor {
    if let Some(check) = wrong_folder(data) {
        return Doctor {
            healthy: false,
            checks: vec![check],
            unseen: vec![
                "anything else: without the data folder there is nothing to look into".to_owned(),
            ],
        };
    }
    let mut checks = files(data);
    let target = Target::of(&["doctor"]);
    let told = Server::reach(data)
        .and_then(|server| server.get(&target))
        .and_then(|answer| answer.json::<Doctor>());
    let unseen = match told {
        Ok(told) => {
            checks.extend(told.checks);
            told.unseen
        }
        Err(failure) => {
            let why = match failure {
                Failure::Refused(why) | Failure::Usage(why) => why,
            };
            checks.push(Check::failed(
                "server",
                &why,
                "mend what it says and ask again",
            ));
            vec!["the database was not looked into".to_owned()]
        }
    };
    Doctor {
        healthy: checks.iter().all(|check| check.finding != "failed"),
        checks,
        unseen,
    }
}

/// What is wrong with the folder itself; then no other check runs, because its result would be misleading.
fn wrong_folder(data: &Path) -> Option<Check> {
    let shown = data.display();
    let failed = |text: String, advice: &str| Some(Check::failed("data folder", &text, advice));
    let named = "is --data right? Without it LATCHKEY_DATA counts, then `data` in the file of LATCHKEY_CONFIG, then \
                 ./latchkey-data, and then, without LATCHKEY_CONFIG, `data` in /etc/latchkey/latchkey.toml";
    let found = match fs::metadata(data) {
        Ok(found) => found,
        Err(err) if err.kind() == ErrorKind::NotFound => {
            return failed(format!("{shown} is not there"), named);
        }
        Err(err) => return failed(format!("{shown} cannot be looked into: {err}"), named),
    };
    if !found.is_dir() {
        return failed(format!("{shown} is not a folder"), named);
    }
    if let Err(err) = fs::read_dir(data) {
        let advice = format!(
            "it belongs to user {}; run this as that user or as root: sudo latchkey doctor --data {shown}",
            users::shown(found.uid())
        );
        return failed(format!("{shown} cannot be looked into: {err}"), &advice);
    }
    if !is_ours(data) {
        let advice =
            format!("{named}; a new data folder is made with: latchkey init --data {shown}");
        return failed(
            format!("{shown} holds no data of Latchkey: neither a database nor a pepper"),
            &advice,
        );
    }
    None
}

/// Checks of the files in the folder.
fn files(data: &Path) -> Vec<Check> {
    vec![modes(data), keys_in_files(data)]
}

/// Whether other users could read or change the files.
fn modes(data: &Path) -> Check {
    let name = "file modes";
    let mut open = Vec::new();
    let mut foreign = Vec::new();
    let own = rustix::process::geteuid().as_raw();
    let mut look = |path: &Path| {
        // The mode of the socket is checked, but a symbolic link is not followed.
        if let Ok(found) = fs::symlink_metadata(path) {
            let mode = found.permissions().mode() & 0o777;
            // All users may read a certificate, but not change it.
            let is_public = path.ends_with(CERTIFICATE);
            let closed = if is_public { 0o022 } else { 0o077 };
            if mode & closed != 0 && !found.is_symlink() {
                open.push(format!("{} ({mode:03o})", path.display()));
            }
            if found.uid() != own && own != 0 {
                foreign.push(path.display().to_string());
            }
        }
    };
    look(data);
    let folders = [data.to_owned(), data.join("backups")];
    for entry in folders
        .iter()
        .filter_map(|folder| fs::read_dir(folder).ok())
        .flatten()
        .flatten()
    {
        look(&entry.path());
    }
    if !open.is_empty() {
        let text = format!("others can read {}", open.join(", "));
        return Check::failed(name, &text, "close them with: chmod go= FILE");
    }
    if !foreign.is_empty() {
        let text = format!("{} belong to another user", foreign.join(", "));
        return Check::failed(
            name,
            &text,
            "run latchkey, and this command, as the user whom the data folder belongs to",
        );
    }
    Check::ok(name, "only the owner can read the data folder")
}

/// Whether the key files exist and are valid; the server checks at its start whether they match the
/// database.
fn keys_in_files(data: &Path) -> Check {
    let name = "key files";
    for kind in KeyKind::ALL {
        if let Err(why) = key_files::check(data, kind) {
            return Check::failed(
                name,
                &why,
                "put the file back: latchkey secrets restore FILE; a server that runs goes on with what it has read. If systemd hands \
                 it over, set CREDENTIALS_DIRECTORY to its folder and ask again",
            );
        }
    }
    Check::ok(name, "all can be read")
}

impl Check {
    fn ok(name: &str, text: &str) -> Check {
        Check {
            name: name.to_owned(),
            finding: "ok".to_owned(),
            text: text.to_owned(),
            advice: String::new(),
        }
    }

    fn failed(name: &str, text: &str, advice: &str) -> Check {
        Check {
            finding: "failed".to_owned(),
            advice: advice.to_owned(),
            ..Check::ok(name, text)
        }
    }
}

impl Doctor {
    /// One line for each check, followed by the advice if there is any.
    fn written(&self) -> String {
        let mut text = String::new();
        for check in &self.checks {
            text.push_str(&format!(
                "{:<8} {:<22}  {}\n",
                check.finding,
                check.name,
                harmless(&check.text)
            ));
            if !check.advice.is_empty() {
                text.push_str(&format!("{:<8} {:<22}  → {}\n", "", "", check.advice));
            }
        }
        text.push_str("\nNot seen by this:\n");
        for unseen in &self.unseen {
            text.push_str(&format!("  {unseen}\n"));
        }
        text.trim_end().to_owned()
    }
}
