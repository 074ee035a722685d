//! The names of a transcript, and the values of `{{name}}`.

use std::collections::HashMap;
use std::time::Duration;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, Zoned};

use crate::support::wait;

/// Names and their values; answers add more while a transcript is played.
#[derive(Debug, Default)]
pub struct Names(HashMap<String, String>);

impl Names {
    pub fn set(&mut self, name: &str, value: &str) {
        self.0.insert(name.to_owned(), value.to_owned());
    }

    /// The value of a name. `%name` is the value with every byte except letters, digits and `-._~` as `%XX`. There are
    /// also times such as `now+90s` (RFC 3339, UTC, whole seconds) and `today+1y-1d`.
    pub fn value(&self, name: &str) -> Option<String> {
        if let Some(plain) = name.strip_prefix('%') {
            return self.value(plain).map(|value| encoded(&value));
        }
        self.0.get(name).cloned().or_else(|| time(name))
    }

    /// Replaces names by their values.
    pub fn fill(&self, text: &str) -> Result<String, String> {
        let mut filled = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            let (name, next) = after.split_once("}}").ok_or("a {{ has no }}")?;
            let value = self.value(name);
            filled.push_str(before);
            filled.push_str(&value.ok_or_else(|| format!("nothing is known as {{{{{name}}}}}"))?);
            rest = next;
        }
        filled.push_str(rest);
        Ok(filled)
    }
}

fn encoded(value: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let one = |byte| match plain(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    value.bytes().map(one).collect()
}

/// `now` or `today`, followed by any number of `+1y`, `-2mo`, `+3d`, `+4h`, `+5m`, `+6s`.
fn time(name: &str) -> Option<String> {
    let now = Timestamp::now().to_zoned(TimeZone::UTC);
    let (shift, wanted): (_, fn(Zoned) -> String) = match name.strip_prefix("now") {
        Some(shift) => (shift, |at| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()),
        None => (name.strip_prefix("today")?, |at| Date::from(at).to_string()),
    };
    let mut at = now;
    let mut rest = shift;
    while !rest.is_empty() {
        let end = rest[1..].find(['+', '-']).map_or(rest.len(), |end| end + 1);
        at = at.checked_add(span(&rest[..end])?).ok()?;
        rest = &rest[end..];
    }
    Some(wanted(at))
}

/// Waits for the end of the day (UTC) if it is less than a minute away, so that `today` stays the same day while a
/// transcript is played. Otherwise it returns immediately.
pub fn wait_for_a_day_that_lasts() {
    const DAY_S: i64 = 86_400;
    let left_s = DAY_S - Timestamp::now().as_second().rem_euclid(DAY_S);
    if left_s <= 60 {
        wait::pause(Duration::from_secs(left_s.unsigned_abs() + 1));
    }
}

fn span(text: &str) -> Option<Span> {
    let unit = text.find(|c: char| c.is_ascii_alphabetic())?;
    let count: i64 = text[..unit].parse().ok()?;
    let span = Span::new();
    match &text[unit..] {
        "y" => span.try_years(count),
        "mo" => span.try_months(count),
        "d" => span.try_days(count),
        "h" => span.try_hours(count),
        "m" => span.try_minutes(count),
        "s" => span.try_seconds(count),
        _ => return None,
    }
    .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_times_and_encodings_are_filled_in() {
        let mut names = Names::default();
        names.set("user", "a@b c");
        assert_eq!(
            names.fill("x={{user}}&y={{%user}}!").as_deref(),
            Ok("x=a@b c&y=a%40b%20c!")
        );
        assert!(names.fill("{{other}}").is_err());
        let (now, later) = (
            names.value("now").unwrap(),
            names.value("now+1y-1d").unwrap(),
        );
        assert!(later > now && later.len() == 20, "{now} {later}");
        assert_eq!(names.value("today").unwrap(), now[..10]);
        assert_eq!(names.value("nowhere"), None);
    }
}
