//! The console: pages that this server renders and that work without scripts. As for every other dialect, `ops` decides
//! what a caller may do.

mod assets;
mod backups;
mod chart;
mod door;
mod form;
mod keys;
mod moved;
mod overview;
mod people;
mod rules;
mod shell;
mod text;

use crate::domain::users::permissions::Permission::CatalogsWrite;
use crate::http::route::Access::Public;
use crate::http::route::{Moved, Route, Surface, get, inline, post};
use crate::http::server::BodyRule;
use door::{account, confirm, disables, foresees, removes_role, setup, sign_in};
use keys::{change, create, detail, edit, list};
use people::{audit, export, users, workspaces};
use rules::{catalog_import, catalog_put, catalogs, policies, policy_edit};

pub use text::{check_texts, speak};

/// The path of the console. All its pages contain this path; if a setting or a proxy puts the console below a prefix,
/// `moved` adds the prefix to each answer.
const MOUNT: &str = "/console";

pub const SURFACE: Surface = Surface {
    name: "console",
    mount: MOUNT,
    movable: true,
    routes: ROUTES,
    checks_host: true,
    render_error: shell::error::render,
    render_fault: shell::error::fault,
    foresees: Some(foresees),
    refusals: None,
    moved: Some(Moved {
        with: "console",
        lead: moved::lead,
    }),
};

/// The front page of the server redirects to the console.
pub const FRONT: Surface = Surface {
    name: "front",
    mount: "",
    movable: false,
    routes: &[inline("GET", "", Public, BodyRule::Ignore, door::front)],
    ..SURFACE
};

/// To the router every route is public: the console itself authenticates the user by a cookie that no other dialect
/// reads.
#[rustfmt::skip] // Columns are the point of this table.
const ROUTES: &[Route] = &[
    get   ("",                          Public, overview::show),
    // Authentication
    get   ("/sign-in",                  Public, sign_in::show),
    post  ("/sign-in",                  Public, sign_in::submit),
    post  ("/sign-out",                 Public, sign_in::sign_out).takes_away(),
    get   ("/setup",                    Public, setup::show),
    post  ("/setup",                    Public, setup::submit),
    post  ("/confirm",                  Public, confirm::submit),
    get   ("/account",                  Public, account::show),
    post  ("/account/password",         Public, account::set_password),
    post  ("/account/sessions/{id}/end",Public, account::end_session).takes_away(),
    // Keys
    get   ("/keys",                     Public, list::show),
    get   ("/keys/new",                 Public, create::show),
    post  ("/keys/new",                 Public, create::act),
    get   ("/keys/{id}",                Public, detail::show),
    get   ("/keys/{id}/edit",           Public, edit::show),
    post  ("/keys/{id}/edit",           Public, edit::act),
    get   ("/keys/{id}/disable",        Public, change::ask_disable),
    post  ("/keys/{id}/disable",        Public, change::disable).takes_away(),
    post  ("/keys/{id}/enable",         Public, change::enable),
    get   ("/keys/{id}/rotate",         Public, change::ask_rotate),
    post  ("/keys/{id}/rotate",         Public, change::rotate),
    post  ("/keys/{id}/reveal",         Public, change::reveal),
    get   ("/keys/{id}/delete",         Public, change::ask_delete),
    post  ("/keys/{id}/delete",         Public, change::delete).takes_away(),
    // Policies and catalogs
    get   ("/policies",                 Public, policies::show),
    post  ("/policies/{name}/page",     Public, policies::switch),
    get   ("/policies/{name}/edit",     Public, policy_edit::show),
    post  ("/policies/{name}/edit",     Public, policy_edit::edit),
    get   ("/policies/{name}/delete",   Public, policy_edit::ask_delete),
    post  ("/policies/{name}/delete",   Public, policy_edit::delete).takes_away(),
    get   ("/new-policy",               Public, policy_edit::show_new),
    post  ("/new-policy",               Public, policy_edit::create),
    get   ("/catalogs",                 Public, catalogs::show_all),
    get   ("/catalogs/{name}",          Public, catalogs::show),
    get   ("/catalogs/{name}/edit",     Public, catalog_put::show),
    post  ("/catalogs/{name}/edit",     Public, catalog_put::replace).large(CatalogsWrite),
    get   ("/catalogs/{name}/delete",   Public, catalog_put::ask_delete),
    post  ("/catalogs/{name}/delete",   Public, catalog_put::delete).takes_away(),
    get   ("/new-catalog",              Public, catalog_put::show_new),
    post  ("/new-catalog",              Public, catalog_put::create).large(CatalogsWrite),
    get   ("/import-catalog",           Public, catalog_import::show),
    post  ("/import-catalog",           Public, catalog_import::preview).large(CatalogsWrite),
    // Workspaces, users and the audit log
    get   ("/users",                    Public, users::show_all),
    get   ("/users/new",                Public, users::show_new),
    post  ("/users/new",                Public, users::create),
    get   ("/users/{name}",             Public, users::show),
    post  ("/users/{name}",             Public, users::edit).takes_away_if(disables),
    post  ("/users/{name}/roles",       Public, users::set_roles).takes_away_if(removes_role),
    post  ("/users/{name}/password",    Public, users::set_password),
    post  ("/users/{name}/unlock",      Public, users::unlock),
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
    get   ("/backups",                  Public, backups::show),
    post  ("/backups",                  Public, backups::create),
    // Files that pages load
    inline("GET", "/assets/{name}",     Public, BodyRule::Ignore, assets::send),
];
