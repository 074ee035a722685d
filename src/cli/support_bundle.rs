//! `latchkey support-bundle`: one JSON file with the information that a helper needs.

use crate::cli::client::{Server, Target};
use crate::cli::failure::{End, Failure, Result};
use crate::cli::output_file::Output;
use crate::cli::print::print;
use crate::config::DataArgs;
use crate::files::Readers;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

#[derive(clap::Args, Clone, Debug)]
pub struct SupportArgs {
    /// Where to write the bundle
    file: PathBuf,
    #[command(flatten)]
    data: DataArgs,
}

pub fn run(args: &SupportArgs) -> Result<End> {
    let data = &args.data.data;
    let output = || Output::create(&args.file, Readers::Owner);
    // Creates the file before it asks the server, so that errors come early, and removes it again, because the answer
    // may take long.
    drop(output()?);
    let told = Server::reach(data).and_then(|server| {
        let running = matches!(server, Server::Running(_));
        let answer = server.ask("POST", &Target::of(&["doctor", "bundle"]), Some(&json!({})))?;
        Ok((running, answer.json::<Value>()?))
    });
    // If the server does not answer, the bundle is still written, because that is when help is needed.
    let (running, server) = match told {
        Ok((running, server)) => (Some(running), server),
        Err(Failure::Refused(why) | Failure::Usage(why)) => (None, json!({ "failed": why })),
    };
    let bundle = json!({
        "latchkey": env!("CARGO_PKG_VERSION"),
        "running": running,
        "server": server,
        "files": files(data),
        "system": system(),
    });
    let text = serde_json::to_string_pretty(&bundle).unwrap_or_default();
    let mut output = output()?;
    output.write_text(&format!("{text}\n"))?;
    output.put_in_place()?;
    print(&format!(
        "{}: no secrets, digests or names in it; read it before you send it",
        args.file.display()
    ))?;
    Ok(End::Done)
}

/// Names, sizes and modes of the files in the data folder, without their content.
fn files(data: &Path) -> Vec<Value> {
    let folders = [data.to_owned(), data.join("backups")];
    let entries = folders
        .iter()
        .filter_map(|folder| fs::read_dir(folder).ok())
        .flatten()
        .flatten();
    let one = |entry: fs::DirEntry| {
        let found = entry.metadata().ok()?;
        Some(json!({
            "name": entry.file_name().to_string_lossy(),
            "bytes": found.len(),
            "mode": format!("{:o}", found.mode()),
            "uid": found.uid(),
        }))
    };
    entries.filter_map(one).collect()
}

/// Information about the kernel and the file system, if available.
fn system() -> Value {
    let read = |path: &str| {
        fs::read_to_string(path)
            .unwrap_or_default()
            .trim()
            .to_owned()
    };
    json!({
        "kernel": read("/proc/version"),
        "uid": rustix::process::geteuid().as_raw(),
        "processors": std::thread::available_parallelism().map_or(0, usize::from),
    })
}
