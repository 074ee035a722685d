//! The lines of forward authentication.

use super::Needs::Key;
use super::{Line, line};

pub const LINES: &[Line] = &[
    line("*", "/nginx", Key),
    line("*", "/nginx-url", Key),
    line("*", "/caddy", Key),
    line("*", "/traefik", Key),
    line("*", "/haproxy", Key),
    line("*", "/envoy", Key),
    line("*", "/envoy/{path...}", Key),
    line("*", "/gateway/{path...}", Key),
];
