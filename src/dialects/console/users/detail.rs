//! The page of a user.

use super::{Bound, address, bound, ownerless, roles, slug};
use crate::dialects::console::MOUNT;
use crate::dialects::console::auth::account::TwoStep;
use crate::dialects::console::auth::{Visit, page};
use crate::dialects::console::keys;
use crate::dialects::console::layout::moment::DisplayTime;
use crate::dialects::console::layout::{Layout, Nav, html};
use crate::dialects::console::session_rows::SessionRow;
use crate::dialects::console::workspace_choice::{Option3, places};
use crate::domain::users::User;
use crate::domain::users::permissions::Permission;
use crate::error::{Error, Result};
use crate::http::query::encode;
use crate::http::reply::Reply;
use crate::http::route::Call;
use crate::ops::keys::list::{self, Filter};
use crate::ops::sessions::listed;
use crate::ops::users::offered;
use crate::ops::users::offered::UserActions;
use crate::ops::{attempts, users};
use askama::Template;
use std::sync::Arc;

/// The number of keys that the page lists itself.
const KEYS: usize = 5;

#[derive(Template)]
#[template(path = "console/user.html")]
struct UserPage {
    s: Layout,
    href: String,
    /// The user as the audit log names it.
    events: String,
    name: String,
    email: String,
    home: String,
    created: DisplayTime,
    last: Option<DisplayTime>,
    /// From where the user last signed in.
    last_from: String,
    offered: UserActions,
    /// Whether the visitor looks at their own user.
    own: bool,
    enabled: bool,
    locked: bool,
    /// The number of failed attempts to sign in; empty if there are none.
    failed: String,
    since: Option<DisplayTime>,
    two_step: TwoStep,
    keys: KeysView,
    /// The keys without an owner that the user created: address and name.
    ownerless: Vec<(String, String)>,
    roles: Vec<Bound>,
    choices: Vec<Option3>,
    places: Vec<Option3>,
    sessions: Vec<SessionRow>,
    /// The address to which the form of a session that ends is sent; the id follows.
    end: String,
    refused: (String, String),
}

/// The keys of the user, as far as the visitor may see them.
#[derive(Default)]
struct KeysView {
    /// The first few: address, name, and the end of the key.
    first: Vec<(String, String, String)>,
    count: u64,
    /// The address of the list of all of them.
    all: String,
    /// The address of the list of the keys that the user created.
    made: String,
}

#[derive(Template)]
#[template(path = "console/user_delete.html")]
struct DeletePage {
    s: Layout,
    href: String,
    name: String,
    ownerless: Vec<(String, String)>,
    /// Why the user could not be deleted, if this was attempted.
    refusal: Option<String>,
}

/// `GET /console/users/{name}`
pub fn show(call: &Call<'_>) -> Result<Reply> {
    page(call, &|visit| {
        let user = users::find(call.app, &visit.caller, call.param("name"))?;
        shown(visit, 200, &user, Default::default())
    })
}

/// `GET /console/users/{name}/delete`
pub fn ask_delete(call: &Call<'_>) -> Result<Reply> {
    page(call, &|visit| {
        let user = users::find(call.app, &visit.caller, call.param("name"))?;
        offered::require_change(call.app, &visit.caller, &user)?;
        deleting(visit, 200, &user, None)
    })
}

pub(super) fn deleting(
    visit: &Visit<'_>,
    status: u16,
    user: &User,
    refusal: Option<String>,
) -> Result<Reply> {
    let delete = DeletePage {
        s: visit.shell(visit.texts.get("users.delete_title"), Nav::Users),
        href: address(&user.uid.to_string()),
        name: user.user_name.clone(),
        ownerless: ownerless(visit, user)?,
        refusal,
    };
    html(status, &delete)
}

pub(super) fn shown(
    visit: &Visit<'_>,
    status: u16,
    user: &Arc<User>,
    refused: (String, String),
) -> Result<Reply> {
    let (app, texts) = (visit.call.app, visit.texts);
    let standing = attempts::standing(app, user.uid);
    let now = app.now().wall;
    let moment = |at| DisplayTime::new(texts, at, now);
    let failures = u64::from(standing.failures);
    let last = users::last_sign_in(app, user.uid)?;
    let offered = offered::offered(app, &visit.caller, user);
    let href = address(&user.uid.to_string());
    let one = UserPage {
        locked: standing.is_locked(),
        failed: match failures {
            0 => String::new(),
            some => texts.count("users.failed", some),
        },
        since: standing.since.map(moment),
        s: visit.shell(user.user_name.clone(), Nav::Users),
        events: format!("user:{}", user.user_name),
        name: user.user_name.clone(),
        email: user.email.clone().unwrap_or_default(),
        home: slug(visit, user.home),
        created: moment(user.created_at),
        last_from: last
            .as_ref()
            .map_or_else(String::new, |last| last.source.clone()),
        last: last.map(|last| moment(last.at)),
        own: visit.caller.is_session_of(user.uid),
        enabled: user.enabled,
        two_step: TwoStep::of(visit, user)?,
        keys: match offered.keys {
            true => keys_of(visit, user)?,
            false => KeysView::default(),
        },
        ownerless: ownerless(visit, user)?,
        roles: bound(visit, user),
        choices: roles(visit, ""),
        places: places(visit, Permission::UsersWrite, "")?,
        sessions: match listed::list(app, &visit.caller, &user.uid.to_string()) {
            Ok(found) => found
                .into_iter()
                .map(|session| SessionRow::of(visit, session))
                .collect(),
            Err(Error::Forbidden(_)) => Vec::new(),
            Err(err) => return Err(err),
        },
        end: format!("{href}/sessions"),
        offered,
        href,
        refused,
    };
    html(status, &one)
}

fn keys_of(visit: &Visit<'_>, user: &User) -> Result<KeysView> {
    let filter = Filter {
        owner: Some(user.uid.to_string()),
        ..Filter::default()
    };
    let (app, now) = (visit.call.app, visit.call.app.now().wall);
    let found = list::list(app, &visit.caller, &filter, None, KEYS)?;
    let one = |view: &crate::ops::keys::View| {
        let end = match view.key.expires_at {
            None => String::new(),
            Some(end) => DisplayTime::new(visit.texts, end, now).relative,
        };
        (keys::address(view.key.id), view.key.name.clone(), end)
    };
    Ok(KeysView {
        first: found.items.iter().map(one).collect(),
        count: users::count_keys(app, &visit.caller, user.uid)?,
        all: format!("{MOUNT}/keys?owner={}", encode(&user.user_name)),
        made: format!(
            "{MOUNT}/keys?created_by={}",
            encode(&format!("user:{}", user.user_name))
        ),
    })
}
