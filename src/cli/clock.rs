//! `latchkey clock`: the current time of the server, and the correction of a wrong recorded time.

use crate::cli::client::{Answer, Server, Target};
use crate::cli::failure::{End, Result};
use crate::cli::print;
use crate::cli::print::Common;
use crate::cli::print::table::harmless;
use crate::cli::prompt;
use serde::Deserialize;
use serde_json::json;

#[derive(clap::Args, Clone, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub struct ClockArgs {
    #[command(subcommand)]
    command: Option<ClockCommand>,
    #[command(flatten)]
    common: Common,
}

#[derive(clap::Subcommand, Clone, Debug)]
pub enum ClockCommand {
    /// Confirm that this machine's date is right: the recorded time is set to the date, whether that is later or
    /// earlier
    ///
    /// If the recorded time was too late, keys that had expired by it but not by the right date are disabled, keys that
    /// were issued meanwhile keep their lifetime and expire earlier, and sessions that began meanwhile end. The command
    /// lists all of this first. Only the administrator of the machine can do this, and it is recorded in the audit log.
    #[command(
        after_help = "Examples:\n  latchkey clock accept --dry-run\n  latchkey clock accept --yes --data /var/lib/latchkey --json"
    )]
    Accept(AcceptArgs),
}

#[derive(clap::Args, Clone, Debug)]
pub struct AcceptArgs {
    #[command(flatten)]
    common: Common,
    /// Only list what would be done
    #[arg(long)]
    dry_run: bool,
    /// Accept a date before the release of this version, or more than five years after it
    #[arg(long)]
    implausible: bool,
    /// Do not ask for confirmation
    #[arg(long)]
    yes: bool,
}

/// What was done, or would be done.
#[derive(Deserialize)]
struct CorrectionAnswer {
    changed: bool,
    before: Clock,
    keys_disabled_count: usize,
    keys_disabled: Vec<Key>,
    keys_issued_count: usize,
    keys_issued: Vec<Key>,
    keys_beginning_later_count: usize,
    keys_beginning_later: Vec<Key>,
    graces_ended: usize,
    sessions_ended: u64,
    codes_reset: u64,
}

#[derive(Deserialize)]
struct Clock {
    state: String,
    wall: String,
    mark: String,
    settled: bool,
}

#[derive(Deserialize)]
struct Key {
    id: String,
    name: String,
    not_before: Option<String>,
    expires_at: Option<String>,
    ends_at: Option<String>,
}

pub fn run(args: &ClockArgs) -> Result<End> {
    match &args.command {
        Some(ClockCommand::Accept(accepting)) => accept(accepting),
        None => {
            let server = Server::reach(&args.common.data.data)?;
            print::one(&args.common, &server.get(&Target::of(&["clock"]))?)?;
            Ok(End::Done)
        }
    }
}

fn accept(args: &AcceptArgs) -> Result<End> {
    let server = Server::reach(&args.common.data.data)?;
    let ask = |dry_run: bool| -> Result<(Answer, CorrectionAnswer)> {
        let body = json!({ "dry_run": dry_run, "implausible": args.implausible });
        let answer = server.ask("POST", &Target::of(&["clock", "accept"]), Some(&body))?;
        let accepted = answer.json()?;
        Ok((answer, accepted))
    };
    let (answer, planned) = ask(true)?;
    if args.dry_run || !planned.is_needed() {
        return told(args, &answer, &planned, "would be");
    }
    if !args.yes {
        eprintln!("{}", planned.lines("will be").join("\n"));
    }
    prompt::confirm(
        &format!(
            "Record {} as the time in the place of {}?",
            planned.before.wall, planned.before.mark
        ),
        args.yes,
    )?;
    let (answer, accepted) = ask(false)?;
    told(args, &answer, &accepted, "were")
}

fn told(
    args: &AcceptArgs,
    answer: &Answer,
    accepted: &CorrectionAnswer,
    done: &str,
) -> Result<End> {
    if args.common.json {
        print::print(&answer.text())?;
        return Ok(End::Done);
    }
    let mut lines = vec![match (accepted.changed, accepted.is_needed()) {
        (true, _) => format!(
            "Accepted: the recorded time was {}, and goes on from {} now.",
            accepted.before.mark, accepted.before.wall
        ),
        (false, true) => format!(
            "Nothing was changed. The recorded time is {}, and would go on from {}.",
            accepted.before.mark, accepted.before.wall
        ),
        (false, false) => format!(
            "The clock is in step: it is {}. There is nothing to accept.",
            accepted.before.wall
        ),
    }];
    lines.extend(accepted.lines(done));
    print::print(&lines.join("\n"))?;
    Ok(End::Done)
}

impl CorrectionAnswer {
    /// Whether the correction would change anything.
    fn is_needed(&self) -> bool {
        let moves = self.keys_issued.iter().any(|key| key.ends_at.is_some());
        self.before.state != "in_step"
            || !self.before.settled
            || moves
            || self.keys_disabled_count + self.graces_ended > 0
            || self.sessions_ended + self.codes_reset > 0
    }

    /// The effects of the correction, one on each line.
    fn lines(&self, done: &str) -> Vec<String> {
        let mut lines = Vec::new();
        let mut list = |count: usize, keys: &[Key], what: String, of: &dyn Fn(&Key) -> String| {
            if count > 0 {
                lines.push(format!("{what} ({count}):"));
                lines.extend(
                    keys.iter()
                        .map(|key| format!("  {}  {}  {}", key.id, harmless(&key.name), of(key))),
                );
                if count > keys.len() {
                    lines.push("  …; the audit log names all of them".to_owned());
                }
            }
        };
        let end = |key: &Key| {
            key.expires_at
                .clone()
                .unwrap_or_else(|| "no end".to_owned())
        };
        list(
            self.keys_disabled_count,
            &self.keys_disabled,
            format!(
                "Keys that had ended by the recorded time and not by this date {done} disabled; to have one go on: latchkey key enable ID"
            ),
            &|key| format!("ended at {}", end(key)),
        );
        list(
            self.keys_issued_count,
            &self.keys_issued,
            "Keys that were issued, or given an end, at a time that has not come yet; those with an end end earlier".to_owned(),
            &|key| match &key.ends_at {
                Some(ends_at) => format!("{} → {ends_at}", end(key)),
                None => end(key),
            },
        );
        list(
            self.keys_beginning_later_count,
            &self.keys_beginning_later,
            "Keys that had begun by the recorded time and begin later by this date".to_owned(),
            &|key| {
                format!(
                    "begins at {}",
                    key.not_before.as_deref().unwrap_or_default()
                )
            },
        );
        for (count, what) in [
            (
                self.graces_ended as u64,
                "grace periods of rotations ended or shortened",
            ),
            (self.sessions_ended, "sessions and refresh tokens ended"),
            (self.codes_reset, "second factors whose codes count again"),
        ] {
            if count > 0 {
                lines.push(format!("{what}: {count}"));
            }
        }
        lines
    }
}
