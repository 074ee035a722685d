//! A start that is refused: its messages and its exit code.

use std::path::Path;
use std::process::{Command, Stdio};

use super::server::executable;
use super::wait;

/// The result of a command.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    /// For the messages of failed tests, like the other fields.
    #[allow(dead_code)]
    pub stdout: String,
    pub stderr: String,
}

/// Runs `latchkey serve` on a folder; it must end.
#[track_caller]
pub fn serve(data: &Path) -> Ended {
    let mut command = executable(None);
    command.args(["serve", "--listen", "127.0.0.1:0", "--data"]);
    ended(command.arg(data))
}

/// Runs a command that must end.
#[track_caller]
pub fn ended(command: &mut Command) -> Ended {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it can be started");
    let status = wait::some_in_time(|| child.try_wait().expect("it can be waited for"));
    let has_ended = status.is_some();
    if !has_ended {
        let _ = child.kill();
    }
    let output = child.wait_with_output().expect("it ends");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let ended = Ended {
        code: output.status.code(),
        stdout: text(&output.stdout),
        stderr: text(&output.stderr),
    };
    assert!(has_ended, "it goes on running: {ended:?}");
    ended
}

impl Ended {
    /// Checks for exit code 1 and a message that contains all of these words.
    #[track_caller]
    pub fn expect_refused(&self, words: &[&str]) {
        assert_eq!(self.code, Some(1), "{self:?}");
        assert!(
            self.stderr.starts_with("latchkey: ") || self.stderr.contains("\nlatchkey: "),
            "{self:?}"
        );
        for word in words {
            assert!(
                self.stderr.contains(word),
                "{word:?} is not said: {}",
                self.stderr
            );
        }
    }
}
