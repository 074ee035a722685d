//! The console: pages for people, rendered here, that work without scripts. What a caller may do is decided in `ops`,
//! as it is for every other way in.

mod assets;
mod door;
mod overview;
mod shell;
mod text;

use crate::http::route::Access::Public;
use crate::http::route::{Route, Surface, get, inline, post};
use crate::http::server::BodyRule;
use door::{account, confirm, setup, sign_in};

/// Where the console is.
const MOUNT: &str = "/console";

pub const SURFACE: Surface = Surface {
    name: "console",
    mount: MOUNT,
    movable: false,
    routes: ROUTES,
    checks_host: true,
    render_error: shell::error::render,
    render_fault: shell::error::fault,
    refusals: None,
};

/// The server's front page leads to the console.
pub const FRONT: Surface = Surface {
    name: "front",
    mount: "",
    routes: &[inline("GET", "", Public, BodyRule::Ignore, door::front)],
    ..SURFACE
};

/// Every route is public to the router: who is signed in is decided at the door (`door`), by a cookie that no other
/// surface reads.
#[rustfmt::skip] // Columns are the point of this table.
const ROUTES: &[Route] = &[
    get   ("",                          Public, overview::show),
    // The door
    get   ("/sign-in",                  Public, sign_in::show),
    post  ("/sign-in",                  Public, sign_in::submit),
    post  ("/sign-out",                 Public, sign_in::sign_out),
    get   ("/setup",                    Public, setup::show),
    post  ("/setup",                    Public, setup::submit),
    post  ("/confirm",                  Public, confirm::submit),
    get   ("/account",                  Public, account::show),
    post  ("/account/password",         Public, account::set_password),
    post  ("/account/sessions/{id}/end",Public, account::end_session),
    // What pages load
    inline("GET", "/assets/{name}",     Public, BodyRule::Ignore, assets::send),
];
