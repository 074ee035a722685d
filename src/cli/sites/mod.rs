//! `latchkey site`: enrols sites, which verify without this server, and takes in what they report.

mod collect;

use crate::cli::arguments::{Body, Span};
use crate::cli::at_site;
use crate::cli::client::{Server, Target};
use crate::cli::failure::{End, Failure, Result};
use crate::cli::linked_sites::SitesArg;
use crate::cli::output_file::Output;
use crate::cli::print;
use crate::cli::print::{Column, Common, Object};
use crate::cli::prompt;
use crate::domain::packs::is_server_name;
use crate::domain::text::counted;
use crate::files::Readers;
use clap::Subcommand;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use std::path::PathBuf;

#[rustfmt::skip]
const COLUMNS: &[Column] = &[
    Column { heading: "NAME",        member: "name" },
    Column { heading: "WORKSPACES",  member: "workspaces" },
    Column { heading: "PACK",        member: "pack" },
    Column { heading: "MADE",        member: "made_at" },
    Column { heading: "UNTIL",       member: "until" },
    Column { heading: "KEYS",        member: "keys" },
    Column { heading: "APPLIED",     member: "applied" },
    Column { heading: "EVENTS",      member: "applied_events" },
    Column { heading: "AS OF",       member: "as_of" },
    Column { heading: "REPORTED",    member: "reported_at" },
    Column { heading: "UNCONFIRMED", member: "unconfirmed_revocations" },
    Column { heading: "LINKED",      member: "linked" },
    Column { heading: "LAG",         member: "lag_events" },
];

/// Enrol, list, edit and remove sites, which verify without this server.
#[derive(Debug, Subcommand)]
pub enum SiteCommand {
    /// Enrol a site, and write what it begins with to a file
    #[command(
        after_help = "The file has the peppers. The passphrase protects it; carry the two on different ways. A name is used once.\n\n\
                      Examples:\n  latchkey site add plant-7 --workspace plants --out plant-7.enrol\n  \
                      latchkey site add kiosk --workspace shop --catalog orders --minimal --until 30d --out /media/stick/kiosk.enrol \
                      --passphrase-file pass.txt"
    )]
    Add(AddArgs),
    /// List sites: what each was given, what it is known to have applied, and revocations that it is not known to have
    #[command(
        after_help = "Examples:\n  latchkey site list\n  latchkey site list --json | jq -r '.[] | select(.unconfirmed_revocations > 0) | .name'"
    )]
    List(Common),
    /// Show one site, with the keys that stay out of its packs
    #[command(after_help = "Example:\n  latchkey site show plant-7")]
    Show(SiteArgs),
    /// Change what a site is given, from its next pack on
    #[command(
        after_help = "Examples:\n  latchkey site edit plant-7 --workspace plants --workspace ships\n  latchkey site edit plant-7 --until 30d\n  latchkey site edit plant-7 --max-stale 30s\n  latchkey site edit plant-7 --unlink"
    )]
    Edit(EditArgs),
    /// Remove a site: no more packs, and its reports are refused
    #[command(
        after_help = "What the site has goes on until its pack ends, or the lease of its link; the command prints until when at the \
                      latest. With --rotate the pepper gets a new version, which a lost site does not have.\n\nExamples:\n  latchkey site remove plant-7\n  latchkey site remove plant-7 --rotate --yes"
    )]
    Remove(RemoveArgs),
    /// Take in the reports of sites from a folder; the same report again changes nothing
    #[command(
        after_help = "Exits 1 if a file could not be taken in.\n\nExamples:\n  latchkey site collect /media/stick\n  latchkey site collect ./reports --json"
    )]
    Collect(collect::CollectArgs),
    /// At a site: make its data folder from the enrolment file of the server
    #[command(
        after_help = "Examples:\n  latchkey site init plant-7.enrol --data /var/lib/latchkey-site\n  \
                      latchkey site init plant-7.enrol --data ./site --passphrase-file /run/passphrase"
    )]
    Init(at_site::InitArgs),
    /// At a site: show its pack, the age of the pack, and what has ended there
    #[command(
        after_help = "Examples:\n  latchkey site status --data /var/lib/latchkey-site\n  latchkey site status --json | jq .age_s"
    )]
    Status(at_site::StatusArgs),
    /// At a site: end a key there at once; the server hears of it with the next report
    #[command(
        after_help = "Examples:\n  latchkey site disable k3J9aQ0xZb --data /var/lib/latchkey-site\n  latchkey site disable k3J9aQ0xZb --yes"
    )]
    Disable(at_site::DisableArgs),
    /// At a site: write a report for the server: last uses, counts, refusals, the applied pack, keys that it proposes to end
    #[command(
        after_help = "Examples:\n  latchkey site report --out /media/stick\n  latchkey site report --out /media/stick --data ./site --json"
    )]
    Report(at_site::ReportArgs),
    /// At a site: let a browser of this machine see its keys, and test them
    #[command(
        after_help = "Prints a link for one browser, which counts for five minutes. The browser sees the keys for twelve hours, or until \
                      the site is stopped, and can change nothing.\n\nExample:\n  latchkey site console --data /var/lib/latchkey-site"
    )]
    Console(at_site::ConsoleArgs),
    /// At a site: accept that the server was restored from a backup, that a pack had a wrong date, or that the server has another key, so
    /// that its next pack is taken
    #[command(
        after_help = "Keys and secrets that the site knows to have ended stay ended.\n\n\
                      Examples:\n  latchkey site reset --data /var/lib/latchkey-site\n  latchkey site reset --yes\n  latchkey site reset --date\n  latchkey site reset --key KEY"
    )]
    Reset(at_site::ResetArgs),
}

#[derive(clap::Args, Clone, Debug)]
pub struct AddArgs {
    /// Its name: a-z, 0-9 and -
    name: String,
    /// A workspace whose keys it is given, with everything below; can be repeated
    #[arg(long = "workspace", value_name = "WORKSPACE", required = true)]
    workspaces: Vec<String>,
    /// A catalog whose keys it is given; can be repeated [default: the keys of all catalogs and of none]
    #[arg(long = "catalog", value_name = "CATALOG")]
    catalogs: Vec<String>,
    /// Leave names, names of owners and metadata out of its packs
    #[arg(long)]
    minimal: bool,
    /// How long a pack counts
    #[arg(long, value_name = "SPAN", default_value = "7d")]
    until: Span,
    /// Uses of a counted key that it may have at a time
    #[arg(long, value_name = "N")]
    lend: Option<u64>,
    /// How long it may answer after the last word of this server, while it is linked: 2s to 24h [default: 10s]
    #[arg(long, value_name = "SPAN")]
    max_stale: Option<Span>,
    /// The name of this server in the heads of packs, for the first site [default: the name of the machine]
    #[arg(long, value_name = "NAME")]
    server_name: Option<String>,
    /// Where to write the enrolment
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// A file with the passphrase [default: asked for]
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    #[command(flatten)]
    common: Common,
}

#[derive(clap::Args, Clone, Debug)]
pub struct SiteArgs {
    /// Its name
    site: String,
    #[command(flatten)]
    common: Common,
}

#[derive(clap::Args, Clone, Debug)]
pub struct EditArgs {
    /// Its name
    site: String,
    /// A workspace whose keys it is given, in the place of those before; can be repeated
    #[arg(long = "workspace", value_name = "WORKSPACE")]
    workspaces: Vec<String>,
    /// A catalog whose keys it is given, in the place of those before; can be repeated
    #[arg(long = "catalog", value_name = "CATALOG")]
    catalogs: Vec<String>,
    /// Give it the keys of all catalogs and of none
    #[arg(long, conflicts_with = "catalogs")]
    all_catalogs: bool,
    /// Leave names and metadata out of its packs, or not
    #[arg(long, value_name = "true|false")]
    minimal: Option<bool>,
    /// How long a pack counts
    #[arg(long, value_name = "SPAN")]
    until: Option<Span>,
    /// Uses of a counted key that it may have at a time
    #[arg(long, value_name = "N")]
    lend: Option<u64>,
    /// The life of its state to which uses are lent from now on, as `latchkey site status` shows it there; what another one was lent
    /// counts as spent
    #[arg(long, value_name = "UID")]
    life: Option<String>,
    /// How long it may answer after the last word of this server, while it is linked: 2s to 24h
    #[arg(long, value_name = "SPAN")]
    max_stale: Option<Span>,
    /// Drop its live link: the site is gone, and no change waits for its lease any more. A site that asks again is linked again
    #[arg(long)]
    unlink: bool,
    #[command(flatten)]
    sites: SitesArg,
    #[command(flatten)]
    common: Common,
}

#[derive(clap::Args, Clone, Debug)]
pub struct RemoveArgs {
    /// Its name
    site: String,
    /// Also give the pepper a new version
    #[arg(long)]
    rotate: bool,
    /// Also give counted keys back what the site was lent and has not reported as spent; only if it is known not to have spent it
    #[arg(long)]
    return_uses: bool,
    /// Do not ask for confirmation
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    common: Common,
}

#[derive(Deserialize)]
struct EnrolledAnswer {
    site: Box<RawValue>,
    enrolment: String,
}

#[derive(Deserialize)]
struct RemovedAnswer {
    pepper: Option<u32>,
    uses_returned: u64,
    uses_kept: u64,
    may_answer_until: Option<String>,
}

pub fn run(command: &SiteCommand) -> Result<End> {
    match command {
        SiteCommand::Add(args) => add(args),
        SiteCommand::List(common) => list(common),
        SiteCommand::Show(args) => show(args),
        SiteCommand::Edit(args) => edit(args),
        SiteCommand::Remove(args) => remove(args),
        SiteCommand::Collect(args) => collect::run(args),
        SiteCommand::Console(args) => at_site::console(args),
        SiteCommand::Disable(args) => at_site::disable(args),
        SiteCommand::Init(args) => at_site::init(args),
        SiteCommand::Report(args) => at_site::report(args),
        SiteCommand::Reset(args) => at_site::reset(args),
        SiteCommand::Status(args) => at_site::status(args),
    }
}

fn add(args: &AddArgs) -> Result<End> {
    let server = Server::reach(&args.common.data.data)?;
    // Creates the file before it asks for the passphrase, so that errors come early.
    drop(Output::create(&args.out, Readers::OwnerIfKept)?);
    let file = args.passphrase_file.as_deref();
    let passphrase = prompt::new_secret("New passphrase", "passphrase", file)?;
    let name = args.server_name.clone().unwrap_or_else(machine);
    let body = Body::default()
        .with("name", Some(args.name.as_str()))
        .list("workspaces", &args.workspaces)
        .list("catalogs", &args.catalogs)
        .flag("minimal", args.minimal)
        .with("until_s", Some(args.until.0))
        .with("lend", args.lend)
        .with("max_stale_s", args.max_stale.map(|span| span.0))
        .with("server", Some(name))
        .with("passphrase", Some(passphrase));
    let answer = server.ask("POST", &Target::of(&["sites"]), Some(&body.value()))?;
    let enrolled: EnrolledAnswer = answer.json()?;
    let mut output = Output::create(&args.out, Readers::OwnerIfKept)?;
    output.write_text(&enrolled.enrolment)?;
    output.put_in_place()?;
    if args.common.json {
        print::print(enrolled.site.get())?;
        return Ok(End::Done);
    }
    print::print(&format!(
        "{} enrols site {}. At the site: latchkey site init {0} --data DIR\nAnyone with the file and the passphrase can be that \
         site. Its first pack: latchkey pack make --site {1} --out DIR; or, if it can reach this server, a live link: latchkey serve \
         --site --server URL",
        args.out.display(),
        args.name
    ))?;
    Ok(End::Done)
}

/// The name of this machine, as a name of a server.
fn machine() -> String {
    let system = rustix::system::uname();
    let name = system.nodename().to_string_lossy().to_ascii_lowercase();
    match is_server_name(&name) {
        true => name,
        false => "latchkey".to_owned(),
    }
}

fn list(common: &Common) -> Result<End> {
    let mut items = Server::reach(&common.data.data)?.list(&Target::of(&["sites"]))?;
    if !common.json {
        items = items.into_iter().map(with_unknown).collect();
    }
    print::list(common, COLUMNS, &items)?;
    Ok(End::Done)
}

/// A number of revocations that the server does not know is another thing than one of a site that never reported.
fn with_unknown(item: Box<RawValue>) -> Box<RawValue> {
    let Ok(mut site) = serde_json::from_str::<Value>(item.get()) else {
        return item;
    };
    if site["unconfirmed_unknown"] != true {
        return item;
    }
    site["unconfirmed_revocations"] = Value::from("unknown");
    serde_json::value::to_raw_value(&site).unwrap_or(item)
}

fn show(args: &SiteArgs) -> Result<End> {
    let target = Target::of(&["sites", &args.site]);
    let answer = Server::reach(&args.common.data.data)?.get(&target)?;
    if args.common.json {
        print::print(&answer.text())?;
        return Ok(End::Done);
    }
    let mut site: Object = answer.json()?;
    site.join("ended_there", &["id", "ended_at"]);
    print::print(&site.written())?;
    let count = |name: &str| site.member(name).as_u64().unwrap_or(0);
    if count("left_out") > 0 {
        print::print(
            "\nKeys are left out whose secrets another system has made: their strength is unknown, so a digest could be guessed at a \
             site. Rotate them: latchkey key rotate ID",
        )?;
    }
    if site
        .member("ended_there")
        .as_array()
        .is_some_and(|all| !all.is_empty())
    {
        print::print(
            "\nThe site has ended keys that are enabled here; to end them here: latchkey key disable ID",
        )?;
    }
    print::print(&format!(
        "\nA counted key can be used {} there before the next pack. Rate limits count at each site alone.",
        counted(count("lend"), "time")
    ))?;
    Ok(End::Done)
}

fn edit(args: &EditArgs) -> Result<End> {
    let mut body = Body::default()
        .list("workspaces", &args.workspaces)
        .list("catalogs", &args.catalogs)
        .with("minimal", args.minimal)
        .with("until_s", args.until.map(|span| span.0))
        .with("lend", args.lend)
        .with("max_stale_s", args.max_stale.map(|span| span.0))
        .with("life", args.life.as_deref())
        .with("linked", args.unlink.then_some(false));
    if args.all_catalogs {
        body = body.with("catalogs", Some(Value::Array(Vec::new())));
    }
    if body.is_empty() {
        return Err(Failure::Usage(
            "nothing to change was named; see latchkey site edit --help".to_owned(),
        ));
    }
    let target = Target::of(&["sites", &args.site]);
    let server = Server::reach(&args.common.data.data)?;
    let answer = server.ask_sites("PATCH", target, Some(&body.value()), args.sites.wait_sites)?;
    print::one(&args.common, &answer)?;
    args.sites.tell(&args.common, &answer)?;
    if args.unlink && !args.common.json {
        let site: Object = answer.json()?;
        print::print(&match site.member("may_answer_until").as_str() {
            None => format!(
                "\nNo change waits for {}: no word lets it answer any more.",
                args.site
            ),
            Some(until) => format!(
                "\nNo change waits for {} any more. If it still runs, it may answer by its last word until {until}.",
                args.site
            ),
        })?;
    }
    Ok(End::Done)
}

fn remove(args: &RemoveArgs) -> Result<End> {
    let name = &args.site;
    prompt::confirm(&format!("Remove site {name} for good?"), args.yes)?;
    let target = Target::of(&["sites", name])
        .with("rotate", args.rotate.then_some("true"))
        .with("return_uses", args.return_uses.then_some("true"));
    let server = Server::reach(&args.common.data.data)?;
    let answer = server.ask("DELETE", &target, None)?;
    if args.common.json {
        print::print(&answer.text())?;
        return Ok(End::Done);
    }
    let removed: RemovedAnswer = answer.json()?;
    print::print(&match removed.pepper {
        None => format!("removed site {name}"),
        Some(version) => format!(
            "removed site {name}; version {version} of the pepper is in use. Keys get a digest under it when they are used at the \
             server the next time, or when they are rotated. Save it: latchkey secrets backup FILE"
        ),
    })?;
    print::print(&match &removed.may_answer_until {
        None => "it has no pack that counts, and no link, so it gives no verdict, unless it is set to stale = warn".to_owned(),
        Some(until) => format!(
            "it may go on to give verdicts until {until} at the latest, by its newest pack or its last word; a linked one stops with \
             its next question, and one with stale = warn does not stop"
        ),
    })?;
    if removed.uses_returned > 0 {
        print::print(&format!(
            "counted keys got {} back",
            counted(removed.uses_returned, "use")
        ))?;
    }
    if removed.uses_kept > 0 {
        print::print(&format!(
            "uses of counted keys that it was lent, has not reported as spent, and may have spent, which stay spent: {}. To allow more: \
             latchkey key edit ID --uses N",
            removed.uses_kept
        ))?;
    }
    Ok(End::Done)
}
