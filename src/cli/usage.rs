//! `latchkey usage`: how often a key was used, and with which verdicts.

use crate::cli::client::{Server, Target};
use crate::cli::failure::{End, Result};
use crate::cli::print;
use crate::cli::print::{Column, Common};

#[rustfmt::skip]
const COLUMNS: &[Column] = &[
    Column { heading: "HOUR",    member: "hour" },
    Column { heading: "VERDICT", member: "code" },
    Column { heading: "COUNT",   member: "count" },
];

/// The key and the period.
#[derive(clap::Args, Clone, Debug)]
pub struct UsageArgs {
    /// The key's id
    id: String,
    /// The start, such as 2027-01-31T00:00:00Z [default: 24 hours before the end]
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// The end [default: now]
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    #[command(flatten)]
    common: Common,
}

pub fn run(args: &UsageArgs) -> Result<End> {
    let target = Target::of(&["usage"])
        .with("key", Some(&args.id))
        .with("since", args.since.as_deref())
        .with("until", args.until.as_deref());
    let items = Server::reach(&args.common.data.data)?.list(&target)?;
    print::list(&args.common, COLUMNS, &items)?;
    Ok(End::Done)
}
