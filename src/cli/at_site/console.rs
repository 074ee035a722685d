//! `latchkey site console`: lets a browser of this machine see the keys of a site.

use crate::cli::client::Target;
use crate::cli::failure::{End, Result};
use crate::cli::print::{self, Common};
use serde::Deserialize;
use serde_json::json;

#[derive(clap::Args, Clone, Debug)]
pub struct ConsoleArgs {
    #[command(flatten)]
    common: Common,
}

#[derive(Deserialize)]
struct Invited {
    url: String,
}

/// Prints the link.
pub fn console(args: &ConsoleArgs) -> Result<End> {
    let (server, _) = super::reach(&args.common.data.data)?;
    let target = Target::of(&["site", "browsers"]);
    let answer = server.ask("POST", &target, Some(&json!({})))?;
    if args.common.json {
        print::print(&answer.text())?;
        return Ok(End::Done);
    }
    let invited: Invited = answer.json()?;
    print::print(&format!(
        "{}\n\nOpen it within five minutes in a browser on this machine. It lets one browser in.",
        invited.url
    ))?;
    Ok(End::Done)
}
