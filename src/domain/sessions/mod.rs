//! Sessions: the credentials that a user presents after the sign-in in the place of a password.

pub mod refresh;

use crate::domain::keys::KeyId;
use crate::domain::keys::live::StoredSecret;
use crate::domain::time::Timestamp;
use crate::domain::uid::Uid;
use ring::hmac;

/// The lifetime of an access token.
pub const ACCESS_TOKEN_S: u64 = 3600;
/// The longest lifetime of a console session.
pub const CONSOLE_S: u64 = 12 * 3600;
/// The longest time between two requests of a console session.
pub const CONSOLE_IDLE_S: u64 = 30 * 60;
/// How long after a sign-in the console carries out sensitive actions without asking for the password again.
pub const FRESH_S: u64 = 15 * 60;

/// One access token or console session, as stored. Its secret has the layout of a key's secret, with a prefix of its
/// own.
#[derive(Clone, Debug)]
pub struct Session {
    /// Ids of sessions have the same form as ids of keys, so that one parser reads both.
    pub id: KeyId,
    pub secret: StoredSecret,
    pub user: Uid,
    /// The user's generation at sign-in; a change of password ends the session.
    pub generation: i64,
    pub read_only: bool,
    pub issued_at: Timestamp,
    pub expires_at: Timestamp,
    /// Set only if another user acts as the user of this session.
    pub acting: Option<Acting>,
    /// Set only for a session of the console. A console session is not accepted as an access token, nor the reverse.
    pub console: Option<Browser>,
}

/// The user who really acts: a user who manages the user of the session.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Acting {
    pub user: Uid,
    /// The generation of the acting user at that time.
    pub generation: i64,
    /// The sign-in of the acting user; this session ends with it.
    pub family: KeyId,
}

/// The browser in which a console session is used.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Browser {
    /// The time of the last request; in the store it is at most a minute late.
    pub used_at: Timestamp,
    /// The address from which the user signed in.
    pub source: String,
    /// The `User-Agent` of the browser in visible ASCII, so that users can recognise it.
    pub agent: String,
}

/// An issue time that is later than now by more than this was recorded while the clock was wrong.
pub const UNTIMELY_S: u64 = 60;

/// Whether something was issued or used at a time that is still in the future. This happens if the clock was wrong,
/// so its expiry is wrong too.
pub fn is_untimely(at: Timestamp, now: Timestamp) -> bool {
    at > now.plus_s(UNTIMELY_S)
}

impl Session {
    /// Whether the session is over at `now`. The expiry is exclusive, as it is for keys. A session with a time in the
    /// future is over too.
    pub fn is_over(&self, now: Timestamp) -> bool {
        let idle = self
            .console
            .as_ref()
            .is_some_and(|browser| browser.used_at.plus_s(CONSOLE_IDLE_S) <= now);
        let used_at = self.console.as_ref().map(|browser| browser.used_at);
        let untimely = is_untimely(self.issued_at.max(used_at.unwrap_or(self.issued_at)), now);
        self.expires_at <= now || idle || untimely
    }

    /// Whether the sign-in is so recent that sensitive actions need no confirmation with the password.
    pub fn is_fresh(&self, now: Timestamp) -> bool {
        now < self.issued_at.plus_s(FRESH_S)
    }
}

/// A value that follows from the secret of a session and reveals nothing about it. `purpose` keeps values for different
/// uses apart.
pub fn derived(secret: &str, purpose: &str) -> [u8; 32] {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let mut value = [0; 32];
    value.copy_from_slice(hmac::sign(&key, purpose.as_bytes()).as_ref());
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::keys::pepper::Digest;

    fn session(browser: Option<i64>) -> Session {
        Session {
            id: KeyId(1),
            secret: StoredSecret::peppered(Digest([0; 32]), 1),
            user: Uid(1),
            generation: 0,
            read_only: false,
            issued_at: Timestamp(0),
            expires_at: Timestamp(0).plus_s(CONSOLE_S),
            acting: None,
            console: browser.map(|used_at| Browser {
                used_at: Timestamp(used_at),
                source: String::new(),
                agent: String::new(),
            }),
        }
    }

    // attacks 172
    #[test]
    fn a_session_ends_at_its_end_and_a_console_session_when_nobody_uses_it() {
        let (end, idle) = (CONSOLE_S as i64 * 1000, CONSOLE_IDLE_S as i64 * 1000);
        for (session, at, over) in [
            (session(None), end - 1, false),
            (session(None), end, true),
            (session(Some(0)), idle - 1, false),
            (session(Some(0)), idle, true),
            (session(Some(end - 2)), end - 1, false),
            (session(Some(end - 2)), end, true),
        ] {
            assert_eq!(session.is_over(Timestamp(at)), over, "{at}");
        }
        let fresh = FRESH_S as i64 * 1000;
        assert!(session(None).is_fresh(Timestamp(fresh - 1)));
        assert!(!session(None).is_fresh(Timestamp(fresh)));
    }
}
