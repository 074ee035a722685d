//! Rate limits: the numbers, and which of two is stricter. Counting is in `quota` and `window`.

use crate::domain::time::span_s;
use std::fmt;

/// The largest number of requests in a window. Larger numbers are refused when a key is issued.
pub const RATE_LIMIT_MAX: u64 = 1 << 32;
/// The largest exact limit: its window is a row of the store, with the time of each request.
pub const EXACT_LIMIT_MAX: u64 = 1_000;
/// The longest window: 31 days.
pub const WINDOW_S_MAX: u64 = 31 * 86_400;

/// At most `limit` requests in any `window_s` seconds. A limit of 0 refuses every request.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct RateLimit {
    pub limit: u64,
    pub window_s: u64,
    /// Whether several nodes count all requests together, in the store, instead of each its share. A single node counts exactly in
    /// any case.
    pub exact: bool,
}

impl RateLimit {
    /// Reads a limit such as `60/1m`, or `60/1m/exact`: a number of requests in a time span.
    pub fn parse(text: &str) -> Option<RateLimit> {
        let (numbers, exact) = match text.strip_suffix("/exact") {
            Some(numbers) => (numbers, true),
            None => (text, false),
        };
        let (limit, window) = numbers.split_once('/')?;
        // `parse` would accept a sign.
        let is_number = limit.bytes().all(|digit| digit.is_ascii_digit());
        Some(RateLimit {
            limit: limit.parse().ok().filter(|_| is_number)?,
            window_s: span_s(window)?,
            exact,
        })
    }

    /// The part of this limit that each of several nodes may use without asking the others. All parts together are less than one
    /// request a node more than the limit. A limit of 0 stays 0, and an exact limit is not shared out.
    pub fn share(self, nodes: u64) -> RateLimit {
        if self.exact {
            return self;
        }
        RateLimit {
            limit: self.limit.div_ceil(nodes.max(1)),
            ..self
        }
    }

    /// Whether this limit can never allow more requests than `most` does: in any `most.window_s` seconds at most
    /// `most.limit`.
    ///
    /// With the same window or a longer one, all requests of those seconds lie in one window of this limit. With a
    /// shorter one they lie in as many windows as are needed to cover those seconds, each of which may be full. So 30
    /// in 30 seconds are within 60 in 60 seconds, and so are 60 in an hour. 2 in one second are not, although few keys
    /// make two requests a second for a whole minute.
    pub fn is_within(self, most: RateLimit) -> bool {
        // Neither number is large enough to overflow: at most 2^32 times 2^22.
        let windows = most.window_s.div_ceil(self.window_s.max(1)).max(1);
        self.limit.saturating_mul(windows) <= most.limit
    }

    /// Whether this limit never allows more requests than `other` does, on several nodes too: there the shares of a limit that is
    /// not exact are together more than the limit.
    pub fn is_as_strict_as(self, other: RateLimit) -> bool {
        self.is_within(other) && (self.exact || !other.exact)
    }
}

/// The limit as the audit log records it.
impl fmt::Display for RateLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact = if self.exact { ", exact" } else { "" };
        write!(f, "{} in {} s{exact}", self.limit, self.window_s)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shares_of_all_nodes_are_the_limit_and_no_node_has_none() {
        let limit = |limit| RateLimit {
            limit,
            window_s: 60,
            exact: false,
        };
        for (whole, nodes, share) in [
            (60, 1, 60),
            (60, 3, 20),
            (61, 3, 21),
            (1, 3, 1),
            (0, 3, 0),
            (5, 0, 5),
        ] {
            assert_eq!(
                limit(whole).share(nodes),
                limit(share),
                "{whole} on {nodes}"
            );
        }
    }

    #[test]
    fn a_limit_is_a_number_and_a_span() {
        let shown = |text| RateLimit::parse(text).map(|rate| rate.to_string());
        assert_eq!(shown("60/1m").as_deref(), Some("60 in 60 s"));
        assert_eq!(shown("0/2h/exact").as_deref(), Some("0 in 7200 s, exact"));
        for text in [
            "",
            "60",
            "/1m",
            "60/",
            "+60/1m",
            "60/1m/exactly",
            "60/exact",
            "60/1m/1m",
            "x/1m",
        ] {
            assert_eq!(shown(text), None, "{text}");
        }
    }

    #[test]
    fn a_limit_that_is_not_exact_is_looser_than_one_that_is() {
        let minute = RateLimit {
            limit: 60,
            window_s: 60,
            exact: false,
        };
        let exact = RateLimit {
            exact: true,
            ..minute
        };
        assert!(exact.is_as_strict_as(minute) && exact.is_as_strict_as(exact));
        assert!(!minute.is_as_strict_as(exact) && minute.is_within(exact));
        assert_eq!(exact.share(3), exact);
        assert_eq!(exact.to_string(), "60 in 60 s, exact");
    }
}
