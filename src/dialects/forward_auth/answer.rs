//! Verdicts as answers to a proxy: a status, and headers for the application behind it.

use super::is_about_the_key;
use crate::domain::key::live::Live;
use crate::domain::key::quota::RateStatus;
use crate::domain::key::verdict::Code;
use crate::http::reply::Reply;
use crate::ops::verify::Verdict;
use std::borrow::Cow;
use std::fmt::Write as _;

/// Bytes of `X-Auth-Scopes`: proxies hold all headers of an answer in 4 KiB.
const SCOPES_BYTES_MAX: usize = 2048;
/// When to ask again for a key whose uses are spent: somebody has to give it more.
const USES_RETRY_S: u64 = 3600;

/// The answer to a verdict.
pub fn of(verdict: &Verdict<'_>, for_nginx: bool) -> Reply {
    match (verdict.code, verdict.key) {
        (Code::Valid, Some(key)) => allowed(verdict, key),
        (Code::RateLimited, _) => limited(verdict, for_nginx, verdict.retry_after_s()),
        (Code::UsageExceeded, _) => limited(verdict, for_nginx, USES_RETRY_S),
        (code, _) if is_about_the_key(code) => unauthenticated(true),
        (code, _) => refused(
            verdict
                .detail
                .map_or(code.as_str(), |detail| detail.as_str()),
        ),
    }
}

/// No credential, or one that is no good here (RFC 6750, section 3).
pub fn unauthenticated(presented: bool) -> Reply {
    let challenge = if presented {
        "Bearer realm=\"latchkey\", error=\"invalid_token\""
    } else {
        "Bearer realm=\"latchkey\""
    };
    Reply::new(401).with("www-authenticate", challenge)
}

/// A good key, but not for this request.
pub fn refused(code: &str) -> Reply {
    Reply::new(403).with("x-auth-code", code)
}

/// Every identity header is always there, empty where nothing is known: a proxy that copies only what it gets would
/// let the client's forged ones through.
fn allowed(verdict: &Verdict<'_>, key: &Live) -> Reply {
    let owner = key
        .kin
        .owner
        .and_then(|owner| verdict.directory.user(owner));
    let name = visible(&key.name);
    let place = verdict.directory.place(key.kin.workspace);
    let (scopes, complete) = scopes(key);
    let expires_in = key
        .ends_at()
        .map(|end| verdict.now.seconds_until(end).to_string());
    let reply = Reply::new(200)
        .with(
            "remote-user",
            owner.map_or(&*name, |owner| &owner.user_name),
        )
        .with("x-auth-key-id", key.id.digits())
        .with("x-auth-key-name", &*name)
        .with(
            "x-auth-workspace",
            place.map_or("", |place| &place.workspace.slug),
        )
        .with("x-auth-scopes", &*scopes)
        .with("x-auth-expires-in", expires_in.as_deref().unwrap_or(""));
    let reply = if complete {
        reply
    } else {
        reply.with("x-auth-scopes-truncated", "true")
    };
    match verdict.rate {
        Some(status) => with_rate(reply, status),
        None => reply,
    }
}

/// nginx would turn 429 into 500; what it gets instead says the same in a header.
fn limited(verdict: &Verdict<'_>, for_nginx: bool, retry_after_s: u64) -> Reply {
    let reply = Reply::new(if for_nginx { 403 } else { 429 })
        .with("x-auth-code", verdict.code.as_str())
        .with("retry-after", &retry_after_s.max(1).to_string());
    match verdict.rate {
        Some(status) => with_rate(reply, status),
        None => reply,
    }
}

/// draft-ietf-httpapi-ratelimit-headers: structured fields, seconds.
fn with_rate(reply: Reply, status: RateStatus) -> Reply {
    reply
        .with(
            "ratelimit-policy",
            &format!(
                "\"default\";q={};w={}",
                status.rate.limit, status.rate.window_s
            ),
        )
        .with(
            "ratelimit",
            &format!("\"default\";r={};t={}", status.remaining, status.reset_s),
        )
}

/// The scopes separated by blanks: as many whole ones as fit, and whether that is all.
fn scopes(key: &Live) -> (Cow<'_, str>, bool) {
    if let [scope] = &*key.kin.scopes
        && scope.len() < SCOPES_BYTES_MAX
    {
        return (Cow::Borrowed(scope), true);
    }
    let mut text = String::new();
    for scope in &key.kin.scopes {
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

/// A name as visible ASCII; whatever else it holds is percent-encoded as UTF-8.
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
