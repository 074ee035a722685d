//! OAuth clients at introspection and revocation: `client_secret_basic` and `client_secret_post`.

use base64ct::{Base64, Encoding};
use serde_json::{Value, json};

use crate::support::{Response, Server, User};

const FORM: &str = "application/x-www-form-urlencoded";

fn basic(id: &str, secret: &str) -> String {
    format!(
        "Basic {}",
        Base64::encode_string(format!("{id}:{secret}").as_bytes())
    )
}

/// A client at another address: nothing is permitted without a credential.
fn elsewhere(server: &Server) -> User {
    server.anonymous().with("X-Forwarded-For", "203.0.113.9")
}

fn introspect(user: &User, form: &str) -> Response {
    user.send("POST", "/v1/introspect", FORM, form.as_bytes())
}

/// finding c9
#[test]
fn a_client_authenticates_with_a_management_key_as_its_secret() {
    let server = Server::start();
    let admin = server.admin();
    let secret = admin
        .issue(json!({ "name": "gateway", "catalog": "latchkey", "scopes": ["keys:verify"] }))
        .secret;
    let token = format!("token={}", server.secret);
    let active = |answer: Response| answer.expect(200).json()["active"] == true;
    // client_secret_basic, with any client id; both parts may be percent-encoded.
    let encoded = format!("%{:02X}{}", secret.as_bytes()[0], &secret[1..]);
    for header in [
        basic("gateway", &secret),
        basic("", &secret),
        basic("https%3A%2F%2Fapp.example%2F", &secret),
        basic("my+gateway", &encoded),
        basic("gateway", &secret).replace("Basic", "bASIC"),
    ] {
        let user = elsewhere(&server).with("Authorization", &header);
        assert!(active(introspect(&user, &token)), "{header}");
    }
    let user = elsewhere(&server).with("Authorization", &basic("gateway", &secret));
    assert!(active(introspect(
        &user,
        &format!("{token}&client_id=gateway")
    )));
    // client_secret_post.
    for form in [
        format!("{token}&client_id=gateway&client_secret={secret}"),
        format!("client_secret={encoded}&{token}&token_type_hint=access_token"),
    ] {
        assert!(active(introspect(&elsewhere(&server), &form)), "{form}");
    }
    // A client that sends its id, and a key in a header.
    let user = elsewhere(&server).bearer(&secret);
    assert!(active(introspect(
        &user,
        &format!("{token}&client_id=gateway")
    )));
    // Revocation takes another permission.
    let doomed = admin.issue(json!({ "name": "doomed" }));
    let form = format!("token={}", doomed.secret);
    let revoke = |header: &str| {
        let user = elsewhere(&server).with("Authorization", header);
        user.send("POST", "/v1/revoke", FORM, form.as_bytes())
    };
    revoke(&basic("gateway", &secret));
    assert_eq!(admin.verdict(&doomed.secret), "VALID");
    let writer = admin
        .issue(json!({ "name": "writer", "catalog": "latchkey", "scopes": ["keys:write"] }))
        .secret;
    revoke(&basic("writer", &writer)).expect(200);
    assert_ne!(admin.verdict(&doomed.secret), "VALID");
}

#[track_caller]
fn refused(answer: &Response, status: u16, error: &str, challenge: Option<&str>) {
    let body: Value = answer.json();
    assert_eq!(
        (answer.status, body["error"].as_str()),
        (status, Some(error)),
        "{body}"
    );
    assert!(body["error_description"].is_string());
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("www-authenticate"), challenge);
}

#[test]
fn a_client_that_is_refused_reads_an_error_of_oauth() {
    let server = Server::start();
    let admin = server.admin();
    let good = admin
        .issue(json!({ "name": "gateway", "catalog": "latchkey", "scopes": ["keys:verify"] }))
        .secret;
    let blind = admin
        .issue(json!({ "name": "blind", "catalog": "latchkey", "scopes": ["audit:read"] }))
        .secret;
    let token = format!("token={}", server.secret);
    let of_basic = Some("Basic realm=\"latchkey\", charset=\"UTF-8\"");
    let of_form = Some("Bearer realm=\"latchkey\"");
    let with = |header: &str| elsewhere(&server).with("Authorization", header);
    let plain = Base64::encode_string(format!("gateway:{good}").as_bytes());
    for header in [
        basic("gateway", "lk_bad"),
        basic("gateway", ""),
        basic(&good, ""),
        basic("%zz", &good),
        basic("gateway", &format!("{good}%")),
        format!("Basic {plain}="),
        format!("Basic {plain} x"),
        format!("Basic {good}"),
        "Basic".to_owned(),
        "Basic ".to_owned(),
        "Basic !".to_owned(),
    ] {
        refused(
            &introspect(&with(&header), &token),
            401,
            "invalid_client",
            of_basic,
        );
    }
    for form in [
        format!("{token}&client_id=gateway&client_secret=lk_bad"),
        format!("{token}&client_id=gateway&client_secret="),
        format!("{token}&client_id=gateway"),
    ] {
        refused(
            &introspect(&elsewhere(&server), &form),
            401,
            "invalid_client",
            of_form,
        );
    }
    // A valid key without the permission.
    refused(
        &introspect(&with(&basic("x", &blind)), &token),
        403,
        "unauthorized_client",
        None,
    );
    // Two ways to authenticate at once, even if both are valid.
    let in_form = format!("{token}&client_id=gateway&client_secret={good}");
    for (user, form) in [
        (with(&basic("gateway", &good)), in_form.as_str()),
        (with(&format!("Bearer {good}")), &in_form),
        (elsewhere(&server).with("X-API-Key", &good), &in_form),
        (
            with(&basic("gateway", &good)).with("X-API-Key", &good),
            &token,
        ),
        (
            with(&basic("gateway", &good)).with("Authorization", &format!("Bearer {good}")),
            &token,
        ),
        (
            with(&basic("gateway", &good)),
            &format!("{token}&client_id=other"),
        ),
        (
            elsewhere(&server),
            &format!("{in_form}&client_secret={good}"),
        ),
        (elsewhere(&server), &format!("{in_form}&client_id=gateway")),
    ] {
        refused(&introspect(&user, form), 400, "invalid_request", None);
    }
    refused(
        &introspect(&with(&basic("gateway", &good)), "hint=x"),
        400,
        "invalid_request",
        None,
    );
    let user = with(&basic("gateway", &good));
    let answer = user.send("POST", "/v1/introspect", "application/json", b"{}");
    refused(&answer, 400, "invalid_request", None);
    // A client that sends a key in a header, or nothing, gets a problem document, as at all other endpoints.
    for user in [elsewhere(&server), with("Bearer lk_bad")] {
        let answer = introspect(&user, &token).expect(401);
        assert_eq!(
            answer.header("content-type"),
            Some("application/problem+json")
        );
    }
    // Other endpoints take no client secret, and a key must be allowed in `Authorization: Bearer`.
    for (method, path) in [
        ("GET", "/v1/whoami"),
        ("POST", "/v1/verify"),
        ("GET", "/v1/keys"),
    ] {
        with(&basic("gateway", &good))
            .call(method, path, None)
            .expect(401);
    }
    let policy = json!({ "name": "own-header", "headers": ["x-own-key"] });
    admin.post("/v1/policies", policy).expect(201);
    let bound = json!({ "name": "b", "policy": "own-header", "catalog": "latchkey", "scopes": ["keys:verify"] });
    let bound = admin.issue(bound).secret;
    refused(
        &introspect(&with(&basic("b", &bound)), &token),
        401,
        "invalid_client",
        of_basic,
    );
    let log = server.log();
    assert!(
        !log.contains(&good) && !log.contains(&bound),
        "no secret is logged"
    );
}
