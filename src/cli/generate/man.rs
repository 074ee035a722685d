//! `latchkey man`: a page for each command.

use crate::cli::failure::{End, Failure, Result};
use crate::cli::show::print_bytes;
use clap::Command;
use clap_mangen::Man;
use std::path::PathBuf;

#[derive(clap::Args, Clone, Debug)]
pub struct ManArgs {
    /// The folder to write all pages to; without it, the first page is printed
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

pub fn run(args: &ManArgs, program: Command) -> Result<End> {
    match &args.out {
        Some(folder) => clap_mangen::generate_to(program, folder).map_err(|err| {
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
