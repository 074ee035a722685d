//! How a command ends: well, with findings, or with a sentence for whoever sits at the terminal.

use crate::error::Error;
use std::io::Write;
use std::process::ExitCode;

/// What every command returns.
pub type Result<T> = std::result::Result<T, Failure>;

/// The end of a command that did what it was asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum End {
    Done,
    /// What was looked for, and would better not be there, is there: scripts get 1.
    Found,
}

/// Why a command did not do what it was asked.
#[derive(Debug)]
pub enum Failure {
    /// The server or the machine refused; the sentence says what and what to do.
    Refused(String),
    /// The arguments make no sense together.
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
            // Here, unlike in an answer to a client, the cause of an internal error is of use.
            Error::Internal(cause) => Failure::Refused(cause.to_string()),
            other => Failure::Refused(other.to_string()),
        }
    }
}

/// Tells the end: 0 done, 1 refused, failed or found, 2 usage.
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

/// Unlike `eprintln!`, this does not panic when nobody reads it.
fn complain(sentence: &str) {
    let _ = writeln!(std::io::stderr(), "latchkey: {sentence}");
}
