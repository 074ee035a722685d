//! `latchkey scan`: finds secrets in files by their shape and checksum, and looks up the keys to which they belong.
//!
//! It never prints a secret, only the id and the end of the checksum.

mod encodings;
mod git;
mod gzip;
mod known;
mod packed;
mod reader;
mod walk;

use super::failure::{End, Failure, Result};
use super::print;
use super::print::table::harmless;
use super::print::{Column, Common, print};
use crate::domain::text::counted;
use encodings::Encoding;
use known::{KnownFinding, Store};
use reader::{Finding, ScanResult};
use serde::Serialize;
use serde_json::json;
use serde_json::value::to_raw_value;
use std::path::PathBuf;

#[rustfmt::skip]
const COLUMNS: &[Column] = &[
    Column { heading: "WHERE",     member: "where" },
    Column { heading: "ENCODED",   member: "encoding" },
    Column { heading: "HINT",      member: "hint" },
    Column { heading: "KNOWN AS",  member: "meaning" },
    Column { heading: "NAME",      member: "key.name" },
    Column { heading: "WORKSPACE", member: "key.workspace" },
    Column { heading: "STATE",     member: "key.state" },
];

/// Where to look.
#[derive(clap::Args, Clone, Debug)]
pub struct ScanArgs {
    /// Files and folders; - is standard input
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Look into every file, also those that git ignores, and run no git
    #[arg(long, visible_alias = "all")]
    no_ignore: bool,
    /// Report each secret of a key to the store, which records it and does what the policy of the key demands
    #[arg(long)]
    report: bool,
    #[command(flatten)]
    common: Common,
}

/// One finding in the output.
#[derive(Serialize)]
struct FindingBody<'a> {
    path: &'a str,
    /// For a gzip file, the line and the offset are those in the unpacked text.
    line: u64,
    offset: u64,
    /// The encodings, outermost first, such as `gzip base64`; null if there are none.
    encoding: Option<String>,
    hint: &'a str,
    id: String,
    /// `secret`, `id` or `nothing`; null if there is no store.
    known: Option<&'static str>,
    key: Option<&'a known::Key>,
}

/// One finding in the table.
#[derive(Serialize)]
struct FindingRow<'a> {
    r#where: String,
    encoding: String,
    hint: &'a str,
    meaning: &'static str,
    key: Option<&'a known::Key>,
}

pub fn run(args: &ScanArgs) -> Result<End> {
    let scanned = reader::scan(&args.paths, args.no_ignore);
    let store = known::ask(&args.common.data.data, &scanned.findings);
    show(args, &scanned.findings, &store)?;
    if args.report {
        let reported = known::report(&args.common.data.data, &scanned.findings, &store)?;
        let were = if reported == 1 { "was" } else { "were" };
        eprintln!("{} {were} reported", counted(reported as u64, "text"));
    }
    for trouble in scanned.unlisted.iter().chain(&scanned.troubles) {
        eprintln!("latchkey: {}", harmless(trouble));
    }
    tell_unread(args, &scanned);
    eprintln!(
        "{} in {}{}",
        counted(scanned.findings.len() as u64, "secret"),
        counted(scanned.files, "file"),
        match scanned.unread.len() {
            0 => String::new(),
            unread => format!(
                "; {} not looked into, or not wholly",
                counted(unread as u64, "file")
            ),
        }
    );
    if !scanned.troubles.is_empty() {
        return Err(Failure::refused("not everything could be looked at"));
    }
    Ok(if scanned.findings.is_empty() {
        End::Done
    } else {
        End::Found
    })
}

/// Lists the files that may contain secrets but were not searched. The list goes to standard error, for scripts as one
/// line of JSON, because standard output contains only findings.
fn tell_unread(args: &ScanArgs, scanned: &ScanResult) {
    if args.common.json {
        if !scanned.unread.is_empty() {
            eprintln!("{}", json!({ "not_looked_into": scanned.unread }));
        }
        return;
    }
    for file in &scanned.unread {
        eprintln!("not looked into: {}: {}", harmless(&file.path), file.why);
    }
}

/// The encodings of a finding, outermost first.
fn words(encodings: &[Encoding]) -> String {
    let words: Vec<&str> = encodings.iter().map(|it| it.word()).collect();
    words.join(" ")
}

fn show(args: &ScanArgs, findings: &[Finding], store: &Store) -> Result<()> {
    if args.common.json {
        let bodies: Vec<FindingBody<'_>> = findings
            .iter()
            .map(|finding| {
                let known = store.known(finding);
                FindingBody {
                    path: &finding.path,
                    line: finding.line,
                    offset: finding.offset,
                    encoding: (!finding.encodings.is_empty()).then(|| words(&finding.encodings)),
                    hint: &finding.hint,
                    id: finding.id.to_string(),
                    known: known.map(KnownFinding::word),
                    key: known.and_then(KnownFinding::key),
                }
            })
            .collect();
        return print(&serde_json::to_string(&bodies).unwrap_or_default());
    }
    let row = |finding: &Finding| {
        let known = store.known(finding);
        to_raw_value(&FindingRow {
            r#where: format!("{}:{}", finding.path, finding.line),
            encoding: words(&finding.encodings),
            hint: &finding.hint,
            meaning: known.map_or("", KnownFinding::meaning),
            key: known.and_then(KnownFinding::key),
        })
    };
    let rows = findings
        .iter()
        .map(row)
        .collect::<serde_json::Result<Vec<_>>>()
        .map_err(|err| Failure::refused(err.to_string()))?;
    if rows.is_empty() {
        return Ok(());
    }
    print::list(&args.common, COLUMNS, &rows)
}
