//! The lines of the dialects that implement formats of other systems.

use super::Needs::{Introspection, OwnKey, Password, Session};
use super::{Line, Thing, line};

/// Dialects that answer for any request whether its key may make it.
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
    line("OPTIONS", "",                              Session),
    line("OPTIONS", "/auth/token",                   Session),
    line("OPTIONS", "/v1/auth/keys/current/rotate",  Session),
    line("OPTIONS", "/v1/auth/keys/introspect",      Session),
    line("OPTIONS", "/stacks",                       Session),
    line("OPTIONS", "/stacks/{slug}",                Session).on(Thing::Workspace),
    line("OPTIONS", "/v1/workspaces",                Session),
];

#[rustfmt::skip] // Columns are the point of this table.
pub const VSPC: &[Line] = &[
    line("POST",   "/token",                                Password).with("grant_type=password&username={new}&password=x"),
    line("POST",   "/authentication/usernamepassword",      Password).with("username={new}&password=x"),
    line("POST",   "/authentication/refresh",               Password).with("refreshToken=x"),
    line("DELETE", "/users/{userUid}/tokens",               Session).on(Thing::User),
    line("GET",    "/users/logins",                         Session),
    line("GET",    "/users/{userUid}/logins",               Session).on(Thing::User),
    line("POST",   "/users/{userUid}/logins/apikey",        Session).on(Thing::User).with(r#"{"name":"x"}"#),
    line("POST",   "/users/{userUid}/logins/totp",          Session).on(Thing::User).with(r#"{"secretUrl":"x"}"#),
    line("GET",    "/authentication/keys/totp-secret",      Session),
    line("GET",    "/users/{userUid}/logins/{userLoginId}", Session).on(Thing::User),
    line("PATCH",  "/users/{userUid}/logins/{userLoginId}", Session).on(Thing::User).with(r#"[]"#),
    line("DELETE", "/users/{userUid}/logins/{userLoginId}", Session).on(Thing::User),
    line("GET",    "/organizations/{organizationUid}/keys", Session),
    line("GET",    "/organizations/{organizationUid}/users", Session),
    line("GET",    "/organizations/companies",              Session),
    line("GET",    "/users/me",                             Session),
    line("GET",    "/users",                                Session),
    line("POST",   "/users",                                Session).with(r#"{"userName":"{new}"}"#),
    line("GET",    "/users/{userUid}",                      Session).on(Thing::User),
    line("PATCH",  "/users/{userUid}",                      Session).on(Thing::User).with("[]"),
    line("DELETE", "/users/{userUid}",                      Session).on(Thing::User),
    line("GET",    "/about",                                Session),
];
