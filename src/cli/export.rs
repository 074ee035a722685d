//! `latchkey export`: all keys with the digests of their secrets.

use super::client::{Server, Target};
use super::failure::{End, Result};
use super::output_file::Output;
use super::print;
use crate::config::DataArgs;
use crate::files::Readers;
use clap::ValueEnum;
use std::path::PathBuf;

#[derive(clap::Args, Clone, Debug)]
pub struct ExportArgs {
    /// What is written
    #[arg(long, value_enum, default_value_t = Format::Jsonl)]
    format: Format,
    /// A new file, which only its owner can read [default: standard output]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    data: DataArgs,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Format {
    /// JSON lines, for latchkey import jsonl
    Jsonl,
    /// A file with keys, for a folder keys.d
    #[value(name = "keys.d")]
    KeysD,
}

/// Writes page by page, so that memory holds only one page.
pub fn run(args: &ExportArgs) -> Result<End> {
    let format = match args.format {
        Format::Jsonl => "jsonl",
        Format::KeysD => "keys.d",
    };
    let server = Server::reach(&args.data.data)?;
    let output = args.output.as_deref();
    let mut output = output
        .map(|path| Output::create(path, Readers::Owner))
        .transpose()?;
    let mut next = Some(Target::of(&["keys", "export"]).with("format", Some(format)));
    while let Some(target) = next {
        let page = server.get(&target)?;
        match &mut output {
            None => print::print_bytes(&page.body)?,
            Some(output) => output.write_text(&String::from_utf8_lossy(&page.body))?,
        }
        next = page.next();
    }
    if let Some(output) = output {
        output.put_in_place()?;
    }
    Ok(End::Done)
}
