//! A fixed set of threads for requests that may block.
//!
//! All of them start with the server, so that a machine that refuses new threads later (attacks 38) cannot make a
//! request fail; and the queue is bounded, so that a slow disk cannot fill the memory.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::domain::locks::lock;

/// Dropping it lets the threads finish what is queued and end.
pub struct Pool<J> {
    jobs: SyncSender<J>,
}

impl<J: Send + 'static> Pool<J> {
    /// Fails only if not even one thread can be had.
    pub fn start(threads: usize, queue_max: usize, work: fn(J)) -> io::Result<Pool<J>> {
        let (jobs, queue) = sync_channel(queue_max);
        let queue = Arc::new(Mutex::new(queue));
        for index in 0..threads {
            let queue = Arc::clone(&queue);
            let started = thread::Builder::new()
                .name(format!("blocking-{index}"))
                .spawn(move || work_off(&queue, work));
            match started {
                Ok(_) => (),
                Err(err) if index == 0 => return Err(err),
                Err(err) => {
                    log::warn!(
                        "only {index} of {threads} blocking threads could be started: {err}"
                    );
                    break;
                }
            }
        }
        Ok(Pool { jobs })
    }

    /// Queues a job, or gives it back if the queue is full.
    pub fn offer(&self, job: J) -> Result<(), J> {
        self.jobs.try_send(job).map_err(|err| match err {
            TrySendError::Disconnected(job) | TrySendError::Full(job) => job,
        })
    }
}

fn work_off<J>(queue: &Mutex<Receiver<J>>, work: fn(J)) {
    loop {
        // The lock is held while waiting: one thread waits for a job, the others for the lock.
        let job = lock(queue).recv();
        let Ok(job) = job else {
            return;
        };
        // Jobs answer for their own panics; this keeps the thread if one of them does not.
        let _ = catch_unwind(AssertUnwindSafe(|| work(job)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[test]
    fn a_full_queue_refuses_and_a_panic_costs_no_thread() {
        type Job = Box<dyn FnOnce() + Send>;
        let pool = Pool::start(1, 1, |job: Job| job()).unwrap();
        let (running, started) = channel();
        let (release, wait) = channel::<()>();
        let blocks = move || {
            running.send(()).unwrap();
            wait.recv().unwrap();
            panic!("on purpose");
        };
        assert!(pool.offer(Box::new(blocks)).is_ok());
        started.recv().unwrap();
        let (done, finished) = channel();
        assert!(pool.offer(Box::new(move || done.send(()).unwrap())).is_ok());
        assert!(pool.offer(Box::new(|| ())).is_err());
        release.send(()).unwrap();
        finished.recv().unwrap();
    }
}
