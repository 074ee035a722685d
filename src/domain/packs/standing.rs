//! How a site stands, in one word: the gravest thing that its server knows about it.

use super::site::MadePack;
use crate::domain::time::Timestamp;

/// How many keys and secrets have ended of which a site is not known to have heard.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Unconfirmed {
    Count(u64),
    /// The audit log no longer reaches back to what the site has.
    LogTooShort,
    /// The site never reported, so what it has is not known.
    NeverReported,
}

impl Unconfirmed {
    /// The number, if it is known.
    pub fn count(self) -> Option<u64> {
        match self {
            Unconfirmed::Count(count) => Some(count),
            Unconfirmed::LogTooShort | Unconfirmed::NeverReported => None,
        }
    }

    /// The number for a sum over sites. An unknown one counts as one, so that nothing looks confirmed that may not be.
    pub fn at_least(self) -> u64 {
        match self {
            Unconfirmed::Count(count) => count,
            Unconfirmed::LogTooShort => 1,
            Unconfirmed::NeverReported => 0,
        }
    }
}

/// How a site stands. Of what is wrong, the first that is true counts; for a linked site the age of a pack does not.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Standing {
    /// No pack was made for it.
    NoPack,
    /// The pack that it has no longer counts.
    Over,
    /// It is linked, but has not asked for longer than it may answer without a word.
    Cut,
    /// It is not known to have all revocations.
    Behind,
    /// More than half of the time of its pack is over.
    Aging,
    /// It never reported, so what it has is not known.
    Silent,
    Good,
    /// It is linked, and has all revocations.
    Linked,
}

impl Standing {
    /// How a site stands with this newest pack, of which it is known to have applied that one. If that is not known, the
    /// newest counts. `linked` is whether its link is up, if it has one.
    pub fn of(
        newest: Option<&MadePack>,
        applied: Option<&MadePack>,
        unconfirmed: Unconfirmed,
        linked: Option<bool>,
        now: Timestamp,
    ) -> Standing {
        let is_behind = unconfirmed.at_least() > 0;
        match linked {
            Some(false) => return Standing::Cut,
            Some(true) if is_behind => return Standing::Behind,
            Some(true) => return Standing::Linked,
            None => {}
        }
        let Some(newest) = newest else {
            return Standing::NoPack;
        };
        let pack = applied.unwrap_or(newest);
        let half = pack.until.0.saturating_sub(pack.made_at.0) / 2;
        match unconfirmed {
            _ if pack.until <= now => Standing::Over,
            _ if is_behind => Standing::Behind,
            _ if now.0.saturating_sub(pack.made_at.0) > half => Standing::Aging,
            Unconfirmed::NeverReported => Standing::Silent,
            Unconfirmed::Count(_) | Unconfirmed::LogTooShort => Standing::Good,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pack(made: i64, until: i64) -> MadePack {
        MadePack {
            site: "a".to_owned(),
            number: 1,
            base: 0,
            made_at: Timestamp(made),
            until: Timestamp(until),
            events: 1,
            keys: 1,
            bytes: 1,
            sha256: [0; 32],
        }
    }

    #[track_caller]
    fn check(
        newest: Option<&MadePack>,
        applied: Option<&MadePack>,
        unconfirmed: Unconfirmed,
        expected: Standing,
    ) {
        let standing = Standing::of(newest, applied, unconfirmed, None, Timestamp(1_000));
        assert_eq!(standing, expected);
    }

    #[test]
    fn the_gravest_thing_counts() {
        let (fresh, old, over) = (pack(900, 2_000), pack(400, 1_500), pack(0, 1_000));
        let (count, none) = (Unconfirmed::Count, Unconfirmed::NeverReported);
        check(None, None, none, Standing::NoPack);
        check(Some(&over), None, count(3), Standing::Over);
        check(Some(&fresh), Some(&over), count(0), Standing::Over);
        check(Some(&fresh), Some(&old), count(1), Standing::Behind);
        check(Some(&fresh), Some(&old), count(0), Standing::Aging);
        check(Some(&old), None, none, Standing::Aging);
        check(Some(&fresh), None, none, Standing::Silent);
        check(Some(&fresh), Some(&fresh), count(0), Standing::Good);
        let unknown = Unconfirmed::LogTooShort;
        check(Some(&fresh), Some(&fresh), unknown, Standing::Behind);
    }

    #[test]
    fn a_link_counts_more_than_the_age_of_a_pack() {
        let over = pack(0, 1_000);
        let standing = |unconfirmed, linked| {
            Standing::of(
                Some(&over),
                None,
                unconfirmed,
                Some(linked),
                Timestamp(1_000),
            )
        };
        let (count, none) = (Unconfirmed::Count, Unconfirmed::NeverReported);
        assert_eq!(standing(count(0), true), Standing::Linked);
        assert_eq!(standing(none, true), Standing::Linked);
        assert_eq!(standing(count(2), true), Standing::Behind);
        assert_eq!(standing(Unconfirmed::LogTooShort, true), Standing::Behind);
        assert_eq!(standing(count(2), false), Standing::Cut);
        let none = Standing::of(None, None, none, Some(true), Timestamp(1_000));
        assert_eq!(none, Standing::Linked);
    }
}
