//! Rotation: how long the old secret of a key still works.

use crate::domain::policies::SELF_GRACE_S_MAX;
use crate::error::{Error, Result};
use crate::refusals;

/// The longest grace period of a rotated secret: 30 days.
pub const GRACE_S_MAX: u64 = 30 * 86_400;

/// When the old secret ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Grace {
    /// Together with the rotation.
    AtOnce,
    /// After so many seconds.
    Seconds(u64),
    /// When the new secret is used for the first time, or after so many seconds if that is earlier.
    UntilFirstUse(u64),
}

impl Grace {
    /// Reads the two members of the request: `grace_s` up to 30 days, `until_first_use`.
    pub fn parse(grace_s: Option<u64>, until_first_use: bool) -> Result<Grace> {
        match (grace_s, until_first_use) {
            (Some(seconds), _) if seconds > GRACE_S_MAX => Err(Error::invalid(
                "grace_s",
                refusals::keys::grace_at_most(GRACE_S_MAX),
            )),
            (Some(0), true) => Err(Error::invalid(
                "grace_s",
                refusals::keys::grace_of_first_use(),
            )),
            (seconds, true) => Ok(Grace::UntilFirstUse(seconds.unwrap_or(GRACE_S_MAX))),
            (None | Some(0), false) => Ok(Grace::AtOnce),
            (Some(seconds), false) => Ok(Grace::Seconds(seconds)),
        }
    }

    /// As [`Grace::parse`], for a key that rotates itself: at most an hour.
    pub fn parse_own(grace_s: Option<u64>, until_first_use: bool) -> Result<Grace> {
        if grace_s.is_some_and(|seconds| seconds > SELF_GRACE_S_MAX) {
            return Err(Error::invalid(
                "grace_s",
                refusals::keys::grace_of_self_rotation(SELF_GRACE_S_MAX),
            ));
        }
        let default = until_first_use.then_some(SELF_GRACE_S_MAX);
        Grace::parse(grace_s.or(default), until_first_use)
    }

    /// The longest time for which the old secret still works.
    pub fn seconds(self) -> u64 {
        match self {
            Grace::AtOnce => 0,
            Grace::Seconds(seconds) | Grace::UntilFirstUse(seconds) => seconds,
        }
    }
}
