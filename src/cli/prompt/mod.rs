//! Input from the terminal or from files: secrets, which are never arguments (other users can list arguments, and
//! shells store them), and the answer to "are you sure?".

mod hidden;

use super::failure::{Failure, Result};
use crate::config::owner::as_caller;
use crate::domain::text;
use std::fs::File;
use std::io::{BufRead, BufReader, IsTerminal, Read, stdin};
use std::path::Path;

/// How messages name it.
const STANDARD_INPUT: &str = "standard input";

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
    stdin()
        .read_line(&mut line)
        .map_err(|err| unreadable(STANDARD_INPUT, &err))?;
    match line.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(Failure::refused("nothing was done")),
    }
}

/// Reads a secret: from a file, or from the terminal without echo, or from the first line of standard input. The option
/// `--{word}-file` names the file.
pub fn secret(prompt: &str, word: &str, file: Option<&Path>) -> Result<String> {
    let read = if let Some(path) = file {
        let name = path.display().to_string();
        let open = as_caller(|| File::open(path))
            .map_err(|err| Failure::refused(format!("{name} cannot be opened: {err}")))?;
        first_line(BufReader::new(open), &name)?
    } else if stdin().is_terminal() {
        eprint!("{prompt}: ");
        first_line(hidden::line()?.as_slice(), "what was typed")?
    } else {
        first_line(stdin().lock(), STANDARD_INPUT)?
    };
    read.ok_or_else(|| {
        Failure::Usage(format!(
            "no {word} was given: type it, pipe it in, or name a file that has it on its first line with --{word}-file"
        ))
    })
}

/// Whether somebody can answer a question.
pub fn is_interactive() -> bool {
    stdin().is_terminal()
}

/// Reads a line that is no secret: from the terminal, or from standard input.
pub fn line(what: &str) -> Result<String> {
    if is_interactive() {
        eprint!("{what}: ");
    }
    let read = first_line(stdin().lock(), STANDARD_INPUT)?;
    read.ok_or_else(|| Failure::Usage(format!("no {} was given", what.to_lowercase())))
}

/// Reads a new password; on a terminal the user types it twice.
pub fn new_password(file: Option<&Path>) -> Result<String> {
    new_secret("New password", "password", file)
}

/// Like [`new_password`], for another secret; see [`secret`].
pub fn new_secret(prompt: &str, word: &str, file: Option<&Path>) -> Result<String> {
    let secret_text = secret(prompt, word, file)?;
    let typed = file.is_none() && stdin().is_terminal();
    if typed && secret("The same again", word, None)? != secret_text {
        return Err(Failure::refused("the two differ; nothing was changed"));
    }
    Ok(secret_text)
}

/// Reads a whole file of text, or standard input for `-`.
pub fn whole(path: &Path) -> Result<String> {
    text_of(&bytes(path)?, &name_of(path)).map(str::to_owned)
}

/// Reads a whole file, or standard input for `-`.
pub fn bytes(path: &Path) -> Result<Vec<u8>> {
    let read = match is_standard_input(path) {
        true => {
            let mut bytes = Vec::new();
            stdin().lock().read_to_end(&mut bytes).map(|_| bytes)
        }
        false => as_caller(|| std::fs::read(path)),
    };
    read.map_err(|err| unreadable(&name_of(path), &err))
}

fn is_standard_input(path: &Path) -> bool {
    path == Path::new("-")
}

fn name_of(path: &Path) -> String {
    match is_standard_input(path) {
        true => STANDARD_INPUT.to_owned(),
        false => path.display().to_string(),
    }
}

/// `None` if the line is empty. `name` is where it comes from, for a message.
fn first_line(input: impl BufRead, name: &str) -> Result<Option<String>> {
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
    Ok((!line.is_empty()).then(|| line.to_owned()))
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
            let line = first_line(input.as_bytes(), "x").unwrap();
            assert_eq!(line.as_deref(), Some(expected));
        }
        for empty in ["", "\n", "\r\n"] {
            assert_eq!(first_line(empty.as_bytes(), "x").unwrap(), None);
        }
        assert!(first_line("x".repeat(5000).as_bytes(), "x").is_err());
    }
}
