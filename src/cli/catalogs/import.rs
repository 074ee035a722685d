//! `latchkey catalog import`: converts an OpenAPI document to a catalog.

use super::put;
use crate::cli::failure::{End, Failure, Result};
use crate::cli::linked_sites::SitesArg;
use crate::cli::print;
use crate::cli::print::Common;
use crate::cli::prompt;
use crate::domain::catalogs::{Definition, Operation, Scope, path};
use crate::domain::text::counted;
use crate::http::bodies::catalog as bodies;
use crate::http::bodies::openapi::{self, Import, Options, Silence};
use serde_json::{Value, json};
use std::path::PathBuf;

/// The arguments of `latchkey catalog import`.
#[derive(clap::Args, Clone, Debug)]
pub struct ImportArgs {
    /// The document, or - for standard input
    file: PathBuf,
    /// The name of the catalog
    #[arg(long, value_name = "NAME")]
    name: String,
    /// The path before each path of the document in real requests, such as /v1
    #[arg(long, value_name = "PATH", default_value = "")]
    base_path: String,
    /// The host that the operations belong to [default: any]
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
    /// A security scheme of the document that stands for keys of the catalog; repeat it for several [default: all that
    /// are keys in a header]
    #[arg(long, value_name = "NAME")]
    scheme: Vec<String>,
    /// Who may call operations without a security requirement
    #[arg(long, value_name = "WHO", value_enum, default_value_t)]
    default: WithoutRequirement,
    /// Paths of the application are case-sensitive, and /users/admin.json is not /users/admin
    #[arg(long)]
    case_sensitive: bool,
    /// Print the catalog instead of saving it
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    sites: SitesArg,
    #[command(flatten)]
    common: Common,
}

/// Who may call operations without a security requirement.
#[derive(clap::ValueEnum, Clone, Copy, Debug, Default)]
enum WithoutRequirement {
    /// Every key of the catalog
    AnyKey,
    /// No key
    #[default]
    Closed,
}

pub fn import(args: &ImportArgs) -> Result<End> {
    let shown = args.file.display();
    let text = prompt::whole(&args.file)?;
    let options = Options {
        base_path: args.base_path.trim_end_matches('/'),
        host: args.host.as_deref(),
        schemes: &args.scheme,
        silence: match args.default {
            WithoutRequirement::AnyKey => Silence::AnyKey,
            WithoutRequirement::Closed => Silence::Closed,
        },
    };
    check_place(&options)?;
    let import = openapi::import(&text, &args.name, &options)
        .map_err(|why| Failure::refused(format!("{shown}: {why}")))?;
    tell(&import);
    let mut definition = import.definition;
    definition.case_sensitive = args.case_sensitive;
    if import.mapped == 0 {
        return Err(Failure::refused(
            "none of the operations can be mapped; nothing was changed",
        ));
    }
    let body = body(&definition);
    if args.dry_run {
        let text = serde_json::to_string_pretty(&body).unwrap_or_default();
        print::print(&text)?;
        return Ok(End::Done);
    }
    let body = body.to_string().into_bytes();
    put(&args.common, args.sites, &args.name, body)
}

/// Refuses a path prefix that would result in paths which no request can have.
fn check_place(options: &Options<'_>) -> Result<()> {
    let base = options.base_path;
    if !base.is_empty() && path::segments(base).is_none() {
        return Err(Failure::Usage(format!(
            "--base-path {base} is no path; it begins with a slash, as /v1 does"
        )));
    }
    match options.host {
        Some(host) if path::host(host).as_deref() != Some(host) => Err(Failure::Usage(format!(
            "--host {host} is no host name in lower case, without port and final dot"
        ))),
        _ => Ok(()),
    }
}

/// Lists the operations that are not imported, and counts each kind.
fn tell(import: &Import) {
    for note in &import.notes {
        eprintln!("note: {note}");
    }
    for it in &import.left_out {
        eprintln!("not mapped: {}: {}", it.operation, it.why);
    }
    eprintln!(
        "{} and {} mapped, {} not mapped{}",
        counted(import.mapped as u64, "operation"),
        counted(import.definition.scopes.len() as u64, "scope"),
        counted(import.left_out.len() as u64, "operation"),
        match import.left_out.is_empty() {
            true => "",
            false => " and closed, so that no key opens them:",
        }
    );
    for (why, count) in import.reasons() {
        eprintln!("{count:>7}  {why}");
    }
}

fn body(definition: &Definition) -> Value {
    let scope = |it: &Scope| json!({"name": it.name, "label": it.label, "implies": it.implies, "root_only": it.root_only});
    let operation = |it: &Operation| {
        let mut operation = json!({
            "id": it.id,
            "method": it.method,
            "path": it.path,
            "host": it.host,
            "access": if it.writes { "write" } else { "read" },
        });
        if it.preflight {
            operation["preflight"] = Value::Bool(true);
        }
        bodies::write_requirement(&it.requirement, &mut operation);
        operation
    };
    json!({
        "name": definition.name,
        "case_sensitive": definition.case_sensitive,
        "scopes": definition.scopes.iter().map(scope).collect::<Vec<_>>(),
        "operations": definition.operations.iter().map(operation).collect::<Vec<_>>(),
    })
}
