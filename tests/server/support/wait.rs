//! Waiting. No test expects a speed: a busy machine makes a test longer, never wrong. This is the only file of the tests
//! that sleeps or measures a time (`tests/tidy.rs` checks this).

use std::thread;
use std::time::{Duration, Instant};

/// Ends a test that would hang. Nothing takes this long, not even on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(300);

/// The time between two looks at a condition.
const LOOK: Duration = Duration::from_millis(10);

/// How often [`quick_run`] tries.
const RUNS: usize = 6;

/// Waits until a condition holds; `condition` names it for the message of a test that hangs.
#[track_caller]
pub fn until(condition: &str, mut holds: impl FnMut() -> bool) {
    some(condition, || holds().then_some(()));
}

/// Waits until there is a value.
#[track_caller]
pub fn some<T>(condition: &str, mut value: impl FnMut() -> Option<T>) -> T {
    match some_in_time(&mut value) {
        Some(value) => value,
        None => panic!("{PATIENCE:?} have passed, and it is still not true that {condition}"),
    }
}

/// Like [`some`], for a caller that has to clean up before the test fails.
pub fn some_in_time<T>(mut value: impl FnMut() -> Option<T>) -> Option<T> {
    let began = Instant::now();
    loop {
        let found = value();
        if found.is_some() || began.elapsed() >= PATIENCE {
            return found;
        }
        thread::sleep(LOOK);
    }
}

/// Lets a time pass: at least this one. The rest of the test must be right however long the pause becomes.
pub fn pause(time: Duration) {
    thread::sleep(time);
}

/// Runs an experiment that has to be over before something else happens, such as a deadline of the server that cannot
/// be changed. A run that took too long says nothing, so it is repeated. With the fault that the experiment looks for,
/// every run takes too long. Returns the result of the first quick run.
#[track_caller]
pub fn quick_run<T>(limit: Duration, mut experiment: impl FnMut() -> T) -> T {
    let mut times = Vec::new();
    for _ in 0..RUNS {
        let watch = Stopwatch::start();
        let result = experiment();
        let time = watch.time();
        if time < limit {
            return result;
        }
        times.push(time);
    }
    panic!("no run took less than {limit:?}: {times:?}");
}

/// Measures how long something took. Tests may demand that it took at least so long, never that it was quick.
pub struct Stopwatch(Instant);

impl Stopwatch {
    pub fn start() -> Stopwatch {
        Stopwatch(Instant::now())
    }

    pub fn time(&self) -> Duration {
        self.0.elapsed()
    }
}
