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
    Err(site::refusal(call.app, ""))
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

/// The path of a route as its table has it, and a method and a target that reach it, for tests of every route.
#[cfg(test)]
pub fn request_of(surface: &Surface, route: &Route) -> (String, &'static str, String) {
    let path = format!("{}{}", surface.mount, route.path);
    let method = match route.method {
        "*" => "GET",
        method => method,
    };
    let target = path.replace("...", "").replace(['{', '}'], "");
    let target = if target.is_empty() { "/" } else { &*target }.to_owned();
    (path, method, target)
}

#[cfg(test)]
mod tests {
    use crate::dialects::{SITE_SURFACES, SURFACES, request_of};
    use crate::http::client::Trust;
    use crate::http::request::{Request, RequestId};
    use crate::http::route::{Mounts, Router};
    use crate::http1::Execution;
    use crate::ops::site::fixture::{Packer, Plant};

    /// What a site has of a server: verification, its own log, clock and checks, probes and metrics, and the keys that sign packs.
    const SERVED: &[&str] = &[
        "/v1/verify",
        "/v1/verify/batch",
        "/v1/introspect",
        "/v1/audit-events",
        "/v1/audit-events/chain",
        "/v1/clock",
        "/v1/clock/accept",
        "/v1/doctor",
        "/v1/doctor/bundle",
        "/metrics",
        "/healthz",
        "/readyz",
        "/.well-known/security.txt",
        "/console",
        "/console/assets/{name}",
        "",
    ];

    /// The surfaces whose requests all ask for a verdict.
    const VERDICTS: &[&str] = &["forward-auth", "aware", "awaretrain"];

    /// The routes are those of the tables, so a new one is refused at a site until it is listed here.
    #[test]
    fn every_route_of_a_server_is_refused_at_a_site_unless_it_only_verifies() {
        let plant = Plant::new(&Packer::new());
        let trust = Trust::default();
        let mounts = Mounts::default();
        let service = Router::new(plant.app.clone(), trust, SITE_SURFACES, &mounts).service();
        let mut refused = 0;
        for surface in SURFACES {
            for route in surface.routes {
                let (path, method, target) = request_of(surface, route);
                let id = RequestId::new(0, 0);
                let request = Request::in_process(method, &target, Vec::new(), 0, id).unwrap();
                let reply = (service.answer)(&request, Execution::Blocking).unwrap();
                let is_served = VERDICTS.contains(&surface.name)
                    || SERVED.contains(&&*path)
                    || (method, &*path) == ("GET", "/v1/packs/signing-keys");
                if is_served {
                    assert_ne!(reply.status, 403, "{method} {path}");
                    continue;
                }
                // A site has pages of the same paths, and leads everybody else to its front page.
                let below_keys = path.strip_prefix("/console/keys");
                let is_page = |rest: &str| rest.is_empty() || rest.rfind('/') == Some(0);
                if method == "GET" && below_keys.is_some_and(is_page) {
                    assert_eq!(reply.status, 303);
                    continue;
                }
                assert_eq!(reply.status, 403, "{method} {path}");
                refused += 1;
                if ["native", "console"].contains(&surface.name) {
                    let text = String::from_utf8_lossy(&reply.body);
                    assert!(text.contains("server.example"), "{path}: {text}");
                }
            }
        }
        assert!(refused > 150, "{refused}");
    }
}
