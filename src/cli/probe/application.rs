//! What the application gets: the identity of the caller from Latchkey, and nothing that a client forged.

use super::exchange::get;
use super::keys::{Key, NOWHERE};
use super::remedies::Remedy;
use super::session::{Probe, check};

/// The headers with which an application recognises a caller.
const IDENTITY: &[&str] = &["remote-user", "x-auth-subject", "x-auth-key-id"];

#[rustfmt::skip] // Columns are the point of this table.
const FORGED: &[(&str, &str, &[&str], Remedy)] = &[
    ("forged-identity",   "forged Remote-User and X-Auth-…", &["Remote-User", "X-Auth-Subject", "X-Auth-Key-Id", "X-Auth-Key-Name", "X-Auth-Workspace", "X-Auth-Scopes", "X-Auth-Expires-In"], Remedy::IdentityPassed),
    ("forged-underscore", "forged remote_user, x_auth_subject", &["remote_user", "Remote_User", "x_auth_subject", "X_Auth_Key_Id"], Remedy::NamesPassed),
    ("forged-prefix",     "forged X-Auth-Groups, X-Remote-User", &["X-Auth-Groups", "Remote-Groups", "X-Remote-User", "X-Latchkey-Catalog", "Latchkey-Local"], Remedy::PrefixPassed),
    ("forged-method",     "X-HTTP-Method-Override and its like", &["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"], Remedy::MethodPassed),
    ("forged-original",   "forged X-Original-URI, X-Rewrite-URL", &["X-Original-URI", "X-Original-URL", "X-Rewrite-URL", "X-Forwarded-Uri", "X-Forwarded-Prefix"], Remedy::OriginalPassed),
    ("forged-client",     "forged X-Forwarded-For, X-Real-IP", &["X-Forwarded-For", "X-Real-IP", "Forwarded", "True-Client-IP", "X-Client-IP"], Remedy::OriginalPassed),
];

impl Probe<'_> {
    /// What the application gets.
    pub fn application(&mut self, good: &Key) {
        let target = self.args.echo.clone().unwrap_or_else(|| self.path.clone());
        let sent = self.send(&self.keyed(get(&target), &good.secret));
        if !sent.passed() || !sent.seen.contains(&self.tag()) {
            let check = check(
                "echo",
                "the application shows what it gets",
                "the headers of the request",
            );
            return self.wrong_because(
                check,
                &sent,
                "The path of --echo must show the headers of a request, such as User-Agent, in the body of its answer, and pass with the good key.",
            );
        }
        let without_key = sent.seen.replace(&good.secret, "");
        let identity = check(
            "identity",
            "who called, for the application",
            "X-Auth-Subject or X-Auth-Key-Id",
        );
        let shown = identity_names(&without_key);
        match !shown.is_empty() && without_key.contains(&good.id) {
            true => self.right(identity, &sent),
            false => self.wrong(identity, &sent, Remedy::IdentityMissing),
        }
        let in_other = get(&target).header("X-API-Key", &good.secret);
        for (tried, sent) in [
            ("the key, in its header", sent),
            ("the key, in X-API-Key", self.send(&in_other)),
        ] {
            let check = check("key-kept", tried, "not passed on");
            let is_passed_on = sent.seen.contains(&good.secret);
            self.keeps_out(check, &sent, is_passed_on, Remedy::KeyPassed);
        }
        self.forged_headers(&target, good);
        let mark = format!("forged{}", self.nonce);
        let trailers = [
            ("X-Auth-Subject", &mark[..]),
            ("Remote-User", &mark),
            ("X-Forwarded-For", &mark),
        ];
        let request = self.keyed(get(&target), &good.secret);
        let sent = self.send(&request.trailers(&trailers));
        let check_trailers = check(
            "forged-trailers",
            "forged headers behind a body",
            "not passed on",
        );
        let is_passed_on = sent.seen.contains(&mark);
        self.keeps_out(check_trailers, &sent, is_passed_on, Remedy::TrailersPassed);
        let hop = self.keyed(get(&target), &good.secret).header(
            "Connection",
            "close, Remote-User, X-Auth-Subject, X-Auth-Key-Id",
        );
        let sent = self.send(&hop);
        let check_hop = check(
            "connection",
            "Connection: remote-user, x-auth-subject, …",
            "identity stays, or 400",
        );
        let keeps = sent.seen.contains(&good.id) && identity_names(&sent.seen) == shown;
        let keeps = keeps || !sent.passed();
        match keeps {
            true => self.right(check_hop, &sent),
            false => self.wrong(check_hop, &sent, Remedy::IdentityMissing),
        }
        // Some proxies know the first protocol and pass on every other.
        let unknown = format!("probe{}", self.nonce);
        for (tried, protocol) in [
            ("Upgrade: h2c", "h2c"),
            ("Upgrade to an unknown protocol", &unknown),
        ] {
            let upgrade = self
                .keyed(get(&target), &good.secret)
                .header("Connection", "Upgrade, HTTP2-Settings")
                .header("Upgrade", protocol)
                .header("HTTP2-Settings", "AAMAAABkAAQAAP__");
            let sent = self.send(&upgrade);
            let check = check("upgrade", tried, "not passed on");
            let mut words = sent.seen.split(|c: char| !c.is_ascii_alphanumeric());
            let is_passed_on = sent.status() == Some(101) || words.any(|word| word == protocol);
            self.keeps_out(check, &sent, is_passed_on, Remedy::UpgradePassed);
        }
    }

    fn forged_headers(&mut self, target: &str, good: &Key) {
        let forged = format!("forged{}", self.nonce);
        for (id, tried, names, remedy) in FORGED {
            // Some proxies read addresses before they pass them on.
            let mark = match *id {
                "forged-client" => NOWHERE,
                _ => forged.as_str(),
            };
            let mut request = self.keyed(get(target), &good.secret);
            for name in *names {
                request = request.header(name, mark);
            }
            let sent = self.send(&request);
            let check = check(id, *tried, "not passed on");
            let is_passed_on = sent.seen.contains(mark);
            self.keeps_out(check, &sent, is_passed_on, *remedy);
        }
    }
}

/// The identity headers in what an application shows, also in the spelling of CGI.
fn identity_names(seen: &str) -> Vec<&'static str> {
    let plain = seen.to_ascii_lowercase().replace('_', "-");
    let names = IDENTITY.iter().filter(|name| plain.contains(**name));
    names.copied().collect()
}
