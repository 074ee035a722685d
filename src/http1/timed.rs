//! Connections to others with one deadline for everything. A timeout of the system is for one read alone: a peer that sends a byte
//! now and then never reaches it.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// What has timeouts for its reads and writes.
pub trait Socket: Read + Write {
    fn set_timeouts(&self, left: Duration) -> io::Result<()>;
}

impl Socket for TcpStream {
    fn set_timeouts(&self, left: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(left))?;
        self.set_write_timeout(Some(left))
    }
}

impl Socket for UnixStream {
    fn set_timeouts(&self, left: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(left))?;
        self.set_write_timeout(Some(left))
    }
}

/// A connection whose reads and writes fail from the deadline on.
#[derive(Debug)]
pub struct Timed<S> {
    pub socket: S,
    pub end: Instant,
}

/// What is left until the deadline; never zero.
pub fn left(end: Instant) -> io::Result<Duration> {
    let left = end.saturating_duration_since(Instant::now());
    match left.is_zero() {
        true => Err(ErrorKind::TimedOut.into()),
        false => Ok(left),
    }
}

impl<S: Socket> Timed<S> {
    fn step<T>(&mut self, step: impl FnOnce(&mut S) -> io::Result<T>) -> io::Result<T> {
        self.socket.set_timeouts(left(self.end)?)?;
        // The system reports a timeout as a connection that would block.
        step(&mut self.socket).map_err(|err| match err.kind() {
            ErrorKind::WouldBlock => ErrorKind::TimedOut.into(),
            _ => err,
        })
    }
}

impl<S: Socket> Read for Timed<S> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.step(|socket| socket.read(into))
    }
}

impl<S: Socket> Write for Timed<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.step(|socket| socket.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.step(|socket| socket.flush())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_goes_on_sending_does_not_move_the_deadline() {
        let (mut sender, socket) = UnixStream::pair().unwrap();
        let sending = std::thread::spawn(move || while sender.write_all(b"x").is_ok() {});
        let mut timed = Timed {
            socket,
            end: Instant::now() + Duration::from_millis(50),
        };
        let ended = io::copy(&mut timed, &mut io::sink());
        assert_eq!(ended.unwrap_err().kind(), ErrorKind::TimedOut);
        drop(timed);
        sending.join().unwrap();
    }

    #[test]
    fn silence_ends_with_the_deadline_too() {
        let (_sender, socket) = UnixStream::pair().unwrap();
        let mut timed = Timed {
            socket,
            end: Instant::now() + Duration::from_millis(20),
        };
        let ended = timed.read(&mut [0]);
        assert_eq!(ended.unwrap_err().kind(), ErrorKind::TimedOut);
    }
}
