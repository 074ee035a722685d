//! How long verifications take, and how they end.

use super::Verdict;
use crate::domain::keys::verdict::Code;
use crate::ops::App;
use std::cell::Cell;
use std::time::Instant;

/// A verification with a measured duration.
pub struct TimedVerification {
    pub began: Instant,
    code: Cell<Code>,
}

impl TimedVerification {
    pub fn begin() -> TimedVerification {
        TimedVerification {
            began: Instant::now(),
            code: Cell::new(Code::NotFound),
        }
    }

    /// Wraps `render` so that it also records the code.
    pub fn over<'a, R>(
        &'a self,
        render: &'a impl Fn(&Verdict<'_>) -> R,
    ) -> impl Fn(&Verdict<'_>) -> R + 'a {
        |verdict| {
            self.code.set(verdict.code);
            render(verdict)
        }
    }

    pub fn count(&self, app: &App) {
        app.figures()
            .count_verdict(self.code.get(), self.began.elapsed());
    }
}
