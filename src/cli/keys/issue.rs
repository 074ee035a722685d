//! The commands that print a secret: issue, rotate and reveal.

use super::Labels;
use crate::cli::arguments::{Body, JsonObject, Rate, Span, Until, Uses};
use crate::cli::client::{Answer, Server, Target};
use crate::cli::failure::{End, Failure, Result};
use crate::cli::linked_sites::SitesArg;
use crate::cli::print::{Common, Object, print, text_of};
use serde::Deserialize;
use serde_json::Value;

/// How a secret is printed.
#[derive(clap::Args, Clone, Debug)]
pub struct SecretOutput {
    #[command(flatten)]
    pub common: Common,
    /// Print the secret and nothing else
    #[arg(long, conflicts_with = "json")]
    pub secret_only: bool,
}

/// The arguments of `latchkey key issue`. The policy decides about omitted members.
#[derive(clap::Args, Clone, Debug)]
pub struct IssueArgs {
    /// The name of the key
    name: String,
    #[command(flatten)]
    labels: Labels,
    /// The workspace of the key, by slug or uid [default: the root]
    #[arg(long, value_name = "WORKSPACE")]
    workspace: Option<String>,
    /// The owner of the key, a user by name or uid [default: none]
    #[arg(long, value_name = "USER")]
    owner: Option<String>,
    /// Issue a management key without an owner: it does not end with the user who issued it
    #[arg(long, conflicts_with = "owner")]
    no_owner: bool,
    /// The policy of the key
    #[arg(long, value_name = "POLICY")]
    policy: Option<String>,
    /// The catalog of the scopes
    #[arg(long, value_name = "CATALOG")]
    catalog: Option<String>,
    /// A scope of the key; repeat it or separate with commas
    #[arg(long = "scope", value_name = "SCOPE", value_delimiter = ',')]
    scopes: Vec<String>,
    /// Allow only reading
    #[arg(long)]
    read_only: bool,
    /// Issue the key disabled
    #[arg(long)]
    disabled: bool,
    /// The time from which the key works, such as 2027-01-31T00:00:00Z
    #[arg(long, value_name = "TIME")]
    not_before: Option<String>,
    /// The time at which the key expires; a date alone, such as 2027-01-31, means the end of that day in UTC
    #[arg(long, value_name = "TIME")]
    expires_at: Option<Until>,
    /// The lifetime of the key, such as 90d
    #[arg(long, value_name = "SPAN", conflicts_with = "expires_at")]
    expires_in: Option<Span>,
    /// Addresses or ranges from which the key may be used; repeat it or separate with commas
    #[arg(long = "allow-ip", value_name = "CIDR", value_delimiter = ',')]
    allowed_ips: Vec<String>,
    /// A rate limit, such as 60/1m, or 60/1m/exact for one that all nodes of a cluster count together
    #[arg(long, value_name = "N/SPAN")]
    rate_limit: Option<Rate>,
    /// How many uses the key has [default: no limit]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    uses: Option<Uses>,
    /// Any other data, as a JSON object
    #[arg(long, value_name = "JSON")]
    metadata: Option<JsonObject>,
    /// The prefix of the secret
    #[arg(long, value_name = "PREFIX")]
    prefix: Option<String>,
    #[command(flatten)]
    shown: SecretOutput,
}

/// The arguments of `latchkey key rotate`.
#[derive(clap::Args, Clone, Debug)]
pub struct RotateArgs {
    /// The key's id
    id: String,
    /// How long the old secret still works, at most 30d [default: not at all]
    #[arg(long, value_name = "SPAN")]
    grace: Option<Span>,
    /// Let the old secret work until the new one is first used, for --grace at most
    #[arg(long)]
    until_first_use: bool,
    #[command(flatten)]
    sites: SitesArg,
    #[command(flatten)]
    shown: SecretOutput,
}

/// The arguments of `latchkey key reveal`.
#[derive(clap::Args, Clone, Debug)]
pub struct RevealArgs {
    /// The key's id
    id: String,
    #[command(flatten)]
    shown: SecretOutput,
}

/// An answer that contains a secret.
#[derive(Deserialize)]
struct IssuedBody {
    key: Option<Object>,
    secret: Option<String>,
}

pub fn issue(args: &IssueArgs) -> Result<End> {
    let body = args
        .labels
        .body()
        .with("name", Some(args.name.as_str()))
        .with("workspace", args.workspace.as_deref())
        .with("owner", args.owner.as_deref())
        .with("owner", args.no_owner.then_some(Value::Null))
        .with("policy", args.policy.as_deref())
        .with("catalog", args.catalog.as_deref())
        .list("scopes", &args.scopes)
        .flag("read_only", args.read_only)
        .with("enabled", args.disabled.then_some(false))
        .with("not_before", args.not_before.as_deref())
        .with(
            "expires_at",
            args.expires_at.as_ref().map(|it| it.0.as_str()),
        )
        .with("expires_in_s", args.expires_in.map(|span| span.0))
        .list("allowed_ips", &args.allowed_ips)
        .with("rate_limit", args.rate_limit.map(Rate::body))
        .with("uses_left", args.uses.map(|uses| uses.0))
        .with("metadata", args.metadata.clone().map(|it| it.0))
        .with("prefix", args.prefix.as_deref())
        .value();
    let server = Server::reach(&args.shown.common.data.data)?;
    let answer = server.ask("POST", &Target::of(&["keys"]), Some(&body))?;
    show(&args.shown, &answer)
}

pub fn rotate(args: &RotateArgs) -> Result<End> {
    let body = Body::default()
        .with("grace_s", args.grace.map(|span| span.0))
        .flag("until_first_use", args.until_first_use)
        .value();
    let server = Server::reach(&args.shown.common.data.data)?;
    let target = Target::of(&["keys", &args.id, "rotate"]);
    let waits = args.sites.wait_sites;
    let answer = server.ask_sites("POST", target, Some(&body), waits)?;
    show(&args.shown, &answer)?;
    if !args.shown.secret_only {
        args.sites.tell(&args.shown.common, &answer)?;
    }
    Ok(End::Done)
}

pub fn reveal(args: &RevealArgs) -> Result<End> {
    let server = Server::reach(&args.shown.common.data.data)?;
    let target = Target::of(&["keys", &args.id, "reveal"]);
    show(&args.shown, &server.ask("POST", &target, None)?)
}

fn show(shown: &SecretOutput, answer: &Answer) -> Result<End> {
    if shown.common.json {
        print(&answer.text())?;
        return Ok(End::Done);
    }
    let body: IssuedBody = answer.json()?;
    let secret = body
        .secret
        .ok_or_else(|| Failure::refused("the server's answer has no secret"))?;
    if shown.secret_only {
        print(&secret)?;
        return Ok(End::Done);
    }
    if let Some(key) = body.key {
        let name = text_of(key.member("name"));
        print(&key.written())?;
        print(&format!("\nThe secret of {name}; keep it safe:\n"))?;
    }
    print(&secret)?;
    Ok(End::Done)
}
