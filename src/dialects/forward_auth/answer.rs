//! Renders verdicts as responses to a proxy: a status, and headers for the application behind the proxy.

use crate::domain::keys::quota::RateStatus;
use crate::domain::keys::verdict::Code;
use crate::http::reply::Reply;
use crate::http::route::RefusedRequest;
use crate::ops::verify::{SubjectRoom, Verdict};
use std::borrow::Cow;
use std::fmt::Write as _;

/// The maximum length of `X-Auth-Scopes`: proxies accept at most 4 KiB for all headers of a response.
const SCOPES_BYTES_MAX: usize = 2048;

/// The maximum length of the scopes in a challenge.
const CHALLENGE_SCOPES_BYTES_MAX: usize = 1024;

/// The beginning of every challenge.
const REALM: &str = "Bearer realm=\"latchkey\"";

/// The headers that an application behind a proxy reads.
const IDENTITY: [&str; 7] = [
    "remote-user",
    "x-auth-subject",
    "x-auth-key-id",
    "x-auth-key-name",
    "x-auth-workspace",
    "x-auth-scopes",
    "x-auth-expires-in",
];

/// The response if the credential is missing or invalid (RFC 6750, section 3). [`challenged`] adds the challenge to it.
pub fn unauthenticated(presented: bool) -> Reply {
    let challenge = if presented {
        "Bearer realm=\"latchkey\", error=\"invalid_token\""
    } else {
        REALM
    };
    Reply::new(401).with("www-authenticate", challenge)
}

/// The response if the key is valid but does not open this request.
pub fn refused(code: &str) -> Reply {
    Reply::new(403).with("x-auth-code", code)
}

/// The response to a browser's preflight, which passes without a key. All identity headers are empty because the user
/// is not known.
pub fn preflight() -> Reply {
    let mut reply = Reply::new(200);
    for name in IDENTITY {
        reply.add(name, "");
    }
    reply
}

/// Completes the challenge of a refusal, so that a client can request a credential that is accepted. A refusal for missing
/// scopes gets a challenge that names them (RFC 6750, section 3.1): those that the operation needs together and the key
/// lacks, and, if it needs one of several, all of these. For a request without an accepted credential, `scopes` are those
/// that any key needs. `metadata` is the URL of the metadata of the protected resource (RFC 9728, section 5.1).
pub fn challenged(
    reply: Reply,
    refused: &RefusedRequest<'_>,
    scopes: &[&str],
    metadata: Option<&str>,
) -> Reply {
    let (mut challenge, mut scopes): (String, Vec<&str>) = match refused.status {
        401 => {
            let begun = reply.headers.get("www-authenticate");
            let begun = begun.and_then(|value| std::str::from_utf8(value).ok());
            (begun.unwrap_or(REALM).to_owned(), scopes.to_vec())
        }
        _ if refused.code == Code::InsufficientScope.as_str() => {
            let needed = refused.needed_together.iter().chain(&refused.needed);
            let needed = needed.map(|scope| scope.name.as_str());
            let scopes = needed.chain(refused.demanded.iter().copied());
            // The challenge names no scope to a key of another catalog, which cannot have them.
            let scopes = scopes.filter(|_| !refused.of_other_catalog);
            let begun = format!("{REALM}, error=\"insufficient_scope\"");
            (begun, scopes.collect())
        }
        _ => return reply,
    };
    scopes.sort_unstable();
    scopes.dedup();
    let scopes = scopes.join(" ");
    // The challenge omits scopes that a quoted string cannot contain unchanged, or that are too long for a proxy.
    let is_plain = |b: u8| matches!(b, b' '..=b'~') && b != b'"' && b != b'\\';
    let fits = (1..=CHALLENGE_SCOPES_BYTES_MAX).contains(&scopes.len());
    if fits && scopes.bytes().all(is_plain) {
        challenge.push_str(&format!(", scope=\"{scopes}\""));
    }
    if let Some(url) = metadata {
        challenge.push_str(&format!(", resource_metadata=\"{url}\""));
    }
    reply.with("www-authenticate", challenge)
}

/// The response to a valid key. It always contains every identity header, empty if there is no value: some proxies
/// replace only the headers that they receive, and would let a forged header of the client through.
///
/// `held_without`: the scopes of the key if the requirements of the question are ignored. If a client may have written
/// these, the reply contains only scopes that the key has in both cases.
pub fn allowed(verdict: &Verdict<'_>, held_without: Option<&[Box<str>]>) -> Reply {
    let Some(key) = verdict.key else {
        // A positive verdict always contains the key; without it the application could not know who the caller is.
        return unauthenticated(true);
    };
    let owner = key
        .shared
        .owner
        .and_then(|owner| verdict.directory.user(owner));
    let name = visible(&key.name);
    let place = verdict.directory.place(key.shared.workspace);
    let mut held = verdict.scopes(key);
    if let Some(others) = held_without
        && !held.iter().all(|scope| others.contains(scope))
    {
        held.to_mut().retain(|scope| others.contains(scope));
    }
    let (scopes, complete) = scopes(&held);
    let expires_in = key
        .ends_at()
        .map(|end| verdict.now.seconds_until(end).to_string());
    let mut reply = Reply::new(200);
    // The issuer chooses the name of a key freely, so the name is no identity: no header for a user contains it.
    reply.add("remote-user", owner.map_or("", |owner| &owner.user_name));
    let mut room: SubjectRoom = [0; size_of::<SubjectRoom>()];
    reply.add("x-auth-subject", verdict.subject(&mut room));
    reply.add("x-auth-key-id", key.id.digits());
    reply.add("x-auth-key-name", &*name);
    reply.add(
        "x-auth-workspace",
        place.map_or("", |place| &place.workspace.slug),
    );
    reply.add("x-auth-scopes", &*scopes);
    reply.add("x-auth-expires-in", expires_in.as_deref().unwrap_or(""));
    if !complete {
        reply.add("x-auth-scopes-truncated", "true");
    }
    match verdict.rate {
        Some(status) => with_rate(reply, status),
        None => reply,
    }
}

/// The scopes of the key of a positive verdict.
pub fn held(verdict: &Verdict<'_>) -> Vec<Box<str>> {
    verdict
        .key
        .map_or_else(Vec::new, |key| verdict.scopes(key).into_owned())
}

/// The response to a negative verdict.
pub fn refusal(refused: &RefusedRequest<'_>, rate: Option<RateStatus>, for_nginx: bool) -> Reply {
    match (refused.status, refused.retry_after_s) {
        (401, _) => unauthenticated(true),
        (_, None) => self::refused(refused.code),
        (status, Some(retry_after_s)) => {
            // nginx would turn 429 into 500, so it receives 403, and a header contains the reason.
            let reply = Reply::new(if for_nginx { 403 } else { status })
                .with("x-auth-code", refused.code)
                .with("retry-after", retry_after_s.to_string());
            match rate {
                Some(status) => with_rate(reply, status),
                None => reply,
            }
        }
    }
}

/// draft-ietf-httpapi-ratelimit-headers: structured fields, seconds.
fn with_rate(reply: Reply, status: RateStatus) -> Reply {
    reply
        .with(
            "ratelimit-policy",
            format!(
                "\"default\";q={};w={}",
                status.rate.limit, status.rate.window_s
            ),
        )
        .with(
            "ratelimit",
            format!("\"default\";r={};t={}", status.remaining, status.reset_s),
        )
}

/// The scopes separated by blanks, and whether all of them fit into the header. No scope is cut off.
fn scopes(held: &[Box<str>]) -> (Cow<'_, str>, bool) {
    if let [scope] = held
        && scope.len() < SCOPES_BYTES_MAX
    {
        return (Cow::Borrowed(scope), true);
    }
    let mut text = String::new();
    for scope in held {
        if text.len() + 1 + scope.len() > SCOPES_BYTES_MAX {
            return (text.into(), false);
        }
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(scope);
    }
    (text.into(), true)
}

/// The name in visible ASCII; other characters are percent-encoded as UTF-8.
fn visible(name: &str) -> Cow<'_, str> {
    let stays = |byte: u8| matches!(byte, b' '..=b'~') && byte != b'%';
    if name.bytes().all(stays) {
        return Cow::Borrowed(name);
    }
    let mut text = String::with_capacity(3 * name.len());
    for byte in name.bytes() {
        if stays(byte) {
            text.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(text, "%{byte:02X}");
        }
    }
    Cow::Owned(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    // attacks 74
    #[test]
    fn names_become_visible_ascii() {
        assert_eq!(visible("a b=1"), "a b=1");
        assert_eq!(visible("é%\r\n"), "%C3%A9%25%0D%0A");
    }
}
