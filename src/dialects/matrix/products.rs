//! The lines of surfaces that speak other products' formats.

use super::Needs::OwnKey;
use super::{Line, line};

/// Surfaces that say of any request whether its key may make it.
pub const CHECKED: &[Line] = &[line("*", "", OwnKey), line("*", "/{path...}", OwnKey)];
