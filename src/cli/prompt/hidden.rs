//! Reads a line from the terminal without displaying it.
//!
//! Meanwhile the terminal delivers its interrupt, quit and suspend keys as bytes, so that they cannot end this process
//! before the display of typed text is switched on again; then this module sends the corresponding signal.

use crate::cli::failure::{Failure, Result};
use rustix::process::{Signal, getpid, kill_process};
use rustix::termios::{
    InputModes, LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr,
};
use std::io::{Read, Stdin, Write, stderr, stdin};

/// The effect of a byte from the terminal.
#[derive(Debug, Eq, PartialEq)]
enum ByteEffect {
    End,
    Signal(Signal),
    /// No effect: the line continues.
    More,
}

/// Reads a line, without its end, from the terminal at standard input.
pub fn line() -> Result<Vec<u8>> {
    let terminal = stdin();
    let before = tcgetattr(&terminal).map_err(unable)?;
    let _ = stderr().flush();
    let mut typed = Vec::new();
    silence(&terminal, &before)?;
    let read = loop {
        let mut byte = [0];
        match terminal.lock().read(&mut byte) {
            Ok(0) => break Ok(()),
            Ok(_) => {}
            Err(err) => break Err(super::unreadable(super::STANDARD_INPUT, &err)),
        }
        match take(byte[0], &before, &mut typed) {
            ByteEffect::More => {}
            ByteEffect::End => break Ok(()),
            ByteEffect::Signal(signal) => {
                show_again(&terminal, &before)?;
                kill_process(getpid(), signal).map_err(unable)?;
                // The process reaches this line only if it was suspended and now continues.
                silence(&terminal, &before)?;
            }
        }
    };
    show_again(&terminal, &before)?;
    read.map(|()| typed)
}

/// Applies the byte to the line, with the special keys of the terminal.
fn take(byte: u8, keys: &Termios, typed: &mut Vec<u8>) -> ByteEffect {
    let is = |index| byte != 0 && keys.special_codes[index] == byte;
    let signals = keys.local_modes.contains(LocalModes::ISIG);
    match byte {
        b'\n' | b'\r' => return ByteEffect::End,
        _ if signals && is(SpecialCodeIndex::VINTR) => return ByteEffect::Signal(Signal::INT),
        _ if signals && is(SpecialCodeIndex::VQUIT) => return ByteEffect::Signal(Signal::QUIT),
        _ if signals && is(SpecialCodeIndex::VSUSP) => return ByteEffect::Signal(Signal::TSTP),
        _ if is(SpecialCodeIndex::VEOF) => return ByteEffect::End,
        _ if is(SpecialCodeIndex::VKILL) => typed.clear(),
        0x08 | 0x7f => erase(typed),
        _ if is(SpecialCodeIndex::VERASE) => erase(typed),
        // A line that is too long is refused later; the rest is not stored.
        _ if typed.len() as u64 > super::SECRET_BYTES_MAX => {}
        _ => typed.push(byte),
    }
    ByteEffect::More
}

/// Removes the last character with all its bytes.
fn erase(typed: &mut Vec<u8>) {
    let is_inside = |byte: u8| byte & 0xc0 == 0x80;
    while typed.pop().is_some_and(is_inside) {}
}

fn silence(terminal: &Stdin, before: &Termios) -> Result<()> {
    let mut silent = before.clone();
    let loud = LocalModes::ECHO | LocalModes::ECHONL | LocalModes::ICANON | LocalModes::ISIG;
    silent.local_modes.remove(loud);
    silent.input_modes.insert(InputModes::ICRNL);
    silent.special_codes[SpecialCodeIndex::VMIN] = 1;
    silent.special_codes[SpecialCodeIndex::VTIME] = 0;
    tcsetattr(terminal, OptionalActions::Flush, &silent).map_err(unable)
}

fn show_again(terminal: &Stdin, before: &Termios) -> Result<()> {
    eprintln!();
    tcsetattr(terminal, OptionalActions::Drain, before).map_err(unable)
}

fn unable(err: rustix::io::Errno) -> Failure {
    Failure::refused(format!("the terminal cannot be silenced: {err}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_character_is_taken_away_whole() {
        let mut typed = "aé€".as_bytes().to_vec();
        for left in ["aé", "a", "", ""] {
            erase(&mut typed);
            assert_eq!(typed, left.as_bytes());
        }
    }
}
