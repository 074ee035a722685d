//! Input from the terminal or from files: secrets, which are never arguments (other users can list arguments, and
//! shells store them), and the answer to "are you sure?".

mod unseen;

use super::failure::{Failure, Result};
use crate::config::owner::as_caller;
use std::fs::File;
use std::io::{BufRead, BufReader, IsTerminal, Read, stdin};
use std::path::Path;

/// The maximum length of a secret; a longer one is refused, not truncated.
const SECRET_BYTES_MAX: u64 = 4096;

/// Asks for confirmation before an irreversible action. `--yes` confirms in advance; without it and without a terminal,
/// nothing is done.
pub fn confirm(question: &str, yes: bool) -> Result<()> {
    if yes {
        return Ok(());
    }
    if !stdin().is_terminal() {
        return Err(Failure::Usage(format!(
            "{question} There is no terminal to ask on; say --yes"
        )));
    }
    eprint!("{question} [y/N] ");
    let mut line = String::new();
    stdin().read_line(&mut line).map_err(unreadable)?;
    match line.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(Failure::refused("nothing was done")),
    }
}

/// Reads a secret: from a file, or from the terminal without echo, or from the first line of standard input.
pub fn secret(what: &str, file: Option<&Path>) -> Result<String> {
    if let Some(path) = file {
        let open = as_caller(|| File::open(path)).map_err(|err| {
            Failure::refused(format!("{} cannot be opened: {err}", path.display()))
        })?;
        return first_line(BufReader::new(open));
    }
    if stdin().is_terminal() {
        eprint!("{what}: ");
        return first_line(unseen::line()?.as_slice());
    }
    first_line(stdin().lock())
}

/// Reads a new password; on a terminal the user types it twice.
pub fn new_password(file: Option<&Path>) -> Result<String> {
    new_secret("New password", file)
}

/// Like [`new_password`], with another prompt.
pub fn new_secret(what: &str, file: Option<&Path>) -> Result<String> {
    let secret_text = secret(what, file)?;
    if file.is_none() && stdin().is_terminal() && secret("The same again", None)? != secret_text {
        return Err(Failure::refused("the two differ; nothing was changed"));
    }
    Ok(secret_text)
}

/// Reads a whole file, or standard input for `-`.
pub fn whole(path: &Path) -> Result<Vec<u8>> {
    let read = if path == Path::new("-") {
        let mut bytes = Vec::new();
        stdin().lock().read_to_end(&mut bytes).map(|_| bytes)
    } else {
        as_caller(|| std::fs::read(path))
    };
    read.map_err(|err| Failure::refused(format!("{} cannot be read: {err}", path.display())))
}

fn first_line(input: impl BufRead) -> Result<String> {
    let mut line = String::new();
    input
        .take(SECRET_BYTES_MAX + 1)
        .read_line(&mut line)
        .map_err(unreadable)?;
    if line.len() as u64 > SECRET_BYTES_MAX {
        return Err(Failure::refused("this line is too long to be a secret"));
    }
    let line = line.strip_suffix('\n').unwrap_or(&line);
    let line = line.strip_suffix('\r').unwrap_or(line);
    if line.is_empty() {
        return Err(Failure::Usage(
            "nothing was given: type it, pipe it in, or name a file that has it on its first line"
                .to_owned(),
        ));
    }
    Ok(line.to_owned())
}

fn unreadable(err: std::io::Error) -> Failure {
    Failure::refused(format!("standard input cannot be read: {err}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_the_first_line_without_its_end() {
        for (input, expected) in [
            ("abc", "abc"),
            ("abc\n", "abc"),
            ("abc\r\nmore", "abc"),
            (" a b \n", " a b "),
        ] {
            assert_eq!(first_line(input.as_bytes()).unwrap(), expected);
        }
        for refused in ["", "\n", &"x".repeat(5000)] {
            assert!(first_line(refused.as_bytes()).is_err());
        }
    }
}
