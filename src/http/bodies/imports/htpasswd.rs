//! Password files of Apache and nginx (`htpasswd`): lines with a user name, a colon and a digest. Only bcrypt is taken.
//!
//! The form is that of the manual page of htpasswd in Apache's httpd 2.4. A client sends `Authorization: Basic` with the
//! user name and the password, so the key is found by the user name and a colon.

use super::digests;
use super::draft::Draft;
use super::{Collection, at_line};
use crate::error::Result;
use crate::refusals;

/// Reads all lines; blank ones and comments are skipped.
pub fn read(text: &str, collection: &mut Collection) -> Result<()> {
    for (place, entry) in text.lines().enumerate() {
        if !entry.trim().is_empty() && !entry.starts_with('#') {
            line(place + 1, entry, collection)?;
        }
    }
    Ok(())
}

fn line(line: usize, entry: &str, collection: &mut Collection) -> Result<()> {
    let refused = |why| Err(at_line(line, why));
    let Some((user, digest)) = entry.split_once(':') else {
        return refused(refusals::imports::htpasswd_colon());
    };
    if user.is_empty() || user.trim() != user || user.chars().any(char::is_control) {
        return refused(refusals::imports::htpasswd_user());
    }
    if digest.contains(':') {
        return refused(refusals::imports::htpasswd_colons());
    }
    let mut draft = Draft::new("htpasswd", line);
    draft.name(line, user, user);
    let found_by = format!("{user}:");
    let checked = match digest.starts_with("$2") {
        true => digests::check(digest, Some(&found_by)),
        false => Err(match digests::refused_by_name(digest) {
            Some(why) => why,
            None if is_des_crypt(digest) => refusals::imports::digest_kind("crypt (DES)"),
            None => refusals::imports::htpasswd_plain(),
        }),
    };
    match checked {
        Ok(_) => {
            draft.start(&found_by);
            draft.key.digest = digest.to_owned();
            draft.key.found_by = Some(found_by);
        }
        Err(why) => draft.drop_key(line, "", why),
    }
    draft.finish(collection)
}

/// Thirteen characters of the Base64 of crypt(3).
fn is_des_crypt(text: &str) -> bool {
    let legal = |b: u8| b.is_ascii_alphanumeric() || b == b'.' || b == b'/';
    text.len() == 13 && text.bytes().all(legal)
}
