//! The console: pages that this server renders and that work without scripts. As for every other dialect, `ops` decides
//! what a caller may do.

mod assets;
pub mod audit;
mod auth;
mod backups;
pub mod catalogs;
mod chart;
mod connect;
mod doctor;
mod form;
mod keys;
mod layout;
mod notices;
mod overview;
pub mod policies;
mod prefix;
pub mod sections;
mod session_rows;
pub mod site;
mod site_keys;
mod sites;
mod text;
pub mod users;
mod workspace_choice;
pub mod workspaces;

use crate::domain::users::permissions::Permission::{CatalogsWrite, KeysWrite, ServerAdmin};
use crate::http::route::Access::Public;
use crate::http::route::{Moved, Route, Surface, get, inline, post};
use crate::http1::BodyRule;
use audit::export;
use auth::{
    account, confirm, disables, removes_role, setup, sign_in, two_step, would_authenticate,
};
use catalogs::{import, put};
use keys::{change, create, detail, edit, list};

pub use text::{check_texts, examine, file_of, speak};

/// The path of the console. All its pages contain this path; if a setting or a proxy puts the console below a prefix,
/// `moved` adds the prefix to each answer.
const MOUNT: &str = "/console";

pub const SURFACE: Surface = Surface {
    name: "console",
    mount: MOUNT,
    movable: true,
    routes: ROUTES,
    checks_host: true,
    render_error: layout::error::render,
    render_fault: layout::error::fault,
    would_authenticate: Some(would_authenticate),
    refusals: None,
    moved: Some(Moved {
        with: "console",
        lead: prefix::lead,
    }),
    describes: None,
};

/// The front page of the server redirects to the console.
pub const FRONT: Surface = Surface {
    name: "front",
    mount: "",
    movable: false,
    routes: &[inline("GET", "", Public, BodyRule::Ignore, auth::front)],
    ..SURFACE
};

/// To the router every route is public: the console itself authenticates the user by a cookie that no other dialect
/// reads.
#[rustfmt::skip] // Columns are the point of this table.
const ROUTES: &[Route] = &[
    get   ("",                          Public, overview::show),
    post  ("/steps",                    Public, overview::switch_steps),
    // Authentication
    get   ("/sign-in",                  Public, sign_in::show),
    post  ("/sign-in",                  Public, sign_in::submit),
    post  ("/sign-out",                 Public, sign_in::sign_out).takes_away(),
    get   ("/setup",                    Public, setup::show),
    post  ("/setup",                    Public, setup::submit),
    post  ("/confirm",                  Public, confirm::submit),
    get   ("/account",                  Public, account::show),
    post  ("/account/password",         Public, account::set_password),
    get   ("/account/preferences",      Public, auth::preferences::show),
    post  ("/account/preferences",      Public, auth::preferences::set),
    post  ("/account/sessions/{id}/end",Public, account::end_session).takes_away(),
    post  ("/account/end-sessions",     Public, account::end_sessions).takes_away(),
    get   ("/account/two-step",         Public, two_step::show),
    post  ("/account/two-step",         Public, two_step::set_up),
    get   ("/account/two-step/off",     Public, two_step::ask_off),
    post  ("/account/two-step/off",     Public, two_step::switch_off),
    get   ("/account/recovery-codes",   Public, two_step::ask_codes),
    post  ("/account/recovery-codes",   Public, two_step::create_codes),
    // Keys
    get   ("/keys",                     Public, list::show),
    post  ("/keys",                     Public, list::search::submit),
    post  ("/keys/columns",             Public, list::choose_columns),
    get   ("/keys/export",              Public, list::export::show),
    post  ("/keys/bulk",                Public, list::bulk::ask),
    post  ("/keys/bulk/confirmed",      Public, list::bulk::act).takes_away_if(list::bulk::takes_away),
    get   ("/keys/new",                 Public, create::show),
    post  ("/keys/new",                 Public, create::act),
    get   ("/import-keys",              Public, keys::import::show),
    post  ("/import-keys",              Public, keys::import::preview).large(KeysWrite),
    post  ("/import-keys/confirm",      Public, keys::import::confirm).large(KeysWrite),
    get   ("/keys/{id}",                Public, detail::show),
    get   ("/keys/{id}/edit",           Public, edit::show),
    post  ("/keys/{id}/edit",           Public, edit::act),
    get   ("/keys/{id}/disable",        Public, change::ask_disable),
    post  ("/keys/{id}/disable",        Public, change::disable).takes_away(),
    post  ("/keys/{id}/enable",         Public, change::enable),
    get   ("/keys/{id}/rotate",         Public, change::ask_rotate),
    post  ("/keys/{id}/rotate",         Public, change::rotate),
    post  ("/keys/{id}/end-previous",   Public, change::end_previous).takes_away(),
    post  ("/keys/{id}/reveal",         Public, change::reveal),
    get   ("/keys/{id}/delete",         Public, change::ask_delete),
    post  ("/keys/{id}/delete",         Public, change::delete).takes_away(),
    // Policies and catalogs
    get   ("/policies",                 Public, policies::show),
    get   ("/policies/{name}",          Public, policies::show_one),
    post  ("/policies/{name}/page",     Public, policies::switch),
    get   ("/policies/{name}/edit",     Public, policies::edit::show),
    post  ("/policies/{name}/edit",     Public, policies::edit::edit),
    get   ("/policies/{name}/delete",   Public, policies::edit::ask_delete),
    post  ("/policies/{name}/delete",   Public, policies::edit::delete).takes_away(),
    get   ("/new-policy",               Public, policies::edit::show_new),
    post  ("/new-policy",               Public, policies::edit::create),
    get   ("/catalogs",                 Public, catalogs::show_all),
    get   ("/catalogs/{name}",          Public, catalogs::show),
    get   ("/catalogs/{name}/edit",     Public, put::show),
    post  ("/catalogs/{name}/edit",     Public, put::replace).large(CatalogsWrite),
    get   ("/catalogs/{name}/delete",   Public, put::ask_delete),
    post  ("/catalogs/{name}/delete",   Public, put::delete).takes_away(),
    get   ("/new-catalog",              Public, put::show_new),
    post  ("/new-catalog",              Public, put::create).large(CatalogsWrite),
    get   ("/import-catalog",           Public, import::show),
    post  ("/import-catalog",           Public, import::preview).large(CatalogsWrite),
    get   ("/connect",                  Public, connect::show),
    post  ("/connect",                  Public, connect::check),
    // Sites
    get   ("/sites",                    Public, sites::show_all),
    get   ("/new-site",                 Public, sites::enrol::show),
    post  ("/site-reports",             Public, sites::packs::collect).large(ServerAdmin),
    get   ("/sites/{name}",             Public, sites::detail::show),
    get   ("/sites/{name}/edit",        Public, sites::edit::show),
    post  ("/sites/{name}/edit",        Public, sites::edit::edit),
    get   ("/sites/{name}/remove",      Public, sites::edit::ask_remove),
    post  ("/sites/{name}/remove",      Public, sites::edit::remove).takes_away(),
    post  ("/sites/{name}/packs",       Public, sites::packs::make),
    get   ("/sites/{name}/packs/{number}", Public, sites::packs::download),
    post  ("/sites/{name}/revocations", Public, sites::packs::revoke),
    post  ("/sites/{name}/keys/{id}/disable", Public, sites::detail::disable).takes_away(),
    // Workspaces, users and the audit log
    get   ("/users",                    Public, users::show_all),
    get   ("/users/new",                Public, users::show_new),
    post  ("/users/new",                Public, users::create),
    get   ("/users/{name}",             Public, users::show),
    post  ("/users/{name}",             Public, users::edit).takes_away_if(disables),
    post  ("/users/{name}/roles",       Public, users::set_roles).takes_away_if(removes_role),
    post  ("/users/{name}/password",    Public, users::set_password),
    post  ("/users/{name}/unlock",      Public, users::unlock),
    post  ("/users/{name}/reset-two-step", Public, users::reset_two_step),
    post  ("/users/{name}/end-sessions", Public, users::end_sessions).takes_away(),
    post  ("/users/{name}/sessions/{id}/end", Public, users::end_session).takes_away(),
    get   ("/users/{name}/delete",      Public, users::ask_delete),
    post  ("/users/{name}/delete",      Public, users::delete).takes_away(),
    get   ("/workspaces",               Public, workspaces::show_all),
    get   ("/workspaces/new",           Public, workspaces::show_new),
    post  ("/workspaces/new",           Public, workspaces::create),
    get   ("/workspaces/{slug}",        Public, workspaces::show),
    post  ("/workspaces/{slug}",        Public, workspaces::edit).takes_away_if(disables),
    get   ("/workspaces/{slug}/delete", Public, workspaces::ask_delete),
    post  ("/workspaces/{slug}/delete", Public, workspaces::delete).takes_away(),
    get   ("/audit",                    Public, audit::show),
    post  ("/audit/chain",              Public, audit::prove),
    post  ("/audit/export",             Public, export::submit),
    get   ("/notices",                  Public, notices::show),
    post  ("/notices",                  Public, notices::mark),
    get   ("/backups",                  Public, backups::show),
    post  ("/backups",                  Public, backups::create),
    post  ("/backups/check",            Public, backups::check),
    get   ("/doctor",                   Public, doctor::show),
    post  ("/doctor",                   Public, doctor::run),
    // Files that pages load
    inline("GET", "/assets/{name}",     Public, BodyRule::Ignore, assets::send).even_if_stale(),
];
