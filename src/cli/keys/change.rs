//! The commands that change a key: edit, disable, enable and delete.

use super::Labels;
use super::list::{IdArgs, IdsArgs};
use crate::cli::arguments::{Body, JsonObject, OrNone, Rate, Span, Until, Uses};
use crate::cli::client::{Answer, Server, Target};
use crate::cli::failure::{End, Failure, Result};
use crate::cli::linked_sites::SitesArg;
use crate::cli::print;
use crate::cli::print::{Common, Object, text_of};
use crate::cli::prompt;
use serde_json::value::RawValue;
use serde_json::{Value, json};

/// The changes of an edit; omitted members stay unchanged.
#[derive(clap::Args, Clone, Debug)]
pub struct EditArgs {
    /// The key's id
    id: String,
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    #[command(flatten)]
    labels: Labels,
    /// All scopes of the key, or none; repeat it or separate with commas
    #[arg(long = "scope", value_name = "SCOPE", value_delimiter = ',')]
    scopes: Vec<String>,
    /// Whether the key may only read
    #[arg(long, value_name = "true|false")]
    read_only: Option<bool>,
    /// The time from which the key works, or none
    #[arg(long, value_name = "TIME")]
    not_before: Option<OrNone<String>>,
    /// The time at which the key expires, or none; a date alone means the end of that day in UTC
    #[arg(long, value_name = "TIME")]
    expires_at: Option<OrNone<Until>>,
    /// The lifetime of the key from now on
    #[arg(long, value_name = "SPAN", conflicts_with = "expires_at")]
    expires_in: Option<Span>,
    /// All addresses or ranges from which the key may be used, or none for any; repeat it or separate with commas
    #[arg(long = "allow-ip", value_name = "CIDR", value_delimiter = ',')]
    allowed_ips: Vec<String>,
    /// A rate limit, such as 60/1m, or 60/1m/exact for one that all nodes of a cluster count together; or none
    #[arg(long, value_name = "N/SPAN")]
    rate_limit: Option<OrNone<Rate>>,
    /// How many uses the key has left from now on, whatever it has used so far: 0 or more, or none for a key without a limit
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    uses: Option<OrNone<Uses>>,
    /// Any other data, as a JSON object
    #[arg(long, value_name = "JSON")]
    metadata: Option<JsonObject>,
    /// The new owner of the key; its secret stays the same
    #[arg(long, value_name = "USER")]
    owner: Option<String>,
    /// Remove the owner: the key belongs only to its workspace
    #[arg(long, conflicts_with = "owner")]
    no_owner: bool,
    #[command(flatten)]
    sites: SitesArg,
    #[command(flatten)]
    common: Common,
}

/// The arguments of `latchkey key delete`.
#[derive(clap::Args, Clone, Debug)]
pub struct DeleteArgs {
    /// The ids of the keys, at most 100
    #[arg(required = true, num_args = 1..=100, value_name = "ID")]
    ids: Vec<String>,
    /// The key's name, if its policy requires it; for several keys repeat it in their order
    #[arg(long = "confirm-name", value_name = "NAME")]
    confirm_names: Vec<String>,
    /// Do not ask for confirmation
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    sites: SitesArg,
    #[command(flatten)]
    common: Common,
}

pub fn edit(args: &EditArgs) -> Result<End> {
    let text = |it: &OrNone<String>| it.body(|text| text.as_str().into());
    let until = |it: &OrNone<Until>| it.body(|until| until.0.as_str().into());
    let body = args
        .labels
        .body()
        .with("name", args.name.as_deref())
        .with("scopes", list_or_none(&args.scopes))
        .with("read_only", args.read_only)
        .with("not_before", args.not_before.as_ref().map(text))
        .with("expires_at", args.expires_at.as_ref().map(until))
        .with("expires_in_s", args.expires_in.map(|span| span.0))
        .with("allowed_ips", list_or_none(&args.allowed_ips))
        .with(
            "rate_limit",
            args.rate_limit
                .as_ref()
                .map(|it| it.body(|rate| rate.body())),
        )
        .with(
            "uses_left",
            args.uses.as_ref().map(|it| it.body(|uses| uses.0.into())),
        )
        .with("metadata", args.metadata.clone().map(|it| it.0))
        .with("owner", args.owner.as_deref())
        .with("owner", args.no_owner.then_some(Value::Null));
    if body.is_empty() {
        return Err(Failure::Usage(
            "nothing to change was named; see latchkey key edit --help".to_owned(),
        ));
    }
    let server = Server::reach(&args.common.data.data)?;
    let answer = server.ask_sites(
        "PATCH",
        Target::of(&["keys", &args.id]),
        Some(&body.value()),
        args.sites.wait_sites,
    )?;
    print::one(&args.common, &answer)?;
    args.sites.tell(&args.common, &answer)?;
    Ok(End::Done)
}

/// A page of keys in the format of the server.
#[derive(serde::Deserialize)]
struct Page {
    items: Vec<Box<RawValue>>,
}

/// The arguments of `latchkey key disable`.
#[derive(clap::Args, Clone, Debug)]
pub struct DisableArgs {
    #[command(flatten)]
    keys: IdsArgs,
    #[command(flatten)]
    sites: SitesArg,
}

/// The arguments of `latchkey key end-previous`.
#[derive(clap::Args, Clone, Debug)]
pub struct EndPreviousArgs {
    #[command(flatten)]
    key: IdArgs,
    #[command(flatten)]
    sites: SitesArg,
}

pub fn disable(args: &DisableArgs) -> Result<End> {
    switch(&args.keys, "disable", args.sites)
}

pub fn enable(args: &IdsArgs) -> Result<End> {
    switch(args, "enable", SitesArg::default())
}

/// `verb`: `disable` or `enable`.
fn switch(args: &IdsArgs, verb: &str, sites: SitesArg) -> Result<End> {
    let server = Server::reach(&args.common.data.data)?;
    if let [id] = args.ids.as_slice() {
        let target = Target::of(&["keys", id, verb]);
        let answer = server.ask_sites("POST", target, None, sites.wait_sites)?;
        if args.common.json {
            print::one(&args.common, &answer)?;
            return Ok(End::Done);
        }
        tell_state(&args.common, verb, &answer.json()?)?;
        sites.tell(&args.common, &answer)?;
        return Ok(End::Done);
    }
    let answer = batch(&server, verb, &args.ids, &[], sites)?;
    let page: Page = answer.json()?;
    if args.common.json {
        print::list(&args.common, &[], &page.items)?;
        return Ok(End::Done);
    }
    for item in &page.items {
        let key = serde_json::from_str(item.get()).map_err(|err| {
            Failure::refused(format!("the server's answer cannot be read: {err}"))
        })?;
        tell_state(&args.common, verb, &key)?;
    }
    sites.tell(&args.common, &answer)?;
    Ok(End::Done)
}

fn tell_state(common: &Common, verb: &str, key: &Object) -> Result<()> {
    let [id, name, state] = ["id", "name", "state"].map(|member| text_of(key.member(member)));
    print::done(
        common,
        &format!("{verb}d key {id} ({name}), which is now {state}"),
    )
}

pub fn end_previous(args: &EndPreviousArgs) -> Result<End> {
    let EndPreviousArgs { key, sites } = args;
    let server = Server::reach(&key.common.data.data)?;
    let target = Target::of(&["keys", &key.id, "previous"]);
    let answer = server.ask_sites("DELETE", target, None, sites.wait_sites)?;
    print::done(
        &key.common,
        &format!("only the newest secret of key {} works now", key.id),
    )?;
    sites.tell(&key.common, &answer)?;
    Ok(End::Done)
}

pub fn delete(args: &DeleteArgs) -> Result<End> {
    if let [id] = args.ids.as_slice() {
        prompt::confirm(&format!("Delete key {id} for good?"), args.yes)?;
        let name = match args.confirm_names.as_slice() {
            [] => None,
            [name] => Some(
                Body::default()
                    .with("confirm_name", Some(name.as_str()))
                    .value(),
            ),
            _ => {
                return Err(Failure::Usage(
                    "--confirm-name is given twice for one key".to_owned(),
                ));
            }
        };
        let server = Server::reach(&args.common.data.data)?;
        let target = Target::of(&["keys", id]);
        let waits = args.sites.wait_sites;
        let answer = server.ask_sites("DELETE", target, name.as_ref(), waits)?;
        print::done(&args.common, &format!("deleted key {id}"))?;
        args.sites.tell(&args.common, &answer)?;
        return Ok(End::Done);
    }
    let question = format!("Delete keys {} for good?", args.ids.join(", "));
    prompt::confirm(&question, args.yes)?;
    let server = Server::reach(&args.common.data.data)?;
    let names = &args.confirm_names;
    let answer = batch(&server, "delete", &args.ids, names, args.sites)?;
    for id in &args.ids {
        print::done(&args.common, &format!("deleted key {id}"))?;
    }
    args.sites.tell(&args.common, &answer)?;
    Ok(End::Done)
}

/// Requests the same action for several keys; it applies to all of them or to none.
fn batch(
    server: &Server,
    action: &str,
    ids: &[String],
    names: &[String],
    sites: SitesArg,
) -> Result<Answer> {
    let mut body = json!({ "action": action, "ids": ids });
    if !names.is_empty() {
        body["confirm_names"] = json!(names);
    }
    let target = Target::of(&["keys", "batch"]);
    server.ask_sites("POST", target, Some(&body), sites.wait_sites)
}

/// `None` if there are no values; null for the single word `none`.
fn list_or_none(values: &[String]) -> Option<Value> {
    match values {
        [] => None,
        [none] if none == "none" => Some(Value::Null),
        values => Some(values.to_vec().into()),
    }
}
