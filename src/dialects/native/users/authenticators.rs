//! Handlers for second factors: `/v1/users/{id}/authenticators` and `/v1/users/{id}/recovery-codes`.

use crate::domain::authenticators::KIND;
use crate::domain::authenticators::pending::PENDING_S;
use crate::domain::authenticators::recovery_codes::CODES;
use crate::domain::text::DESCRIPTION_CHARS_MAX;
use crate::domain::users::permissions::Permission::{UsersRead, UsersWrite};
use crate::error::Result;
use crate::http::describe::Document;
use crate::http::describe::bodies::{ListBody, Requested, answer, request};
use crate::http::describe::schema::Time;
use crate::http::reply::Reply;
use crate::http::route::Call;
use crate::ops::authenticators::enrol::{self, NewAuthenticator};
use crate::ops::authenticators::{self, Confirmation, recovery_codes};
use crate::ops::users;

/// A secret of one-time codes in examples.
const EXAMPLE_CODES: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";

answer! {
    struct AuthenticatorBody as "Authenticator" {
        number: i64 [minimum = 1] = 12,
        kind: &'static str [enum = [KIND]] = KIND,
        description: String [maxLength = DESCRIPTION_CHARS_MAX] = "Alice's phone",
        enabled: bool = true,
        created_at: Time,
    }
}

answer! {
    /// A secret that waits for its first code. The server has not stored it.
    struct SetupBody as "AuthenticatorSetup" {
        /// Base32, for apps that cannot read a QR code.
        secret: String = EXAMPLE_CODES,
        /// For a QR code.
        url: String = format!("otpauth://totp/Latchkey:alice?secret={EXAMPLE_CODES}&issuer=Latchkey&algorithm=SHA1&digits=6&period=30"),
        /// The sealed secret, to be sent back with the first code.
        setup: String = "AAABnHV9…",
        /// When this ends without a code.
        ends_at: Time,
    }
}

answer! {
    /// One-time codes that are in force. Only this answer has the recovery codes.
    struct EnrolledBody as "NewAuthenticator" {
        #[serde(flatten)]
        authenticator: AuthenticatorBody,
        recovery_codes: Vec<String> = example_codes(),
    }
}

answer! {
    struct RecoveryCodesBody as "RecoveryCodes" {
        /// Each of them signs in once, in the place of a one-time code.
        recovery_codes: Vec<String> = example_codes(),
    }
}

answer! {
    struct RecoveryCodesLeftBody as "RecoveryCodesLeft" {
        /// How many recovery codes were not used.
        left: usize [maximum = CODES] = 7,
    }
}

request! {
    struct FirstCodeBody as "" {
        /// From the answer to `start`.
        setup: String = "AAABnHV9…",
        /// The code that the app shows.
        code: String = "081804",
        description: Option<String> [maxLength = DESCRIPTION_CHARS_MAX] = "Alice's phone",
        /// Needed to set up one's own second factor.
        current_password: Option<String>,
    }
}

request! {
    struct ConfirmationBody as "" {
        /// Needed for one's own second factor.
        current_password: Option<String>,
    }
}

fn example_codes() -> Vec<&'static str> {
    vec!["4kq7m-x0d9t", "p21vz-8wq3c"]
}

fn shown(one: &crate::domain::authenticators::Authenticator) -> AuthenticatorBody {
    AuthenticatorBody {
        number: one.number,
        kind: KIND,
        description: one.description.clone(),
        enabled: one.enabled,
        created_at: Time(one.created_at),
    }
}

/// `GET /v1/users/{id}/authenticators`
pub fn list(call: &Call<'_>) -> Result<Reply> {
    let user = users::find(call.app, call.caller()?, call.param("id"))?;
    let found = authenticators::list(call.app, &[user])?;
    let items = found.iter().map(shown).collect();
    Ok(Reply::json(200, &ListBody::of(items)))
}

/// `POST /v1/users/{id}/authenticators/start`
pub fn start(call: &Call<'_>) -> Result<Reply> {
    let begun = enrol::begin(call.app, call.caller()?, call.param("id"))?;
    let body = SetupBody {
        secret: begun.generated.secret,
        url: begun.generated.url,
        setup: begun.setup,
        ends_at: Time(begun.ends_at),
    };
    Ok(Reply::json(200, &body))
}

/// `POST /v1/users/{id}/authenticators`
pub fn create(call: &Call<'_>) -> Result<Reply> {
    let body = FirstCodeBody::of(call.request)?;
    let enrolled = enrol::finish(
        call.app,
        call.caller()?,
        call.param("id"),
        (&body.setup, &body.code),
        NewAuthenticator {
            description: body.description.unwrap_or_default(),
            scopes: Vec::new(),
        },
        Confirmation::Password(body.current_password.as_deref()),
    )?;
    let body = EnrolledBody {
        authenticator: shown(&enrolled.authenticator),
        recovery_codes: enrolled.recovery_codes,
    };
    Ok(Reply::json(201, &body))
}

/// `DELETE /v1/users/{id}/authenticators`
pub fn delete(call: &Call<'_>) -> Result<Reply> {
    let body = ConfirmationBody::of_optional(call.request)?;
    let confirmation = Confirmation::Password(body.current_password.as_deref());
    authenticators::delete_all(call.app, call.caller()?, call.param("id"), confirmation)?;
    Ok(Reply::new(204))
}

/// `GET /v1/users/{id}/recovery-codes`
pub fn count_recovery_codes(call: &Call<'_>) -> Result<Reply> {
    let user = users::find(call.app, call.caller()?, call.param("id"))?;
    let left = recovery_codes::left(call.app, user.uid)?;
    Ok(Reply::json(200, &RecoveryCodesLeftBody { left }))
}

/// `POST /v1/users/{id}/recovery-codes`
pub fn create_recovery_codes(call: &Call<'_>) -> Result<Reply> {
    let body = ConfirmationBody::of_optional(call.request)?;
    let confirmation = Confirmation::Password(body.current_password.as_deref());
    let codes = recovery_codes::create(call.app, call.caller()?, call.param("id"), confirmation)?;
    let body = RecoveryCodesBody {
        recovery_codes: codes,
    };
    Ok(Reply::json(201, &body))
}

/// Adds the operations of this file to the description of the server.
pub fn describe(document: &mut Document) {
    document
        .add(
            "get /v1/users/{id}/authenticators",
            "listAuthenticators",
            "List the second factors of a user",
        )
        .about("One-time codes, which are required in addition to the password.")
        .needs(&[UsersRead])
        .answers::<ListBody<AuthenticatorBody>>(200, "All second factors of the user, by number.");
    document
        .add(
            "post /v1/users/{id}/authenticators/start",
            "startAuthenticator",
            "Begin to set up one-time codes",
        )
        .about(&format!(
            "Generates a secret for an authenticator app. Nothing is stored; the answer is valid for {} minutes. Users do this \
             for themselves, signed in; the administrator of the machine may do it for every user.",
            PENDING_S / 60
        ))
        .needs(&[])
        .refuses(403, "forbidden")
        .answers::<SetupBody>(200, "The secret, and its sealed form.")
        .conflicts()
        .may_not_find();
    document
        .add(
            "post /v1/users/{id}/authenticators",
            "createAuthenticator",
            "Set up one-time codes with the first code",
        )
        .about(
            "From then on the password alone does not sign the user in, and the user's other sessions have ended. The answer \
             has ten recovery codes, for the case that the app is lost.",
        )
        .needs(&[])
        .refuses(403, "forbidden")
        .body::<FirstCodeBody>()
        .answers::<EnrolledBody>(201, "The second factor, and the recovery codes.")
        .conflicts()
        .may_not_find();
    document
        .add(
            "delete /v1/users/{id}/authenticators",
            "deleteAuthenticators",
            "Delete the second factors of a user",
        )
        .about(
            "For a user who has lost the authenticator app; the recovery codes end too. The password stays. Permitted to a \
             caller with `users:write` and all the rights of the user, and to the user, signed in, with the current password, \
             unless a role of the user demands a second factor.",
        )
        .needs(&[UsersWrite])
        .optional_body::<ConfirmationBody>()
        .ends(204, "The user has no second factor any more.")
        .conflicts();
    document
        .add(
            "get /v1/users/{id}/recovery-codes",
            "countRecoveryCodes",
            "Count the recovery codes that a user has left",
        )
        .needs(&[UsersRead])
        .answers::<RecoveryCodesLeftBody>(200, "How many are left.");
    document
        .add(
            "post /v1/users/{id}/recovery-codes",
            "createRecoveryCodes",
            "Replace the recovery codes of a user",
        )
        .about(
            "Older ones end. Users do this for themselves, signed in, with the current password; the administrator of the \
             machine may do it for every user.",
        )
        .needs(&[])
        .refuses(403, "forbidden")
        .optional_body::<ConfirmationBody>()
        .answers::<RecoveryCodesBody>(201, "The codes, which no later answer has.")
        .conflicts()
        .may_not_find();
}
