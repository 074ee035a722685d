//! `latchkey cluster upgrade`.

use super::UpgradeArgs;
use crate::cli::client::{Answer, Server, Target};
use crate::cli::failure::{End, Result};
use crate::cli::{print, prompt};
use serde_json::{Value, json};

pub fn run(args: &UpgradeArgs) -> Result<End> {
    let server = Server::reach(&args.common.data.data)?;
    let ask = |dry_run: bool| -> Result<Answer> {
        let body = json!({ "dry_run": dry_run });
        server.ask("POST", &Target::of(&["cluster", "upgrade"]), Some(&body))
    };
    let plan = ask(true)?;
    let (from, to) = versions(&plan)?;
    if from >= to {
        return tell(
            args,
            &plan,
            &format!("The database has schema {from} already; there is nothing to do."),
        );
    }
    eprintln!("{}", in_use(&plan.json()?));
    prompt::confirm(
        &format!(
            "Bring the database from schema {from} to {to}? Older programs cannot use it afterwards."
        ),
        args.yes,
    )?;
    eprintln!("Adding what schema {to} has. Changes wait, and verification goes on.");
    let done = ask(false)?;
    tell(
        args,
        &done,
        &format!("The database has schema {to}. The nodes use it without a restart."),
    )
}

fn tell(args: &UpgradeArgs, answer: &Answer, text: &str) -> Result<End> {
    match args.common.json {
        true => print::print(&answer.text())?,
        false => print::print(text)?,
    }
    Ok(End::Done)
}

fn versions(answer: &Answer) -> Result<(i64, i64)> {
    let found: Value = answer.json()?;
    let number = |name: &str| found[name].as_i64().unwrap_or_default();
    Ok((number("from"), number("to")))
}

/// A sentence about the nodes in use.
fn in_use(found: &Value) -> String {
    let nodes = found["nodes"].as_array().cloned().unwrap_or_default();
    let named = |node: &Value| {
        let text = |name: &str| node[name].as_str().unwrap_or_default().to_owned();
        format!("{} {}", text("name"), text("version"))
    };
    let names: Vec<String> = nodes.iter().map(named).collect();
    match names.is_empty() {
        true => "No node is in use.".to_owned(),
        false => format!("Every node in use has this program: {}.", names.join(", ")),
    }
}
