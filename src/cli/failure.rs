//! How a command ends: successfully, with findings, or with an error message for the user.

use crate::error::Error;
use crate::refusals::visible;
use std::io::Write;
use std::process::ExitCode;

/// The result of every command.
pub type Result<T> = std::result::Result<T, Failure>;

/// The end of a successful command.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum End {
    Done,
    /// The command found what it was looking for, and this is a problem: the exit code is 1.
    Found,
}

/// Why a command failed.
#[derive(Debug)]
pub enum Failure {
    /// The server or the machine refused; the sentence gives the reason and the remedy.
    Refused(String),
    /// The arguments contradict each other.
    Usage(String),
}

impl Failure {
    pub fn refused(sentence: impl Into<String>) -> Failure {
        Failure::Refused(sentence.into())
    }
}

impl From<Error> for Failure {
    fn from(err: Error) -> Failure {
        match err {
            // Unlike in an answer to a client, the cause of an internal error is useful here.
            Error::Internal(cause) => Failure::Refused(cause.to_string()),
            other => Failure::Refused(other.to_string()),
        }
    }
}

/// Prints an error and returns the exit code: 0 for success, 1 for a refusal, a failure or findings, 2 for wrong usage.
pub fn tell(ended: Result<End>) -> ExitCode {
    match ended {
        Ok(End::Done) => ExitCode::SUCCESS,
        Ok(End::Found) => ExitCode::FAILURE,
        Err(Failure::Refused(sentence)) => {
            complain(&sentence);
            ExitCode::FAILURE
        }
        Err(Failure::Usage(sentence)) => {
            complain(&sentence);
            ExitCode::from(2)
        }
    }
}

/// Unlike `eprintln!`, this does not panic if standard error is closed. Control characters, which names of files can have, are
/// written out; only new lines stay.
fn complain(sentence: &str) {
    let lines: Vec<String> = sentence.split('\n').map(visible).collect();
    let sentence = lines.join("\n");
    let _ = writeln!(std::io::stderr(), "latchkey: {sentence}");
}
