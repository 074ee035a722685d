//! `latchkey man`: a page for each command.

use crate::cli::failure::{End, Failure, Result};
use crate::cli::print::print_bytes;
use crate::files::{NewFile, Readers};
use clap::Command;
use clap_mangen::Man;
use std::path::{Path, PathBuf};

#[derive(clap::Args, Clone, Debug)]
pub struct ManArgs {
    /// The folder to write all pages to; without it, the first page is printed
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

pub fn run(args: &ManArgs, program: Command) -> Result<End> {
    match &args.out {
        Some(folder) => write_all(&program, folder).map_err(|err| {
            Failure::refused(format!(
                "the pages cannot be written to {}: {err}",
                folder.display()
            ))
        })?,
        None => {
            let mut page = Vec::new();
            Man::new(program)
                .render(&mut page)
                .map_err(|err| Failure::refused(format!("the page cannot be written: {err}")))?;
            print_bytes(&page)?;
        }
    }
    Ok(End::Done)
}

/// Writes a page for the program and for each command below it, with file names in the style of `git`. Existing pages
/// are overwritten.
fn write_all(program: &Command, folder: &Path) -> std::io::Result<()> {
    let mut program = program.clone().disable_help_subcommand(true);
    program.build();
    write(&program, folder)
}

fn write(command: &Command, folder: &Path) -> std::io::Result<()> {
    if command.is_hide_set() {
        return Ok(());
    }
    for below in command.get_subcommands() {
        write(below, folder)?;
    }
    let page = Man::new(command.clone());
    let mut file = NewFile::replacing(&folder.join(page.get_filename()), Readers::Everybody)?;
    page.render(&mut file)?;
    file.replace().map(drop)
}
