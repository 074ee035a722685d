//! Records of sessions that ended with another change.

use crate::domain::audit::{Changes, Kind, Target};
use crate::domain::keys::KeyId;
use crate::ops::Record;

/// Makes one record for each session or refresh token.
pub fn each(ids: Vec<KeyId>, action: &'static str) -> Vec<(&'static str, Record)> {
    let one = |id| Record {
        target: Target::new(Kind::Session, id),
        workspace: None,
        changes: Changes::default(),
    };
    ids.into_iter().map(|id| (action, one(id))).collect()
}
