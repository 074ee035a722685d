//! How a site stands, in one word: the gravest thing that its server knows about it.

use super::site::MadePack;
use crate::domain::time::Timestamp;

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
    /// newest counts. `unconfirmed` is the number of revocations that it is not known to have, `None` if it never reported.
    /// `linked` is whether its link is up, if it has one.
    pub fn of(
        newest: Option<&MadePack>,
        applied: Option<&MadePack>,
        unconfirmed: Option<u64>,
        linked: Option<bool>,
        now: Timestamp,
    ) -> Standing {
        match (linked, unconfirmed) {
            (Some(false), _) => return Standing::Cut,
            (Some(true), Some(1..)) => return Standing::Behind,
            (Some(true), _) => return Standing::Linked,
            (None, _) => {}
        }
        let Some(newest) = newest else {
            return Standing::NoPack;
        };
        let pack = applied.unwrap_or(newest);
        let half = pack.until.0.saturating_sub(pack.made_at.0) / 2;
        match unconfirmed {
            _ if pack.until <= now => Standing::Over,
            Some(1..) => Standing::Behind,
            _ if now.0.saturating_sub(pack.made_at.0) > half => Standing::Aging,
            None => Standing::Silent,
            Some(0) => Standing::Good,
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
        unconfirmed: Option<u64>,
        expected: Standing,
    ) {
        let standing = Standing::of(newest, applied, unconfirmed, None, Timestamp(1_000));
        assert_eq!(standing, expected);
    }

    #[test]
    fn the_gravest_thing_counts() {
        let (fresh, old, over) = (pack(900, 2_000), pack(400, 1_500), pack(0, 1_000));
        check(None, None, None, Standing::NoPack);
        check(Some(&over), None, Some(3), Standing::Over);
        check(Some(&fresh), Some(&over), Some(0), Standing::Over);
        check(Some(&fresh), Some(&old), Some(1), Standing::Behind);
        check(Some(&fresh), Some(&old), Some(0), Standing::Aging);
        check(Some(&old), None, None, Standing::Aging);
        check(Some(&fresh), None, None, Standing::Silent);
        check(Some(&fresh), Some(&fresh), Some(0), Standing::Good);
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
        assert_eq!(standing(Some(0), true), Standing::Linked);
        assert_eq!(standing(None, true), Standing::Linked);
        assert_eq!(standing(Some(2), true), Standing::Behind);
        assert_eq!(standing(Some(2), false), Standing::Cut);
        let none = Standing::of(None, None, None, Some(true), Timestamp(1_000));
        assert_eq!(none, Standing::Linked);
    }
}
