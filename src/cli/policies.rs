//! `latchkey policy`: manages policies, the rules for keys.

use crate::cli::client::{Server, Target};
use crate::cli::failure::{End, Failure, Result};
use crate::cli::linked_sites::SitesArg;
use crate::cli::print;
use crate::cli::print::{Column, Common};
use crate::cli::prompt;
use crate::domain::policies::{Policy, word};
use clap::Subcommand;
use serde_json::{Map, Value};
use std::path::PathBuf;

#[rustfmt::skip]
const COLUMNS: &[Column] = &[
    Column { heading: "POLICY",      member: "name" },
    Column { heading: "ISSUED BY",   member: "issued_by" },
    Column { heading: "EXPIRY",      member: "expiry" },
    Column { heading: "ADDRESSES",   member: "addresses" },
    Column { heading: "SECRET",      member: "secret_shown" },
    Column { heading: "PREFIX",      member: "prefix" },
    Column { heading: "DESCRIPTION", member: "description" },
];

/// List, show, put and delete policies.
#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    /// List policies
    #[command(after_help = "Examples:\n  latchkey policy list\n  latchkey policy list --json")]
    List(Common),
    /// Show one policy
    #[command(after_help = "Example:\n  latchkey policy show standard")]
    Show(PolicyArgs),
    /// Create a policy from a JSON file, or edit the policy of that name
    #[command(
        after_help = "Examples:\n  latchkey policy show standard --json > strict.json   # then change name and rules\n  \
                      latchkey policy put strict.json\n  latchkey policy put - < strict.json"
    )]
    Put(PutArgs),
    /// Create a policy for a purpose; with the template decoy, for keys that open nothing and raise an alarm when they are used
    #[command(
        after_help = "Examples:\n  latchkey policy create decoy --template decoy\n  latchkey key issue old-backup --policy decoy   # put its secret where a thief would look\n  \
                      latchkey audit list --action key.tripped"
    )]
    Create(CreateArgs),
    /// Put the page of a system's keys into the console's navigation, or take it out
    #[command(
        after_help = "Examples:\n  latchkey policy page aware on\n  latchkey policy page adverity-ui off"
    )]
    Page(PageArgs),
    /// Delete a policy that no key uses
    #[command(
        after_help = "Examples:\n  latchkey policy delete strict\n  latchkey policy delete strict --yes"
    )]
    Delete(DeleteArgs),
}

#[derive(clap::Args, Clone, Debug)]
pub struct PolicyArgs {
    /// The policy's name
    policy: String,
    #[command(flatten)]
    common: Common,
}

#[derive(clap::Args, Clone, Debug)]
pub struct PutArgs {
    /// A file with the policy as `show --json` prints it, or - for standard input
    file: PathBuf,
    #[command(flatten)]
    sites: SitesArg,
    #[command(flatten)]
    common: Common,
}

#[derive(clap::Args, Clone, Debug)]
pub struct CreateArgs {
    /// The name of the new policy
    name: String,
    /// What its keys are for
    #[arg(long, value_parser = ["decoy"])]
    template: String,
    #[command(flatten)]
    common: Common,
}

#[derive(clap::Args, Clone, Debug)]
pub struct PageArgs {
    /// The policy of the system: adverity-ui, aware, awaretrain or vspc
    policy: String,
    /// Whether the page is there; where there are keys of the policy, it is in any case
    #[arg(value_name = "on|off", value_parser = ["on", "off"])]
    state: String,
    #[command(flatten)]
    common: Common,
}

#[derive(clap::Args, Clone, Debug)]
pub struct DeleteArgs {
    /// The policy's name
    policy: String,
    /// Do not ask for confirmation
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    common: Common,
}

pub fn run(command: &PolicyCommand) -> Result<End> {
    match command {
        PolicyCommand::List(common) => list(common),
        PolicyCommand::Show(args) => show(args),
        PolicyCommand::Put(args) => put(args),
        PolicyCommand::Create(args) => create(args),
        PolicyCommand::Page(args) => page(args),
        PolicyCommand::Delete(args) => delete(args),
    }
}

fn list(common: &Common) -> Result<End> {
    let items = Server::reach(&common.data.data)?.list(&Target::of(&["policies"]))?;
    print::list(common, COLUMNS, &items)?;
    Ok(End::Done)
}

fn show(args: &PolicyArgs) -> Result<End> {
    let target = Target::of(&["policies", &args.policy]);
    let answer = Server::reach(&args.common.data.data)?.get(&target)?;
    print::one(&args.common, &answer)?;
    Ok(End::Done)
}

/// Creates the policy if no policy has its name, otherwise edits that policy.
fn put(args: &PutArgs) -> Result<End> {
    let shown = args.file.display();
    let mut policy: Map<String, Value> = serde_json::from_str(&prompt::whole(&args.file)?)
        .map_err(|err| Failure::refused(format!("{shown} is no JSON object: {err}")))?;
    let name = policy.get("name").and_then(Value::as_str);
    let name = name
        .ok_or_else(|| Failure::refused(format!("{shown} names no policy: name is needed")))?
        .to_owned();
    let server = Server::reach(&args.common.data.data)?;
    let known = Target::of(&["policies", &name]);
    let exists = server.send("GET", &known, Vec::new())?.status == 200;
    let answer = if exists {
        policy.remove("name");
        let waits = args.sites.wait_sites;
        server.ask_sites("PATCH", known, Some(&Value::Object(policy)), waits)?
    } else {
        // No key of any site follows a policy that is new.
        let all = Target::of(&["policies"]);
        let created = server.send("POST", &all, Value::Object(policy).to_string().into_bytes())?;
        created.accepted("POST", &all)?
    };
    print::one(&args.common, &answer)?;
    args.sites.tell(&args.common, &answer)?;
    Ok(End::Done)
}

/// Creates the policy of decoys, as `domain::policies` describes it. There is no other template so far.
fn create(args: &CreateArgs) -> Result<End> {
    let rules = Policy::decoys(Policy::standard());
    let body = serde_json::json!({
        "name": args.name,
        "description": "Decoys: they open nothing, and their use is an alarm.",
        "decoy": rules.decoy,
        "owner": word(rules.owner),
        "tied_to": word(rules.tied_to),
        "can_rotate": rules.can_rotate,
        "self_rotation": word(rules.self_rotation),
    });
    let server = Server::reach(&args.common.data.data)?;
    let all = Target::of(&["policies"]);
    let created = server.send("POST", &all, body.to_string().into_bytes())?;
    print::one(&args.common, &created.accepted("POST", &all)?)?;
    Ok(End::Done)
}

fn page(args: &PageArgs) -> Result<End> {
    let (name, on) = (&args.policy, args.state == "on");
    let body = serde_json::json!({ "on": on });
    let server = Server::reach(&args.common.data.data)?;
    server.ask("PUT", &Target::of(&["policies", name, "page"]), Some(&body))?;
    print::done(
        &args.common,
        &format!("the page of policy {name} is {}", args.state),
    )?;
    Ok(End::Done)
}

fn delete(args: &DeleteArgs) -> Result<End> {
    let name = &args.policy;
    prompt::confirm(&format!("Delete policy {name} for good?"), args.yes)?;
    let server = Server::reach(&args.common.data.data)?;
    server.ask("DELETE", &Target::of(&["policies", name]), None)?;
    print::done(&args.common, &format!("deleted policy {name}"))?;
    Ok(End::Done)
}
