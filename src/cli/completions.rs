//! `latchkey completions`: scripts for the command-line completion of shells.

use crate::cli::failure::{End, Result};
use crate::cli::print::print_bytes;
use clap::Command;
use clap_complete::Shell;

#[derive(clap::Args, Clone, Debug)]
pub struct CompletionsArgs {
    /// The shell to write the script for
    #[arg(value_enum)]
    shell: Shell,
}

pub fn run(args: &CompletionsArgs, mut program: Command) -> Result<End> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut program, "latchkey", &mut script);
    print_bytes(&script)?;
    Ok(End::Done)
}
