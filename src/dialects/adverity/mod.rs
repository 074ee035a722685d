//! Adverity's Management API: its keys, and the workspaces that they can access. The README of this folder lists what
//! it promises and how this is tested; the numbers in comments (1C-…) are those of its table.

mod error;
mod form;
mod keys;
mod options;
mod preset;
mod stacks;

pub use preset::{PRESET_TOKEN, PRESET_UI};

use crate::authz::caller;
use crate::error::Result;
use crate::http::reply::Reply;
use crate::http::route::Access::{Caller, Public};
use crate::http::route::{Call, CatalogWords, Route, Surface, delete, get, options, patch, post};
use crate::ops::authenticate;
use std::collections::BTreeMap;

pub const SURFACE: Surface = Surface {
    name: "adverity",
    mount: "/api",
    movable: true,
    routes: ROUTES,
    checks_host: true,
    render_error: error::render,
    render_fault: error::fault,
    would_authenticate: None,
    refusals: Some(CatalogWords {
        catalog: preset::CATALOG,
        word: error::refusal,
    }),
    moved: None,
    describes: None,
};

#[rustfmt::skip] // Columns are the point of this table.
const ROUTES: &[Route] = &[
    get    ("",                             Caller, index),
    // Keys
    post   ("/auth/token",                  Public, keys::issue),
    post   ("/v1/auth/keys/current/rotate", Caller, keys::rotate),
    get    ("/v1/auth/keys/introspect",     Public, keys::introspect),
    // Workspaces, which this API calls stacks
    get    ("/stacks",                      Caller, stacks::list),
    post   ("/stacks",                      Caller, stacks::create),
    get    ("/stacks/{slug}",               Caller, stacks::find),
    patch  ("/stacks/{slug}",               Caller, stacks::edit),
    delete ("/stacks/{slug}",               Caller, stacks::delete),
    get    ("/v1/workspaces",               Caller, stacks::list),
    // The description of each endpoint
    options("",                             Caller, options::describe),
    options("/auth/token",                  Caller, options::describe),
    options("/v1/auth/keys/current/rotate", Caller, options::describe),
    options("/v1/auth/keys/introspect",     Caller, options::describe),
    options("/stacks",                      Caller, options::describe),
    options("/stacks/{slug}",               Caller, options::describe),
    options("/v1/workspaces",               Caller, options::describe),
];

/// `GET /api/`: the names and addresses of the endpoints (1C-32).
fn index(call: &Call<'_>) -> Result<Reply> {
    caller(call)?;
    let top = top(call);
    let routes = ROUTES.iter().map(|route| route.path);
    let named = routes.filter(|path| !path.is_empty() && !path.contains('{'));
    let named = named.map(|path| (&path[1..], format!("{top}{path}/")));
    let map: BTreeMap<&str, String> = named.collect();
    Ok(Reply::json(200, &map))
}

/// The address of `/api`, which depends on the mount of this dialect.
fn top(call: &Call<'_>) -> String {
    let path = call.request.path();
    let mount = path.strip_suffix(call.below).unwrap_or(path);
    format!("{}{mount}", call.trust.base_url(call.request))
}

/// The caller with the permissions that this dialect grants: a key of a workspace has those of its scopes, and a key
/// created with a password has those of its user (1C-26). A user who is signed in has their own permissions. Keys of
/// other catalogs are not accepted.
fn caller(call: &Call<'_>) -> Result<caller::Caller> {
    let caller = call.caller()?;
    if let Some(caller) =
        authenticate::as_granted(call.app, caller, preset::CATALOG, preset::GRANTS)
    {
        return Ok(caller);
    }
    authenticate::as_owner(call.app, caller, preset::CATALOG, preset::ACCOUNT, false)
}
