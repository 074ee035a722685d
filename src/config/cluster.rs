//! The settings of a node that shares its database with others: how far it may be behind.

use crate::domain::time::span_s;
use crate::error::{Error, Result};
use crate::ops::fence::Limits;
use clap::Args;
use std::str::FromStr;

/// The shortest times, in seconds. A lease is written once a second, and a commit may wait for a standby.
const STALE_AFTER_S_MIN: u64 = 2;
const REFUSE_AFTER_S_MIN: u64 = 30;
/// The longest times: an hour and a day. `never` is there for more.
const STALE_AFTER_S_MAX: u64 = 3_600;
const REFUSE_AFTER_S_MAX: u64 = 86_400;

/// See the heading.
#[derive(Args, Clone, Debug)]
pub struct ClusterArgs {
    /// Without a durable answer of the database's server for so long, 2s to 1h, a node adds to its verdicts how old they may be, and
    /// changes nothing; only with a database on a server [default: 5s]
    #[arg(long, env = "LATCHKEY_DATABASE_STALE_AFTER", value_name = "SPAN")]
    pub database_stale_after: Option<StaleAfter>,
    /// After so long, 30s to 24h, it gives no verdict and shows nothing, because a key that was ended at another node could be open
    /// here; `never` goes on; only with a database on a server [default: 60s]
    #[arg(
        long,
        env = "LATCHKEY_DATABASE_REFUSE_AFTER",
        value_name = "SPAN|never"
    )]
    pub database_refuse_after: Option<RefuseAfter>,
}

/// A time span of 2 seconds to an hour, which users write as `5s` or `1m`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct StaleAfter {
    pub seconds: u64,
}

/// A time span of 30 seconds to a day, which users write as `60s` or `5m`; or `never`, which is `None`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RefuseAfter {
    pub seconds: Option<u64>,
}

impl ClusterArgs {
    /// The limits, if the database is on a server.
    ///
    /// # Errors
    /// A limit is set, and the database is a file, for which there is none. The limits contradict each other.
    pub fn limits(&self, is_on_a_server: bool) -> Result<Option<Limits>> {
        if !is_on_a_server {
            let named = [
                ("database-stale-after", self.database_stale_after.is_some()),
                (
                    "database-refuse-after",
                    self.database_refuse_after.is_some(),
                ),
            ];
            return match named.iter().find(|(_, is_set)| *is_set) {
                None => Ok(None),
                Some((name, _)) => Err(Error::invalid_text(
                    *name,
                    "the database is a file, which only this server uses; leave it out",
                )),
            };
        }
        let ms = |seconds: u64| i64::try_from(seconds.saturating_mul(1_000)).unwrap_or(i64::MAX);
        let default = Limits::default();
        let limits = Limits {
            stale_after_ms: self
                .database_stale_after
                .map_or(default.stale_after_ms, |span| ms(span.seconds)),
            refuse_after_ms: self
                .database_refuse_after
                .map_or(default.refuse_after_ms, |span| span.seconds.map(ms)),
        };
        match limits.refuse_after_ms {
            Some(refuse_after_ms) if refuse_after_ms <= limits.stale_after_ms => {
                Err(Error::invalid_text(
                    "database-refuse-after",
                    "it must be longer than database-stale-after",
                ))
            }
            _ => Ok(Some(limits)),
        }
    }
}

impl FromStr for StaleAfter {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<StaleAfter, String> {
        let range = STALE_AFTER_S_MIN..=STALE_AFTER_S_MAX;
        let seconds = span_s(text).filter(|span| range.contains(span));
        let refused = "must be a whole number with s, m or h, 2s to 1h, such as 5s";
        Ok(StaleAfter {
            seconds: seconds.ok_or(refused)?,
        })
    }
}

impl FromStr for RefuseAfter {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<RefuseAfter, String> {
        if text == "never" {
            return Ok(RefuseAfter { seconds: None });
        }
        let range = REFUSE_AFTER_S_MIN..=REFUSE_AFTER_S_MAX;
        let seconds = span_s(text).filter(|span| range.contains(span));
        let refused = "must be never, or a whole number with s, m or h, 30s to 24h, such as 60s";
        Ok(RefuseAfter {
            seconds: Some(seconds.ok_or(refused)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_within_their_bounds() {
        for (text, stale, refuse) in [
            ("1s", None, None),
            ("2s", Some(2), None),
            ("29s", Some(29), None),
            ("30s", Some(30), Some(Some(30))),
            ("1h", Some(3_600), Some(Some(3_600))),
            ("3601s", None, Some(Some(3_601))),
            ("24h", None, Some(Some(86_400))),
            ("86401s", None, None),
            ("never", None, Some(None)),
            ("60", None, None),
        ] {
            let found = text.parse::<StaleAfter>().ok().map(|span| span.seconds);
            assert_eq!(found, stale, "{text}");
            let found = text.parse::<RefuseAfter>().ok().map(|span| span.seconds);
            assert_eq!(found, refuse, "{text}");
        }
    }

    #[test]
    fn limits_are_for_a_database_on_a_server_alone() {
        let args = |stale: Option<&str>, refuse: Option<&str>| ClusterArgs {
            database_stale_after: stale.map(|text| text.parse().unwrap()),
            database_refuse_after: refuse.map(|text| text.parse().unwrap()),
        };
        assert_eq!(args(None, None).limits(false).unwrap(), None);
        assert!(args(Some("5s"), None).limits(false).is_err());
        assert!(args(None, Some("never")).limits(false).is_err());
        let limits = |stale, refuse| args(stale, refuse).limits(true).ok().flatten();
        assert_eq!(limits(None, None), Some(Limits::default()));
        let found = limits(Some("10s"), Some("never")).unwrap();
        assert_eq!(
            (found.stale_after_ms, found.refuse_after_ms),
            (10_000, None)
        );
        assert_eq!(limits(Some("30s"), Some("30s")), None);
    }
}
