//! The API modules of the server: each folder implements one wire format and does not depend on the others.
//!
//! A dialect is a constant with its mount, its routes and the format of its errors. docs/adding-a-dialect.md lists what
//! a new one needs, and what goes with one that is removed.

pub mod adverity;
pub mod aware;
pub mod awaretrain;
pub mod console;
pub mod forward_auth;
pub mod health;
pub mod metrics;
pub mod native;
pub mod security_txt;
pub mod vspc;

use crate::http::route::Surface;
use crate::ops::policies::presets::Preset;

/// All dialects. The first one renders the errors for paths that belong to none.
pub const SURFACES: &[&Surface] = &[
    &native::SURFACE,
    &forward_auth::SURFACE,
    &adverity::SURFACE,
    &aware::SURFACE,
    &awaretrain::SURFACE,
    &metrics::SURFACE,
    &health::SURFACE,
    &security_txt::SURFACE,
    &vspc::SURFACE,
    &console::SURFACE,
    &console::FRONT,
];

/// The policies and catalogs that come with the dialects.
pub const PRESETS: &[Preset] = &[
    adverity::PRESET_TOKEN,
    adverity::PRESET_UI,
    aware::PRESET,
    awaretrain::PRESET,
    vspc::PRESET,
];
