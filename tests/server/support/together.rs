//! Runs many threads that do the same thing at the same moment.

use std::sync::Barrier;
use std::thread;

/// Runs `work` on so many threads, which all start together, and returns their results in order.
pub fn together<T: Send>(threads: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let start = Barrier::new(threads);
    let (start, work) = (&start, &work);
    thread::scope(|scope| {
        let running: Vec<_> = (0..threads)
            .map(|own| {
                scope.spawn(move || {
                    start.wait();
                    work(own)
                })
            })
            .collect();
        running
            .into_iter()
            .map(|thread| thread.join().expect("no thread panics"))
            .collect()
    })
}
