//! Days and times in the order of a language and in the time zone of a user.

use super::Texts;
use crate::domain::time::Timestamp;
use crate::domain::time_zone::LocalTime;

impl Texts {
    /// `2027-01-31`
    pub fn day(&self, at: Timestamp) -> String {
        self.day_of(&self.zone.local(at))
    }

    /// `2027-01-31 14:05:59 CET`
    pub fn instant(&self, at: Timestamp) -> String {
        self.at(&self.zone.local(at), 8)
    }

    /// `2027-01-31 14:05 CET`
    pub fn minute(&self, at: Timestamp) -> String {
        self.at(&self.zone.local(at), 5)
    }

    /// A day as browsers send it, in the order of the language. Other texts are returned unchanged.
    pub fn day_text(&self, day: &str) -> String {
        let mut parts = day.split('-');
        let (Some(year), Some(month), Some(day_of_month), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return day.to_owned();
        };
        self.fill(
            "date.day",
            &[("year", year), ("month", month), ("day", day_of_month)],
        )
    }

    fn day_of(&self, local: &LocalTime) -> String {
        self.day_text(&local.date())
    }

    fn at(&self, local: &LocalTime, time_chars: usize) -> String {
        let day = self.day_of(local);
        let time: String = local.time.chars().take(time_chars).collect();
        self.fill(
            "date.time",
            &[("day", &day), ("time", &time), ("zone", &local.zone)],
        )
    }
}
