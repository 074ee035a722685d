//! Users, and how their tokens are ended (1D-32, 1D-36).

use super::lists::{Item, ListParameters, SelectedProperties};
use super::patch::{self, Verdict};
use super::{caller, data, json, logins, organizations, retry, user};
use crate::domain::users::roles::Role;
use crate::domain::users::{Binding, User};
use crate::error::{Error, Result};
use crate::http::fields::Fields;
use crate::http::reply::Reply;
use crate::http::route::Call;
use crate::index::directory::Directory;
use crate::ops::sessions::tokens;
use crate::ops::users::{NewUser, UserEdit};
use crate::ops::{authenticators, users};
use crate::refusals;
use serde::Serialize;
use serde_json::{Map, Value, json as value};
use std::sync::Arc;

/// The properties by which lists can be filtered and sorted.
const PROPERTIES: &[&str] = &[
    "instanceUid",
    "organizationUid",
    "userName",
    "role",
    "profile",
    "profile.email",
    "profile.title",
    "status",
    "mfaPolicyStatus",
    "mfaPolicyConfigurationStatus",
];

/// The names of roles in the root workspace, which belong to the staff of the portal.
const PORTAL_ROLES: [(Role, &str); 3] = [
    (Role::Owner, "PortalAdministrator"),
    (Role::Administrator, "PortalOperator"),
    (Role::Auditor, "PortalReadonlyOperator"),
];
/// The names of roles in any other workspace, which belong to a company.
const COMPANY_ROLES: [(Role, &str); 4] = [
    (Role::Owner, "CompanyOwner"),
    (Role::Administrator, "CompanyAdministrator"),
    (Role::Auditor, "CompanyInvoiceAuditor"),
    (Role::Member, "CompanyLocationUser"),
];

/// The answer after a user was deleted: no data, and no errors.
#[derive(Serialize)]
struct EmptyBody {
    errors: [(); 0],
}

/// `GET /users/me`
pub fn me(call: &Call<'_>) -> Result<Reply> {
    let caller = caller(call)?;
    let picked = SelectedProperties::take(call, PROPERTIES)?;
    let uid = caller.user.ok_or(Error::NotFound("user"))?;
    let user = {
        let directory = call.app.index.directory();
        directory
            .user(uid)
            .cloned()
            .ok_or(Error::NotFound("user"))?
    };
    answer(call, &picked, &user)
}

/// `GET /users`: the users that the caller may see, ordered by name.
pub fn list(call: &Call<'_>) -> Result<Reply> {
    let caller = caller(call)?;
    let mut page = ListParameters::take(call, PROPERTIES)?.page();
    let users = users::list(call.app, &caller)?;
    let with_codes = authenticators::users_with_codes(call.app, &users)?;
    let directory = call.app.index.directory();
    for user in users {
        page.add(shown(&directory, &user, with_codes.contains(&user.uid)))?;
    }
    Ok(page.reply())
}

/// `GET /organizations/{organizationUid}/users`: those users of [`list`] whose home is this organization.
pub fn list_of_organization(call: &Call<'_>) -> Result<Reply> {
    let caller = caller(call)?;
    let organization = organizations::named(call, &caller)?;
    let mut page = ListParameters::take(call, PROPERTIES)?.page();
    let mut users = users::list(call.app, &caller)?;
    users.retain(|user| user.home == organization);
    let with_codes = authenticators::users_with_codes(call.app, &users)?;
    let directory = call.app.index.directory();
    for user in users {
        page.add(shown(&directory, &user, with_codes.contains(&user.uid)))?;
    }
    Ok(page.reply())
}

/// `GET /users/{userUid}`
pub fn find(call: &Call<'_>) -> Result<Reply> {
    let caller = caller(call)?;
    let picked = SelectedProperties::take(call, PROPERTIES)?;
    let user = user(call, &caller)?;
    answer(call, &picked, &user)
}

/// `POST /users`. The server stores only the e-mail address of the profile. Other members of Veeam's schema, such as
/// `instanceUid` and `mfaPolicyConfigurationStatus`, are read-only or do not concern this server; it ignores them like
/// unknown members.
pub fn create(call: &Call<'_>) -> Result<Reply> {
    let caller = caller(call)?;
    let retry = retry(call)?;
    let picked = SelectedProperties::take(call, PROPERTIES)?;
    let mut body = Fields::of_any_case(call.request)?;
    let organization = body.required_text("organizationUid")?;
    let word = body.required_text("role")?;
    let mut profile = body.object("profile")?.ok_or_else(|| needed("profile"))?;
    let mut credentials = body
        .object("credentials")?
        .ok_or_else(|| needed("credentials"))?;
    if body
        .text("mfaPolicyStatus")?
        .is_some_and(|word| word != "Disabled")
    {
        return Err(Error::invalid_text(
            "mfaPolicyStatus",
            "must be Disabled: users turn their second factor on themselves",
        ));
    }
    let enabled = match body.text("status")?.as_deref() {
        None | Some("Enabled") => true,
        Some("Disabled") => false,
        Some(_) => {
            return Err(Error::invalid_text("status", "must be Enabled or Disabled"));
        }
    };
    let email = profile.text("email")?;
    let (user_name, password) = (
        credentials.required_text("userName")?,
        credentials.required_text("password")?,
    );
    let new = NewUser {
        user_name,
        email,
        password: Some(password),
        roles: vec![(organization.clone(), role_of(call, &organization, &word)?)],
        workspace: Some(organization),
    };
    let user = users::create_as(call.app, &caller, new, enabled, retry).map_err(renamed)?;
    answer(call, &picked, &user)
}

/// `PATCH /users/{userUid}`: changes the status and the e-mail address.
pub fn edit(call: &Call<'_>) -> Result<Reply> {
    let caller = caller(call)?;
    let picked = SelectedProperties::take(call, PROPERTIES)?;
    let operations = patch::read(call)?;
    let user = user(call, &caller)?;
    let has_codes = has_codes(call, &user)?;
    let mut document = document(&shown(&call.app.index.directory(), &user, has_codes));
    if let Some(refused) = patch::apply(&operations, &mut document, &check)? {
        return Ok(refused);
    }
    let touched = |name: &str| {
        operations
            .iter()
            .any(|operation| patch::sets(operation, name))
    };
    let text = |name: &str| {
        document
            .get(name)
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    let edit = UserEdit {
        enabled: text("status")
            .filter(|_| touched("status"))
            .map(|word| word == "Enabled"),
        email: touched("profile/email").then(|| text("profile/email")),
        end_keys: false,
    };
    let user = users::edit(call.app, &caller, &user.uid.to_string(), edit);
    let (user, _) = user.map_err(renamed)?;
    answer(call, &picked, &user)
}

/// `DELETE /users/{userUid}`: this ends the keys and tokens of the user (1D-2).
pub fn delete(call: &Call<'_>) -> Result<Reply> {
    let caller = caller(call)?;
    SelectedProperties::take(call, PROPERTIES)?;
    let uid = user(call, &caller)?.uid.to_string();
    users::delete(call.app, &caller, &uid, false)?;
    Ok(json(200, &EmptyBody { errors: [] }))
}

/// `DELETE /users/{userUid}/tokens`: ends all tokens of a user, or those of one identity. The password and the one-time
/// codes share all tokens; an API key has none.
pub fn end_tokens(call: &Call<'_>) -> Result<Reply> {
    let caller = caller(call)?;
    let login = call.query_of(&["userLoginId"])?.take("userLoginId");
    let user = user(call, &caller)?;
    let login = login.map(|id| {
        let number = logins::number(&id)?;
        logins::of_number(call, &caller, &user, number)
    });
    match login.transpose()? {
        Some(logins::Login::Key(_)) => {}
        Some(logins::Login::Authenticator(_) | logins::Login::Password(_)) | None => {
            tokens::end_all(call.app, &caller, &user.uid.to_string())?;
        }
    }
    Ok(data(true))
}

fn answer(call: &Call<'_>, picked: &SelectedProperties, user: &Arc<User>) -> Result<Reply> {
    let has_codes = has_codes(call, user)?;
    let directory = call.app.index.directory();
    Ok(data(picked.of(shown(&directory, user, has_codes))))
}

fn has_codes(call: &Call<'_>, user: &Arc<User>) -> Result<bool> {
    let found = authenticators::users_with_codes(call.app, std::slice::from_ref(user))?;
    Ok(!found.is_empty())
}

/// Renders a user. Members that are not set are omitted, except `profile`.
fn shown(directory: &Directory, user: &User, has_codes: bool) -> Item {
    let mut profile = Map::new();
    if let Some(email) = &user.email {
        profile.insert("email".to_owned(), email.as_str().into());
    }
    profile.insert("title".to_owned(), "Unknown".into());
    let status = if user.enabled { "Enabled" } else { "Disabled" };
    let (policy, configured) = match has_codes {
        true => ("Enabled", "Configured"),
        false => ("Disabled", "NotConfigured"),
    };
    Item(vec![
        ("instanceUid", user.uid.to_string().into()),
        ("organizationUid", user.home.to_string().into()),
        ("userName", user.user_name.as_str().into()),
        ("role", role(directory, user).into()),
        ("profile", profile.into()),
        ("status", status.into()),
        ("mfaPolicyStatus", policy.into()),
        ("mfaPolicyConfigurationStatus", configured.into()),
    ])
}

/// The properties by path, for a patch.
fn document(item: &Item) -> Map<String, Value> {
    let mut document: Map<String, Value> = Map::new();
    for (name, value) in &item.0 {
        if let Value::Object(members) = value {
            let below = members
                .iter()
                .map(|(below, value)| (format!("{name}/{below}"), value.clone()));
            document.extend(below);
        }
        document.insert((*name).to_owned(), value.clone());
    }
    document
}

fn check(path: &str, value: &Value) -> Verdict {
    match (path, value) {
        ("status", value) if *value == value!("Enabled") || *value == value!("Disabled") => {
            Verdict::Fine
        }
        ("status", _) => Verdict::Refused("must be Enabled or Disabled"),
        ("profile/email", Value::String(_) | Value::Null) => Verdict::Fine,
        ("profile/email", _) => Verdict::Refused("must be a text"),
        _ => Verdict::Fixed,
    }
}

/// The most powerful role of a user; a role in the root workspace takes precedence.
fn role(directory: &Directory, user: &User) -> &'static str {
    let root = directory.root().map(|place| place.workspace.uid);
    let here = |binding: &&Binding| Some(binding.workspace) == root;
    let mightiest = |bindings: Vec<&Binding>| {
        bindings
            .into_iter()
            .map(|it| it.role)
            .min_by_key(|role| *role as u8)
    };
    let word = |table: &[(Role, &'static str)], role: Role| {
        // In this API a key manager appears as an administrator.
        let role = if role == Role::KeyManager {
            Role::Administrator
        } else {
            role
        };
        table
            .iter()
            .find(|(known, _)| *known == role)
            .map(|(_, word)| *word)
    };
    let portal = mightiest(user.roles.iter().filter(here).collect());
    let company = mightiest(user.roles.iter().filter(|binding| !here(binding)).collect());
    portal
        .and_then(|role| word(&PORTAL_ROLES, role))
        .or_else(|| company.and_then(|role| word(&COMPANY_ROLES, role)))
        .unwrap_or("Unknown")
}

/// The role with this name in an organization.
fn role_of(call: &Call<'_>, organization: &str, word: &str) -> Result<Role> {
    let directory = call.app.index.directory();
    let root = directory
        .root()
        .map(|place| place.workspace.uid.to_string());
    let at_root = root.as_deref() == Some(&organization.to_ascii_lowercase());
    let table: &[(Role, &str)] = if at_root {
        &PORTAL_ROLES
    } else {
        &COMPANY_ROLES
    };
    let found = table.iter().find(|(_, known)| *known == word);
    found.map(|(role, _)| *role).ok_or_else(|| {
        let words: Vec<&str> = table.iter().map(|(_, word)| *word).collect();
        Error::invalid_text(
            "role",
            format!("must be one of {} in this organization", words.join(", ")),
        )
    })
}

/// Renames a member at fault to that of this API.
fn renamed(err: Error) -> Error {
    let Error::Invalid { field, reason } = err else {
        return err;
    };
    let field = match field.as_str() {
        "user_name" => "credentials.userName",
        "password" => "credentials.password",
        "email" => "profile.email",
        "workspace" | "roles[0].workspace" => "organizationUid",
        _ => return Error::Invalid { field, reason },
    };
    Error::invalid(field, reason)
}

fn needed(member: &str) -> Error {
    Error::invalid(member, refusals::values::needed())
}
