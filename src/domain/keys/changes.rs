//! The changes of a key for the audit log: those of an edit, and the initial values of a new key.

use super::members::{Key, Logged, Member};
use crate::domain::audit::Changes;

/// The differences between two states of a key. The remaining uses are not in the row of the key; the code that sets
/// them records them.
pub fn between(before: &Key, after: &Key) -> Changes {
    differences(before, after, |logged| logged == Logged::Change)
}

/// The initial values of a new key: every member that does not have its default.
pub fn born(key: &Key) -> Changes {
    differences(&Key::blank(), key, |logged| {
        matches!(logged, Logged::Change | Logged::Maximum)
    })
}

fn differences(before: &Key, after: &Key, counts: impl Fn(Logged) -> bool) -> Changes {
    let mut changes = Changes::default();
    for member in Member::ALL {
        if counts(member.logged()) {
            changes.note_option(member.word(), &member.text(before), &member.text(after));
        }
    }
    changes
}
