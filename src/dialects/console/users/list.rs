//! The list of users: search, and what matters about each.

use super::{address, bound, slug};
use crate::dialects::console::MOUNT;
use crate::dialects::console::auth::{Visit, page};
use crate::dialects::console::layout::moment::DisplayTime;
use crate::dialects::console::layout::{Layout, Nav, html};
use crate::domain::users::User;
use crate::error::Result;
use crate::http::query::encode;
use crate::http::reply::Reply;
use crate::http::route::Call;
use crate::ops::sessions::listed;
use crate::ops::users::offered;
use crate::ops::{attempts, users};
use crate::store::sign_ins::SignIn;
use askama::Template;
use std::sync::Arc;

/// The number of users on one page.
const ROWS: usize = 50;

#[derive(Template)]
#[template(path = "console/users.html")]
struct UsersPage {
    s: Layout,
    rows: Vec<UserRow>,
    /// What the user searched for.
    query: String,
    /// `12 users`, or which of them the page has.
    total: String,
    /// The addresses of the neighbouring pages.
    previous: Option<String>,
    next: Option<String>,
    /// Whether the caller may create users.
    create: bool,
    /// Whether the caller may see how many keys a user has.
    has_keys: bool,
}

struct UserRow {
    href: String,
    name: String,
    email: String,
    enabled: bool,
    locked: bool,
    roles: Vec<String>,
    two_step: bool,
    /// Whether a role of the user demands two-step sign-in.
    demanded: bool,
    last: Option<DisplayTime>,
    keys: u64,
    keys_href: String,
    sessions: usize,
}

/// `GET /console/users`
pub fn show_all(call: &Call<'_>) -> Result<Reply> {
    page(call, &|visit| {
        let mut parameters = call.query()?;
        let query = parameters.take("q").unwrap_or_default();
        let number = parameters.take("page").and_then(|text| text.parse().ok());
        let found = users::list(call.app, &visit.caller)?;
        let words: Vec<String> = query.split_whitespace().map(str::to_lowercase).collect();
        let found: Vec<Arc<User>> = found
            .into_iter()
            .filter(|user| matches(visit, user, &words))
            .collect();
        let last_page = found.len().div_ceil(ROWS).max(1);
        let number = number.unwrap_or(1_usize).clamp(1, last_page);
        let first = (number - 1) * ROWS;
        let shown: Vec<&Arc<User>> = found.iter().skip(first).take(ROWS).collect();
        let mut last = users::last_sign_ins(call.app)?;
        let has_keys = offered::sees_keys(call.app, &visit.caller);
        let mut rows = Vec::new();
        for user in &shown {
            rows.push(row(visit, user, last.remove(&user.uid), has_keys)?);
        }
        let to = |number: usize| {
            let q = match query.is_empty() {
                true => String::new(),
                false => format!("&q={}", encode(&query)),
            };
            format!("{MOUNT}/users?page={number}{q}")
        };
        let texts = visit.texts;
        let total = texts.count("users.total", found.len() as u64);
        let total = match last_page {
            1 => total,
            _ => texts
                .get("users.range")
                .replace("{first}", &(first + 1).to_string())
                .replace("{last}", &(first + shown.len()).to_string())
                .replace("{total}", &total),
        };
        let one = UsersPage {
            rows,
            total,
            previous: (number > 1).then(|| to(number - 1)),
            next: (number < last_page).then(|| to(number + 1)),
            create: offered::require_create(call.app, &visit.caller).is_ok(),
            has_keys,
            s: visit.shell(texts.get("users.title"), Nav::Users),
            query,
        };
        html(200, &one)
    })
}

/// Whether each word is in the name, the e-mail address, a role, or the workspace of one.
fn matches(visit: &Visit<'_>, user: &User, words: &[String]) -> bool {
    if words.is_empty() {
        return true;
    }
    let mut texts = vec![user.user_name.clone(), slug(visit, user.home)];
    texts.extend(user.email.clone());
    for bound in bound(visit, user) {
        texts.push(bound.role.to_lowercase());
        texts.push(bound.place);
    }
    words
        .iter()
        .all(|word| texts.iter().any(|text| text.contains(word.as_str())))
}

fn row(
    visit: &Visit<'_>,
    user: &Arc<User>,
    last: Option<SignIn>,
    has_keys: bool,
) -> Result<UserRow> {
    let (app, now) = (visit.call.app, visit.call.app.now().wall);
    Ok(UserRow {
        href: address(&user.uid.to_string()),
        name: user.user_name.clone(),
        email: user.email.clone().unwrap_or_default(),
        enabled: user.enabled,
        locked: attempts::standing(app, user.uid).is_locked(),
        roles: bound(visit, user)
            .into_iter()
            .map(|bound| format!("{} @ {}", bound.role, bound.place))
            .collect(),
        two_step: user.has_second_factor,
        demanded: app.demands_second_factor(user),
        last: last.map(|last| DisplayTime::new(visit.texts, last.at, now)),
        keys: match has_keys {
            true => users::count_keys(app, &visit.caller, user.uid)?,
            false => 0,
        },
        keys_href: format!("{MOUNT}/keys?owner={}", encode(&user.user_name)),
        sessions: listed::count(app, user),
    })
}
