//! `latchkey cluster forget`.

use super::ForgetArgs;
use crate::cli::client::{Server, Target};
use crate::cli::failure::{End, Result};
use crate::cli::{print, prompt};
use serde_json::json;

pub fn run(args: &ForgetArgs) -> Result<End> {
    prompt::confirm(
        &format!(
            "What only the node {} knew to have ended can be open again. Give it up?",
            args.node
        ),
        args.yes,
    )?;
    let server = Server::reach(&args.common.data.data)?;
    let body = json!({ "node": args.node });
    let answer = server.ask("POST", &Target::of(&["cluster", "forget"]), Some(&body))?;
    match args.common.json {
        true => print::print(&answer.text())?,
        false => print::print(&format!(
            "Nobody waits for the node {} any more.",
            args.node
        ))?,
    }
    Ok(End::Done)
}
