//! The ways in: folders that speak one wire format each, strangers to one another.
//!
//! A dialect is a constant: its mount, its routes, and how it words an error. Deleting one is deleting its folder and
//! its line here.

pub mod adverity;
pub mod aware;
pub mod awaretrain;
pub mod console;
pub mod forward_auth;
#[cfg(test)]
mod matrix;
pub mod metrics;
pub mod native;
pub mod probes;
pub mod vspc;

use crate::http::route::{Section, Surface};
use crate::ops::policies::presets::Preset;

/// Every dialect; the first one words the errors of paths that belong to none.
pub const SURFACES: &[&Surface] = &[
    &native::SURFACE,
    &forward_auth::SURFACE,
    &adverity::SURFACE,
    &aware::SURFACE,
    &awaretrain::SURFACE,
    &metrics::SURFACE,
    &probes::SURFACE,
    &vspc::SURFACE,
    &console::SURFACE,
    &console::FRONT,
];

/// What the console says of the keys of dialects that have words of their own for it.
pub const SECTIONS: &[&Section] = &[
    &adverity::SECTION,
    &aware::SECTION,
    &awaretrain::SECTION,
    &vspc::SECTION,
];

/// The policies and catalogs that dialects bring with them.
pub const PRESETS: &[Preset] = &[
    adverity::PRESET_TOKEN,
    adverity::PRESET_UI,
    aware::PRESET,
    awaretrain::PRESET,
    vspc::PRESET,
];
