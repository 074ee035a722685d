//! What the head of a pack has of the history of its server: the events that the packs before it included. A site that
//! has applied one of these packs sees from it that the server continues from there. If the folder of the server was
//! replaced by an older copy, its packs cannot name the event that the site knows.

use super::record::{Reader, Writer};
use base64ct::{Base64, Encoding};

/// The number of packs that a head names; with a pack every five minutes, those of ten days.
pub const POINTS_MAX: usize = 3_000;
/// The number of bytes of an event's hash that a head repeats.
pub const START_BYTES: usize = 8;

/// The words of the line of the first pack.
const NONE: &str = "0";

/// An event that a pack of the site included as its newest one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Point {
    pub events: u64,
    /// Of its hash.
    pub start: [u8; START_BYTES],
}

impl Point {
    pub fn of(events: u64, hash: &[u8; 32]) -> Point {
        let mut start = [0; START_BYTES];
        start.copy_from_slice(&hash[..START_BYTES]);
        Point { events, start }
    }
}

/// The words of the line: how many there are, and all of them, the newest first. Each has the distance from the one before,
/// the first of them from zero.
pub fn to_text(points: &[Point]) -> String {
    if points.is_empty() {
        return NONE.to_owned();
    }
    let mut writer = Writer::default();
    let mut before = None;
    for point in points {
        writer.number(match before {
            None => point.events,
            Some(before) => point.events.abs_diff(before),
        });
        writer.raw(&point.start);
        before = Some(point.events);
    }
    format!("{} {}", points.len(), Base64::encode_string(&writer.0))
}

/// The inverse of [`to_text`], for at most [`POINTS_MAX`].
pub fn parse(text: &str) -> Option<Vec<Point>> {
    if text == NONE {
        return Some(Vec::new());
    }
    let (count, encoded) = text.split_once(' ')?;
    let count: usize = count.parse().ok()?;
    // A number has at most ten bytes.
    let is_bounded = encoded.len() <= count.checked_mul(10 + START_BYTES)?.div_ceil(3) * 4;
    if !(1..=POINTS_MAX).contains(&count) || !is_bounded {
        return None;
    }
    let bytes = Base64::decode_vec(encoded).ok()?;
    let mut reader = Reader::new(&bytes);
    let mut points: Vec<Point> = Vec::with_capacity(count);
    for _ in 0..count {
        let number = reader.number()?;
        let events = match points.last() {
            None => number,
            // Two packs never include the same newest event: making one is an event.
            Some(before) => before.events.checked_sub(number).filter(|_| number > 0)?,
        };
        let start = reader.array()?;
        points.push(Point { events, start });
    }
    reader.end()?;
    Some(points)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(events: u64) -> Point {
        Point::of(events, &[(events % 251) as u8; 32])
    }

    #[test]
    fn points_are_read_back_and_nothing_else_is() {
        for events in [
            vec![7],
            vec![18_000, 17_999, 3, 0],
            (0..3_000).rev().collect(),
        ] {
            let points: Vec<Point> = events.into_iter().map(point).collect();
            let text = to_text(&points);
            assert_eq!(parse(&text), Some(points.clone()));
            for end in 0..text.len().min(200) {
                assert_eq!(parse(&text[..end]), None, "{end}");
            }
            let (count, rest) = text.split_once(' ').unwrap();
            let other = count.parse::<usize>().unwrap() + 1;
            assert_eq!(parse(&format!("{other} {rest}")), None);
        }
        assert_eq!(parse(&to_text(&[])), Some(Vec::new()));
        assert_eq!(parse("0 "), None);
        assert_eq!(parse(&to_text(&[point(5), point(5)])), None);
        let many: Vec<Point> = (0..3_001).rev().map(point).collect();
        assert_eq!(parse(&to_text(&many)), None);
        assert_eq!(parse("18446744073709551615 AA=="), None);
    }
}
