//! Packs: what verification at a site needs, as signed and numbered files. `docs/pack-format.md` specifies the bytes.
//!
//! A [`file`] has a [`head`] (a signed [`note`]) and a [`body`]: [`table`]s of records, whole or as the difference from a whole
//! body. The server makes a body with [`builder`]; a site reads [`content`] out of it. A linked site asks a [`question`] and is
//! answered with a [`word`], whose body is a [`step`] or packs. Nothing here reads a file or a clock.

pub mod body;
pub mod builder;
pub mod content;
mod directory;
pub mod enrolment;
pub mod file;
#[cfg(test)]
mod fuzz;
pub mod head;
pub mod keys;
pub mod note;
pub mod past;
pub mod question;
mod record;
pub mod report;
pub mod revocations;
pub mod rules;
pub mod site;
pub mod site_key;
pub mod standing;
pub mod state;
pub mod step;
pub mod table;
#[cfg(test)]
pub mod tests;
pub mod word;

use crate::refusals::Refusal;

/// What was read, or the reason why it is refused.
pub type Checked<T> = std::result::Result<T, Refusal>;

/// The number of bytes of a site's name.
pub const SITE_BYTES_MAX: usize = 63;
/// The number of bytes of a server's name.
pub const SERVER_BYTES_MAX: usize = 100;
/// The form of a site's name, as a regular expression for descriptions.
pub const SITE_PATTERN: &str = "^[a-z0-9][a-z0-9-]{0,62}$";

/// Whether a text can be the name of a site. It is also the name of a folder.
pub fn is_site_name(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    (1..=SITE_BYTES_MAX).contains(&text.len())
        && text.bytes().next().is_some_and(plain)
        && text.bytes().all(|b| plain(b) || b == b'-')
}

/// Whether a text can be the name of a server, such as `keys.example.com`.
pub fn is_server_name(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    (1..=SERVER_BYTES_MAX).contains(&text.len())
        && text.bytes().next().is_some_and(plain)
        && text.bytes().all(|b| plain(b) || matches!(b, b'.' | b'-'))
}
