//! `latchkey import`: keys that another system has issued. The file is read here, and only digests reach the server.

use super::client::{Answer, Server, Target};
use super::failure::{End, Failure, Result};
use super::print::{self, Column, Common, table};
use super::prompt;
use crate::config::owner::as_caller;
use crate::domain::keys::imported::sha256_hex;
use crate::domain::text::counted;
use crate::http::bodies::imports::{self, FILE_BYTES_MAX, ImportedKey, LeftOut, Parsed, Source};
use crate::refusals;
use crate::store::other_file;
use clap::builder::PossibleValuesParser;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{IsTerminal, Write, stderr};
use std::path::PathBuf;

/// The number of keys in one request, so that the progress is seen.
const KEYS_A_REQUEST: usize = 10_000;
/// The size of one request, which is below the limit of the server.
const REQUEST_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The table of keys in the database of better-auth.
const BETTER_AUTH_TABLE: &str = "apikey";

#[rustfmt::skip]
const GROUPS: &[Column] = &[
    Column { heading: "WORKSPACE", member: "workspace" },
    Column { heading: "POLICY",    member: "policy" },
    Column { heading: "DIGEST",    member: "scheme" },
    Column { heading: "KEYS",      member: "keys" },
];

#[rustfmt::skip]
const NOT_TAKEN: &[Column] = &[
    Column { heading: "LINE",      member: "line" },
    Column { heading: "NOT TAKEN", member: "what" },
    Column { heading: "WHY",       member: "why" },
];

#[derive(clap::Args, Clone, Debug)]
pub struct ImportArgs {
    /// The system that the file comes from
    #[arg(value_parser = words(), value_name = "SOURCE")]
    source: String,
    /// The file, or - for standard input
    file: PathBuf,
    /// The workspace of keys for which the file names none [default: the root workspace]
    #[arg(long, value_name = "SLUG")]
    workspace: Option<String>,
    /// The policy of keys for which the file names none [default: standard]
    #[arg(long, value_name = "NAME")]
    policy: Option<String>,
    /// Print what would be imported, and change nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    common: Common,
}

fn words() -> PossibleValuesParser {
    PossibleValuesParser::new(Source::ALL.map(|(_, word)| word))
}

/// The answer of the server to one request.
#[derive(Deserialize)]
struct Report {
    taken: usize,
    present: usize,
    refused: usize,
    groups: Vec<Group>,
    problems: Vec<Problem>,
}

#[derive(Deserialize)]
struct Group {
    workspace: String,
    policy: String,
    scheme: String,
    keys: usize,
}

#[derive(Deserialize)]
struct Problem {
    line: usize,
    name: String,
    reason: String,
}

/// What became of a file.
#[derive(Serialize)]
struct Outcome {
    source: String,
    file: String,
    file_sha256: String,
    dry_run: bool,
    /// The keys in the file.
    keys: usize,
    taken: usize,
    present: usize,
    /// The keys that are not taken.
    refused: usize,
    groups: Vec<Value>,
    not_taken: Vec<NotTaken>,
}

/// A key that is not taken, or a property of a key that is.
#[derive(Serialize)]
struct NotTaken {
    line: usize,
    what: String,
    why: String,
    /// Otherwise the key is taken without the property.
    whole_key: bool,
}

/// Requests, and the number of keys in each.
type Requests = Vec<(usize, Vec<u8>)>;

pub fn run(args: &ImportArgs) -> Result<End> {
    let file = args.file.display().to_string();
    let bytes = prompt::bytes(&args.file)?;
    if bytes.len() > FILE_BYTES_MAX {
        return Err(Failure::refused(format!(
            "{file} has more than {} MiB; split it, and import the parts one after the other",
            FILE_BYTES_MAX >> 20
        )));
    }
    let file_sha256 = sha256_hex(&bytes);
    let Parsed { keys, left_out } = parse(args, &bytes)
        .map_err(|why| Failure::refused(format!("{file}: {why}; nothing was imported")))?;
    drop(bytes);
    let dropped = left_out.iter().filter(|it| it.drops_key).count();
    let mut outcome = Outcome {
        source: args.source.clone(),
        file,
        file_sha256,
        dry_run: args.dry_run,
        keys: keys.len() + dropped,
        taken: 0,
        present: 0,
        refused: dropped,
        groups: Vec::new(),
        not_taken: left_out.into_iter().map(NotTaken::of).collect(),
    };
    send(args, &keys, &mut outcome)?;
    outcome.not_taken.sort_by_key(|it| it.line);
    match args.common.json {
        true => print::print(&serde_json::to_string(&outcome).unwrap_or_default())?,
        false => outcome.print()?,
    }
    Ok(match outcome.refused {
        0 => End::Done,
        _ => End::Found,
    })
}

/// Reads the file. The database of better-auth is read where it is, together with the file of its newest changes.
fn parse(args: &ImportArgs, bytes: &[u8]) -> crate::error::Result<Parsed> {
    let source = Source::parse(&args.source).unwrap_or(Source::Jsonl);
    if source != Source::BetterAuth || !other_file::is_sqlite(bytes) {
        return imports::parse(source, bytes);
    }
    let rows = || other_file::rows(&args.file, BETTER_AUTH_TABLE, FILE_BYTES_MAX);
    imports::parse(source, as_caller(rows)?.as_bytes())
}

/// Sends the keys. If they need several requests, all of them are checked before the first one is carried out.
fn send(args: &ImportArgs, keys: &[ImportedKey], outcome: &mut Outcome) -> Result<()> {
    let requests = requests(keys);
    let Some((_, first)) = requests.first() else {
        return Ok(());
    };
    let server = Server::reach(&args.common.data.data)?;
    let unknown = refusals::workspaces::unknown().to_string();
    let ask = |body: &[u8], dry_run: bool| -> Result<Answer> {
        let target = Target::of(&["keys", "import"])
            .with("source", Some(&args.source))
            .with("file_sha256", Some(&outcome.file_sha256))
            .with("dry_run", dry_run.then_some("true"))
            .with("workspace", args.workspace.as_deref())
            .with("policy", args.policy.as_deref());
        let answer = server.send("POST", &target, body.to_vec())?;
        answer.accepted("POST", &target).map_err(|failure| match (failure, &args.workspace) {
            (Failure::Refused(why), Some(workspace)) if why.contains(&unknown) => Failure::refused(format!(
                "{why}; list them with latchkey workspace list, or create it: latchkey workspace create {workspace}"
            )),
            (failure, _) => failure,
        })
    };
    let mut reports = Vec::with_capacity(requests.len());
    if let [_] = requests.as_slice() {
        reports.push(ask(first, args.dry_run)?.json::<Report>()?);
    } else {
        let mut progress = Progress::new("checked", keys.len());
        for (count, body) in &requests {
            reports.push(ask(body, true)?.json()?);
            progress.add(*count);
        }
        drop(progress);
        if !args.dry_run {
            reports.clear();
            let mut progress = Progress::new("imported", keys.len());
            for (count, body) in &requests {
                let answer =
                    ask(body, false).map_err(|failure| interrupted(failure, progress.done));
                reports.push(answer?.json()?);
                progress.add(*count);
            }
        }
    }
    outcome.add(reports);
    Ok(())
}

fn interrupted(failure: Failure, done: usize) -> Failure {
    match failure {
        Failure::Refused(why) => Failure::refused(format!(
            "{why}; keys of the file that were dealt with before: {done}. The same command goes on from there"
        )),
        usage => usage,
    }
}

fn requests(keys: &[ImportedKey]) -> Requests {
    let mut requests: Requests = Vec::new();
    for key in keys {
        let line = key.to_line() + "\n";
        match requests.last_mut() {
            Some((count, body))
                if *count < KEYS_A_REQUEST && body.len() + line.len() <= REQUEST_BYTES_MAX =>
            {
                *count += 1;
                body.extend(line.as_bytes());
            }
            _ => requests.push((1, line.into_bytes())),
        }
    }
    requests
}

impl NotTaken {
    fn of(left_out: LeftOut) -> NotTaken {
        NotTaken {
            line: left_out.line,
            what: left_out.what,
            why: left_out.why.to_string(),
            whole_key: left_out.drops_key,
        }
    }
}

impl Outcome {
    fn add(&mut self, reports: Vec<Report>) {
        let mut groups: BTreeMap<(String, String, String), usize> = BTreeMap::new();
        for report in reports {
            self.taken += report.taken;
            self.present += report.present;
            self.refused += report.refused;
            for it in report.groups {
                let group = (it.workspace, it.policy, it.scheme);
                *groups.entry(group).or_default() += it.keys;
            }
            let problem = |it: Problem| NotTaken {
                line: it.line,
                what: it.name,
                why: it.reason,
                whole_key: true,
            };
            self.not_taken
                .extend(report.problems.into_iter().map(problem));
        }
        let group = |((workspace, policy, scheme), keys)| json!({ "workspace": workspace, "policy": policy, "scheme": scheme, "keys": keys });
        self.groups = groups.into_iter().map(group).collect();
    }

    fn print(&self) -> Result<()> {
        if !self.groups.is_empty() {
            print::print(&table::written(GROUPS, &self.groups))?;
            print::print("")?;
        }
        if !self.not_taken.is_empty() {
            let row = |it: &NotTaken| json!({ "line": it.line, "what": it.what, "why": it.why });
            let rows: Vec<Value> = self.not_taken.iter().map(row).collect();
            print::print(&table::written(NOT_TAKEN, &rows))?;
            let listed = self.not_taken.iter().filter(|it| it.whole_key).count();
            if listed < self.refused {
                let more = self.refused - listed;
                print::print(&format!(
                    "and {} more not taken",
                    counted(more as u64, "key")
                ))?;
            }
            print::print("")?;
        }
        let verb = match self.dry_run {
            true => "would be imported",
            false => "imported",
        };
        print::print(&format!(
            "{} {verb}, {} there already, {} not taken",
            counted(self.taken as u64, "key"),
            self.present,
            self.refused
        ))?;
        print::print(&format!(
            "{}: SHA-256 {}",
            table::harmless(&self.file),
            self.file_sha256
        ))
    }
}

/// A line on the terminal that counts.
struct Progress {
    verb: &'static str,
    done: usize,
    all: usize,
    is_shown: bool,
}

impl Progress {
    fn new(verb: &'static str, all: usize) -> Progress {
        let progress = Progress {
            verb,
            done: 0,
            all,
            is_shown: stderr().is_terminal(),
        };
        progress.show();
        progress
    }

    fn add(&mut self, count: usize) {
        self.done += count;
        self.show();
    }

    fn show(&self) {
        if self.is_shown {
            let _ = write!(
                stderr(),
                "\r{} of {} {}",
                self.done,
                counted(self.all as u64, "key"),
                self.verb
            );
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.is_shown {
            let _ = writeln!(stderr());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(line: usize, description: usize) -> ImportedKey {
        ImportedKey {
            line,
            name: "a".to_owned(),
            digest: "sha256:0".to_owned(),
            description: Some("x".repeat(description)),
            ..ImportedKey::default()
        }
    }

    #[test]
    fn a_request_has_so_many_keys_and_bytes_and_no_more() {
        let counts = |keys: &[ImportedKey]| -> Vec<usize> {
            requests(keys).iter().map(|(count, _)| *count).collect()
        };
        assert!(counts(&[]).is_empty());
        let small: Vec<ImportedKey> = (0..KEYS_A_REQUEST + 1).map(|line| key(line, 0)).collect();
        assert_eq!(counts(&small), [KEYS_A_REQUEST, 1]);
        let large = [9, 8, 1].map(|mib| key(1, mib << 20));
        assert_eq!(counts(&large), [1, 2]);
        let lines = requests(&small[..2])[0].1.clone();
        assert_eq!(lines.iter().filter(|byte| **byte == b'\n').count(), 2);
    }
}
