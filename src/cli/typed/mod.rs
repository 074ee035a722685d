//! What is typed, or comes from a file: secrets, which never stand among the arguments (other users can list
//! those, and shells remember them), and the answer to "are you sure?".

mod unseen;

use super::failure::{Failure, Result};
use crate::config::owner::as_caller;
use crate::domain::text;
use std::fs::File;
use std::io::{BufRead, BufReader, IsTerminal, Read, stdin};
use std::path::Path;

/// How messages name it.
const STANDARD_INPUT: &str = "standard input";

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
    stdin()
        .read_line(&mut line)
        .map_err(|err| unreadable(STANDARD_INPUT, &err))?;
    match line.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(Failure::refused("nothing was done")),
    }
}

/// A secret: from a file, else typed on the terminal without echo, else the first line of standard input.
pub fn secret(what: &str, file: Option<&Path>) -> Result<String> {
    if let Some(path) = file {
        let name = path.display().to_string();
        let open = as_caller(|| File::open(path))
            .map_err(|err| Failure::refused(format!("{name} cannot be opened: {err}")))?;
        return first_line(BufReader::new(open), &name);
    }
    if stdin().is_terminal() {
        eprint!("{what}: ");
        return first_line(unseen::line()?.as_slice(), "what was typed");
    }
    first_line(stdin().lock(), STANDARD_INPUT)
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

/// A whole file of text, or standard input for `-`.
pub fn whole(path: &Path) -> Result<String> {
    let (name, read) = if path == Path::new("-") {
        let mut bytes = Vec::new();
        let read = stdin().lock().read_to_end(&mut bytes);
        (STANDARD_INPUT.to_owned(), read.map(|_| bytes))
    } else {
        let read = as_caller(|| std::fs::read(path));
        (path.display().to_string(), read)
    };
    let bytes = read.map_err(|err| unreadable(&name, &err))?;
    text_of(&bytes, &name).map(str::to_owned)
}

/// `name` is where the line comes from, for a message.
fn first_line(input: impl BufRead, name: &str) -> Result<String> {
    let mut line = Vec::new();
    input
        .take(SECRET_BYTES_MAX + 1)
        .read_until(b'\n', &mut line)
        .map_err(|err| unreadable(name, &err))?;
    if line.len() as u64 > SECRET_BYTES_MAX {
        return Err(Failure::refused(format!(
            "the first line of {name} is too long to be a secret"
        )));
    }
    let line = text_of(&line, name)?;
    let line = line.strip_suffix('\n').unwrap_or(line);
    let line = line.strip_suffix('\r').unwrap_or(line);
    if line.is_empty() {
        return Err(Failure::Usage(
            "nothing was given: type it, pipe it in, or name a file that has it on its first line"
                .to_owned(),
        ));
    }
    Ok(line.to_owned())
}

fn text_of<'a>(bytes: &'a [u8], name: &str) -> Result<&'a str> {
    text::of_file(bytes).map_err(|why| Failure::refused(format!("{name} {why}")))
}

fn unreadable(name: &str, err: &std::io::Error) -> Failure {
    Failure::refused(format!("{name} cannot be read: {err}"))
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
            ("\u{feff}abc\r\n", "abc"),
        ] {
            assert_eq!(first_line(input.as_bytes(), "x").unwrap(), expected);
        }
        for refused in ["", "\n", &"x".repeat(5000)] {
            assert!(first_line(refused.as_bytes(), "x").is_err());
        }
    }
}
