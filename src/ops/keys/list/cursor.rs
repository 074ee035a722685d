//! Cursors: the position where the next page of a list begins.
//!
//! The position may be a key that the caller must not see, because a page ends after a number of examined keys. So a
//! cursor is encrypted, and only this server can read it.

use crate::domain::hex::{hex, unhex};
use crate::domain::keys::KeyId;
use crate::domain::keys::sealing::{Sealed, SealingKeys};
use crate::error::Result;

const PURPOSE: &str = "latchkey: cursor of a list of keys";

/// The cursor of a position, in hexadecimal digits: the version of the sealing key, and the encrypted id.
pub fn seal(sealing: &SealingKeys, id: KeyId) -> Result<String> {
    let sealed = sealing.seal_bytes(PURPOSE, &id.0.to_be_bytes())?;
    let version = sealed.version.to_be_bytes();
    Ok(hex(&[&version[..], &sealed.bytes].concat()))
}

/// The position of a cursor; `None` if this server has not made it, or no longer has the key with which it was made.
pub fn open(sealing: &SealingKeys, text: &str) -> Option<KeyId> {
    let bytes = unhex(text)?;
    let (version, bytes) = bytes.split_first_chunk()?;
    let sealed = Sealed {
        version: u32::from_be_bytes(*version),
        bytes: bytes.to_vec(),
    };
    let id = sealing.open_bytes(PURPOSE, &sealed)?;
    Some(KeyId(u64::from_be_bytes(id.try_into().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_hides_its_position_and_only_its_server_reads_it() {
        let (keys, _) = SealingKeys::generate().unwrap();
        let (others, _) = SealingKeys::generate().unwrap();
        let cursor = seal(&keys, KeyId(7)).unwrap();
        assert_eq!(open(&keys, &cursor), Some(KeyId(7)));
        assert_eq!(open(&others, &cursor), None);
        assert_ne!(seal(&keys, KeyId(7)).unwrap(), cursor);
        let changed = format!("{}0", &cursor[..cursor.len() - 1]);
        let changed = [changed.replace('0', "1"), cursor[1..].to_owned()];
        for text in ["", "x", "00", "0000000007", &changed[0], &changed[1]] {
            assert_eq!(open(&keys, text), None, "{text}");
        }
    }
}
