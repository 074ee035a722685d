//! The marks of the tombstone file: how far the audit log was examined, and by which hash it is still the same log.

use super::tombstones::{checked, short};
use crate::domain::audit::Event;
use crate::domain::time::Timestamp;

/// The last event that was examined, after all events before it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Mark {
    pub at: Timestamp,
    pub seq: i64,
    /// The start of the event's hash; the file has it in hexadecimal digits.
    pub hash: u64,
}

impl Mark {
    /// The mark of an event.
    pub fn of(event: &Event) -> Mark {
        Mark {
            at: event.at,
            seq: event.seq,
            hash: short(&event.hash()),
        }
    }

    /// The line of the file, with its line end.
    pub fn line(&self) -> String {
        checked(&format!(
            "{} mark {} {:016x}",
            self.at.0, self.seq, self.hash
        ))
    }
}

/// The marks of one log, in the order of their events.
#[derive(Clone, Debug, Default)]
pub struct Marks(Vec<Mark>);

impl Marks {
    /// Adds a later mark. Those whose events are not before its event are of another log, which was left.
    pub fn add(&mut self, mark: Mark) {
        let before = self.0.partition_point(|other| other.seq < mark.seq);
        self.0.truncate(before);
        self.0.push(mark);
    }

    /// Whether an event has a mark.
    pub fn has(&self, seq: i64, hash: u64) -> bool {
        let found = self.0.binary_search_by_key(&seq, |mark| mark.seq);
        found.is_ok_and(|at| self.0[at].hash == hash)
    }

    /// The marks that a rewritten file keeps: the last one, those of the events that `is_kept` names, and of the others fewer the older
    /// they are. So the last one that another log has is found about as exactly as before.
    pub fn thinned(&self, is_kept: impl Fn(i64) -> bool) -> Vec<Mark> {
        let end = self.0.last().map_or(0, |mark| mark.seq);
        let distance = |mark: &Mark| i128::from(end) - i128::from(mark.seq);
        let mut next = 0;
        let mut found: Vec<Mark> = Vec::new();
        for mark in self.0.iter().rev() {
            let is_next = distance(mark) >= next;
            if is_next || is_kept(mark.seq) {
                found.push(*mark);
            }
            if is_next && !is_kept(mark.seq) {
                next = distance(mark) * 2;
            }
        }
        found.reverse();
        found
    }

    /// The last mark for which `has` answers yes; it does so for all before that one, and for none after it.
    ///
    /// # Errors
    /// Those of `has`.
    pub fn last_of<E>(
        &self,
        mut has: impl FnMut(Mark) -> std::result::Result<bool, E>,
    ) -> std::result::Result<Option<Mark>, E> {
        let (mut yes, mut no) = (0, self.0.len());
        while yes < no {
            let middle = yes.midpoint(no);
            match has(self.0[middle])? {
                true => yes = middle + 1,
                false => no = middle,
            }
        }
        Ok(yes.checked_sub(1).map(|last| self.0[last]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(seq: i64) -> Mark {
        Mark {
            at: Timestamp(seq),
            seq,
            hash: 7,
        }
    }

    #[test]
    fn older_marks_are_thinned_once_but_for_those_that_are_needed() {
        let mut marks = Marks::default();
        (1..=1_000).for_each(|seq| marks.add(mark(seq)));
        assert!(marks.has(500, 7) && !marks.has(500, 8) && !marks.has(0, 7));
        let is_kept = |seq: i64| seq == 3 || seq == 997;
        let thinned = marks.thinned(is_kept);
        let numbers: Vec<i64> = thinned.iter().map(|mark| mark.seq).collect();
        assert_eq!(
            numbers,
            [
                3, 488, 744, 872, 936, 968, 984, 992, 996, 997, 998, 999, 1_000
            ]
        );
        let mut again = Marks::default();
        thinned.iter().for_each(|mark| again.add(*mark));
        assert_eq!(again.thinned(is_kept), thinned);
        assert_eq!(Marks::default().thinned(is_kept), []);
    }

    #[test]
    fn the_last_mark_that_another_log_has_is_found_and_a_log_that_was_left_has_none() {
        let mut marks = Marks::default();
        let last = |marks: &Marks, end: i64| {
            let found = marks.last_of(|mark| Ok::<bool, ()>(mark.seq <= end));
            found.unwrap().map(|mark| mark.seq)
        };
        assert_eq!(last(&marks, 9), None);
        for seq in [2, 5, 6, 9] {
            marks.add(mark(seq));
        }
        for (end, expected) in [
            (1, None),
            (2, Some(2)),
            (5, Some(5)),
            (8, Some(6)),
            (99, Some(9)),
        ] {
            assert_eq!(last(&marks, end), expected, "{end}");
        }
        marks.add(mark(6));
        assert_eq!(last(&marks, 99), Some(6));
        marks.add(mark(3));
        assert_eq!((last(&marks, 99), last(&marks, 2)), (Some(3), Some(2)));
    }
}
