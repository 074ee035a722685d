//! Counts that need every key, and the state of the machine.

use crate::authz::caller::Caller;
use crate::domain::keys::State;
use crate::domain::keys::live::Live;
use crate::domain::locks::lock;
use crate::domain::metrics::Figures;
use crate::domain::policies::TiedTo;
use crate::domain::time::Timestamp;
use crate::domain::users::permissions::Permission;
use crate::error::Result;
use crate::index::directory::Directory;
use crate::ops::App;
use std::sync::Mutex;

/// How long a count of all keys is reused.
const COUNT_MS: u64 = 10_000;
const DAY_MS: i64 = 86_400_000;

/// Classes of remaining lifetime: the word for the class, and its upper bound in days.
pub const LIFETIMES: [(&str, i64); 5] =
    [("1d", 1), ("7d", 7), ("14d", 14), ("30d", 30), ("90d", 90)];

/// The number of keys by state and by remaining lifetime. Deleted keys are not counted.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct KeyFigures {
    /// In the order of [`State::ALL`].
    pub states: [u64; State::ALL.len()],
    /// Expired keys; then the classes of [`LIFETIMES`], each key in one class; then keys that expire later; then keys
    /// that never expire.
    pub lifetimes: [u64; LIFETIMES.len() + 3],
}

/// The last count of keys, and the steady time at which it was made.
pub type CountedKeys = Mutex<Option<(u64, KeyFigures)>>;

impl App {
    /// The counters since the start.
    pub fn figures(&self) -> &Figures {
        &self.store.figures
    }

    /// Refuses a caller who may not read the counters of the whole server, which needs `audit:read` in the root
    /// workspace.
    pub fn require_figures(&self, caller: &Caller) -> Result<()> {
        caller.require_global(&self.index.directory(), Permission::AuditRead)
    }

    /// The current number of keys. It may be up to ten seconds old, so that frequent requests do not keep the server
    /// counting.
    pub fn key_figures(&self) -> KeyFigures {
        let now = self.now();
        let mut counted = lock(&self.counted_keys);
        if let Some((at, figures)) = *counted
            && now.steady_ms.saturating_sub(at) < COUNT_MS
        {
            return figures;
        }
        let mut figures = KeyFigures::default();
        self.index.each_key(|directory, key| {
            let state = state(directory, key, now.wall);
            figures.states[State::ALL
                .iter()
                .position(|known| *known == state)
                .unwrap_or(0)] += 1;
            figures.lifetimes[lifetime(key.ends_at(), now.wall)] += 1;
        });
        *counted = Some((now.steady_ms, figures));
        figures
    }

    /// Checks for faults that can appear at any time; called every few seconds.
    pub fn watch(&self) {
        self.store.watch();
    }

    /// The free bytes on the disk of the database.
    pub fn disk_free(&self) -> Option<u64> {
        self.store.free_bytes()
    }
}

/// The state of a key in the index, as the API reports it.
fn state(directory: &Directory, key: &Live, now: Timestamp) -> State {
    let shared = &key.shared;
    let tied = directory
        .policy(&shared.policy)
        .map(|policy| policy.tied_to);
    let owner = shared.owner.map(|owner| directory.user(owner));
    let owner_active = owner.is_none_or(|owner| owner.is_some_and(|owner| owner.is_active()));
    let workspace_active = directory
        .place(shared.workspace)
        .is_some_and(|place| place.active);
    if !owner_active && tied != Some(TiedTo::Workspace) {
        State::OwnerDisabled
    } else if !workspace_active {
        State::WorkspaceDisabled
    } else if !key.enabled || tied.is_none() {
        State::Disabled
    } else if now < key.not_before {
        State::NotYetValid
    } else if key.expires_at <= now {
        State::Expired
    } else {
        State::Active
    }
}

/// The position in [`KeyFigures::lifetimes`].
fn lifetime(ends_at: Option<Timestamp>, now: Timestamp) -> usize {
    let Some(ends_at) = ends_at else {
        return LIFETIMES.len() + 2;
    };
    if ends_at <= now {
        return 0;
    }
    let left_ms = ends_at.0.saturating_sub(now.0);
    let span = LIFETIMES
        .iter()
        .position(|(_, days)| left_ms <= days * DAY_MS);
    span.map_or(LIFETIMES.len() + 1, |span| span + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::keys::verdict::Question;
    use crate::domain::metrics::CODES;
    use crate::ops::setup::fixture::Fixture;
    use crate::ops::verify;

    #[test]
    fn a_key_is_counted_by_what_is_left_of_its_life() {
        let now = Timestamp(1_000);
        for (left_ms, expected) in [
            (Some(-1), 0),
            (Some(0), 0),
            (Some(1), 1),
            (Some(DAY_MS), 1),
            (Some(DAY_MS + 1), 2),
            (Some(90 * DAY_MS), 5),
            (Some(90 * DAY_MS + 1), 6),
            (None, 7),
        ] {
            let ends_at = left_ms.map(|left| Timestamp(now.0 + left));
            assert_eq!(lifetime(ends_at, now), expected, "{left_ms:?}");
        }
    }

    #[test]
    fn verdicts_and_keys_are_counted() {
        let fixture = Fixture::new();
        let app = &fixture.app;
        let _ = verify::verify(app, "nonsense", &Question::default(), None, |_| ());
        let place = CODES.iter().position(|code| code.as_str() == "MALFORMED");
        assert_eq!(app.figures().verdicts()[place.unwrap()], 1);
        let keys = app.key_figures();
        assert_eq!(keys.states[0], 2, "the management key and the sample");
        assert_eq!(keys.lifetimes[LIFETIMES.len() + 2], 2);
        assert!(app.disk_free().is_some());
    }
}
