//! The account that an attempt to sign in is about.

use crate::domain::uid::Uid;

/// The number of consecutive failures after which an account is locked.
pub const LOCKED_AT: u32 = 100;

/// The account that an attempt is about.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Account {
    /// No user has the submitted name. This is a keyed digest of it, because the text may be a password.
    Unknown(u64),
    User(Uid),
}

/// Attempts without a name: the second step of a sign-in whose first step has expired.
pub const NOBODY: Account = Account::Unknown(0);

impl Account {
    /// Reads what [`std::fmt::Display`] writes.
    pub fn parse(text: &str) -> Option<Account> {
        match text.strip_prefix("unknown:") {
            Some(hex) => u64::from_str_radix(hex, 16).ok().map(Account::Unknown),
            None => Uid::parse(text).map(Account::User),
        }
    }
}

impl std::fmt::Display for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Account::Unknown(digest) => write!(f, "unknown:{digest:016x}"),
            Account::User(uid) => uid.fmt(f),
        }
    }
}
