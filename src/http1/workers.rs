//! The I/O threads: each serves the connections that were assigned to it, and no others.
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

/// After how many polls of connections a thread looks for outside events: a new connection, an answer from the pool, a
/// connection that must be closed. With tokio's default (31) such events wait for seconds when thousands of clients are
/// busy.
const TURNS_MAX: u32 = 3;

/// Dropping it ends the threads and all connections that they still have.
pub struct Workers {
    handles: Vec<Handle>,
    next: AtomicUsize,
    /// Closed at shutdown: every task that waits on it, now or later, ends.
    ended: Arc<Semaphore>,
}

impl Workers {
    /// Fails if a thread or its reactor cannot be created.
    pub fn start(count: usize) -> io::Result<Workers> {
        let workers = Workers {
            handles: Vec::with_capacity(count),
            next: AtomicUsize::new(0),
            ended: Arc::new(Semaphore::new(0)),
        };
        (0..count.max(1)).try_fold(workers, |mut workers, number| {
            let runtime = Builder::new_current_thread()
                .enable_io()
                .enable_time()
                .global_queue_interval(TURNS_MAX)
                // The clients may run on the same processor: while one of them gets it, more requests arrive and are
                // then answered together. Without this, some clients are answered immediately again and again while the
                // others wait until the time slice of this thread is used up.
                .on_thread_park(thread::yield_now)
                .build()?;
            workers.handles.push(runtime.handle().clone());
            let ended = Arc::clone(&workers.ended);
            thread::Builder::new()
                .name(format!("http-{number}"))
                .spawn(move || drop(runtime.block_on(ended.acquire())))?;
            Ok(workers)
        })
    }

    /// Assigns a connection to the next thread in turn.
    pub fn give(&self, connection: impl Future<Output = ()> + Send + 'static) {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        self.handles[turn % self.handles.len()].spawn(connection);
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.ended.close();
    }
}
