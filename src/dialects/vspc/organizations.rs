//! Organizations, which are workspaces: the list of companies, and the organization in a path.

use super::caller;
use super::lists::{Item, ListParameters};
use crate::authz::caller::Caller;
use crate::domain::uid::Uid;
use crate::domain::users::User;
use crate::domain::users::roles::Role;
use crate::error::{Error, Result};
use crate::http::reply::Reply;
use crate::http::route::Call;
use crate::ops::{users, workspaces};
use serde_json::json;
use std::sync::Arc;

/// The properties by which the list can be filtered and sorted.
const PROPERTIES: &[&str] = &[
    "instanceUid",
    "name",
    "status",
    "isRestAccessEnabled",
    "ownerCredentials",
    "ownerCredentials.userName",
    "companyServices",
];

/// `GET /organizations/companies`: all workspaces that the caller may read, so that they include the `companyId` of
/// each identity. This API cannot create or change workspaces.
pub fn companies(call: &Call<'_>) -> Result<Reply> {
    let caller = caller(call)?;
    let mut page = ListParameters::take(call, PROPERTIES)?.page();
    let found = workspaces::list(call.app, &caller)?;
    let users = users::list(call.app, &caller).or_else(|err| match err {
        Error::Forbidden(_) => Ok(Vec::new()),
        err => Err(err),
    })?;
    let directory = call.app.index.directory();
    for workspace in found {
        let active = directory
            .place(workspace.uid)
            .is_some_and(|place| place.active);
        let owns = |user: &&Arc<User>| {
            let mut roles = user.roles.iter();
            roles.any(|it| it.workspace == workspace.uid && it.role == Role::Owner)
        };
        // Generated clients require this member even if there is no owner.
        let owner = users
            .iter()
            .find(owns)
            .map_or("", |user| user.user_name.as_str());
        let status = if active { "Active" } else { "Disabled" };
        page.add(Item(vec![
            ("instanceUid", workspace.uid.to_string().into()),
            ("name", workspace.name.as_str().into()),
            ("status", status.into()),
            ("isRestAccessEnabled", active.into()),
            ("ownerCredentials", json!({ "userName": owner })),
            // The services concern backups of customers, which this server does not make, but the schema of 3.5.1
            // requires the member.
            ("companyServices", json!({})),
        ]))?;
    }
    Ok(page.reply())
}

/// The organization in the path, if it exists for the caller.
pub fn named(call: &Call<'_>, caller: &Caller) -> Result<Uid> {
    let directory = call.app.index.directory();
    Uid::parse(call.param("organizationUid"))
        .filter(|uid| directory.place(*uid).is_some() && caller.knows(&directory, *uid))
        .ok_or(Error::NotFound("workspace"))
}
