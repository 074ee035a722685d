//! Dividing the audit log into parts of limited size, for exporting all of it file by file.

use super::EventFilter;
use crate::authz::caller::Caller;
use crate::domain::time::Timestamp;
use crate::domain::users::permissions::Permission;
use crate::error::Result;
use crate::ops::App;
use crate::store::{Read, audit};

/// How much later than a newer event an event's time can be. Changes that wait at the same time get their times
/// before their numbers.
const JITTER_S: u64 = 600;

/// A part: the events whose numbers are between these two.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Part {
    /// Smaller than the numbers of all events in the part.
    pub after: i64,
    /// Greater than the numbers of all events in the part.
    pub before: i64,
}

/// Parts that together contain every requested event, newest first, each with at most `size` events. A part may
/// contain no requested event. The list is empty if there are none.
pub fn parts(app: &App, caller: &Caller, wanted: &EventFilter, size: i64) -> Result<Vec<Part>> {
    caller.require_somewhere(Permission::AuditRead)?;
    app.read(|read| {
        let Some((first, last)) = audit::ends(read)? else {
            return Ok(Vec::new());
        };
        let (mut first, mut end) = (first, last + 1);
        if let Some(since) = wanted.since {
            let earlier = Timestamp(since.0.saturating_sub(JITTER_S as i64 * 1000));
            first = first_at(read, (first, end), earlier)?;
        }
        if let Some(until) = wanted.until {
            end = first_at(read, (first, end), until.plus_s(JITTER_S))?;
        }
        let mut parts = Vec::new();
        while first < end {
            let after = (end - size).max(first) - 1;
            parts.push(Part { after, before: end });
            end = after + 1;
        }
        Ok(parts)
    })
}

/// The number of the first event at a time or later, in a range of numbers; found by binary search.
fn first_at(read: &Read, (mut from, mut end): (i64, i64), at: Timestamp) -> Result<i64> {
    while from < end {
        let middle = from + (end - from) / 2;
        match audit::find(read, middle)? {
            Some(event) if event.at >= at => end = middle,
            _ => from = middle + 1,
        }
    }
    Ok(from)
}

#[cfg(test)]
mod tests {
    use super::super::{audit_events, export};
    use super::*;
    use crate::ops::setup::fixture::{Fixture, NOW};

    #[test]
    fn parts_hold_every_event_once() {
        let fixture = Fixture::new();
        let (app, local) = (&fixture.app, fixture.local());
        for _ in 0..7 {
            let nothing = EventFilter::default();
            export(app, &local, &nothing).unwrap();
        }
        let everything = EventFilter {
            limit: 1_000,
            ..EventFilter::default()
        };
        let (all, _) = audit_events(app, &local, &everything).unwrap();
        for size in [1, 2, 3, 1_000] {
            let mut seen = Vec::new();
            for part in parts(app, &local, &everything, size).unwrap() {
                let wanted = EventFilter {
                    after: Some(part.after),
                    before: Some(part.before),
                    ..everything.clone()
                };
                let (events, next) = audit_events(app, &local, &wanted).unwrap();
                assert_eq!(next, None);
                assert!(!events.is_empty() && events.len() <= size as usize);
                seen.extend(events);
            }
            assert_eq!(seen, all);
        }
        // If there can be no events, no part is returned.
        let count = |since: Option<i64>, until: Option<i64>| {
            let at = |offset: Option<i64>| offset.map(|offset| Timestamp(NOW.0 + offset));
            let wanted = EventFilter {
                since: at(since),
                until: at(until),
                ..everything.clone()
            };
            parts(app, &local, &wanted, 1).unwrap().len()
        };
        assert_eq!(count(None, None), all.len());
        assert_eq!(count(Some(0), Some(1)), all.len());
        assert_eq!(count(Some(3_600_000), None), 0);
        assert_eq!(count(None, Some(-3_600_000)), 0);
    }
}
