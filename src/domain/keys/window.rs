//! The sliding window of a rate limit, in memory or in a row of the store.

use super::quota::{RateLimit, RateStatus};
use crate::error::{Error, Result};
use std::collections::VecDeque;

/// The largest number of slots in a window, which limits its memory.
const SLOTS: u64 = 1_000;

/// A sliding window: the admitted requests by time, in slots of one millisecond, or of a thousandth of the window for
/// limits above a thousand.
///
/// The requests of a slot count until the last of them is one whole window old. So no window ever contains more
/// requests than the limit, and quota returns on time, or with large limits at most a thousandth of the window late.
/// A window in memory is empty after a restart. That of an exact limit can be written into a row of the store.
#[derive(Debug, Default, Eq, PartialEq)]
pub struct Window {
    /// (slot number, requests admitted in it), oldest first.
    slots: VecDeque<(u64, u64)>,
    spent: u64,
    /// The width of the slots. If it differs from that of the rate, the limit was edited.
    slot_ms: u64,
}

impl Window {
    /// Counts one attempt, or refuses it with the time until the next attempt is possible.
    pub fn count(
        &mut self,
        rate: RateLimit,
        steady_ms: u64,
    ) -> std::result::Result<(), RateStatus> {
        self.fits(rate, 1, steady_ms)?;
        self.take(rate, 1, steady_ms);
        Ok(())
    }

    /// The requests that still count in the window.
    pub fn spent(&mut self, rate: RateLimit, steady_ms: u64) -> u64 {
        self.forget(rate, steady_ms);
        self.spent
    }

    pub fn fits(
        &mut self,
        rate: RateLimit,
        cost: u64,
        steady_ms: u64,
    ) -> std::result::Result<(), RateStatus> {
        self.forget(rate, steady_ms);
        let free = rate.limit.saturating_sub(self.spent);
        if rate.limit > 0 && cost <= free {
            return Ok(());
        }
        Err(RateStatus {
            rate,
            remaining: free,
            reset_s: self.seconds_until_free(rate, cost, steady_ms),
        })
    }

    pub fn take(&mut self, rate: RateLimit, cost: u64, steady_ms: u64) -> RateStatus {
        let slot = steady_ms / slot_ms(rate);
        if cost > 0 {
            match self.slots.back_mut() {
                Some((last, count)) if *last >= slot => *count += cost,
                _ => self.slots.push_back((slot, cost)),
            }
            self.spent += cost;
        }
        let reset_s = match self.slots.front() {
            Some((oldest, _)) => ceil_s(leaves_at(*oldest, rate), steady_ms),
            None => rate.window_s,
        };
        RateStatus {
            rate,
            remaining: rate.limit.saturating_sub(self.spent),
            reset_s,
        }
    }

    /// Drops the slots in which every request is one whole window old. After an edit of the limit, everything that
    /// still counts is treated as spent just now, so an edit never restores quota.
    fn forget(&mut self, rate: RateLimit, steady_ms: u64) {
        if self.slot_ms != slot_ms(rate) {
            self.slot_ms = slot_ms(rate);
            self.slots.clear();
            if self.spent > 0 {
                self.slots.push_back((steady_ms / self.slot_ms, self.spent));
            }
        }
        while let Some((slot, count)) = self.slots.front().copied()
            && leaves_at(slot, rate) <= steady_ms
        {
            self.slots.pop_front();
            self.spent -= count;
        }
    }

    fn seconds_until_free(&self, rate: RateLimit, cost: u64, steady_ms: u64) -> u64 {
        ceil_s(self.free_at(rate, cost, steady_ms), steady_ms)
    }

    /// When there is room for a request of this cost, by the clock of the window. If there never is, one window from now.
    pub fn free_at(&self, rate: RateLimit, cost: u64, now_ms: u64) -> u64 {
        let mut free = rate.limit.saturating_sub(self.spent);
        for (slot, count) in &self.slots {
            free += count;
            if rate.limit > 0 && free >= cost {
                return leaves_at(*slot, rate);
            }
        }
        now_ms + rate.window_s * 1000
    }

    /// When nothing in it counts any more, by the clock of the window.
    #[cfg_attr(
        not(feature = "postgres"),
        allow(dead_code, reason = "only nodes that share a database store a window")
    )]
    pub fn ends_at(&self, rate: RateLimit) -> u64 {
        self.slots
            .back()
            .map_or(0, |(slot, _)| leaves_at(*slot, rate))
    }

    /// The window of an exact limit as bytes: the first slot in 8 bytes and its count in 2, and of each later slot the distance to
    /// the one before in 4 bytes and the count in 2. A window without requests has no bytes.
    ///
    /// # Errors
    /// The window is not that of an exact limit.
    #[cfg_attr(
        not(feature = "postgres"),
        allow(dead_code, reason = "only nodes that share a database store a window")
    )]
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut bytes = Vec::with_capacity(4 + self.slots.len() * 6);
        let mut before = None;
        for (slot, count) in &self.slots {
            match before.replace(*slot) {
                None => bytes.extend(slot.to_be_bytes()),
                Some(before) => {
                    let distance = u32::try_from(slot - before).map_err(Error::internal)?;
                    bytes.extend(distance.to_be_bytes());
                }
            }
            bytes.extend(
                u16::try_from(*count)
                    .map_err(Error::internal)?
                    .to_be_bytes(),
            );
        }
        Ok(bytes)
    }

    /// Reads what [`Window::to_bytes`] has written. What is later than `now_ms`, because the clock was set back, counts as spent
    /// now: so it ends one window from now, and nothing returns early.
    ///
    /// # Errors
    /// The bytes are no window of an exact limit.
    #[cfg_attr(
        not(feature = "postgres"),
        allow(dead_code, reason = "only nodes that share a database store a window")
    )]
    pub fn from_bytes(bytes: &[u8], now_ms: u64) -> Result<Window> {
        let broken = || Error::internal("the stored window of an exact limit cannot be read");
        let mut window = Window {
            slot_ms: 1,
            ..Window::default()
        };
        let Some((first, mut rest)) = bytes.split_first_chunk::<8>() else {
            return match bytes.is_empty() {
                true => Ok(window),
                false => Err(broken()),
            };
        };
        let mut slot = u64::from_be_bytes(*first);
        loop {
            let (count, after) = rest.split_first_chunk::<2>().ok_or_else(broken)?;
            let count = u64::from(u16::from_be_bytes(*count));
            window.spent += count;
            let at = slot.min(now_ms);
            match window.slots.back_mut() {
                Some((last, counted)) if *last == at => *counted += count,
                _ => window.slots.push_back((at, count)),
            }
            if after.is_empty() {
                return Ok(window);
            }
            let (distance, after) = after.split_first_chunk::<4>().ok_or_else(broken)?;
            let distance = u64::from(u32::from_be_bytes(*distance));
            slot = slot.checked_add(distance).ok_or_else(broken)?;
            rest = after;
        }
    }
}

fn slot_ms(rate: RateLimit) -> u64 {
    if rate.limit <= SLOTS {
        1
    } else {
        (rate.window_s * 1000 / SLOTS).max(1)
    }
}

/// The time when the last request that a slot can contain is one whole window old.
fn leaves_at(slot: u64, rate: RateLimit) -> u64 {
    (slot + 1) * slot_ms(rate) - 1 + rate.window_s * 1000
}

/// The seconds until a time, at least 1.
pub fn ceil_s(at_ms: u64, now_ms: u64) -> u64 {
    at_ms.saturating_sub(now_ms).div_ceil(1000).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::keys::quota::{EXACT_LIMIT_MAX, WINDOW_S_MAX};

    const RATE: RateLimit = RateLimit {
        limit: EXACT_LIMIT_MAX,
        window_s: WINDOW_S_MAX,
        exact: true,
    };

    #[test]
    fn a_window_is_read_back_as_it_was_written() {
        let mut window = Window::default();
        let mut now_ms = 1_900_000_000_000;
        for _ in 0..600 {
            window = Window::from_bytes(&window.to_bytes().unwrap(), now_ms).unwrap();
            window.count(RATE, now_ms).unwrap();
            now_ms += 4_463_999;
        }
        assert_eq!(window.spent(RATE, now_ms), 600);
        let bytes = window.to_bytes().unwrap();
        assert_eq!(bytes.len(), 10 + 599 * 6);
        assert_eq!(Window::from_bytes(&bytes, now_ms).unwrap(), window);
        // The first request and the last one are as far apart as they can be.
        let mut longest = Window::default();
        longest.fits(RATE, 1_000, 5).unwrap();
        longest.take(RATE, 1_000, 5);
        assert_eq!(longest.ends_at(RATE), 5 + WINDOW_S_MAX * 1_000);
        let last = longest.ends_at(RATE) - 1;
        longest.take(RATE, 0, last);
        longest.slots.push_back((last, 1));
        longest.spent += 1;
        let bytes = longest.to_bytes().unwrap();
        assert_eq!(Window::from_bytes(&bytes, last).unwrap(), longest);
        assert_eq!(Window::from_bytes(&[], 7).unwrap().ends_at(RATE), 0);
    }

    #[test]
    fn bytes_that_are_no_window_are_refused() {
        let mut window = Window::default();
        window.take(RATE, 1, 10);
        window.take(RATE, 2, 20);
        let bytes = window.to_bytes().unwrap();
        for length in (1..bytes.len()).filter(|length| *length != 10) {
            assert!(
                Window::from_bytes(&bytes[..length], 99).is_err(),
                "{length}"
            );
        }
        let beyond = [
            u64::MAX.to_be_bytes().to_vec(),
            vec![0, 1, 0, 0, 0, 1, 0, 1],
        ]
        .concat();
        assert!(Window::from_bytes(&beyond, 99).is_err());
    }

    /// A server whose clock was set back would hold its windows for as long as it was ahead.
    #[test]
    fn what_lies_in_the_future_counts_from_now_on() {
        let minute = RateLimit {
            limit: 3,
            window_s: 60,
            exact: true,
        };
        let mut window = Window::default();
        window.take(minute, 1, 1_000);
        window.take(minute, 1, 9_000_000);
        window.take(minute, 1, 9_000_001);
        let bytes = window.to_bytes().unwrap();
        let mut window = Window::from_bytes(&bytes, 30_000).unwrap();
        assert_eq!(window.spent(minute, 30_000), 3);
        assert_eq!(window.spent(minute, 61_000), 2);
        assert_eq!(window.spent(minute, 89_999), 2);
        assert_eq!(window.spent(minute, 90_000), 0);
    }
}
