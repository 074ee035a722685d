//! Time zones by their names in the IANA database, which is part of this program. They decide how times are displayed
//! and how days are read, and nothing about keys.

use super::time::Timestamp;
use jiff::civil::Date;
use jiff::tz::{TimeZone, db};

/// A time zone.
#[derive(Clone, Debug)]
pub struct Zone {
    name: String,
    rules: TimeZone,
}

/// A point in time as clocks in a zone show it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LocalTime {
    pub year: String,
    /// With two digits, as the day.
    pub month: String,
    pub day: String,
    /// `14:05:59`
    pub time: String,
    /// `CET`, or an offset such as `+04` for zones without an abbreviation.
    pub zone: String,
}

impl LocalTime {
    /// The day as browsers send it: `2027-01-31`.
    pub fn date(&self) -> String {
        format!("{}-{}-{}", self.year, self.month, self.day)
    }
}

impl Zone {
    pub fn utc() -> Zone {
        Zone {
            name: "UTC".to_owned(),
            rules: TimeZone::UTC,
        }
    }

    /// The zone with this name; `None` if there is none.
    pub fn find(name: &str) -> Option<Zone> {
        if name == "UTC" {
            return Some(Zone::utc());
        }
        let rules = db().get(name).ok()?;
        Some(Zone {
            name: rules.iana_name()?.to_owned(),
            rules,
        })
    }

    /// The names that people choose from: those of areas and places, by area.
    pub fn names() -> Vec<String> {
        let areas = [
            "Africa",
            "America",
            "Antarctica",
            "Arctic",
            "Asia",
            "Atlantic",
            "Australia",
            "Europe",
            "Indian",
            "Pacific",
        ];
        let all = db().available();
        let names = all.map(|name| name.to_string());
        let is_place = |name: &String| {
            name.split_once('/')
                .is_some_and(|(area, _)| areas.contains(&area))
        };
        names.filter(is_place).collect()
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn local(&self, at: Timestamp) -> LocalTime {
        let Ok(instant) = jiff::Timestamp::from_millisecond(at.0) else {
            // Instants of the last day of the year 9999 have no local time.
            return LocalTime::in_utc(at);
        };
        let local = instant.to_zoned(self.rules.clone());
        LocalTime {
            year: format!("{:04}", local.year()),
            month: format!("{:02}", local.month()),
            day: format!("{:02}", local.day()),
            time: local.strftime("%H:%M:%S").to_string(),
            zone: local.strftime("%Z").to_string(),
        }
    }

    /// The first instant of a day such as `2027-01-31`.
    pub fn start_of_day(&self, text: &str) -> Option<Timestamp> {
        self.midnight(date(text)?)
    }

    /// The instant at which a day such as `2027-01-31` ends.
    pub fn end_of_day(&self, text: &str) -> Option<Timestamp> {
        self.midnight(date(text)?.tomorrow().ok()?)
    }

    /// The last day that is over at `end` or before, as browsers write days.
    pub fn last_whole_day(&self, end: Timestamp) -> String {
        let day = self.local(Timestamp(end.0 - 1)).date();
        if self.end_of_day(&day).is_none_or(|midnight| midnight <= end) {
            return day;
        }
        let before = date(&day).and_then(|day| day.yesterday().ok());
        before.map_or(day, |day| day.to_string())
    }

    /// Whether a day begins at this instant.
    pub fn is_midnight(&self, at: Timestamp) -> bool {
        self.start_of_day(&self.local(at).date()) == Some(at)
    }

    fn midnight(&self, date: Date) -> Option<Timestamp> {
        // Where clocks skip midnight, the day begins with the first instant after it.
        let start = date.to_zoned(self.rules.clone()).ok()?;
        let start = start.start_of_day().ok()?.timestamp().as_millisecond();
        (start >= 0).then_some(Timestamp(start))
    }
}

impl LocalTime {
    fn in_utc(at: Timestamp) -> LocalTime {
        let text = at.to_string();
        let part = |from: usize, to: usize| text.get(from..to).unwrap_or_default().to_owned();
        LocalTime {
            year: part(0, 4),
            month: part(5, 7),
            day: part(8, 10),
            time: part(11, 19),
            zone: "UTC".to_owned(),
        }
    }
}

/// A day in exactly the form that browsers send; jiff itself reads other forms too.
fn date(text: &str) -> Option<Date> {
    let date: Date = text.parse().ok()?;
    (date.to_string() == text).then_some(date)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse("at", text).unwrap()
    }

    #[test]
    fn a_day_begins_and_ends_where_the_zone_has_its_midnights() {
        for (zone, day, start, end) in [
            (
                "UTC",
                "2027-01-31",
                "2027-01-31T00:00:00Z",
                "2027-02-01T00:00:00Z",
            ),
            (
                "Europe/Berlin",
                "2027-01-31",
                "2027-01-30T23:00:00Z",
                "2027-01-31T23:00:00Z",
            ),
            // The day on which summer time begins has 23 hours.
            (
                "Europe/Berlin",
                "2027-03-28",
                "2027-03-27T23:00:00Z",
                "2027-03-28T22:00:00Z",
            ),
            (
                "Asia/Tokyo",
                "2027-01-31",
                "2027-01-30T15:00:00Z",
                "2027-01-31T15:00:00Z",
            ),
        ] {
            let found = Zone::find(zone).unwrap();
            assert_eq!(found.start_of_day(day), Some(at(start)), "{zone} {day}");
            assert_eq!(found.end_of_day(day), Some(at(end)), "{zone} {day}");
            assert_eq!(found.last_whole_day(at(end)), day);
            assert!(found.is_midnight(at(end)));
        }
        for wrong in [
            "",
            "soon",
            "2027-02-30",
            "20270131",
            "2027-01-31T00:00",
            "-000001-01-01",
        ] {
            assert_eq!(Zone::utc().start_of_day(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_day_that_ends_too_late_is_not_the_last_one() {
        let end = at("2027-02-01T00:00:00Z");
        for (zone, day) in [
            ("UTC", "2027-01-31"),
            ("Asia/Tokyo", "2027-01-31"),
            ("America/New_York", "2027-01-30"),
        ] {
            assert_eq!(Zone::find(zone).unwrap().last_whole_day(end), day, "{zone}");
        }
    }

    #[test]
    fn a_time_is_shown_as_clocks_show_it_there() {
        let summer = at("2027-07-01T22:30:05Z");
        for (zone, date, time, short) in [
            ("UTC", "2027-07-01", "22:30:05", "UTC"),
            ("Europe/Berlin", "2027-07-02", "00:30:05", "CEST"),
            ("Asia/Dubai", "2027-07-02", "02:30:05", "+04"),
        ] {
            let local = Zone::find(zone).unwrap().local(summer);
            assert_eq!(
                (local.date(), local.time.as_str(), local.zone.as_str()),
                (date.to_owned(), time, short)
            );
        }
        assert!(Zone::find("europe/berlin").is_some_and(|zone| zone.name() == "Europe/Berlin"));
        for wrong in ["", "Berlin", "../Europe/Berlin", "Europe/Berlin "] {
            assert!(Zone::find(wrong).is_none(), "{wrong}");
        }
        assert!(Zone::names().iter().all(|name| Zone::find(name).is_some()));
        assert!(Zone::names().len() > 300);
    }
}
