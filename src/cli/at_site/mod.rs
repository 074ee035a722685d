//! The commands of a site: enrolling, applying packs, ending keys, reporting.
//!
//! A site checks every pack itself (`ops::site`); a command only finds them.

mod apply;
mod console;
mod init;
mod stick;

use super::client::{Answer, Server, Target};
use super::failure::{End, Failure, Result};
use super::output_file::{Output, check_folder};
use super::print::{self, Common, Object};
use super::prompt;
use crate::config::{DataArgs, folder};
use crate::files::Readers;
use serde::Deserialize;
use serde_json::json;
use std::path::{Path, PathBuf};

pub use apply::{ApplyArgs, WatchArgs, apply, watch};
pub use console::{ConsoleArgs, console};
pub use init::{InitArgs, init};

#[derive(clap::Args, Clone, Debug)]
pub struct StatusArgs {
    #[command(flatten)]
    common: Common,
}

#[derive(clap::Args, Clone, Debug)]
pub struct DisableArgs {
    /// The id of the key
    key: String,
    #[command(flatten)]
    common: Common,
    /// Do not ask for confirmation
    #[arg(long)]
    yes: bool,
}

#[derive(clap::Args, Clone, Debug)]
pub struct ReportArgs {
    /// The folder for the report, which travels back to the server
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    #[command(flatten)]
    common: Common,
}

#[derive(clap::Args, Clone, Debug)]
pub struct ResetArgs {
    #[command(flatten)]
    data: DataArgs,
    /// The newest pack was made under a date that was wrong: take the next one although it was made earlier, and record the date of
    /// this machine as the time. Until then every verdict is refused
    #[arg(long, conflicts_with = "key")]
    date: bool,
    /// Trust this key, which signs the packs of the server: it was restored from a backup that is older than the key which this site
    /// trusts. GET /v1/packs/signing-keys lists it at the server
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// Do not ask for confirmation
    #[arg(long)]
    yes: bool,
}

/// What commands need of the state of a site.
#[derive(Deserialize)]
pub struct State {
    pub site: String,
    pub server: String,
    pub pack: u64,
    pub reign: u64,
    pub base: Option<u64>,
    pub loaded: bool,
    /// Of the newest pack.
    pub made: Option<String>,
    pub date_open: bool,
    /// When a pack has to be made at the earliest, after an older copy has replaced the database.
    pub needs_made: Option<String>,
    fork: String,
    link: Option<Link>,
}

/// What commands need of the link of a site.
#[derive(Deserialize)]
struct Link {
    /// The URL of the server.
    server: String,
}

#[derive(Deserialize)]
struct Disabled {
    changed: bool,
}

#[derive(Deserialize)]
struct Report {
    name: String,
    content: String,
}

fn site() -> Target {
    Target::of(&["site"])
}

/// The site of a data folder, running or not, and its state.
pub fn reach(data: &Path) -> Result<(Server, State)> {
    let (server, answer) = ask(data)?;
    let state = answer.json()?;
    Ok((server, state))
}

/// The same, with the answer that has the state.
fn ask(data: &Path) -> Result<(Server, Answer)> {
    if folder::lacks_database(data) {
        return Err(folder::no_site(data).into());
    }
    let server = Server::reach(data)?;
    let answer = server.send("GET", &site(), Vec::new())?;
    if answer.status == 404 {
        return Err(Failure::refused(format!(
            "{} is the data folder of a server, and this command is for a site; one is made with: latchkey site init FILE --data DIR",
            data.display()
        )));
    }
    let answer = answer.accepted("GET", &site())?;
    Ok((server, answer))
}

/// Refuses a command that only a server needs, before it asks for anything.
pub fn refuse_at_site(server: &Server, why: impl Fn(&str) -> String) -> Result<()> {
    let answer = server.send("GET", &site(), Vec::new())?;
    match answer.status {
        200 => Err(Failure::refused(why(&answer.json::<State>()?.server))),
        _ => Ok(()),
    }
}

/// Shows the state of the site.
pub fn status(args: &StatusArgs) -> Result<End> {
    let (_, answer) = ask(&args.common.data.data)?;
    if args.common.json {
        print::print(&answer.text())?;
        return Ok(End::Done);
    }
    let mut object: Object = answer.json()?;
    object.unfold("link");
    object.join("ended_here", &["key", "reason", "ended_at"]);
    print::print(&object.written())?;
    Ok(End::Done)
}

/// Ends a key at this site.
pub fn disable(args: &DisableArgs) -> Result<End> {
    let (server, state) = reach(&args.common.data.data)?;
    prompt::confirm(
        &format!(
            "Disable key {} at site {}? It cannot be enabled here again; {} hears of it with the next report.",
            args.key, state.site, state.server
        ),
        args.yes,
    )?;
    let target = Target::of(&["site", "keys", &args.key, "disable"]);
    let answer = server.ask("POST", &target, None)?;
    if args.common.json {
        print::print(&answer.text())?;
        return Ok(End::Done);
    }
    let disabled: Disabled = answer.json()?;
    print::print(&match disabled.changed {
        true => format!("key {} opens nothing here any more", args.key),
        false => format!("key {} had ended here already", args.key),
    })?;
    Ok(End::Done)
}

/// Writes the next report to a folder.
pub fn report(args: &ReportArgs) -> Result<End> {
    let (server, _) = reach(&args.common.data.data)?;
    // A number that is used up is not given again.
    check_folder(&args.out, Readers::OwnerIfKept)?;
    let answer = server.ask("POST", &Target::of(&["site", "reports"]), Some(&json!({})))?;
    let report: Report = answer.json()?;
    // The name is from this site; nevertheless it cannot lead out of the folder.
    let name = Path::new(&report.name).file_name();
    let name = name.ok_or_else(|| Failure::refused("the report has no name"))?;
    let path = args.out.join(name);
    let mut output = Output::create(&path, Readers::OwnerIfKept)?;
    output.write_text(&report.content)?;
    let bytes = output.put_in_place()?;
    match args.common.json {
        true => print::print(&json!({ "file": path, "bytes": bytes }).to_string())?,
        false => print::print(&format!(
            "{}: {bytes} bytes; at the server: latchkey site collect DIR",
            path.display()
        ))?,
    }
    Ok(End::Done)
}

/// Accepts that the server was restored, or that the newest pack had a wrong date.
pub fn reset(args: &ResetArgs) -> Result<End> {
    let (server, state) = reach(&args.data.data)?;
    let (name, comes) = (&state.server, state.link.is_some());
    if let Some(key) = &args.key {
        prompt::confirm(
            &format!(
                "Is {key} the key of {name}? Whoever has it makes packs that this site takes."
            ),
            args.yes,
        )?;
        let body = json!({ "key": key });
        server.ask("POST", &Target::of(&["site", "reset"]), Some(&body))?;
        print::print(&format!(
            "this site trusts the key now. What {name} signs next shows whether it was restored; then: latchkey site reset"
        ))?;
        return Ok(End::Done);
    }
    if args.date {
        prompt::confirm(
            &format!(
                "Is the date of this machine right? Then the next pack of {name} is taken although it was made before the newest one, and every \
                 verdict is refused until then."
            ),
            args.yes,
        )?;
    } else if state.fork == "seen" {
        prompt::confirm(
            &format!(
                "{name} was restored from a backup, or an older copy of its folder was put back. Take {}, whatever it is? Keys and secrets that this site knows to \
                 have ended stay ended.",
                match comes {
                    true => "what the link brings next",
                    false => "its next pack",
                }
            ),
            args.yes,
        )?;
    }
    let body = args.date.then(|| json!({ "date": true }));
    server.ask("POST", &Target::of(&["site", "reset"]), body.as_ref())?;
    print::print(&match &state.link {
        Some(link) => format!(
            "what {name} sends next is taken, and this site asks {} for it; see: latchkey site status",
            link.server
        ),
        None => format!(
            "the next pack of {name} is taken; make one there: latchkey pack make --site {} --whole --out DIR",
            state.site
        ),
    })?;
    Ok(End::Done)
}
