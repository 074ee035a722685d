//! `latchkey audit`: reads, exports, prunes and verifies the audit log.

use crate::cli::client::{Server, Target};
use crate::cli::failure::{End, Failure, Result};
use crate::cli::print;
use crate::cli::print::{Column, Common};
use crate::domain::text::counted;
use clap::{Subcommand, ValueEnum};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

#[rustfmt::skip]
const COLUMNS: &[Column] = &[
    Column { heading: "SEQ",     member: "seq" },
    Column { heading: "AT",      member: "at" },
    Column { heading: "ACTOR",   member: "actor" },
    Column { heading: "ACTION",  member: "action" },
    Column { heading: "KIND",    member: "target_kind" },
    Column { heading: "TARGET",  member: "target_id" },
    Column { heading: "OUTCOME", member: "outcome" },
    Column { heading: "SOURCE",  member: "source" },
];

/// The default number of events in a list.
const EVENTS_SHOWN: u64 = 100;
/// The maximum page length of the server.
const PAGE_MAX: u64 = 500;

/// Read, export and verify the audit log.
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// List events, the newest first
    #[command(
        after_help = "Examples:\n  latchkey audit list\n  latchkey audit list --actor user:alice --since 2027-01-01T00:00:00Z\n  \
                      latchkey audit list --target k3J9aQ0xZb --limit 1000 --json"
    )]
    List(ListArgs),
    /// Write all events to standard output as JSON lines or CSV
    #[command(
        after_help = "Examples:\n  latchkey audit export --format jsonl > audit.jsonl\n  \
                      latchkey audit export --format csv --since 2027-01-01T00:00:00Z --until 2027-02-01T00:00:00Z > january.csv"
    )]
    Export(ExportArgs),
    /// Verify the hash chain of the log; exits 1 and names the first bad row if it was tampered with
    #[command(
        after_help = "Examples:\n  latchkey audit verify\n  latchkey audit verify --json --data /var/lib/latchkey"
    )]
    Verify(Common),
    /// Remove the oldest events from the log permanently; the rest stays verifiable, and the removal is an event itself
    #[command(
        after_help = "Examples:\n  latchkey audit export > audit-2026.jsonl && latchkey audit prune --before 2027-01-01T00:00:00Z\n  \
                      latchkey audit prune --keep 100000\n\n\
                      Run on the server's machine, this may cut everything. Over the network the events of the last \
                      --audit-keep-min days stay. latchkey serve --audit-keep-days and --audit-keep-events do this automatically."
    )]
    Prune(PruneArgs),
}

#[derive(clap::Args, Clone, Debug)]
pub struct PruneArgs {
    #[command(flatten)]
    cut: CutArgs,
    #[command(flatten)]
    common: Common,
}

/// How many events to remove: exactly one of the two options.
#[derive(clap::Args, Clone, Debug)]
#[group(required = true, multiple = false)]
struct CutArgs {
    /// All events before this time, such as 2027-01-01T00:00:00Z
    #[arg(long, value_name = "TIME")]
    before: Option<String>,
    /// All but this many of the newest events
    #[arg(long, value_name = "N")]
    keep: Option<u64>,
}

/// A filter of events.
#[derive(clap::Args, Clone, Debug)]
pub struct EventFilter {
    /// The actor: key:ID, user:NAME, local:UID or system
    #[arg(long, value_name = "ACTOR")]
    actor: Option<String>,
    /// The action, such as key.issue
    #[arg(long, value_name = "ACTION")]
    action: Option<String>,
    /// The target: a key's id, a uid or a name
    #[arg(long, value_name = "ID")]
    target: Option<String>,
    /// The start, such as 2027-01-31T00:00:00Z
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// The end
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
}

#[derive(clap::Args, Clone, Debug)]
pub struct ListArgs {
    #[command(flatten)]
    which: EventFilter,
    /// The maximum number of events
    #[arg(long, value_name = "N", default_value_t = EVENTS_SHOWN, value_parser = clap::value_parser!(u64).range(1..))]
    limit: u64,
    #[command(flatten)]
    common: Common,
}

#[derive(clap::Args, Clone, Debug)]
pub struct ExportArgs {
    #[arg(long, value_enum, default_value_t = Format::Jsonl)]
    format: Format,
    #[command(flatten)]
    which: EventFilter,
    #[command(flatten)]
    data: crate::config::DataArgs,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Format {
    Csv,
    Jsonl,
}

#[derive(Deserialize)]
struct Page {
    items: Vec<Box<RawValue>>,
    next_cursor: Option<String>,
}

#[derive(Deserialize)]
struct Pruned {
    count: u64,
    first_seq: Option<u64>,
}

#[derive(Deserialize)]
struct Chain {
    intact: bool,
    events: Option<u64>,
    first_bad: Option<String>,
}

pub fn run(command: &AuditCommand) -> Result<End> {
    match command {
        AuditCommand::List(args) => list(args),
        AuditCommand::Export(args) => export(args),
        AuditCommand::Prune(args) => prune(args),
        AuditCommand::Verify(common) => verify(common),
    }
}

impl EventFilter {
    fn target(&self) -> Target {
        Target::of(&["audit-events"])
            .with("actor", self.actor.as_deref())
            .with("action", self.action.as_deref())
            .with("target", self.target.as_deref())
            .with("since", self.since.as_deref())
            .with("until", self.until.as_deref())
    }
}

fn list(args: &ListArgs) -> Result<End> {
    let server = Server::reach(&args.common.data.data)?;
    let mut items: Vec<Box<RawValue>> = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let missing = args.limit - items.len() as u64;
        let target = args
            .which
            .target()
            .with_number("limit", Some(missing.min(PAGE_MAX)))
            .with("cursor", cursor.as_deref());
        let page: Page = server.get(&target)?.json()?;
        items.extend(page.items);
        match page.next_cursor {
            Some(next) if (items.len() as u64) < args.limit => cursor = Some(next),
            _ => break,
        }
    }
    print::list(&args.common, COLUMNS, &items)?;
    Ok(End::Done)
}

/// Exports page by page and prints each page immediately, so that memory holds only one page.
fn export(args: &ExportArgs) -> Result<End> {
    let format = match args.format {
        Format::Csv => "csv",
        Format::Jsonl => "jsonl",
    };
    let server = Server::reach(&args.data.data)?;
    let mut next = Some(args.which.target().with("format", Some(format)));
    while let Some(target) = next {
        let page = server.get(&target)?;
        print::print_bytes(&page.body)?;
        next = page.next();
    }
    Ok(End::Done)
}

fn prune(args: &PruneArgs) -> Result<End> {
    let server = Server::reach(&args.common.data.data)?;
    let body = match (&args.cut.before, args.cut.keep) {
        (Some(time), _) => json!({ "before": time }),
        (None, keep) => json!({ "keep": keep }),
    };
    let target = Target::of(&["audit-events", "prune"]);
    let answer = server.ask("POST", &target, Some(&body))?;
    let cut: Pruned = answer.json()?;
    if args.common.json {
        print::print(&answer.text())?;
    }
    let sentence = match cut.first_seq {
        None => "there was nothing to cut".to_owned(),
        Some(first) => format!(
            "removed {}; the log begins with event {first}",
            counted(cut.count, "event")
        ),
    };
    print::done(&args.common, &sentence)?;
    Ok(End::Done)
}

fn verify(common: &Common) -> Result<End> {
    let server = Server::reach(&common.data.data)?;
    let answer = server.get(&Target::of(&["audit-events", "chain"]))?;
    let chain: Chain = answer.json()?;
    if common.json {
        print::print(&answer.text())?;
    }
    match (chain.intact, chain.first_bad) {
        (true, _) => {
            let events = counted(chain.events.unwrap_or(0), "event");
            print::done(common, &format!("the audit log is intact: {events}"))?;
            Ok(End::Done)
        }
        (false, _) if common.json => Ok(End::Found),
        (false, first_bad) => Err(Failure::refused(format!(
            "the audit log was tampered with: {}",
            first_bad.unwrap_or_default()
        ))),
    }
}
