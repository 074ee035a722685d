//! `POST /v1/introspect` (RFC 7662) and `POST /v1/revoke` (RFC 7009), for OAuth clients. They authenticate with a
//! management key in a header, or with this key as client secret: `client_secret_basic` and `client_secret_post`. A
//! `client_id` is not compared with anything, because the secret itself identifies the key.

use super::keys::bodies::{EXAMPLE_ID, EXAMPLE_SECRET};
use super::verify::{LOCAL, within};
use crate::domain::keys::verdict::{Code, Question};
use crate::domain::keys::{ID_PATTERN, KeyId};
use crate::domain::users::permissions::Permission::{KeysVerify, KeysWrite};
use crate::error::{Error, Result};
use crate::http::credential;
use crate::http::describe::Document;
use crate::http::describe::bodies::{NotNull, answer, request};
use crate::http::describe::schema::{Components, Schema, either};
use crate::http::query::Query;
use crate::http::reply::Reply;
use crate::http::request::Request;
use crate::http::route::Call;
use crate::ops::keys;
use crate::ops::verify::{SubjectRoom, Verdict, verify_blocking};
use crate::refusals;
use serde::Serialize;
use serde_json::Value;

/// RFC 7662, section 2.2.
#[derive(Serialize)]
#[serde(untagged)]
enum IntrospectionBody {
    Inactive(InactiveBody),
    Active(ActiveBody),
}

answer! {
    struct ActiveBody as "" {
        active: bool [const = true] = true,
        /// Separated by blanks.
        scope: String = "invoices:read",
        client_id: String [pattern = ID_PATTERN] = EXAMPLE_ID,
        /// The user who owns the key; absent for a key without an owner.
        #[serde(skip_serializing_if = "Option::is_none")]
        username: Option<String> = "alice",
        token_type: &'static str [const = "Bearer"] = "Bearer",
        #[serde(skip_serializing_if = "Option::is_none")]
        exp: Option<i64> = 1_795_860_000,
        #[serde(skip_serializing_if = "Option::is_none")]
        iat: Option<i64> = 1_795_255_200,
        /// `user:NAME` for a key with an owner, else `key:ID`.
        sub: String = "user:alice",
    }
}

answer! {
    struct InactiveBody as "" {
        active: bool [const = false],
    }
}

request! {
    /// The form of both requests.
    struct TokenForm as "Token" {
        /// The secret.
        token: String = EXAMPLE_SECRET,
        /// Permitted, and ignored.
        token_type_hint: NotNull<String>,
    }
}

impl TokenForm {
    /// The secret; the hint is of no use, because the secret itself identifies the key.
    fn secret(self) -> String {
        Ok(TokenForm {
        token,
        token_type_hint,
    })
}
