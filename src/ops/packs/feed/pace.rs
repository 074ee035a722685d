//! How often one site may ask. A site asks again when it has its answer, and the server holds the answer back a little when
//! there is much to send, so only one that does not wait for its answers comes near these limits.

use crate::domain::budget::{Buckets, Rate};
use crate::domain::locks::lock;
use crate::domain::packs::site::SITES_MAX;
use crate::error::{Error, Result};
use std::sync::Mutex;

/// Questions of one site.
const QUESTIONS: Rate = Rate {
    per_second: 200,
    burst: 400,
};
/// Those of them for which the database has to record how long the site may answer: the first ones of a process of the site.
const REGISTRATIONS: Rate = Rate {
    per_second: 5,
    burst: 20,
};
/// Those of them that begin a new life of the site, to which uses are lent from then on. Here a second of the rate is a minute.
const NEW_LIVES: Rate = Rate {
    per_second: 1,
    burst: 5,
};
const MINUTE: u64 = 60;

/// See the heading. Only questions that were made with the key of their site count.
pub struct Pace {
    questions: Mutex<Buckets<String>>,
    registrations: Mutex<Buckets<String>>,
    new_lives: Mutex<Buckets<String>>,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace {
            questions: Mutex::new(Buckets::new(QUESTIONS, SITES_MAX)),
            registrations: Mutex::new(Buckets::new(REGISTRATIONS, SITES_MAX)),
            new_lives: Mutex::new(Buckets::new(NEW_LIVES, SITES_MAX)),
        }
    }
}

impl Pace {
    /// Counts a question.
    ///
    /// # Errors
    /// `TooMany` if the site has asked too often.
    pub fn question(&self, site: &str, now_ms: u64) -> Result<()> {
        charge(&self.questions, site, now_ms)
    }

    /// Takes back the count of a question that is read again, on a thread that may wait.
    pub fn refund(&self, site: &str, now_ms: u64) {
        lock(&self.questions).refund(&[site.to_owned()], now_ms);
    }

    /// Counts a question for which the database has to record something.
    ///
    /// # Errors
    /// See [`Pace::question`].
    pub fn registration(&self, site: &str, now_ms: u64) -> Result<()> {
        charge(&self.registrations, site, now_ms)
    }

    /// Counts a question that begins a new life of the site.
    ///
    /// # Errors
    /// See [`Pace::question`].
    pub fn new_life(&self, site: &str, now_ms: u64) -> Result<()> {
        let charged = lock(&self.new_lives).charge(&[site.to_owned()], now_ms / MINUTE);
        charged.map_err(|minutes| Error::TooMany {
            retry_after_s: minutes * MINUTE,
        })
    }

    /// For tests that ask faster than a site.
    #[cfg(test)]
    pub fn set_rate(&self, rate: Rate) {
        lock(&self.questions).set_rate(rate);
        lock(&self.registrations).set_rate(rate);
        lock(&self.new_lives).set_rate(rate);
    }
}

fn charge(buckets: &Mutex<Buckets<String>>, site: &str, now_ms: u64) -> Result<()> {
    let charged = lock(buckets).charge(&[site.to_owned()], now_ms);
    charged.map_err(|retry_after_s| Error::TooMany { retry_after_s })
}
