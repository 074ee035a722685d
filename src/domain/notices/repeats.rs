//! Notices that wait in memory until they are stored, and the rule against storms: the same kind and subject is noted
//! once in ten minutes; what follows is counted, and the count is one more notice at their end.

use super::{Data, Draft, Kind};
use crate::domain::audit::Target;
use crate::domain::time::{Moment, Timestamp};
use std::collections::HashMap;

/// How long the same kind and subject is only counted: ten minutes.
pub const WINDOW_MS: u64 = 600_000;
/// The number of different kinds and subjects that are remembered at the same time.
const ALL_MAX: usize = 1_000;
/// The same of one kind, so that a storm of one kind leaves room for the others.
const KIND_MAX: usize = 250;

/// What waits, and what was noted in the last ten minutes.
#[derive(Debug, Default)]
pub struct Waiting {
    windows: HashMap<(Kind, Target), Window>,
    /// How many windows each kind has.
    of_kind: [usize; Kind::COUNT],
    /// Notices for which there was no room, since the last [`Waiting::take`].
    lost: u64,
}

/// Ten minutes of one kind and subject.
#[derive(Debug)]
struct Window {
    /// When the last notice was taken, on the steady clock; `None` if none was.
    taken_ms: Option<u64>,
    first_at: Timestamp,
    last_at: Timestamp,
    /// How often it has happened since.
    count: u64,
    data: Data,
}

impl Waiting {
    /// Notes that something has happened. `data` is called only if there is no window for the kind and subject.
    pub fn note(&mut self, now: Moment, kind: Kind, subject: Target, data: impl FnOnce() -> Data) {
        if let Some(window) = self.windows.get_mut(&(kind, subject.clone())) {
            if window.count == 0 {
                window.first_at = now.wall;
            }
            window.count += 1;
            window.last_at = now.wall;
            return;
        }
        if !self.has_room(kind) {
            self.lost += 1;
            return;
        }
        let window = Window {
            taken_ms: None,
            first_at: now.wall,
            last_at: now.wall,
            count: 1,
            data: data(),
        };
        self.insert((kind, subject), window);
    }

    /// Whether this kind and subject was noted within ten minutes. If not, a reader that stores its notices itself
    /// does so, and then calls [`Waiting::open`]; otherwise it calls [`Waiting::note`], which only counts.
    pub fn knows(&self, kind: Kind, subject: &Target) -> bool {
        self.windows.contains_key(&(kind, subject.clone()))
    }

    /// Begins the ten minutes of a notice that was stored.
    pub fn open(&mut self, now: Moment, draft: &Draft) {
        if self.has_room(draft.kind) {
            let window = Window {
                taken_ms: Some(now.steady_ms),
                first_at: draft.first_at,
                last_at: draft.last_at,
                count: 0,
                data: draft.data.clone(),
            };
            let key = (draft.kind, draft.subject.clone());
            if !self.windows.contains_key(&key) {
                self.insert(key, window);
            }
        }
    }

    /// What is to be stored now. Windows that are over and have counted nothing are forgotten.
    pub fn take(&mut self, now: Moment) -> Vec<Draft> {
        let mut taken = Vec::new();
        let of_kind = &mut self.of_kind;
        self.windows.retain(|(kind, subject), window| {
            let is_over = |taken_ms: u64| now.steady_ms.saturating_sub(taken_ms) >= WINDOW_MS;
            if !window.taken_ms.is_none_or(is_over) {
                return true;
            }
            if window.count == 0 {
                of_kind[*kind as usize] -= 1;
                return false;
            }
            taken.push(Draft {
                kind: *kind,
                subject: subject.clone(),
                first_at: window.first_at,
                last_at: window.last_at,
                count: window.count,
                data: window.data.clone(),
            });
            window.taken_ms = Some(now.steady_ms);
            window.count = 0;
            true
        });
        if self.lost > 0 {
            let draft = Draft {
                count: self.lost,
                ..Draft::once(
                    Kind::NoticesLost,
                    Target::server(),
                    now.wall,
                    Data::default().with("reason", "too many different ones at once"),
                )
            };
            self.lost = 0;
            taken.push(draft);
        }
        taken.sort_by_key(|draft| draft.first_at);
        taken
    }

    /// Takes back what could not be stored; it is taken again the next time.
    pub fn put_back(&mut self, drafts: Vec<Draft>) {
        for draft in drafts {
            let key = (draft.kind, draft.subject.clone());
            match self.windows.get_mut(&key) {
                Some(window) => {
                    if window.count == 0 {
                        window.last_at = draft.last_at;
                    }
                    window.taken_ms = None;
                    window.first_at = draft.first_at;
                    window.count += draft.count;
                }
                None if draft.kind == Kind::NoticesLost => self.lost += draft.count,
                None => {
                    self.note_again(key, draft);
                }
            }
        }
    }

    fn note_again(&mut self, key: (Kind, Target), draft: Draft) {
        if !self.has_room(draft.kind) {
            self.lost += draft.count;
            return;
        }
        let window = Window {
            taken_ms: None,
            first_at: draft.first_at,
            last_at: draft.last_at,
            count: draft.count,
            data: draft.data,
        };
        self.insert(key, window);
    }

    fn has_room(&self, kind: Kind) -> bool {
        self.windows.len() < ALL_MAX && self.of_kind[kind as usize] < KIND_MAX
    }

    fn insert(&mut self, key: (Kind, Target), window: Window) {
        self.of_kind[key.0 as usize] += 1;
        self.windows.insert(key, window);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::audit;

    fn at(ms: u64) -> Moment {
        Moment {
            wall: Timestamp(1_000_000 + i64::try_from(ms).unwrap()),
            steady_ms: ms,
        }
    }

    fn key(number: u64) -> Target {
        Target::new(audit::Kind::Key, format!("{number:010}"))
    }

    #[test]
    fn a_storm_is_one_notice_and_then_a_count() {
        let mut waiting = Waiting::default();
        for ms in 0..5 {
            waiting.note(at(ms), Kind::KeyTripped, key(1), || {
                Data::default().with("address", "192.0.2.1")
            });
        }
        let first = waiting.take(at(5));
        assert_eq!((first.len(), first[0].count), (1, 5));
        for ms in 6..1_006 {
            waiting.note(at(ms), Kind::KeyTripped, key(1), || unreachable!());
        }
        assert_eq!(waiting.take(at(WINDOW_MS + 4)), []);
        let rest = waiting.take(at(WINDOW_MS + 5));
        assert_eq!((rest.len(), rest[0].count), (1, 1_000));
        assert_eq!(rest[0].first_at, at(6).wall);
        assert_eq!(rest[0].data, first[0].data);
        assert_eq!(waiting.take(at(2 * WINDOW_MS + 5)), []);
        assert!(waiting.windows.is_empty() && waiting.of_kind == [0; Kind::COUNT]);
    }

    #[test]
    fn what_finds_no_room_is_counted_and_leaves_room_for_other_kinds() {
        let mut waiting = Waiting::default();
        for number in 0..2_000 {
            waiting.note(at(0), Kind::KeyNewSource, key(number), Data::default);
        }
        waiting.note(at(0), Kind::KeyTripped, key(1), Data::default);
        let taken = waiting.take(at(1));
        let of = |kind| taken.iter().filter(move |draft| draft.kind == kind);
        assert_eq!(of(Kind::KeyNewSource).count(), KIND_MAX);
        assert_eq!(of(Kind::KeyTripped).count(), 1);
        assert_eq!(of(Kind::NoticesLost).map(|it| it.count).sum::<u64>(), 1_750);
        assert_eq!(waiting.take(at(1)), []);
    }

    #[test]
    fn what_cannot_be_stored_is_taken_again() {
        let mut waiting = Waiting::default();
        waiting.note(at(0), Kind::KeyTripped, key(1), Data::default);
        let taken = waiting.take(at(1));
        waiting.note(at(2), Kind::KeyTripped, key(1), Data::default);
        waiting.put_back(taken);
        let again = waiting.take(at(3));
        assert_eq!((again.len(), again[0].count), (1, 2));
        assert_eq!(again[0].first_at, at(0).wall);
        assert_eq!(again[0].last_at, at(2).wall);
    }

    #[test]
    fn what_a_change_has_stored_is_counted_afterwards() {
        let mut waiting = Waiting::default();
        assert!(!waiting.knows(Kind::StoreEdited, &key(1)));
        let draft = Draft::once(Kind::StoreEdited, key(1), at(0).wall, Data::default());
        waiting.open(at(0), &draft);
        assert!(waiting.knows(Kind::StoreEdited, &key(1)));
        waiting.note(at(1), Kind::StoreEdited, key(1), Data::default);
        assert_eq!(waiting.take(at(2)), []);
        assert_eq!(waiting.take(at(WINDOW_MS))[0].count, 1);
    }
}
