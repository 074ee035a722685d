//! Writes log lines to standard error without ever waiting for the process that reads them.
//!
//! Otherwise a reader that has stopped (a full pipe) would block every thread that logs, which is all of them
//! (attacks 247). Lines that cannot be written immediately are dropped and counted; the count is written when there
//! is room again.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io::{self, Write};

/// If a pipe is ready for writing, it accepts at least this many bytes without blocking (PIPE_BUF).
const CHUNK_BYTES: usize = 4096;

/// Standard error for the logger, which passes one line at a time, from one thread at a time.
#[derive(Default)]
pub struct LogLine {
    dropped: u64,
}

impl Write for LogLine {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.dropped > 0 {
            let note = format!("(lines of the log that were dropped: {})\n", self.dropped);
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

/// `false` if writing would block.
fn write_at_once(chunk: &[u8]) -> bool {
    let stderr = io::stderr();
    let mut asked = [PollFd::new(&stderr, PollFlags::OUT)];
    let at_once = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let is_ready = matches!(poll(&mut asked, Some(&at_once)), Ok(1..));
    // A closed standard error accepts nothing, and trying again would not help.
    if is_ready {
        let _ = stderr.lock().write_all(chunk);
    }
    is_ready
}
