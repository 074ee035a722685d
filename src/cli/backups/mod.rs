//! `latchkey backup`: a complete copy of the database, whether the server runs or not.

mod series;

use crate::cli::client::{Server, Target};
use crate::cli::failure::{End, Failure, Result};
use crate::cli::output_file::Output;
use crate::cli::print;
use crate::cli::print::Common;
use crate::cli::print::table::harmless;
use crate::config::owner;
use crate::files::Readers;
use crate::files::beneath::Beneath;
use serde::{Deserialize, Serialize};
use serde_json::json;
use series::Series;
use std::io::{IsTerminal, Write, stderr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The time between two queries of the progress.
const LOOK: Duration = Duration::from_millis(300);

#[derive(clap::Args, Clone, Debug)]
pub struct BackupArgs {
    /// Where to write the backup; the server writes it if it can, otherwise this command does. By default, the folder
    /// `backups` next to the database
    file: Option<PathBuf>,
    /// Write the backup to this folder, under a name with the date
    #[arg(long, value_name = "DIR", conflicts_with = "file")]
    into: Option<PathBuf>,
    /// Keep so many good backups that this server has made in that folder, and remove the older ones [default: all]
    #[arg(long, value_name = "N", requires = "into", value_parser = clap::value_parser!(u16).range(1..))]
    keep: Option<u16>,
    #[command(flatten)]
    common: Common,
}

/// The server's answer.
#[derive(Deserialize, Serialize)]
struct BackupAnswer {
    file: String,
    bytes: u64,
    made_at: String,
    scheduled: bool,
    #[serde(default)]
    elsewhere: bool,
    /// Tables and other objects in the database that do not belong to Latchkey.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    left_out: Vec<String>,
    /// The older backups that this command has removed, with `--keep`.
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    removed: Option<Vec<PathBuf>>,
}

#[derive(Deserialize)]
struct Progress {
    pages_done: Option<u64>,
    pages: Option<u64>,
}

pub fn run(args: &BackupArgs) -> Result<End> {
    let server = Server::reach(&args.common.data.data)?;
    let series = match &args.into {
        Some(folder) => Some(Series::new(folder, &absolute(&args.common.data.data)?)?),
        None => None,
    };
    let file = match &series {
        Some(series) => Some(absolute(&series.free_path()?)?),
        None => args.file.as_deref().map(absolute).transpose()?,
    };
    let mut made = match &file {
        None => ask(&server, None)?,
        Some(file) => at(&server, &args.common.data.data, file)?,
    };
    if !made.left_out.is_empty() {
        let names: Vec<String> = made.left_out.iter().map(|name| harmless(name)).collect();
        eprintln!(
            "latchkey: left out of the backup, because it is not Latchkey's: {}; latchkey doctor says how to remove it",
            names.join(", ")
        );
    }
    // The new backup is there, so older ones may go.
    let mut removed = Vec::new();
    let forgotten = match (&series, &file, args.keep) {
        (Some(series), Some(file), Some(keep)) => {
            let new = (file.as_path(), made.bytes);
            let forgotten = series.forget_oldest(&server, new, usize::from(keep), &mut removed);
            made.removed = Some(removed.clone());
            forgotten
        }
        _ => Ok(()),
    };
    if args.common.json {
        print::print(&serde_json::to_string(&made).unwrap_or_default())?;
    } else {
        print::print(&format!(
            "{}: {} bytes\nIt is of no use without the key files; if they have no backup yet: latchkey secrets backup FILE",
            made.file, made.bytes
        ))?;
    }
    for old in removed {
        print::done(
            &args.common,
            &format!("removed {}; newer ones are kept", old.display()),
        )?;
    }
    forgotten.map(|()| End::Done)
}

/// Requests a backup with this path, or in the default folder.
fn ask(server: &Server, file: Option<&Path>) -> Result<BackupAnswer> {
    let body = file.map_or(json!({}), |file| json!({ "file": file }));
    let target = Target::of(&["backups"]);
    let answer = match server {
        Server::Running(socket) if stderr().is_terminal() => {
            let other = Server::Running(socket.clone());
            watched(&other, || server.ask("POST", &target, Some(&body)))?
        }
        _ => server.ask("POST", &target, Some(&body))?,
    };
    answer.json()
}

/// Writes a backup to a path that the server may be unable to write to, or that means another file in the server's
/// view, because systemd gives services a file system namespace of their own. In that case the server writes the backup
/// to the default folder, and this process moves it. The same happens if root runs this for the folder of another user,
/// because the file must then belong to root.
fn at(server: &Server, data: &Path, file: &Path) -> Result<BackupAnswer> {
    let output = Output::create(file, Readers::Owner)?;
    if owner::is_another() {
        return taken(server, data, output, file)?;
    }
    // The server itself creates the file.
    drop(output);
    let direct = ask(server, Some(file));
    match (&direct, server) {
        (Ok(_), _) if file.exists() => return direct,
        (Err(_), Server::Stopped(_)) => return direct,
        _ => {}
    }
    match taken(server, data, Output::create(file, Readers::Owner)?, file) {
        Ok(made) => made,
        Err(_) => direct,
    }
}

/// Requests a backup in the default folder and moves it from there. The outer failure means that the backup could not
/// be made.
fn taken(
    server: &Server,
    data: &Path,
    mut output: Output,
    file: &Path,
) -> Result<Result<BackupAnswer>> {
    let made = ask(server, None)?;
    let name = Path::new(&made.file).file_name();
    let name = name.and_then(|name| name.to_str()).unwrap_or_default();
    // The file name from the server is not trusted: the backup must be a regular file of the folder's owner in the default
    // folder.
    let mut own = match Beneath::open(data, "backups", name) {
        Ok(own) => own,
        Err(err) => {
            return Ok(Err(Failure::refused(format!(
                "the backup {name} cannot be taken from the folder backups of {}: {err}",
                data.display()
            ))));
        }
    };
    // If this process is killed, the next start of the server removes the file under its temporary name. If that name
    // cannot be given, the backup can be copied nevertheless.
    let _ = own.make_temporary();
    let copied = output.copy_from(&mut own.file);
    let copied = copied.and_then(|()| output.put_in_place());
    // The file was only made for the copy, so it goes even if there is none.
    if let Err(err) = own.remove() {
        eprintln!("latchkey: the copy in the data folder stays: {err}");
    }
    let bytes = match copied {
        Ok(bytes) if bytes == made.bytes => bytes,
        Ok(bytes) => {
            return Ok(Err(Failure::refused(format!(
                "{} has {bytes} bytes instead of {}, so it is no good backup",
                file.display(),
                made.bytes
            ))));
        }
        Err(failure) => return Ok(Err(failure)),
    };
    let moved = BackupAnswer {
        file: file.display().to_string(),
        bytes,
        elsewhere: true,
        ..made
    };
    let note = json!({ "file": moved.file, "bytes": bytes, "made_at": moved.made_at });
    if let Err(Failure::Refused(why) | Failure::Usage(why)) =
        server.ask("POST", &Target::of(&["backups", "moved"]), Some(&note))
    {
        eprintln!("latchkey: the backup is good, but the server does not know where it is: {why}");
    }
    Ok(Ok(moved))
}

/// The same path, for a process with another working directory.
fn absolute(file: &Path) -> Result<PathBuf> {
    let path = std::path::absolute(file)
        .map_err(|err| Failure::refused(format!("{}: {err}", file.display())))?;
    match path.to_str() {
        Some(_) => Ok(path),
        None => Err(Failure::Usage(
            "the name of the file must be UTF-8".to_owned(),
        )),
    }
}

/// Runs the work and displays its progress meanwhile.
fn watched<T: Send>(server: &Server, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let Server::Running(socket) = server else {
        return work();
    };
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let server = Server::Running(socket.clone());
            let target = Target::of(&["backups", "progress"]);
            while !done.load(Ordering::Relaxed) {
                let told = server
                    .get(&target)
                    .and_then(|answer| answer.json::<Progress>());
                if let Ok(Progress {
                    pages_done: Some(copied),
                    pages: Some(all),
                }) = told
                    && all > 0
                {
                    let _ = write!(stderr(), "\r{:3} %", copied * 100 / all);
                }
                std::thread::sleep(LOOK);
            }
            let _ = write!(stderr(), "\r      \r");
        });
        let result = work();
        done.store(true, Ordering::Relaxed);
        result
    })
}
