//! Finds secrets in bytes: `[a-z][a-z0-9]{1,15}_[0-9A-Za-z]{59}` and `[0-9A-Za-z]{128}`, with a correct checksum.
//!
//! The search uses vector instructions to find underscores, and first tests the byte where a secret would end: in
//! ordinary text, this test rejects nearly every underscore. Because of the checksum, a secret need not begin at a word
//! boundary, so that a secret after `\n` in a JSON string or after `KEY_` is found too. For secrets without an
//! underscore, the search tests one byte in every 128, because each such secret contains one of these bytes.

use super::secret::{PLAIN_CHARS, PREFIX_CHARS_MAX, Presented, TAIL_CHARS};
use memchr::memchr_iter;

/// The number of bytes before the underscore that may belong to a secret.
pub const BEFORE: usize = PREFIX_CHARS_MAX;
/// The number of bytes from the underscore, or from the start of a secret without one, to the byte after the secret.
pub const AFTER: usize = PLAIN_CHARS + 1;

/// Whether more bytes follow those that are searched.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Rest {
    /// A secret near the end is found with the next bytes, if [`BEFORE`] + [`AFTER`] of the current ones precede them.
    Follows,
    Nothing,
}

/// Reports each secret whose underscore, or whose start if it has none, is at or after `from`. The secrets are reported
/// in order, each with its position.
pub fn find<'b>(
    bytes: &'b [u8],
    from: usize,
    rest: Rest,
    mut take: impl FnMut(usize, Presented<'b>),
) {
    let until = match rest {
        Rest::Follows => bytes.len().saturating_sub(AFTER),
        Rest::Nothing => bytes.len(),
    };
    let Some(searched) = bytes.get(from..until) else {
        return;
    };
    let mut found: Vec<_> = memchr_iter(b'_', searched)
        .filter_map(|at| with_underscore(bytes, at + from))
        .collect();
    let prefixed = found.len();
    plain(bytes, from, until, &mut found);
    if prefixed > 0 && found.len() > prefixed {
        found.sort_by_key(|(start, _)| *start);
    }
    for (start, secret) in found {
        take(start, secret);
    }
}

fn with_underscore(bytes: &[u8], underscore: usize) -> Option<(usize, Presented<'_>)> {
    let end = underscore + 1 + TAIL_CHARS;
    if bytes.get(end).is_some_and(u8::is_ascii_alphanumeric) {
        return None;
    }
    let tail = bytes.get(underscore + 1..end)?;
    if !tail.iter().rev().all(u8::is_ascii_alphanumeric) {
        return None;
    }
    with_prefix(bytes, underscore, end)
}

/// Adds the secrets without an underscore that start at or after `from` and before `until`. Such a secret is the end of
/// a run of letters and digits; other characters may precede it in the run.
fn plain<'b>(bytes: &'b [u8], from: usize, until: usize, found: &mut Vec<(usize, Presented<'b>)>) {
    let mut at = from + PLAIN_CHARS - 1;
    while bytes.get(at).is_some() {
        let run = bytes[at..]
            .iter()
            .take_while(|byte| byte.is_ascii_alphanumeric())
            .count();
        let end = at + run;
        if run > 0
            && let Some(start) = end.checked_sub(PLAIN_CHARS)
            && (from..until).contains(&start)
            && let Ok(text) = std::str::from_utf8(&bytes[start..end])
            && let Some(secret) = Presented::parse(text)
        {
            found.push((start, secret));
        }
        at = end + PLAIN_CHARS;
    }
}

/// The secret with the longest prefix for which the checksum is correct.
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
    use crate::domain::keys::secret::{Secret, generate_id};

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
        // At the end of a part, the following bytes are unknown, and the search of the next part reports this secret.
        assert!(found(good.as_bytes(), Rest::Follows).is_empty());
        let follows = format!("{good} {}", " ".repeat(AFTER));
        assert_eq!(found(follows.as_bytes(), Rest::Follows).len(), 1);
    }

    #[test]
    fn a_secret_without_underscore_is_found_wherever_it_stands() {
        let (good, other) = (secret(""), secret("lk"));
        for (before, after) in [
            ("", ""),
            ("\"", "\""),
            ("\\n", "\\n"),
            ("é", "é"),
            ("Bearer ", "\r\n"),
        ] {
            for padding in [0, 1, 100, 127, 128, 129, 1000] {
                let all = format!(
                    "{}{before}{good}{after}{other} {good}",
                    "- ".repeat(padding)
                );
                let at = 2 * padding + before.len();
                let third = all.len() - good.len();
                let texts = found(all.as_bytes(), Rest::Nothing);
                let expected = [
                    (at, good.clone()),
                    (at + good.len() + after.len(), other.clone()),
                    (third, good.clone()),
                ];
                if after.ends_with('n') || after.is_empty() {
                    assert!(texts.contains(&expected[2]), "{all}");
                } else {
                    assert_eq!(texts, expected, "{all}");
                }
            }
        }
        let mut changed = good.clone().into_bytes();
        changed[60] = if changed[60] == b'a' { b'b' } else { b'a' };
        for bad in [
            &changed[..],
            &good.as_bytes()[1..],
            format!("{good}x").as_bytes(),
            &[b'a'; 5000],
        ] {
            assert!(found(bad, Rest::Nothing).is_empty());
        }
    }

    #[test]
    fn parts_that_overlap_find_each_secret_once() {
        let secrets = [
            secret("lk"),
            secret(""),
            secret("abcdefghijklmnop"),
            secret(""),
        ];
        let text = format!("{}\n", secrets.join(" ")).repeat(20);
        let bytes = text.as_bytes();
        for part in [400, 401, 517] {
            let (mut start, mut from, mut all) = (0, 0, Vec::new());
            loop {
                let end = (start + part).min(bytes.len());
                let rest = if end < bytes.len() {
                    Rest::Follows
                } else {
                    Rest::Nothing
                };
                find(&bytes[start..end], from, rest, |at, _| all.push(start + at));
                if rest == Rest::Nothing {
                    break;
                }
                (start, from) = (end - BEFORE - AFTER, BEFORE);
            }
            assert_eq!(all.len(), 80, "{part}");
            assert!(all.is_sorted_by(|a, b| a < b));
        }
    }
}
