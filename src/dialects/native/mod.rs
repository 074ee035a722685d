//! The native dialect: JSON, bearer secrets, RFC 9457 problems. `docs/api.md` documents it, and every route is described for
//! the OpenAPI document.

mod audit;
pub mod backups;
pub mod catalogs;
pub mod clock;
pub mod cluster;
pub mod declared;
pub mod doctor;
mod feed;
mod keys;
mod leaks;
pub mod notices;
mod oauth;
pub mod openapi;
mod packs;
pub mod policies;
pub mod problem;
pub mod secrets;
pub mod site;
mod sites;
mod users;
mod verify;
mod workspaces;

use crate::domain::users::permissions::Permission::{CatalogsWrite, KeysWrite, ServerAdmin};
use crate::http::describe::Document;
use crate::http::route::Access::{Caller, Public, Verifier};
use crate::http::route::{
    BODY_BYTES_MAX, Route, Surface, delete, disables, ends_keys, get, inline, leaves_only_roles,
    patch, post, put, strict,
};
use crate::http1::BodyRule::UpTo;

pub const SURFACE: Surface = Surface {
    name: "native",
    mount: "/v1",
    movable: false,
    routes: ROUTES,
    checks_host: true,
    render_error: problem::render,
    render_fault: problem::fault,
    would_authenticate: None,
    refusals: None,
    moved: None,
    describes: Some(describe),
};

/// Adds the operations of all routes below to the description of the server.
fn describe(document: &mut Document) {
    verify::describe(document);
    oauth::describe(document);
    keys::describe(document);
    leaks::describe(document);
    workspaces::describe(document);
    users::describe(document);
    catalogs::describe(document);
    policies::describe(document);
    audit::describe(document);
    notices::describe(document);
    doctor::describe(document);
    declared::describe(document);
    backups::describe(document);
    clock::describe(document);
    cluster::describe(document);
    secrets::describe(document);
    sites::describe(document);
    packs::describe(document);
    feed::describe(document);
    openapi::describe(document);
}

/// The whole path of the audit log, for links to it.
const AUDIT_EVENTS: &str = "/v1/audit-events";

#[rustfmt::skip] // Columns are the point of this table.
const ROUTES: &[Route] = &strict([
    // Verification
    inline("POST", "/verify",             Verifier, UpTo(BODY_BYTES_MAX), verify::verify),
    post  (        "/verify/batch",       Verifier, verify::batch),
    post  (        "/introspect",         Verifier, oauth::introspect).for_oauth(oauth::refusal),
    post  (        "/revoke",             Caller,   oauth::revoke).takes_away().waits().for_oauth(oauth::refusal),
    // Keys
    get   (        "/keys",               Caller,   keys::list).with_query(),
    post  (        "/keys",               Caller,   keys::issue),
    post  (        "/keys/identify",      Caller,   verify::identify),
    post  (        "/keys/batch",         Caller,   keys::batch).takes_away_if(ends_keys).waits(),
    post  (        "/keys/import",        Caller,   keys::import).large(KeysWrite).with_query(),
    get   (        "/keys/export",        Caller,   keys::export).with_query(),
    get   (        "/keys/{id}",          Caller,   keys::find),
    patch (        "/keys/{id}",          Caller,   keys::edit).takes_away_if(disables).waits(),
    delete(        "/keys/{id}",          Caller,   keys::delete).waits(),
    post  (        "/keys/{id}/rotate",   Caller,   keys::rotate).waits_with_secret(),
    delete(        "/keys/{id}/previous", Caller,   keys::end_previous).waits(),
    post  (        "/keys/{id}/disable",  Caller,   keys::disable).takes_away().waits(),
    post  (        "/keys/{id}/enable",   Caller,   keys::enable),
    post  (        "/keys/{id}/reveal",   Caller,   keys::reveal),
    post  (        "/keys/{id}/test",     Caller,   keys::test),
    get   (        "/keys/{id}/refusals", Caller,   keys::list_refusals),
    get   (        "/whoami",             Caller,   keys::whoami),
    post  (        "/whoami/rotate",      Caller,   keys::rotate_own).waits_with_secret(),
    post  (        "/leaks",              Caller,   leaks::report),
    post  (        "/leaks/github",       Public,   leaks::take_delivery),
    // Workspaces
    get   (        "/workspaces",         Caller,   workspaces::list),
    post  (        "/workspaces",         Caller,   workspaces::create),
    get   (        "/workspaces/{id}",    Caller,   workspaces::find),
    patch (        "/workspaces/{id}",    Caller,   workspaces::edit).takes_away_if(disables).waits(),
    delete(        "/workspaces/{id}",    Caller,   workspaces::delete).with_query().waits(),
    // Users and sessions
    get   (        "/users",              Caller,   users::list),
    post  (        "/users",              Caller,   users::create),
    get   (        "/users/{id}",         Caller,   users::find),
    patch (        "/users/{id}",         Caller,   users::edit).takes_away_if(disables).waits(),
    delete(        "/users/{id}",         Caller,   users::delete).with_query().waits(),
    post  (        "/users/{id}/password",Caller,   users::set_password),
    post  (        "/users/{id}/unlock",  Caller,   users::unlock),
    put   (        "/users/{id}/roles",   Caller,   users::set_roles).takes_away_if(leaves_only_roles).waits(),
    get   (        "/users/{id}/authenticators", Caller, users::authenticators::list),
    post  (        "/users/{id}/authenticators", Caller, users::authenticators::create),
    delete(        "/users/{id}/authenticators", Caller, users::authenticators::delete),
    post  (        "/users/{id}/authenticators/start", Caller, users::authenticators::start),
    get   (        "/users/{id}/recovery-codes", Caller, users::authenticators::count_recovery_codes),
    post  (        "/users/{id}/recovery-codes", Caller, users::authenticators::create_recovery_codes),
    get   (        "/users/{id}/sessions", Caller, users::sessions::list),
    delete(        "/users/{id}/sessions", Caller, users::sessions::end_all).ends_sessions(),
    delete(        "/users/{id}/sessions/{session}", Caller, users::sessions::end).ends_sessions(),
    post  (        "/sessions",           Public,   users::sign_in),
    delete(        "/sessions/current",   Caller,   users::sign_out).ends_sessions(),
    // Catalogs and policies
    get   (        "/catalogs",           Caller,   catalogs::list),
    get   (        "/catalogs/{name}",    Caller,   catalogs::find),
    put   (        "/catalogs/{name}",    Caller,   catalogs::put).large(CatalogsWrite).waits(),
    delete(        "/catalogs/{name}",    Caller,   catalogs::delete),
    get   (        "/policies",           Caller,   policies::list),
    post  (        "/policies",           Caller,   policies::create),
    get   (        "/policies/{name}",    Caller,   policies::find),
    patch (        "/policies/{name}",    Caller,   policies::edit).waits(),
    delete(        "/policies/{name}",    Caller,   policies::delete),
    put   (        "/policies/{name}/page", Caller, policies::switch_page),
    // Audit log and usage
    get   (        "/audit-events",       Caller,   audit::audit_events).with_query(),
    get   (        "/audit-events/chain", Caller,   audit::chain),
    post  (        "/audit-events/prune", Caller,   audit::prune),
    // Notices
    get   (        "/notices",            Caller,   notices::list).with_query(),
    get   (        "/notices/sinks",      Caller,   notices::sinks),
    post  (        "/notices/test",       Caller,   notices::test),
    // Sites
    get   (        "/sites",              Caller,   sites::list),
    post  (        "/sites",              Caller,   sites::add),
    get   (        "/sites/{name}",       Caller,   sites::find),
    patch (        "/sites/{name}",       Caller,   sites::edit).waits(),
    delete(        "/sites/{name}",       Caller,   sites::remove).with_query(),
    inline("POST", "/feed",               Public,   UpTo(feed::BYTES_MAX), feed::answer),
    post  (        "/packs",              Caller,   packs::make),
    get   (        "/packs/{site}/{number}", Caller, packs::fetch),
    post  (        "/packs/reports",      Caller,   packs::collect).large(ServerAdmin),
    post  (        "/packs/revocations",  Caller,   packs::revoke),
    get   (        "/packs/signing-keys", Caller,   packs::list_keys),
    post  (        "/packs/signing-keys", Caller,   packs::rotate_key),
    // The server itself
    get   (        "/doctor",             Caller,   doctor::examine),
    post  (        "/doctor/accept",      Caller,   doctor::accept),
    post  (        "/doctor/bundle",      Caller,   doctor::bundle),
    get   (        "/declared",           Caller,   declared::compare),
    post  (        "/declared/apply",     Caller,   declared::apply),
    get   (        "/backups",            Caller,   backups::list),
    post  (        "/backups",            Caller,   backups::create),
    get   (        "/backups/progress",   Caller,   backups::progress),
    post  (        "/backups/moved",      Caller,   backups::moved),
    post  (        "/backups/secrets",    Caller,   backups::note_secrets),
    get   (        "/clock",              Caller,   clock::find),
    post  (        "/clock/accept",       Caller,   clock::accept),
    post  (        "/cluster/forget",     Caller,   cluster::forget),
    post  (        "/cluster/upgrade",    Caller,   cluster::upgrade),
    get   (        "/secrets",            Caller,   secrets::status),
    post  (        "/secrets/rotate",     Caller,   secrets::rotate),
    post  (        "/secrets/retire",     Caller,   secrets::retire),
    get   (        "/usage",              Caller,   audit::usage).with_query(),
    get   (        "/openapi.json",       Public,   openapi::document),
]);
