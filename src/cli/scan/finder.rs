//! Finding secrets in bytes: `[a-z][a-z0-9]{1,15}_[0-9A-Za-z]{59}` with the right checksum.
//!
//! Looks at each underscore, which a vector instruction finds, and first at the byte where the secret would end:
//! in ordinary text that is nearly always enough to go on. Because of the checksum there is no need to insist on a
//! word's boundary before the prefix, so that a secret after `\n` in a JSON string or after `KEY_` is found too.

use crate::domain::key::secret::{PREFIX_CHARS_MAX, Presented, TAIL_CHARS};
use memchr::memchr_iter;

/// Bytes around an underscore that belong to one secret, and the one after it.
pub const BEFORE: usize = PREFIX_CHARS_MAX;
/// See [`BEFORE`].
pub const AFTER: usize = TAIL_CHARS + 1;

/// Whether more bytes follow those that are looked at.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Rest {
    /// What ends too near to the end is found with the next bytes, if [`BEFORE`] + [`AFTER`] of these precede them.
    Follows,
    Nothing,
}

/// Hands over each secret whose underscore is at `from` or behind it, with its place.
pub fn find<'b>(
    bytes: &'b [u8],
    from: usize,
    rest: Rest,
    mut take: impl FnMut(usize, Presented<'b>),
) {
    let Some(searched) = bytes.get(from..) else {
        return;
    };
    for underscore in memchr_iter(b'_', searched).map(|at| at + from) {
        let end = underscore + AFTER;
        match bytes.get(end) {
            None if rest == Rest::Follows || end > bytes.len() => return,
            Some(next) if next.is_ascii_alphanumeric() => continue,
            _ => {}
        }
        let tail = &bytes[underscore + 1..end];
        if !tail.iter().rev().all(u8::is_ascii_alphanumeric) {
            continue;
        }
        if let Some((start, found)) = with_prefix(bytes, underscore, end) {
            take(start, found);
        }
    }
}

/// The longest prefix before the underscore with which the checksum is right.
fn with_prefix(bytes: &[u8], underscore: usize, end: usize) -> Option<(usize, Presented<'_>)> {
    let earliest = underscore.saturating_sub(PREFIX_CHARS_MAX);
    let in_prefix = |byte: &&u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let length = bytes[earliest..underscore]
        .iter()
        .rev()
        .take_while(in_prefix)
        .count();
    (underscore - length..underscore).find_map(|start| {
        let text = std::str::from_utf8(&bytes[start..end]).ok()?;
        Presented::parse(text).map(|found| (start, found))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::key::secret::{Secret, generate_id};

    fn secret(prefix: &str) -> String {
        let secret = Secret::generate(prefix, generate_id().unwrap()).unwrap();
        secret.expose().to_owned()
    }

    fn found(bytes: &[u8], rest: Rest) -> Vec<(usize, String)> {
        let mut all = Vec::new();
        find(bytes, 0, rest, |at, it| all.push((at, it.text.to_owned())));
        all
    }

    #[test]
    fn a_secret_is_found_wherever_it_stands() {
        let (one, two) = (secret("lk"), secret("abcdefghijklmnop"));
        for (before, after) in [
            ("", ""),
            ("key=", "\n"),
            ("\"", "\""),
            ("\\n", "\\n"),
            ("KEY_", "_old"),
            ("é", "é"),
            ("__", "__"),
        ] {
            for text in [&one, &two] {
                let all = format!("{before}{text}{after}");
                let expected = vec![(before.len(), text.clone())];
                assert_eq!(found(all.as_bytes(), Rest::Nothing).len(), 1, "{all}");
                if !before.ends_with('n') {
                    assert_eq!(found(all.as_bytes(), Rest::Nothing), expected, "{all}");
                }
            }
        }
        let both = format!("{one},{two}");
        assert_eq!(found(both.as_bytes(), Rest::Nothing).len(), 2);
    }

    #[test]
    fn what_is_cut_longer_or_changed_is_none() {
        let good = secret("lk");
        let mut changed = good.clone().into_bytes();
        changed[20] = if changed[20] == b'a' { b'b' } else { b'a' };
        let changed = String::from_utf8(changed).unwrap();
        for bad in [
            &good[..good.len() - 1],
            &format!("{good}x"),
            &changed,
            "",
            "_",
        ] {
            assert!(found(bad.as_bytes(), Rest::Nothing).is_empty(), "{bad}");
        }
        // At the end of a part nobody knows yet what follows.
        assert!(found(good.as_bytes(), Rest::Follows).is_empty());
        assert_eq!(found(format!("{good} ").as_bytes(), Rest::Follows).len(), 1);
    }
}
