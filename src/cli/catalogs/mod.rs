//! `latchkey catalog`: manages catalogs, which contain scopes and the requests that they open.

mod import;

use super::client::{Server, Target};
use super::failure::{End, Failure, Result};
use super::linked_sites::SitesArg;
use super::print;
use super::print::{Column, Common, text_of};
use super::prompt;
use clap::Subcommand;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use std::path::PathBuf;

#[rustfmt::skip]
const SCOPES: &[Column] = &[
    Column { heading: "SCOPE",   member: "name" },
    Column { heading: "IMPLIES", member: "implies" },
    Column { heading: "LABEL",   member: "label" },
];

#[rustfmt::skip]
const OPERATIONS: &[Column] = &[
    Column { heading: "METHOD",    member: "method" },
    Column { heading: "HOST",      member: "host" },
    Column { heading: "PATH",      member: "path" },
    Column { heading: "ACCESS",    member: "access" },
    Column { heading: "OPENED BY", member: "opened_by" },
    Column { heading: "OPERATION", member: "id" },
];

#[rustfmt::skip]
const COLUMNS: &[Column] = &[
    Column { heading: "CATALOG",    member: "name" },
    Column { heading: "SCOPES",     member: "scopes" },
    Column { heading: "OPERATIONS", member: "operations" },
];

/// List, show, put, import and delete catalogs.
#[derive(Debug, Subcommand)]
pub enum CatalogCommand {
    /// List catalogs
    #[command(after_help = "Examples:\n  latchkey catalog list\n  latchkey catalog list --json")]
    List(Common),
    /// Show the scopes and operations of one catalog
    #[command(
        after_help = "Examples:\n  latchkey catalog show latchkey\n  latchkey catalog show billing --json > billing.json"
    )]
    Show(CatalogArgs),
    /// Save a catalog from a JSON file, which replaces the existing one completely
    #[command(
        after_help = "Examples:\n  latchkey catalog put billing.json\n  latchkey catalog put - --name billing < billing.json"
    )]
    Put(PutArgs),
    /// Delete a catalog that no key uses
    #[command(
        after_help = "Examples:\n  latchkey catalog delete billing\n  latchkey catalog delete billing --yes"
    )]
    Delete(DeleteArgs),
    /// Save a catalog from an OpenAPI 3.0, 3.1 or 3.2 document, JSON or YAML
    #[command(
        after_help = "Each operation with a security requirement becomes an operation of the catalog with those scopes.\n\
                      What a catalog cannot say is listed on standard error, and closed: no key opens it. Nothing is guessed.\n\n\
                      Keys stand for security schemes whose credential comes in a header: oauth2, openIdConnect, http bearer and\n\
                      apiKey in a header. Where the document lets a client choose between scopes and a credential without any, or\n\
                      asks for several credentials together, name the schemes that keys stand for with --scheme.\n\n\
                      Examples:\n  latchkey catalog import openapi.yaml --name billing --dry-run\n  \
                      latchkey catalog import openapi.json --name billing --base-path /v1 --host api.example\n  \
                      latchkey catalog import openapi.json --name drawings --scheme personalToken\n  \
                      latchkey catalog import openapi.json --name nodes --default any-key"
    )]
    Import(import::ImportArgs),
}

#[derive(clap::Args, Clone, Debug)]
pub struct CatalogArgs {
    /// The catalog's name
    catalog: String,
    #[command(flatten)]
    common: Common,
}

#[derive(clap::Args, Clone, Debug)]
pub struct PutArgs {
    /// A file with the catalog as `show --json` prints it, or - for standard input
    file: PathBuf,
    /// The name of the catalog [default: the name in the file]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    #[command(flatten)]
    sites: SitesArg,
    #[command(flatten)]
    common: Common,
}

#[derive(clap::Args, Clone, Debug)]
pub struct DeleteArgs {
    /// The catalog's name
    catalog: String,
    /// Do not ask for confirmation
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    common: Common,
}

#[derive(Deserialize)]
struct CatalogBody {
    scopes: Vec<Box<RawValue>>,
    operations: Vec<Box<RawValue>>,
}

#[derive(Deserialize)]
struct PutBody {
    created: bool,
    keys_changed: Vec<String>,
}

pub fn run(command: &CatalogCommand) -> Result<End> {
    match command {
        CatalogCommand::List(common) => list(common),
        CatalogCommand::Show(args) => show(args),
        CatalogCommand::Put(args) => put_file(args),
        CatalogCommand::Delete(args) => delete(args),
        CatalogCommand::Import(args) => import::import(args),
    }
}

/// The table has the number of scopes and operations, and the JSON has all of them.
fn list(common: &Common) -> Result<End> {
    let items = Server::reach(&common.data.data)?.list(&Target::of(&["catalogs"]))?;
    if common.json {
        print::list(common, COLUMNS, &items)?;
        return Ok(End::Done);
    }
    let counted = |item: &RawValue| {
        let mut row: Value = serde_json::from_str(item.get())?;
        for member in ["scopes", "operations"] {
            row[member] = row[member].as_array().map_or(0, Vec::len).into();
        }
        serde_json::value::to_raw_value(&row)
    };
    let rows = items
        .iter()
        .map(|item| counted(item))
        .collect::<serde_json::Result<Vec<_>>>()
        .map_err(unreadable)?;
    print::list(common, COLUMNS, &rows)?;
    Ok(End::Done)
}

fn unreadable(err: serde_json::Error) -> Failure {
    Failure::refused(format!("the server's answer cannot be read: {err}"))
}

/// Replaces the requirement of an operation with one text.
fn with_opener(operation: &RawValue) -> serde_json::Result<Box<RawValue>> {
    let mut row: Value = serde_json::from_str(operation.get())?;
    let list = |member: &str, word: &str| {
        let scopes = row[member].as_array().into_iter().flatten();
        let scopes: Vec<&str> = scopes.filter_map(Value::as_str).collect();
        scopes.join(word)
    };
    let (all_of, any_of) = (list("all_of", " and "), list("any_of", " or "));
    row["opened_by"] = match (row["any_key"] == true, all_of.is_empty(), any_of.is_empty()) {
        (true, _, _) => "any key".into(),
        (false, true, true) => "nobody".into(),
        (false, true, false) => any_of.into(),
        (false, false, true) => all_of.into(),
        (false, false, false) => format!("{all_of} and ({any_of})").into(),
    };
    serde_json::value::to_raw_value(&row)
}

fn show(args: &CatalogArgs) -> Result<End> {
    let target = Target::of(&["catalogs", &args.catalog]);
    let answer = Server::reach(&args.common.data.data)?.get(&target)?;
    if args.common.json {
        print::print(&answer.text())?;
        return Ok(End::Done);
    }
    let catalog: CatalogBody = answer.json()?;
    print::list(&args.common, SCOPES, &catalog.scopes)?;
    if !catalog.operations.is_empty() {
        print::print("")?;
        let operations = catalog.operations.iter().map(|it| with_opener(it));
        let operations = operations
            .collect::<serde_json::Result<Vec<_>>>()
            .map_err(unreadable)?;
        print::list(&args.common, OPERATIONS, &operations)?;
    }
    Ok(End::Done)
}

fn put_file(args: &PutArgs) -> Result<End> {
    let shown = args.file.display();
    let body = prompt::whole(&args.file)?;
    let catalog: Value = serde_json::from_str(&body)
        .map_err(|err| Failure::refused(format!("{shown} is no JSON: {err}")))?;
    let name = args.name.as_deref().or(catalog["name"].as_str());
    let name =
        name.ok_or_else(|| Failure::Usage(format!("{shown} names no catalog; say --name")))?;
    put(&args.common, args.sites, name, body.into_bytes())
}

/// Saves a catalog and lists the keys that lost scopes.
fn put(common: &Common, sites: SitesArg, name: &str, body: Vec<u8>) -> Result<End> {
    let server = Server::reach(&common.data.data)?;
    let target = server.waiting(Target::of(&["catalogs", name]), sites.wait_sites)?;
    let answer = server
        .send("PUT", &target, body)?
        .accepted("PUT", &target)?;
    if common.json {
        print::print(&answer.text())?;
        return Ok(End::Done);
    }
    let put: PutBody = answer.json()?;
    let verb = if put.created { "created" } else { "replaced" };
    print::print(&format!("{verb} catalog {name}"))?;
    if !put.keys_changed.is_empty() {
        let keys = text_of(&put.keys_changed.into());
        print::print(&format!(
            "these keys had scopes that are no more, and have lost them: {keys}"
        ))?;
    }
    sites.tell(common, &answer)?;
    Ok(End::Done)
}

fn delete(args: &DeleteArgs) -> Result<End> {
    let name = &args.catalog;
    prompt::confirm(&format!("Delete catalog {name} for good?"), args.yes)?;
    let server = Server::reach(&args.common.data.data)?;
    server.ask("DELETE", &Target::of(&["catalogs", name]), None)?;
    print::done(&args.common, &format!("deleted catalog {name}"))?;
    Ok(End::Done)
}
