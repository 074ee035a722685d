//! The lines of the probes and of the metrics.

use super::Needs::{Everywhere, Nothing};
use super::{Line, line};
use crate::domain::users::permissions::Permission::AuditRead;

pub const METRICS: &[Line] = &[line("GET", "", Everywhere(AuditRead))];

pub const LINES: &[Line] = &[
    line("GET", "/healthz", Nothing),
    line("GET", "/readyz", Nothing),
];
