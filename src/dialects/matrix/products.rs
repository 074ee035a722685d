//! The lines of surfaces that speak other products' formats, of the console and of figures.

use super::Needs::{Cookie, Elsewhere, Introspection, Nothing, OwnKey, Password, Session};
use super::{Line, Thing, line};

/// Surfaces that say of any request whether its key may make it.
pub const CHECKED: &[Line] = &[line("*", "", OwnKey), line("*", "/{path...}", OwnKey)];

#[rustfmt::skip] // Columns are the point of this table.
pub const ADVERITY: &[Line] = &[
    line("GET",    "",                             Session),
    line("POST",   "/auth/token",                  Password).with(r#"{"username":"{new}","password":"x"}"#),
    line("POST",   "/v1/auth/keys/current/rotate", OwnKey),
    line("GET",    "/v1/auth/keys/introspect",     Introspection),
    line("GET",    "/stacks",                      Session),
    line("POST",   "/stacks",                      Session).with(r#"{"name":"{new}","parent":"below"}"#),
    line("GET",    "/stacks/{slug}",               Session).on(Thing::Workspace),
    line("PATCH",  "/stacks/{slug}",               Session).on(Thing::Workspace).with(r#"{"name":"x"}"#),
    line("DELETE", "/stacks/{slug}",               Session).on(Thing::Workspace),
    line("GET",    "/v1/workspaces",               Session),
];

#[rustfmt::skip] // Columns are the point of this table.
pub const CONSOLE: &[Line] = &[
    line("GET",  "",                           Cookie),
    line("GET",  "/sign-in",                   Nothing),
    line("POST", "/sign-in",                   Cookie),
    line("POST", "/sign-out",                  Cookie),
    line("GET",  "/setup",                     Cookie),
    line("POST", "/setup",                     Cookie),
    line("POST", "/confirm",                   Cookie),
    line("GET",  "/account",                   Cookie),
    line("POST", "/account/password",          Cookie),
    line("POST", "/account/sessions/{id}/end", Cookie),
    line("GET",  "/keys",                      Cookie),
    line("GET",  "/keys/new",                  Cookie),
    line("POST", "/keys/new",                  Cookie),
    line("GET",  "/keys/{id}",                 Cookie),
    line("GET",  "/keys/{id}/edit",            Cookie),
    line("POST", "/keys/{id}/edit",            Cookie),
    line("GET",  "/keys/{id}/disable",         Cookie),
    line("POST", "/keys/{id}/disable",         Cookie),
    line("POST", "/keys/{id}/enable",          Cookie),
    line("GET",  "/keys/{id}/rotate",          Cookie),
    line("POST", "/keys/{id}/rotate",          Cookie),
    line("POST", "/keys/{id}/reveal",          Cookie),
    line("GET",  "/keys/{id}/delete",          Cookie),
    line("POST", "/keys/{id}/delete",          Cookie),
    line("GET",  "/policies",                  Cookie),
    line("POST", "/policies/{name}/page",      Cookie),
    line("GET",  "/catalogs",                  Cookie),
    line("GET",  "/catalogs/{name}",           Cookie),
    line("GET",  "/users",                     Cookie),
    line("GET",  "/users/new",                 Cookie),
    line("POST", "/users/new",                 Cookie),
    line("GET",  "/users/{name}",              Cookie),
    line("POST", "/users/{name}",              Cookie),
    line("POST", "/users/{name}/roles",        Cookie),
    line("POST", "/users/{name}/password",     Cookie),
    line("POST", "/users/{name}/delete",       Cookie),
    line("GET",  "/workspaces",                Cookie),
    line("GET",  "/workspaces/new",            Cookie),
    line("POST", "/workspaces/new",            Cookie),
    line("GET",  "/workspaces/{slug}",         Cookie),
    line("POST", "/workspaces/{slug}",         Cookie),
    line("POST", "/workspaces/{slug}/delete",  Cookie),
    line("GET",  "/audit",                     Cookie),
    line("POST", "/audit/chain",               Cookie),
    line("POST", "/audit/export",              Cookie),
    line("GET",  "/assets/{name}",             Cookie),
];

pub const METRICS: &[Line] = &[line(
    "GET",
    "",
    Elsewhere("tests/server/keeping/metrics.rs"),
)];

pub const FRONT: &[Line] = &[line("GET", "", Cookie)];

#[rustfmt::skip] // Columns are the point of this table.
pub const VSPC: &[Line] = &[
    line("POST",   "/token",                                Password).with("grant_type=password&username={new}&password=x"),
    line("DELETE", "/users/{userUid}/tokens",               Session).on(Thing::User),
    line("GET",    "/users/logins",                         Session),
    line("GET",    "/users/{userUid}/logins",               Session).on(Thing::User),
    line("POST",   "/users/{userUid}/logins/apikey",        Session).on(Thing::User).with(r#"{"name":"x"}"#),
    line("GET",    "/users/{userUid}/logins/{userLoginId}", Session).on(Thing::User),
    line("PATCH",  "/users/{userUid}/logins/{userLoginId}", Session).on(Thing::User).with(r#"[]"#),
    line("DELETE", "/users/{userUid}/logins/{userLoginId}", Session).on(Thing::User),
    line("GET",    "/organizations/{organizationUid}/keys", Session),
    line("GET",    "/users/me",                             Session),
    line("GET",    "/users",                                Session),
    line("POST",   "/users",                                Session).with(r#"{"userName":"{new}"}"#),
    line("GET",    "/users/{userUid}",                      Session).on(Thing::User),
    line("PATCH",  "/users/{userUid}",                      Session).on(Thing::User).with("[]"),
    line("DELETE", "/users/{userUid}",                      Session).on(Thing::User),
    line("GET",    "/about",                                Session),
];
