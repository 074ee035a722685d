//! `latchkey pack apply` and `latchkey pack watch`: bringing packs into force at a site, whether it runs or not.

use super::stick::{self, Found, Stick};
use super::{State, reach};
use crate::cli::arguments::{Span, period};
use crate::cli::client::{Server, Target};
use crate::cli::failure::{End, Failure, Result};
use crate::cli::print;
use crate::cli::print::Common;
use crate::cli::print::table::harmless;
use crate::cli::prompt;
use crate::config::owner::as_caller;
use crate::domain::packs::revocations;
use crate::domain::text::counted;
use serde::Deserialize;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

#[derive(clap::Args, Clone, Debug)]
pub struct ApplyArgs {
    /// Packs, or folders with packs; the newest good one counts
    #[arg(required_unless_present = "qr_text", value_name = "FILE|DIR")]
    paths: Vec<PathBuf>,
    /// The text of a QR code that revokes keys, or a file with such texts, one on each line, in any order; `-` reads standard input
    #[arg(long, value_name = "TEXT|FILE", conflicts_with = "paths")]
    qr_text: Option<String>,
    #[command(flatten)]
    common: Common,
}

#[derive(clap::Args, Clone, Debug)]
pub struct WatchArgs {
    /// The folder in which packs arrive, and its folder with the name of the site
    folder: PathBuf,
    #[command(flatten)]
    common: Common,
    /// How often the folder is looked at
    #[arg(long, default_value = "5s", value_parser = period, value_name = "SPAN")]
    every: Span,
}

#[derive(Deserialize)]
struct Applied {
    pack: u64,
    keys: u64,
    added: u64,
    changed: u64,
    ended: u64,
    until: String,
}

#[derive(Deserialize)]
struct Revoked {
    listed: usize,
    ended: usize,
    superseded: bool,
    part: u64,
    parts: u64,
}

impl Revoked {
    fn told(&self) -> String {
        let Revoked {
            listed,
            ended,
            part,
            parts,
            ..
        } = self;
        match self.superseded {
            true => format!(
                "code {part} of {parts}: keys and secrets in it: {listed}; what this site has is as new as the code, so nothing was changed"
            ),
            false => format!(
                "code {part} of {parts}: keys and secrets in it: {listed}, of which {ended} could still be used here; they open nothing \
                 any more"
            ),
        }
    }
}

/// Applies the newest good pack of files and folders.
pub fn apply(args: &ApplyArgs) -> Result<End> {
    let (server, state) = reach(&args.common.data.data)?;
    if let Some(text) = &args.qr_text {
        return revoke(&server, &args.common, text);
    }
    let stick = stick::look(&args.paths, &state.site)?;
    let mut bad = stick.bad.clone();
    let is_applied = try_all(&server, &args.common, &state, &stick, &mut bad)?;
    for (path, why) in &bad {
        eprintln!("latchkey: {}: {}", shown(path), harmless(why));
    }
    match (is_applied, bad.is_empty()) {
        (true, true) => Ok(End::Done),
        (false, true) => {
            // Only packs for others: the wrong folder was named, or there are none.
            let is_own =
                |found: &Found| found.head.site == state.site && found.head.origin == state.server;
            if !stick.packs.iter().any(is_own) {
                return Err(Failure::refused(of_others(&stick.packs, &state)));
            }
            let nothing = format!(
                "nothing is newer than pack {}, which was applied already",
                state.pack
            );
            if let Some(made) = &state.needs_made {
                return Err(Failure::refused(format!(
                    "{nothing}; but an older copy has replaced the database of this site, so it gives no verdict before a pack that was made \
                     at {made} or later"
                )));
            }
            print::done(&args.common, &nothing)?;
            Ok(End::Done)
        }
        (_, false) => Ok(End::Found),
    }
}

/// Why nothing is taken of packs for others: the first of them is named.
fn of_others(packs: &[Found], state: &State) -> String {
    let none = format!(
        "there is no pack for site {} of {}; nothing was changed",
        state.site, state.server
    );
    let Some(Found { path, head, .. }) = packs.first() else {
        return none;
    };
    format!(
        "{none}: {} is for site {} of {}{}",
        shown(path),
        harmless(&head.site),
        harmless(&head.origin),
        match packs.len() {
            1 => String::new(),
            count => format!(", and {} more are for others too", count - 1),
        }
    )
}

/// Applies the revocations of QR codes. Each text counts alone; one that is refused does not stop the others.
fn revoke(server: &Server, common: &Common, text_or_file: &str) -> Result<End> {
    let text = match revocations::is_text(text_or_file) {
        true => text_or_file.to_owned(),
        false => prompt::whole(Path::new(text_or_file))?,
    };
    let target = Target::of(&["site", "revocations"]);
    let mut end = End::Done;
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let answer = server.send("POST", &target, line.as_bytes().to_vec())?;
        match answer.accepted("POST", &target) {
            Ok(answer) if common.json => print::print(&answer.text())?,
            Ok(answer) => {
                let revoked: Revoked = answer.json()?;
                print::print(&revoked.told())?;
            }
            Err(Failure::Refused(why)) => {
                end = End::Found;
                eprintln!("latchkey: {why}");
            }
            Err(other) => return Err(other),
        }
    }
    Ok(end)
}

fn shown(path: &Path) -> String {
    harmless(&path.display().to_string())
}

/// Tries the packs that the site does not have, the newest first, until one is applied. Those that are refused are added to
/// `bad`.
fn try_all(
    server: &Server,
    common: &Common,
    state: &State,
    stick: &Stick,
    bad: &mut Vec<(PathBuf, String)>,
) -> Result<bool> {
    let mut is_applied = false;
    for found in &stick.packs {
        let is_own = found.head.site == state.site && found.head.origin == state.server;
        let is_tried = !is_applied && is_own && Stick::is_newer(found, state);
        // A file that was named is sent in any case, so that the site answers why it does not take it; unless it is the whole
        // pack that a newer one follows.
        let is_base = is_applied && found.head.is_whole();
        if !is_tried && (!found.is_named || is_base) {
            continue;
        }
        match send(server, stick, found, state) {
            Ok(answer) => {
                is_applied = true;
                tell(common, &answer)?;
            }
            Err(Failure::Refused(why)) => bad.push((found.path.clone(), why)),
            Err(other) => return Err(other),
        }
    }
    Ok(is_applied)
}

fn send(server: &Server, stick: &Stick, found: &Found, state: &State) -> Result<String> {
    let target = Target::of(&["site", "packs"]);
    let bytes = stick.bytes_of(found, state)?;
    let answer = server.send("POST", &target, bytes)?;
    Ok(answer.accepted("POST", &target)?.text())
}

fn tell(common: &Common, answer: &str) -> Result<()> {
    if common.json {
        return print::print(answer);
    }
    let applied: Applied = serde_json::from_str(answer)
        .map_err(|err| Failure::refused(format!("the answer cannot be read: {err}")))?;
    print::print(&format!(
        "pack {} is in force: {}, {} new, {} changed, {} ended; it counts until {}",
        applied.pack,
        counted(applied.keys, "key"),
        applied.added,
        applied.changed,
        applied.ended,
        applied.until
    ))
}

/// When a file was last changed, and its length.
type Stamp = (Option<SystemTime>, u64);

/// Applies what arrives in a folder, until the command is ended.
pub fn watch(args: &WatchArgs) -> Result<End> {
    let mut seen: HashMap<PathBuf, Stamp> = HashMap::new();
    let mut tried: HashMap<PathBuf, Stamp> = HashMap::new();
    let (_, State { site, .. }) = reach(&args.common.data.data)?;
    loop {
        let now = stamps(&args.folder, &site);
        // A file that still grows is looked at when it no longer does.
        let rests = |(path, stamp): (&PathBuf, &Stamp)| seen.get(path) == Some(stamp);
        let new: Vec<PathBuf> = now
            .iter()
            .filter(|(path, stamp)| rests((path, stamp)) && tried.get(*path) != Some(stamp))
            .map(|(path, _)| path.clone())
            .collect();
        if !new.is_empty() {
            match round(args, &new) {
                Ok(()) => tried.extend(new.into_iter().filter_map(|path| {
                    let stamp = *now.get(&path)?;
                    Some((path, stamp))
                })),
                // The site may be starting, or its disk may be full: everything is tried again.
                Err(Failure::Refused(why)) => eprintln!("latchkey: {why}"),
                Err(other) => return Err(other),
            }
        }
        seen = now;
        std::thread::sleep(Duration::from_secs(args.every.0));
    }
}

/// One round: the whole folder is looked at, because a new pack may follow an older file; only new files are named.
fn round(args: &WatchArgs, new: &[PathBuf]) -> Result<()> {
    let (server, state) = reach(&args.common.data.data)?;
    let stick = stick::look(std::slice::from_ref(&args.folder), &state.site)?;
    let mut bad = stick.bad.clone();
    try_all(&server, &args.common, &state, &stick, &mut bad)?;
    for (path, why) in bad.iter().filter(|(path, _)| new.contains(path)) {
        eprintln!("latchkey: {}: {}", shown(path), harmless(why));
    }
    Ok(())
}

fn stamps(folder: &Path, site: &str) -> HashMap<PathBuf, Stamp> {
    let mut found = HashMap::new();
    for folder in [folder.to_owned(), folder.join(site)] {
        let entries = as_caller(|| std::fs::read_dir(&folder))
            .into_iter()
            .flatten();
        for path in entries.flatten().map(|entry| entry.path()) {
            if let Ok(metadata) = as_caller(|| std::fs::metadata(&path)) {
                found.insert(path, (metadata.modified().ok(), metadata.len()));
            }
        }
    }
    found
}
