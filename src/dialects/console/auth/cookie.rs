//! The cookies of the console: one for the session, one for the confirmation that the next page displays, and one for
//! what the user has hidden.

use crate::dialects::console::MOUNT;
use crate::http::request::Head;

/// Whether cookies travel only over TLS; this decides their names and attributes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Channel {
    /// Over TLS: `__Host-` binds the cookie to this host and to TLS (RFC 6265bis, 4.1.3.2).
    Encrypted,
    /// Plain HTTP, which is allowed on this machine or if the administrator enables it.
    Plain,
}

/// The cookies that the console sets.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Cookie {
    /// The columns of the list of keys that the user has chosen.
    Columns,
    /// The confirmation that the next page displays.
    Done,
    Session,
    /// At a site: lets the browser see keys.
    Site,
    /// Whether the first steps are hidden.
    Steps,
}

impl Cookie {
    fn name(self, channel: Channel) -> &'static str {
        match (self, channel) {
            (Cookie::Columns, Channel::Encrypted) => "__Host-latchkey-columns",
            (Cookie::Columns, Channel::Plain) => "latchkey-columns",
            (Cookie::Done, Channel::Encrypted) => "__Host-latchkey-done",
            (Cookie::Done, Channel::Plain) => "latchkey-done",
            (Cookie::Session, Channel::Encrypted) => "__Host-latchkey",
            (Cookie::Session, Channel::Plain) => "latchkey",
            (Cookie::Site, Channel::Encrypted) => "__Host-latchkey-site",
            (Cookie::Site, Channel::Plain) => "latchkey-site",
            (Cookie::Steps, Channel::Encrypted) => "__Host-latchkey-steps",
            (Cookie::Steps, Channel::Plain) => "latchkey-steps",
        }
    }

    /// The value that the browser sent. If it sent two cookies of this name, neither counts, because another site may
    /// have set one of them (attacks 170).
    pub fn read(self, head: &Head, channel: Channel) -> Option<&str> {
        let lines = head.headers.all("cookie");
        let pairs = lines
            .filter_map(|line| std::str::from_utf8(line).ok())
            .flat_map(|line| line.split(';'))
            .filter_map(|pair| pair.trim_matches([' ', '\t']).split_once('='));
        let mut values = pairs
            .filter(|(name, _)| *name == self.name(channel))
            .map(|(_, value)| value);
        let first = values.next();
        match values.next() {
            None => first,
            Some(_) => None,
        }
    }

    /// The header that sets the cookie until the browser closes.
    pub fn set(self, channel: Channel, value: &str) -> String {
        let (path, secure) = match channel {
            Channel::Encrypted => ("/", "; Secure"),
            Channel::Plain => (MOUNT, ""),
        };
        format!(
            "{}={value}; Path={path}; HttpOnly; SameSite=Strict{secure}",
            self.name(channel)
        )
    }

    /// The header that sets the cookie for a year.
    pub fn keep(self, channel: Channel, value: &str) -> String {
        self.set(channel, value) + "; Max-Age=31536000"
    }

    /// The header that deletes the cookie.
    pub fn clear(self, channel: Channel) -> String {
        self.set(channel, "") + "; Max-Age=0"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::request::{Peer, RequestId};

    #[track_caller]
    fn check(cookies: &[&str], expected: Option<&str>) {
        let headers = cookies.iter().map(|line| ("cookie", *line)).collect();
        let head = Head {
            method: crate::http::request::Method::GET,
            target: "/".parse().unwrap(),
            is_http_11: true,
            headers,
            peer: Peer::Unix { uid: 0 },
            id: RequestId::new(0, 0),
        };
        assert_eq!(
            Cookie::Session.read(&head, Channel::Plain),
            expected,
            "{cookies:?}"
        );
    }

    // attacks 170
    #[test]
    fn a_cookie_is_there_once_or_not_at_all() {
        check(&[], None);
        check(&["latchkey=a"], Some("a"));
        check(&["x=1; latchkey=a;y"], Some("a"));
        check(&["latchkey=a; latchkey=a"], None);
        check(&["latchkey=a", "latchkey=b"], None);
        check(&["latchkey"], None);
        check(&["__Host-latchkey=a"], None);
        check(&["LATCHKEY=a"], None);
    }

    // attacks 168
    #[test]
    fn over_tls_the_cookie_is_bound_to_the_host() {
        let encrypted = Cookie::Session.set(Channel::Encrypted, "v");
        assert_eq!(
            encrypted,
            "__Host-latchkey=v; Path=/; HttpOnly; SameSite=Strict; Secure"
        );
        let plain = Cookie::Session.set(Channel::Plain, "v");
        assert_eq!(
            plain,
            "latchkey=v; Path=/console; HttpOnly; SameSite=Strict"
        );
        assert!(
            Cookie::Session
                .clear(Channel::Plain)
                .ends_with("; Max-Age=0")
        );
    }
}
