//! `latchkey backup`: a complete copy of the database, whether the server runs or not.

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
    /// Tables and other objects in the database that do not belong to Latchkey.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    left_out: Vec<String>,
}

#[derive(Deserialize)]
struct Progress {
    pages_done: Option<u64>,
    pages: Option<u64>,
}

pub fn run(args: &BackupArgs) -> Result<End> {
    let server = Server::reach(&args.common.data.data)?;
    let file = args.file.as_deref().map(absolute).transpose()?;
    let made = match &file {
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
    if args.common.json {
        print::print(&serde_json::to_string(&made).unwrap_or_default())?;
        return Ok(End::Done);
    }
    print::print(&format!(
        "{}: {} bytes\nIt is of no use without pepper and sealing key; if they have no backup yet: latchkey secrets backup FILE",
        made.file, made.bytes
    ))?;
    Ok(End::Done)
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
    let take = || {
        let name = Path::new(&made.file).file_name();
        let name = name.and_then(|name| name.to_str()).unwrap_or_default();
        // The file name from the server is not trusted: the backup must be a regular file of the folder's owner in the
        // default folder.
        let mut own = Beneath::open(data, "backups", name).map_err(|err| {
            Failure::refused(format!(
                "the backup {name} cannot be taken from the folder backups of {}: {err}",
                data.display()
            ))
        })?;
        output.copy_from(&mut own.file)?;
        let bytes = output.put_in_place()?;
        if let Err(err) = own.remove() {
            eprintln!("latchkey: the copy in the data folder stays: {err}");
        }
        Ok(bytes)
    };
    Ok(take().map(|bytes| BackupAnswer {
        file: file.display().to_string(),
        bytes,
        ..made
    }))
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
