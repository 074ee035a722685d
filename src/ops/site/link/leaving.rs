//! The end of a link: a process of a site that stops gives up its lease, and informs its server, so that no change waits for it.

use crate::domain::locks::lock;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// How long the end of the process waits for that. A server that is out of reach waits for the lease instead.
const PATIENCE: Duration = Duration::from_secs(3);

/// See the heading.
#[derive(Default)]
pub struct Leaving {
    state: Mutex<State>,
    change: Condvar,
}

#[derive(Clone, Copy, Default, Eq, PartialEq)]
enum State {
    /// No thread follows the server, or it has ended.
    #[default]
    None,
    Following,
    Leaving,
}

/// Held by the thread that follows the server, as long as it runs.
pub struct Following<'a>(&'a Leaving);

impl Drop for Following<'_> {
    fn drop(&mut self) {
        *lock(&self.0.state) = State::None;
        self.0.change.notify_all();
    }
}

impl Leaving {
    /// Notes that a thread follows the server from now on.
    pub fn begin(&self) -> Following<'_> {
        *lock(&self.state) = State::Following;
        Following(self)
    }

    /// Whether that thread is to end.
    pub fn is_wanted(&self) -> bool {
        *lock(&self.state) == State::Leaving
    }

    /// Ends that thread, and waits until it has informed the server, which must not take long. `wake` ends what it waits for.
    pub(super) fn ask_for(&self, wake: impl FnOnce()) {
        let mut state = lock(&self.state);
        if *state == State::None {
            return;
        }
        *state = State::Leaving;
        wake();
        let is_left = |state: &mut State| *state != State::None;
        let waited = self.change.wait_timeout_while(state, PATIENCE, is_left);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_waits_for_the_thread_that_follows() {
        let leaving = Leaving::default();
        leaving.ask_for(|| panic!("there is nobody to wake"));
        let (wanted, woken) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            let following = leaving.begin();
            assert!(!leaving.is_wanted());
            let leaving = &leaving;
            scope.spawn(move || {
                woken.recv().unwrap();
                assert!(leaving.is_wanted());
                drop(following);
            });
            leaving.ask_for(|| wanted.send(()).unwrap());
            assert!(!leaving.is_wanted());
        });
    }
}
