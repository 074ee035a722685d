//! The fastest server that can stand in the place of Latchkey behind a proxy, for `dev/bench proxies`: it answers every
//! request head with the same bytes, and reads nothing of it but its end. One thread for each processor waits for its
//! share of the connections; they are kept open. It is no HTTP server: a request with a body is not understood.
//!
//!     rustc -O dev/bench-stand-in.rs && ./bench-stand-in 127.0.0.1:8421 ANSWER-FILE

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

/// Answers on all connections that are added to `epoll`.
fn serve(epoll: i32, answer: &[u8]) {
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
                Ok(length) if bytes[..length].ends_with(b"\r\n\r\n") => {
                    connection.write_all(answer).is_ok()
                }
                Ok(_) => true,
            };
            if goes_on {
                let _ = connection.into_raw_fd();
            }
        }
    }
}

fn main() -> std::io::Result<()> {
    let words: Vec<String> = std::env::args().collect();
    let answer: &'static [u8] = std::fs::read(&words[2])?.leak();
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
        thread::spawn(move || serve(epoll, answer));
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
