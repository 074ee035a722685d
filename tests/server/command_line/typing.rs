//! Secrets that are typed at a terminal, and what the terminal displays.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus, Stdio};

use rustix::fs::{Mode, OFlags, open};
use rustix::process::Signal;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, tcgetattr};

use crate::support::{Server, executable, wait};

/// A terminal, and a command that reads a secret from it.
struct Typing {
    keyboard: File,
    screen: OwnedFd,
    command: Child,
}

impl Typing {
    fn start(server: &Server) -> Typing {
        let keyboard = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&keyboard).unwrap();
        unlockpt(&keyboard).unwrap();
        let name = ptsname(&keyboard, Vec::new()).unwrap();
        let flags = OFlags::RDWR | OFlags::NOCTTY;
        let screen = open(name, flags, Mode::empty()).unwrap();
        let command = executable(None)
            .args(["key", "verify", "--data"])
            .arg(&server.data)
            .stdin(Stdio::from(screen.try_clone().unwrap()))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut typing = Typing {
            keyboard: File::from(keyboard),
            screen,
            command,
        };
        wait::until("the command asks", || {
            let ended = typing.command.try_wait().unwrap();
            assert!(ended.is_none(), "it ended");
            !typing.shows()
        });
        typing
    }

    /// Whether the terminal displays typed characters.
    fn shows(&self) -> bool {
        let modes = tcgetattr(&self.screen).unwrap().local_modes;
        modes.contains(LocalModes::ECHO)
    }

    fn type_in(&mut self, keys: &[u8]) {
        self.keyboard.write_all(keys).unwrap();
    }

    /// Waits for the end of the command, and returns its status and its output.
    fn end(mut self) -> (ExitStatus, String) {
        let status = self.command.wait().unwrap();
        assert!(self.shows(), "the terminal stays silent");
        let modes = tcgetattr(&self.screen).unwrap().local_modes;
        assert!(modes.contains(LocalModes::ICANON | LocalModes::ISIG));
        let mut said = String::new();
        let mut out = self.command.stdout.take().unwrap();
        out.read_to_string(&mut said).unwrap();
        (status, said)
    }
}

#[test]
fn a_secret_is_typed_with_the_usual_keys_and_not_shown() {
    let server = Server::start();
    let mut typing = Typing::start(&server);
    // Types a line and erases it, then types one character too many and erases that.
    typing.type_in(b"nonsense\x15");
    typing.type_in(format!("{}x\x7f\n", server.secret).as_bytes());
    let (status, said) = typing.end();
    assert!(status.success() && said.contains("VALID"), "{said}");
}

#[test]
fn an_interrupted_prompt_leaves_the_terminal_as_it_was() {
    let server = Server::start();
    for (key, signal) in [(b"\x03", Signal::INT), (b"\x1c", Signal::QUIT)] {
        let mut typing = Typing::start(&server);
        typing.type_in(b"half a sec");
        typing.type_in(key);
        let (status, said) = typing.end();
        assert_eq!(status.signal(), Some(signal.as_raw()), "{said}");
    }
    let mut typing = Typing::start(&server);
    typing.type_in(b"\x04");
    let (status, _) = typing.end();
    assert_eq!(status.code(), Some(2), "nothing was typed");
}
