//! The identity object, with the same members as in the seed (1D-11). Members that are not set are omitted, never null.

use super::super::lists::Item;
use super::super::preset;
use super::super::version::Client;
use crate::domain::authenticators::Authenticator;
use crate::domain::keys::{KeyId, State};
use crate::domain::users::User;
use crate::index::directory::Directory;
use crate::ops::keys::View;
use serde_json::Value;

/// The properties by which lists can be filtered and sorted.
pub const PROPERTIES: &[&str] = &[
    "id",
    "userUid",
    "userName",
    "companyId",
    "companyName",
    "identityProviderName",
    "description",
    "isReadAccessOnly",
    "scopes",
    "status",
    "identifierInProvider",
    "creationDate",
];

/// The lowest `identifierInProvider`: as in the seed, the value exceeds 2^63 and fits in 64 bits (1D-11).
const IDENTIFIERS_FROM: u64 = 1 << 63;
/// Clients for older versions do not know `disabledDueToTenant` (1D-22).
const TENANTS_SINCE: &[u32] = &[3, 6];

/// A key as an identity.
pub fn of_key(directory: &Directory, view: &View, user: &User, client: &Client) -> Item {
    let key = &view.key;
    let mut members = begin(directory, user, key.number, "AK", &key.description);
    members.extend([
        ("isReadAccessOnly", key.read_only.into()),
        ("scopes", key.scopes.clone().into()),
        ("status", status(directory, view, client).into()),
        ("identifierInProvider", client.number(identifier(key.id))),
        ("creationDate", key.created_at.to_seven_digits().into()),
    ]);
    Item(members)
}

/// The identity of a user who signs in with a password (1D-48).
pub fn of_password(directory: &Directory, user: &User, client: &Client) -> Item {
    let status = match directory.place(user.home) {
        _ if !user.is_active() => "disabledDueToUser",
        Some(place) if place.active => "enabled",
        _ => "disabledDueToCompany",
    };
    let scopes: Vec<&str> = preset::SCOPES.iter().map(|(name, _)| *name).collect();
    let mut members = begin(
        directory,
        user,
        user.number,
        "Local",
        "User name and password",
    );
    // The upper half of the uid, which is different for every user.
    let identifier = IDENTIFIERS_FROM | (user.uid.0 >> 64) as u64;
    members.extend([
        ("isReadAccessOnly", false.into()),
        ("scopes", scopes.into()),
        ("status", status.into()),
        ("identifierInProvider", client.number(identifier)),
        ("creationDate", user.created_at.to_seven_digits().into()),
    ]);
    Item(members)
}

/// The identity of one-time codes (1D-48). The secret behind the codes is not part of it.
pub fn of_authenticator(
    directory: &Directory,
    one: &Authenticator,
    user: &User,
    client: &Client,
) -> Item {
    let status = match directory.place(user.home) {
        _ if !user.is_active() => "disabledDueToUser",
        Some(place) if !place.active => "disabledDueToCompany",
        _ if one.enabled => "enabled",
        _ => "disabled",
    };
    let mut members = begin(directory, user, one.number, "TOTP", &one.description);
    let identifier = IDENTIFIERS_FROM | one.number.unsigned_abs();
    members.extend([
        ("isReadAccessOnly", false.into()),
        ("scopes", one.scopes.clone().into()),
        ("status", status.into()),
        ("identifierInProvider", client.number(identifier)),
        ("creationDate", one.created_at.to_seven_digits().into()),
    ]);
    Item(members)
}

/// Inserts the secret of a new key where the seed has it: after the status, or at the end if the status was not
/// selected.
pub fn put_secret(item: &mut Item, secret: &str) {
    let behind = item.0.iter().position(|(name, _)| *name == "status");
    let at = behind.map_or(item.0.len(), |position| position + 1);
    item.0.insert(at, ("parameters", secret.into()));
}

fn begin(
    directory: &Directory,
    user: &User,
    number: i64,
    provider: &str,
    description: &str,
) -> Vec<(&'static str, Value)> {
    let mut members = vec![
        ("id", number.into()),
        ("userUid", user.uid.to_string().into()),
        ("userName", user.user_name.as_str().into()),
        ("companyId", user.home.to_string().into()),
    ];
    if let Some(place) = directory.place(user.home) {
        members.push(("companyName", place.workspace.name.as_str().into()));
    }
    members.push(("identityProviderName", provider.into()));
    members.push(("description", description.into()));
    members
}

/// Whether the key is enabled, or what else prevents its use. The latter is computed and never stored: a key that was
/// disabled itself stays disabled when its user is enabled again (1D-22).
fn status(directory: &Directory, view: &View, client: &Client) -> &'static str {
    match view.state {
        State::OwnerDisabled => "disabledDueToUser",
        State::WorkspaceDisabled => {
            let place = directory.place(view.key.workspace);
            let itself = place.is_some_and(|place| !place.workspace.enabled);
            let knows_tenants = client
                .version
                .as_ref()
                .is_none_or(|version| version.knows(TENANTS_SINCE));
            match (itself, knows_tenants) {
                (true, _) => "disabledDueToCompany",
                (false, true) => "disabledDueToTenant",
                (false, false) => "Unknown",
            }
        }
        State::Deleted | State::Disabled => "disabled",
        // The policy of the preset does not allow these states, but a policy that was created later may.
        State::Expired | State::NotYetValid => "disabledDueToSystem",
        State::Active => "enabled",
    }
}

fn identifier(id: KeyId) -> u64 {
    IDENTIFIERS_FROM | id.0
}
