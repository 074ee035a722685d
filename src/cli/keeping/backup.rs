//! `latchkey backup`: a whole copy of the database, while the server runs or not.

use crate::cli::ask::{Server, Target};
use crate::cli::failure::{End, Failure, Result};
use crate::cli::show::{self, Common};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::fs::{self, File, OpenOptions};
use std::io::{IsTerminal, Write, stderr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Between two looks at how far the backup has come.
const LOOK: Duration = Duration::from_millis(300);

#[derive(clap::Args, Clone, Debug)]
pub struct BackupArgs {
    /// Where to write it; the server does, or else this command. Without it, the folder `backups` beside the database
    file: Option<PathBuf>,
    #[command(flatten)]
    common: Common,
}

/// The server's answer.
#[derive(Deserialize, Serialize)]
struct Made {
    file: String,
    bytes: u64,
    made_at: String,
    scheduled: bool,
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
    if args.common.json {
        show::print(&serde_json::to_string(&made).unwrap_or_default())?;
        return Ok(End::Done);
    }
    show::print(&format!(
        "{}: {} bytes\nIt is of no use without pepper and sealing key; if they have no backup yet: latchkey secrets backup FILE",
        made.file, made.bytes
    ))?;
    Ok(End::Done)
}

/// Asks for a backup in this place, or among the others.
fn ask(server: &Server, file: Option<&Path>) -> Result<Made> {
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

/// A backup in a place that the server perhaps cannot write to, or that is another one for it: systemd gives it a view
/// of its own. Then it makes the backup among the others, and this process, which can, moves it.
fn at(server: &Server, data: &Path, file: &Path) -> Result<Made> {
    if file.exists() {
        return Err(Failure::refused(format!(
            "{} is there already; a backup replaces nothing, name another file",
            file.display()
        )));
    }
    let direct = ask(server, Some(file));
    match (&direct, server) {
        (Ok(_), _) if file.exists() => return direct,
        (Err(_), Server::Stopped(_)) => return direct,
        _ => {}
    }
    let Ok(made) = ask(server, None) else {
        return direct;
    };
    let name = Path::new(&made.file).file_name().unwrap_or_default();
    let own = data.join("backups").join(name);
    let moved = move_to(&own, file);
    let _ = fs::remove_file(&own);
    moved.map_err(|err| {
        Failure::refused(format!(
            "the backup {} cannot be written: {err}",
            file.display()
        ))
    })?;
    Ok(Made {
        file: file.display().to_string(),
        ..made
    })
}

/// Whole or not at all, synced, and for its owner alone.
fn move_to(made: &Path, file: &Path) -> std::io::Result<()> {
    let mut partial = file.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    let write = || {
        let mut options = OpenOptions::new();
        let options = options.create(true).truncate(true).write(true).mode(0o600);
        let mut copy = options.open(&partial)?;
        std::io::copy(&mut File::open(made)?, &mut copy)?;
        copy.sync_all()?;
        fs::rename(&partial, file)?;
        File::open(file.parent().unwrap_or(file))?.sync_all()
    };
    write().inspect_err(|_| {
        let _ = fs::remove_file(&partial);
    })
}

/// The same place, for a process with another current folder.
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

/// Runs the work and shows meanwhile how far it has come.
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
