//! `latchkey catalog import`: from an OpenAPI document to a catalog.

use super::put;
use crate::cli::failure::{End, Failure, Result};
use crate::cli::show::{self, Common};
use crate::cli::typed;
use crate::domain::catalog::{Definition, Operation, Scope};
use crate::http::bodies::openapi::{self, Around};
use serde_json::{Value, json};
use std::path::PathBuf;

/// What importing takes.
#[derive(clap::Args, Clone, Debug)]
pub struct ImportArgs {
    /// The document, or - for standard input
    file: PathBuf,
    /// What to call the catalog
    #[arg(long, value_name = "NAME")]
    name: String,
    /// What stands before each path in real requests, such as /v1
    #[arg(long, value_name = "PATH", default_value = "")]
    base_path: String,
    /// The host that the operations belong to [default: any]
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
    /// The application tells capitals from small letters in paths, and /users/admin.json from /users/admin
    #[arg(long)]
    case_sensitive: bool,
    /// Print the catalog instead of putting it in place
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    common: Common,
}

pub fn import(args: &ImportArgs) -> Result<End> {
    let shown = args.file.display();
    let text = typed::whole(&args.file)?;
    let around = Around {
        base_path: args.base_path.trim_end_matches('/'),
        host: args.host.as_deref(),
    };
    let read = openapi::import(&text, &args.name, &around)
        .map_err(|why| Failure::refused(format!("{shown}: {why}")))?;
    for note in &read.notes {
        eprintln!("note: {note} (--base-path)");
    }
    for it in &read.left_out {
        eprintln!("not mapped: {}: {}", it.operation, it.why);
    }
    let (mut definition, left_out) = (read.definition, read.left_out);
    definition.case_sensitive = args.case_sensitive;
    eprintln!(
        "{} operations and {} scopes mapped, {} operations not mapped",
        definition.operations.len(),
        definition.scopes.len(),
        left_out.len()
    );
    if definition.operations.is_empty() {
        return Err(Failure::refused(
            "none of the operations can be mapped; nothing was changed",
        ));
    }
    let body = body(&definition);
    if args.dry_run {
        let text = serde_json::to_string_pretty(&body).unwrap_or_default();
        show::print(&text)?;
        return Ok(End::Done);
    }
    put(&args.common, &args.name, body.to_string().into_bytes())
}

fn body(definition: &Definition) -> Value {
    let scope = |it: &Scope| json!({"name": it.name, "label": it.label, "implies": it.implies, "root_only": it.root_only});
    let operation = |it: &Operation| {
        json!({
            "id": it.id,
            "method": it.method,
            "path": it.path,
            "host": it.host,
            "access": if it.writes { "write" } else { "read" },
            "any_of": it.any_of,
        })
    };
    json!({
        "name": definition.name,
        "case_sensitive": definition.case_sensitive,
        "scopes": definition.scopes.iter().map(scope).collect::<Vec<_>>(),
        "operations": definition.operations.iter().map(operation).collect::<Vec<_>>(),
    })
}
