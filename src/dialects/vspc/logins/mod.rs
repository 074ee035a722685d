//! User identities: the API keys, the passwords and the one-time codes of users (1D-9 to 1D-25).

pub mod authenticators;
mod identity;
mod query;

use super::lists::{ListParameters, Page, SelectedProperties};
use super::patch::{self, Verdict};
use super::version::Client;
use super::{caller, data, organizations, preset, retry, user};
use crate::authz::caller::Caller;
use crate::domain::authenticators::Authenticator;
use crate::domain::keys::{Key, KeyId};
use crate::domain::text::name_of_description;
use crate::domain::uid::Uid;
use crate::domain::users::User;
use crate::error::{Error, Result};
use crate::http::reply::Reply;
use crate::http::route::Call;
use crate::index::directory::Directory;
use crate::ops::keys::issue::{self, NewKey};
use crate::ops::keys::list::numbers;
use crate::ops::keys::members::KeyMembers;
use crate::ops::keys::{self, View};
use crate::ops::users;
use crate::refusals::verbatim;
use identity::{PROPERTIES, of_authenticator, of_key, of_password};
use query::LoginRequest;
use serde_json::Value;
use std::sync::Arc;

/// One identity, which has a number.
pub enum Login {
    Authenticator(Box<Authenticator>),
    Key(Box<View>),
    Password(Arc<User>),
}

/// The source of one entry of a list.
enum LoginSource {
    Authenticator(Box<Authenticator>, Arc<User>),
    Key(KeyId),
    Password(Arc<User>),
}

/// `POST /users/{userUid}/logins/apikey`: the only answer that contains the secret of a key (1D-4 to 1D-12).
pub fn create(call: &Call<'_>) -> Result<Reply> {
    let caller = authenticators::own_session(call)?;
    let client = Client::of(call)?;
    let asked = LoginRequest::read_alone(call, PROPERTIES)?;
    let new = NewKey {
        members: KeyMembers {
            name: Some(name_of_description(&asked.description)),
            description: Some(asked.description),
            scopes: Some(asked.scopes),
            read_only: Some(asked.read_only),
            ..KeyMembers::default()
        },
        policy: Some(preset::POLICY.to_owned()),
        catalog: Some(preset::CATALOG.to_owned()),
        ..NewKey::default()
    };
    let issued = issue::issue(call.app, &caller, new, retry(call)?)?;
    let user = user(call, &caller)?;
    let directory = call.app.index.directory();
    let shown = of_key(&directory, &issued.view, &user, &client);
    let mut shown = asked.picked.of(shown);
    if let Some(secret) = &issued.secret {
        identity::put_secret(&mut shown, secret.expose());
    }
    Ok(data(shown))
}

/// `GET /users/logins`: all identities that the caller may see.
pub fn list(call: &Call<'_>) -> Result<Reply> {
    let caller = caller(call)?;
    let users = users::list(call.app, &caller)?;
    let others = others(call, &users)?;
    let keys = numbers(call.app, &caller, preset::CATALOG, None)?;
    page(call, &caller, others, keys, &|_| true)
}

/// `GET /users/{userUid}/logins`
pub fn list_of_user(call: &Call<'_>) -> Result<Reply> {
    let caller = caller(call)?;
    let user = user(call, &caller)?;
    let keys = numbers(call.app, &caller, preset::CATALOG, Some(user.uid))?;
    let others = others(call, std::slice::from_ref(&user))?;
    page(call, &caller, others, keys, &|owner| owner.uid == user.uid)
}

/// `GET /organizations/{organizationUid}/keys`: the API keys of the users whose home is this organization.
pub fn list_of_organization(call: &Call<'_>) -> Result<Reply> {
    let caller = caller(call)?;
    let organization = organizations::named(call, &caller)?;
    let keys = numbers(call.app, &caller, preset::CATALOG, None)?;
    page(call, &caller, Vec::new(), keys, &|owner| {
        owner.home == organization
    })
}

/// `GET /users/{userUid}/logins/{userLoginId}`
pub fn find(call: &Call<'_>) -> Result<Reply> {
    let caller = caller(call)?;
    let client = Client::of(call)?;
    let picked = SelectedProperties::take(call, PROPERTIES)?;
    let (user, login) = named(call, &caller)?;
    let directory = call.app.index.directory();
    Ok(data(picked.of(login.item(&directory, &user, &client))))
}

/// `PATCH /users/{userUid}/logins/{userLoginId}`: the status and the description of a key (1D-14, 1D-18 to 1D-20).
pub fn edit(call: &Call<'_>) -> Result<Reply> {
    let caller = caller(call)?;
    let client = Client::of(call)?;
    let picked = SelectedProperties::take(call, PROPERTIES)?;
    let operations = patch::read(call)?;
    let (user, login) = named(call, &caller)?;
    let before = {
        let directory = call.app.index.directory();
        login.item(&directory, &user, &client)
    };
    let shown = before.0.iter();
    let shown = shown.map(|(name, value)| ((*name).to_owned(), value.clone()));
    let mut document = shown.collect();
    let view = match &login {
        Login::Key(view) => Some(view),
        Login::Authenticator(_) => None,
        Login::Password(_) => {
            // Passwords are changed through the users, not through their identities.
            let refused = patch::apply(&operations, &mut document, &|_, _| Verdict::Fixed)?;
            return Ok(refused.unwrap_or_else(|| data(picked.of(before))));
        }
    };
    if let Some(refused) = patch::apply(&operations, &mut document, &check)? {
        return Ok(refused);
    }
    // Properties that no operation changes keep their stored value, because the displayed status can be that of the
    // user or the company.
    let text = |name: &str| {
        let value = document
            .get(name)
            .filter(|value| before.get(name) != Some(value));
        value.and_then(Value::as_str).map(str::to_owned)
    };
    let touched = operations
        .iter()
        .any(|operation| patch::sets(operation, "status"));
    let status = document.get("status").and_then(Value::as_str);
    let description = text("description");
    let edit = KeyMembers {
        enabled: status.filter(|_| touched).map(|status| status == "enabled"),
        name: description.as_deref().map(name_of_description),
        description,
        ..KeyMembers::default()
    };
    let Some(view) = view else {
        let number = number(call.param("userLoginId"))?;
        let edit = crate::ops::authenticators::Edit {
            description: edit.description,
            enabled: edit.enabled,
        };
        let uid = user.uid.to_string();
        let one = crate::ops::authenticators::edit(call.app, &caller, &uid, number, edit)?;
        let directory = call.app.index.directory();
        return Ok(data(
            picked.of(of_authenticator(&directory, &one, &user, &client)),
        ));
    };
    let view = keys::edit::edit(call.app, &caller, view.key.id, edit)?;
    let directory = call.app.index.directory();
    Ok(data(picked.of(of_key(&directory, &view, &user, &client))))
}

/// `DELETE /users/{userUid}/logins/{userLoginId}`: deletes permanently (1D-15, 1D-21).
pub fn delete(call: &Call<'_>) -> Result<Reply> {
    let caller = caller(call)?;
    SelectedProperties::take(call, PROPERTIES)?;
    let retry = retry(call)?;
    let user = user(call, &caller)?;
    let number = number(call.param("userLoginId"))?;
    if number == user.number {
        let why = "the identity of a password goes with its user; delete the user instead";
        return Err(Error::Forbidden(verbatim(why)));
    }
    let uid = user.uid.to_string();
    match crate::ops::authenticators::delete(call.app, &caller, &uid, number, retry.as_ref()) {
        Err(Error::NotFound(_)) => {}
        done => return done.map(|()| data(true)),
    }
    let view = keys::find_by_number(call.app, &caller, number)?;
    let deleted = view.key.deleted_at.is_some();
    if !is_identity(&call.app.index.directory(), &view.key, user.uid) {
        return Err(Error::NotFound("key"));
    }
    match keys::delete_once(call.app, &caller, view.key.id, None, retry) {
        // A repetition of the request that deleted the key succeeds; for any other request the key does not exist.
        Err(Error::Conflict(_)) if deleted => Err(Error::NotFound("key")),
        done => done.map(|()| data(true)),
    }
}

/// The identity in the path and its user. Deleted identities are not found.
pub fn named(call: &Call<'_>, caller: &Caller) -> Result<(Arc<User>, Login)> {
    let user = user(call, caller)?;
    let login = of_number(call, caller, &user, number(call.param("userLoginId"))?)?;
    Ok((user, login))
}

/// The identity of this user with this number.
pub fn of_number(call: &Call<'_>, caller: &Caller, user: &Arc<User>, number: i64) -> Result<Login> {
    if number == user.number {
        let password = users::with_password(call.app, std::slice::from_ref(user))?.pop();
        return password.map(Login::Password).ok_or(Error::NotFound("key"));
    }
    match crate::ops::authenticators::find(call.app, caller, &user.uid.to_string(), number) {
        Err(Error::NotFound(_)) => {}
        found => return found.map(|one| Login::Authenticator(Box::new(one))),
    }
    let view = keys::find_by_number(call.app, caller, number)?;
    let here = is_identity(&call.app.index.directory(), &view.key, user.uid);
    if !here || view.key.deleted_at.is_some() {
        return Err(Error::NotFound("key"));
    }
    Ok(Login::Key(Box::new(view)))
}

/// Parses the number of an identity; for any other text no identity exists.
pub fn number(text: &str) -> Result<i64> {
    let plain = (1..=18).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    text.parse()
        .ok()
        .filter(|_| plain)
        .ok_or(Error::NotFound("key"))
}

/// The identities of these users other than API keys.
fn others(call: &Call<'_>, users: &[Arc<User>]) -> Result<Vec<(i64, LoginSource)>> {
    let passwords = users::with_password(call.app, users)?;
    let mut places: Vec<(i64, LoginSource)> = passwords
        .into_iter()
        .map(|user| (user.number, LoginSource::Password(user)))
        .collect();
    for one in crate::ops::authenticators::list(call.app, users)? {
        if let Some(user) = users.iter().find(|user| user.uid == one.user) {
            let number = one.number;
            places.push((
                number,
                LoginSource::Authenticator(Box::new(one), user.clone()),
            ));
        }
    }
    Ok(places)
}

/// Renders a page of identities, ordered by number.
fn page(
    call: &Call<'_>,
    caller: &Caller,
    others: Vec<(i64, LoginSource)>,
    keys: Vec<(i64, KeyId)>,
    of: &dyn Fn(&User) -> bool,
) -> Result<Reply> {
    let client = Client::of(call)?;
    let mut page: Page = ListParameters::take(call, PROPERTIES)?.page();
    let keys = keys
        .into_iter()
        .map(|(number, id)| (number, LoginSource::Key(id)));
    let mut places: Vec<(i64, LoginSource)> = others.into_iter().chain(keys).collect();
    places.sort_by_key(|(number, _)| *number);
    for (_, place) in places {
        let view = match place {
            LoginSource::Authenticator(one, user) => {
                let directory = call.app.index.directory();
                page.add(of_authenticator(&directory, &one, &user, &client))?;
                continue;
            }
            LoginSource::Password(user) => {
                let directory = call.app.index.directory();
                page.add(of_password(&directory, &user, &client))?;
                continue;
            }
            LoginSource::Key(id) => match keys::find(call.app, caller, id) {
                Ok(view) if view.key.deleted_at.is_none() => view,
                Ok(_) | Err(Error::NotFound(_)) => continue,
                Err(err) => return Err(err),
            },
        };
        let directory = call.app.index.directory();
        let owner = view.key.owner.and_then(|owner| directory.user(owner));
        if let Some(owner) = owner.filter(|owner| of(owner))
            && is_identity(&directory, &view.key, owner.uid)
        {
            page.add(of_key(&directory, &view, owner, &client))?;
        }
    }
    Ok(page.reply())
}

/// Whether the key is an identity of this user.
fn is_identity(directory: &Directory, key: &Key, user: Uid) -> bool {
    let acts = directory
        .policy(&key.policy)
        .is_some_and(|policy| policy.acts_for_owner);
    acts && key.owner == Some(user) && key.catalog.as_deref() == Some(preset::CATALOG)
}

/// Whether a JSON Patch may set a property of a key to this value.
fn check(name: &str, value: &Value) -> Verdict {
    match (name, value.as_str()) {
        ("status", Some("enabled" | "disabled")) => Verdict::Fine,
        ("status", _) => Verdict::Refused("must be enabled or disabled"),
        ("description", Some(text)) if !text.trim().is_empty() => Verdict::Fine,
        ("description", _) => Verdict::Refused("must be a text that is not empty"),
        _ => Verdict::Fixed,
    }
}

impl Login {
    fn item(&self, directory: &Directory, user: &User, client: &Client) -> super::lists::Item {
        match self {
            Login::Authenticator(one) => of_authenticator(directory, one, user, client),
            Login::Key(view) => of_key(directory, view, user, client),
            Login::Password(user) => of_password(directory, user, client),
        }
    }
}
