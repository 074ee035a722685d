//! `latchkey pack make`: packs as files in a folder, once or again and again.

use super::codes;
use crate::cli::arguments::{Body, Span, period};
use crate::cli::client::{Server, Target};
use crate::cli::failure::{End, Failure, Result};
use crate::cli::output_file::check_folder;
use crate::cli::print;
use crate::cli::print::{Column, Common};
use crate::config::owner::as_caller;
use crate::domain::packs::site::file_name;
use crate::files::{NewFile, Readers, private};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

#[rustfmt::skip]
const COLUMNS: &[Column] = &[
    Column { heading: "SITE",     member: "site" },
    Column { heading: "FILE",     member: "file" },
    Column { heading: "BYTES",    member: "bytes" },
    Column { heading: "KEYS",     member: "keys" },
    Column { heading: "LEFT OUT", member: "left_out" },
    Column { heading: "UNTIL",    member: "until" },
];

#[derive(clap::Args, Clone, Debug)]
pub struct MakeArgs {
    /// The site; can be repeated
    #[arg(long = "site", value_name = "NAME", required_unless_present_any = ["all", "revocations"])]
    sites: Vec<String>,
    /// For every site
    #[arg(long, conflicts_with = "sites")]
    all: bool,
    /// Make whole packs, even where a difference would do
    #[arg(long)]
    whole: bool,
    /// The folder to write to; each site has a folder of its own in it
    #[arg(long, value_name = "DIR", required_unless_present = "revocations")]
    out: Option<PathBuf>,
    /// Go on, and make packs again after this time
    #[arg(long, value_parser = period, value_name = "SPAN", requires = "out")]
    every: Option<Span>,
    /// Write each file so many times, one round after the other, for a diode that loses some
    #[arg(long, value_name = "N", requires = "every", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    repeat: u32,
    /// Write keys that have ended as QR codes, in the place of packs
    #[arg(long, requires = "qr", conflicts_with_all = ["out", "whole"])]
    revocations: bool,
    /// Where the QR codes go: - for the terminal, a file whose name ends with .png or .svg, or .txt for their texts
    #[arg(long, value_name = "FILE", requires = "revocations")]
    qr: Option<PathBuf>,
    /// Only keys that have ended after this audit event [default: what the site is not known to have]
    #[arg(long, value_name = "EVENT", requires = "revocations")]
    since: Option<u64>,
    #[command(flatten)]
    common: Common,
}

#[derive(Deserialize)]
struct PacksAnswer {
    items: Vec<PackAnswer>,
}

#[derive(Deserialize)]
struct PackAnswer {
    site: String,
    pack: u64,
    base: u64,
    file: String,
    bytes: u64,
    keys: u64,
    left_out: u64,
    made_at: String,
    until: String,
    needs_base: bool,
}

/// A file that a diode gets again.
struct Sent {
    path: PathBuf,
    bytes: Vec<u8>,
    times: u32,
}

pub fn run(args: &MakeArgs) -> Result<End> {
    let server = Server::reach(&args.common.data.data)?;
    if let (true, Some(qr)) = (args.revocations, &args.qr) {
        let site = match args.sites.as_slice() {
            [] => None,
            [site] => Some(site.as_str()),
            _ => return Err(Failure::Usage("name one site".to_owned())),
        };
        return codes::run(&server, &args.common, site, args.since, qr);
    }
    let Some(out) = &args.out else {
        return Err(Failure::Usage("name a folder: --out DIR".to_owned()));
    };
    let Some(every) = args.every else {
        round(&server, args, out, &mut VecDeque::new())?;
        return Ok(End::Done);
    };
    drop(server);
    let mut waiting: VecDeque<Sent> = VecDeque::new();
    loop {
        let began = Instant::now();
        // Reached again in each round: the server may be restarted meanwhile, and a folder without one is not held.
        let done = Server::reach(&args.common.data.data)
            .and_then(|server| round(&server, args, out, &mut waiting));
        match done {
            Ok(()) => {}
            Err(Failure::Refused(why)) => {
                eprintln!("latchkey: {why}; the next try is in {} s", every.0);
            }
            Err(err) => return Err(err),
        }
        let rest = Duration::from_secs(every.0).saturating_sub(began.elapsed());
        std::thread::sleep(rest);
    }
}

/// Makes and writes packs once, and writes those again that a diode gets several times. A file that cannot be written does not stop
/// the others.
fn round(server: &Server, args: &MakeArgs, out: &Path, waiting: &mut VecDeque<Sent>) -> Result<()> {
    // A pack with a number is not made in vain. The folder may be missing, and is made when there is a pack.
    let mut folders = out.ancestors();
    let there = folders.find(|folder| as_caller(|| folder.exists()));
    check_folder(there.unwrap_or(Path::new(".")), Readers::OwnerIfKept)?;
    let made = made(server, args)?;
    let (mut files, mut failed) = (Vec::new(), None);
    for pack in &made {
        match write(server, out, pack, args.every.is_some()) {
            Ok(written) => files.extend(written),
            Err(Failure::Refused(why)) => drop(failed.get_or_insert(why)),
            Err(other) => return Err(other),
        }
    }
    report(args, &made)?;
    // A whole pack that is needed is written in every round.
    waiting.retain(|sent| files.iter().all(|(path, _)| *path != sent.path));
    for sent in waiting.iter_mut() {
        match put(&sent.path, &sent.bytes) {
            Ok(()) => sent.times -= 1,
            Err(Failure::Refused(why)) => drop(failed.get_or_insert(why)),
            Err(other) => return Err(other),
        }
    }
    waiting.retain(|sent| sent.times > 0);
    waiting.extend(files.into_iter().filter_map(|(path, bytes)| {
        let times = args.repeat - 1;
        (times > 0).then_some(Sent { path, bytes, times })
    }));
    failed.map_or(Ok(()), |why| Err(Failure::Refused(why)))
}

fn made(server: &Server, args: &MakeArgs) -> Result<Vec<PackAnswer>> {
    let body = Body::default()
        .list("sites", &args.sites)
        .flag("whole", args.whole);
    let answer = server.ask("POST", &Target::of(&["packs"]), Some(&body.value()))?;
    Ok(answer.json::<PacksAnswer>()?.items)
}

/// Writes a pack, and the whole one that it needs. Returns the files. A command that goes on removes what one before it has left
/// when it was killed.
fn write(
    server: &Server,
    out: &Path,
    pack: &PackAnswer,
    goes_on: bool,
) -> Result<Vec<(PathBuf, Vec<u8>)>> {
    let folder = out.join(&pack.site);
    let ready = as_caller(|| {
        let made = private::make_folder(&folder);
        if goes_on {
            private::sweep(&folder);
        }
        made
    });
    ready.map_err(|err| Failure::refused(format!("{} cannot be made: {err}", folder.display())))?;
    let mut numbers = vec![(pack.pack, pack.base)];
    if pack.needs_base {
        // First, so that the difference never comes without what it is applied to.
        numbers.insert(0, (pack.base, 0));
    }
    let mut files = Vec::new();
    for (number, base) in numbers {
        let target = Target::of(&["packs", &pack.site, &number.to_string()]);
        let bytes = server.get(&target)?.body;
        let path = folder.join(file_name(number, base));
        put(&path, &bytes)?;
        files.push((path, bytes));
    }
    Ok(files)
}

/// Writes a file with the rights of the caller, in the place of one that is there.
fn put(path: &Path, bytes: &[u8]) -> Result<()> {
    as_caller(|| {
        let mut new = NewFile::replacing(path, Readers::OwnerIfKept)?;
        new.content().write_all(bytes)?;
        new.replace()
    })
    .map(drop)
    .map_err(|err| Failure::refused(format!("{} cannot be written: {err}", path.display())))
}

fn report(args: &MakeArgs, made: &[PackAnswer]) -> Result<()> {
    let row = |pack: &PackAnswer| {
        json!({
            "site": pack.site, "pack": pack.pack, "base": pack.base, "file": pack.file, "bytes": pack.bytes, "keys": pack.keys,
            "left_out": pack.left_out, "made_at": pack.made_at, "until": pack.until, "needs_base": pack.needs_base,
        })
    };
    let rows: Vec<Value> = made.iter().map(row).collect();
    match args.common.json {
        true => print::print(&Value::Array(rows).to_string()),
        false => print::print(&print::table::written(COLUMNS, &rows)),
    }
}
