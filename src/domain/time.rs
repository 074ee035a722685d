//! Points in time. Nothing here reads a clock: "now" is always a parameter.

use crate::error::{Error, Result};
use crate::refusals;
use jiff::civil::{Date, DateTime};
use jiff::fmt::temporal::Pieces;

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Timestamp(pub i64);

/// The number of milliseconds in an hour, the interval of usage totals.
pub const HOUR_MS: i64 = 3_600_000;

/// The last instant that RFC 3339 can represent: 9999-12-31T23:59:59Z.
const LAST: Timestamp = Timestamp(253_402_300_799_000);

/// "Now" for a request: the wall clock for validity, and a clock that never jumps for windows.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// The later of the wall clock and the recorded time, which advances with the steady clock; see `domain::clock`.
    pub wall: Timestamp,
    /// Milliseconds since the process started; changes of the wall clock do not affect it.
    pub steady_ms: u64,
}

impl Timestamp {
    /// Reads an RFC 3339 date-time with any offset and converts it to UTC.
    ///
    /// A date without a time, a local time without an offset, and years after 9999 are refused.
    pub fn parse(field: &str, text: &str) -> Result<Timestamp> {
        let refused = || Error::invalid(field, refusals::values::time());
        let at = read(text).ok_or_else(refused)?;
        if at.0 < 0 || at > LAST {
            return Err(refused());
        }
        Ok(at)
    }

    /// The time that is this many seconds later, but at most the last instant of RFC 3339.
    pub fn plus_s(self, seconds: u64) -> Timestamp {
        let span_ms = i64::try_from(seconds)
            .unwrap_or(i64::MAX)
            .saturating_mul(1000);
        Timestamp(self.0.saturating_add(span_ms)).min(LAST)
    }

    /// The midnight (UTC) that ends the same day of the month this many months later. If that month has no such day,
    /// its last day counts (31 January and one month: 28 or 29 February). At most the last instant of RFC 3339.
    pub fn end_of_day_after_months(self, months: u32) -> Timestamp {
        let day = |instant: jiff::Timestamp| {
            let date = instant.to_zoned(jiff::tz::TimeZone::UTC).date();
            let later = date.checked_add(jiff::Span::new().try_months(months).ok()?);
            Some(midnight_after(later.ok()?))
        };
        let end = jiff::Timestamp::from_millisecond(self.0).ok().and_then(day);
        end.unwrap_or(LAST)
    }

    /// The midnight (UTC) that ends a day: what is valid until `2027-01-31` is valid for that entire day. `None` if
    /// the text is not a date in exactly this form.
    pub fn end_of_date(text: &str) -> Option<Timestamp> {
        let shaped = text.len() == 10
            && text
                .bytes()
                .zip(b"dddd-dd-dd")
                .all(|(byte, wanted)| match wanted {
                    b'd' => byte.is_ascii_digit(),
                    wanted => byte == *wanted,
                });
        let date: Date = shaped.then(|| text.parse().ok())??;
        Some(midnight_after(date)).filter(|end| end.0 > 0)
    }

    /// The second in which this is, at its beginning.
    pub fn whole_second(self) -> Timestamp {
        Timestamp(self.0.div_euclid(1000) * 1000)
    }

    /// Whole seconds from `self` to `later`, rounded up; 0 if `later` has passed.
    pub fn seconds_until(self, later: Timestamp) -> u64 {
        u64::try_from(later.0.saturating_sub(self.0)).map_or(0, |ms| ms.div_ceil(1000))
    }

    /// The form for names of files: `20270131T235959Z`.
    pub fn compact(self) -> String {
        let text = Timestamp(self.0.div_euclid(1000) * 1000).to_string();
        text.chars().filter(|c| !matches!(c, '-' | ':')).collect()
    }

    /// Reads what [`Timestamp::compact`] writes.
    pub fn parse_compact(text: &str) -> Option<Timestamp> {
        let (day, time) = text.strip_suffix('Z')?.split_once('T')?;
        if !text.is_ascii() || day.len() != 8 || time.len() != 6 {
            return None;
        }
        let day = format!("{}-{}-{}", &day[..4], &day[4..6], &day[6..]);
        let time = format!("{}:{}:{}", &time[..2], &time[2..4], &time[4..]);
        Timestamp::parse("", &format!("{day}T{time}Z")).ok()
    }

    /// The hour that contains this time, in hours since 1970.
    pub fn hour(self) -> i64 {
        self.0.div_euclid(HOUR_MS)
    }

    /// The form for the `Date` header of an answer (RFC 9110, 5.6.7). A time that this form cannot represent becomes
    /// the start of 1970.
    pub fn http_date(self) -> String {
        let instant = jiff::Timestamp::from_second(self.unix_s()).unwrap_or_default();
        let printer = jiff::fmt::rfc2822::DateTimePrinter::new();
        printer
            .timestamp_to_rfc9110_string(&instant)
            .unwrap_or_else(|_| "Thu, 01 Jan 1970 00:00:00 GMT".to_owned())
    }

    /// ISO 8601 in UTC with an offset and seven fractional digits of the second, of which the last four are 0:
    /// `2020-08-18T16:02:26.0130000+00:00`.
    pub fn to_seven_digits(self) -> String {
        let instant = self.civil();
        format!(
            "{}.{:07}+00:00",
            instant.strftime("%Y-%m-%dT%H:%M:%S"),
            instant.subsec_nanosecond() / 100
        )
    }

    fn civil(self) -> DateTime {
        let since = jiff::SignedDuration::from_millis(self.0);
        EPOCH.saturating_add(since).min(DateTime::MAX)
    }

    /// Whole seconds since 1970, the unit of RFC 7662.
    pub fn unix_s(self) -> i64 {
        self.0.div_euclid(1000)
    }
}

/// Formats as RFC 3339 in UTC. The fraction appears only if it is not zero.
impl std::fmt::Display for Timestamp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}Z", self.civil())
    }
}

/// Midnight of 1 January 1970. Calculations with civil time in UTC work up to the end of the year 9999; the instants
/// of jiff end a day earlier, to leave room for every offset.
const EPOCH: DateTime = DateTime::constant(1970, 1, 1, 0, 0, 0, 0);

fn midnight_after(date: Date) -> Timestamp {
    let since = date
        .to_datetime(jiff::civil::Time::midnight())
        .duration_since(EPOCH);
    let ms = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
    Timestamp(ms.saturating_add(24 * HOUR_MS)).min(LAST)
}

/// Accepts exactly the form of RFC 3339, section 5.6, because jiff itself accepts much more of ISO 8601.
fn read(text: &str) -> Option<Timestamp> {
    let shape = b"dddd-dd-ddTdd:dd:dd";
    let fits = |(byte, wanted): (u8, &u8)| match wanted {
        b'd' => byte.is_ascii_digit(),
        b'T' => matches!(byte, b'T' | b't' | b' '),
        wanted => byte == *wanted,
    };
    let legal = |b: u8| b.is_ascii_digit() || b".:+-TtZz ".contains(&b);
    if !(20..=40).contains(&text.len())
        || !text.bytes().zip(shape).all(fits)
        || !text.bytes().all(legal)
    {
        return None;
    }
    let pieces = Pieces::parse(text).ok()?;
    let local = pieces.date().to_datetime(pieces.time()?);
    let offset = pieces.to_numeric_offset()?;
    let since = local.duration_since(EPOCH).as_millis() - i128::from(offset.seconds()) * 1000;
    i64::try_from(since).ok().map(Timestamp)
}

/// The seconds of a span such as `30s`, `15m`, `12h` or `14d`; `None` if the text is none.
pub fn span_s(text: &str) -> Option<u64> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let unit_s = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return None,
    };
    // `parse` would accept a sign.
    let is_number = digits.bytes().all(|digit| digit.is_ascii_digit());
    let count = digits.parse::<u64>().ok().filter(|_| is_number)?;
    count.checked_mul(unit_s)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<&str>) {
        let parsed = Timestamp::parse("at", text).ok().map(|at| at.to_string());
        assert_eq!(parsed.as_deref(), expected, "{text}");
    }

    #[test]
    fn dates_of_answers_are_in_the_form_of_http() {
        for (ms, expected) in [
            (784_111_777_999, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (i64::MAX, "Thu, 01 Jan 1970 00:00:00 GMT"),
        ] {
            assert_eq!(Timestamp(ms).http_date(), expected);
        }
    }

    #[test]
    fn times_are_normalised_to_utc_or_refused() {
        check("2027-01-31T00:00:00Z", Some("2027-01-31T00:00:00Z"));
        check("2027-01-31T01:00:00+01:00", Some("2027-01-31T00:00:00Z"));
        check("2027-01-31T00:00:00.25Z", Some("2027-01-31T00:00:00.25Z"));
        check("2016-12-31T23:59:60Z", Some("2016-12-31T23:59:59Z"));
        // A common way to express "never".
        check("9999-12-31T23:59:59Z", Some("9999-12-31T23:59:59Z"));
        check("9999-12-31T14:29:59-09:30", Some("9999-12-31T23:59:59Z"));
        for refused in [
            "",
            "9999-12-31T23:59:59-00:01",
            "2027-01-31T00:00:00Z[Europe/Paris]",
            "2027-01-31T00Z",
            "20270131T000000Z",
            "2027-01-31",
            "2027-01-31T00:00:00",
            "tomorrow",
            "10000-01-01T00:00:00Z",
            "1969-12-31T23:59:59Z",
        ] {
            check(refused, None);
        }
    }

    #[test]
    fn seven_digits_are_written_in_full() {
        for (at, expected) in [
            (0, "1970-01-01T00:00:00.0000000+00:00"),
            (1_597_766_546_013, "2020-08-18T16:02:26.0130000+00:00"),
            (253_402_300_799_999, "9999-12-31T23:59:59.9990000+00:00"),
        ] {
            assert_eq!(Timestamp(at).to_seven_digits(), expected);
        }
    }

    #[test]
    fn months_are_those_of_the_calendar() {
        for (from, months, expected) in [
            ("2026-11-21T10:00:00Z", 12, "2027-11-22T00:00:00Z"),
            ("2026-11-21T23:59:59.999Z", 1, "2026-12-22T00:00:00Z"),
            ("2028-02-29T00:00:00Z", 12, "2029-03-01T00:00:00Z"),
            ("2027-01-31T00:00:00Z", 1, "2027-03-01T00:00:00Z"),
            ("2027-01-31T00:00:00Z", 13, "2028-03-01T00:00:00Z"),
            ("9999-01-01T00:00:00Z", 1200, "9999-12-31T23:59:59Z"),
        ] {
            let from = Timestamp::parse("from", from).unwrap();
            assert_eq!(
                from.end_of_day_after_months(months).to_string(),
                expected,
                "{from} {months}"
            );
        }
    }

    #[test]
    fn a_date_ends_with_its_day() {
        for (date, expected) in [
            ("2027-01-31", Some("2027-02-01T00:00:00Z")),
            ("2028-02-29", Some("2028-03-01T00:00:00Z")),
            ("9999-12-31", Some("9999-12-31T23:59:59Z")),
            ("2027-02-29", None),
            ("2027-1-31", None),
            ("20270131", None),
            ("2027-01-31T00:00:00Z", None),
            ("1969-12-30", None),
            ("31.01.2027", None),
            ("", None),
        ] {
            let end = Timestamp::end_of_date(date).map(|end| end.to_string());
            assert_eq!(end.as_deref(), expected, "{date}");
        }
    }

    #[test]
    fn spans_round_up_and_saturate() {
        assert_eq!(Timestamp(0).seconds_until(Timestamp(1)), 1);
        assert_eq!(Timestamp(5).seconds_until(Timestamp(1)), 0);
        assert_eq!(Timestamp(0).plus_s(u64::MAX), LAST);
    }
}
