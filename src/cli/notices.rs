//! `latchkey notices`: what an administrator should hear of, and whether the sinks work.

use crate::cli::client::{Server, Target};
use crate::cli::failure::{End, Failure, Result};
use crate::cli::print;
use crate::cli::print::{Column, Common};
use serde::Deserialize;
use serde_json::json;

#[rustfmt::skip]
const COLUMNS: &[Column] = &[
    Column { heading: "LAST",    member: "last_at" },
    Column { heading: "KIND",    member: "kind" },
    Column { heading: "ABOUT",   member: "subject_kind" },
    Column { heading: "ID",      member: "subject_id" },
    Column { heading: "COUNT",   member: "count" },
    Column { heading: "DATA",    member: "data" },
];

#[rustfmt::skip]
const SINK_COLUMNS: &[Column] = &[
    Column { heading: "SINK",            member: "name" },
    Column { heading: "AUDIT",           member: "audit" },
    Column { heading: "NOTICES PENDING", member: "notices_pending" },
    Column { heading: "AUDIT PENDING",   member: "audit_pending" },
    Column { heading: "FAILURES",        member: "failures" },
    Column { heading: "FAILED",          member: "failed_at" },
    Column { heading: "REASON",          member: "reason" },
];

#[derive(clap::Subcommand, Clone, Debug)]
pub enum NoticesCommand {
    /// List notices, the newest first
    #[command(
        after_help = "Examples:\n  latchkey notices list\n  latchkey notices list --kind key.expiring --json --data /var/lib/latchkey"
    )]
    List(ListArgs),
    /// List the sinks of the running server: what waits, and what failed last
    #[command(after_help = "Examples:\n  latchkey notices sinks\n  latchkey notices sinks --json")]
    Sinks(SinksArgs),
    /// Send a test notice through a sink of the running server, and say what happened; exits 1 if it failed
    #[command(
        after_help = "Examples:\n  latchkey notices test webhook\n  latchkey notices test syslog --data /var/lib/latchkey"
    )]
    Test(TestArgs),
}

#[derive(clap::Args, Clone, Debug)]
pub struct ListArgs {
    /// Only notices of this kind, such as key.expiring
    #[arg(long, value_name = "KIND")]
    kind: Option<String>,
    #[command(flatten)]
    common: Common,
}

#[derive(clap::Args, Clone, Debug)]
pub struct SinksArgs {
    #[command(flatten)]
    common: Common,
}

#[derive(clap::Args, Clone, Debug)]
pub struct TestArgs {
    /// file, syslog or webhook
    sink: String,
    #[command(flatten)]
    common: Common,
}

/// The outcome of a test.
#[derive(Deserialize)]
struct Tested {
    delivered: bool,
    reason: Option<String>,
}

pub fn run(command: &NoticesCommand) -> Result<End> {
    match command {
        NoticesCommand::List(args) => {
            let target = Target::of(&["notices"]).with("kind", args.kind.as_deref());
            let items = Server::reach(&args.common.data.data)?.list_pages(&target)?;
            print::list(&args.common, COLUMNS, &items)?;
        }
        NoticesCommand::Sinks(args) => {
            let target = Target::of(&["notices", "sinks"]);
            let items = Server::reach(&args.common.data.data)?.list(&target)?;
            print::list(&args.common, SINK_COLUMNS, &items)?;
        }
        NoticesCommand::Test(args) => return test(args),
    }
    Ok(End::Done)
}

fn test(args: &TestArgs) -> Result<End> {
    let server = Server::reach(&args.common.data.data)?;
    let target = Target::of(&["notices", "test"]);
    let body = json!({ "sink": args.sink });
    let answer = server.ask("POST", &target, Some(&body))?;
    let tested: Tested = answer.json()?;
    match tested.delivered {
        true => print::print(&format!("the sink {} has taken a test notice", args.sink))?,
        false => {
            let why = tested.reason.unwrap_or_default();
            return Err(Failure::refused(format!(
                "the sink {} failed: {why}",
                args.sink
            )));
        }
    }
    Ok(End::Done)
}
