//! What is typed, or comes from a file: secrets, which never stand among the arguments (other users can list
//! those, and shells remember them), and the answer to "are you sure?".

mod unseen;

use super::failure::{Failure, Result};
use crate::config::owner::as_caller;
use std::fs::File;
use std::io::{BufRead, BufReader, IsTerminal, Read, stdin};
use std::path::Path;

/// Bytes of a secret that are read; more is refused, not cut.
const SECRET_BYTES_MAX: u64 = 4096;

/// Asks before something is done for good. `--yes` answers in advance; without it, and without a terminal, nothing
/// is done.
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

/// A secret: from a file, else typed on the terminal without echo, else the first line of standard input.
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

/// A new password; on a terminal it is asked for twice.
pub fn new_password(file: Option<&Path>) -> Result<String> {
    new_secret("New password", file)
}

/// As [`new_password`], called otherwise.
pub fn new_secret(what: &str, file: Option<&Path>) -> Result<String> {
    let secret_text = secret(what, file)?;
    if file.is_none() && stdin().is_terminal() && secret("The same again", None)? != secret_text {
        return Err(Failure::refused("the two differ; nothing was changed"));
    }
    Ok(secret_text)
}

/// A whole file, or standard input for `-`.
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
