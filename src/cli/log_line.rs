//! Log lines to standard error, never waiting for whoever reads them.
//!
//! A reader that has stopped (a full pipe) would otherwise stop the threads that log, which is all of them
//! (attacks 247). What cannot be written at once is dropped and counted; the count follows when there is room.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io::{self, Write};

/// A pipe that can be written to takes so many bytes without waiting (PIPE_BUF).
const CHUNK_BYTES: usize = 4096;

/// Standard error for the logger, which hands over one line a time and lets one thread in.
#[derive(Default)]
pub struct LogLine {
    dropped: u64,
}

impl Write for LogLine {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.dropped > 0 {
            let note = format!("({} lines of the log were dropped)\n", self.dropped);
            if write_at_once(note.as_bytes()) {
                self.dropped = 0;
            }
        }
        if self.dropped > 0 || !line.chunks(CHUNK_BYTES).all(write_at_once) {
            self.dropped += 1;
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// `false` if writing would have to wait.
fn write_at_once(chunk: &[u8]) -> bool {
    let stderr = io::stderr();
    let mut asked = [PollFd::new(&stderr, PollFlags::OUT)];
    let at_once = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let is_ready = matches!(poll(&mut asked, Some(&at_once)), Ok(1..));
    // An output that was closed takes nothing, and that is no reason to come back.
    if is_ready {
        let _ = stderr.lock().write_all(chunk);
    }
    is_ready
}
