//! `latchkey workspace`: manages the tree of workspaces.

use crate::cli::arguments::Body;
use crate::cli::client::{Server, Target};
use crate::cli::failure::{End, Failure, Result};
use crate::cli::linked_sites::SitesArg;
use crate::cli::print;
use crate::cli::print::{Column, Common};
use crate::cli::prompt;
use clap::Subcommand;
use serde_json::Value;
use std::collections::HashMap;

#[rustfmt::skip]
const COLUMNS: &[Column] = &[
    Column { heading: "SLUG",    member: "slug" },
    Column { heading: "NAME",    member: "name" },
    Column { heading: "ENABLED", member: "enabled" },
    Column { heading: "UID",     member: "uid" },
    Column { heading: "PARENT",  member: "parent" },
    Column { heading: "CREATED", member: "created_at" },
];

/// Create, list, edit, disable and delete workspaces.
#[derive(Debug, Subcommand)]
pub enum WorkspaceCommand {
    /// Create a workspace below another one
    #[command(
        after_help = "Examples:\n  latchkey workspace create emea\n  latchkey workspace create paris --name \"Paris office\" --parent emea"
    )]
    Create(CreateArgs),
    /// List workspaces
    #[command(
        after_help = "Examples:\n  latchkey workspace list\n  latchkey workspace list --json | jq -r '.[].slug'"
    )]
    List(Common),
    /// Show one workspace
    #[command(after_help = "Example:\n  latchkey workspace show emea")]
    Show(WorkspaceArgs),
    /// Rename or move a workspace
    #[command(
        after_help = "Examples:\n  latchkey workspace edit emea --name \"Europe\"\n  latchkey workspace edit paris --parent root"
    )]
    Edit(EditArgs),
    /// Disable all keys of a workspace and below, until it is enabled again
    #[command(after_help = "Example:\n  latchkey workspace disable emea")]
    Disable(SwitchArgs),
    /// Enable the keys of a workspace again
    #[command(after_help = "Example:\n  latchkey workspace enable emea")]
    Enable(SwitchArgs),
    /// Delete an empty workspace, or one with everything in it
    #[command(
        after_help = "Examples:\n  latchkey workspace delete paris\n  latchkey workspace delete emea --recursive --yes"
    )]
    Delete(DeleteArgs),
}

#[derive(clap::Args, Clone, Debug)]
pub struct CreateArgs {
    /// Its short name: a-z, 0-9, - and _
    slug: String,
    /// Its display name [default: the slug]
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// The parent workspace, by slug or uid [default: the root]
    #[arg(long, value_name = "WORKSPACE")]
    parent: Option<String>,
    #[command(flatten)]
    common: Common,
}

#[derive(clap::Args, Clone, Debug)]
pub struct WorkspaceArgs {
    /// Its slug or uid
    workspace: String,
    #[command(flatten)]
    common: Common,
}

#[derive(clap::Args, Clone, Debug)]
pub struct SwitchArgs {
    #[command(flatten)]
    workspace: WorkspaceArgs,
    #[command(flatten)]
    sites: SitesArg,
}

#[derive(clap::Args, Clone, Debug)]
pub struct EditArgs {
    /// Its slug or uid
    workspace: String,
    /// Its new short name
    #[arg(long, value_name = "SLUG")]
    slug: Option<String>,
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// The new parent workspace
    #[arg(long, value_name = "WORKSPACE")]
    parent: Option<String>,
    #[command(flatten)]
    sites: SitesArg,
    #[command(flatten)]
    common: Common,
}

#[derive(clap::Args, Clone, Debug)]
pub struct DeleteArgs {
    /// Its slug or uid
    workspace: String,
    /// Delete everything in it and below
    #[arg(long)]
    recursive: bool,
    /// Do not ask for confirmation
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    sites: SitesArg,
    #[command(flatten)]
    common: Common,
}

pub fn run(command: &WorkspaceCommand) -> Result<End> {
    match command {
        WorkspaceCommand::Create(args) => create(args),
        WorkspaceCommand::List(common) => list(common),
        WorkspaceCommand::Show(args) => show(args),
        WorkspaceCommand::Edit(args) => edit(args),
        WorkspaceCommand::Disable(args) => switch(args, Switch::Off),
        WorkspaceCommand::Enable(args) => switch(args, Switch::On),
        WorkspaceCommand::Delete(args) => delete(args),
    }
}

/// The new state of a user or a workspace.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Switch {
    Off,
    On,
}

impl Switch {
    /// The request body that sets this state.
    pub fn body(self) -> Body {
        Body::default().with("enabled", Some(self == Switch::On))
    }
}

fn create(args: &CreateArgs) -> Result<End> {
    let body = Body::default()
        .with("slug", Some(args.slug.as_str()))
        .with("name", args.name.as_deref())
        .with("parent", args.parent.as_deref());
    let server = Server::reach(&args.common.data.data)?;
    let answer = server.ask("POST", &Target::of(&["workspaces"]), Some(&body.value()))?;
    print::one(&args.common, &answer)?;
    Ok(End::Done)
}

fn list(common: &Common) -> Result<End> {
    let items = Server::reach(&common.data.data)?.list(&Target::of(&["workspaces"]))?;
    if common.json {
        print::list(common, COLUMNS, &items)?;
        return Ok(End::Done);
    }
    let rows: std::result::Result<Vec<Value>, _> = items
        .iter()
        .map(|item| serde_json::from_str(item.get()))
        .collect();
    let mut rows =
        rows.map_err(|err| Failure::refused(format!("the server's answer cannot be read: {err}")))?;
    let slugs: HashMap<String, Value> = rows
        .iter()
        .filter_map(|row| Some((row["uid"].as_str()?.to_owned(), row["slug"].clone())))
        .collect();
    for row in &mut rows {
        // A parent that the caller may not see stays a uid.
        let slug = row["parent"].as_str().and_then(|uid| slugs.get(uid));
        if let Some(slug) = slug {
            row["parent"] = slug.clone();
        }
    }
    print::print(&print::table::written(COLUMNS, &rows))?;
    Ok(End::Done)
}

fn show(args: &WorkspaceArgs) -> Result<End> {
    let target = Target::of(&["workspaces", &args.workspace]);
    let answer = Server::reach(&args.common.data.data)?.get(&target)?;
    print::one(&args.common, &answer)?;
    Ok(End::Done)
}

fn edit(args: &EditArgs) -> Result<End> {
    let body = Body::default()
        .with("slug", args.slug.as_deref())
        .with("name", args.name.as_deref())
        .with("parent", args.parent.as_deref());
    if body.is_empty() {
        return Err(Failure::Usage(
            "nothing to change was named; see latchkey workspace edit --help".to_owned(),
        ));
    }
    patch(&args.common, &args.workspace, args.sites, body)
}

fn switch(args: &SwitchArgs, to: Switch) -> Result<End> {
    let WorkspaceArgs { workspace, common } = &args.workspace;
    patch(common, workspace, args.sites, to.body())
}

fn patch(common: &Common, workspace: &str, sites: SitesArg, body: Body) -> Result<End> {
    let target = Target::of(&["workspaces", workspace]);
    let server = Server::reach(&common.data.data)?;
    let answer = server.ask_sites("PATCH", target, Some(&body.value()), sites.wait_sites)?;
    print::one(common, &answer)?;
    sites.tell(common, &answer)?;
    Ok(End::Done)
}

fn delete(args: &DeleteArgs) -> Result<End> {
    let name = &args.workspace;
    let what = if args.recursive {
        " and all that is in it"
    } else {
        ""
    };
    prompt::confirm(
        &format!("Delete workspace {name}{what} for good?"),
        args.yes,
    )?;
    let target =
        Target::of(&["workspaces", name]).with("recursive", args.recursive.then_some("true"));
    let server = Server::reach(&args.common.data.data)?;
    let answer = server.ask_sites("DELETE", target, None, args.sites.wait_sites)?;
    print::done(&args.common, &format!("deleted workspace {name}"))?;
    args.sites.tell(&args.common, &answer)?;
    Ok(End::Done)
}
