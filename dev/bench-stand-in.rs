//! The fastest server that can stand in the place of Latchkey behind a proxy, for `dev/bench proxies`: it answers every
//! request head with the same bytes, and reads nothing of it but its end. One thread for each processor waits for its
//! share of the connections; they are kept open. It is no HTTP server: a request with a body is not understood.
//!
//!     rustc -O dev/bench-stand-in.rs && ./bench-stand-in 127.0.0.1:8421 ANSWER-FILE
//!
//! With a third word, `agent`, it is an agent of HAProxy in the same way: the file has the actions of an answer, which
//! follow the identifiers of each question.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd};
use std::thread;

/// `struct epoll_event` of Linux on x86-64, where it is packed; elsewhere it is not.
#[cfg_attr(target_arch = "x86_64", repr(C, packed))]
#[cfg_attr(not(target_arch = "x86_64"), repr(C))]
#[derive(Clone, Copy)]
struct Event {
    events: u32,
    connection: u64,
}

// The standard library is linked with the C library, and has no epoll itself.
unsafe extern "C" {
    fn epoll_create1(flags: i32) -> i32;
    fn epoll_ctl(epoll: i32, operation: i32, file: i32, event: *mut Event) -> i32;
    fn epoll_wait(epoll: i32, events: *mut Event, events_max: i32, timeout_ms: i32) -> i32;
    fn setsockopt(file: i32, level: i32, name: i32, value: *const u8, length: u32) -> i32;
}

const READABLE: u32 = 1;
const ADD: i32 = 1;
const IPPROTO_TCP: i32 = 6;
const TCP_CONGESTION: i32 = 13;

/// The answer to the hello of HAProxy.
const HELLO: &[u8] = b"\0\0\0\x40\x65\0\0\0\x01\0\0\x07version\x08\x032.0\x0emax-frame-size\x03\xfc\xf0\x06\
                       \x0ccapabilities\x08\x0apipelining";

/// Answers all whole frames in `arrived`, and takes them out of it. `None` if HAProxy ends the connection.
fn answer_frames(arrived: &mut Vec<u8>, actions: &[u8]) -> Option<Vec<u8>> {
    let (mut out, mut start) = (Vec::new(), 0);
    while let Some((length, rest)) = arrived[start..].split_first_chunk::<4>() {
        let Some(frame) = rest.get(..u32::from_be_bytes(*length) as usize) else {
            break;
        };
        start += 4 + frame.len();
        match frame[0] {
            1 => out.extend(HELLO),
            3 => {
                let first = number_bytes(&frame[5..]);
                let ids = &frame[5..5 + first + number_bytes(&frame[5 + first..])];
                let bytes = 5 + ids.len() + actions.len();
                out.extend((bytes as u32).to_be_bytes());
                out.extend(b"\x67\0\0\0\x01");
                out.extend(ids);
                out.extend(actions);
            }
            _ => return None,
        }
    }
    arrived.drain(..start);
    Some(out)
}

/// How long the number is with which these bytes begin.
fn number_bytes(bytes: &[u8]) -> usize {
    match bytes[0] {
        0..240 => 1,
        _ => 1 + bytes[1..].iter().take_while(|byte| **byte >= 128).count() + 1,
    }
}

/// Answers on all connections that are added to `epoll`.
fn serve(epoll: i32, answer: &[u8], is_agent: bool) {
    let mut arrived: HashMap<u64, Vec<u8>> = HashMap::new();
    let mut events = [Event {
        events: 0,
        connection: 0,
    }; 64];
    let mut bytes = [0; 16_384];
    loop {
        // Safety: the kernel writes at most as many events as there is room for.
        let ready = unsafe { epoll_wait(epoll, events.as_mut_ptr(), events.len() as i32, -1) };
        for event in &events[..ready.max(0) as usize] {
            // Safety: `main` has given up the connection, and only this thread has it.
            let mut connection = unsafe { TcpStream::from_raw_fd(event.connection as i32) };
            let goes_on = match connection.read(&mut bytes) {
                Ok(0) | Err(_) => false,
                Ok(length) if is_agent => {
                    let arrived = arrived.entry(event.connection).or_default();
                    arrived.extend(&bytes[..length]);
                    answer_frames(arrived, answer)
                        .is_some_and(|out| connection.write_all(&out).is_ok())
                }
                Ok(length) if bytes[..length].ends_with(b"\r\n\r\n") => {
                    connection.write_all(answer).is_ok()
                }
                Ok(_) => true,
            };
            if goes_on {
                let _ = connection.into_raw_fd();
            } else {
                // The next connection may have the same number.
                arrived.remove(&{ event.connection });
            }
        }
    }
}

fn main() -> std::io::Result<()> {
    let words: Vec<String> = std::env::args().collect();
    let answer: &'static [u8] = std::fs::read(&words[2])?.leak();
    let is_agent = words.get(3).is_some_and(|word| word == "agent");
    let listener = TcpListener::bind(&words[1])?;
    // As Latchkey does on loopback: other algorithms set timers for queues that are not there.
    // Safety: the text is as long as it is said to be.
    unsafe {
        setsockopt(
            listener.as_raw_fd(),
            IPPROTO_TCP,
            TCP_CONGESTION,
            b"reno".as_ptr(),
            4,
        )
    };
    let workers = thread::available_parallelism()?.get();
    // Safety: the call has no pointer.
    let epolls: Vec<i32> = (0..workers).map(|_| unsafe { epoll_create1(0) }).collect();
    for epoll in epolls.iter().copied() {
        thread::spawn(move || serve(epoll, answer, is_agent));
    }
    for (number, connection) in listener.incoming().flatten().enumerate() {
        connection.set_nodelay(true)?;
        let mut event = Event {
            events: READABLE,
            connection: connection.as_raw_fd() as u64,
        };
        // Safety: the event lives longer than the call, and the connection stays open for the worker.
        unsafe {
            epoll_ctl(
                epolls[number % workers],
                ADD,
                connection.into_raw_fd(),
                &mut event,
            )
        };
    }
    Ok(())
}
