//! `latchkey console-texts`: the texts of the console, to translate them, and the check of a translation.

use super::failure::{End, Failure, Result};
use super::print;
use crate::dialects::console;
use crate::domain::text;
use crate::files;
use std::path::PathBuf;

/// The language, or the file to check.
#[derive(clap::Args, Clone, Debug)]
pub struct ConsoleTextsArgs {
    /// The language: en, de, es, fr, it, ja or pl
    #[arg(long, value_name = "TAG", default_value = "en")]
    language: String,
    /// Check a translation instead: print what is wrong with it and what it lacks; exits 1 if there is anything
    #[arg(long, value_name = "FILE", conflicts_with = "language")]
    check: Option<PathBuf>,
}

pub fn run(args: &ConsoleTextsArgs) -> Result<End> {
    let Some(file) = &args.check else {
        print::print_bytes(console::file_of(&args.language)?.as_bytes())?;
        return Ok(End::Done);
    };
    let refused =
        |why: &dyn std::fmt::Display| Failure::refused(format!("{}: {why}", file.display()));
    let bytes = files::read_regular(file).map_err(|err| refused(&err))?;
    let text = text::of_file(&bytes).map_err(|why| refused(&format!("the file {why}")))?;
    let (faults, lacking) = console::examine(text.to_owned());
    let mut lines = faults;
    lines.extend(lacking.iter().map(|name| format!("lacks {name}")));
    if lines.is_empty() {
        print::print("The translation is complete.")?;
        return Ok(End::Done);
    }
    print::print(&lines.join("\n"))?;
    Ok(End::Found)
}
