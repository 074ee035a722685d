//! `latchkey user authenticators`: the second factors of users.

use crate::cli::client::{Server, Target};
use crate::cli::failure::{End, Failure, Result};
use crate::cli::print;
use crate::cli::print::{Column, Common};
use crate::cli::prompt;
use crate::domain::authenticators::qr::Qr;
use serde::Deserialize;
use serde_json::json;
use std::io::{IsTerminal, stdout};

#[rustfmt::skip]
const COLUMNS: &[Column] = &[
    Column { heading: "NUMBER",      member: "number" },
    Column { heading: "KIND",        member: "kind" },
    Column { heading: "DESCRIPTION", member: "description" },
    Column { heading: "ENABLED",     member: "enabled" },
    Column { heading: "CREATED",     member: "created_at" },
];

/// How often a code is asked for on a terminal.
const TRIES: usize = 3;

#[derive(clap::Args, Clone, Debug)]
pub struct AuthenticatorsArgs {
    /// The user's name or uid
    user: String,
    /// Set up one-time codes: prints a QR code for the user's app, asks for one code, and prints recovery codes
    #[arg(long, conflicts_with_all = ["delete", "recovery_codes"])]
    add: bool,
    /// Replace the recovery codes, and print the new ones
    #[arg(long, conflicts_with = "delete")]
    recovery_codes: bool,
    /// Delete all of them; from then on the password alone signs the user in
    #[arg(long)]
    delete: bool,
    /// Do not ask for confirmation
    #[arg(long, requires = "delete")]
    yes: bool,
    #[command(flatten)]
    common: Common,
}

#[derive(Deserialize)]
struct SetupAnswer {
    secret: String,
    url: String,
    setup: String,
}

#[derive(Deserialize)]
struct CodesAnswer {
    recovery_codes: Vec<String>,
}

pub fn run(args: &AuthenticatorsArgs) -> Result<End> {
    let (common, user) = (&args.common, &args.user);
    let target = Target::of(&["users", user, "authenticators"]);
    if args.add {
        return add(common, user);
    }
    if args.recovery_codes {
        return replace_recovery_codes(common, user);
    }
    if !args.delete {
        let items = Server::reach(&common.data.data)?.list(&target)?;
        print::list(common, COLUMNS, &items)?;
        return Ok(End::Done);
    }
    let has_none = Server::reach(&common.data.data)?.list(&target)?.is_empty();
    if has_none {
        print::done(
            common,
            &format!("{user} has no one-time codes; nothing was taken away"),
        )?;
        return Ok(End::Done);
    }
    prompt::confirm(
        &format!("Take away all one-time codes and recovery codes of {user}?"),
        args.yes,
    )?;
    // Reached again, so that a folder without a server is not held while the question waits.
    Server::reach(&common.data.data)?.ask("DELETE", &target, None)?;
    print::done(
        common,
        &format!("took away all one-time codes and recovery codes of {user}"),
    )?;
    Ok(End::Done)
}

fn add(common: &Common, user: &str) -> Result<End> {
    let server = Server::reach(&common.data.data)?;
    let start = Target::of(&["users", user, "authenticators", "start"]);
    let answer = server.ask("POST", &start, None)?;
    let setup: SetupAnswer = answer.json()?;
    if common.json {
        print::print(&answer.text())?;
    } else {
        show(user, &setup)?;
    }
    let target = Target::of(&["users", user, "authenticators"]);
    let mut tries = 1;
    let answer = loop {
        let code = prompt::line("The code that the app shows")?;
        let body =
            json!({ "setup": setup.setup, "code": code, "description": "Authenticator app" });
        match server.ask("POST", &target, Some(&body)) {
            Err(Failure::Refused(why)) if tries < TRIES && prompt::is_interactive() => {
                eprintln!("{why}; try again");
                tries += 1;
            }
            other => break other?,
        }
    };
    if common.json {
        print::print(&answer.text())?;
        return Ok(End::Done);
    }
    print::print(&format!(
        "\n{user} signs in with a one-time code from now on. The user's other sessions are over."
    ))?;
    let codes: CodesAnswer = answer.json()?;
    print_codes(&codes)
}

/// Prints the QR code and the secret.
fn show(user: &str, setup: &SetupAnswer) -> Result<()> {
    print::print(&format!(
        "Scan this code with the authenticator app of {user}:\n"
    ))?;
    let qr = Qr::of(&setup.url)?;
    // A reader needs dark modules on a light ground, also on a terminal with light text on black.
    let (begin, end) = match stdout().is_terminal() {
        true => ("\u{1b}[30;107m", "\u{1b}[0m"),
        false => ("", ""),
    };
    for line in qr.half_blocks() {
        print::print(&format!("{begin}{line}{end}"))?;
    }
    let letters: Vec<char> = setup.secret.chars().collect();
    let groups: Vec<String> = letters
        .chunks(4)
        .map(|part| part.iter().collect())
        .collect();
    print::print(&format!(
        "\nOr enter the secret by hand: {}\n",
        groups.join(" ")
    ))
}

fn replace_recovery_codes(common: &Common, user: &str) -> Result<End> {
    let server = Server::reach(&common.data.data)?;
    let target = Target::of(&["users", user, "recovery-codes"]);
    let answer = server.ask("POST", &target, None)?;
    if common.json {
        print::print(&answer.text())?;
        return Ok(End::Done);
    }
    print_codes(&answer.json()?)
}

fn print_codes(answer: &CodesAnswer) -> Result<End> {
    print::print(
        "\nRecovery codes, which are shown only now. Each signs in once, in the place of a one-time code:",
    )?;
    for code in &answer.recovery_codes {
        print::print(&format!("  {code}"))?;
    }
    Ok(End::Done)
}
