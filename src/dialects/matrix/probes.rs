//! The lines of the probes.

use super::Needs::Nothing;
use super::{Line, line};

pub const LINES: &[Line] = &[
    line("GET", "/healthz", Nothing),
    line("GET", "/readyz", Nothing),
];
