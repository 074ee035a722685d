//! The console's lines: its pages are for whoever has its cookie, whatever credential a header carries.

use super::Needs::{Cookie, Nothing};
use super::{Line, Thing, line};

#[rustfmt::skip] // Columns are the point of this table.
pub const LINES: &[Line] = &[
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
    line("GET",  "/keys/{id}",                 Cookie).on(Thing::Key),
    line("GET",  "/keys/{id}/edit",            Cookie).on(Thing::Key),
    line("POST", "/keys/{id}/edit",            Cookie).on(Thing::Key),
    line("GET",  "/keys/{id}/disable",         Cookie).on(Thing::Key),
    line("POST", "/keys/{id}/disable",         Cookie).on(Thing::Key),
    line("POST", "/keys/{id}/enable",          Cookie).on(Thing::Key),
    line("GET",  "/keys/{id}/rotate",          Cookie).on(Thing::Key),
    line("POST", "/keys/{id}/rotate",          Cookie).on(Thing::Key),
    line("POST", "/keys/{id}/reveal",          Cookie).on(Thing::Key),
    line("GET",  "/keys/{id}/delete",          Cookie).on(Thing::Key),
    line("POST", "/keys/{id}/delete",          Cookie).on(Thing::Key),
    line("GET",  "/policies",                  Cookie),
    line("POST", "/policies/{name}/page",      Cookie).on(Thing::Policy),
    line("GET",  "/catalogs",                  Cookie),
    line("GET",  "/catalogs/{name}",           Cookie).on(Thing::Catalog),
    line("GET",  "/users",                     Cookie),
    line("GET",  "/users/new",                 Cookie),
    line("POST", "/users/new",                 Cookie),
    line("GET",  "/users/{name}",              Cookie).on(Thing::User),
    line("POST", "/users/{name}",              Cookie).on(Thing::User),
    line("POST", "/users/{name}/roles",        Cookie).on(Thing::User),
    line("POST", "/users/{name}/password",     Cookie).on(Thing::User),
    line("POST", "/users/{name}/delete",       Cookie).on(Thing::User),
    line("GET",  "/workspaces",                Cookie),
    line("GET",  "/workspaces/new",            Cookie),
    line("POST", "/workspaces/new",            Cookie),
    line("GET",  "/workspaces/{slug}",         Cookie).on(Thing::Workspace),
    line("POST", "/workspaces/{slug}",         Cookie).on(Thing::Workspace),
    line("POST", "/workspaces/{slug}/delete",  Cookie).on(Thing::Workspace),
    line("GET",  "/audit",                     Cookie),
    line("POST", "/audit/chain",               Cookie),
    line("POST", "/audit/export",              Cookie),
    line("GET",  "/assets/{name}",             Cookie),
];

/// The door before it.
pub const FRONT: &[Line] = &[line("GET", "", Cookie)];
