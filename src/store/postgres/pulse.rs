//! When the server was last heard by any connection of this process. A server whose processes are stopped keeps its connections open and
//! answers nothing, and a request to it would wait as long as one that only takes long.

use std::sync::atomic::{
    AtomicU64, AtomicUsize,
    Ordering::{Relaxed, SeqCst},
};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// See the heading. The connections to one address share it.
#[derive(Debug, Default)]
pub struct Pulse {
    /// In milliseconds since the process first looked.
    heard_ms: AtomicU64,
    /// As long as there are some, the server is asked something once a second.
    watches: AtomicUsize,
}

/// A promise to ask the server something once a second, until this is dropped.
pub struct Watch(Arc<Pulse>);

impl Pulse {
    /// Notes that the server has answered.
    pub fn note(&self) {
        self.heard_ms.fetch_max(now_ms(), Relaxed);
    }

    /// Promises to ask once a second.
    pub fn watch(self: &Arc<Pulse>) -> Watch {
        self.watches.fetch_add(1, SeqCst);
        Watch(self.clone())
    }

    /// Whether the server has answered nothing for so long, to nobody, while a request waits that began at this time. Never if it is
    /// not asked regularly: then a request that takes long looks the same.
    pub fn is_gone(&self, began: Instant, silence: Duration) -> bool {
        let silent_ms = now_ms().saturating_sub(self.heard_ms.load(Relaxed));
        self.watches.load(SeqCst) > 0
            && began.elapsed() >= silence
            && Duration::from_millis(silent_ms) >= silence
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.watches.fetch_sub(1, SeqCst);
    }
}

fn now_ms() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    let since = START.get_or_init(Instant::now).elapsed();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::link::Failure;
    use super::super::server;
    use super::*;
    use std::future::pending;

    #[test]
    fn a_request_to_a_server_that_is_gone_is_given_up() {
        let Some((_postgres, address)) = server::open() else {
            return;
        };
        let _watch = address.pulse.watch();
        let (none, hour) = (Duration::ZERO, Duration::from_secs(3_600));
        let mut link = address.connect_to(0).unwrap().unwrap();
        let request = pending::<std::result::Result<(), Failure>>();
        let given_up = link.run_unless_gone(hour, none, || false, request);
        assert!(matches!(given_up, Err(Failure::Late(limit)) if limit == none));
        assert!(link.is_over());
    }

    #[test]
    fn only_a_silence_that_nothing_explains_counts() {
        let pulse = Arc::<Pulse>::default();
        let (began, none, hour) = (Instant::now(), Duration::ZERO, Duration::from_secs(3_600));
        assert!(!pulse.is_gone(began, none));
        let watch = pulse.watch();
        assert!(pulse.is_gone(began, none));
        // The request is too young.
        assert!(!pulse.is_gone(began, hour));
        // Another one was answered.
        pulse.heard_ms.store(u64::MAX, Relaxed);
        assert!(!pulse.is_gone(began, Duration::from_millis(1)));
        drop(watch);
        assert!(!pulse.is_gone(began, none));
    }
}
