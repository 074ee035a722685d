//! `latchkey key verify`: verifies a secret in the same way as a service does.

use crate::cli::arguments::Body;
use crate::cli::client::{Server, Target};
use crate::cli::failure::{End, Result};
use crate::cli::print;
use crate::cli::print::{Common, Object};
use crate::cli::prompt;
use serde_json::Value;
use std::path::PathBuf;

/// The arguments of `latchkey key verify`.
#[derive(clap::Args, Clone, Debug)]
pub struct VerifyArgs {
    /// A file with the secret on its first line [default: typed, or standard input]
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// A scope that the key must have; repeat it or separate with commas
    #[arg(long = "scope", value_name = "SCOPE", value_delimiter = ',')]
    scopes: Vec<String>,
    /// The catalog of the request or of the scopes
    #[arg(long, value_name = "CATALOG")]
    catalog: Option<String>,
    /// The method of the request
    #[arg(long, value_name = "METHOD", requires = "path")]
    method: Option<String>,
    /// The path of the request
    #[arg(long, value_name = "PATH", requires = "method")]
    path: Option<String>,
    /// The host of the request
    #[arg(long, value_name = "HOST", requires = "path")]
    host: Option<String>,
    /// The client address of the request
    #[arg(long, value_name = "ADDRESS")]
    ip: Option<String>,
    /// The workspace that the key must be able to access
    #[arg(long, value_name = "WORKSPACE")]
    workspace: Option<String>,
    /// How many uses this verification counts as; 0 consumes nothing
    #[arg(long, value_name = "N")]
    cost: Option<u64>,
    #[command(flatten)]
    common: Common,
}

pub fn verify(args: &VerifyArgs) -> Result<End> {
    let secret = prompt::secret("Secret", "secret", args.secret_file.as_deref())?;
    let question = Body::default()
        .with("key", Some(secret))
        .list("scopes", &args.scopes)
        .with("catalog", args.catalog.as_deref())
        .with("method", args.method.as_deref())
        .with("path", args.path.as_deref())
        .with("host", args.host.as_deref())
        .with("ip", args.ip.as_deref())
        .with("workspace", args.workspace.as_deref())
        .with("cost", args.cost)
        .value();
    let server = Server::reach(&args.common.data.data)?;
    let answer = server.ask("POST", &Target::of(&["verify"]), Some(&question))?;
    print::one(&args.common, &answer)?;
    let verdict: Object = answer.json()?;
    Ok(match verdict.member("valid") {
        Value::Bool(true) => End::Done,
        _ => End::Found,
    })
}
