//! Sessions: what a user who has signed in presents instead of a password.

use crate::domain::key::KeyId;
use crate::domain::key::live::StoredSecret;
use crate::domain::time::Timestamp;
use crate::domain::uid::Uid;
use ring::hmac;

/// How long an access token lives.
pub const ACCESS_TOKEN_S: u64 = 3600;
/// How long a console session lives at most.
pub const CONSOLE_S: u64 = 12 * 3600;
/// How long a console session lives without a request.
pub const CONSOLE_IDLE_S: u64 = 30 * 60;
/// For how long after a sign-in the console takes grave actions without asking for the password again.
pub const FRESH_S: u64 = 15 * 60;

/// One access token, as stored. Its secret has the layout of a key's, under a prefix of its own.
#[derive(Clone, Debug)]
pub struct Session {
    /// From the same space as key ids, so that one parser reads both.
    pub id: KeyId,
    pub secret: StoredSecret,
    pub user: Uid,
    /// The user's generation at sign-in; a change of password ends the session.
    pub generation: i64,
    pub read_only: bool,
    pub issued_at: Timestamp,
    pub expires_at: Timestamp,
    /// Only where somebody has taken the user's place.
    pub acting: Option<Acting>,
    /// Only a session of the console has this; such a one is no access token, and no access token is such a one.
    pub console: Option<Browser>,
}

/// Who really acts: a user who manages the one whose session it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Acting {
    pub user: Uid,
    /// His generation at the time.
    pub generation: i64,
    /// The sign-in that he did so with; this ends with it.
    pub family: KeyId,
}

/// Where a console session is used.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Browser {
    /// The last request, at most a minute behind in the store.
    pub used_at: Timestamp,
    /// The address that signed in.
    pub source: String,
    /// What the browser said it is; visible ASCII, for people to recognise.
    pub agent: String,
}

/// What was issued so much later than now was issued while the clock was wrong.
pub const UNTIMELY_S: u64 = 60;

/// Whether something was issued, or used, at a time that has not come yet: while the clock was wrong, so that its end is
/// wrong too.
pub fn is_untimely(at: Timestamp, now: Timestamp) -> bool {
    at > now.plus_s(UNTIMELY_S)
}

impl Session {
    /// Whether the session is over at `now`: the end is exclusive, as it is for keys. One of a time that has not come yet
    /// is over too.
    pub fn is_over(&self, now: Timestamp) -> bool {
        let idle = self
            .console
            .as_ref()
            .is_some_and(|browser| browser.used_at.plus_s(CONSOLE_IDLE_S) <= now);
        let used_at = self.console.as_ref().map(|browser| browser.used_at);
        let untimely = is_untimely(self.issued_at.max(used_at.unwrap_or(self.issued_at)), now);
        self.expires_at <= now || idle || untimely
    }

    /// Whether the password was given so recently that grave actions need not ask for it again.
    pub fn is_fresh(&self, now: Timestamp) -> bool {
        now < self.issued_at.plus_s(FRESH_S)
    }
}

/// What the forms of a session carry, so that no other site can send them: it follows from the session's secret,
/// which it does not tell.
pub fn form_token(secret: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let tag = hmac::sign(&key, FORM);
    tag.as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Whether a form carries the token of this session; compared in constant time.
pub fn is_form_token(secret: &str, text: &str) -> bool {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let pairs = text.as_bytes().chunks(2);
    let bytes: Option<Vec<u8>> = pairs
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect();
    bytes.is_some_and(|tag| hmac::verify(&key, FORM, &tag).is_ok())
}

const FORM: &[u8] = b"a form of the console";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::key::pepper::Digest;

    fn session(browser: Option<i64>) -> Session {
        Session {
            id: KeyId(1),
            secret: StoredSecret {
                digest: Digest([0; 32]),
                pepper: 1,
            },
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

    #[test]
    fn a_form_token_belongs_to_one_session() {
        let token = form_token("lkc_one");
        assert_eq!(token.len(), 64);
        assert!(is_form_token("lkc_one", &token));
        assert!(!is_form_token("lkc_two", &token));
        for bad in ["", "0", "zz", &token[..62], "\u{e9}\u{e9}"] {
            assert!(!is_form_token("lkc_one", bad), "{bad:?}");
        }
    }
}
