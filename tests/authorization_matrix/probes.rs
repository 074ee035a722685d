//! The lines of the probes, of the metrics and of `security.txt`.

use super::Needs::{Everywhere, Nothing};
use super::{Line, line};
use crate::domain::users::permissions::Permission::AuditRead;

pub const METRICS: &[Line] = &[line("GET", "", Everywhere(AuditRead))];

pub const SECURITY_TXT: &[Line] = &[line("GET", "", Nothing)];

pub const LINES: &[Line] = &[
    line("GET", "/healthz", Nothing),
    line("GET", "/readyz", Nothing),
];
