//! Users, their roles, and the permissions of a role on this server.

pub mod password;
pub mod permissions;
pub mod preferences;
pub mod roles;

use super::time::Timestamp;
use super::uid::Uid;
use crate::error::{Error, Result};
use crate::refusals;
use roles::Role;

/// A person or a service account.
#[derive(Clone, Debug)]
pub struct User {
    pub uid: Uid,
    /// A small number for clients that need one. No key has the same number.
    pub number: i64,
    /// Unique, in lower case.
    pub user_name: String,
    pub email: Option<String>,
    /// The workspace that the user belongs to. The roles decide what the user may do in which workspace.
    pub home: Uid,
    pub enabled: bool,
    /// Increased by a change of password. Sessions of an older generation are no longer valid.
    pub generation: i64,
    pub created_at: Timestamp,
    pub deleted_at: Option<Timestamp>,
    /// Whether the password alone does not sign the user in.
    pub has_second_factor: bool,
    pub roles: Vec<Binding>,
}

/// A role of a user in a workspace and everywhere below it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Binding {
    pub workspace: Uid,
    pub role: Role,
}

impl User {
    /// Whether the user's keys and sessions are in force.
    pub fn is_active(&self) -> bool {
        self.enabled && self.deleted_at.is_none()
    }
}

/// The form of user names, as a regular expression for descriptions.
pub const USER_NAME_PATTERN: &str = r"^[A-Za-z0-9._@+\\-]+$";

/// The greatest number of characters of an e-mail address.
pub const EMAIL_CHARS_MAX: usize = 254;

/// Accepts user names of 1 to 100 characters: ASCII letters, digits and `. _ - + @ \`. Returns the form in which
/// names are stored and compared. No name has the form of a uid, and all names are ASCII, so that no two names look
/// alike (attacks 196).
pub fn normal_user_name(field: &str, text: &str) -> Result<String> {
    let legal =
        |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'+' | b'@' | b'\\');
    if (1..=100).contains(&text.len()) && text.bytes().all(legal) && Uid::parse(text).is_none() {
        return Ok(text.to_ascii_lowercase());
    }
    Err(Error::invalid(field, refusals::users::name()))
}

/// Accepts what can be an e-mail address: text, one @, text; only ASCII, at most 254 characters.
pub fn normal_email(field: &str, text: &str) -> Result<String> {
    let parts = text.split_once('@');
    let fits = text.len() <= EMAIL_CHARS_MAX
        && text.bytes().all(|b| b.is_ascii_graphic())
        && parts.is_some_and(|(local, domain)| {
            !local.is_empty() && !domain.is_empty() && !domain.contains('@')
        });
    if fits {
        return Ok(text.to_ascii_lowercase());
    }
    Err(Error::invalid(field, refusals::users::email()))
}

#[cfg(test)]
mod tests {
    use super::*;

    // attacks 196
    #[test]
    fn user_names_have_one_form() {
        for (text, expected) in [
            ("Alice", Some("alice")),
            ("site\\Administrator", Some("site\\administrator")),
            ("a.b+c@example.com", Some("a.b+c@example.com")),
            ("Iıİ", None),
            ("straße", None),
            ("\u{ff41}lice", None),
            ("", None),
            ("a b", None),
            ("a\nb", None),
        ] {
            assert_eq!(
                normal_user_name("user_name", text).ok().as_deref(),
                expected,
                "{text}"
            );
        }
    }
}
