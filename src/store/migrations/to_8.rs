//! The step from schema 7 to 8: rate limits can be exact.
//!
//! What is not exact is sealed as schema 7 has sealed it, so nothing is sealed again.

use super::Step;
use crate::store::seals;

pub const STEP: Step = Step {
    to: 8,
    sql: include_str!("to_8.sql"),
    sealed_before: seals::COLUMNS,
    sound_keys: super::to_7::STEP.sound_keys,
    act: |_, _, _| Ok(()),
};
