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

use crate::error::Result;
use crate::http::reply::Reply;
use crate::http::route::Access::Public;
use crate::http::route::{Call, Route, Surface, inline};
use crate::http1::BodyRule::Ignore;
use crate::ops::policies::presets::Preset;
use crate::ops::site;

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

/// What a site has of them: it verifies, and refuses the rest. The dialects of other systems whose requests only ask for a
/// verdict are the same there; of the others only the words of their refusals are left.
pub const SITE_SURFACES: &[&Surface] = &[
    &native::site::SURFACE,
    &forward_auth::SURFACE,
    &Surface {
        routes: REFUSED,
        ..adverity::SURFACE
    },
    &aware::SURFACE,
    &awaretrain::SURFACE,
    &metrics::SURFACE,
    &health::SURFACE,
    &security_txt::SURFACE,
    &Surface {
        routes: REFUSED,
        ..vspc::SURFACE
    },
    &console::site::SURFACE,
    &console::site::FRONT,
];

/// The routes of a dialect that a site does not have.
const REFUSED: &[Route] = &[
    inline("*", "", Public, Ignore, refuse),
    inline("*", "/{path...}", Public, Ignore, refuse),
];

fn refuse(call: &Call<'_>) -> Result<Option<Reply>> {
    Err(site::refusal(call.app))
}

/// The surfaces of this server, or of this site.
pub fn surfaces(is_site: bool) -> &'static [&'static Surface] {
    match is_site {
        true => SITE_SURFACES,
        false => SURFACES,
    }
}

/// The policies and catalogs that come with the dialects.
pub const PRESETS: &[Preset] = &[
    adverity::PRESET_TOKEN,
    adverity::PRESET_UI,
    aware::PRESET,
    awaretrain::PRESET,
    vspc::PRESET,
];
