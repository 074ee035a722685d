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
        let TokenForm {
            token,
            token_type_hint: NotNull(_ignored),
        } = self;
        token
    }
}

impl Schema for IntrospectionBody {
    fn schema(components: &mut Components) -> Value {
        components.named("Introspection", |components| {
            either(
                InactiveBody::schema(components),
                ActiveBody::schema(components),
            )
        })
    }

    fn example() -> Value {
        ActiveBody::example()
    }
}

/// Adds the operations of this file to the description of the server.
pub fn describe(document: &mut Document) {
    document
        .add(
            "post /v1/introspect",
            "introspect",
            "Token introspection (RFC 7662)",
        )
        .about(&format!(
            "Consumes nothing of the key, and never reveals why a key is inactive. {LOCAL}"
        ))
        .needs(&[KeysVerify])
        .or_anonymous()
        .form::<TokenForm>()
        .answers::<IntrospectionBody>(200, "What is known.")
        .examples(&[
            ("active", "In force", ActiveBody::example()),
            (
                "inactive",
                "Unknown, expired, disabled …",
                InactiveBody::example(),
            ),
        ]);
    document
        .add("post /v1/revoke", "revoke", "Token revocation (RFC 7009)")
        .about(
            "Deletes the key whose secret is presented, permanently. 200 for unknown secrets too.",
        )
        .needs(&[KeysWrite])
        .form::<TokenForm>()
        .ends(200, "The secret is no longer valid.")
        .conflicts()
        .waits_for_sites(200);
}

/// `POST /v1/introspect`: consumes nothing of the key, and never reveals why a key is inactive.
pub fn introspect(call: &Call<'_>) -> Result<Reply> {
    let within = within(call)?;
    let token = form(call.request)?.secret();
    let active = verify_blocking(call.app, &token, &looking(), within, |verdict| {
        described(verdict)
    })?;
    let Some((id, mut body)) = active else {
        let body = IntrospectionBody::Inactive(InactiveBody { active: false });
        return Ok(Reply::json(200, &body));
    };
    body.iat = keys::issued_at(call.app, id)?.map(|at| at.unix_s());
    Ok(Reply::json(200, &IntrospectionBody::Active(body)))
}

/// `POST /v1/revoke`: deletes the key whose secret is presented. The answer is 200 for unknown secrets too (RFC 7009,
/// section 2.2).
pub fn revoke(call: &Call<'_>) -> Result<Reply> {
    let token = form(call.request)?.secret();
    let found = verify_blocking(
        call.app,
        &token,
        &looking(),
        Some(call.caller()?.reach),
        |verdict| verdict.key.map(|key| key.id),
    )?;
    if let Some(id) = found {
        match keys::revoke(call.app, call.caller()?, id) {
            Ok(()) | Err(Error::NotFound(_)) => {}
            Err(err) => return Err(err),
        }
    }
    Ok(Reply::new(200))
}

/// A question that consumes nothing of the key and does not consider where the key is used.
fn looking() -> Question<'static> {
    Question {
        via: "oauth",
        cost: 0,
        ..Question::default()
    }
}

fn described(verdict: &Verdict<'_>) -> Option<(KeyId, ActiveBody)> {
    // A key with an address list is active even though this question contains no address.
    let in_force = matches!(
        verdict.code,
        Code::Valid | Code::IpNotAllowed | Code::RateLimited
    );
    let key = verdict.key.filter(|_| in_force)?;
    let owner = key
        .shared
        .owner
        .and_then(|owner| verdict.directory.user(owner))
        .map(|owner| owner.user_name.clone());
    let held = verdict.scopes(key);
    let scopes: Vec<&str> = held.iter().map(|scope| &**scope).collect();
    let body = ActiveBody {
        active: true,
        scope: scopes.join(" "),
        client_id: key.id.to_string(),
        sub: verdict
            .subject(&mut [0; size_of::<SubjectRoom>()])
            .to_owned(),
        username: owner,
        token_type: "Bearer",
        exp: key.ends_at().map(|end| end.unix_s()),
        iat: None,
    };
    Some((key.id, body))
}

/// RFC 6749, section 5.2.
#[derive(Serialize)]
struct RefusalBody {
    error: &'static str,
    error_description: String,
}

/// How an OAuth client reads an error. Who came with a key in a header, or without a credential, reads a problem as
/// everywhere.
pub fn refusal(err: &Error, request: &Request) -> Option<Reply> {
    if !credential::is_oauth_client(request) {
        return None;
    }
    let (status, error, why) = match err {
        Error::LocalHeaderMissing | Error::Unauthenticated => (
            401,
            "invalid_client",
            "the client secret must be a working management key".to_owned(),
        ),
        Error::Malformed(why) => (400, "invalid_request", why.to_string()),
        Error::UnsupportedMediaType(_) => (
            400,
            "invalid_request",
            "the body must be application/x-www-form-urlencoded".to_owned(),
        ),
        Error::Forbidden(why) => (403, "unauthorized_client", why.to_string()),
        Error::Conflict(_)
        | Error::Internal(_)
        | Error::Invalid { .. }
        | Error::MethodNotAllowed { .. }
        | Error::Misdirected
        | Error::NotFound(_)
        | Error::TooLarge { .. }
        | Error::TooMany { .. }
        | Error::Unavailable(_) => return None,
    };
    let body = RefusalBody {
        error,
        error_description: why,
    };
    let reply = Reply::json(status, &body);
    Some(match status {
        // RFC 6749, section 5.2: the challenge has the scheme that the client used.
        401 if credential::tries_basic(request) => reply.with(
            "www-authenticate",
            "Basic realm=\"latchkey\", charset=\"UTF-8\"",
        ),
        401 => reply.with("www-authenticate", "Bearer realm=\"latchkey\""),
        _ => reply,
    })
}

fn form(request: &Request) -> Result<TokenForm> {
    let content_type = request.header("content-type").ok().flatten().unwrap_or("");
    let media_type = content_type.split(';').next().unwrap_or("").trim();
    if !media_type.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return Err(Error::UnsupportedMediaType(
            "application/x-www-form-urlencoded",
        ));
    }
    let text = std::str::from_utf8(&request.body)
        .map_err(|_| Error::Malformed(refusals::requests::form_not_utf8()))?;
    let mut form = Query::parse(text)?;
    let token_type_hint = NotNull(form.take("token_type_hint"));
    // What these hold was read before (`http::credential`).
    form.take("client_id");
    form.take("client_secret");
    let token = form
        .take("token")
        .ok_or_else(|| Error::Malformed(refusals::verbatim("the form lacks token")))?;
    form.finish()?;
    Ok(TokenForm {
        token,
        token_type_hint,
    })
}
