//! `latchkey backup`: a whole copy of the database, while the server runs or not.

use crate::cli::ask::{Server, Target};
use crate::cli::failure::{End, Failure, Result};
use crate::cli::show::{self, Common};
use serde::Deserialize;
use serde_json::json;
use std::io::{IsTerminal, Write, stderr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Between two looks at how far the backup has come.
const LOOK: Duration = Duration::from_millis(300);

#[derive(clap::Args, Clone, Debug)]
pub struct BackupArgs {
    /// Where to write it; the server's user must be able to. Without it, the folder `backups` beside the database
    file: Option<PathBuf>,
    #[command(flatten)]
    common: Common,
}

#[derive(Deserialize)]
struct Made {
    file: String,
    bytes: u64,
}

#[derive(Deserialize)]
struct Progress {
    pages_done: Option<u64>,
    pages: Option<u64>,
}

pub fn run(args: &BackupArgs) -> Result<End> {
    let server = Server::reach(&args.common.data.data)?;
    let body = match &args.file {
        None => json!({}),
        Some(file) => json!({ "file": absolute(file)? }),
    };
    let target = Target::of(&["backups"]);
    let answer = match &server {
        Server::Running(socket) if stderr().is_terminal() => {
            let other = Server::Running(socket.clone());
            watched(&other, || server.ask("POST", &target, Some(&body)))?
        }
        _ => server.ask("POST", &target, Some(&body))?,
    };
    if args.common.json {
        show::print(&answer.text())?;
        return Ok(End::Done);
    }
    let made: Made = answer.json()?;
    show::print(&format!(
        "{}: {} bytes\nIt is of no use without pepper and sealing key; if they have no backup yet: latchkey secrets backup FILE",
        made.file, made.bytes
    ))?;
    Ok(End::Done)
}

/// The same place, for a process with another current folder.
fn absolute(file: &Path) -> Result<String> {
    let path = std::path::absolute(file)
        .map_err(|err| Failure::refused(format!("{}: {err}", file.display())))?;
    let text = path.to_str().map(str::to_owned);
    text.ok_or_else(|| Failure::Usage("the name of the file must be UTF-8".to_owned()))
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
