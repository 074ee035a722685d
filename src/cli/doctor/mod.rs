//! `latchkey doctor`: checks of the data folder by this process, and checks by the server itself.

mod folder;

use crate::cli::client::{Server, Target};
use crate::cli::failure::{End, Failure, Result};
use crate::cli::print;
use crate::cli::print::Common;
use crate::cli::print::table::harmless;
use clap::Subcommand;
use serde::{Deserialize, Serialize};
use serde_json::json;
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
pub struct Check {
    name: String,
    pub finding: String,
    text: String,
    advice: String,
}

pub fn run(args: &DoctorArgs) -> Result<End> {
    if let Some(DoctorCommand::Accept(args)) = &args.command {
        return accept(args);
    }
    examine(&args.common.data.data).print(args.common.json)
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
    if let Some(check) = folder::fault(data) {
        let unseen = "anything else: without the data folder there is nothing to look into";
        return Doctor::of(vec![check], vec![unseen.to_owned()]);
    }
    let target = Target::of(&["doctor"]);
    let told = Server::reach(data)
        .and_then(|server| server.get(&target))
        .and_then(|answer| answer.json::<Doctor>());
    // Afterwards, because this command is a start if no server runs, and a start takes rights away from others.
    let mut checks = folder::checks(data);
    let unseen = match told {
        Ok(told) => {
            checks.extend(told.checks);
            told.unseen
        }
        Err(failure) => {
            let why = match failure {
                Failure::Refused(why) | Failure::Usage(why) => why,
            };
            // What a check of the folder has found is not said again.
            if checks.iter().all(|check| check.text != why) {
                let advice = "mend what it says and ask again";
                checks.push(Check::failed("server", &why, advice));
            }
            vec!["the database was not looked into".to_owned()]
        }
    };
    Doctor::of(checks, unseen)
}

impl Check {
    /// A check of this process.
    #[cfg(feature = "postgres")]
    pub fn of(check: &crate::ops::doctor::Check) -> Check {
        Check {
            name: check.name.to_owned(),
            finding: check.finding.as_str().to_owned(),
            text: check.found.to_string(),
            advice: check.advice_text(),
        }
    }

    #[cfg(feature = "postgres")]
    pub fn warning(name: &str, text: &str, advice: &str) -> Check {
        Check {
            finding: "warning".to_owned(),
            ..Check::failed(name, text, advice)
        }
    }

    pub fn ok(name: &str, text: &str) -> Check {
        Check {
            name: name.to_owned(),
            finding: "ok".to_owned(),
            text: text.to_owned(),
            advice: String::new(),
        }
    }

    pub fn failed(name: &str, text: &str, advice: &str) -> Check {
        Check {
            finding: "failed".to_owned(),
            advice: advice.to_owned(),
            ..Check::ok(name, text)
        }
    }
}

impl Doctor {
    /// It is healthy if no check has failed.
    pub fn of(checks: Vec<Check>, unseen: Vec<String>) -> Doctor {
        Doctor {
            healthy: checks.iter().all(|check| check.finding != "failed"),
            checks,
            unseen,
        }
    }

    /// Prints the results, and ends the command by them.
    pub fn print(&self, as_json: bool) -> Result<End> {
        match as_json {
            true => print::print(&serde_json::to_string(self).unwrap_or_default())?,
            false => print::print(&self.written())?,
        }
        Ok(match self.healthy {
            true => End::Done,
            false => End::Found,
        })
    }

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
