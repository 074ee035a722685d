//! Prints answers: tables for people, the server's own JSON for scripts.

mod object;
pub mod table;

pub use object::Object;
pub use table::{Column, aligned, text_of};

use super::client::Answer;
use super::failure::{Failure, Result};
use crate::config::DataArgs;
use serde_json::Value;
use serde_json::value::RawValue;
use std::io::{ErrorKind, Write};

/// The arguments of every command that sends requests to the server.
#[derive(clap::Args, Clone, Debug)]
pub struct Common {
    #[command(flatten)]
    pub data: DataArgs,
    /// Print the server's JSON instead of text
    #[arg(long)]
    pub json: bool,
}

/// Prints a list, as a table or as one JSON array.
pub fn list(common: &Common, columns: &[Column], items: &[Box<RawValue>]) -> Result<()> {
    if common.json {
        let texts: Vec<&str> = items.iter().map(|item| item.get()).collect();
        return print(&format!("[{}]", texts.join(",")));
    }
    let rows = items
        .iter()
        .map(|item| serde_json::from_str(item.get()))
        .collect::<std::result::Result<Vec<Value>, _>>()
        .map_err(|err| Failure::refused(format!("the server's answer cannot be read: {err}")))?;
    print(&table::written(columns, &rows))
}

/// Prints one object, with one member on each line or as JSON.
pub fn one(common: &Common, answer: &Answer) -> Result<()> {
    if common.json {
        return print(&answer.text());
    }
    let object: Object = answer.json()?;
    print(&object.written())
}

/// Prints a confirmation, unless the output is JSON.
pub fn done(common: &Common, sentence: &str) -> Result<()> {
    if common.json {
        return Ok(());
    }
    print(sentence)
}

/// Prints text and a line end. If the reader, such as `head`, has closed the pipe, that is not a failure.
pub fn print(text: &str) -> Result<()> {
    write_out(text.as_bytes(), b"\n")
}

/// Prints bytes unchanged.
pub fn print_bytes(bytes: &[u8]) -> Result<()> {
    write_out(bytes, b"")
}

fn write_out(bytes: &[u8], end: &[u8]) -> Result<()> {
    let mut out = std::io::stdout().lock();
    let written = out
        .write_all(bytes)
        .and_then(|()| out.write_all(end))
        .and_then(|()| out.flush());
    match written {
        Err(err) if err.kind() != ErrorKind::BrokenPipe => Err(Failure::refused(format!(
            "standard output cannot be written: {err}"
        ))),
        _ => Ok(()),
    }
}
