//! The I/O threads: each runs the connections that it was given, and no other.
//!
//! A connection never moves to another thread, so threads wake one another only to hand over a new connection or an
//! answer from the pool.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use tokio::runtime::{Builder, Handle};
use tokio::sync::Semaphore;

/// After so many turns of connections a thread takes one from outside: a new connection, an answer from the pool, one that
/// has to go. tokio's own choice (31) lets these wait for seconds behind thousands of clients that are busy.
const TURNS_MAX: u32 = 3;

/// Dropping it ends the threads and whatever connections they still have.
pub struct Lanes {
    handles: Vec<Handle>,
    next: AtomicUsize,
    /// Closed at the end: whoever waits then, or comes to wait later, ends.
    ended: Arc<Semaphore>,
}

impl Lanes {
    /// Fails if a thread or its reactor is not to be had.
    pub fn start(count: usize) -> io::Result<Lanes> {
        let lanes = Lanes {
            handles: Vec::with_capacity(count),
            next: AtomicUsize::new(0),
            ended: Arc::new(Semaphore::new(0)),
        };
        (0..count.max(1)).try_fold(lanes, |mut lanes, number| {
            let runtime = Builder::new_current_thread()
                .enable_io()
                .enable_time()
                .global_queue_interval(TURNS_MAX)
                // Whoever sends us requests may wait for this very processor: while he gets it, more arrive, and they
                // are then answered together. Otherwise some clients are answered at once, again and again, and the
                // others wait until our share of the time is used up.
                .on_thread_park(thread::yield_now)
                .build()?;
            lanes.handles.push(runtime.handle().clone());
            let ended = Arc::clone(&lanes.ended);
            thread::Builder::new()
                .name(format!("http-{number}"))
                .spawn(move || drop(runtime.block_on(ended.acquire())))?;
            Ok(lanes)
        })
    }

    /// Gives a connection to the next thread in turn.
    pub fn give(&self, connection: impl Future<Output = ()> + Send + 'static) {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        self.handles[turn % self.handles.len()].spawn(connection);
    }
}

impl Drop for Lanes {
    fn drop(&mut self) {
        self.ended.close();
    }
}
