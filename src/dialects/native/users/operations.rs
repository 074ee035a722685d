//! The description of the operations on users and sessions.

use super::{
    DeletedBody, DeletionBody, EditedBody, NewUserBody, PasswordBody, RolesBody, SignInBody,
    TokenBody, UserBody, UserEditBody,
};
use crate::domain::users::permissions::Permission::{UsersRead, UsersWrite};
use crate::http::describe::Document;
use crate::http::describe::bodies::ListBody;
use serde_json::json;

/// Adds the operations on users and sessions to the description of the server.
pub fn describe(document: &mut Document) {
    document.group("people", "Users, their roles and sessions.");
    document
        .add("get /v1/users", "listUsers", "List users")
        .needs(&[UsersRead])
        .answers::<ListBody<UserBody>>(200, "All users that the caller may see.");
    document
        .add("post /v1/users", "createUser", "Create a user")
        .about("No caller can bind a role beyond their own.")
        .needs(&[UsersWrite])
        .shared("IdempotencyKey")
        .body::<NewUserBody>()
        .answers::<UserBody>(201, "The user.")
        .conflicts()
        .may_not_find();
    document
        .add("get /v1/users/{id}", "findUser", "Read a user")
        .needs(&[UsersRead])
        .answers::<UserBody>(200, "The user.");
    document
        .add(
            "patch /v1/users/{id}",
            "editUser",
            "Edit, disable or enable a user",
        )
        .needs(&[UsersWrite])
        .body::<UserEditBody>()
        .answers::<EditedBody>(200, "The user as it is now.")
        .conflicts()
        .waits_for_sites(200);
    document
        .add("delete /v1/users/{id}", "deleteUser", "Delete a user permanently")
        .about(
            "The last owner cannot be deleted. Only an administrator of the root workspace can give the name to another user.",
        )
        .needs(&[UsersWrite])
        .query(
            "end_keys",
            "The same as in the body, for clients that send none.",
            json!({ "type": "string", "enum": ["true", "false"], "default": "false" }),
            json!("false"),
        )
        .optional_body::<DeletionBody>()
        .answers::<DeletedBody>(
            200,
            "The user is deleted. These management keys have no owner and were issued by this user, or by keys of this user, \
             or by keys that those issued.",
        )
        .ends(204, "The user is deleted, and there are no such keys.")
        .conflicts()
        .waits_for_sites(204);
    document
        .add("post /v1/users/{id}/password", "setPassword", "Set a password")
        .about(
            "A user who is signed in sets their own password with the current one. For the password of another user a caller \
             needs `users:write` and all the rights of that user. Ends the user's sessions.",
        )
        .needs(&[UsersWrite])
        .body::<PasswordBody>()
        .ends(204, "The password is set.")
        .conflicts();
    document
        .add(
            "post /v1/users/{id}/unlock",
            "unlockUser",
            "Let a user sign in again after failed attempts",
        )
        .about(
            "Forgets the failed attempts of the user and ends the waits. A caller needs `users:write` and all the rights of \
             the user.",
        )
        .needs(&[UsersWrite])
        .answers::<UserBody>(200, "The user as it is now.")
        .conflicts();
    document
        .add(
            "put /v1/users/{id}/roles",
            "setRoles",
            "Bind a user's roles",
        )
        .about("Replaces all roles that the caller may give and take.")
        .needs(&[UsersWrite])
        .body::<RolesBody>()
        .answers::<UserBody>(200, "The user as it is now.")
        .conflicts()
        .waits_for_sites(200);
    super::authenticators::describe(document);
    super::sessions::describe(document);
    document
        .add("post /v1/sessions", "signIn", "Sign in")
        .about(
            "Failures are counted, successes are not. After ten failures in a row for an account from one network (an IPv4 \
             address, 64 bits of an IPv6 address) each further attempt must wait, first a minute, then twice as long each \
             time, up to 15 minutes; after ten failures over several accounts from one network, a minute. After 100 failures \
             in a row the account is locked: the password alone is refused (403), right or wrong, except from networks that \
             the user has signed in from before; password and `code` together are accepted from anywhere. All other \
             failures have the same answer, with one exception: if the password was right and a one-time code is needed, the \
             answer is 422 for the member `code`. A user whose role demands a second factor and who has none gets 403.",
        )
        .security(json!([]))
        .body::<SignInBody>()
        .answers::<TokenBody>(201, "An access token.")
        .refuses(401, "unauthenticated")
        .refuses(403, "forbidden")
        .refuses(429, "too-many-requests");
    document
        .add(
            "delete /v1/sessions/current",
            "signOut",
            "End the access token of the request",
        )
        .about("A key is no session: 409.")
        .needs(&[])
        .ends(204, "The access token is no longer valid.")
        .conflicts()
        .may_not_find();
}
