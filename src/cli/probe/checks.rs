//! The checks: which requests are sent, and what should come.
//!
//! Only GET, HEAD and OPTIONS are sent to an application of the user, because they change nothing.

use super::exchange::{Connection, NoAnswer, Request, get, request};
use super::keys::{Issued, Key, NOWHERE};
use super::remedies::Remedy;
use super::session::{Probe, REFUSED, Symptom, check, symptom};
use crate::cli::failure::Result;
use crate::domain::keys::secret::{Secret, generate_id};

/// The names of all checks, for `--accept`.
#[rustfmt::skip]
pub const NAMES: &[&str] = &[
    "absolute-form", "bad-key", "claimed-identity", "closed-request", "connection", "deleted-key", "echo", "file",
    "forged-address", "forged-client", "forged-identity", "forged-method", "forged-original", "forged-prefix",
    "forged-request", "forged-trailers", "forged-underscore", "good-key", "head", "identity", "key-kept", "limit", "malformed-key",
    "missing-scope", "no-key", "no-key-after", "options", "path", "post", "preflight", "stopped", "two-credentials", "upgrade",
];

/// What a client without a good key may get.
const DENIED: &[u16] = &[401];
/// What a method may get that the proxy or Latchkey refuses.
const DENIED_METHOD: &[u16] = &[401, 403, 405];
/// The end of a path that no application has.
const NO_SUCH: &str = "latchkey-probe-no-such-path";

impl Probe<'_> {
    /// The checks with Latchkey running.
    pub fn run(&mut self) -> Result<()> {
        self.without_a_key()?;
        let keys = self.keys;
        let Some(good) = &keys.good else {
            self.paths(None);
            self.skip(
                "good-key",
                "everything that takes a good key",
                keys.why_none,
            );
            return Ok(());
        };
        self.with_a_key(good);
        self.paths(Some(good));
        match &keys.issued {
            Some(issued) => self.decisions(issued, good)?,
            None => self.skip(
                "decisions",
                "limits, scopes, bound addresses, a deleted key",
                "the keys for this are issued on the machine of Latchkey, without --key-file",
            ),
        }
        match (&self.upstream, &self.args.echo) {
            (None, None) => self.skip(
                "application",
                "what the application gets: identity, forged headers, the key",
                "use --upstream, or --echo with a path at which the application shows the headers that it gets",
            ),
            _ => self.application(good),
        }
        if let Some(issued) = &keys.issued {
            self.deleted(issued, good)?;
        }
        Ok(())
    }

    /// The checks while Latchkey is stopped. No good key is needed: nothing may pass.
    pub fn run_stopped(&mut self) -> Result<()> {
        let any = any_secret()?;
        let path = self.path.clone();
        let should = "5xx, from the proxy";
        let requests = [
            ("no key", get(&path)),
            ("any key", self.keyed(get(&path), &any)),
        ];
        for (tried, request) in requests {
            let check = check("stopped", format!("Latchkey stopped, {tried}"), should);
            let sent = self.send(&request);
            let is_fault = sent.arrived == Some(true) || sent.status().is_some_and(|it| it < 400);
            let runs = matches!(sent.status(), Some(401 | 403 | 429));
            match (is_fault, sent.status()) {
                (true, _) => self.wrong(check, &sent, Remedy::FailOpen),
                (false, Some(500..600) | None) => self.right(check, &sent),
                (false, _) if runs => {
                    self.wrong_because(check, &sent, "Latchkey answers: stop it for this check.");
                }
                (false, _) => self.wrong(check, &sent, Remedy::FailOpen),
            }
        }
        Ok(())
    }

    fn without_a_key(&mut self) -> Result<()> {
        let path = self.path.clone();
        let bad = any_secret()?;
        self.refuses(
            check("no-key", "no key", "401 with Latchkey's challenge"),
            &get(&path),
            DENIED,
            Remedy::Unguarded,
        );
        self.refuses(
            check("malformed-key", "a key that cannot be one", "401"),
            &self.keyed(get(&path), "lk_nonsense"),
            DENIED,
            Remedy::Unguarded,
        );
        self.refuses(
            check("bad-key", "a key that does not exist", "401"),
            &self.keyed(get(&path), &bad),
            DENIED,
            Remedy::Unguarded,
        );
        for (id, method) in [("head", "HEAD"), ("options", "OPTIONS")] {
            self.refuses(
                check(id, format!("{method} without a key"), "401"),
                &request(method, &path),
                DENIED_METHOD,
                Remedy::Unguarded,
            );
        }
        let preflight = request("OPTIONS", &path)
            .header("Origin", "https://latchkey-probe.invalid")
            .header("Access-Control-Request-Method", "GET");
        self.refuses(
            check(
                "preflight",
                "a CORS preflight without a key",
                "401, or --accept preflight",
            ),
            &preflight,
            DENIED_METHOD,
            Remedy::Unguarded,
        );
        if self.upstream.is_some() {
            let post = request("POST", &path).header("Content-Length", "0");
            self.refuses(
                check("post", "POST without a key", "401"),
                &post,
                &[401, 403, 405, 411],
                Remedy::Unguarded,
            );
        }
        let scheme = if self.peer.tls.is_some() {
            "https"
        } else {
            "http"
        };
        let absolute = format!("{scheme}://{}{path}", self.peer.host);
        self.refuses_strange(
            check(
                "absolute-form",
                "the absolute form of the URL, no key",
                "401",
            ),
            &get(&absolute),
            Remedy::Unguarded,
        );
        for extension in ["css", "js"] {
            let target = format!("{}/{NO_SUCH}.{extension}", path.trim_end_matches('/'));
            self.refuses(
                check(
                    "file",
                    format!("a .{extension} file below it, no key"),
                    "401",
                ),
                &get(&target),
                REFUSED,
                Remedy::Unguarded,
            );
        }
        let claims = get(&path)
            .header("Remote-User", "owner")
            .header("X-Auth-Subject", "user:owner")
            .header("X-Forwarded-For", "127.0.0.1")
            .header("Latchkey-Local", "1");
        self.refuses(
            check(
                "claimed-identity",
                "identity headers in the place of a key",
                "401",
            ),
            &claims,
            REFUSED,
            Remedy::Unguarded,
        );
        Ok(())
    }

    fn with_a_key(&mut self, good: &Key) {
        let path = self.path.clone();
        let good_request = self.keyed(get(&path), &good.secret);
        let sent = self.send(&good_request);
        let good_check = check("good-key", "a good key", "2xx");
        let is_success = sent.came.as_ref().is_ok_and(|answer| answer.is_success());
        match sent.passed() {
            true => self.right(good_check, &sent),
            false if is_success => self.wrong_because(
                good_check,
                &sent,
                "The request did not reach the address of --upstream: the proxy does not forward to it.",
            ),
            false => self.wrong(good_check, &sent, Remedy::GoodKeyRefused),
        }
        self.refuses(
            check("no-key-after", "no key, after a good one", "401"),
            &get(&path),
            DENIED,
            Remedy::VerdictKept,
        );
        if !self.args.is_usual_header() {
            return;
        }
        let bearer = |secret: &str| ("Authorization", format!("Bearer {secret}"));
        let api_key = |secret: &str| ("X-API-Key", secret.to_owned());
        let pairs = [
            (
                "Authorization twice, the good key first",
                bearer(&good.secret),
                bearer("lk_no"),
            ),
            (
                "Authorization twice, the good key last",
                bearer("lk_no"),
                bearer(&good.secret),
            ),
            (
                "a good key, and another in X-API-Key",
                bearer(&good.secret),
                api_key("lk_no"),
            ),
        ];
        for (tried, first, second) in pairs {
            let mut request = get(&path);
            for (name, value) in [first, second] {
                request = request.header(name, &value);
            }
            self.refuses(
                check("two-credentials", tried, "400 or 401"),
                &request,
                REFUSED,
                Remedy::CredentialHidden,
            );
        }
    }

    /// With a good key nothing but the path is wrong.
    fn paths(&mut self, good: Option<&Key>) {
        for (tried, target) in strange_paths(&self.path) {
            let request = match good {
                Some(good) => self.keyed(get(&target), &good.secret),
                None => get(&target),
            };
            self.refuses_strange(
                check("path", format!("{tried}: {target}"), "400 or 403"),
                &request,
                Remedy::PathPassed,
            );
        }
    }

    /// What only Latchkey can decide: scopes, limits, addresses.
    fn decisions(&mut self, issued: &Issued, good: &Key) -> Result<()> {
        let path = self.path.clone();
        let elsewhere = format!("{}/{NO_SUCH}", path.trim_end_matches('/'));
        if let Some(bare) = &issued.bare {
            self.refuses(
                check("missing-scope", "a key without the scope", "403"),
                &self.keyed(get(&path), &bare.secret),
                &[403],
                Remedy::CatalogNotAsked,
            );
        }
        if self.args.catalog.is_some() {
            let forge = |request: Request| {
                let mut request = request;
                for name in ["X-Original-URI", "X-Forwarded-Uri", "X-Rewrite-URL"] {
                    request = request.header(name, &path);
                }
                let url = format!("http://{}{path}", self.peer.host);
                for name in [
                    "X-Original-Method",
                    "X-Forwarded-Method",
                    "X-HTTP-Method-Override",
                ] {
                    request = request.header(name, "GET");
                }
                request.header("X-Original-URL", &url)
            };
            for (method, target, tried) in [
                (
                    "GET",
                    elsewhere.as_str(),
                    "a path that is not in the catalog",
                ),
                (
                    "OPTIONS",
                    path.as_str(),
                    "a method that is not in the catalog",
                ),
            ] {
                if issued.would_pass(self.args, good, method, target)? {
                    self.skip("closed-request", tried, "the catalog opens it");
                    continue;
                }
                let closed = self.keyed(request(method, target), &good.secret);
                self.refuses(
                    check("closed-request", tried, "403"),
                    &closed,
                    &[400, 403, 405],
                    Remedy::RequestMisread,
                );
                self.refuses(
                    check(
                        "forged-request",
                        format!("{tried}, with forged X-Original-… and X-Forwarded-…"),
                        "403",
                    ),
                    &forge(closed),
                    &[400, 403, 405],
                    Remedy::QuestionForged,
                );
            }
        }
        let mut request = self.keyed(get(&path), &issued.bound.secret);
        for name in [
            "X-Forwarded-For",
            "X-Real-IP",
            "True-Client-IP",
            "X-Client-IP",
        ] {
            request = request.header(name, NOWHERE);
        }
        self.refuses(
            check(
                "forged-address",
                "a key for another address, which the client claims",
                "403",
            ),
            &request.header("Forwarded", &format!("for={NOWHERE}")),
            &[400, 403],
            Remedy::AddressBelieved,
        );
        let limited = self.keyed(get(&path), &issued.limited.secret);
        let first = self.send(&limited);
        let sent = self.send(&limited);
        let check = check(
            "limit",
            "the second request of a key for one an hour",
            "429 with Retry-After",
        );
        let waits = sent
            .came
            .as_ref()
            .is_ok_and(|it| it.values("Retry-After").next().is_some());
        match (first.passed(), sent.status()) {
            (false, _) => self.wrong(check, &first, Remedy::GoodKeyRefused),
            (true, Some(429)) if waits => self.right(check, &sent),
            (true, _) => self.wrong(check, &sent, Remedy::LimitMapped),
        }
        Ok(())
    }

    /// The last check, because the good key is deleted for it.
    fn deleted(&mut self, issued: &Issued, good: &Key) -> Result<()> {
        let kept = self
            .keyed(get(&self.path), &good.secret)
            .header("Connection", "keep-alive");
        let mut connection = Connection::open(self.peer).ok();
        let before = self.send_on(&mut connection, &kept);
        issued.delete(&good.id)?;
        let after = self.send_on(&mut connection, &kept);
        // The proxy may have closed the connection after the first answer.
        let after = match after.came {
            Err(NoAnswer::Closed) => self.send(&kept),
            _ => after,
        };
        let check = check(
            "deleted-key",
            "a key deleted between two requests on one connection",
            "401",
        );
        match (before.passed(), symptom(&after, DENIED, false)) {
            (false, _) => self.wrong(check, &before, Remedy::GoodKeyRefused),
            (true, None) => self.right(check, &after),
            (true, Some(Symptom::Other)) => self.wrong(check, &after, Remedy::RefusalTurned),
            (true, Some(_)) => self.wrong(check, &after, Remedy::VerdictKept),
        }
        Ok(())
    }
}

/// A well-formed secret of a key that was never issued.
fn any_secret() -> Result<String> {
    Ok(Secret::generate("lk", generate_id()?)?.expose().to_owned())
}

/// Spellings of a path that some program takes for the path itself, or for another one.
fn strange_paths(path: &str) -> Vec<(&'static str, String)> {
    let trimmed = path.trim_end_matches('/');
    let (before, last) = trimmed.rsplit_once('/').unwrap_or(("", "x"));
    vec![
        ("two slashes", format!("/{path}")),
        ("a dot", format!("/.{path}")),
        ("two dots", format!("/x/..{path}")),
        ("encoded dots", format!("/x/%2e%2e{path}")),
        ("a parameter", format!("{trimmed}/;x=1")),
        ("a parameter at the beginning", format!("/;x{path}")),
        ("an encoded slash", format!("{before}/x%2f..%2f{last}")),
        ("a backslash", format!("{before}/x\\..\\{last}")),
        ("an encoded backslash", format!("{before}/x%5c..%5c{last}")),
        ("an encoded null", format!("{trimmed}/%00")),
        ("a dot at the end", format!("{trimmed}/x.")),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_spelling_is_the_path_itself() {
        for path in ["/", "/a", "/a/b", "/a/b/"] {
            for (tried, target) in strange_paths(path) {
                assert!(
                    target.starts_with('/') && target != path,
                    "{tried} {target}"
                );
                assert!(!target.contains(' '), "{tried} {target}");
            }
        }
    }
}
